//! Why an archive is refused. Every text here may be shown to whoever sent it.

use std::fmt;
use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Most characters of an entry's name that a message shows.
const SHOWN: usize = 120;

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// An entry that no archive of an app may hold.
    #[error("entry {entry} {problem}")]
    UnsafeEntry {
        /// Its name.
        entry: EntryLabel,
        /// What is wrong with it.
        problem: Unsafe,
    },
    /// Two entries for one place.
    #[error("entry {entry} {clash}")]
    DuplicateEntry {
        /// The name of the second.
        entry: EntryLabel,
        /// How they clash.
        clash: Clash,
    },
    /// A name that the server uses itself.
    #[error("entry {entry} has a name that the server keeps for itself (`.buntime…`)")]
    ReservedName {
        /// The name.
        entry: EntryLabel,
    },
    /// Over a limit.
    #[error("the archive {0}")]
    TooLarge(Excess),
    /// Broken, or written in a way that could be read in two ways.
    #[error("not a valid archive: {what}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
    },
    /// As `Invalid`, where it is known which entry it is about.
    #[error("not a valid archive: entry {entry} {what}")]
    InvalidEntry {
        /// Its name.
        entry: EntryLabel,
        /// What is wrong.
        what: &'static str,
    },
    /// The disk or the quota is full.
    #[error("there is no space left to unpack the archive")]
    StorageFull(#[source] io::Error),
    /// `progress` asked for the end.
    #[error("unpacking was stopped")]
    Stopped,
    /// Another failure of reading or writing.
    #[error("the archive could not be unpacked")]
    Io(#[source] io::Error),
}

/// What makes an entry unsafe.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unsafe {
    /// A `..`, or a `.` where it has no business.
    #[error("has a dot segment in its path")]
    DotSegment,
    /// Begins with a slash.
    #[error("has an absolute path")]
    Absolute,
    /// Begins with a drive letter.
    #[error("begins with a drive letter")]
    Drive,
    /// Contains a backslash.
    #[error("has a backslash in its path")]
    Backslash,
    /// NUL, a line break or another control character.
    #[error("has a control character in its path")]
    Control,
    /// Bytes that are no UTF-8.
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    /// Nothing, or nothing between two slashes.
    #[error("has an empty segment in its path")]
    Empty,
    /// A segment over 255 bytes or a path over 4096.
    #[error("has a name that is too long")]
    TooLong,
    /// More folders deep than any app.
    #[error("lies too many folders deep")]
    TooDeep,
    /// A symbolic link.
    #[error("is a symbolic link; only regular files and folders are taken")]
    Symlink,
    /// A hard link.
    #[error("is a hard link; only regular files and folders are taken")]
    HardLink,
    /// A device.
    #[error("is a device; only regular files and folders are taken")]
    Device,
    /// A FIFO.
    #[error("is a FIFO; only regular files and folders are taken")]
    Fifo,
    /// A socket.
    #[error("is a socket; only regular files and folders are taken")]
    Socket,
    /// A file with holes.
    #[error("is a sparse file; only regular files and folders are taken")]
    Sparse,
    /// Something else.
    #[error("is of an unknown type; only regular files and folders are taken")]
    UnknownType,
    /// Needs a password.
    #[error("is encrypted")]
    Encrypted,
}

/// How two entries clash.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Clash {
    /// The same file twice.
    #[error("is in the archive twice")]
    Twice,
    /// They differ in letter case, or in how accents are written.
    #[error("differs only in letter case or in how accents are written from another entry")]
    Lookalike,
    /// A file that is a folder elsewhere.
    #[error("is a file and a folder")]
    FileAndFolder,
}

/// Which limit an archive exceeds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Excess {
    /// [`ArchiveLimits::bytes`](super::ArchiveLimits::bytes)
    #[error("unpacks to more than {0} bytes")]
    Bytes(u64),
    /// [`ArchiveLimits::files`](super::ArchiveLimits::files)
    #[error("holds more than {0} files")]
    Files(u64),
    /// [`ArchiveLimits::files`](super::ArchiveLimits::files), for folders.
    #[error("holds more than {0} folders")]
    Folders(u64),
    /// [`ArchiveLimits::ratio`](super::ArchiveLimits::ratio)
    #[error("unpacks to far more than its own size")]
    Ratio,
    /// What describes the entries is larger than any honest archive has it.
    #[error("describes its entries with too many bytes")]
    Metadata,
}

impl ArchiveError {
    pub(super) fn invalid(what: &'static str) -> Self {
        Self::Invalid { what }
    }

    /// A failure to read: of the archive's content, or of the system.
    pub(super) fn reading(error: io::Error, what: &'static str) -> Self {
        if error.raw_os_error().is_some() {
            Self::Io(error)
        } else {
            Self::Invalid { what }
        }
    }

    /// A failure to write.
    pub(super) fn writing(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::StorageFull(errno.into()),
            errno => Self::Io(errno.into()),
        }
    }
}

/// The name of an entry as a message may show it: quoted, escaped and cut.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryLabel(Box<str>);

impl EntryLabel {
    /// Makes any bytes fit to be shown.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        let mut shown = String::from("\"");
        let head = name.get(..4 * SHOWN).unwrap_or(name);
        let mut cut = head.len() < name.len();
        for (count, char) in String::from_utf8_lossy(head).chars().enumerate() {
            if count == SHOWN {
                cut = true;
                break;
            }
            shown.extend(char.escape_debug());
        }
        shown.push('"');
        if cut {
            shown.push('…');
        }
        Self(shown.into())
    }
}

impl fmt::Display for EntryLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for EntryLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
