//! Request targets: one spelling decides gate, route and what the worker sees.

use std::borrow::Cow;
use std::fmt;

use crate::grammar;

/// The path or the query is ambiguous or malformed.
///
/// Contract section 4: NUL, `%00`, a bad percent escape, a raw backslash, an
/// encoded CR or LF; and whatever else two readers could take differently: dot
/// segments in any spelling, a fragment, a space, control and non-ASCII bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is malformed or ambiguous")]
pub struct BadPath;

/// A path as it was sent, with percent-encoding, and proved unambiguous.
///
/// Invariants: begins with `/`; printable ASCII without space, `#`, `?` and `\`;
/// every percent escape is whole and none encodes NUL, CR or LF; no segment is
/// `.` or `..`, percent-encoded or not. Empty segments are possible: see
/// [`Target::has_empty_segments`].
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalPath(Box<str>);

/// A path segment, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The decoded bytes, in any encoding. May hold `/` if [`Self::encoded_slash`].
    pub decoded: Cow<'a, [u8]>,
    /// Whether the segment holds `%2f`: that is data and no separator, so such a
    /// segment names no app and no route of the server.
    pub encoded_slash: bool,
    /// Where the rest of the path begins: the offset of the `/` that follows the
    /// segment, or the path's length.
    pub end: usize,
}

impl Segment<'_> {
    /// The decoded text, if the segment can name something: valid UTF-8 without a slash.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if self.encoded_slash {
            return None;
        }
        std::str::from_utf8(&self.decoded).ok()
    }
}

impl CanonicalPath {
    fn parse(path: &[u8]) -> Result<Self, BadPath> {
        if path.first() != Some(&b'/') || !path.iter().copied().all(is_path_byte) {
            return Err(BadPath);
        }
        if memchr::memchr(b'%', path).is_some() {
            check_escapes(path)?;
        }
        if path.split(|&byte| byte == b'/').any(is_dot_segment) {
            return Err(BadPath);
        }
        boxed(path).map(Self)
    }

    /// The path as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as it was sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The path from a [`Segment::end`] on, as it was sent: empty or beginning with `/`.
    #[must_use]
    pub fn rest(&self, from: usize) -> &str {
        self.0.get(from..).unwrap_or_default()
    }

    /// The first segment and, if there is one, the second, decoded for routing.
    ///
    /// The first one of `/` is empty; `/a` has no second one, that of `/a/` is empty.
    #[must_use]
    pub fn first_segments(&self) -> (Segment<'_>, Option<Segment<'_>>) {
        let first = self.segment(1);
        let second = (first.end < self.0.len()).then(|| self.segment(first.end + 1));
        (first, second)
    }

    /// All segments, decoded for routing; the one of `/` is empty, and so is the last
    /// one of a path that ends with a slash.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut start = Some(1);
        std::iter::from_fn(move || {
            let segment = self.segment(start?);
            start = (segment.end < self.0.len()).then_some(segment.end + 1);
            Some(segment)
        })
    }

    fn segment(&self, start: usize) -> Segment<'_> {
        let raw = self.as_bytes().get(start..).unwrap_or_default();
        let raw = raw.split(|&byte| byte == b'/').next().unwrap_or_default();
        let decoded = decode(raw);
        Segment {
            encoded_slash: decoded.contains(&b'/'),
            decoded,
            end: start + raw.len(),
        }
    }

    /// The path from a [`Segment::end`] on, percent-decoded, as a name of files.
    ///
    /// # Errors
    /// [`BadPath`] if a decoded byte is a slash or a backslash: no file is meant
    /// by a name that holds a separator.
    pub fn decoded_rest(&self, from: usize) -> Result<Cow<'_, [u8]>, BadPath> {
        let raw = self.rest(from).as_bytes();
        let decoded = decode(raw);
        let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
        if decoded.contains(&b'\\') || slashes(&decoded) != slashes(raw) {
            return Err(BadPath);
        }
        Ok(decoded)
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a request asks for: a path and a query, or the server as a whole (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: CanonicalPath,
    query: Option<Box<str>>,
    asterisk: bool,
}

