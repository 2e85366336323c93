//! Who did what, to what, when, from where, with what outcome (contract section 7).
//!
//! Every call that may change something takes two steps. [`Audit::begin`] proves
//! that a line can be written, and keeps room for it, before anything is changed.
//! [`Pending::finish`] writes the one line of the call and returns when it is on
//! the disk; only then is the call answered. Whoever drops a [`Pending`], because
//! the client went away or the handler panicked, leaves a line that says so. Why
//! it is done so stands in `docs/decisions/0012-audit.md`.
//!
//! One thread writes. Calls that arrive while it waits for the disk share the next
//! write and the next sync. What it cannot write it keeps, up to a bound, and
//! writes when it can; until then every `begin` fails.
//!
//! Refusals of callers whom nobody knows are counted, one line for each address
//! and minute ([`Audit::refuse_stranger`]), so that strangers cannot fill the disk.

mod line;
mod log;
mod reader;
mod strangers;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::line::{Actor, Line, Outcome, Target};
pub use self::log::Limits;
pub use self::reader::{BadCursor, BadTime, Cursor, Page, Query, Time};

use self::line::Entry;
use self::log::Live;
use self::strangers::Strangers;
use self::writer::{Counts, Job, Queue};
use crate::logging::Logger;
use crate::message::Caller;

/// Longest that a call waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The line could not be written (503 `AUDIT_UNAVAILABLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct AuditUnavailable;

/// A call as far as it is known before it is handled.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request's id.
    pub request_id: Box<str>,
    /// Who asks; `None` where nobody has proved to be anybody.
    pub actor: Option<Actor>,
    /// From where, as the trusted proxies tell it.
    pub from: Caller,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, without the query.
    pub path: Box<str>,
    /// What it would do, such as `worker.upload`.
    pub action: &'static str,
}

/// The audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    shared: Arc<Shared>,
    queue: Queue,
}

/// What callers, readers and the writer's thread share.
#[derive(Debug)]
struct Shared {
    dir: Box<Path>,
    live: Mutex<Live>,
    strangers: Mutex<Strangers>,
    counts: Counts,
}

impl Audit {
    /// Opens the log in the state directory `dir` and starts the thread that
    /// writes. A log that cannot be opened now is tried again with every call.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn open(dir: &Path, limits: Limits, log: Logger) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            dir: dir.into(),
            live: Mutex::default(),
            strangers: Mutex::new(Strangers::default()),
            counts: Counts::default(),
        });
        let queue = writer::start(Arc::clone(&shared), limits, log)?;
        Ok(Self { shared, queue })
    }

    /// Proves that the line of `call` can be written, before anything is changed.
    ///
    /// # Errors
    /// It cannot: nothing may be changed.
    pub async fn begin(&self, call: Call) -> Result<Pending, AuditUnavailable> {
        self.wait_for(None).await?;
        Ok(Pending {
            call: Some(call),
            target: Target::default(),
            audit: self.clone(),
        })
    }

    /// Writes the line of a call for which nothing was begun: one that is refused, or
    /// that changes nothing by itself before it is answered.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn record(
        &self,
        call: Call,
        target: Target,
        outcome: Outcome,
    ) -> Result<(), AuditUnavailable> {
        self.write(call, target, Some(outcome)).await
    }

    /// Counts a refusal of somebody who has no valid key. Never waits; the line
    /// follows within about a minute.
    pub fn refuse_stranger(&self, from: &Caller, code: &'static str) {
        let is_first = self.shared.strangers.lock().count(from, code);
        if is_first {
            self.queue.wake();
        }
    }

    /// The newest lines that `query` wants, from its cursor on. Blocks the thread
    /// for some ten milliseconds at most.
    ///
    /// # Errors
    /// A file could not be read.
    pub fn read(&self, query: &Query<'_>) -> io::Result<Page> {
        let live = self.shared.live.lock().clone();
        reader::read(&self.shared.dir, &live, query)
    }

    /// Lines that could not be written when they should have been, since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.counts.failures()
    }

    /// How many refusals of strangers there were since the start, by code.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.shared.strangers.lock().totals().clone()
    }

    /// Whether the last try to write was a success.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.shared.counts.is_available()
    }

    /// Writes what waits, the counts of strangers too. For the end of the process.
    ///
    /// # Errors
    /// Not all could be written in time.
    pub async fn flush(&self) -> Result<(), AuditUnavailable> {
        let (done, is_done) = oneshot::channel();
        self.queue.push(Job::Flush(done))?;
        wait(is_done).await
    }

    async fn write(
        &self,
        call: Call,
        target: Target,
        outcome: Option<Outcome>,
    ) -> Result<(), AuditUnavailable> {
        self.wait_for(Some(Entry::new(call, target, outcome))).await
    }

    async fn wait_for(&self, entry: Option<Entry>) -> Result<(), AuditUnavailable> {
        let (done, is_done) = oneshot::channel();
        self.queue.push(Job::Write { entry, done })?;
        wait(is_done).await
    }
}

async fn wait(
    done: oneshot::Receiver<Result<(), AuditUnavailable>>,
) -> Result<(), AuditUnavailable> {
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(AuditUnavailable),
    }
}

/// A call that has begun and will leave one line.
#[derive(Debug)]
#[must_use = "the call is not written before `finish`"]
pub struct Pending {
    /// `None` once the line is made.
    call: Option<Call>,
    target: Target,
    audit: Audit,
}

impl Pending {
    /// Says what the call is about.
    pub fn about(&mut self, target: Target) {
        self.target = target;
    }

    /// Writes the line of the call; to be awaited before the call is answered.
    ///
    /// # Errors
    /// It could not be written now; it is kept and written as soon as that is
    /// possible. The call must not be answered as a success.
    pub async fn finish(mut self, outcome: Outcome) -> Result<(), AuditUnavailable> {
        let Some(call) = self.call.take() else {
            return Ok(());
        };
        let target = std::mem::take(&mut self.target);
        self.audit.write(call, target, Some(outcome)).await
    }
}

impl Drop for Pending {
    /// Nobody is there to be answered, and what was done is not known here.
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let entry = Entry::new(call, std::mem::take(&mut self.target), None);
        let (done, _) = oneshot::channel();
        let entry = Some(entry);
        // A full queue counts the line as one that could not be written.
        let _ = self.audit.queue.push(Job::Write { entry, done });
    }
}
