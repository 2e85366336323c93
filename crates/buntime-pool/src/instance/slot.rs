//! A worker's directory: its socket for a moment, then its home, where its temporary
//! files are too. All goes with the worker.
//!
//! One that a worker leaves as it found it is the next one's: file systems that tell
//! their device of free space at once need milliseconds to remove a directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::Socket;
use crate::leftovers;

/// What the wrapper binds, relative to its working directory: an address of a
/// socket has room for about a hundred bytes, a path may be longer.
const SOCKET: &str = "w.sock";
/// An address without its closing zero, in bytes.
const LONGEST_ADDRESS: usize = 107;

/// Digits of the highest number of a slot, which is its name.
const LONGEST_NAME: usize = 16;
/// Directories that are kept for workers to come.
const MOST_SPARE: usize = 16;
/// A directory's size in bytes as long as it never held much, on common file systems.
const SMALL: u64 = 4096;

/// Where the directories of all workers are.
#[derive(Debug)]
pub(crate) struct SlotDirs {
    dir: PathBuf,
    /// Those that are there and have no worker. At most [`MOST_SPARE`].
    spare: Mutex<Vec<PathBuf>>,
    named: AtomicU64,
}

impl SlotDirs {
    /// All are made in `dir`, which is empty.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            spare: Mutex::default(),
            named: AtomicU64::new(0),
        }
    }

    /// The slot of a worker to come. It need not be there yet: see [`Slot::make`].
    pub(super) fn take(&self) -> Slot {
        if let Some(path) = self.spare.lock().pop() {
            return Slot {
                path,
                is_there: true,
            };
        }
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        Slot {
            path: self.dir.join(format!("{number:x}")),
            is_there: false,
        }
    }

    /// Takes a slot back whose worker is gone, or never came. Returns one that cannot be
    /// used again, because the worker left something in it.
    pub(super) fn give_back(&self, slot: Slot) -> Option<Slot> {
        if !slot.is_there {
            return None;
        }
        if !matches!(slot.is_as_new(), Ok(true)) {
            return Some(slot);
        }
        let mut spare = self.spare.lock();
        if spare.len() < MOST_SPARE {
            spare.push(slot.path);
            return None;
        }
        Some(slot)
    }

    /// Removes those that have no worker.
    pub(crate) fn clear(&self) {
        for path in std::mem::take(&mut *self.spare.lock()) {
            let _ = fs::remove_dir(path);
        }
    }

    /// Whether a worker that is elsewhere by then can bind its socket in any slot.
    pub(super) fn are_short(&self) -> bool {
        let rest = "/".len() + LONGEST_NAME + "/".len() + SOCKET.len();
        self.dir.as_os_str().len() + rest <= LONGEST_ADDRESS
    }
}

/// A directory that is there while its worker is. Dropping the value leaves it;
/// see [`SlotDirs::give_back`] and [`Slot::remove`].
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
    is_there: bool,
}

impl Slot {
    /// Makes the directory if it is not there.
    pub(super) fn make(&mut self) -> io::Result<()> {
        if !self.is_there {
            DirBuilder::new().mode(0o700).create(&self.path)?;
            self.is_there = true;
        }
        Ok(())
    }

    /// Whether nothing can be learnt from it of the worker that had it.
    fn is_as_new(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&dir)?;
        let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
        let is_private = Mode::from_raw_mode(stat.st_mode) == Mode::RWXU;
        let is_small = u64::try_from(stat.st_size).is_ok_and(|size| size <= SMALL);
        if !(is_ours && is_private && is_small) || has_attributes(&dir)? {
            return Ok(false);
        }
        let epoch = Timespec::default();
        let never = Timestamps {
            last_access: epoch,
            last_modification: epoch,
        };
        for entry in Dir::read_from(&dir)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        rustix::fs::futimens(&dir, &never)?;
        Ok(true)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
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

    /// Removes the directory with all that the worker left in it. May take long.
    pub(super) fn remove(&self) {
        // A leftover is removed at the next start of the server.
        let _ = leftovers::remove(&self.path);
    }
}

