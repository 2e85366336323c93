//! Places at which a test has the server die, to see what the next start makes of it.

/// Dies here as by `kill -9`, if this is the step that the environment names by its
/// number: `BUNTIME_DIE_AT=7` is the seventh step since the process began. Without the
/// feature `failpoints`, which only tests have, this is nothing.
#[cfg(feature = "failpoints")]
pub(super) fn step(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static DIES_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("BUNTIME_DIE_AT").ok()?.parse().ok());
    static STEPS: AtomicU64 = AtomicU64::new(0);

    let Some(dies_at) = *DIES_AT else { return };
    if STEPS.fetch_add(1, Ordering::SeqCst) + 1 == dies_at {
        // Read by whoever runs the test; the line is out before the process is gone.
        let mut stderr = std::io::stderr();
        let _ = std::io::Write::write_fmt(&mut stderr, format_args!("dies at: {name}\n"));
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing more is done until then.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
pub(super) fn step(_name: &str) {}
