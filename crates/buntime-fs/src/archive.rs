//! Archives: unpacking what a stranger packed, and packing folders for download.
//!
//! [`unpack`] takes `.tgz`, `.tar.gz` and `.zip` and writes regular files and folders
//! beneath an open directory. Everything else in an archive refuses the whole of it:
//! links, devices, names that climb, names twice, names that differ in letter case only,
//! sizes that lie, more than [`ArchiveLimits`]. What two programs could read in two ways
//! is refused as well. [`check`] says the same without writing.
//!
//! Names go through one parser (`name.rs`) and one index of what is there already
//! (`index.rs`); both formats write through one builder, which counts before it
//! writes. Nothing is opened by a path: every folder and file is created from the handle
//! of the folder above it, with `O_NOFOLLOW` and `O_EXCL`, so that even somebody who
//! writes into the folder meanwhile cannot lead anything outside of it.
//!
//! [`ZipStream`] is the other direction: folders as a `.zip`, made while it is sent.
//!
//! An unpacking that fails leaves what it wrote so far: the caller unpacks into a fresh
//! folder and removes it.

mod builder;
mod error;
mod gzip;
mod index;
mod name;
mod pax;
mod sink;
mod source;
mod tar;
mod zip;
mod zip_stream;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use crate::root::edit::Tree;

pub use error::{ArchiveError, Clash, EntryLabel, Excess, Unsafe};
pub use source::ReadAt;
pub use zip_stream::{Keep, ZipPart, ZipStream};

use builder::Builder;
use sink::{Filling, Nowhere, Sink};

/// An archive below this size may unpack to this many bytes, whatever the ratio: a small
/// file of spaces is no bomb.
const RATIO_FLOOR: u64 = 1024 * 1024;

/// A tape archive up to this size is checked before anything of it is written.
const READ_TWICE: u64 = 4 * 1024 * 1024;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveKind {
    /// A tape archive compressed with gzip: `.tgz`, `.tar.gz`.
    TarGz,
    /// `.zip`.
    Zip,
}

impl ArchiveKind {
    /// The format that a file name promises, letter case aside. What is in the file is
    /// held against it by [`unpack`].
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |extension: &str| {
            name.strip_suffix(extension)
                .is_some_and(|stem| !stem.is_empty() && !stem.ends_with('/'))
        };
        if ends(".tgz") || ends(".tar.gz") {
            Some(Self::TarGz)
        } else if ends(".zip") {
            Some(Self::Zip)
        } else {
            None
        }
    }

    /// The usual extension, with its dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::TarGz => ".tgz",
            Self::Zip => ".zip",
        }
    }
}

/// What an archive may unpack to. How large it is itself is for the caller to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, and apart from them folders.
    pub files: u64,
    /// How many times larger than the archive its files may be together. Up to 1 MiB
    /// is always allowed.
    pub ratio: u64,
}

impl Default for ArchiveLimits {
    /// Contract §7: 512 MB, 20,000 files, 200 times.
    fn default() -> Self {
        Self {
            bytes: 512 * 1024 * 1024,
            files: 20_000,
            ratio: 200,
        }
    }
}

/// How far an unpacking is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files begun.
    pub files: u64,
    /// Folders made, those among them that no entry names.
    pub folders: u64,
    /// Bytes of files written.
    pub bytes: u64,
}

/// What an archive held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files: at least one.
    pub files: u64,
    /// Folders, without the one that was taken off.
    pub folders: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// The folder around everything else in the archive, which was taken off.
    pub top_folder: Option<String>,
}

/// Unpacks an archive into an empty folder.
///
/// If everything lies in one top folder, that folder is taken off. Files get mode 0644,
/// or 0755 if the archive says that somebody may run them, folders 0755; owners and times
/// are not taken over. Nothing is flushed: [`Tree::sync_all`] does that.
///
/// Blocks; `progress` is called at each entry and each 64 KiB and may end it.
///
/// # Errors
/// [`ArchiveError`]. The folder then holds a part of the archive, never more than the
/// limits allow: the caller removes it.
pub fn unpack<A: ReadAt + ?Sized>(
    archive: &A,
    kind: ArchiveKind,
    into: &Tree,
    limits: &ArchiveLimits,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Unpacked, ArchiveError> {
    // A zip says at its end what it holds, a tape does not. A small one is read twice, so
    // that a bomb costs no disk; a large one would cost more time than it saves.
    if kind == ArchiveKind::TarGz && archive.size().map_err(ArchiveError::Io)? <= READ_TWICE {
        check(archive, kind, limits)?;
    }
    fill(archive, kind, into, limits, progress)
}

/// The same, while it is read.
fn fill<A: ReadAt + ?Sized>(
    archive: &A,
    kind: ArchiveKind,
    into: &Tree,
    limits: &ArchiveLimits,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Unpacked, ArchiveError> {
    let mut filling = Filling::new(into);
    let unpacked = read(archive, kind, limits, progress, &mut filling)?;
    filling.finish(unpacked.top_folder.as_deref())?;
    Ok(unpacked)
}

/// Reads an archive as [`unpack`] does, writing nothing.
///
/// # Errors
/// As [`unpack`] would refuse it.
pub fn check<A: ReadAt + ?Sized>(
    archive: &A,
    kind: ArchiveKind,
    limits: &ArchiveLimits,
) -> Result<Unpacked, ArchiveError> {
    let mut go_on = |_| ControlFlow::Continue(());
    read(archive, kind, limits, &mut go_on, &mut Nowhere)
}

fn read<A: ReadAt + ?Sized>(
    archive: &A,
    kind: ArchiveKind,
    limits: &ArchiveLimits,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    sink: &mut dyn Sink,
) -> Result<Unpacked, ArchiveError> {
    let packed = archive.size().map_err(ArchiveError::Io)?;
    let allowed = packed.saturating_mul(limits.ratio).max(RATIO_FLOOR);
    let mut builder = Builder::new(*limits, allowed, progress, sink);
    match kind {
        ArchiveKind::TarGz => tar::read_gz(archive, packed, &mut builder)?,
        ArchiveKind::Zip => zip::read(archive, packed, &mut builder)?,
    }
    builder.finish()
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests;
