//! Opening the database, and refusing to.
//!
//! A database that cannot be used stops the server. It is never replaced by an empty
//! one: with it would go which keys were revoked and which apps were disabled.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::sqlite::{Fault, Sqlite};

/// The database's name in the state directory.
pub const DATABASE_FILE: &str = "buntime.db";
/// Stands beside the database from its first start on, and says that there was one.
const MARKER_FILE: &str = "buntime.db.made";
const MARKER_TEXT: &str = "This folder has a database, buntime.db. While this file is here, the server does not make \
     a new one in its place.\n";

/// Why there is no database to work with. Reads as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There was one, and it is gone.
    #[error(
        "the database {} is missing; {}, or begin anew by removing {}, which forgets all keys, releases and disabled apps",
        .path.display(), restore(.path), .path.with_file_name(MARKER_FILE).display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is none, or not whole.
    #[error("the database {} is damaged: {reason}; {}", .path.display(), restore(.path))]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "the database {} was written by a newer version of buntime (schema {found}, this one knows {known}); run that version, or {}",
        .path.display(), restore(.path)
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// The schema's number.
        found: i64,
        /// The highest that this program knows.
        known: i64,
    },
    /// The file cannot be opened or written.
    #[error("the database {} cannot be opened: {reason}; look at its owner, its mode and the disk", .path.display())]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system refused a thread.
    #[error("the system refused a thread for the database: {0}")]
    System(#[source] io::Error),
}

fn restore(path: &Path) -> String {
    let dir = path.parent().unwrap_or(Path::new("."));
    format!(
        "restore a backup with `buntime state restore --state-dir {} BACKUP`",
        dir.display()
    )
}

/// Opens the database of a state directory; at the first start, makes it.
pub(super) fn open(state_dir: &Path) -> Result<Sqlite, OpenError> {
    let path = state_dir.join(DATABASE_FILE);
    let marker = state_dir.join(MARKER_FILE);
    let unusable = |error: io::Error| OpenError::Unusable {
        path: path.clone(),
        reason: error.to_string(),
    };
    let length = match fs::symlink_metadata(&path) {
        Ok(found) => Some(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unusable(error)),
    };
    let was_made = marker.symlink_metadata().is_ok();
    match length {
        None if was_made => return Err(OpenError::Missing { path }),
        Some(0) if was_made => {
            return Err(empty(&path));
        }
        None => {
            // SQLite gives its other files the mode of this one.
            private_file(&path).map_err(unusable)?;
        }
        Some(_) => {}
    }
    let database = Sqlite::open(&path).map_err(|fault| because(&path, fault))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    if !was_made {
        make_marker(&marker).map_err(unusable)?;
    }
    Ok(database)
}

/// Opens an existing database beside a server that may be using it, to read.
pub(super) fn open_beside(state_dir: &Path) -> Result<Sqlite, OpenError> {
    beside_at(&state_dir.join(DATABASE_FILE))
}

/// The same of a database under another name.
pub(super) fn beside_at(path: &Path) -> Result<Sqlite, OpenError> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Missing { path: path.into() });
        }
        Ok(found) if found.len() == 0 => return Err(empty(path)),
        _ => {}
    }
    Sqlite::open_beside(path).map_err(|fault| because(path, fault))
}

/// Opens a database that nobody else uses, and brings it up to date.
pub(super) fn at(path: &Path) -> Result<Sqlite, OpenError> {
    if path.metadata().is_ok_and(|found| found.len() == 0) {
        return Err(empty(path));
    }
    Sqlite::open(path).map_err(|fault| because(path, fault))
}

fn empty(path: &Path) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        reason: "the file is empty".to_owned(),
    }
}

fn because(path: &Path, fault: Fault) -> OpenError {
    let path = path.to_owned();
    match fault {
        Fault::Damaged(reason) => OpenError::Damaged { path, reason },
        Fault::Newer { found, known } => OpenError::Newer { path, found, known },
        Fault::Unusable(reason) => OpenError::Unusable { path, reason },
    }
}

/// A new, empty file that no one else can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn make_marker(path: &Path) -> io::Result<()> {
    let mut file = private_file(path)?;
    file.write_all(MARKER_TEXT.as_bytes())?;
    file.sync_all()?;
    sync_parent(path)
}

/// Makes what happened to the names in a file's folder survive a crash.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