impl Target {
    /// Parses the origin form: a path and an optional query (RFC 9112 section 3.2.1).
    ///
    /// # Errors
    /// [`BadPath`] as described there.
    pub fn parse(text: &[u8]) -> Result<Self, BadPath> {
        let (path, query) = match memchr::memchr(b'?', text) {
            Some(mark) => (
                text.get(..mark).unwrap_or_default(),
                Some(text.get(mark + 1..).unwrap_or_default()),
            ),
            None => (text, None),
        };
        let query = match query {
            Some(query) if !query.iter().copied().all(is_query_byte) => return Err(BadPath),
            Some(query) => Some(boxed(query)?),
            None => None,
        };
        Ok(Self {
            path: CanonicalPath::parse(path)?,
            query,
            asterisk: false,
        })
    }

    /// The target `*` of an OPTIONS request (RFC 9112 section 3.2.4). Its path is `/`.
    #[must_use]
    pub fn asterisk() -> Self {
        Self {
            path: CanonicalPath(Box::from("/")),
            query: None,
            asterisk: true,
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// The query as it was sent, without the `?`; printable ASCII.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.query.as_deref().map(str::as_bytes)
    }

    /// Whether this is `*`: the server itself and no resource is meant.
    #[must_use]
    pub fn is_asterisk(&self) -> bool {
        self.asterisk
    }

    /// Whether the path holds `//`: two readers may take it for different paths.
    #[must_use]
    pub fn has_empty_segments(&self) -> bool {
        self.path.0.contains("//")
    }

    /// Where a path with empty segments should have pointed: each run of slashes
    /// as one, the query untouched. Begins with exactly one `/`, so it never names
    /// another host.
    #[must_use]
    pub fn canonical_redirect(&self) -> Option<String> {
        if !self.has_empty_segments() {
            return None;
        }
        let mut location = String::with_capacity(self.path.0.len());
        for character in self.path.0.chars() {
            if character != '/' || !location.ends_with('/') {
                location.push(character);
            }
        }
        if let Some(query) = &self.query {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.query {
            _ if self.asterisk => f.write_str("*"),
            Some(query) => write!(f, "{}?{query}", self.path),
            None => write!(f, "{}", self.path),
        }
    }
}

/// Printable ASCII but for what ends a path or reads as another character in a
/// browser's or a worker's URL parser. RFC 3986 also forbids raw `"<>^{|}` and the
/// backtick; clients send them and they mean only themselves.
fn is_path_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'#' | b'\\' | b'?')
}

fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && byte != b'#'
}

fn boxed(ascii: &[u8]) -> Result<Box<str>, BadPath> {
    std::str::from_utf8(ascii)
        .map(Box::from)
        .map_err(|_| BadPath)
}

/// Every `%` begins a whole escape, and none is NUL, CR or LF.
fn check_escapes(path: &[u8]) -> Result<(), BadPath> {
    for at in memchr::memchr_iter(b'%', path) {
        match escape(path.get(at..).unwrap_or_default()) {
            None | Some(0 | b'\r' | b'\n') => return Err(BadPath),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The byte that an escape at the beginning of `text` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    match *text {
        [b'%', high, low, ..] => Some(grammar::hex(high)? << 4 | grammar::hex(low)?),
        _ => None,
    }
}

fn is_dot_segment(raw: &[u8]) -> bool {
    // The longest spelling is "%2e%2e".
    raw.len() <= 6
        && matches!(raw.first(), Some(b'.' | b'%'))
        && matches!(&*decode(raw), b"." | b"..")
}

fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        if let Some(byte) = escape(rest) {
            decoded.push(byte);
            rest = rest.get(3..).unwrap_or_default();
        } else {
            decoded.push(*byte);
            rest = tail;
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests;
