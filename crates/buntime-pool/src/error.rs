//! What can go wrong, as closed sets.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use buntime_core::ByteSize;
use buntime_http::BodyError;
use serde::{Serialize, Serializer};

/// Why a worker process ended, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// No request for the app's `ttl`.
    IdleTtl,
    /// It had served `maxRequests`.
    MaxRequests,
    /// The pool was full and this one had been idle longest.
    Evicted,
    /// Its app's files changed, so that another deployment took its place.
    Retired,
    /// Its app was disabled or removed.
    Removed,
    /// Somebody asked for new workers of its app.
    Restarted,
    /// It did not answer a request, or did not start, within `timeout`.
    Timeout,
    /// It exited by itself.
    Crashed(Death),
    /// It could not load the app.
    StartFailed,
    /// The server is stopping.
    ServerStopping,
    /// It was ephemeral and its request is over.
    EphemeralDone,
    /// It sent too much garbage on the control channel.
    Misbehaved,
    /// It used more than it may.
    Killed(Limit),
    /// It was a blank that nobody needed any more.
    Surplus,
}

impl ExitReason {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IdleTtl => "idle-ttl",
            Self::MaxRequests => "max-requests",
            Self::Evicted => "evicted",
            Self::Retired => "retired",
            Self::Removed => "removed",
            Self::Restarted => "restarted",
            Self::Timeout => "timeout",
            Self::Crashed(_) => "crashed",
            Self::StartFailed => "start-failed",
            Self::ServerStopping => "server-stopping",
            Self::EphemeralDone => "ephemeral-done",
            Self::Misbehaved => "misbehaved",
            Self::Killed(limit) => limit.label(),
            Self::Surplus => "surplus",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed(Death::Code(code)) => write!(f, "crashed with code {code}"),
            Self::Crashed(Death::Signal(signal)) => write!(f, "crashed by signal {signal}"),
            Self::Killed(limit) => write!(f, "killed: {limit}"),
            other => f.write_str(other.label()),
        }
    }
}

impl Serialize for ExitReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A limit that a worker went over, and how high it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Memory of one process.
    Memory(ByteSize),
    /// Processors, in thousandths: it computed for too long without a request.
    Cpu(u32),
    /// What its data and temporary folders may hold.
    Disk(ByteSize),
    /// Threads of one process.
    Threads(u32),
}

impl Limit {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Cpu(_) => "cpu",
            Self::Disk(_) => "disk",
            Self::Threads(_) => "threads",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(size) | Self::Disk(size) => {
                let size = size.to_string();
                let unit = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
                let (number, unit) = size.split_at(unit);
                write!(f, "{} {number} {}", self.label(), unit.to_uppercase())
            }
            Self::Cpu(thousandths) => write!(f, "cpu {}", f64::from(*thousandths) / 1000.0),
            Self::Threads(count) => write!(f, "threads {count}"),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why a request got no response from its app.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The worker could not be started: the app's fault, or the machine's.
    #[error("the worker could not be started: {0}")]
    StartFailed(StartFailure),
    /// Too many starts in a row failed; none is tried until `retry_after` is over
    /// or the app's files change.
    #[error("the worker failed to start too often")]
    CrashLoop {
        /// Until a start is tried again.
        retry_after: Duration,
    },
    /// The worker died before it had answered.
    #[error("the worker died before it answered")]
    Crashed,
    /// The app's handler threw, or its promise was rejected.
    #[error("the app's handler threw")]
    Threw,
    /// No first byte within `timeout`; the worker is being killed.
    #[error("the worker did not answer in time")]
    Timeout,
    /// What came back is no HTTP response, or one that the app must not give.
    #[error("the worker's answer is no valid response: {0}")]
    BadResponse(&'static str),
    /// The app's queue is full.
    #[error("too many requests wait for a worker")]
    QueueFull {
        /// A guess of when a place will be free.
        retry_after: Duration,
    },
    /// No worker was free within `timeout`.
    #[error("no worker was free in time")]
    QueueTimeout {
        /// A guess of when a place will be free.
        retry_after: Duration,
    },
    /// The client went away first.
    #[error("the client went away")]
    ClientGone,
    /// The request's body ended before its end.
    #[error("the request body failed")]
    Body(#[source] BodyError),
    /// The app was replaced or removed, or the pool is stopping.
    #[error("the app is no longer served")]
    Retired,
}

/// Why a worker could not be started. The text may hold paths and stacks of the
/// app: it is for logs, not for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartFailure {
    /// What happened; at most 16 KB.
    pub message: String,
}

impl StartFailure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// Why a response's body ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerBodyError {
    /// The worker closed the connection before the length it had announced.
    #[error("the worker ended its response too early")]
    Truncated,
    /// The chunks of the response are malformed.
    #[error("the worker's chunks are malformed")]
    Framing,
    /// Nothing came for the app's `idleTimeout` (ephemeral workers only).
    #[error("the worker was silent for too long")]
    Silent,
    /// The request's body failed while the response was under way.
    #[error("the request body failed")]
    Request(#[source] BodyError),
}

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory for workers' slots cannot be made or cleaned.
    #[error("cannot prepare the runtime directory {}", path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory for bundles cannot be made or cleaned.
    #[error("cannot prepare the directory for bundles {}", path.display())]
    BundleDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory for installs cannot be made or cleaned, or the registry's
    /// certificates cannot be read.
    #[error("cannot prepare the directory for installs {}", path.display())]
    InstallDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The Bun binary is not there or is not a file.
    #[error("no Bun at {}", path.display())]
    NoBun {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_what_it_was() {
        let size = |text: &str| text.parse::<ByteSize>().unwrap();
        for (limit, told) in [
            (Limit::Memory(size("256mb")), "killed: memory 256 MB"),
            (Limit::Memory(size("1.5gb")), "killed: memory 1536 MB"),
            (Limit::Disk(size("20gb")), "killed: disk 20 GB"),
            (Limit::Disk(size("1000")), "killed: disk 1000 B"),
            (Limit::Cpu(1000), "killed: cpu 1"),
            (Limit::Cpu(250), "killed: cpu 0.25"),
            (Limit::Threads(512), "killed: threads 512"),
        ] {
            let reason = ExitReason::Killed(limit);
            assert_eq!(reason.to_string(), told);
            assert!(told.contains(reason.label()));
        }
    }
}
