//! The control channel: one JSON object a line, both ways
//! (docs/decisions/0003-worker-control-channel.md).
//!
//! The app runs in the process at the other end, so nothing that is read here is
//! trusted: it is bounded, rate-limited, and at worst costs that worker its life.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::bucket::Bucket;
use crate::lines::Lines;

/// A longer line is garbage, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;
/// Messages at once, and in a second in the long run. A worker that sends more
/// is read more slowly.
const BURST: u32 = 200;
const PER_SECOND: u32 = 100;
const READ: usize = 16 * 1024;
/// A worker that takes no order within this is lost.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// To the worker.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Order {
    /// Nothing has been asked of you for a while.
    Idle,
    /// End.
    Terminate {
        #[serde(rename = "graceMs")]
        grace_ms: u64,
    },
}

/// From the worker.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Notice {
    /// The socket is bound.
    Up,
    /// A worker that was started for its app serves it.
    Ready {
        #[serde(default)]
        hooks: Vec<String>,
    },
    /// A worker that was started for its app cannot load it.
    Failed {
        message: String,
        #[serde(default)]
        stack: String,
    },
    /// `onTerminate` is over.
    Terminated,
    /// For the log.
    Error {
        source: String,
        #[serde(rename = "requestId")]
        request_id: Option<String>,
        message: String,
        #[serde(default)]
        stack: String,
    },
}

/// What came from the worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Notice(Notice),
    /// Something that is no notice.
    Garbage,
    /// The worker closed the channel.
    Closed,
}

/// The server's end.
#[derive(Debug)]
pub(super) struct Control {
    stream: UnixStream,
    buffer: Vec<u8>,
    lines: Lines,
    heard: VecDeque<Heard>,
    bucket: Bucket,
    closed: bool,
}

impl Control {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(1024),
            lines: Lines::new(LONGEST_LINE),
            heard: VecDeque::new(),
            bucket: Bucket::new(BURST, PER_SECOND, Instant::now()),
            closed: false,
        }
    }

    /// The next thing the worker said. Nothing is lost if the future is dropped.
    /// After `Closed` it never returns.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            if !self.heard.is_empty() {
                // Nothing is taken out before the wait, so none is lost with it.
                match self.bucket.take(Instant::now()) {
                    Err(wait) => sleep(wait).await,
                    Ok(()) => {
                        if let Some(heard) = self.heard.pop_front() {
                            return heard;
                        }
                    }
                }
                continue;
            }
            if self.closed {
                return std::future::pending().await;
            }
            self.buffer.clear();
            self.buffer.reserve(READ);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => {
                    self.closed = true;
                    self.heard.push_back(Heard::Closed);
                }
                Ok(_) => {
                    let heard = &mut self.heard;
                    self.lines
                        .push(&self.buffer, |line| heard.push_back(read(line)));
                    if self.lines.is_over() {
                        self.heard.push_back(Heard::Garbage);
                    }
                }
            }
        }
    }

    /// Sends an order.
    pub(super) async fn tell(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        timeout(WRITE_LIMIT, self.stream.write_all(&line))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn read(line: &[u8]) -> Heard {
    serde_json::from_slice(line).map_or(Heard::Garbage, Heard::Notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_and_anything_else_is_garbage() {
        assert_eq!(read(br#"{"t":"up"}"#), Heard::Notice(Notice::Up));
        for garbage in [
            "",
            "{}",
            "[]",
            "null",
            "{\"t\":\"no\"}",
            "{\"t\":1}",
            "\u{0}",
            "{\"t\":\"error\"}",
        ] {
            assert_eq!(read(garbage.as_bytes()), Heard::Garbage, "{garbage}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_slowly_and_nothing_of_it_is_lost() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut control = Control::new(ours);
        let writer = tokio::spawn(async move {
            let mut theirs = theirs;
            theirs
                .write_all(&b"{\"t\":\"up\"}\n".repeat(1000))
                .await
                .unwrap();
        });
        let start = Instant::now();
        for _ in 0..1000 {
            assert_eq!(control.hear().await, Heard::Notice(Notice::Up));
        }
        assert_eq!(control.hear().await, Heard::Closed);
        assert!(
            start.elapsed() >= Duration::from_secs(7),
            "{:?}",
            start.elapsed()
        );
        writer.await.unwrap();
    }
}
