//! Tape archives in gzip.
//!
//! A reader of its own, because what matters here is what it does not do: it obeys the
//! headers that name and bound an entry (ustar, pax, GNU long names) and refuses whatever
//! two readers could understand differently. Sizes stand in one place or agree; nothing
//! follows the end but zeros.

use std::io::{self, Read};

use super::builder::{Builder, Executable};
use super::error::{ArchiveError, EntryLabel, Unsafe};
use super::gzip;
use super::name::{EntryName, MAX_PATH};
use super::pax::{self, Extended};
use super::source::ReadAt;

/// What everything is a multiple of.
const BLOCK: usize = 512;
/// Bytes of content written at a time.
const PIECE: usize = 64 * 1024;
/// Most zeros after the end. `tar` fills up to 10 KiB, tapes wanted more.
const MAX_FILLING: u64 = 1024 * 1024;

const CUT: &str = "it ends in the middle of an entry";

/// Reads a whole `.tar.gz`.
pub(super) fn read_gz<A: ReadAt + ?Sized>(
    archive: &A,
    packed: u64,
    builder: &mut Builder<'_>,
) -> Result<(), ArchiveError> {
    let members = gzip::Members::open(archive, packed)?;
    Tape::new(members).read(builder)
}

/// A tape archive that is read from its start to its end.
struct Tape<R> {
    input: R,
    piece: Vec<u8>,
}

/// What stands before the header of an entry and is about it.
#[derive(Debug, Default)]
struct Before {
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: bool,
    global: bool,
}

impl Before {
    fn is_something(&self) -> bool {
        self.extended.is_some() || self.long_name.is_some() || self.long_link
    }
}

impl<R: Read> Tape<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            piece: vec![0; PIECE],
        }
    }

    fn read(mut self, builder: &mut Builder<'_>) -> Result<(), ArchiveError> {
        let mut before = Before::default();
        while let Some(header) = self.header()? {
            builder.metadata(BLOCK as u64)?;
            match header.kind() {
                b'x' => {
                    let records = self.described(&header, pax::MAX_HEADER, builder)?;
                    once(before.extended.replace(pax::parse(&records)?).is_none())?;
                }
                b'g' => {
                    let records = self.described(&header, pax::MAX_HEADER, builder)?;
                    let extended = pax::parse(&records)?;
                    // It would be the name or the size of every entry after it.
                    if extended != Extended::default() {
                        return Err(ArchiveError::invalid("a global header names an entry"));
                    }
                    before.global = true;
                }
                b'L' => {
                    let name = self.long_name(&header, builder)?;
                    once(before.long_name.replace(name).is_none())?;
                }
                b'K' => {
                    self.long_name(&header, builder)?;
                    once(!std::mem::replace(&mut before.long_link, true))?;
                }
                _ => self.entry(&header, std::mem::take(&mut before), builder)?,
            }
        }
        if before.is_something() {
            return Err(ArchiveError::invalid(CUT));
        }
        self.end()
    }

    /// The next header, or none at the end: before two blocks of zeros, or where nothing
    /// follows, for some programs leave them out. The gzip stream knows its own end.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? || block == [0; BLOCK] {
            return Ok(None);
        }
        let header = Header(block);
        if !header.is_intact() {
            return Err(ArchiveError::invalid("a header has a wrong checksum"));
        }
        Ok(Some(header))
    }

    /// Fills a block; false at the end.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ArchiveError::invalid(CUT)),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::reading(error, gzip::DAMAGED)),
            }
        }
        Ok(true)
    }

    /// The content of a header that describes the next entry.
    fn described(
        &mut self,
        header: &Header,
        most: u64,
        builder: &mut Builder<'_>,
    ) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size()?;
        if size > most {
            return Err(ArchiveError::invalid("an extended header is too long"));
        }
        builder.metadata(size.next_multiple_of(BLOCK as u64))?;
        let mut content = Vec::new();
        self.content(size, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// GNU's way to tell a long name. It ends with a NUL.
    fn long_name(
        &mut self,
        header: &Header,
        builder: &mut Builder<'_>,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.described(header, MAX_PATH as u64 + 1, builder)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// A file or a folder; anything else is refused.
    fn entry(
        &mut self,
        header: &Header,
        before: Before,
        builder: &mut Builder<'_>,
    ) -> Result<(), ArchiveError> {
        let size = header.size()?;
        let (path, said) = match before.extended {
            Some(extended) => (extended.path, extended.size),
            None => (None, None),
        };
        if path.is_some() && before.long_name.is_some() {
            return Err(ArchiveError::invalid("an entry has two long names"));
        }
        let raw = match path.or(before.long_name) {
            Some(name) => name,
            None => header.name()?,
        };
        let wrong = |what| ArchiveError::InvalidEntry {
            entry: EntryLabel::new(&raw),
            what,
        };
        // Readers that know extended headers and those that do not would go on at
        // different places.
        if said.is_some_and(|said| said != size) {
            return Err(wrong("has two sizes"));
        }
        if let Some(problem) = header.refused() {
            return Err(ArchiveError::UnsafeEntry {
                entry: EntryLabel::new(&raw),
                problem,
            });
        }
        let name = EntryName::parse(&raw)?;
        // Before the standard, a folder was a file whose name ends with a slash.
        if header.kind() == b'5' || name.slash {
            if size != 0 {
                return Err(wrong("is a folder with content"));
            }
            return builder.folder(&name);
        }
        builder.expect_bytes(size)?;
        builder.begin_file(&name)?;
        self.content(size, |piece| builder.write(piece))?;
        builder.end_file(Executable::of_mode(header.mode()))
    }

    /// Hands on so many bytes and passes over what fills the last block.
    fn content(
        &mut self,
        size: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = self.some(most)?;
            each(&self.piece[..read])?;
            left -= read as u64;
        }
        let mut filling = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        while filling > 0 {
            filling -= self.some(filling)?;
        }
        Ok(())
    }

    /// At least one byte of the archive, at most so many.
    fn some(&mut self, most: usize) -> Result<usize, ArchiveError> {
        loop {
            match self.input.read(&mut self.piece[..most]) {
                Ok(0) => return Err(ArchiveError::invalid(CUT)),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::reading(error, gzip::DAMAGED)),
            }
        }
    }

    /// After the last entry: zeros, and the checksum of the gzip stream.
    fn end(mut self) -> Result<(), ArchiveError> {
        let mut filling = 0;
        loop {
            let read = match self.input.read(&mut self.piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::reading(error, gzip::DAMAGED)),
            };
            if self.piece[..read].iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::invalid("something follows its end"));
            }
            filling += read as u64;
            if filling > MAX_FILLING {
                return Err(ArchiveError::invalid("too many zeros follow its end"));
            }
        }
    }
}

