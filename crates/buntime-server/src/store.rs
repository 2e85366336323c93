//! What survives a restart beside files: keys, sessions, what the operator said of
//! units, releases.
//!
//! A [`Database`] holds it; there is one kind, SQLite in the state directory. Its
//! calls block, and one thread makes them all, one after the other: a [`Store`] is
//! the bounded queue before that thread. What is asked on every request is kept in
//! memory by those who need it, so nothing on the hot path waits here.
//!
//! A job that has been queued is carried out whether or not anybody still waits for
//! it. So whoever keeps a copy in memory changes it *in* the job, after the write:
//! a client that goes away in between cannot part the two.

mod backup;
mod lock;
mod open;
mod records;
mod sqlite;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use buntime_core::access::KeyId;
use buntime_core::{PackageName, Version};
use tokio::sync::{mpsc, oneshot};

pub use self::backup::{BackupError, Contents, back_up, check, restore};
pub use self::lock::{LockError, StateLock};
pub use self::open::{DATABASE_FILE, OpenError};
pub use self::records::{
    Digest, LastUse, NewRelease, OldSecret, Release, Rows, Stand, StoredKey, StoredSession,
    UnitState,
};

/// Jobs that may wait. Each belongs to a request, of which there is a bounded number.
const QUEUE: usize = 256;
/// How long a job waits for its place in the queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something could not be stored or read. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or a quota, is full.
    #[error("the disk of the state directory is full")]
    Full,
    /// Too many others wait.
    #[error("the store is busy")]
    Busy,
    /// It is being shut down, or has failed for good.
    #[error("the store is closed")]
    Closed,
    /// Anything else that went wrong below.
    #[error("the database failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// Where records are kept. Each call is one transaction: when it returns, the change
/// survives a crash, and when it fails nothing has changed.
///
/// Calls block. Another kind of database implements this trait on a connection of its
/// own; an asynchronous one is driven to its end inside the call.
pub trait Database: Send {
    /// Every key but the root key.
    fn keys(&mut self) -> Result<Rows<StoredKey>, StoreError>;
    /// Adds a key. Its id is new.
    fn insert_key(&mut self, key: &StoredKey) -> Result<(), StoreError>;
    /// Gives a key another secret and ends its sessions.
    fn rotate_key(&mut self, key: &StoredKey) -> Result<(), StoreError>;
    /// Forgets a key and its sessions.
    fn delete_key(&mut self, id: &KeyId) -> Result<(), StoreError>;
    /// Notes when keys and sessions were last used.
    fn note_uses(
        &mut self,
        keys: &[(KeyId, LastUse)],
        sessions: &[(Digest, SystemTime)],
    ) -> Result<(), StoreError>;

    /// Every session.
    fn sessions(&mut self) -> Result<Rows<StoredSession>, StoreError>;
    /// Adds a session and forgets others.
    fn insert_session(
        &mut self,
        session: &StoredSession,
        instead_of: &[Digest],
    ) -> Result<(), StoreError>;
    /// Forgets sessions.
    fn delete_sessions(&mut self, sessions: &[Digest]) -> Result<(), StoreError>;

    /// What the operator said of units.
    fn unit_states(&mut self) -> Result<Rows<UnitState>, StoreError>;
    /// Keeps the operator's word; it replaces an earlier one.
    fn set_unit_state(&mut self, state: &UnitState) -> Result<(), StoreError>;
    /// Forgets the operator's word on a plugin.
    fn forget_plugin_state(&mut self, name: &PackageName) -> Result<(), StoreError>;
    /// Forgets the operator's word on one version of a worker, or on all of them.
    fn forget_unit_states(
        &mut self,
        name: &PackageName,
        version: Option<&Version>,
    ) -> Result<(), StoreError>;

    /// The releases of one worker, or all; the newest first.
    fn releases(&mut self, name: Option<&PackageName>) -> Result<Rows<Release>, StoreError>;
    /// Adds a release under the next number of its worker.
    fn insert_release(&mut self, release: &NewRelease) -> Result<Release, StoreError>;
    /// Forgets releases of a worker.
    fn delete_releases(&mut self, name: &PackageName, numbers: &[u64]) -> Result<(), StoreError>;

    /// Reads a page of the file.
    fn ping(&mut self) -> Result<(), StoreError>;
    /// Copies everything but the sessions into a new file, mode 0600, while others go
    /// on working.
    fn back_up_to(&mut self, file: &Path) -> Result<(), StoreError>;
    /// Everything that is wrong with what is stored; empty if nothing is.
    fn check(&mut self) -> Result<Vec<String>, StoreError>;
}

type Job = Box<dyn FnOnce(&mut dyn Database) + Send>;

/// The queue before the database. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Store {
    queue: mpsc::Sender<Job>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Starts the thread that works on `database`. It ends when every [`Store`] is gone,
    /// or with the process: what was not done by then was not told to be done.
    ///
    /// # Errors
    /// The system has no thread left.
    fn start(mut database: Box<dyn Database>) -> Result<Self, std::io::Error> {
        let (queue, mut jobs) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut *database);
                }
            })?;
        Ok(Self { queue })
    }

    /// Opens the database of a state directory and starts its thread.
    ///
    /// # Errors
    /// It is missing, damaged, of a newer version, or cannot be opened.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let database = open::open(state_dir)?;
        Self::start(Box::new(database)).map_err(OpenError::System)
    }

    /// One that is gone with the test.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::start(Box::new(sqlite::Sqlite::in_memory())).unwrap()
    }

    /// Has `job` carried out and waits for what it gives.
    ///
    /// # Errors
    /// Those of `job`; [`StoreError::Busy`] and [`StoreError::Closed`] if it was not
    /// even begun.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let place = tokio::time::timeout(PATIENCE, self.queue.reserve())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        place.send(Box::new(move |database| {
            // Nobody may be there to hear it: the work counts.
            let _ = tell.send(job(database));
        }));
        told.await.map_err(|_| StoreError::Closed)?
    }
}
