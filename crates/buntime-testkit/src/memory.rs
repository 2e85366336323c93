//! How much memory a process takes while something happens.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(5);

/// Proportional set size of a process in bytes; zero once it is gone.
#[must_use]
pub fn pss(pid: u32) -> u64 {
    rollup(pid, "Pss:")
}

/// Heap and stacks of a process in bytes. Unlike [`pss`] it does not grow when
/// another process of the same program ends.
#[must_use]
pub fn anonymous(pid: u32) -> u64 {
    rollup(pid, "Anonymous:")
}

fn rollup(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field))
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
    /// Begins to watch the [`pss`].
    #[must_use]
    pub fn watch(pid: u32) -> Self {
        Self::of(pid, pss)
    }

    /// Begins to watch the [`anonymous`] memory.
    #[must_use]
    pub fn watch_anonymous(pid: u32) -> Self {
        Self::of(pid, anonymous)
    }

    fn of(pid: u32, measure: fn(u32) -> u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let before = measure(pid);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(measure(pid));
                thread::sleep(INTERVAL);
            }
            peak.max(measure(pid))
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
