//! The server's log: one line for each thing worth saying, to stdout.
//!
//! A [`Logger`] is cheap to clone and never waits: a line goes into a bounded queue, and one thread writes. When the
//! reader of stdout is too slow and the queue is full, lines are dropped, counted, and the next line that gets through
//! says how many. A line below the level costs one comparison.
//!
//! Whatever is logged, a line is one line: control characters, terminal escapes and text that would change the reading
//! direction are escaped, and a line holds at most [`LINE_MAX`] bytes. Secrets have neither `Serialize` nor `Display`,
//! so they cannot be logged.

mod capture;
mod escape;
mod fields;
mod line;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use std::fmt::{self, Display};
use std::io::Write;

pub use capture::Captured;
pub(crate) use escape::SafeFormatter;
pub use fields::Fields;
pub use line::LINE_MAX;
pub(crate) use time::Timestamp;
pub use writer::LogGuard;

use crate::config::LogConfig;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// Ordinary life.
    Info,
    /// Odd, and the server goes on.
    Warn,
    /// Something does not work.
    Error,
}

impl Level {
    /// As in `RUNTIME_LOG_LEVEL` and in JSON lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// As in pretty lines.
    fn short(self) -> &'static str {
        match self {
            Self::Debug => "DBG",
            Self::Info => "INF",
            Self::Warn => "WRN",
            Self::Error => "ERR",
        }
    }
}

/// Shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// For people.
    Pretty,
}

impl Format {
    /// As in `RUNTIME_LOG_FORMAT`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Pretty => "pretty",
        }
    }
}

/// Where lines go.
#[derive(Clone)]
enum Sink {
    Queue(writer::Queue),
    Memory(Captured),
}

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub struct Logger {
    level: Level,
    format: Format,
    sink: Sink,
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("level", &self.level)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Logger {
    /// Starts the thread that writes to `out`. Dropping the guard writes what is queued.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        config: LogConfig,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, LogGuard)> {
        let (queue, guard) = writer::start(config.format, Box::new(out))?;
        Ok((
            Self {
                level: config.level,
                format: config.format,
                sink: Sink::Queue(queue),
            },
            guard,
        ))
    }

    /// A logger for tests: everything from `debug` up, as JSON, kept in memory.
    #[must_use]
    pub fn capture() -> (Self, Captured) {
        let captured = Captured::new();
        let sink = Sink::Memory(captured.clone());
        (
            Self {
                level: Level::Debug,
                format: Format::Json,
                sink,
            },
            captured,
        )
    }

    /// Whether a line of this level would be made.
    #[must_use]
    pub fn is_on(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Logs a line. `fields` runs only if the line is made.
    pub fn log(
        &self,
        level: Level,
        context: &str,
        message: impl Display,
        fields: impl FnOnce(&mut Fields),
    ) {
        if !self.is_on(level) {
            return;
        }
        let mut collected = Fields::new();
        fields(&mut collected);
        let line = line::render(
            self.format,
            Timestamp::now(),
            level,
            context,
            &message,
            &collected,
        );
        match &self.sink {
            Sink::Queue(queue) => queue.push(line),
            Sink::Memory(captured) => captured.push(line),
        }
    }

    /// For whoever looks for a fault.
    pub fn debug(&self, context: &str, message: impl Display, fields: impl FnOnce(&mut Fields)) {
        self.log(Level::Debug, context, message, fields);
    }

    /// Ordinary life.
    pub fn info(&self, context: &str, message: impl Display, fields: impl FnOnce(&mut Fields)) {
        self.log(Level::Info, context, message, fields);
    }

    /// Odd, and the server goes on.
    pub fn warn(&self, context: &str, message: impl Display, fields: impl FnOnce(&mut Fields)) {
        self.log(Level::Warn, context, message, fields);
    }

    /// Something does not work.
    pub fn error(&self, context: &str, message: impl Display, fields: impl FnOnce(&mut Fields)) {
        self.log(Level::Error, context, message, fields);
    }
}
