//! The files: `audit.log`, and what it was when it had grown too long,
//! `audit-000001.log` and so on, the highest the newest.
//!
//! A file is renamed once and never changes its number: a place in it stays what it
//! is however many files follow.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FallocateFlags, OFlags, RenameFlags};

/// The file that is written.
const NAME: &str = "audit.log";

/// Room that is kept on the disk for lines to come, and the least that there must
/// be when a call begins.
const ROOM: u64 = 256 * 1024;
const LEAST_ROOM: u64 = 64 * 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after which a new file begins.
    pub file: u64,
    /// Files that are kept beside the one that is written.
    pub files: usize,
}

impl Default for Limits {
    /// 64 MB and five older files: some hundred thousand calls each.
    fn default() -> Self {
        Self {
            file: 64 << 20,
            files: 5,
        }
    }
}

/// What readers see of the file that is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// `None` while it cannot be written.
    pub(super) file: Option<Arc<File>>,
    /// The number that it will have.
    pub(super) number: u64,
    /// Up to here it is on the disk.
    pub(super) length: u64,
}

/// The writing end. Opens its file when it must, and again when somebody has put
/// another in its place.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    limits: Limits,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    number: u64,
    length: u64,
    /// Up to here the disk has room for it.
    room: u64,
    device_and_inode: (u64, u64),
}

impl Log {
    pub(super) fn new(dir: &Path, limits: Limits) -> Self {
        Self {
            dir: dir.to_owned(),
            limits,
            open: None,
        }
    }

    /// Writes whole lines so that they are on the disk when it returns; without
    /// any, proves that some can be written. All or none of them are written, as
    /// far as the disk lets take back a part.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let result = self.try_append(lines);
        if result.is_err() {
            // A file whose sync failed cannot be trusted to sync again.
            self.open = None;
        }
        result
    }

    /// What readers may see now.
    pub(super) fn live(&self) -> Live {
        match &self.open {
            Some(open) => Live {
                file: Some(Arc::clone(&open.file)),
                number: open.number,
                length: open.length,
            },
            None => Live::default(),
        }
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let path = self.dir.join(NAME);
        let mut open = match self.open.take() {
            Some(open) if open.is_still_at(&path)? => open,
            _ => Open::at(&self.dir, &path)?,
        };
        let more = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if open.length > 0 && open.length.saturating_add(more) > self.limits.file {
            open = self.begin_next(&path, &open)?;
        }
        if lines.is_empty() {
            open.keep_room(LEAST_ROOM)?;
        } else {
            open.write(lines)?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Gives the file its number and begins another.
    fn begin_next(&self, path: &Path, full: &Open) -> io::Result<Open> {
        // Gives back the room that it did not need.
        full.file.set_len(full.length)?;
        full.file.sync_data()?;
        let numbered = numbered(&self.dir, full.number);
        rustix::fs::renameat_with(CWD, path, CWD, &numbered, RenameFlags::NOREPLACE)?;
        let next = Open::at(&self.dir, path)?;
        let numbers = numbers(&self.dir)?;
        let surplus = numbers.len().saturating_sub(self.limits.files);
        for number in &numbers[..surplus] {
            fs::remove_file(self::numbered(&self.dir, *number))?;
        }
        Ok(next)
    }
}

impl Open {
    fn at(dir: &Path, path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            // A pipe in its place would be waited for.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no ordinary file"));
        }
        if metadata.mode() & 0o077 != 0 {
            use std::os::unix::fs::PermissionsExt as _;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        let mut open = Self {
            length: metadata.len(),
            room: metadata.len(),
            number: numbers(dir)?.last().map_or(1, |last| last + 1),
            device_and_inode: (metadata.dev(), metadata.ino()),
            file: Arc::new(file),
        };
        // The name must outlive a crash as its lines do.
        File::open(dir)?.sync_all()?;
        open.end_torn_line()?;
        open.keep_room(LEAST_ROOM)?;
        Ok(open)
    }

    /// A crash may have left half a line, which the next must not become part of.
    fn end_torn_line(&mut self) -> io::Result<()> {
        let Some(last) = self.length.checked_sub(1) else {
            return Ok(());
        };
        let mut end = [0];
        self.file.read_exact_at(&mut end, last)?;
        if end == *b"\n" {
            return Ok(());
        }
        self.write(b"\n")
    }

    fn is_still_at(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == self.device_and_inode),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps room on the disk, so that a line can be written after what it tells
    /// of was done. A file system that cannot do that says so and is believed.
    fn keep_room(&mut self, least: u64) -> io::Result<()> {
        if self.length + ROOM / 2 <= self.room {
            return Ok(());
        }
        let kept = rustix::fs::fallocate(&*self.file, FallocateFlags::KEEP_SIZE, self.length, ROOM);
        match kept {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.room = self.length + ROOM;
                Ok(())
            }
            Err(_) if self.length + least <= self.room => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        // Somebody may have cut the file.
        self.length = self.file.metadata()?.len();
        let written = (&*self.file)
            .write_all(lines)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half of it would be told again when the rest can be written. If even
            // that fails, the next line still begins on a line of its own.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length = self.file.metadata()?.len();
        Ok(())
    }
}

/// Where the file of this number is.
pub(super) fn numbered(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit-{number:06}.log"))
}

/// The numbers of the files that are written no more, lowest first.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".log"))
            .filter(|digits| digits.len() >= 6)
            .and_then(|digits| digits.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}
