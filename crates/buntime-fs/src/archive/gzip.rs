//! Gzip streams (RFC 1952).

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::error::ArchiveError;
use super::source::{ReadAt, Section, read_exact_at};

/// What is said when reading fails.
pub(super) const DAMAGED: &str = "the gzip stream is damaged or cut";

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Most members: what packs blocks of 64 KiB into a member each has fewer. Members of
/// nothing would cost time and give no sign of progress.
const MAX_MEMBERS: usize = 16 * 1024;

type Packed<'a, A> = BufReader<Section<'a, A>>;

/// The content of all members of a gzip file, one after the other. What follows the last
/// one and is none is an error, and so is a wrong checksum.
pub(super) struct Members<'a, A: ReadAt + ?Sized> {
    current: Option<GzDecoder<Packed<'a, A>>>,
    count: usize,
}

impl<'a, A: ReadAt + ?Sized> Members<'a, A> {
    /// # Errors
    /// It does not begin like a gzip file.
    pub(super) fn open(archive: &'a A, packed: u64) -> Result<Self, ArchiveError> {
        const NONE: &str = "it is not a gzip file";
        let mut magic = [0; 3];
        read_exact_at(archive, &mut magic, 0)
            .map_err(|error| ArchiveError::reading(error, NONE))?;
        if magic != [0x1f, 0x8b, 8] {
            return Err(ArchiveError::invalid(NONE));
        }
        let packed = BufReader::with_capacity(PIECE, Section::new(archive, 0, packed));
        Ok(Self {
            current: Some(GzDecoder::new(packed)),
            count: 1,
        })
    }
}

impl<A: ReadAt + ?Sized> Read for Members<'_, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(member) = self.current.take() else {
                break;
            };
            let mut packed = member.into_inner();
            if packed.fill_buf()?.is_empty() {
                break;
            }
            self.count += 1;
            if self.count > MAX_MEMBERS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.current = Some(GzDecoder::new(packed));
        }
        Ok(0)
    }
}
