//! The last lines of one worker.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::sync::watch;
use uuid::Uuid;

use super::line::{Entry, Line};
use super::{BYTES_MAX, LINES_MAX};

/// Names a line: the ring and the number of the line in it. A client that comes back
/// after the server was started anew brings one of another ring, which says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    ring: u64,
    sequence: u64,
}

impl Cursor {
    pub(super) fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.ring, self.sequence)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// This is no name of a line.
#[derive(Debug)]
pub(crate) struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (ring, sequence) = text.split_once('-').ok_or(NoCursor)?;
        let is_hex = ring.len() == 16 && ring.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoCursor);
        }
        let ring = u64::from_str_radix(ring, 16).map_err(|_| NoCursor)?;
        let sequence = sequence.parse().map_err(|_| NoCursor)?;
        Ok(Self { ring, sequence })
    }
}

/// Some lines, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Entry>,
    /// Lines before these that are no more, and were not seen.
    pub(crate) missed: u64,
    /// Where to go on: the first line that is not in here.
    pub(crate) next: Cursor,
}

#[derive(Debug)]
pub(super) struct Ring {
    id: u64,
    /// The number of the first line that is left.
    first: u64,
    lines: VecDeque<(Arc<str>, Arc<Line>)>,
    bytes: usize,
    /// When it was written to, by the clock of all rings.
    written: u64,
    /// Tells the number of the line that comes next.
    news: watch::Sender<u64>,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            // Random: the numbers of another run must not fit.
            id: Uuid::new_v4().as_u64_pair().0,
            first: 0,
            lines: VecDeque::new(),
            bytes: 0,
            written: 0,
            news: watch::Sender::new(0),
        }
    }

    pub(super) fn push(&mut self, version: &str, line: Line, now: u64) {
        let last = self.lines.back().map(|(version, _)| version);
        let version = match last {
            Some(last) if **last == *version => Arc::clone(last),
            _ => version.into(),
        };
        self.bytes += line.bytes();
        self.lines.push_back((version, Arc::new(line)));
        self.written = now;
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
        self.news.send_replace(self.end());
    }

    /// The number of the line that comes next.
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    fn at(&self, sequence: u64) -> Cursor {
        Cursor {
            ring: self.id,
            sequence,
        }
    }

    /// The place after a line, if that is a line of this ring.
    pub(super) fn after(&self, seen: Cursor) -> Option<Cursor> {
        let is_ours = seen.ring == self.id && seen.sequence < self.end();
        is_ours.then(|| self.at(seen.sequence + 1))
    }

    pub(super) fn start_of_last(&self, count: usize) -> Cursor {
        let skipped = self.lines.len().saturating_sub(count);
        self.at(self.first + skipped as u64)
    }

    /// The last `count` lines of `version`, or of all.
    pub(super) fn tail(&self, version: Option<&str>, count: usize) -> Batch {
        let mut lines: Vec<_> = self
            .entries(0)
            .rev()
            .filter(|entry| version.is_none_or(|wanted| *entry.version == *wanted))
            .take(count)
            .collect();
        lines.reverse();
        Batch {
            lines,
            missed: 0,
            next: self.at(self.end()),
        }
    }

    /// Lines from `from` on, until they have about so many bytes.
    pub(super) fn read(&self, from: Cursor, version: Option<&str>, bytes: usize) -> Batch {
        // A follower outlives its ring only if that was thrown away while nobody had it.
        let from = if from.ring == self.id {
            from.sequence
        } else {
            self.first
        };
        let missed = self.first.saturating_sub(from);
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let (mut lines, mut taken, mut next) = (Vec::new(), 0, from.max(self.first));
        for entry in self.entries(skipped) {
            if taken >= bytes {
                break;
            }
            next += 1;
            if version.is_none_or(|wanted| *entry.version == *wanted) {
                taken += entry.line.bytes();
                lines.push(entry);
            }
        }
        Batch {
            lines,
            missed,
            next: self.at(next),
        }
    }

    fn entries(&self, skipped: usize) -> impl DoubleEndedIterator<Item = Entry> {
        let from = skipped.min(self.lines.len());
        let lines = self.lines.range(from..).enumerate();
        lines.map(move |(index, (version, line))| Entry {
            id: self.at(self.first + (from + index) as u64),
            version: Arc::clone(version),
            line: Arc::clone(line),
        })
    }

    pub(super) fn clear(&mut self) {
        self.first = self.end();
        self.lines.clear();
        self.bytes = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn is_followed(&self) -> bool {
        self.news.receiver_count() > 0
    }
}
