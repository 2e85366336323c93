//! The end record and the central directory.

use std::io::{BufReader, Read};

use super::super::builder::{Builder, Executable};
use super::super::error::{ArchiveError, EntryLabel, Excess, Unsafe};
use super::super::name::EntryName;
use super::super::source::{ReadAt, Section, read_exact_at};
use super::fields::{ELSEWHERE, Extra, Fields};

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END_LENGTH: u64 = 22;
const LOCATOR64_LENGTH: u64 = 20;
const END64_LENGTH: u64 = 56;
const CENTRAL_LENGTH: usize = 46;
/// Longest central directory: it is in memory, one entry at a time, with all names.
const MAX_DIRECTORY: u64 = 16 * 1024 * 1024;

/// How the content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One entry as the central directory tells it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) raw_name: Box<[u8]>,
    pub(super) name: EntryName,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    /// Bytes of the content, packed.
    pub(super) packed: u64,
    /// Bytes of the content.
    pub(super) size: u64,
    /// Where its local header begins.
    pub(super) offset: u64,
    pub(super) executable: Executable,
}

/// Where the directory is and how many entries it has.
struct End {
    entries: u64,
    offset: u64,
    length: u64,
}

/// Reads all entries, and tells where the directory begins.
pub(super) fn read<A: ReadAt + ?Sized>(
    archive: &A,
    packed: u64,
    builder: &mut Builder<'_>,
) -> Result<(Vec<Entry>, u64), ArchiveError> {
    let end = find_end(archive, packed)?;
    builder.expect_entries(end.entries)?;
    if end.length > MAX_DIRECTORY {
        return Err(ArchiveError::TooLarge(Excess::Metadata));
    }
    builder.metadata(end.length)?;
    // An entry has at least so many bytes: a wrong count allocates nothing.
    if end.entries > end.length / CENTRAL_LENGTH as u64 {
        return Err(ArchiveError::invalid(DIRECTORY));
    }
    let mut input = BufReader::new(Section::new(archive, end.offset, end.length));
    let mut entries = Vec::with_capacity(usize::try_from(end.entries).unwrap_or(0));
    let mut left = end.length;
    for _ in 0..end.entries {
        let (entry, length) = read_entry(&mut input)?;
        left = left
            .checked_sub(length)
            .ok_or_else(|| ArchiveError::invalid(DIRECTORY))?;
        entries.push(entry);
    }
    if left != 0 {
        return Err(ArchiveError::invalid(DIRECTORY));
    }
    Ok((entries, end.offset))
}

const DIRECTORY: &str = "its directory is damaged or cut";
const NO_END: &str = "it has no end record, or something follows it";

/// The end record ends the file, but for a comment whose length it knows.
fn find_end<A: ReadAt + ?Sized>(archive: &A, packed: u64) -> Result<End, ArchiveError> {
    let length = packed.min(END_LENGTH + u64::from(u16::MAX));
    let mut tail = vec![0; usize::try_from(length).unwrap_or(0)];
    read_exact_at(archive, &mut tail, packed - length)
        .map_err(|error| ArchiveError::reading(error, NO_END))?;
    // The last signature: a comment that holds one could be taken for another archive.
    let at = (0..=tail.len().saturating_sub(END_LENGTH as usize))
        .rev()
        .find(|at| tail[*at..].starts_with(&END.to_le_bytes()));
    let found = at.and_then(|at| Some((at as u64, end_fields(&tail[at..])?)));
    let (at, [disks, here, total, size, offset]) =
        found.ok_or_else(|| ArchiveError::invalid(NO_END))?;
    let at = packed - length + at;
    if disks != 0 || here != total {
        return Err(ArchiveError::invalid("it is a part of several"));
    }
    let mut end = End {
        entries: total,
        offset,
        length: size,
    };
    let mut after = at;
    if let Some(wide) = find_end64(archive, at)? {
        let agrees = |narrow: u64, wide: u64, elsewhere: u64| narrow == wide || narrow == elsewhere;
        if !agrees(end.entries, wide.1.entries, 0xffff)
            || !agrees(end.offset, wide.1.offset, ELSEWHERE)
            || !agrees(end.length, wide.1.length, ELSEWHERE)
        {
            return Err(ArchiveError::invalid("its end records disagree"));
        }
        (after, end) = wide;
    }
    if end.offset.checked_add(end.length) != Some(after) {
        return Err(ArchiveError::invalid(
            "its directory is not where it should be",
        ));
    }
    Ok(end)
}

/// Disk numbers, entries here, entries, length and offset of the directory, if the
/// comment ends with the bytes.
fn end_fields(bytes: &[u8]) -> Option<[u64; 5]> {
    let mut fields = Fields(bytes);
    fields.u32()?;
    let (disk, of_directory) = (fields.u16()?, fields.u16()?);
    let (here, total) = (fields.u16()?, fields.u16()?);
    let (length, offset) = (fields.u32()?, fields.u32()?);
    let comment = fields.u16()?;
    (fields.0.len() == usize::from(comment)).then_some([
        u64::from(disk | of_directory),
        u64::from(here),
        u64::from(total),
        u64::from(length),
        u64::from(offset),
    ])
}

