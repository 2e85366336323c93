//! A file that takes the place of another in one step.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::AtFlags;

use super::{FileMode, Tree, WriteError, create_file, retry, staging};
use crate::rel_path::RelPath;

/// A file that is being written beside the one that it will replace, under a name
/// that starts with `.buntime`. Dropped before [`Replacement::commit`], it is
/// removed and nothing has changed. Blocks.
#[derive(Debug)]
pub struct Replacement {
    folder: Tree,
    temporary: RelPath,
    name: RelPath,
    file: File,
    is_done: bool,
}

impl Replacement {
    pub(super) fn begin(folder: Tree, name: RelPath, mode: FileMode) -> Result<Self, WriteError> {
        let (temporary, file) = staging::unique(|temporary| {
            create_file(folder.root().directory.as_fd(), temporary.as_str(), mode)
        })?;
        Ok(Self {
            folder,
            temporary,
            name,
            file,
            is_done: false,
        })
    }

    /// Puts the file in its place, durably if this returns. A link of that name
    /// is replaced, not followed.
    ///
    /// # Errors
    /// [`WriteError::IsADirectory`] if a directory has the name.
    pub fn commit(mut self) -> Result<(), WriteError> {
        self.file.sync_all()?;
        let folder = &self.folder.root().directory;
        let (temporary, name) = (self.temporary.as_str(), self.name.as_str());
        match retry(|| rustix::fs::renameat(folder, temporary, folder, name)) {
            // A directory is in the way, however full.
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
                return Err(WriteError::IsADirectory);
            }
            renamed => renamed?,
        }
        self.is_done = true;
        self.folder.sync()
    }
}

impl io::Write for Replacement {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_done {
            let folder = &self.folder.root().directory;
            // A name that stays is hidden and harmless; there is nobody to tell.
            let _ = rustix::fs::unlinkat(folder, self.temporary.as_str(), AtFlags::empty());
        }
    }
}
