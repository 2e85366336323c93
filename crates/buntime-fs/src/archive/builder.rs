//! Where both formats put their entries: counts first, writes then.

use std::ops::ControlFlow;

use super::error::{ArchiveError, EntryLabel, Excess, Unsafe};
use super::index::{Index, Kind};
use super::name::EntryName;
use super::sink::Sink;
use super::{ArchiveLimits, Progress, Unpacked};

/// Bytes that may describe one entry on average: headers, long names, padding.
const METADATA_FOR_EACH: u64 = 4096;
/// Bytes that may describe entries where there are few.
const METADATA_FLOOR: u64 = 1024 * 1024;

/// Whether somebody may run the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Executable {
    Yes,
    No,
}

impl Executable {
    /// By the permission bits: anybody's.
    pub(super) fn of_mode(mode: u32) -> Self {
        if mode & 0o111 == 0 {
            Self::No
        } else {
            Self::Yes
        }
    }
}

/// Takes entries in, in the archive's order.
pub(super) struct Builder<'a> {
    limits: ArchiveLimits,
    /// By the ratio.
    allowed: u64,
    metadata: u64,
    index: Index,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    so_far: Progress,
    sink: &'a mut dyn Sink,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        limits: ArchiveLimits,
        allowed: u64,
        progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
        sink: &'a mut dyn Sink,
    ) -> Self {
        Self {
            limits,
            allowed,
            metadata: 0,
            index: Index::default(),
            progress,
            so_far: Progress::default(),
            sink,
        }
    }

    /// Counts bytes that describe entries.
    pub(super) fn metadata(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.metadata = self.metadata.saturating_add(bytes);
        if self.metadata > self.most_metadata() {
            return Err(ArchiveError::TooLarge(Excess::Metadata));
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> &ArchiveLimits {
        &self.limits
    }

    fn most_metadata(&self) -> u64 {
        METADATA_FLOOR.saturating_add(self.limits.files.saturating_mul(METADATA_FOR_EACH))
    }

    /// Refuses so many entries before one of them is read.
    pub(super) fn expect_entries(&self, entries: u64) -> Result<(), ArchiveError> {
        // Files and folders are counted apart once it is known which is which.
        if entries > self.limits.files.saturating_mul(2) {
            return Err(ArchiveError::TooLarge(Excess::Files(self.limits.files)));
        }
        Ok(())
    }

    /// Refuses so many bytes more before one of them is read.
    pub(super) fn expect_bytes(&self, bytes: u64) -> Result<(), ArchiveError> {
        let after = self.so_far.bytes.saturating_add(bytes);
        if after > self.limits.bytes {
            return Err(ArchiveError::TooLarge(Excess::Bytes(self.limits.bytes)));
        }
        if after > self.allowed {
            return Err(ArchiveError::TooLarge(Excess::Ratio));
        }
        Ok(())
    }

    /// A folder.
    pub(super) fn folder(&mut self, name: &EntryName) -> Result<(), ArchiveError> {
        let Some(path) = &name.path else {
            return Ok(());
        };
        let new = self.insert(name, Kind::Folder)?;
        self.count_folders(new)?;
        self.sink.folder(path, new)?;
        self.tell()
    }

    /// A file, whose content [`Self::write`] brings.
    pub(super) fn begin_file(&mut self, name: &EntryName) -> Result<(), ArchiveError> {
        let Some(path) = &name.path else {
            return Err(ArchiveError::UnsafeEntry {
                entry: EntryLabel::new(b"."),
                problem: Unsafe::DotSegment,
            });
        };
        let new = self.insert(name, Kind::File)?;
        self.so_far.files += 1;
        if self.so_far.files > self.limits.files {
            return Err(ArchiveError::TooLarge(Excess::Files(self.limits.files)));
        }
        self.count_folders(new - 1)?;
        self.sink.begin_file(path, new - 1)?;
        self.tell()
    }

    /// A piece of the file's content.
    pub(super) fn write(&mut self, block: &[u8]) -> Result<(), ArchiveError> {
        self.expect_bytes(block.len() as u64)?;
        self.so_far.bytes += block.len() as u64;
        self.sink.write(block)?;
        self.tell()
    }

    /// The file is whole.
    pub(super) fn end_file(&mut self, executable: Executable) -> Result<(), ArchiveError> {
        self.sink.end_file(executable)
    }

    /// All entries are in.
    pub(super) fn finish(self) -> Result<Unpacked, ArchiveError> {
        if self.so_far.files == 0 {
            return Err(ArchiveError::invalid("it holds no file"));
        }
        let top_folder = self.index.top_folder().map(str::to_owned);
        Ok(Unpacked {
            files: self.so_far.files,
            folders: self.so_far.folders - u64::from(top_folder.is_some()),
            bytes: self.so_far.bytes,
            top_folder,
        })
    }

    fn insert(&mut self, name: &EntryName, kind: Kind) -> Result<usize, ArchiveError> {
        let Some(path) = &name.path else {
            return Ok(0);
        };
        match self.index.insert(path, kind) {
            Ok(inserted) => Ok(inserted.new),
            Err(clash) => Err(ArchiveError::DuplicateEntry {
                entry: EntryLabel::new(path.as_str().as_bytes()),
                clash,
            }),
        }
    }

    fn count_folders(&mut self, new: usize) -> Result<(), ArchiveError> {
        self.so_far.folders += new as u64;
        if self.so_far.folders > self.limits.files {
            return Err(ArchiveError::TooLarge(Excess::Folders(self.limits.files)));
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), ArchiveError> {
        match (self.progress)(self.so_far) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ArchiveError::Stopped),
        }
    }
}
