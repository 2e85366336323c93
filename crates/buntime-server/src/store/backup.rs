//! Backups of a state directory: the database without its sessions, and the archives
//! of the releases that it knows.
//!
//! Not in a backup: the root key, which would make a stolen backup a master key; what
//! apps wrote into their data folders, which only they can copy whole; logs; what the
//! server makes anew by itself.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use buntime_core::hex;
use sha2::{Digest as _, Sha256};

use super::lock::{LockError, StateLock};
use super::open::{self, DATABASE_FILE, OpenError};
use super::records::Release;
use super::{Database as _, StoreError};

/// The archives of releases in the state directory, each named by its SHA-256.
const RELEASES: &str = "releases";
/// The database that is about to be put in the place of the other one.
const NEW: &str = "buntime.db.new";

/// Why there is no backup, or nothing was restored. Reads as one line.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A server is running.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Nothing is overwritten.
    #[error("{} exists; name a folder that does not", .0.display())]
    Exists(PathBuf),
    /// There is no database in it.
    #[error("{} is no backup: there is no {DATABASE_FILE} in it", .0.display())]
    NoBackup(PathBuf),
    /// What is stored is not sound.
    #[error("{} is damaged: {}", .path.display(), .problems.join("; "))]
    Unsound {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// An archive is not what its name says.
    #[error("the archive {} is damaged: it does not have the hash that is its name", .0.display())]
    Archive(PathBuf),
    /// The database failed.
    #[error("{}: {source}", .path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a backup holds, or what was restored.
#[derive(Debug, Default)]
pub struct Contents {
    /// Keys, without the root key.
    pub keys: usize,
    /// Releases.
    pub releases: usize,
    /// Archives that releases need and that are not there: these cannot be rolled back to.
    pub missing: Vec<PathBuf>,
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Copies the state into the new folder `target`, while a server may be using it. When
/// this returns, the copy is on the disk.
///
/// # Errors
/// The target exists, or something cannot be read or written. What was written of the
/// target stays.
pub fn back_up(state_dir: &Path, target: &Path) -> Result<Contents, BackupError> {
    let mut database = open::open_beside(state_dir)?;
    match DirBuilder::new().mode(0o700).create(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(target.to_owned()));
        }
        made => made.map_err(at(target))?,
    }
    let copy = target.join(DATABASE_FILE);
    database
        .back_up_to(&copy)
        .map_err(|source| BackupError::Store {
            path: copy.clone(),
            source,
        })?;
    drop(database);
    let (keys, releases) = sound(target, &copy)?;
    let missing = copy_archives(&releases, state_dir, target)?;
    open::sync_parent(target).map_err(at(target))?;
    Ok(Contents {
        keys,
        releases: releases.len(),
        missing,
    })
}

/// Puts a backup in the place of the state's database, in one step, once all of it was
/// found to be sound. Archives are added to those that are there.
///
/// # Errors
/// A server is running, or the backup is not sound: then nothing was changed.
pub fn restore(state_dir: &Path, backup: &Path) -> Result<Contents, BackupError> {
    let source = backup.join(DATABASE_FILE);
    if !source.is_file() {
        return Err(BackupError::NoBackup(backup.to_owned()));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(at(state_dir))?;
    let _lock = StateLock::take(state_dir)?;
    // A copy is looked at, and brought up to date: the backup stays as it is.
    let new = state_dir.join(NEW);
    for path in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm")] {
        remove(&path)?;
    }
    copy(&source, &new, None)?;
    drop(open::at(&new)?);
    let (keys, releases) = sound(state_dir, &new)?;
    let missing = copy_archives(&releases, backup, state_dir)?;
    // The log of the old database would be read into the new one.
    let current = state_dir.join(DATABASE_FILE);
    for suffix in ["-wal", "-shm"] {
        remove(&beside(&current, suffix))?;
    }
    fs::rename(&new, &current).map_err(at(&current))?;
    open::sync_parent(&current).map_err(at(&current))?;
    Ok(Contents {
        keys,
        releases: releases.len(),
        missing,
    })
}

/// Everything that is wrong with a state directory, one line each: pages, rows, and
/// archives that are missing. Changes nothing, and a server may be using it.
///
/// # Errors
/// The database cannot be opened at all.
pub fn check(state_dir: &Path) -> Result<Vec<String>, BackupError> {
    let path = state_dir.join(DATABASE_FILE);
    let store = |source| BackupError::Store {
        path: path.clone(),
        source,
    };
    let mut database = open::open_beside(state_dir)?;
    let mut problems = database.check().map_err(store)?;
    let releases = database.releases(None).map_err(store)?.rows;
    for release in releases {
        let archive = archive(state_dir, &release);
        if !archive.is_file() {
            problems.push(format!("the archive {} is missing", archive.display()));
        }
    }
    Ok(problems)
}

/// Reads all that a database holds.
fn sound(dir: &Path, path: &Path) -> Result<(usize, Vec<Release>), BackupError> {
    let store = |source| BackupError::Store {
        path: path.to_owned(),
        source,
    };
    let mut database = open::beside_at(path)?;
    let problems = database.check().map_err(store)?;
    if !problems.is_empty() {
        return Err(BackupError::Unsound {
            path: dir.join(DATABASE_FILE),
            problems,
        });
    }
    let keys = database.keys().map_err(store)?.rows.len();
    Ok((keys, database.releases(None).map_err(store)?.rows))
}

fn archive(dir: &Path, release: &Release) -> PathBuf {
    dir.join(RELEASES).join(hex(&release.what.sha256))
}

/// Copies the archives that are not there yet; those that are missing are returned.
fn copy_archives(
    releases: &[Release],
    from: &Path,
    to: &Path,
) -> Result<Vec<PathBuf>, BackupError> {
    let mut missing = Vec::new();
    if releases.is_empty() {
        return Ok(missing);
    }
    let dir = to.join(RELEASES);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(at(&dir))?;
    for release in releases {
        let (source, target) = (archive(from, release), archive(to, release));
        if target.exists() {
            continue;
        }
        if !source.is_file() {
            missing.push(source);
            continue;
        }
        // Under its name only once it is whole.
        let part = target.with_extension("part");
        remove(&part)?;
        copy(&source, &part, Some(release.what.sha256))?;
        fs::rename(&part, &target).map_err(at(&target))?;
    }
    missing.sort();
    missing.dedup();
    open::sync_parent(&dir.join(RELEASES)).map_err(at(&dir))?;
    Ok(missing)
}

/// Copies a file into a new one with mode 0600, onto the disk, and holds it to its hash.
fn copy(source: &Path, target: &Path, hash: Option<[u8; 32]>) -> Result<(), BackupError> {
    let mut from = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(source)
        .map_err(at(source))?;
    let mut to = open::private_file(target).map_err(at(target))?;
    let mut sum = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        let length = io::Read::read(&mut from, &mut block).map_err(at(source))?;
        let Some(read) = block.get(..length).filter(|read| !read.is_empty()) else {
            break;
        };
        sum.update(read);
        to.write_all(read).map_err(at(target))?;
    }
    to.sync_all().map_err(at(target))?;
    if hash.is_some_and(|hash| hash != *sum.finalize()) {
        remove(target)?;
        return Err(BackupError::Archive(source.to_owned()));
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
