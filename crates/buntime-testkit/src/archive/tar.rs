//! Tape archives.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Content, Entry, Kind};

const BLOCK: usize = 512;

/// One header with its content, every field to be chosen.
#[derive(Clone, Debug)]
pub struct TarEntry {
    /// The name field, at most 100 bytes.
    pub name: Vec<u8>,
    /// The prefix field, at most 155 bytes.
    pub prefix: Vec<u8>,
    /// The type.
    pub kind: u8,
    /// The mode field.
    pub mode: u32,
    /// The target of a link, at most 100 bytes.
    pub link: Vec<u8>,
    /// What follows the header.
    pub content: Content,
    /// The size field, where it does not tell the truth.
    pub size: Option<u64>,
    /// The bytes of the size field, where it is no number at all.
    pub raw_size: Option<[u8; 12]>,
    /// Magic and version: `ustar\x0000`, `ustar  \0`, or eight NULs.
    pub magic: [u8; 8],
    /// Whether the checksum is right.
    pub intact: bool,
}

impl TarEntry {
    /// A regular file.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            prefix: Vec::new(),
            kind: b'0',
            mode: 0o644,
            link: Vec::new(),
            content: Content::Bytes(content.as_ref().to_owned()),
            size: None,
            raw_size: None,
            magic: *b"ustar\x0000",
            intact: true,
        }
    }

    /// Of this type.
    #[must_use]
    pub fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// The header.
    fn header(&self) -> [u8; BLOCK] {
        let mut head = [0; BLOCK];
        let mut put = |at: usize, most: usize, bytes: &[u8]| {
            assert!(bytes.len() <= most, "does not fit into its field");
            head[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let size = self.size.unwrap_or(self.content.size());
        put(0, 100, &self.name);
        put(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        put(108, 8, b"0000000\0");
        put(116, 8, b"0000000\0");
        match self.raw_size {
            Some(field) => put(124, 12, &field),
            None => put(124, 12, format!("{size:011o}\0").as_bytes()),
        }
        put(136, 12, b"00000000000\0");
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, &self.link);
        put(257, 8, &self.magic);
        put(345, 155, &self.prefix);
        let sum: u32 = head.iter().copied().map(u32::from).sum();
        let sum = sum + u32::from(!self.intact);
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        head
    }
}

/// Writes a `.tar.gz` (or a bare `.tar`) header by header.
#[derive(Debug)]
pub struct TarForger {
    out: GzEncoder<Vec<u8>>,
}

impl Default for TarForger {
    fn default() -> Self {
        Self::new()
    }
}

impl TarForger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::packed(Compression::fast())
    }

    fn packed(how: Compression) -> Self {
        Self {
            out: GzEncoder::new(Vec::new(), how),
        }
    }

    /// Any bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.write_all(bytes).unwrap();
        self
    }

    /// A header and its content.
    pub fn entry(&mut self, entry: &TarEntry) -> &mut Self {
        self.raw(&entry.header());
        entry.content.each(|piece| {
            self.out.write_all(piece).unwrap();
        });
        let size = usize::try_from(entry.content.size()).unwrap();
        let filling = size.next_multiple_of(BLOCK) - size;
        self.raw(&[0; BLOCK][..filling])
    }

    /// An extended header for the next entry.
    pub fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        self.pax_raw(b'x', &pax_records(records))
    }

    /// An extended header for all entries that follow.
    pub fn global_pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        self.pax_raw(b'g', &pax_records(records))
    }

    /// An extended header of any content.
    pub fn pax_raw(&mut self, kind: u8, records: &[u8]) -> &mut Self {
        self.entry(&TarEntry::file("PaxHeader/x", records).kind(kind))
    }

    /// GNU's long name for the next entry.
    pub fn gnu_long_name(&mut self, name: &[u8]) -> &mut Self {
        let name = [name, b"\0"].concat();
        let mut entry = TarEntry::file("././@LongLink", name).kind(b'L');
        entry.magic = *b"ustar  \0";
        self.entry(&entry)
    }

    /// An entry as [`super::forge`] writes it. A name that its field cannot hold as it is
    /// gets an extended header.
    pub fn add(&mut self, entry: &Entry) -> &mut Self {
        let plain = entry.name.len() <= 100 && !entry.name.contains(&0);
        if !plain {
            self.pax(&[("path", &entry.name)]);
        }
        let name = if plain { &*entry.name } else { b"long" };
        let (kind, link): (u8, &[u8]) = match &entry.kind {
            Kind::File => (b'0', b""),
            Kind::HardLink(target) => (b'1', target),
            Kind::Symlink(target) => (b'2', target),
            Kind::CharDevice => (b'3', b""),
            Kind::BlockDevice => (b'4', b""),
            Kind::Folder => (b'5', b""),
            Kind::Fifo => (b'6', b""),
            Kind::Socket => (b's', b""),
        };
        let mut header = TarEntry::file(name, "").kind(kind);
        header.content = entry.content.clone();
        header.mode = entry.mode;
        header.link = link.to_owned();
        self.entry(&header)
    }

    /// The end and all of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]);
        self.finish_without_end()
    }

    /// All of it, without the blocks that mark the end.
    #[must_use]
    pub fn finish_without_end(self) -> Vec<u8> {
        self.out.finish().unwrap()
    }
}

/// A gzip file of these bytes.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut forger = TarForger::new();
    forger.raw(bytes);
    forger.finish_without_end()
}

fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        out.extend_from_slice(format!("{length} {key}=").as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}
