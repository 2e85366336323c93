//! What a worker writes to its standard output and error.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::bucket::Bucket;
use crate::config::AppSpec;
use crate::events::{LONGEST_LINE, LogStream, PoolEvents};
use crate::lines::Lines;

/// Lines of one pipe at once, and in a second in the long run.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 200;
/// After each full read of a flood: at most 6 MB/s cost us a moment each.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);
const READ: usize = 64 * 1024;

/// What both pipes of a worker may write together.
#[derive(Debug)]
pub(super) struct Output {
    app: Arc<OnceLock<Arc<AppSpec>>>,
    /// Made with the first line of the app.
    bytes: Mutex<Option<Bucket>>,
}

impl Output {
    pub(super) fn new(app: Arc<OnceLock<Arc<AppSpec>>>) -> Self {
        Self {
            app,
            bytes: Mutex::default(),
        }
    }

    /// Whether a line of so many bytes is passed on.
    fn takes(&self, length: usize, now: Instant) -> bool {
        // A blank says nothing; its app may not have reached us yet.
        let Some(spec) = self.app.get() else {
            return true;
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1);
        let mut bytes = self.bytes.lock();
        let bucket = bytes.get_or_insert_with(|| {
            let limit = spec.granted.limits.output.bytes();
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            Bucket::new(limit, limit, now)
        });
        bucket.take_many(length, now)
    }
}

/// Passes the lines of one pipe on until it ends. It never stops reading, so a
/// worker that writes too much is slowed, not stopped; what is too much is
/// dropped and counted.
pub(super) async fn pump(
    pipe: OwnedFd,
    stream: LogStream,
    worker: Uuid,
    output: Arc<Output>,
    events: Arc<dyn PoolEvents>,
) {
    let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else {
        return;
    };
    let mut buffer = Vec::with_capacity(READ / 16);
    let mut lines = Lines::new(LONGEST_LINE);
    let mut bucket = Bucket::new(BURST, PER_SECOND, Instant::now());
    let mut dropped = 0_u64;
    let name = || output.app.get().map(|spec| spec.id.as_str());
    let mut pass = |line: &[u8], dropped: &mut u64| {
        let now = Instant::now();
        if bucket.take(now).is_err() || !output.takes(line.len(), now) {
            *dropped += 1;
            return;
        }
        if *dropped > 0 {
            events.log_dropped(name(), worker, *dropped);
            *dropped = 0;
        }
        events.log_line(name(), worker, stream, &String::from_utf8_lossy(line));
    };
    loop {
        buffer.clear();
        let before = dropped;
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => lines.push(&buffer, |line| pass(line, &mut dropped)),
        }
        // What has no end of a line is left out as well.
        if dropped > before || lines.is_over() {
            buffer.reserve(READ);
            sleep(FLOOD_PAUSE).await;
        }
    }
    lines.finish(|line| pass(line, &mut dropped));
    if dropped > 0 {
        events.log_dropped(name(), worker, dropped);
    }
}
