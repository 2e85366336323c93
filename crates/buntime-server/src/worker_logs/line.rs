//! One line.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};
use uuid::Uuid;

use super::ring::Cursor;
use crate::logging::Timestamp;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// The app's standard output.
    Stdout,
    /// The app's standard error.
    Stderr,
    /// An error of the app's that was caught around it.
    Error,
    /// The installation of its packages.
    Install,
    /// The server, about the worker: that it started, or ended, and why.
    Server,
}

/// A line of a worker. The text may hold any characters: who shows it on a terminal has
/// to escape them.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) time: Timestamp,
    pub(super) stream: Stream,
    pub(super) text: Box<str>,
    worker: Option<Uuid>,
    request_id: Option<Box<str>>,
}

impl Line {
    /// A line of this moment.
    pub(crate) fn new(stream: Stream, text: impl Into<Box<str>>) -> Self {
        Self {
            time: Timestamp::now(),
            stream,
            text: text.into(),
            worker: None,
            request_id: None,
        }
    }

    /// Which process it is about.
    pub(crate) fn of(mut self, worker: Uuid) -> Self {
        self.worker = Some(worker);
        self
    }

    /// During which request it was written, where that is known.
    pub(crate) fn during(mut self, request_id: Option<&str>) -> Self {
        self.request_id = request_id.map(Into::into);
        self
    }

    /// What it costs, roughly.
    pub(super) fn bytes(&self) -> usize {
        let beside = size_of::<Self>() + 48;
        beside + self.text.len() + self.request_id.as_deref().map_or(0, str::len)
    }
}

/// A line in its ring, as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Cursor,
    pub(crate) version: Arc<str>,
    pub(crate) line: Arc<Line>,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let line = &self.line;
        let mut out = serializer.serialize_struct("Line", 7)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("time", &format_args!("{}", line.time.full()))?;
        out.serialize_field("version", &*self.version)?;
        out.serialize_field("stream", &line.stream)?;
        if let Some(worker) = line.worker {
            out.serialize_field("worker", &format_args!("{worker}"))?;
        }
        if let Some(id) = &line.request_id {
            out.serialize_field("requestId", id)?;
        }
        out.serialize_field("message", &line.text)?;
        out.end()
    }
}
