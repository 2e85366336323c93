//! A worker's directory: its socket for a moment, then its home, where its temporary
//! files are too. All goes with the worker.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::leftovers;

/// What the wrapper binds, relative to its working directory: an address of a
/// socket has room for about a hundred bytes, a path may be longer.
const SOCKET: &str = "w.sock";

/// A directory that is there while its worker is. Dropping the value leaves it;
/// see [`Slot::remove`].
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
}

impl Slot {
    /// Makes a new one. `name` must not be there yet.
    pub(super) fn create(slots: &Path, name: &str) -> io::Result<Self> {
        let path = slots.join(name);
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private.create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the worker's socket: opens it as a path and removes its name, so that
    /// from now on only who has the descriptor can connect. No app's code has run
    /// in the worker yet.
    pub(super) fn take_socket(&self) -> io::Result<(OwnedFd, String)> {
        let path = self.path.join(SOCKET);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&socket)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fs::remove_file(path)?;
        let address = format!("/proc/self/fd/{}", socket.as_raw_fd());
        Ok((socket, address))
    }

    /// Removes the directory if the worker left nothing in it, which is quick.
    pub(super) fn remove_empty(&self) -> bool {
        fs::remove_dir(&self.path).is_ok()
    }

    /// Removes the directory with all that the worker left in it. May take long.
    pub(super) fn remove(&self) {
        // A leftover is removed at the next start of the server.
        let _ = leftovers::remove(&self.path);
    }
}
