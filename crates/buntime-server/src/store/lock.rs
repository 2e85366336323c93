//! One server for one state directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// A server that was killed has the lock until the last process that it was about to
/// start has noticed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A server has it, or a restore.
    #[error(
        "another server uses the state directory {}; stop it, or set RUNTIME_STATE_DIR to another folder",
        .0.display()
    )]
    Taken(PathBuf),
    /// The lock file cannot be made.
    #[error("cannot lock the state directory {}: {source}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Held by the server that uses a state directory, and by what replaces files in it.
/// The kernel gives it back when the process ends, however that happens.
#[derive(Debug)]
pub struct StateLock {
    /// Held for its lock.
    _file: File,
}

impl StateLock {
    /// Takes the lock, or says within a second that somebody else has it. Blocks.
    ///
    /// # Errors
    /// Somebody has it, or the file `lock` cannot be made.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(dir.join("lock"))
            .map_err(|source| LockError::Io {
                dir: dir.to_owned(),
                source,
            })?;
        let lock = || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        let deadline = Instant::now() + PATIENCE;
        while lock().is_err() {
            if Instant::now() > deadline {
                return Err(LockError::Taken(dir.to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { _file: file })
    }
}