/// The wide end record and where it begins: between the directory and the end record.
fn find_end64<A: ReadAt + ?Sized>(
    archive: &A,
    end: u64,
) -> Result<Option<(u64, End)>, ArchiveError> {
    const BROKEN: &str = "its zip64 end record is damaged";
    let broken = || ArchiveError::invalid(BROKEN);
    let Some(locator_at) = end.checked_sub(LOCATOR64_LENGTH) else {
        return Ok(None);
    };
    let mut locator = [0; LOCATOR64_LENGTH as usize];
    read_exact_at(archive, &mut locator, locator_at)
        .map_err(|error| ArchiveError::reading(error, BROKEN))?;
    let mut fields = Fields(&locator);
    if fields.u32() != Some(LOCATOR64) {
        return Ok(None);
    }
    let disk = fields.u32();
    let at = fields.u64().ok_or_else(broken)?;
    // Without extensible data, so that it has one length.
    if disk != Some(0)
        || fields.u32() != Some(1)
        || at.checked_add(END64_LENGTH) != Some(locator_at)
    {
        return Err(broken());
    }
    let mut record = [0; END64_LENGTH as usize];
    read_exact_at(archive, &mut record, at)
        .map_err(|error| ArchiveError::reading(error, BROKEN))?;
    let mut fields = Fields(&record);
    if fields.u32() != Some(END64) || fields.u64() != Some(END64_LENGTH - 12) {
        return Err(broken());
    }
    fields.bytes(4);
    if fields.u64() != Some(0) {
        return Err(ArchiveError::invalid("it is a part of several"));
    }
    let here = fields.u64();
    let entries = fields.u64().ok_or_else(broken)?;
    if here != Some(entries) {
        return Err(broken());
    }
    let length = fields.u64().ok_or_else(broken)?;
    let offset = fields.u64().ok_or_else(broken)?;
    let end = End {
        entries,
        offset,
        length,
    };
    Ok(Some((at, end)))
}

/// The next entry, and how many bytes of the directory it takes.
fn read_entry(input: &mut impl Read) -> Result<(Entry, u64), ArchiveError> {
    let broken = || ArchiveError::invalid(DIRECTORY);
    let cut = |error| ArchiveError::reading(error, DIRECTORY);
    let mut head = [0; CENTRAL_LENGTH];
    input.read_exact(&mut head).map_err(cut)?;
    let mut fields = Fields(&head);
    if fields.u32() != Some(CENTRAL) {
        return Err(broken());
    }
    let mut u16 = || fields.u16().unwrap_or(0);
    let [_made_by, _needed, flags, method, _time, _date] = std::array::from_fn(|_| u16());
    let mut u32 = || fields.u32().unwrap_or(0);
    let [crc, packed, size] = std::array::from_fn(|_| u32());
    let mut u16 = || fields.u16().unwrap_or(0);
    let [name, extra, comment, disk, _internal] = std::array::from_fn(|_| u16());
    let mut u32 = || fields.u32().unwrap_or(0);
    let [attributes, offset] = std::array::from_fn(|_| u32());

    let mut variable = vec![0; usize::from(name) + usize::from(extra) + usize::from(comment)];
    input.read_exact(&mut variable).map_err(cut)?;
    let (raw_name, rest) = variable.split_at(usize::from(name));
    let extra = Extra::parse(&rest[..usize::from(extra)])?;
    let (mut size, mut packed) = (u64::from(size), u64::from(packed));
    let mut offset = u64::from(offset);
    extra.widen(&mut [&mut size, &mut packed, &mut offset])?;
    let label = || EntryLabel::new(raw_name);
    if disk != 0 {
        return Err(ArchiveError::invalid("it is a part of several"));
    }
    // Encrypted, patch data, strongly encrypted, encrypted directory.
    if flags & 0x2061 != 0 {
        return Err(ArchiveError::UnsafeEntry {
            entry: label(),
            problem: Unsafe::Encrypted,
        });
    }
    if extra.unicode_name.is_some_and(|second| second != raw_name) {
        return Err(ArchiveError::InvalidEntry {
            entry: label(),
            what: "has two names",
        });
    }
    let mode = attributes >> 16;
    if let Some(problem) = refused_type(mode) {
        return Err(ArchiveError::UnsafeEntry {
            entry: label(),
            problem,
        });
    }
    let entry = Entry {
        name: parse_name(raw_name, mode)?,
        raw_name: raw_name.into(),
        flags,
        method: match method {
            0 => Method::Stored,
            8 => Method::Deflated,
            _ => {
                return Err(ArchiveError::InvalidEntry {
                    entry: label(),
                    what: "is packed by a method that is not known here",
                });
            }
        },
        crc,
        packed,
        size,
        offset,
        executable: Executable::of_mode(mode),
    };
    Ok((entry, (CENTRAL_LENGTH + variable.len()) as u64))
}

const TYPE: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;

/// By the Unix mode, which is 0 where the archive was made elsewhere. Whatever system an
/// entry claims to come from: some program would believe it.
fn refused_type(mode: u32) -> Option<Unsafe> {
    match mode & TYPE {
        0 | FOLDER | 0o100_000 => None,
        0o120_000 => Some(Unsafe::Symlink),
        0o010_000 => Some(Unsafe::Fifo),
        0o140_000 => Some(Unsafe::Socket),
        0o020_000 | 0o060_000 => Some(Unsafe::Device),
        _ => Some(Unsafe::UnknownType),
    }
}

/// A folder's name ends with a slash; the mode, if it says a type, says the same.
fn parse_name(raw: &[u8], mode: u32) -> Result<EntryName, ArchiveError> {
    let name = EntryName::parse(raw)?;
    if mode & TYPE != 0 && name.slash != (mode & TYPE == FOLDER) {
        return Err(ArchiveError::InvalidEntry {
            entry: EntryLabel::new(raw),
            what: "is a file by its name and a folder by its mode, or the other way round",
        });
    }
    Ok(name)
}
