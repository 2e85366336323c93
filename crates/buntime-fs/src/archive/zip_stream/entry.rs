//! One file being packed.

use std::fs::File;
use std::io::{self, Read as _};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::records::Line;
use crate::root::OpenFile;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Extensions of what is compressed already: it goes into blocks as it is.
const COMPRESSED: [&str; 28] = [
    "7z", "aac", "avif", "br", "bz2", "flac", "gif", "gz", "heic", "jpeg", "jpg", "m4a", "m4v",
    "mkv", "mov", "mp3", "mp4", "ogg", "opus", "png", "tgz", "webm", "webp", "woff", "woff2", "xz",
    "zip", "zst",
];

/// A file whose header was written and whose content is under way.
pub(super) struct Packing {
    file: File,
    /// Bytes still to read: what the file had when it was opened.
    left: u64,
    crc: Crc,
    compress: Compress,
    block: Vec<u8>,
    line: Line,
}

/// How far it is.
pub(super) enum Step {
    More,
    Done(Line),
}

impl Packing {
    pub(super) fn begin(
        name: &str,
        file: OpenFile,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> io::Result<Self> {
        let OpenFile { file, info } = file;
        let mode = rustix::fs::fstat(&file)?.st_mode;
        let line = Line::file(name, offset, &info, mode & 0o111 != 0);
        line.write_header(out)?;
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let is_compressed = extension.is_some_and(|extension| {
            COMPRESSED
                .iter()
                .any(|known| known.eq_ignore_ascii_case(extension))
        });
        let level = if is_compressed {
            Compression::none()
        } else {
            Compression::fast()
        };
        Ok(Self {
            file,
            left: info.size,
            crc: Crc::new(),
            compress: Compress::new(level, false),
            block: vec![0; BLOCK],
            line,
        })
    }

    /// Reads a block and packs it.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> io::Result<Step> {
        let most = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        let read = match self.file.read(&mut self.block[..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Step::More),
            read => read?,
        };
        self.left -= read as u64;
        self.crc.update(&self.block[..read]);
        if read > 0 {
            self.pack(read, FlushCompress::None, out)?;
            return Ok(Step::More);
        }
        self.pack(0, FlushCompress::Finish, out)?;
        let mut line = self.line.clone();
        line.crc = self.crc.sum();
        line.packed = self.compress.total_out();
        line.size = self.compress.total_in();
        line.write_descriptor(out);
        Ok(Step::Done(line))
    }

    fn pack(&mut self, read: usize, flush: FlushCompress, out: &mut Vec<u8>) -> io::Result<()> {
        let before = self.compress.total_in();
        loop {
            let taken = (self.compress.total_in() - before) as usize;
            // What the compressor writes at a time: a block and its overhead.
            out.reserve(BLOCK + 1024);
            let status = self
                .compress
                .compress_vec(&self.block[taken..read], out, flush)
                .map_err(io::Error::other)?;
            let taken = (self.compress.total_in() - before) as usize;
            match (flush, status) {
                (FlushCompress::Finish, Status::StreamEnd) => return Ok(()),
                (FlushCompress::Finish, _) => {}
                _ if taken == read => return Ok(()),
                _ => {}
            }
        }
    }
}
