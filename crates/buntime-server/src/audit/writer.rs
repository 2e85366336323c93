//! The thread that writes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::line::Entry;
use super::log::{Limits, Log};
use super::{AuditUnavailable, Shared};
use crate::logging::{Logger, Timestamp};

/// Most calls that wait for the thread. More than that are not served.
const MOST_WAITING: usize = 1024;

/// Most lines kept for when they can be written.
const MOST_KEPT: usize = 1024;

/// How often the thread tries by itself to write what it keeps.
const RETRY: Duration = Duration::from_secs(1);

/// For ever, where there is nothing to wait for.
const IDLE: Duration = Duration::from_secs(3600);

type Done = oneshot::Sender<Result<(), AuditUnavailable>>;

pub(super) enum Job {
    /// A line to write; none: prove that one could be written.
    Write { entry: Option<Entry>, done: Done },
    /// Write all there is, of strangers too.
    Flush(Done),
    /// Look at the clock.
    Wake,
}

/// How the log fares.
#[derive(Debug, Default)]
pub(super) struct Counts {
    failures: AtomicU64,
    unavailable: AtomicBool,
}

impl Counts {
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_available(&self) -> bool {
        !self.unavailable.load(Ordering::Relaxed)
    }

    fn fail(&self, lines: usize) {
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        self.failures.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Queue {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Never waits.
    pub(super) fn push(&self, job: Job) -> Result<(), AuditUnavailable> {
        self.jobs.try_send(job).map_err(|_| {
            self.shared.counts.fail(1);
            AuditUnavailable
        })
    }

    /// The thread is to look when something is due. If it has no room for that, it
    /// is awake and looks by itself.
    pub(super) fn wake(&self) {
        let _ = self.jobs.try_send(Job::Wake);
    }
}

pub(super) fn start(shared: Arc<Shared>, limits: Limits, log: Logger) -> io::Result<Queue> {
    let (jobs, receiver) = sync_channel(MOST_WAITING);
    let mut writer = Writer {
        log: Log::new(&shared.dir, limits),
        shared: Arc::clone(&shared),
        logger: log,
        kept: VecDeque::new(),
    };
    // Readers are to see what an earlier run wrote, before the first call.
    writer.write(&mut Vec::new());
    std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run(&receiver))?;
    Ok(Queue { jobs, shared })
}

struct Writer {
    log: Log,
    shared: Arc<Shared>,
    logger: Logger,
    /// Lines that are not written yet, the oldest first.
    kept: VecDeque<Vec<u8>>,
}

impl Writer {
    /// Ends when the last [`super::Audit`] is gone.
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut waiting = Vec::new();
        loop {
            let mut everything = false;
            match jobs.recv_timeout(self.patience()) {
                Ok(first) => {
                    // All that came while the disk was busy shares the next sync.
                    let rest = jobs.try_iter().take(MOST_WAITING);
                    for job in std::iter::once(first).chain(rest) {
                        everything |= matches!(job, Job::Flush(_));
                        self.take(job, &mut waiting);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.take_strangers(everything);
            if !waiting.is_empty() || !self.kept.is_empty() {
                self.write(&mut waiting);
            }
        }
    }

    fn patience(&self) -> Duration {
        if !self.kept.is_empty() {
            return RETRY;
        }
        self.shared.strangers.lock().due_in().unwrap_or(IDLE)
    }

    fn take(&mut self, job: Job, waiting: &mut Vec<Done>) {
        match job {
            Job::Write { entry, done } => {
                if let Some(entry) = entry {
                    self.keep(entry);
                }
                waiting.push(done);
            }
            Job::Flush(done) => waiting.push(done),
            Job::Wake => {}
        }
    }

    fn take_strangers(&mut self, everything: bool) {
        let mut strangers = self.shared.strangers.lock();
        let is_due = strangers.due_in().is_some_and(|due| due.is_zero());
        if !is_due && !everything {
            return;
        }
        let entries = strangers.take();
        drop(strangers);
        for entry in entries {
            self.keep(entry);
        }
    }

    /// Nothing begins while lines are kept, so only calls under way can add some.
    fn keep(&mut self, entry: Entry) {
        let room = MOST_KEPT + MOST_WAITING;
        if self.kept.len() < room {
            self.kept.push_back(entry.render(Timestamp::now()));
        } else {
            self.shared.counts.fail(1);
        }
    }

    /// Writes what is kept and tells those who wait for it.
    fn write(&mut self, waiting: &mut Vec<Done>) {
        let lines = self.kept.make_contiguous().concat();
        let result = self.log.append(&lines);
        *self.shared.live.lock() = self.log.live();
        let was_available = self.shared.counts.is_available();
        let is_available = result.is_ok();
        self.shared
            .counts
            .unavailable
            .store(!is_available, Ordering::Relaxed);
        match &result {
            Ok(()) => {
                if !was_available {
                    self.logger
                        .info("audit", "Audit log can be written again", |fields| {
                            fields.add("lines", self.kept.len());
                        });
                }
                self.kept.clear();
            }
            Err(error) => {
                self.shared.counts.fail(waiting.len());
                if was_available {
                    self.logger.error(
                        "audit",
                        "Audit log cannot be written: nothing can be changed until it can",
                        |fields| {
                            fields.error(error);
                        },
                    );
                }
            }
        }
        for done in waiting.drain(..) {
            let _ = done.send(result.as_ref().copied().map_err(|_| AuditUnavailable));
        }
    }
}
