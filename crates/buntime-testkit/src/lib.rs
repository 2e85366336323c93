//! What the tests share: a real server on a free port, a fake Bun for the bad days.
//!
//! [`TestServer`] runs the real program in a cleared environment on temporary
//! folders, and proves when it is dropped that the program ended well and left
//! no process behind. [`wire`] speaks HTTP/1.1 byte by byte and is strict with
//! what it reads, so that a framing error of ours fails the test that meets it.
//!
//! Everything here panics when something is wrong: that is how a test fails.
//! Every wait has a bound.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code fails by panicking"
)]

pub mod api;
pub mod archive;
mod disk;
pub mod log;
pub mod memory;
pub mod npm;
mod probe;
pub mod process;
mod programs;
pub mod sample;
mod server;
pub mod tls;
pub mod wire;

use std::io::Write as _;
use std::time::Duration;

pub use crate::disk::{FailingDisk, SmallDisk};
pub use crate::npm::NpmRegistry;
pub use crate::probe::{NeighbourProbe, ProbeReport};
pub use crate::programs::{fake_bun, lesser, real_bun};
pub use crate::server::{Builder, TestServer};
pub use crate::wire::{Connection, Response, raw};

/// How long a test waits for anything that should happen at once. Long, because
/// a machine under load is slow; nothing waits this long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this is a UUID of version 4, as `crypto.randomUUID()` makes them.
#[must_use]
pub fn is_uuid(id: &str) -> bool {
    let groups: Vec<&str> = id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
        && groups[2].starts_with('4')
}

/// Says why a test shows nothing here: what it needs is not on this machine, or not for this
/// user. On stderr, and in `target/skipped-tests`, which `make test` shows at its end, since
/// who runs tests does not see what one that passes says.
///
/// # Panics
/// Where `BUNTIME_NO_SKIPS` is set, by somebody who knows that this machine has it all.
#[track_caller]
#[expect(clippy::print_stderr, reason = "who runs one test alone shall see it")]
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("BUNTIME_NO_SKIPS").is_none(),
        "may not be skipped: {why}"
    );
    let test = std::thread::current();
    let line = format!("{}: {why}\n", test.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    // The program of a test lies in `target/debug/deps`.
    let program = std::env::current_exe().unwrap_or_default();
    if let Some(target) = program.ancestors().nth(3) {
        let list = std::fs::File::options()
            .create(true)
            .append(true)
            .open(target.join("skipped-tests"));
        let _ = list.and_then(|mut list| list.write_all(line.as_bytes()));
    }
}
