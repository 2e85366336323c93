//! An archive forger: archives that no polite program would write.
//!
//! [`forge`] writes the same entries in either format, whatever their names, types and
//! modes are. What one format alone can say is for [`TarForger`] and [`ZipForger`], where
//! every field can be made to lie.

mod tar;
mod zip;

pub use tar::{TarEntry, TarForger, gzip};
pub use zip::{ZipEntry, ZipForger};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.tgz`
    TarGz,
    /// `.zip`
    Zip,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::TarGz, Self::Zip];

    /// `app.tgz` or `app.zip`.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::TarGz => "app.tgz",
            Self::Zip => "app.zip",
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder. In a zip its name gets a slash at the end if it has none.
    Folder,
    /// A symbolic link to somewhere.
    Symlink(Vec<u8>),
    /// A hard link to another entry. A zip knows none: it becomes a symbolic link.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
    /// A socket. A tape archive knows none: it gets the type `s`, which nobody knows.
    Socket,
}

/// What a file contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeros, which are never in memory at once.
    Zeros(u64),
}

impl Content {
    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(size) => *size,
        }
    }

    /// Hands on the bytes piece by piece.
    fn each(&self, mut each: impl FnMut(&[u8])) {
        match self {
            Self::Bytes(bytes) => each(bytes),
            Self::Zeros(size) => {
                let piece = [0; 64 * 1024];
                let mut left = *size;
                while left > 0 {
                    let most = usize::try_from(left).unwrap_or(piece.len());
                    let most = most.min(piece.len());
                    each(&piece[..most]);
                    left -= most as u64;
                }
            }
        }
    }
}

/// An entry for either format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Any bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

impl Entry {
    /// A regular file.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            content: Content::Bytes(content.as_ref().to_owned()),
            ..Self::special(name, Kind::File)
        }
    }

    /// A file of zeros.
    #[must_use]
    pub fn zeros(name: impl AsRef<[u8]>, size: u64) -> Self {
        Self {
            content: Content::Zeros(size),
            ..Self::special(name, Kind::File)
        }
    }

    /// A folder.
    #[must_use]
    pub fn folder(name: impl AsRef<[u8]>) -> Self {
        Self::special(name, Kind::Folder).mode(0o755)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::special(name, Kind::Symlink(target.as_ref().to_owned())).mode(0o777)
    }

    /// Anything without content.
    #[must_use]
    pub fn special(name: impl AsRef<[u8]>, kind: Kind) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            kind,
            mode: 0o644,
            content: Content::Bytes(Vec::new()),
        }
    }

    /// With these permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }
}

/// An archive of these entries, in this order.
#[must_use]
pub fn forge(format: Format, entries: &[Entry]) -> Vec<u8> {
    match format {
        Format::TarGz => {
            let mut tar = TarForger::new();
            for entry in entries {
                tar.add(entry);
            }
            tar.finish()
        }
        Format::Zip => {
            let mut zip = ZipForger::new();
            for entry in entries {
                zip.add(entry);
            }
            zip.finish()
        }
    }
}

/// A small app: its manifest and an entrypoint, in npm's layout.
#[must_use]
pub fn app(name: &str, version: &str, source: &str) -> Vec<Entry> {
    let manifest = format!("{{\"name\": \"{name}\", \"version\": \"{version}\"}}");
    vec![
        Entry::file("package/package.json", manifest),
        Entry::file("package/index.ts", source),
    ]
}
