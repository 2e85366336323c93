//! Answers.

use std::borrow::Cow;
use std::sync::Arc;

use super::body::{FileBody, StaticBody};
use super::conditional::{self, Validators, Verdict};
use super::encoding;
use super::find::{Content, Representation, Resource};
use super::range::{ByteRange, byte_range};
use super::{StaticMethod, StaticRequest};

/// A header value: visible ASCII and spaces only.
pub type HeaderText = Cow<'static, str>;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole file (200).
    Full,
    /// A range of it (206).
    Partial,
    /// The client has it (304).
    NotModified,
    /// A folder without its slash; `location` says where (308).
    Redirect,
    /// Nothing to serve (404).
    NotFound,
    /// Neither GET nor HEAD; `allow` says so (405).
    MethodNotAllowed,
    /// `If-Match` or `If-Unmodified-Since` does not hold (412).
    PreconditionFailed,
    /// The range lies outside; `content-range` has the size (416).
    RangeNotSatisfiable,
    /// The disk or the system failed, or took too long (503).
    Unreadable,
}

/// Answer to a [`StaticRequest`].
#[derive(Debug)]
pub struct StaticResponse {
    /// What became of it.
    pub outcome: Outcome,
    /// Lower-case names. Without `content-length`, `date` and whatever belongs
    /// to the connection.
    pub headers: StaticHeaders,
    /// `content-length` to send, for HEAD too. `None`: an outcome without a
    /// body of its own, which the server may fill.
    pub length: Option<u64>,
    /// Whether this is a whole page that the server is to change, as
    /// [`StaticRequest::page_variant`] says.
    pub is_variant: bool,
    /// What to send; empty for HEAD.
    pub body: StaticBody,
}

