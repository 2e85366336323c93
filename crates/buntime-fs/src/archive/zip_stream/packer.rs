//! What the stream asks for pieces: a walk, an entry under way, the directory.

use std::io;
use std::vec;

use bytes::Bytes;

use super::entry::{Packing, Step};
use super::records::{Directory, Line};
use super::{Keep, ZipPart};
use crate::root::walk::{Walk, WalkLimits};
use crate::root::{EntryKind, OpenFile, Root};

/// A piece is sent once it has so many bytes.
const PIECE: usize = 128 * 1024;

pub(super) struct Packer {
    parts: vec::IntoIter<(String, ZipPart)>,
    limits: WalkLimits,
    /// The folder under way, and its name in the archive.
    walk: Option<(String, Walk, Keep)>,
    file: Option<Packing>,
    directory: Directory,
    /// Bytes packed so far, those in `out` among them.
    offset: u64,
    out: Vec<u8>,
    /// The directory and the end record, once all entries are packed; how much of them
    /// was sent.
    end: Option<(Vec<u8>, usize)>,
}

impl Packer {
    pub(super) fn new(parts: Vec<(String, ZipPart)>, limits: WalkLimits) -> Self {
        Self {
            parts: parts.into_iter(),
            limits,
            walk: None,
            file: None,
            directory: Directory::default(),
            offset: 0,
            out: Vec::new(),
            end: None,
        }
    }

    /// The next piece; empty at the end. Blocks.
    pub(super) fn piece(&mut self) -> io::Result<Bytes> {
        while self.end.is_none() && self.out.len() < PIECE {
            let before = self.out.len();
            self.step()?;
            self.offset += (self.out.len() - before) as u64;
        }
        if let Some((end, sent)) = &mut self.end {
            let room = PIECE.saturating_sub(self.out.len());
            let until = end.len().min(*sent + room);
            self.out.extend_from_slice(&end[*sent..until]);
            *sent = until;
        }
        Ok(std::mem::take(&mut self.out).into())
    }

    fn step(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            if let Step::Done(line) = file.step(&mut self.out)? {
                self.file = None;
                self.directory.add(&line);
            }
            return Ok(());
        }
        if self.walk.is_some() {
            return self.walk_on();
        }
        match self.parts.next() {
            Some((name, ZipPart::File { file, .. })) => self.begin_file(&name, file),
            Some((name, ZipPart::Folder { folder, keep, .. })) => {
                self.add_folder(&name, &folder)?;
                let walk = Walk::begin(folder, self.limits).map_err(io::Error::other)?;
                self.walk = Some((name, walk, keep));
                Ok(())
            }
            None => {
                let directory = std::mem::take(&mut self.directory);
                self.end = Some((directory.finish(self.offset), 0));
                Ok(())
            }
        }
    }

    fn walk_on(&mut self) -> io::Result<()> {
        let Some((top, walk, keep)) = &mut self.walk else {
            return Ok(());
        };
        let Some(entry) = walk.next() else {
            self.walk = None;
            return Ok(());
        };
        if !keep(&entry) {
            return Ok(());
        }
        let name = format!("{top}/{}", entry.path);
        match entry.kind {
            EntryKind::Directory => {
                if walk.enter(&entry).map_err(io::Error::other)?
                    && let Some(folder) = walk.folder()
                {
                    let line = Line::folder(&name, self.offset, folder.info());
                    self.add(&line)?;
                }
                Ok(())
            }
            EntryKind::File => {
                // Gone, or something else by now.
                let Ok(file) = walk.open_file(&entry) else {
                    return Ok(());
                };
                let foreign = walk
                    .folder()
                    .is_none_or(|folder| file.info.is_foreign_link(folder.info()));
                if foreign {
                    return Ok(());
                }
                self.begin_file(&name, file)
            }
            EntryKind::Link | EntryKind::Other => Ok(()),
        }
    }

    fn add_folder(&mut self, name: &str, folder: &Root) -> io::Result<()> {
        let line = Line::folder(name, self.offset, folder.info());
        self.add(&line)
    }

    fn add(&mut self, line: &Line) -> io::Result<()> {
        line.write_header(&mut self.out)?;
        self.directory.add(line);
        Ok(())
    }

    fn begin_file(&mut self, name: &str, file: OpenFile) -> io::Result<()> {
        self.file = Some(Packing::begin(name, file, self.offset, &mut self.out)?);
        Ok(())
    }
}