/// Whether a directory has attributes that its owner can set: its own words, or a list
/// of who may use it.
fn has_attributes(dir: &OwnedFd) -> io::Result<bool> {
    let mut names = [0_u8; 1024];
    let length = match rustix::fs::flistxattr(dir, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        // More than any system sets.
        Err(Errno::RANGE) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let names = names.get(..length).unwrap_or(&[]);
    let mut names = names.split(|&byte| byte == 0);
    Ok(names.any(|name| name.starts_with(b"user.") || name.starts_with(b"system.")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use buntime_testkit::skipped;

    use super::*;

    fn dirs() -> (tempfile::TempDir, SlotDirs) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = SlotDirs::new(dir.path().to_owned());
        (dir, dirs)
    }

    fn made(dirs: &SlotDirs) -> Slot {
        let mut slot = dirs.take();
        slot.make().unwrap();
        slot
    }

    #[test]
    fn one_that_is_as_it_was_is_used_again() {
        let (_dir, dirs) = dirs();
        let slot = made(&dirs);
        let path = slot.path().to_owned();
        // Something came and went.
        fs::write(path.join("a"), "").unwrap();
        fs::remove_file(path.join("a")).unwrap();
        assert!(dirs.give_back(slot).is_none());
        let again = dirs.take();
        assert_eq!(again.path(), path);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::UNIX_EPOCH);
        assert_ne!(made(&dirs).path(), path);
        assert!(dirs.give_back(again).is_none());
        dirs.clear();
        assert!(!path.exists());
    }

    #[test]
    fn one_that_tells_of_its_worker_is_not() {
        type Change = fn(&Path);
        let changes: [Change; 5] = [
            |path| fs::write(path.join(".hidden"), "").unwrap(),
            |path| fs::create_dir(path.join("a")).unwrap(),
            |path| std::os::unix::fs::symlink("/", path.join("a")).unwrap(),
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o750)).unwrap(),
            |path| {
                fs::remove_dir(path).unwrap();
                std::os::unix::fs::symlink("/", path).unwrap();
            },
        ];
        for change in changes {
            let (_dir, dirs) = dirs();
            let slot = made(&dirs);
            change(slot.path());
            assert!(dirs.give_back(slot).is_some());
            assert!(dirs.spare.lock().is_empty());
        }
    }

    #[test]
    fn one_with_words_of_its_worker_is_not() {
        let (_dir, dirs) = dirs();
        let slot = made(&dirs);
        let set = rustix::fs::setxattr(
            slot.path(),
            c"user.note",
            b"hello",
            rustix::fs::XattrFlags::empty(),
        );
        if set == Err(Errno::NOTSUP) {
            return skipped("the file system of temporary files has no attributes");
        }
        set.unwrap();
        assert!(dirs.give_back(slot).is_some());
    }

    #[test]
    fn a_directory_that_held_much_is_not() {
        let (_dir, dirs) = dirs();
        let slot = made(&dirs);
        for number in 0..300 {
            fs::write(slot.path().join(format!("{number:0100}")), "").unwrap();
        }
        let size = fs::metadata(slot.path()).unwrap().len();
        for number in 0..300 {
            fs::remove_file(slot.path().join(format!("{number:0100}"))).unwrap();
        }
        if fs::metadata(slot.path()).unwrap().len() < size {
            return skipped("directories shrink here");
        }
        assert!(dirs.give_back(slot).is_some());
    }

    #[test]
    fn what_was_never_made_leaves_nothing_and_the_number_of_spares_is_bounded() {
        let (dir, dirs) = dirs();
        assert!(dirs.give_back(dirs.take()).is_none());
        assert!(dirs.spare.lock().is_empty());
        let slots: Vec<Slot> = (0..MOST_SPARE + 3).map(|_| made(&dirs)).collect();
        let surplus = slots.into_iter().filter_map(|slot| dirs.give_back(slot));
        surplus.for_each(|slot| slot.remove());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MOST_SPARE);
    }
}
