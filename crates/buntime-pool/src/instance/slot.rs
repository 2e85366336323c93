//! A worker's directory: its socket for a moment, then its home, where its temporary
//! files are too. All goes with the worker.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use uuid::Uuid;

use super::Socket;
use crate::leftovers;

/// What the wrapper binds, relative to its working directory: an address of a
/// socket has room for about a hundred bytes, a path may be longer.
const SOCKET: &str = "w.sock";
/// An address without its closing zero, in bytes.
const LONGEST_ADDRESS: usize = 107;

/// A directory that is there while its worker is. Dropping the value leaves it;
/// see [`Slot::remove`].
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
}

impl Slot {
    /// Where that of a worker is, among all.
    pub(super) fn path_of(slots: &Path, worker: Uuid) -> PathBuf {
        slots.join(worker.simple().to_string())
    }

    /// Makes a new one.
    pub(super) fn create(slots: &Path, worker: Uuid) -> io::Result<Self> {
        let path = Self::path_of(slots, worker);
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private.create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a worker that is elsewhere by then can bind its socket in `slot`.
    pub(super) fn is_short(slot: &Path) -> bool {
        slot.join(SOCKET).as_os_str().len() <= LONGEST_ADDRESS
    }

    /// Takes the worker's socket: opens it as a path and removes its name, so that
    /// from now on only who has the descriptor can connect.
    pub(super) fn take_socket(&self) -> io::Result<Socket> {
        let path = self.path.join(SOCKET);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&socket)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fs::remove_file(path)?;
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        Ok(Socket {
            _descriptor: socket,
            path,
        })
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
