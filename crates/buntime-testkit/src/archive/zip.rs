//! Zip archives.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::{Content, Entry, Kind};

/// One entry as the directory and its own header tell it. They agree unless a field with
/// `local_` says otherwise.
#[derive(Clone, Debug)]
pub struct ZipEntry {
    /// The name.
    pub name: Vec<u8>,
    /// The name in the header before the content.
    pub local_name: Option<Vec<u8>>,
    /// The flags, in both places. With bit 3 set a descriptor follows the content.
    pub flags: u16,
    /// The flags in the header before the content.
    pub local_flags: Option<u16>,
    /// The method that is told: 0 or 8.
    pub method: u16,
    /// The packed content.
    pub packed: Vec<u8>,
    /// The packed size that is told.
    pub packed_size: u32,
    /// The size that is told.
    pub size: u32,
    /// The size in the header before the content.
    pub local_size: Option<u32>,
    /// The checksum that is told.
    pub crc: u32,
    /// Unix mode with type, in the upper half of the external attributes.
    pub mode: u32,
    /// Extra field in the directory.
    pub extra: Vec<u8>,
    /// Extra field before the content.
    pub local_extra: Vec<u8>,
    /// Where the header is said to begin.
    pub offset: Option<u32>,
    /// Whether there is anything but the directory's word for it.
    pub only_in_directory: bool,
    /// Bytes between this and the next entry, which belong to none.
    pub gap: Vec<u8>,
}

impl ZipEntry {
    /// A regular file, deflated.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::of(
            name.as_ref(),
            0o100_644,
            &Content::Bytes(content.as_ref().to_owned()),
        )
    }

    /// A regular file, as it is.
    #[must_use]
    pub fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut entry = Self::file(name, &content);
        entry.method = 0;
        entry.packed = content.as_ref().to_owned();
        entry.packed_size = entry.size;
        entry
    }

    fn of(name: &[u8], mode: u32, content: &Content) -> Self {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        let mut crc = Crc::new();
        content.each(|piece| {
            crc.update(piece);
            deflate.write_all(piece).unwrap();
        });
        let packed = deflate.finish().unwrap();
        Self {
            name: name.to_owned(),
            local_name: None,
            flags: 0,
            local_flags: None,
            method: 8,
            packed_size: u32::try_from(packed.len()).unwrap(),
            packed,
            size: u32::try_from(content.size()).unwrap(),
            local_size: None,
            crc: crc.sum(),
            mode,
            extra: Vec::new(),
            local_extra: Vec::new(),
            offset: None,
            only_in_directory: false,
            gap: Vec::new(),
        }
    }
}

/// Writes a `.zip` entry by entry.
#[derive(Debug, Default)]
pub struct ZipForger {
    out: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
    /// How many entries the end record tells of, where it lies.
    pub told_entries: Option<u16>,
    /// The comment at the end.
    pub comment: Vec<u8>,
    /// Writes the wide end record as well.
    pub zip64: bool,
}

impl ZipForger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Any bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Where the next entry begins.
    #[must_use]
    pub fn offset(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap()
    }

    /// An entry and its line in the directory.
    pub fn entry(&mut self, entry: &ZipEntry) -> &mut Self {
        let offset = entry.offset.unwrap_or(self.offset());
        if !entry.only_in_directory {
            self.local(entry);
        }
        let mut line = Vec::new();
        line.extend_from_slice(b"PK\x01\x02");
        // Made on Unix, version 2.0.
        push16(&mut line, &[0x0314, 20, entry.flags, entry.method, 0, 0x21]);
        push32(&mut line, &[entry.crc, entry.packed_size, entry.size]);
        push16(
            &mut line,
            &[length(&entry.name), length(&entry.extra), 0, 0, 0],
        );
        push32(&mut line, &[entry.mode << 16, offset]);
        line.extend_from_slice(&entry.name);
        line.extend_from_slice(&entry.extra);
        self.directory.extend_from_slice(&line);
        self.entries = self.entries.wrapping_add(1);
        self
    }

    fn local(&mut self, entry: &ZipEntry) {
        let flags = entry.local_flags.unwrap_or(entry.flags);
        let name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let later = flags & 8 != 0;
        let told = if later { 0 } else { u32::MAX };
        let size = entry.local_size.unwrap_or(entry.size & told);
        self.out.extend_from_slice(b"PK\x03\x04");
        push16(&mut self.out, &[20, flags, entry.method, 0, 0x21]);
        push32(
            &mut self.out,
            &[entry.crc & told, entry.packed_size & told, size],
        );
        push16(&mut self.out, &[length(name), length(&entry.local_extra)]);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(&entry.local_extra);
        self.out.extend_from_slice(&entry.packed);
        if later {
            self.out.extend_from_slice(b"PK\x07\x08");
            push32(&mut self.out, &[entry.crc, entry.packed_size, entry.size]);
        }
        self.out.extend_from_slice(&entry.gap);
    }

    /// An entry as [`super::forge`] writes it.
    pub fn add(&mut self, entry: &Entry) -> &mut Self {
        let mut name = entry.name.clone();
        if entry.kind == Kind::Folder && !name.ends_with(b"/") {
            name.push(b'/');
        }
        let (kind, content) = match &entry.kind {
            Kind::File => (0o100_000, entry.content.clone()),
            Kind::Folder => (0o040_000, entry.content.clone()),
            Kind::Symlink(target) | Kind::HardLink(target) => {
                (0o120_000, Content::Bytes(target.clone()))
            }
            Kind::CharDevice => (0o020_000, entry.content.clone()),
            Kind::BlockDevice => (0o060_000, entry.content.clone()),
            Kind::Fifo => (0o010_000, entry.content.clone()),
            Kind::Socket => (0o140_000, entry.content.clone()),
        };
        let mut file = ZipEntry::of(&name, kind | entry.mode & 0o7777, &content);
        if !name.is_ascii() {
            // The name is UTF-8, it says.
            file.flags |= 1 << 11;
        }
        self.entry(&file)
    }

    /// The directory, the end, and all of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let offset = self.offset();
        let size = u32::try_from(self.directory.len()).unwrap();
        self.out.append(&mut self.directory);
        let entries = self.told_entries.unwrap_or(self.entries);
        if self.zip64 {
            let at = u64::from(self.offset());
            self.out.extend_from_slice(b"PK\x06\x06");
            push64(&mut self.out, &[44]);
            push16(&mut self.out, &[45, 45]);
            push32(&mut self.out, &[0, 0]);
            let entries = u64::from(entries);
            push64(
                &mut self.out,
                &[entries, entries, u64::from(size), u64::from(offset)],
            );
            self.out.extend_from_slice(b"PK\x06\x07");
            push32(&mut self.out, &[0]);
            push64(&mut self.out, &[at]);
            push32(&mut self.out, &[1]);
        }
        self.out.extend_from_slice(b"PK\x05\x06");
        push16(&mut self.out, &[0, 0, entries, entries]);
        push32(&mut self.out, &[size, offset]);
        push16(&mut self.out, &[length(&self.comment)]);
        self.out.extend_from_slice(&self.comment);
        self.out
    }
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap()
}

fn push16(out: &mut Vec<u8>, fields: &[u16]) {
    for field in fields {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn push32(out: &mut Vec<u8>, fields: &[u32]) {
    for field in fields {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn push64(out: &mut Vec<u8>, fields: &[u64]) {
    for field in fields {
        out.extend_from_slice(&field.to_le_bytes());
    }
}
