//! Writing files and folders beneath an open directory.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::builder::Executable;
use super::error::ArchiveError;
use crate::rel_path::RelPath;
use crate::root::edit::Tree;

/// The name under which the top folder waits while what is in it moves up. No entry can
/// have it: it is reserved.
const WRAPPER: &str = ".buntime-top";

/// Where entries go. `new` is how many folders of the path, from its end, were not there.
pub(super) trait Sink {
    fn folder(&mut self, path: &RelPath, new: usize) -> Result<(), ArchiveError>;
    fn begin_file(&mut self, path: &RelPath, new: usize) -> Result<(), ArchiveError>;
    fn write(&mut self, block: &[u8]) -> Result<(), ArchiveError>;
    fn end_file(&mut self, executable: Executable) -> Result<(), ArchiveError>;
}

/// Nothing is written.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn folder(&mut self, _path: &RelPath, _new: usize) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn begin_file(&mut self, _path: &RelPath, _new: usize) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn write(&mut self, _block: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn end_file(&mut self, _executable: Executable) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// A directory that is filled.
///
/// INVARIANT: every handle was opened from the one before it without following a link.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    tree: &'a Tree,
    /// The folder in which something was written last, and those above it: entries come
    /// folder by folder, so most of them open no folder at all.
    open: Vec<(Box<str>, OwnedFd)>,
    file: Option<OwnedFd>,
}

impl<'a> Filling<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            open: Vec::new(),
            file: None,
        }
    }

    fn deepest(&self) -> BorrowedFd<'_> {
        match self.open.last() {
            Some((_, folder)) => folder.as_fd(),
            None => self.tree.root().handle(),
        }
    }

    /// Opens a folder, making the last `new` segments.
    fn enter<'p>(
        &mut self,
        segments: impl ExactSizeIterator<Item = &'p str>,
        new: usize,
    ) -> Result<(), ArchiveError> {
        let there = segments.len() - new;
        let mut same = true;
        let mut depth = 0;
        for (at, segment) in segments.enumerate() {
            same = same
                && self
                    .open
                    .get(at)
                    .is_some_and(|(name, _)| **name == *segment);
            if !same {
                self.open.truncate(at);
                let folder = if at < there {
                    open_folder(self.deepest(), segment)?
                } else {
                    make_folder(self.deepest(), segment)?
                };
                self.open.push((segment.into(), folder));
            }
            depth = at + 1;
        }
        self.open.truncate(depth);
        Ok(())
    }

    /// Takes the top folder off.
    pub(super) fn finish(mut self, top: Option<&str>) -> Result<(), ArchiveError> {
        self.open.clear();
        match top {
            Some(top) => unwrap(self.tree.root().handle(), top).map_err(ArchiveError::writing),
            None => Ok(()),
        }
    }
}

impl Sink for Filling<'_> {
    fn folder(&mut self, path: &RelPath, new: usize) -> Result<(), ArchiveError> {
        let segments: Vec<&str> = path.segments().collect();
        self.enter(segments.into_iter(), new)
    }

    fn begin_file(&mut self, path: &RelPath, new: usize) -> Result<(), ArchiveError> {
        let mut segments: Vec<&str> = path.segments().collect();
        let name = segments.pop().unwrap_or_default();
        self.enter(segments.into_iter(), new)?;
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        // Nobody else reads a file that is not whole.
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(self.deepest(), name, flags, mode);
        self.file = Some(file.map_err(ArchiveError::writing)?);
        Ok(())
    }

    fn write(&mut self, mut block: &[u8]) -> Result<(), ArchiveError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        while !block.is_empty() {
            match rustix::io::write(file, block) {
                Ok(0) => return Err(ArchiveError::writing(Errno::NOSPC)),
                Ok(written) => block = block.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(ArchiveError::writing(errno)),
            }
        }
        Ok(())
    }

    fn end_file(&mut self, executable: Executable) -> Result<(), ArchiveError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let mode = match executable {
            Executable::Yes => 0o755,
            Executable::No => 0o644,
        };
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(ArchiveError::writing)
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, ArchiveError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(ArchiveError::writing)
}

fn make_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, ArchiveError> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(parent, name, mode).map_err(ArchiveError::writing)?;
    let folder = open_folder(parent, name)?;
    // Whatever the umask, and whatever the parent hands down.
    rustix::fs::fchmod(&folder, mode).map_err(ArchiveError::writing)?;
    Ok(folder)
}

/// Moves what is in the only folder up by one.
fn unwrap(root: BorrowedFd<'_>, top: &str) -> Result<(), Errno> {
    // Out of the way first: a folder may hold one of its own name.
    rustix::fs::renameat(root, top, root, WRAPPER)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let wrapper = rustix::fs::openat(root, WRAPPER, flags, Mode::empty())?;
    let mut names: Vec<CString> = Vec::new();
    for entry in rustix::fs::Dir::read_from(&wrapper)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in names {
        rustix::fs::renameat(&wrapper, &name, root, &name)?;
    }
    rustix::fs::unlinkat(root, WRAPPER, AtFlags::REMOVEDIR)
}
