//! Forms with files: `multipart/form-data` (RFC 7578, on RFC 2046 section 5.1).
//!
//! [`FormParser`] takes a body as it comes and gives it back in pieces, so a file of
//! any size passes through a buffer of a few kilobytes. It does no I/O and is strict:
//! a part without a name, a field that stands twice, a boundary that ends in other
//! bytes, or a body that ends before its last boundary is an error, never a guess.

mod head;

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;
use thiserror::Error;

pub use self::head::PartHead;
/// Longest head of a part, in bytes.
const MAX_PART_HEAD: usize = 8 * 1024;
/// Most bytes before the first boundary, where nothing is meant to stand.
const MAX_PREAMBLE: usize = 1024;
/// Longest boundary (RFC 2046).
const MAX_BOUNDARY: usize = 70;

/// Why a body is no form.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FormError {
    /// The content type is not `multipart/form-data` with a boundary.
    #[error("the content type is not multipart/form-data with a boundary, which curl -F sends")]
    ContentType,
    /// Before the first boundary or behind one stands what may not stand there.
    #[error("a boundary of the form is malformed")]
    Boundary,
    /// The head of a part is malformed, too long, or names no field.
    #[error("the head of a part of the form is malformed")]
    PartHead,
    /// The body ended before the last boundary.
    #[error("the form ends before its last boundary")]
    Incomplete,
    /// More parts than the caller takes.
    #[error("the form has more than {limit} parts")]
    TooManyParts {
        /// The caller's limit.
        limit: usize,
    },
}

/// What comes next in a form.
#[derive(Debug)]
pub enum FormEvent {
    /// A part begins.
    Part(PartHead),
    /// Some of the part's content, never empty.
    Data(Bytes),
    /// The part has ended.
    PartEnd,
    /// The form has ended. What still follows is to be ignored.
    End,
}

/// Takes a form apart while it comes in.
#[derive(Debug)]
pub struct FormParser {
    /// CR LF, two dashes and the boundary.
    delimiter: memmem::Finder<'static>,
    buffer: BytesMut,
    state: State,
    parts_left: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// Right behind a boundary.
    Delimiter,
    Head,
    Content,
    End,
}

impl FormParser {
    /// For a body of this content type, with at most `limit` parts.
    ///
    /// # Errors
    /// [`FormError::ContentType`]
    pub fn new(content_type: &[u8], limit: usize) -> Result<Self, FormError> {
        let boundary = head::boundary(content_type).ok_or(FormError::ContentType)?;
        let delimiter = [b"\r\n--", &*boundary].concat();
        Ok(Self {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            // The first boundary has no line before it.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble,
            parts_left: limit,
            limit,
        })
    }

    /// Takes the next bytes of the body. Ask for events until there are none
    /// before giving more, or the buffer grows.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event; `None` if it takes more bytes to know.
    ///
    /// # Errors
    /// [`FormError`]; there is nothing to be had from the parser after one.
    pub fn event(&mut self) -> Result<Option<FormEvent>, FormError> {
        loop {
            match self.state {
                State::Preamble => {
                    let Some(at) = self.delimiter.find(&self.buffer) else {
                        let is_long = self.buffer.len() > MAX_PREAMBLE;
                        return if is_long {
                            Err(FormError::Boundary)
                        } else {
                            Ok(None)
                        };
                    };
                    self.behind_delimiter(at);
                }
                State::Delimiter => match self.buffer.get(..2) {
                    None => return Ok(None),
                    Some(b"\r\n") => {
                        // Left in place: it may be the first half of an empty line.
                        self.state = State::Head;
                        self.parts_left = self
                            .parts_left
                            .checked_sub(1)
                            .ok_or(FormError::TooManyParts { limit: self.limit })?;
                    }
                    Some(b"--") => self.state = State::End,
                    Some(_) => return Err(FormError::Boundary),
                },
                State::Head => return self.head(),
                State::Content => return Ok(self.content()),
                State::End => {
                    self.buffer.clear();
                    return Ok(Some(FormEvent::End));
                }
            }
        }
    }

    /// To be called when the body has ended and there are no more events.
    ///
    /// # Errors
    /// [`FormError::Incomplete`]
    pub fn finish(&self) -> Result<(), FormError> {
        if self.state == State::End {
            Ok(())
        } else {
            Err(FormError::Incomplete)
        }
    }

    fn head(&mut self) -> Result<Option<FormEvent>, FormError> {
        let end = memmem::find(&self.buffer, b"\r\n\r\n");
        if end.unwrap_or(self.buffer.len()) > MAX_PART_HEAD {
            return Err(FormError::PartHead);
        }
        let Some(end) = end else { return Ok(None) };
        let lines = self.buffer.split_to(end + 4);
        let lines = lines.get(2..end).unwrap_or_default();
        let part = PartHead::parse(lines).ok_or(FormError::PartHead)?;
        self.state = State::Content;
        Ok(Some(FormEvent::Part(part)))
    }

    fn content(&mut self) -> Option<FormEvent> {
        match self.delimiter.find(&self.buffer) {
            Some(0) => {
                self.behind_delimiter(0);
                Some(FormEvent::PartEnd)
            }
            Some(at) => Some(FormEvent::Data(self.buffer.split_to(at).freeze())),
            None => {
                // The boundary may have come in part.
                let kept = self.delimiter.needle().len() - 1;
                let sure = self.buffer.len().saturating_sub(kept);
                (sure > 0).then(|| FormEvent::Data(self.buffer.split_to(sure).freeze()))
            }
        }
    }

    fn behind_delimiter(&mut self, at: usize) {
        self.buffer.advance(at + self.delimiter.needle().len());
        self.state = State::Delimiter;
    }
}

#[cfg(test)]
mod tests;
