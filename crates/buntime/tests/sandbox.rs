//! The sandbox at each level that a machine may give, and apps that attack it.
//!
//! A level that cannot be had here by what `buntime doctor` finds is left out, and the reason
//! printed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "sandbox/attacks.rs"]
mod attacks;
#[path = "sandbox/closed.rs"]
mod closed;
#[path = "sandbox/granted.rs"]
mod granted;
#[path = "sandbox/levels.rs"]
mod levels;
#[path = "sandbox/tools.rs"]
mod tools;
#[path = "sandbox/world.rs"]
mod world;
