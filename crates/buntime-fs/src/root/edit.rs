//! Writing beneath a directory handle.

mod remove;
mod staging;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use thiserror::Error;

pub use self::staging::Staging;
use super::{EntryKind, Links, OpenError, Root, retry};
use crate::rel_path::RelPath;

/// A directory that may be written beneath. A [`Root`] alone only reads.
///
/// Every path is resolved as [`Root`] does it: beneath this handle, no link
/// followed. The last step is one call on the handle of the parent, so a folder
/// that is swapped for a link meanwhile leads nowhere else.
///
/// All methods block.
#[derive(Debug)]
pub struct Tree {
    root: Root,
}

/// What others may do with a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// 0644, whatever the process's mask says.
    Plain,
    /// 0755.
    Executable,
}

/// Why something beneath a [`Tree`] was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Nothing there, or a folder on the way is missing.
    #[error("no such file or directory")]
    NotFound,
    /// Something of this name is there already.
    #[error("a file or directory of this name exists already")]
    Exists,
    /// A symbolic link stands in the path, or the path leaves the tree.
    #[error("a link leads out of the directory or is not followed here")]
    Link,
    /// A folder was asked for and something else is there.
    #[error("not a directory")]
    NotADirectory,
    /// A file was asked for and a folder is there.
    #[error("is a directory")]
    IsADirectory,
    /// A folder would be moved into itself.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
    /// Others put new entries into a folder as fast as they were removed.
    #[error("others keep writing into the directory")]
    Busy,
    /// The disk, or what the user may have of it, is full.
    #[error("no space left on the device")]
    Full,
    /// The file system is read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The user whom the server runs as may not.
    #[error("permission denied")]
    Denied,
    /// The file system takes no such name.
    #[error("the file system does not take this name")]
    Name,
    /// The two ends of a move lie on different file systems.
    #[error("source and target lie on different file systems")]
    OtherFileSystem,
    /// The file system cannot exchange two names in one step.
    #[error("the file system cannot exchange two entries in one step")]
    Unsupported,
    /// More entries than the caller takes.
    #[error("directory has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// The system failed: too many open files, a disk error.
    #[error("cannot write")]
    Io(#[source] io::Error),
}

impl From<Errno> for WriteError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::EXIST | Errno::NOTEMPTY => Self::Exists,
            Errno::LOOP => Self::Link,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ISDIR => Self::IsADirectory,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::ROFS => Self::ReadOnly,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NAMETOOLONG | Errno::ILSEQ => Self::Name,
            Errno::XDEV => Self::OtherFileSystem,
            errno => Self::Io(errno.into()),
        }
    }
}

/// Of the path on the way to what is written.
impl From<OpenError> for WriteError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound => Self::NotFound,
            OpenError::Link => Self::Link,
            OpenError::WrongKind { .. } => Self::NotADirectory,
            OpenError::TooManyEntries { limit } => Self::TooManyEntries { limit },
            OpenError::TooLarge { .. } => Self::Io(io::ErrorKind::FileTooLarge.into()),
            OpenError::Io(source) => source.into(),
        }
    }
}

/// Of writing into an open file.
impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) => match Self::from(errno) {
                Self::Io(_) => Self::Io(error),
                known => known,
            },
            None => Self::Io(error),
        }
    }
}

/// The handle of the folder in which the last step is made.
enum Parent<'a> {
    Own(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(own) => *own,
            Self::Opened(opened) => opened.as_fd(),
        }
    }
}

