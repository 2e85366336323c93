//! Zip archives (APPNOTE.TXT 6.3.10).
//!
//! A zip file tells everything twice: in its central directory and before each entry.
//! Here both must say the same, the entries must follow each other without gap or
//! overlap from the first byte to the directory, the directory must end where the end
//! record begins, and that one must end the file. So there is only one way to read it.

mod directory;
mod fields;
mod local;

use std::io::{self, BufReader, Read};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::builder::Builder;
use super::error::{ArchiveError, EntryLabel, Excess};
use super::source::{ReadAt, Section, read_exact_at};

use directory::{Entry, Method};

/// Bytes of content written at a time.
const PIECE: usize = 64 * 1024;

/// Reads a whole `.zip`.
pub(super) fn read<A: ReadAt + ?Sized>(
    archive: &A,
    packed: u64,
    builder: &mut Builder<'_>,
) -> Result<(), ArchiveError> {
    const NONE: &str = "it is not a zip file";
    let mut magic = [0; 4];
    read_exact_at(archive, &mut magic, 0).map_err(|error| ArchiveError::reading(error, NONE))?;
    // The second is an archive without entries.
    if !matches!(&magic, b"PK\x03\x04" | b"PK\x05\x06") {
        return Err(ArchiveError::invalid(NONE));
    }
    let (mut entries, end) = directory::read(archive, packed, builder)?;
    // All of it is known before anything is written.
    let mut bytes = 0_u64;
    for entry in &entries {
        bytes = bytes.saturating_add(entry.size);
    }
    builder.expect_bytes(bytes)?;
    let files = entries.iter().filter(|entry| !entry.name.slash).count() as u64;
    if files > builder.limits().files {
        return Err(ArchiveError::TooLarge(Excess::Files(
            builder.limits().files,
        )));
    }
    entries.sort_by_key(|entry| entry.offset);
    let mut at = 0;
    let mut entries = entries.iter().peekable();
    while let Some(entry) = entries.next() {
        let next = entries.peek().map_or(end, |next| next.offset);
        if entry.offset != at {
            return Err(wrong(entry, "overlaps another, or leaves a gap"));
        }
        let content = local::start(archive, entry, next)?;
        unpack(archive, entry, content, builder)?;
        at = next;
    }
    if at != end {
        return Err(ArchiveError::invalid("bytes of it belong to no entry"));
    }
    Ok(())
}

fn wrong(entry: &Entry, what: &'static str) -> ArchiveError {
    ArchiveError::InvalidEntry {
        entry: EntryLabel::new(&entry.raw_name),
        what,
    }
}

/// One entry, whose content begins at `content`.
fn unpack<A: ReadAt + ?Sized>(
    archive: &A,
    entry: &Entry,
    content: u64,
    builder: &mut Builder<'_>,
) -> Result<(), ArchiveError> {
    let packed = Section::new(archive, content, entry.packed);
    let packed = BufReader::with_capacity(PIECE, packed);
    if entry.name.slash {
        if entry.size != 0 {
            return Err(wrong(entry, "is a folder with content"));
        }
        copy_content(packed, entry, |_| Ok(()))?;
        return builder.folder(&entry.name);
    }
    builder.begin_file(&entry.name)?;
    copy_content(packed, entry, |piece| builder.write(piece))?;
    builder.end_file(entry.executable)
}

fn copy_content(
    packed: BufReader<impl Read>,
    entry: &Entry,
    each: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    match entry.method {
        Method::Stored => copy(packed, entry, each),
        Method::Deflated => {
            let mut inflated = DeflateDecoder::new(packed);
            copy(&mut inflated, entry, each)?;
            if inflated.total_in() != entry.packed {
                return Err(wrong(entry, "is shorter packed than it says"));
            }
            Ok(())
        }
    }
}

/// Hands on the content, which must have the size and the checksum that were told.
fn copy(
    mut content: impl Read,
    entry: &Entry,
    mut each: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut crc = Crc::new();
    let mut piece = vec![0; PIECE];
    let mut left = entry.size;
    loop {
        let read = match content.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error().is_some() => return Err(ArchiveError::Io(error)),
            Err(_) => return Err(wrong(entry, "is damaged or cut")),
        };
        left = match left.checked_sub(read as u64) {
            Some(left) => left,
            None => return Err(wrong(entry, "is larger than it says")),
        };
        crc.update(&piece[..read]);
        each(&piece[..read])?;
    }
    if left != 0 {
        return Err(wrong(entry, "is smaller than it says"));
    }
    if crc.sum() != entry.crc {
        return Err(wrong(entry, "has a wrong checksum"));
    }
    Ok(())
}
