//! A copy of the database, taken while it is used.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::{connect, failed};
use crate::store::StoreError;
use crate::store::open::{private_file, sync_parent};

/// Pages that are copied between two looks at whether somebody wants to write.
const PAGES: i32 = 256;
const PAUSE: Duration = Duration::from_millis(2);

/// Writes a copy without the sessions: whoever logged out must not be logged in again
/// by a restore.
pub(super) fn write(source: &Connection, path: &Path) -> Result<(), StoreError> {
    let system = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(Box::new(error)),
    };
    private_file(path).map_err(system)?;
    let run = || {
        let mut copy = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Backup::new(source, &mut copy)?.run_to_completion(PAGES, PAUSE, None)?;
        // One file, with nothing beside it.
        copy.pragma_update(None, "journal_mode", "delete")?;
        copy.execute("DELETE FROM sessions", [])?;
        // Nothing of them is left in free pages either.
        copy.execute_batch("VACUUM")
    };
    run().map_err(failed)?;
    sync_parent(path).map_err(system)
}
