//! Reading an archive from any place in it.

use std::io::{self, Read};

/// Bytes that can be read from anywhere. Reading moves nothing, so one handle serves
/// several readers.
pub trait ReadAt {
    /// Reads some bytes from `offset` on; none at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many bytes there are.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.get(offset..).unwrap_or_default().read(buffer)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// The bytes of an archive from one place to another.
#[derive(Debug)]
pub(super) struct Section<'a, A: ?Sized> {
    archive: &'a A,
    at: u64,
    end: u64,
}

impl<'a, A: ReadAt + ?Sized> Section<'a, A> {
    /// `length` bytes from `at` on, fewer if the archive ends before.
    pub(super) fn new(archive: &'a A, at: u64, length: u64) -> Self {
        Self {
            archive,
            at,
            end: at.saturating_add(length),
        }
    }
}

impl<A: ReadAt + ?Sized> Read for Section<'_, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.archive.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Fills a buffer from one place.
///
/// # Errors
/// `UnexpectedEof` if the archive ends before.
pub(super) fn read_exact_at<A: ReadAt + ?Sized>(
    archive: &A,
    buffer: &mut [u8],
    at: u64,
) -> io::Result<()> {
    Section::new(archive, at, buffer.len() as u64).read_exact(buffer)
}
