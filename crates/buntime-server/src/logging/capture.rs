//! Lines kept in memory, for tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Most lines kept; older ones go.
const MOST_LINES: usize = 10_000;

#[derive(Debug, Default)]
struct Lines {
    lines: Mutex<VecDeque<String>>,
    arrived: Condvar,
}

/// What a [`super::Logger::capture`] logger has taken.
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Lines>);

impl Captured {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn push(&self, line: String) {
        let mut lines = self.0.lines.lock();
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(line.trim_end().to_owned());
        self.0.arrived.notify_all();
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.lock().iter().cloned().collect()
    }

    /// All lines so far, as JSON. What is no JSON is `null`.
    #[must_use]
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.0
            .lines
            .lock()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_default())
            .collect()
    }

    /// Waits for a line that `wanted` accepts, among those so far and those to come. Blocks the thread.
    #[must_use]
    pub fn wait_for(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut lines = self.0.lines.lock();
        loop {
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            if self.0.arrived.wait_for(&mut lines, within).timed_out() {
                return lines.iter().find(|line| wanted(line)).cloned();
            }
        }
    }
}
