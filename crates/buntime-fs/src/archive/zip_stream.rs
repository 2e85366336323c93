//! Folders and files as a `.zip`, made while it is sent.

mod entry;
mod packer;
mod records;

use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::index::fold;
use crate::rel_path::RelPath;
use crate::root::walk::{WalkEntry, WalkLimits};
use crate::root::{OpenFile, Root};
use packer::Packer;

/// One of the things at the top of a [`ZipStream`].
pub enum ZipPart {
    /// A file.
    File {
        /// Its name in the archive: of a path, the last segment.
        name: RelPath,
        /// The file, from its start.
        file: OpenFile,
    },
    /// A folder and what lies in it.
    Folder {
        /// Its name in the archive: of a path, the last segment.
        name: RelPath,
        /// The folder.
        folder: Root,
        /// Asked for each entry of the folder; what it declines is left out with all
        /// that lies in it.
        keep: Keep,
    },
}

impl ZipPart {
    fn name(&self) -> &str {
        let (Self::File { name, .. } | Self::Folder { name, .. }) = self;
        name.file_name()
    }
}

/// What of a folder goes into the archive.
pub type Keep = Box<dyn Fn(&WalkEntry) -> bool + Send>;

/// A `.zip` of files and folders, made piece by piece as somebody takes it: no temporary
/// file, and no more memory than two pieces, the state of the compressor and the list of
/// names. Several parts of the same name get `-2`, `-3` and so on.
///
/// Files are read from handles that were opened beneath the folder's. Links and whatever
/// is neither file nor folder are left out, as are hard links to another user's files
/// (see the crate's page). What vanishes meanwhile is left out too; of a file that
/// grows, what it had is packed.
pub struct ZipStream {
    state: State,
}

enum State {
    Waiting(Box<Packer>),
    Packing(JoinHandle<(Box<Packer>, io::Result<Bytes>)>),
    Ended,
}

impl ZipStream {
    /// Packs these parts. The limits are those of each folder: more entries are an error
    /// of the stream, what is deeper is left out.
    #[must_use]
    pub fn new(parts: Vec<ZipPart>, limits: WalkLimits) -> Self {
        let names = unique_names(&parts);
        let parts = names.into_iter().zip(parts).collect();
        Self {
            state: State::Waiting(Box::new(Packer::new(parts, limits))),
        }
    }

    /// The next piece, about 128 KiB; `None` at the end. After an error nothing follows:
    /// what was sent is no whole archive. Cancel safe.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Like [`ZipStream::next`]. Needs a tokio runtime.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                // A piece at a time, so that a client that takes nothing holds no thread.
                State::Waiting(mut packer) => {
                    self.state = State::Packing(tokio::task::spawn_blocking(move || {
                        let piece = packer.piece();
                        (packer, piece)
                    }));
                }
                State::Packing(mut packing) => {
                    let Poll::Ready(packed) = Pin::new(&mut packing).poll(context) else {
                        self.state = State::Packing(packing);
                        return Poll::Pending;
                    };
                    return Poll::Ready(match packed {
                        Ok((_, Ok(piece))) if piece.is_empty() => None,
                        Ok((packer, Ok(piece))) => {
                            self.state = State::Waiting(packer);
                            Some(Ok(piece))
                        }
                        Ok((_, Err(error))) => Some(Err(error)),
                        Err(error) => Some(Err(io::Error::other(error))),
                    });
                }
            }
        }
    }
}

impl fmt::Debug for ZipPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ZipPart")
            .field(&self.name())
            .finish()
    }
}

impl fmt::Debug for ZipStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ZipStream").finish_non_exhaustive()
    }
}

/// A name for each part that no other has, letter case aside: they may be unpacked where
/// it does not count.
fn unique_names(parts: &[ZipPart]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(parts.len());
    for part in parts {
        let name = part.name();
        let (stem, extension) = match part {
            ZipPart::File { .. } => match name.rfind('.') {
                Some(at) if at > 0 => name.split_at(at),
                _ => (name, ""),
            },
            ZipPart::Folder { .. } => (name, ""),
        };
        let mut unique = name.to_owned();
        let mut number = 1;
        while !taken.insert(fold(&unique).into_owned()) {
            number += 1;
            unique = format!("{stem}-{number}{extension}");
        }
        names.push(unique);
    }
    names
}

#[cfg(test)]
mod tests;
