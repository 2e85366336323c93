//! What a server has written, line by line, and waiting for a line.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The lines of one stream of a process, as they come.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects the lines of `stream` until it ends; bytes that are no UTF-8 are replaced.
    pub fn collect(stream: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let lines = Self::default();
        let writer = lines.clone();
        let thread = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                writer.0.state.lock().unwrap().lines.push(text);
                writer.0.came.notify_all();
                line.clear();
            }
            writer.0.state.lock().unwrap().ended = true;
            writer.0.came.notify_all();
        });
        (lines, thread)
    }

    /// All lines until now.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.state.lock().unwrap().lines.clone()
    }

    /// The first line, from the beginning on, for which `find` gives something.
    /// `None` once `patience` is over or the stream has ended without one.
    pub fn wait<T>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut seen = 0;
        let mut state = self.0.state.lock().unwrap();
        loop {
            for line in &state.lines[seen..] {
                if let Some(found) = find(line) {
                    return Some(found);
                }
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.0.came.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// A line of a server's log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine(Value);

impl LogLine {
    /// Reads a line, which must be one JSON object with the keys of contract section 10.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let value: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("a log line is no JSON: {error}\n{line}"));
        for key in ["level", "message", "time"] {
            assert!(value[key].is_string(), "a log line without {key}: {line}");
        }
        assert!(
            !line.chars().any(char::is_control),
            "a log line holds control characters: {line:?}"
        );
        Self(value)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.text("message")
    }

    /// The level: `debug`, `info`, `warn` or `error`.
    #[must_use]
    pub fn level(&self) -> &str {
        self.text("level")
    }

    /// The field as text; empty if there is none or it is no text.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// The whole line.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}
