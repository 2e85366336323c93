//! The pool with real processes: Bun itself, and a fake one for the bad days.

mod bad_wire;
mod bad_workers;
mod ephemeral;
mod lifecycle;
mod persistent;
mod streaming;
mod support;
