//! Reading the log backwards, a page at a time.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::FromStr;

use buntime_core::access::Namespaces;
use memchr::memrchr;
use rustix::fs::OFlags;

use super::line::{LONGEST, Line};
use super::log::{self, Live};
use crate::logging::Timestamp;

/// Read at once.
const BLOCK: u64 = 64 * 1024;

/// Most bytes that are looked through for one page: some 10 ms of work.
const MOST_READ: u64 = 4 << 20;

/// Which lines are wanted, and whose eyes they are for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Most lines of the page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// This action, or all that begin with it and a dot: `worker` and `worker.upload`.
    pub action: Option<&'a str>,
    /// The id of the key.
    pub key: Option<&'a str>,
    /// Targets that begin so.
    pub target: Option<&'a str>,
    /// Not before.
    pub since: Option<&'a Time>,
    /// Before.
    pub until: Option<&'a Time>,
    /// The namespaces of whoever asks.
    pub reader: &'a Namespaces,
}

/// Lines, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// May be fewer than wanted, even none, though more follow.
    pub lines: Vec<Line>,
    /// Where the next page begins; `None`: there is nothing older.
    pub next: Option<Cursor>,
}

/// A place between two lines. Stays the same however the log grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    file: u64,
    offset: u64,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such cursor; take it from the page before")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.file, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let hex = |digits: &str| {
            let fits = (1..=16).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            fits.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let (file, offset) = text.split_once('-').ok_or(BadCursor)?;
        Ok(Self {
            file: hex(file).ok_or(BadCursor)?,
            offset: hex(offset).ok_or(BadCursor)?,
        })
    }
}

/// A moment as lines have it, so that the two compare as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time(String);

/// A text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a time of UTC as in 2026-11-22T12:34:56Z, or a day as in 2026-11-22")]
pub struct BadTime;

impl FromStr for Time {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        const FULL: &str = "0000-00-00T00:00:00.000Z";
        let rest = match text.len() {
            10 => &FULL[10..],
            20 if text.ends_with('Z') => ".000Z",
            24 => "",
            _ => return Err(BadTime),
        };
        let kept = if text.len() == 20 { &text[..19] } else { text };
        let time = format!("{kept}{rest}");
        let alike = time
            .bytes()
            .zip(FULL.bytes())
            .all(|(byte, model)| match model {
                b'0' => byte.is_ascii_digit(),
                mark => byte == mark,
            });
        if alike && time.len() == FULL.len() {
            Ok(Self(time))
        } else {
            Err(BadTime)
        }
    }
}

impl Query<'_> {
    fn wants(&self, line: &Line) -> bool {
        let action = |wanted: &str| {
            let rest = line.action.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let key = |wanted: &str| line.key.as_ref().is_some_and(|key| key.id == wanted);
        let target = |wanted: &str| {
            let target = line.target.as_ref();
            target.is_some_and(|target| target.starts_with(wanted))
        };
        line.is_seen_by(self.reader)
            && self.action.is_none_or(action)
            && self.key.is_none_or(key)
            && self.target.is_none_or(target)
            && self.since.is_none_or(|since| line.time >= since.0)
            && self.until.is_none_or(|until| line.time < until.0)
    }
}

pub(super) fn read(dir: &Path, live: &Live, query: &Query<'_>) -> io::Result<Page> {
    let mut page = Page {
        lines: Vec::new(),
        next: None,
    };
    let mut budget = MOST_READ;
    let older = log::numbers(dir)?.into_iter().rev();
    // While the live file cannot be written it has no number: it is left out.
    let live_number = live.file.as_ref().map(|_| live.number);
    let newest = live_number.into_iter();
    let older = older.filter(|number| live_number.is_none_or(|live| *number < live));
    for number in newest.chain(older) {
        let from = match query.cursor {
            Some(cursor) if number > cursor.file => continue,
            Some(cursor) if number == cursor.file => Some(cursor.offset),
            _ => None,
        };
        let opened;
        let (file, length) = match &live.file {
            Some(file) if live_number == Some(number) => (&**file, live.length),
            _ => {
                let Some((file, length)) = open(dir, number, query.since)? else {
                    continue;
                };
                opened = file;
                (&opened, length)
            }
        };
        let end = from.map_or(length, |offset| offset.min(length));
        let mut lines = Backwards::new(file, end);
        while let Some((offset, bytes)) = lines.next()? {
            // What is no line of ours, a torn one say, is passed over.
            let line = serde_json::from_slice::<Line>(&bytes).ok();
            page.lines.extend(line.filter(|line| query.wants(line)));
            budget = budget.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if page.lines.len() >= query.limit || budget == 0 {
                let file = number;
                page.next = Some(Cursor { file, offset });
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// A file that is written no more, with its length. `None` if it is gone by now, or
/// older than everything that is wanted.
fn open(dir: &Path, number: u64, since: Option<&Time>) -> io::Result<Option<(File, u64)>> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(log::numbered(dir, number));
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let last_write = Timestamp::of(metadata.modified()?);
    let is_too_old = since.is_some_and(|since| last_write.full().to_string() < since.0);
    Ok((metadata.is_file() && !is_too_old).then_some((file, metadata.len())))
}

/// The lines of a file, last first, without more of it in memory than a block and
/// a line.
struct Backwards<'a> {
    file: &'a File,
    /// Where `buffer` begins in the file.
    start: u64,
    /// What is read and not given yet.
    buffer: Vec<u8>,
}

impl<'a> Backwards<'a> {
    fn new(file: &'a File, end: u64) -> Self {
        Self {
            file,
            start: end,
            buffer: Vec::new(),
        }
    }

    /// The line before, and where it begins.
    fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let inside = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            let begins = memrchr(b'\n', inside).map(|newline| newline + 1);
            let begins = begins.or((self.start == 0).then_some(0));
            match begins {
                Some(0) if self.buffer.is_empty() => return Ok(None),
                Some(begins) => {
                    let line = self.buffer.split_off(begins);
                    let offset = self.start + u64::try_from(begins).unwrap_or_default();
                    return Ok(Some((offset, line)));
                }
                None => self.read_block()?,
            }
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        // No line of ours is that long: its pieces are passed over one by one.
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
        }
        let length = BLOCK.min(self.start);
        let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut block, self.start - length)?;
        block.append(&mut self.buffer);
        self.buffer = block;
        self.start -= length;
        Ok(())
    }
}
