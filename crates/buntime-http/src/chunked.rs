//! The chunked transfer coding (RFC 9112 section 7.1), strictly.

use std::io::Write as _;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::message::fields::{FieldFault, parse_field};
use crate::{Header, HeaderId, HeaderList, grammar};

/// Chunk extensions of a whole body, in bytes. Nobody uses them for anything but
/// making a receiver read.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Trailer sections, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;
/// Trailer fields.
const MAX_TRAILER_COUNT: usize = 64;

/// What [`ChunkedDecoder::decode`] found.
#[derive(Debug)]
pub enum Decoded {
    /// Everything whole is decoded; read more into the buffer.
    NeedMore,
    /// Some bytes of the body, never empty.
    Data(Bytes),
    /// The body is over, with its trailer section if one is left of it.
    End(Option<HeaderList>),
}

/// Why a body is not chunked as it must be. Final for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// No hexadecimal size of at most 16 digits where one must stand.
    #[error("a chunk's size is not a hexadecimal number of at most 16 digits")]
    Size,
    /// A chunk extension is malformed.
    #[error("a chunk extension is malformed")]
    Extension,
    /// All chunk extensions together are over 16 KB.
    #[error("the chunk extensions are too long")]
    ExtensionsTooLong,
    /// A line or a chunk does not end in CRLF.
    #[error("a chunk does not end in CRLF")]
    LineEnd,
    /// A trailer field is malformed.
    #[error("a trailer field is malformed")]
    Trailer,
    /// The trailer section is over 16 KB or 64 fields.
    #[error("the trailer section is too long")]
    TrailersTooLong,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Within the size, after so many digits.
    Size {
        value: u64,
        digits: u8,
    },
    /// Within the extensions after a size.
    Extension {
        size: u64,
        at: Extension,
    },
    /// After the CR of a size line.
    SizeLf {
        size: u64,
    },
    /// Within a chunk, so many bytes before its end.
    Data {
        left: u64,
    },
    /// After a chunk's data.
    DataCr,
    /// After the CR that follows a chunk's data.
    DataLf,
    /// Within the trailer section.
    Trailers,
    End,
    Failed(ChunkedError),
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
#[derive(Clone, Copy, Debug)]
enum Extension {
    /// In white space before a `;`.
    BeforeSemicolon,
    /// After `;`, before the name.
    BeforeName,
    Name,
    /// In white space after a name: `=` or another `;` must follow.
    AfterName,
    /// After `=`.
    BeforeValue,
    Token,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    AfterQuoted,
}

/// Takes the chunked coding off a body, incrementally.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extension_bytes: usize,
    trailer_bytes: usize,
    /// How much of an incomplete trailer line was searched for its end.
    searched: usize,
    trailer_count: usize,
    trailers: HeaderList,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

const NEXT_SIZE: State = State::Size {
    value: 0,
    digits: 0,
};

impl ChunkedDecoder {
    /// A decoder at the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: NEXT_SIZE,
            extension_bytes: 0,
            trailer_bytes: 0,
            searched: 0,
            trailer_count: 0,
            trailers: HeaderList::new(),
        }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Decodes on. Takes what it has understood out of `buf`; data is not copied.
    ///
    /// After the end it takes nothing more and answers `End(None)`.
    ///
    /// # Errors
    /// [`ChunkedError`]; every later call gives the same.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        let decoded = self.step(buf);
        if let Err(error) = decoded {
            self.state = State::Failed(error);
        }
        decoded
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::End => return Ok(Decoded::End(None)),
                State::Data { left } => {
                    if buf.is_empty() {
                        return Ok(Decoded::NeedMore);
                    }
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                    let left = left - taken as u64;
                    self.state = if left == 0 {
                        State::DataCr
                    } else {
                        State::Data { left }
                    };
                    return Ok(Decoded::Data(buf.split_to(taken).freeze()));
                }
                State::Trailers => {
                    return if self.trailer_lines(buf)? {
                        self.state = State::End;
                        let trailers = std::mem::take(&mut self.trailers);
                        Ok(Decoded::End((!trailers.is_empty()).then_some(trailers)))
                    } else {
                        Ok(Decoded::NeedMore)
                    };
                }
                _ => {
                    let Some(&byte) = buf.first() else {
                        return Ok(Decoded::NeedMore);
                    };
                    self.state = self.framing_byte(byte)?;
                    buf.advance(1);
                }
            }
        }
    }

    /// The state after one byte of what is between the data.
    fn framing_byte(&mut self, byte: u8) -> Result<State, ChunkedError> {
        match self.state {
            State::Size { value, digits } => size_byte(value, digits, byte),
            State::Extension { size, at } => {
                self.extension_bytes += 1;
                if self.extension_bytes > MAX_EXTENSIONS {
                    return Err(ChunkedError::ExtensionsTooLong);
                }
                extension_byte(size, at, byte)
            }
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(State::Trailers),
                (b'\n', left) => Ok(State::Data { left }),
                _ => Err(ChunkedError::LineEnd),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(NEXT_SIZE),
            _ => Err(ChunkedError::LineEnd),
        }
    }

    /// Takes whole trailer lines; true after the empty one that ends them.
    fn trailer_lines(&mut self, buf: &mut BytesMut) -> Result<bool, ChunkedError> {
        loop {
            let unsearched = buf.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', unsearched) else {
                if self.trailer_bytes + buf.len() > MAX_TRAILERS {
                    return Err(ChunkedError::TrailersTooLong);
                }
                self.searched = buf.len();
                return Ok(false);
            };
            let line = buf.split_to(self.searched + end + 1);
            self.searched = 0;
            self.trailer_bytes += line.len();
            if self.trailer_bytes > MAX_TRAILERS {
                return Err(ChunkedError::TrailersTooLong);
            }
            let Some(line) = line.strip_suffix(b"\r\n") else {
                return Err(ChunkedError::LineEnd);
            };
            if line.is_empty() {
                return Ok(true);
            }
            self.trailer_count += 1;
            if self.trailer_count > MAX_TRAILER_COUNT {
                return Err(ChunkedError::TrailersTooLong);
            }
            let (name, value) = parse_field(line).map_err(|FieldFault| ChunkedError::Trailer)?;
            let id = HeaderId::of(name);
            if may_trail(&Header { id, name, value }) {
                self.trailers.push_checked(id, name, value);
            }
        }
    }
}

