//! Archives that become workers, releases and the way back, through the real program on
//! the real Bun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploy {
    mod archives;
    mod cases;
    mod disks;
    mod grants;
    mod kills;
    mod manifests;
    mod plugins;
    mod progress;
    mod releases;
    mod support;
    mod swaps;
}
