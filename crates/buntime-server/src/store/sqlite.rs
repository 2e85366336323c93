//! The database as one SQLite file.
//!
//! Durability: every transaction is on the disk when it returns (`synchronous=FULL`),
//! and is then moved from the write-ahead log into the file. So the log is empty
//! between writes, a copy of the file alone is whole, and a full disk is met by the
//! write that needs the room, not by a later one.

mod access;
mod backup;
mod convert;
mod schema;
mod units;

use std::path::Path;
use std::time::{Duration, SystemTime};

use buntime_core::access::KeyId;
use buntime_core::{PackageName, Version};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::records::{
    Digest, LastUse, NewRelease, Release, Rows, StoredKey, StoredSession, UnitState,
};
use super::{Database, StoreError};

/// How long to wait for a program that reads the file, such as a backup.
const READERS: Duration = Duration::from_millis(200);

/// Why a file is not opened.
#[derive(Debug)]
pub(super) enum Fault {
    Damaged(String),
    Newer { found: i64, known: i64 },
    Unusable(String),
}

/// An open database. One connection, for one thread.
#[derive(Debug)]
pub(super) struct Sqlite(Connection);

impl Sqlite {
    /// Opens `path`, brings its schema up to date and looks whether it is whole.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
        let set_up = |connection: &Connection| {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")
        };
        // What it is, before anything is written to it.
        schema::look_at(&connection)?;
        set_up(&connection).map_err(fault)?;
        schema::migrate(&mut connection)?;
        quick_check(&connection)?;
        let database = Self(connection);
        database.settle();
        Ok(database)
    }

    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        Self(connection)
    }

    /// Opens `path` to read, while a server may be writing to it.
    pub(super) fn open_beside(path: &Path) -> Result<Self, Fault> {
        // Not read-only: a file that was left behind with its log needs recovery.
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
        schema::look_at(&connection)?;
        quick_check(&connection)?;
        Ok(Self(connection))
    }

    /// Runs `work` as one transaction.
    fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self
            .0
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let value = work(&transaction)?;
                transaction.commit()?;
                Ok(value)
            })
            .map_err(failed);
        self.settle();
        result
    }

    /// Moves what was written from the log into the file and empties the log. A reader
    /// may be in the way: then the next write does it.
    fn settle(&self) {
        let _ = self
            .0
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READERS)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Deleted secrets' hashes and sessions are overwritten, not left in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // The log is emptied after each write.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

fn quick_check(connection: &Connection) -> Result<(), Fault> {
    let found = problems(connection, "quick_check").map_err(fault)?;
    match found.into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Fault::Damaged(problem)),
    }
}

/// What one of SQLite's own checks finds. Each is one line.
fn problems(connection: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    connection.pragma_query(None, check, |row| {
        let text: String = row.get(0)?;
        if text != "ok" {
            found.push(text.replace('\n', " "));
        }
        Ok(())
    })?;
    Ok(found)
}

/// What an error at the opening means.
fn fault(error: rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Fault::Damaged(error.to_string())
        }
        _ => Fault::Unusable(error.to_string()),
    }
}

/// What an error afterwards means.
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Failed(Box::new(error)),
    }
}

impl Database for Sqlite {
    fn keys(&mut self) -> Result<Rows<StoredKey>, StoreError> {
        access::keys(&self.0).map_err(failed)
    }

    fn insert_key(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        self.change(|transaction| access::insert_key(transaction, key))
    }

    fn rotate_key(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        self.change(|transaction| access::rotate_key(transaction, key))
    }

    fn delete_key(&mut self, id: &KeyId) -> Result<(), StoreError> {
        self.change(|transaction| access::delete_key(transaction, id))
    }

    fn note_uses(
        &mut self,
        keys: &[(KeyId, LastUse)],
        sessions: &[(Digest, SystemTime)],
    ) -> Result<(), StoreError> {
        self.change(|transaction| access::note_uses(transaction, keys, sessions))
    }

    fn sessions(&mut self) -> Result<Rows<StoredSession>, StoreError> {
        access::sessions(&self.0).map_err(failed)
    }

    fn insert_session(
        &mut self,
        session: &StoredSession,
        instead_of: &[Digest],
    ) -> Result<(), StoreError> {
        self.change(|transaction| {
            access::delete_sessions(transaction, instead_of)?;
            access::insert_session(transaction, session)
        })
    }

    fn delete_sessions(&mut self, sessions: &[Digest]) -> Result<(), StoreError> {
        self.change(|transaction| access::delete_sessions(transaction, sessions))
    }

    fn unit_states(&mut self) -> Result<Rows<UnitState>, StoreError> {
        units::states(&self.0).map_err(failed)
    }

    fn set_unit_state(&mut self, state: &UnitState) -> Result<(), StoreError> {
        self.change(|transaction| units::set_state(transaction, state))
    }

    fn forget_plugin_state(&mut self, name: &PackageName) -> Result<(), StoreError> {
        self.change(|transaction| units::forget_plugin_state(transaction, name))
    }

    fn forget_unit_states(
        &mut self,
        name: &PackageName,
        version: Option<&Version>,
    ) -> Result<(), StoreError> {
        self.change(|transaction| units::forget_states(transaction, name, version))
    }

    fn releases(&mut self, name: Option<&PackageName>) -> Result<Rows<Release>, StoreError> {
        units::releases(&self.0, name).map_err(failed)
    }

    fn insert_release(&mut self, release: &NewRelease) -> Result<Release, StoreError> {
        self.change(|transaction| units::insert_release(transaction, release))
    }

    fn delete_releases(&mut self, name: &PackageName, numbers: &[u64]) -> Result<(), StoreError> {
        self.change(|transaction| units::delete_releases(transaction, name, numbers))
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        let read = self.0.query_row("PRAGMA schema_version", [], |_| Ok(()));
        read.map_err(failed)
    }

    fn back_up_to(&mut self, file: &Path) -> Result<(), StoreError> {
        backup::write(&self.0, file)
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut found = problems(&self.0, "integrity_check").map_err(failed)?;
        found.extend(problems(&self.0, "foreign_key_check").map_err(failed)?);
        found.extend(self.keys()?.corrupt);
        found.extend(self.sessions()?.corrupt);
        found.extend(self.unit_states()?.corrupt);
        found.extend(self.releases(None)?.corrupt);
        Ok(found)
    }
}
