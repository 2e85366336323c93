//! Directory handles and what may be opened beneath them.

pub(crate) mod edit;
pub(crate) mod walk;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

use crate::rel_path::RelPath;

/// Set once `openat2` was found missing, so that it is not asked again.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// An open directory. Everything is opened relative to it and stays beneath.
///
/// It names the directory, not its path: after a rename it is still the same
/// folder. Costs one file descriptor.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    info: FileInfo,
}

/// Why something beneath a [`Root`] was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nothing there, or a part of the path is no directory.
    #[error("no such file or directory")]
    NotFound,
    /// A symbolic link stands in the path, or the path leaves the root.
    #[error("a link leads out of the directory or is not followed here")]
    Link,
    /// Found, but a FIFO, device, socket, or a directory where a file was
    /// asked for (or the other way round).
    #[error("not a {wanted}")]
    WrongKind {
        /// `regular file` or `directory`.
        wanted: &'static str,
    },
    /// More entries than the caller takes.
    #[error("directory has more than {limit} entries")]
    TooManyEntries {
        /// The caller's limit.
        limit: usize,
    },
    /// Larger than the caller takes.
    #[error("file is larger than {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The system refused: no permission, too many open files, a disk error.
    #[error("cannot open")]
    Io(#[source] io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Self::NotFound,
            // openat2: LOOP for a link, XDEV for a way out. open: LOOP with
            // O_NOFOLLOW.
            Errno::LOOP | Errno::XDEV => Self::Link,
            // A socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => Self::WrongKind {
                wanted: "regular file",
            },
            errno => Self::Io(errno.into()),
        }
    }
}

/// What a directory entry or an open file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Link,
    /// FIFO, socket, device.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// What the system says about an open file or an entry.
///
/// Two equal values mean that nothing was changed in between, as far as the
/// file system's clock can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileInfo {
    /// Size in bytes.
    pub size: u64,
    /// Number of the device.
    pub device: u64,
    /// Number of the inode on the device.
    pub inode: u64,
    /// Last change of the content, in nanoseconds since 1970 (before: negative).
    pub modified_ns: i128,
    /// Last change of content or attributes, in nanoseconds since 1970.
    pub changed_ns: i128,
    /// How many names the file has.
    pub links: u64,
    /// User who owns it.
    pub owner: u32,
    /// File, directory, link, or something else.
    pub kind: EntryKind,
}

impl FileInfo {
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the fields of stat differ in width between architectures"
    )]
    fn new(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i128, part: i128| seconds * 1_000_000_000 + part;
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified_ns: nanoseconds(stat.st_mtime as i128, stat.st_mtime_nsec as i128),
            changed_ns: nanoseconds(stat.st_ctime as i128, stat.st_ctime_nsec as i128),
            links: stat.st_nlink as u64,
            owner: stat.st_uid as u32,
            kind: FileType::from_raw_mode(stat.st_mode).into(),
        }
    }

    /// What the system says about an open file now.
    ///
    /// # Errors
    /// The system does not say.
    pub fn of(file: &File) -> Result<Self, OpenError> {
        Ok(Self::new(&rustix::fs::fstat(file)?))
    }

    /// Last change of the content; times before 1970 count as 1970.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let since = u64::try_from(self.modified_ns.max(0)).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(since)
    }

    /// A file with several names that another user owns than `folder`'s owner:
    /// a hard link to somebody else's file. See the crate's page.
    #[must_use]
    pub fn is_foreign_link(&self, folder: &Self) -> bool {
        self.kind == EntryKind::File && self.links > 1 && self.owner != folder.owner
    }
}

/// An open regular file and what was known when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    /// The file, read-only, at its start.
    pub file: File,
    /// Taken from the open handle, so it is about this very file.
    pub info: FileInfo,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The entry's name: one segment.
    pub name: RelPath,
    /// What it is, links not followed.
    pub kind: EntryKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Refuse,
    FollowBeneath,
}