impl Tree {
    /// Opens a directory by a path that the operator wrote. Links in this path
    /// are followed: it is trusted.
    ///
    /// # Errors
    /// It does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Root::open(path).map(|root| Self { root })
    }

    /// The same directory for reading.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Another handle of the same directory.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> Result<Self, OpenError> {
        self.root.try_clone().map(|root| Self { root })
    }

    /// Opens a directory beneath this one.
    ///
    /// # Errors
    /// As [`Root::open_dir`].
    pub fn open_dir(&self, path: &RelPath) -> Result<Self, OpenError> {
        self.root.open_dir(path).map(|root| Self { root })
    }

    /// Makes a directory (mode 0755) in one that is there, and opens it.
    ///
    /// # Errors
    /// [`WriteError::Exists`] whatever it is that is there.
    pub fn create_dir(&self, path: &RelPath) -> Result<Self, WriteError> {
        let parent = self.parent(path)?;
        rustix::fs::mkdirat(&parent, path.file_name(), Mode::from(0o755))?;
        let made = self.open_dir(path)?;
        rustix::fs::fchmod(&made.root.directory, Mode::from(0o755))?;
        Ok(made)
    }

    /// Opens a directory, making it and all that is missing on the way.
    ///
    /// # Errors
    /// [`WriteError::NotADirectory`] or [`WriteError::Link`] where something
    /// else stands in the way.
    pub fn ensure_dir(&self, path: &RelPath) -> Result<Self, WriteError> {
        let mut at: Option<Self> = None;
        for segment in path.segments() {
            // A segment of a path is a path.
            let name = RelPath::try_from(segment).map_err(|_| WriteError::Name)?;
            let from = at.as_ref().unwrap_or(self);
            let next = match from.create_dir(&name) {
                Err(WriteError::Exists) => from.existing_dir(&name)?,
                made => made?,
            };
            at = Some(next);
        }
        at.ok_or(WriteError::NotFound)
    }

    fn existing_dir(&self, name: &RelPath) -> Result<Self, WriteError> {
        match self.open_dir(name) {
            // The entry is there; what is missing is that it be a directory.
            Err(OpenError::NotFound) => Err(WriteError::NotADirectory),
            opened => Ok(opened?),
        }
    }

    /// Makes a file that is not there yet, for writing, in a folder that is.
    ///
    /// # Errors
    /// [`WriteError::Exists`] whatever it is that is there, a link too.
    pub fn create_file(&self, path: &RelPath, mode: FileMode) -> Result<File, WriteError> {
        let parent = self.parent(path)?;
        create_file(parent.as_fd(), path.file_name(), mode)
    }

    /// Moves an entry to a name that nothing has, in one step. `target` may be
    /// another tree on the same file system. A link is moved, not followed.
    ///
    /// # Errors
    /// [`WriteError::Exists`], [`WriteError::IntoItself`],
    /// [`WriteError::OtherFileSystem`].
    pub fn rename(&self, from: &RelPath, target: &Self, to: &RelPath) -> Result<(), WriteError> {
        let (source, goal) = (self.parent(from)?, target.parent(to)?);
        let (from, to) = (from.file_name(), to.file_name());
        let renamed =
            retry(|| rustix::fs::renameat_with(&source, from, &goal, to, RenameFlags::NOREPLACE));
        match renamed {
            // Either a move into itself, or a file system (some network and FUSE
            // ones) without this flag. A plain rename says INVAL for the first;
            // it could replace an entry made since the look: a file of the same
            // moment, or an empty folder.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::statat(&goal, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => {}
                    Ok(_) => return Err(WriteError::Exists),
                    Err(error) => return Err(error.into()),
                }
                match retry(|| rustix::fs::renameat(&source, from, &goal, to)) {
                    Err(Errno::INVAL) => Err(WriteError::IntoItself),
                    renamed => Ok(renamed?),
                }
            }
            renamed => Ok(renamed?),
        }
    }

    /// Moves a file to a name that another file or a link may have, which is gone
    /// then: whoever reads sees the one or the other.
    ///
    /// # Errors
    /// [`WriteError::IsADirectory`] if a folder has the name.
    pub fn replace(&self, from: &RelPath, target: &Self, to: &RelPath) -> Result<(), WriteError> {
        let (source, goal) = (self.parent(from)?, target.parent(to)?);
        let (from, to) = (from.file_name(), to.file_name());
        match retry(|| rustix::fs::renameat(&source, from, &goal, to)) {
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(WriteError::IsADirectory),
            replaced => Ok(replaced?),
        }
    }

    /// Exchanges two entries in one step: at no moment is either name missing.
    ///
    /// # Errors
    /// [`WriteError::NotFound`] if one of them is, [`WriteError::Unsupported`]
    /// if the file system cannot.
    pub fn exchange(&self, from: &RelPath, target: &Self, to: &RelPath) -> Result<(), WriteError> {
        let (source, goal) = (self.parent(from)?, target.parent(to)?);
        let exchanged = retry(|| {
            let (from, to) = (from.file_name(), to.file_name());
            rustix::fs::renameat_with(&source, from, &goal, to, RenameFlags::EXCHANGE)
        });
        match exchanged {
            Err(Errno::INVAL | Errno::NOSYS) => Err(WriteError::Unsupported),
            exchanged => Ok(exchanged?),
        }
    }

    /// Removes a file or a link, never what the link leads to.
    ///
    /// # Errors
    /// [`WriteError::IsADirectory`] for a directory.
    pub fn remove_file(&self, path: &RelPath) -> Result<(), WriteError> {
        let parent = self.parent(path)?;
        Ok(rustix::fs::unlinkat(
            &parent,
            path.file_name(),
            AtFlags::empty(),
        )?)
    }

    /// Removes a directory if there is nothing in it.
    ///
    /// # Errors
    /// [`WriteError::Exists`] if there is.
    pub fn remove_empty_dir(&self, path: &RelPath) -> Result<(), WriteError> {
        let parent = self.parent(path)?;
        Ok(rustix::fs::unlinkat(
            &parent,
            path.file_name(),
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Removes an entry and, if it is a directory, all that is in it. Links are
    /// removed, never followed. Not atomic: [`Staging::discard`] is.
    ///
    /// # Errors
    /// [`WriteError::NotFound`] if it is not there to begin with; otherwise what
    /// stopped it, with a part removed.
    pub fn remove_tree(&self, path: &RelPath) -> Result<(), WriteError> {
        let parent = self.parent(path)?;
        remove::tree(parent.as_fd(), path.file_name())
    }

    /// Waits until the names in this directory are on the disk: those of new,
    /// renamed and removed entries, not their content.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&self) -> Result<(), WriteError> {
        Ok(rustix::fs::fsync(&self.root.directory)?)
    }

    /// Waits until all that was written beneath is on the disk.
    ///
    /// This syncs the whole file system, which is one commit of its journal.
    /// One for each of thousands of files takes minutes.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync_all(&self) -> Result<(), WriteError> {
        Ok(rustix::fs::syncfs(&self.root.directory)?)
    }

    fn parent(&self, path: &RelPath) -> Result<Parent<'_>, OpenError> {
        Ok(match path.parent() {
            None => Parent::Own(self.root.directory.as_fd()),
            Some(parent) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                Parent::Opened(self.root.open_beneath(&parent, flags, Links::Refuse)?)
            }
        })
    }
}

fn create_file(parent: BorrowedFd<'_>, name: &str, mode: FileMode) -> Result<File, WriteError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from(match mode {
        FileMode::Plain => 0o644,
        FileMode::Executable => 0o755,
    });
    let file = retry(|| rustix::fs::openat(parent, name, flags, mode))?;
    // The mask of the process has been at it.
    rustix::fs::fchmod(&file, mode)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests;