/// A header that describes the next entry stands there once.
fn once(first: bool) -> Result<(), ArchiveError> {
    if first {
        Ok(())
    } else {
        Err(ArchiveError::invalid("an entry is described twice"))
    }
}

/// The block before the content of an entry (POSIX.1-2024, pax, "ustar Interchange
/// Format").
struct Header([u8; BLOCK]);

impl Header {
    fn field(&self, at: usize, length: usize) -> &[u8] {
        &self.0[at..at + length]
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Whether the checksum is the sum of all bytes, its own counted as spaces.
    fn is_intact(&self) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().copied().map(u64::from).sum::<u64>();
        let all = sum(&self.0) - sum(self.field(148, 8)) + 8 * u64::from(b' ');
        octal(self.field(148, 8)) == Some(all)
    }

    fn mode(&self) -> u32 {
        // Only the permission to run is taken over: what cannot be read gives none.
        octal(self.field(100, 8)).map_or(0, |mode| (mode & 0o7777) as u32)
    }

    fn size(&self) -> Result<u64, ArchiveError> {
        let field = self.field(124, 12);
        let size = match field {
            // GNU's way to tell large sizes: binary, the highest bit set.
            [0x80, 0, 0, 0, low @ ..] => low
                .iter()
                .fold(0, |size, byte| size << 8 | u64::from(*byte)),
            field => octal(field)
                .ok_or_else(|| ArchiveError::invalid("a header has a malformed size"))?,
        };
        Ok(size)
    }

    /// The name in the header itself.
    fn name(&self) -> Result<Vec<u8>, ArchiveError> {
        let name = text(self.field(0, 100));
        let Some(name) = name else {
            return Err(ArchiveError::UnsafeEntry {
                entry: EntryLabel::new(self.field(0, 100)),
                problem: Unsafe::Control,
            });
        };
        // GNU's own format has other things in place of the prefix.
        if self.field(257, 6) != b"ustar\0" {
            return Ok(name.to_owned());
        }
        // Some programs put times behind a short prefix.
        let prefix = self.field(345, 155);
        let end = prefix.iter().position(|byte| *byte == 0);
        match &prefix[..end.unwrap_or(prefix.len())] {
            [] => Ok(name.to_owned()),
            prefix => Ok([prefix, b"/", name].concat()),
        }
    }

    /// What is wrong with an entry of this type.
    fn refused(&self) -> Option<Unsafe> {
        match self.kind() {
            b'0' | 0 | b'5' => None,
            b'1' => Some(Unsafe::HardLink),
            b'2' => Some(Unsafe::Symlink),
            b'3' | b'4' => Some(Unsafe::Device),
            b'6' => Some(Unsafe::Fifo),
            b'S' => Some(Unsafe::Sparse),
            _ => Some(Unsafe::UnknownType),
        }
    }
}

/// Text up to the first NUL, or the whole field; none if something hides behind the NUL.
fn text(field: &[u8]) -> Option<&[u8]> {
    let end = field.iter().position(|byte| *byte == 0);
    let (text, rest) = field.split_at(end.unwrap_or(field.len()));
    rest.iter().all(|byte| *byte == 0).then_some(text)
}

/// An octal number between spaces and NULs; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let is_filling = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| *byte != b' ');
    let digits = &field[start.unwrap_or(field.len())..];
    let end = digits.iter().position(is_filling).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if !rest.iter().all(is_filling) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        number.checked_mul(8)?.checked_add(u64::from(digit))
    })
}
