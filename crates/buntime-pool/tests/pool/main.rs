//! The pool with real processes: Bun itself, and a fake one for the bad days.

#![expect(
    clippy::unwrap_used,
    reason = "tests fail by panicking, and so do their helpers"
)]

mod bad_wire;
mod bad_workers;
mod blanks;
mod bundles;
mod crowds;
mod ephemeral;
mod given;
mod installs;
mod lifecycle;
mod persistent;
mod restart;
mod streaming;
mod support;
