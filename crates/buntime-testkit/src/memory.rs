//! How much memory a process takes while something happens.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(5);

/// Heap and stacks of a process in bytes; zero once it is gone. Unlike the
/// proportional set size it does not grow when another process of the same program
/// ends.
#[must_use]
pub fn anonymous(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

/// Samples a process until it is asked for the peak.
#[derive(Debug)]
pub struct Peak {
    before: u64,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Peak {
    /// Begins to watch the [`anonymous`] memory.
    #[must_use]
    pub fn watch(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let before = anonymous(pid);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(anonymous(pid));
                thread::sleep(INTERVAL);
            }
            peak.max(anonymous(pid))
        });
        Self {
            before,
            stop,
            thread,
        }
    }

    /// By how many bytes the peak was above the beginning.
    ///
    /// # Panics
    /// If the watching thread did.
    #[must_use]
    pub fn growth(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().saturating_sub(self.before)
    }
}