fn size_byte(value: u64, digits: u8, byte: u8) -> Result<State, ChunkedError> {
    if let Some(digit) = grammar::hex(byte) {
        if digits == 16 {
            return Err(ChunkedError::Size);
        }
        return Ok(State::Size {
            value: value << 4 | u64::from(digit),
            digits: digits + 1,
        });
    }
    if digits == 0 {
        return Err(ChunkedError::Size);
    }
    let extension = |at| Ok(State::Extension { size: value, at });
    match byte {
        b'\r' => Ok(State::SizeLf { size: value }),
        b';' => extension(Extension::BeforeName),
        b' ' | b'\t' => extension(Extension::BeforeSemicolon),
        b'\n' => Err(ChunkedError::LineEnd),
        _ => Err(ChunkedError::Size),
    }
}

fn extension_byte(size: u64, at: Extension, byte: u8) -> Result<State, ChunkedError> {
    use Extension as At;
    let blank = matches!(byte, b' ' | b'\t');
    let token = grammar::is_token_byte(byte);
    let at = match (at, byte) {
        (At::Name | At::Token | At::AfterQuoted, b'\r') => return Ok(State::SizeLf { size }),
        (At::BeforeSemicolon | At::Name | At::AfterName | At::Token | At::AfterQuoted, b';') => {
            At::BeforeName
        }
        (At::Name | At::AfterName, b'=') => At::BeforeValue,
        (At::BeforeValue, b'"') => At::Quoted,
        (At::Quoted, b'"') => At::AfterQuoted,
        (At::Quoted, b'\\') => At::Escaped,
        (At::Quoted | At::Escaped, b'\t' | b' '..=b'~' | 0x80..) => At::Quoted,
        (At::BeforeName | At::Name, _) if token => At::Name,
        (At::BeforeValue | At::Token, _) if token => At::Token,
        (At::BeforeSemicolon | At::BeforeName | At::AfterName | At::BeforeValue, _) if blank => at,
        (At::Name, _) if blank => At::AfterName,
        (At::Token | At::AfterQuoted, _) if blank => At::BeforeSemicolon,
        _ => return Err(ChunkedError::Extension),
    };
    Ok(State::Extension { size, at })
}

/// Name families that steer a message, so that a late one could change what was
/// already decided on (RFC 9110 section 6.5.1).
const STEERING: [&[u8]; 8] = [
    b"access-control-",
    b"authentication-",
    b"cache-control",
    b"content-",
    b"if-",
    b"proxy-",
    b"sec-",
    b"www-authenticate",
];

/// Whether a field may stand in a trailer section.
///
/// The rule allows: only names to which the server gives no meaning at all
/// ([`HeaderId::Other`]) pass, so that no trailer can stand for Host,
/// Content-Length, a credential or a cookie, also not for one that the server
/// learns to know later. Of the rest the families that steer a message are held
/// back, but for the digests, which trailers are for.
///
/// [`ChunkedDecoder`] asks it itself; HTTP/2 has trailers too and must ask it.
#[must_use]
pub fn may_trail(header: &Header<'_>) -> bool {
    let name = header.name;
    let steers = STEERING.iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    header.id == HeaderId::Other && (name.eq_ignore_ascii_case(b"content-digest") || !steers)
}

/// Appends the line that begins a chunk of `len` bytes, which must not be zero:
/// a chunk of no bytes ends the body.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    // Writing to a vector cannot fail.
    let _ = write!(out, "{len:x}\r\n");
}

#[cfg(test)]
mod tests;
