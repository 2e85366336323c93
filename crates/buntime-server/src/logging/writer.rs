//! The queue of lines and the thread that writes them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fields::Fields;
use super::{Format, Level, Timestamp, line};

/// Most lines that wait. Most are a few hundred bytes.
const MOST_LINES: usize = 8192;

/// Most bytes that wait: lines may be long, and memory is for requests.
const MOST_BYTES: usize = 4 << 20;

/// How many bytes go into one write.
const BATCH: usize = 64 * 1024;

/// How long the end of the process waits for a slow reader of the log.
const FLUSH_TIME: Duration = Duration::from_secs(2);

enum Item {
    Line(String),
    /// Everything before it is to be written; then the sender is told.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// The sending half.
#[derive(Clone)]
pub(super) struct Queue {
    items: SyncSender<Item>,
    counts: Arc<Counts>,
}

impl Queue {
    /// Never waits: a line that finds no room is dropped and counted.
    pub(super) fn push(&self, line: String) {
        let length = line.len();
        let queued = self
            .counts
            .queued_bytes
            .fetch_add(length, Ordering::Relaxed);
        if queued + length > MOST_BYTES || self.items.try_send(Item::Line(line)).is_err() {
            self.counts
                .queued_bytes
                .fetch_sub(length, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what is queued when it is dropped, for at most two seconds. Keep it until the end of `main`.
pub struct LogGuard {
    items: SyncSender<Item>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogGuard").finish_non_exhaustive()
    }
}

impl LogGuard {
    /// Waits until all lines so far are written, or the time is over.
    pub fn flush(&self, within: Duration) {
        let (done, is_done) = sync_channel(1);
        // The queue may be full because nobody reads: no waiting for room without an end, so a helper thread waits.
        let items = self.items.clone();
        let helper = std::thread::Builder::new()
            .name("log-flush".to_owned())
            .spawn(move || {
                let _ = items.send(Item::Flush(done));
            });
        if helper.is_ok() {
            let _ = is_done.recv_timeout(within);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush(FLUSH_TIME);
        // The thread ends by itself when the last logger goes; it may be stuck in a write, so nobody waits for it.
        drop(self.thread.take());
    }
}

pub(super) fn start(
    format: Format,
    out: Box<dyn Write + Send>,
) -> std::io::Result<(Queue, LogGuard)> {
    let (items, receiver) = sync_channel(MOST_LINES);
    let counts = Arc::new(Counts::default());
    let writer = Writer {
        format,
        out,
        counts: Arc::clone(&counts),
        batch: Vec::with_capacity(BATCH),
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run(&receiver))?;
    Ok((
        Queue {
            items: items.clone(),
            counts,
        },
        LogGuard {
            items,
            thread: Some(thread),
        },
    ))
}

struct Writer {
    format: Format,
    out: Box<dyn Write + Send>,
    counts: Arc<Counts>,
    batch: Vec<u8>,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        while let Ok(first) = items.recv() {
            let mut next = Some(first);
            while let Some(item) = next {
                match item {
                    Item::Line(line) => self.take(&line),
                    Item::Flush(done) => {
                        self.write();
                        let _ = done.try_send(());
                    }
                }
                next = if self.batch.len() < BATCH {
                    items.try_recv().ok()
                } else {
                    None
                };
            }
            self.write();
        }
    }

    fn take(&mut self, line: &str) {
        self.counts
            .queued_bytes
            .fetch_sub(line.len(), Ordering::Relaxed);
        self.report_dropped();
        self.batch.extend_from_slice(line.as_bytes());
    }

    fn report_dropped(&mut self) {
        let dropped = self.counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let mut fields = Fields::new();
            fields.add("dropped", dropped);
            let message = "Lines were dropped: the log's reader is too slow";
            let line = line::render(
                self.format,
                Timestamp::now(),
                Level::Warn,
                "log",
                &message,
                &fields,
            );
            self.batch.extend_from_slice(line.as_bytes());
        }
    }

    /// A log that cannot be written must not stop the server: the lines are lost, and counted for when it can.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self
            .out
            .write_all(&self.batch)
            .and_then(|()| self.out.flush())
            .is_err()
        {
            let lines = self.batch.iter().filter(|byte| **byte == b'\n').count();
            self.counts
                .dropped
                .fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.batch.clear();
    }
}