/// Headers of an answer, mostly shared with the cache.
#[derive(Clone, Debug)]
pub struct StaticHeaders {
    shared: Arc<[(&'static str, HeaderText)]>,
    extra: Option<(&'static str, HeaderText)>,
}

impl StaticHeaders {
    /// All headers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.shared
            .iter()
            .chain(&self.extra)
            .map(|(name, value)| (*name, &**value))
    }

    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    fn of(headers: impl Into<Arc<[(&'static str, HeaderText)]>>) -> Self {
        Self {
            shared: headers.into(),
            extra: None,
        }
    }
}

impl StaticResponse {
    fn bare(outcome: Outcome, headers: StaticHeaders) -> Self {
        Self {
            outcome,
            headers,
            length: None,
            is_variant: false,
            body: StaticBody::Empty,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::bare(Outcome::NotFound, StaticHeaders::of([]))
    }

    pub(super) fn unreadable() -> Self {
        Self::bare(Outcome::Unreadable, StaticHeaders::of([]))
    }

    pub(super) fn method_not_allowed() -> Self {
        let allow = ("allow", Cow::from("GET, HEAD"));
        Self::bare(Outcome::MethodNotAllowed, StaticHeaders::of([allow]))
    }
}

/// Sends a file, or says why not.
pub(super) fn file(request: &StaticRequest<'_>, resource: &Resource) -> StaticResponse {
    if let Some(variant) = request.page_variant.filter(|_| resource.is_page) {
        return page(request, &resource.plain, variant);
    }
    let chosen = choose(request, resource);
    let brief = || StaticHeaders::of(Arc::clone(&chosen.brief_headers));
    match conditional::judge(request, &chosen.validators) {
        Verdict::NotModified => return StaticResponse::bare(Outcome::NotModified, brief()),
        Verdict::PreconditionFailed => {
            return StaticResponse::bare(Outcome::PreconditionFailed, brief());
        }
        Verdict::Proceed => {}
    }
    let wanted = match request.range {
        // A range means something for GET only.
        Some(range)
            if request.method == StaticMethod::Get
                && conditional::range_applies(request, &chosen.validators) =>
        {
            byte_range(range, chosen.size)
        }
        _ => ByteRange::Whole,
    };
    let mut headers = StaticHeaders::of(Arc::clone(&chosen.full_headers));
    let (outcome, start, length) = match wanted {
        ByteRange::Whole => (Outcome::Full, 0, chosen.size),
        ByteRange::Part { start, length } => {
            let range = format!("bytes {start}-{}/{}", start + length - 1, chosen.size);
            headers.extra = Some(("content-range", range.into()));
            (Outcome::Partial, start, length)
        }
        ByteRange::Unsatisfiable => {
            let mut headers = brief();
            headers.extra = Some(("content-range", format!("bytes */{}", chosen.size).into()));
            return StaticResponse::bare(Outcome::RangeNotSatisfiable, headers);
        }
    };
    let body = Part { start, length }.of(&chosen.content, request.method);
    StaticResponse {
        outcome,
        headers,
        length: Some(length),
        is_variant: false,
        body,
    }
}

/// Headers that are not true of a page that was changed.
const OF_THE_FILE: [&str; 5] = [
    "accept-ranges",
    "cache-control",
    "etag",
    "last-modified",
    "vary",
];

/// A page that the server will change. What the file's headers say of its bytes is
/// left out, and its tag says which change.
fn page(request: &StaticRequest<'_>, plain: &Representation, variant: &str) -> StaticResponse {
    let etag = plain.validators.etag.trim_end_matches('"');
    let validators = Validators {
        etag: format!("{etag}-{variant}\"").into(),
        modified: plain.validators.modified,
    };
    let headers = |of_file: &[(&'static str, HeaderText)]| {
        let kept = of_file
            .iter()
            .filter(|(name, _)| !OF_THE_FILE.contains(name));
        let mut headers: Vec<_> = kept.cloned().collect();
        headers.push(("etag", validators.etag.to_string().into()));
        // A hash in the name is of the file, not of what the server adds.
        headers.push(("cache-control", Cow::from("no-cache")));
        StaticHeaders::of(headers)
    };
    let undated = StaticRequest {
        if_modified_since: None,
        if_unmodified_since: None,
        ..*request
    };
    let outcome = match conditional::judge(&undated, &validators) {
        Verdict::Proceed => Outcome::Full,
        Verdict::NotModified => Outcome::NotModified,
        Verdict::PreconditionFailed => Outcome::PreconditionFailed,
    };
    if outcome != Outcome::Full {
        return StaticResponse::bare(outcome, headers(&plain.brief_headers));
    }
    let whole = Part {
        start: 0,
        length: plain.size,
    };
    StaticResponse {
        outcome,
        headers: headers(&plain.full_headers),
        length: Some(plain.size),
        is_variant: true,
        body: whole.of(&plain.content, request.method),
    }
}

/// So many bytes of a file.
struct Part {
    start: u64,
    length: u64,
}

impl Part {
    fn of(&self, content: &Content, method: StaticMethod) -> StaticBody {
        let &Self { start, length } = self;
        match (method, content) {
            (StaticMethod::Get, _) if length == 0 => StaticBody::Empty,
            (StaticMethod::Get, Content::Memory(bytes)) => {
                StaticBody::Bytes(bytes.slice(to_index(start)..to_index(start + length)))
            }
            (StaticMethod::Get, Content::Open(file)) => {
                StaticBody::File(FileBody::new(Arc::clone(file), start, length))
            }
            (StaticMethod::Head | StaticMethod::Other, _) => StaticBody::Empty,
        }
    }
}

/// Positions in memory fit: what is in memory is small.
fn to_index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The representation that the client prefers; among equals the smallest. The
/// plain file is always acceptable: better uncompressed than nothing.
fn choose<'a>(request: &StaticRequest<'_>, resource: &'a Resource) -> &'a Representation {
    let Some(accepted) = request.accept_encoding else {
        return &resource.plain;
    };
    resource
        .coded
        .iter()
        .map(|(coding, coded)| (encoding::weight(accepted, *coding), coded))
        .filter(|(weight, _)| *weight > 0)
        .max_by_key(|(weight, coded)| (*weight, std::cmp::Reverse(coded.size)))
        .map_or(&resource.plain, |(_, coded)| coded)
}

/// Redirects `…/folder` to `…/folder/`, relative to the address asked for, so
/// that neither the base nor the host matters.
pub(super) fn redirect_to_folder(path: &[u8], query: Option<&[u8]>) -> StaticResponse {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    // `./` keeps a name with a colon from being read as a scheme.
    let mut location = String::with_capacity(last.len() + 3);
    location.push_str("./");
    push_visible(&mut location, last);
    location.push('/');
    if let Some(query) = query {
        location.push('?');
        push_visible(&mut location, query);
    }
    StaticResponse::bare(
        Outcome::Redirect,
        StaticHeaders::of([
            ("location", Cow::from(location)),
            ("cache-control", Cow::from("no-cache")),
            ("x-content-type-options", Cow::from("nosniff")),
        ]),
    )
}

/// Keeps escapes as they were sent and escapes what no header should hold.
fn push_visible(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'#' => push_escape(text, byte),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => push_escape(text, byte),
        }
    }
}

fn push_escape(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}
