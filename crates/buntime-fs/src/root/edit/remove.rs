//! Removing a folder with all that is in it, whoever else is at work there.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{WriteError, retry, staging};

/// Most folders open at a time. Deeper ones are lifted to the top first.
const MAX_OPEN: usize = 32;
/// How often a folder that is not empty afterwards is looked through again.
const MAX_PASSES: usize = 16;
/// More entries than this are put there by somebody who does not stop.
const MAX_ENTRIES: usize = 10_000_000;

/// A folder that is being emptied.
struct Level {
    dir: Dir,
    name: CString,
    passes: usize,
}

/// Removes `name` in `parent`.
///
/// Names are bytes here: what no path of ours can hold must go all the same.
pub(super) fn tree(parent: BorrowedFd<'_>, name: &str) -> Result<(), WriteError> {
    let name = CString::new(name).map_err(|_| WriteError::Name)?;
    let mut left = MAX_ENTRIES;
    let mut stack = Vec::new();
    match enter(parent, name)? {
        Entered::Removed => return Ok(()),
        Entered::Gone => return Err(WriteError::NotFound),
        Entered::Directory(level) => stack.push(level),
    }
    while let Some(level) = stack.last_mut() {
        left = left.checked_sub(1).ok_or(WriteError::Busy)?;
        match level.dir.read().transpose()? {
            Some(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Some(entry) => {
                let (name, kind) = (entry.file_name().to_owned(), entry.file_type());
                match clear(&stack, name, kind)? {
                    Cleared::Done => {}
                    Cleared::Deeper(level) => stack.push(level),
                    // The first is full of our own doing.
                    Cleared::Lifted => stack[0].passes = 0,
                }
            }
            None => leave(parent, &mut stack)?,
        }
    }
    Ok(())
}

enum Cleared {
    Done,
    /// A folder, to be emptied first.
    Deeper(Level),
    /// Moved into the first folder.
    Lifted,
}

/// Removes an entry of the last folder, or opens it if it has to be emptied.
fn clear(stack: &[Level], name: CString, kind: FileType) -> Result<Cleared, WriteError> {
    let (Some(first), Some(last)) = (stack.first(), stack.last()) else {
        return Ok(Cleared::Done);
    };
    let folder = last.dir.fd()?;
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(folder, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(Cleared::Done),
            // The look was wrong or is out of date.
            Err(Errno::ISDIR | Errno::PERM) if is_directory(folder, &name) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if stack.len() >= MAX_OPEN {
        lift(folder, &name, first.dir.fd()?)?;
        return Ok(Cleared::Lifted);
    }
    match enter(folder, name)? {
        Entered::Removed | Entered::Gone => Ok(Cleared::Done),
        Entered::Directory(level) => Ok(Cleared::Deeper(level)),
    }
}

/// The last folder is empty, as far as was seen: removes it, or has it looked
/// through again.
fn leave(parent: BorrowedFd<'_>, stack: &mut Vec<Level>) -> Result<(), WriteError> {
    let Some(mut level) = stack.pop() else {
        return Ok(());
    };
    let folder = match stack.last() {
        Some(below) => below.dir.fd()?,
        None => parent,
    };
    match rustix::fs::unlinkat(folder, &*level.name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            level.passes += 1;
            if level.passes > MAX_PASSES {
                return Err(WriteError::Busy);
            }
            level.dir.rewind();
            stack.push(level);
            Ok(())
        }
        // Somebody put something else in its place.
        Err(Errno::NOTDIR) => match rustix::fs::unlinkat(folder, &*level.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

enum Entered {
    Directory(Level),
    /// It was no directory, and is removed.
    Removed,
    /// Nothing of this name is there.
    Gone,
}

/// Opens a folder to empty it. Anything else is removed.
fn enter(parent: BorrowedFd<'_>, name: CString) -> Result<Entered, WriteError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry(|| rustix::fs::openat(parent, &*name, flags, Mode::empty())) {
        Ok(opened) => Ok(Entered::Directory(Level {
            dir: Dir::new(opened)?,
            name,
            passes: 0,
        })),
        Err(Errno::NOENT) => Ok(Entered::Gone),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            match rustix::fs::unlinkat(parent, &*name, AtFlags::empty()) {
                Ok(()) => Ok(Entered::Removed),
                Err(Errno::NOENT) => Ok(Entered::Gone),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Moves a folder that lies too deep up into the one that is removed as a whole,
/// where its turn comes again. So depth costs neither stack nor descriptors.
fn lift(folder: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> Result<(), WriteError> {
    let lifted = staging::unique(|free| {
        let flags = RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(
            folder,
            name,
            top,
            free.as_str(),
            flags,
        )?)
    });
    match lifted {
        Ok(_) | Err(WriteError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_directory(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