impl Root {
    /// Opens a directory by a path that the operator wrote. Links in this path
    /// are followed: it is trusted.
    ///
    /// # Errors
    /// It does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::from_handle(retry(|| {
            rustix::fs::openat(CWD, path, flags, Mode::empty())
        })?)
    }

    fn from_handle(directory: OwnedFd) -> Result<Self, OpenError> {
        let info = FileInfo::new(&rustix::fs::fstat(&directory)?);
        Ok(Self { directory, info })
    }

    /// For calls beneath it that the crate's other modules make.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Another handle of the same directory.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        let directory = self.directory.try_clone().map_err(OpenError::Io)?;
        Self::from_handle(directory)
    }

    /// What the system says about the directory, as of when it was opened.
    #[must_use]
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`OpenError`]; anything but a regular file is [`OpenError::WrongKind`].
    pub fn open_file(&self, path: &RelPath) -> Result<OpenFile, OpenError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let handle = self.open_beneath(path, flags, Links::Refuse)?;
        let info = FileInfo::new(&rustix::fs::fstat(&handle)?);
        if info.kind != EntryKind::File {
            return Err(OpenError::WrongKind {
                wanted: "regular file",
            });
        }
        Ok(OpenFile {
            file: File::from(handle),
            info,
        })
    }

    /// Reads a regular file whole.
    ///
    /// # Errors
    /// [`OpenError`], among them [`OpenError::TooLarge`] over `limit` bytes.
    pub fn read(&self, path: &RelPath, limit: usize) -> Result<(Vec<u8>, FileInfo), OpenError> {
        use io::Read as _;

        let OpenFile { file, info } = self.open_file(path)?;
        if info.size > limit as u64 {
            return Err(OpenError::TooLarge { limit });
        }
        let mut content = Vec::with_capacity(usize::try_from(info.size).unwrap_or(0));
        // The file may grow while it is read.
        file.take(limit as u64 + 1)
            .read_to_end(&mut content)
            .map_err(OpenError::Io)?;
        if content.len() > limit {
            return Err(OpenError::TooLarge { limit });
        }
        Ok((content, info))
    }

    /// Opens a directory beneath this one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_dir(&self, path: &RelPath) -> Result<Self, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Self::from_handle(self.open_beneath(path, flags, Links::Refuse)?)
    }

    /// What the system says about an entry. Links on the way are refused; a
    /// link at the end is described, not followed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn metadata(&self, path: &RelPath) -> Result<FileInfo, OpenError> {
        // A single segment cannot lead anywhere else: one call is enough.
        if !path.as_str().contains('/') {
            let stat =
                rustix::fs::statat(&self.directory, path.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            return Ok(FileInfo::new(&stat));
        }
        let parent = path.parent().ok_or(OpenError::NotFound)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = self.open_beneath(&parent, flags, Links::Refuse)?;
        let stat = rustix::fs::statat(&directory, path.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileInfo::new(&stat))
    }

    /// What a path leads to when links are followed that stay beneath this
    /// directory; [`OpenError::Link`] if one leaves it. Without `openat2` every
    /// link is refused.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn resolve(&self, path: &RelPath) -> Result<FileInfo, OpenError> {
        let handle = self.open_beneath(path, OFlags::PATH, Links::FollowBeneath)?;
        Ok(FileInfo::new(&rustix::fs::fstat(&handle)?))
    }

    /// The entries of this directory in no order, without `.` and `..`. Names
    /// that no [`RelPath`] can hold are left out: nothing here could open them.
    ///
    /// # Errors
    /// [`OpenError::TooManyEntries`] over `limit`, or what the system says.
    pub fn read_dir(&self, limit: usize) -> Result<Vec<DirEntry>, OpenError> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Some(name) = name
                .to_str()
                .ok()
                .and_then(|name| name.parse::<RelPath>().ok())
            else {
                continue;
            };
            let kind = match entry.file_type() {
                FileType::Unknown => match self.metadata(&name) {
                    Ok(info) => info.kind,
                    Err(_) => EntryKind::Other,
                },
                kind => kind.into(),
            };
            if entries.len() == limit {
                return Err(OpenError::TooManyEntries { limit });
            }
            entries.push(DirEntry { name, kind });
        }
        Ok(entries)
    }

    fn open_beneath(
        &self,
        path: &RelPath,
        flags: OFlags,
        links: Links,
    ) -> Result<OwnedFd, OpenError> {
        let flags = flags | OFlags::CLOEXEC;
        if !NO_OPENAT2.load(Ordering::Relaxed) {
            let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            if links == Links::Refuse {
                resolve |= ResolveFlags::NO_SYMLINKS;
            }
            let opened = retry(|| {
                rustix::fs::openat2(
                    &self.directory,
                    path.as_str(),
                    flags,
                    Mode::empty(),
                    resolve,
                )
            });
            match opened {
                // PERM is what older container filters answer to calls they do
                // not know; it is also an ordinary refusal, which the fallback
                // then gives as well. Only NOSYS is remembered.
                Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
                Err(Errno::PERM) => {}
                opened => return Ok(opened?),
            }
        }
        open_by_segment(&self.directory, path, flags)
    }
}

/// The same as `openat2` with links refused, one segment at a time. Each step
/// starts from an open handle, so a swapped directory cannot lead elsewhere.
fn open_by_segment(
    directory: &OwnedFd,
    path: &RelPath,
    flags: OFlags,
) -> Result<OwnedFd, OpenError> {
    let mut parent: Option<OwnedFd> = None;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut segments = path.segments().peekable();
    while let Some(segment) = segments.next() {
        let from = parent
            .as_ref()
            .map_or_else(|| directory.as_fd(), AsFd::as_fd);
        let flags = if segments.peek().is_some() {
            step
        } else {
            flags | OFlags::NOFOLLOW
        };
        let opened = retry(|| rustix::fs::openat(from, segment, flags, Mode::empty()));
        let handle = match opened {
            // With O_DIRECTORY a link is NOTDIR, not LOOP; tell them apart.
            Err(Errno::NOTDIR) if is_link(from, segment) => return Err(OpenError::Link),
            opened => opened?,
        };
        // With O_PATH a link opens as itself.
        if flags.contains(OFlags::PATH)
            && FileInfo::new(&rustix::fs::fstat(&handle)?).kind == EntryKind::Link
        {
            return Err(OpenError::Link);
        }
        parent = Some(handle);
    }
    parent.ok_or(OpenError::NotFound)
}

fn is_link(directory: impl AsFd, name: &str) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Repeats a call that a signal, or a rename elsewhere during a beneath check,
/// interrupted. Bounded: somebody renaming in a loop must not hold us here.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    const ATTEMPTS: usize = 16;
    for _ in 1..ATTEMPTS {
        match call() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
    call()
}

#[cfg(test)]
mod tests;
