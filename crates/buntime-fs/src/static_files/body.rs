//! Bodies of answers.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

/// Bytes read at a time.
const BLOCK: usize = 128 * 1024;

/// The body of a static answer.
#[derive(Debug)]
pub enum StaticBody {
    /// None.
    Empty,
    /// In memory, to be sent in one piece.
    Bytes(Bytes),
    /// Read as it is sent.
    File(FileBody),
}

/// A part of an open file, read block by block as the client takes it.
///
/// What the kernel has in memory is copied at once; only a read that would
/// wait for the disk goes to a blocking thread. Ends with an error if the file
/// turns out shorter than promised.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    offset: u64,
    remaining: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// The bytes of `file` from `offset` on, `length` of them.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self {
            file,
            offset,
            remaining: length,
            reading: None,
        }
    }

    /// Reads a byte and forgets it: whether there is something to send is known before
    /// it is promised. What the kernel read on the way is in memory for [`FileBody::next`].
    pub(super) async fn try_read(&self) -> io::Result<()> {
        let block = match read_from_memory(&self.file, self.offset, 1) {
            Some(block) => block?,
            None => {
                let (file, offset) = (Arc::clone(&self.file), self.offset);
                tokio::task::spawn_blocking(move || read_from_disk(&file, offset, 1))
                    .await
                    .map_err(io::Error::other)??
            }
        };
        if block.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next block, at most 128 KB; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Like [`FileBody::next`]. Needs a tokio runtime.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let block = match &mut self.reading {
            Some(reading) => {
                let block = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                block.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
            None => {
                let length = usize::try_from(self.remaining).unwrap_or(BLOCK).min(BLOCK);
                match read_from_memory(&self.file, self.offset, length) {
                    Some(block) => block,
                    None => {
                        let (file, offset) = (Arc::clone(&self.file), self.offset);
                        self.reading = Some(tokio::task::spawn_blocking(move || {
                            read_from_disk(&file, offset, length)
                        }));
                        return self.poll_next(context);
                    }
                }
            }
        };
        let block = block.and_then(|block| {
            if block.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(block)
        });
        match &block {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                self.remaining -= bytes.len() as u64;
            }
            Err(_) => self.remaining = 0,
        }
        Poll::Ready(Some(block))
    }
}

/// What is in the page cache, possibly less than asked for; `None` if the disk
/// would have to be waited for, or the file system cannot tell.
fn read_from_memory(file: &File, offset: u64, length: usize) -> Option<io::Result<Bytes>> {
    let mut block = BytesMut::zeroed(length);
    let mut slices = [IoSliceMut::new(&mut block)];
    match rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => {
            block.truncate(read);
            Some(Ok(block.freeze()))
        }
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => None,
        Err(errno) => Some(Err(errno.into())),
    }
}

fn read_from_disk(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut block = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut block[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.truncate(filled);
    Ok(block.freeze())
}
