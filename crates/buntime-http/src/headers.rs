//! Header fields in the order they were received.

use std::fmt;
use std::ops::Range;

use crate::grammar;

/// The names the server itself looks at. Everything else is [`HeaderId::Other`].
///
/// A name is classified once, when it is parsed, so that filters on the hot
/// path compare an integer instead of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the header it is named after")]
pub enum HeaderId {
    Other,
    AcceptEncoding,
    Accept,
    AltSvc,
    Authorization,
    ClearSiteData,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentRange,
    ContentSecurityPolicy,
    ContentType,
    Cookie,
    Date,
    ETag,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    Origin,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Range,
    RetryAfter,
    SecFetchDest,
    SecFetchMode,
    SecFetchSite,
    SecWebSocketKey,
    SecWebSocketVersion,
    Server,
    ServiceWorkerAllowed,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    XApiKey,
    XBase,
    /// Any name that begins with `x-buntime-`.
    XBuntime,
    /// Any name that begins with `x-forwarded-`.
    XForwarded,
    XNotFound,
    XRealIp,
    XRequestId,
}

impl HeaderId {
    /// Classifies a name in any letter case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        grammar::classify(name)
    }
}

impl HeaderId {
    /// This id's place in a set of ids.
    fn bit(self) -> u64 {
        const { assert!((Self::XRequestId as u8) < 64) };
        1 << self as u8
    }
}

/// Where a field lies in the text of its list.
#[derive(Clone, Copy, Debug)]
struct Field {
    name_start: u32,
    value_start: u32,
    value_len: u32,
    name_len: u16,
    id: HeaderId,
}

/// One field of a [`HeaderList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What the name means to the server.
    pub id: HeaderId,
    /// The name as it was sent.
    pub name: &'a [u8],
    /// The value without surrounding white space.
    pub value: &'a [u8],
}

/// Why a field was not taken into a [`HeaderList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The name is empty, over 65,535 bytes or no token (RFC 9110 section 5.1).
    #[error("a header name is empty or holds a character that no token may hold")]
    Name,
    /// The value holds CR, LF, NUL or another control character than TAB (RFC 9110 section 5.5).
    #[error("a header value holds a control character")]
    Value,
    /// The list would hold more than 1 GiB.
    #[error("the headers are too long")]
    TooLong,
}

/// The most text of a list, in bytes, so that offsets fit 32 bits with room to spare.
const MAX_TEXT: usize = 1 << 30;

/// Room in a list that was received for what is mostly added to it, in bytes.
const ROOM: usize = 160;

/// Header fields in the order they were received, names and values in one buffer.
///
/// Invariant: every name is a token, and no value holds a control character
/// other than TAB; so no list can be written that splits a message.
#[derive(Clone, Default)]
pub struct HeaderList {
    text: Vec<u8>,
    fields: Vec<Field>,
    /// The set of ids that were ever pushed: an id outside it has no field.
    pushed: u64,
}

impl HeaderList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list with room for `bytes` of names and values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// A list over a header section as it was received, without fields so far.
    pub(crate) fn over(section: &[u8]) -> Self {
        let mut text = Vec::with_capacity(section.len() + ROOM);
        text.extend_from_slice(section);
        Self {
            text,
            // What browsers send fits.
            fields: Vec::with_capacity(16),
            pushed: 0,
        }
    }

    /// Appends a field that lies in the text of [`Self::over`] and was checked there.
    pub(crate) fn push_within(&mut self, name: Range<usize>, value: Range<usize>) {
        let id = self
            .text
            .get(name.clone())
            .map_or(HeaderId::Other, HeaderId::of);
        self.pushed |= id.bit();
        self.fields.push(Field {
            name_start: name.start as u32,
            value_start: value.start as u32,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            id,
        });
    }

    /// Appends a field; an existing one of the same name stays.
    ///
    /// # Errors
    /// [`InvalidHeader`] if the name or the value could not be sent as it is.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidHeader> {
        if !grammar::is_token(name) || name.len() > usize::from(u16::MAX) {
            return Err(InvalidHeader::Name);
        }
        if !grammar::is_field_value(value) {
            return Err(InvalidHeader::Value);
        }
        if self.text.len() + name.len() + value.len() > MAX_TEXT {
            return Err(InvalidHeader::TooLong);
        }
        self.push_checked(HeaderId::of(name), name, value);
        Ok(())
    }

    /// Appends a field whose name and value the caller has already checked.
    pub(crate) fn push_checked(&mut self, id: HeaderId, name: &[u8], value: &[u8]) {
        debug_assert!(grammar::is_token(name) && grammar::is_field_value(value));
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.pushed |= id.bit();
        self.fields.push(Field {
            name_start: start as u32,
            value_start: (start + name.len()) as u32,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            id,
        });
    }

    /// Appends a field under another name with the first value of `id`, which is not
    /// copied; whether there is one. For an `id` that stands for one name.
    ///
    /// # Errors
    /// [`InvalidHeader`] if the name could not be sent as it is.
    pub fn push_value_of(&mut self, id: HeaderId, name: &[u8]) -> Result<bool, InvalidHeader> {
        let Some(&field) = self.fields.iter().find(|field| field.id == id) else {
            return Ok(false);
        };
        self.push(name, b"")?;
        if let Some(pushed) = self.fields.last_mut() {
            pushed.value_start = field.value_start;
            pushed.value_len = field.value_len;
        }
        Ok(true)
    }

    /// Removes every field with this id.
    pub fn remove(&mut self, id: HeaderId) {
        if self.pushed & id.bit() != 0 {
            self.fields.retain(|field| field.id != id);
            self.pushed &= !id.bit();
        }
    }

    /// Whether there is a field with this id.
    #[must_use]
    pub fn contains(&self, id: HeaderId) -> bool {
        self.get(id).is_some()
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Header<'_>) -> bool) {
        let text = &self.text;
        self.fields.retain(|field| keep(view(text, field)));
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        self.fields.iter().map(|field| view(&self.text, field))
    }

    /// The first value with this id.
    #[must_use]
    pub fn get(&self, id: HeaderId) -> Option<&[u8]> {
        self.get_all(id).next()
    }

    /// Every value with this id, in order.
    pub fn get_all(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        let fields = if self.pushed & id.bit() == 0 {
            &[]
        } else {
            self.fields.as_slice()
        };
        fields
            .iter()
            .filter(move |field| field.id == id)
            .map(|field| view(&self.text, field).value)
    }

    /// The first value under this name, in any letter case.
    #[must_use]
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// Appends `name: value CRLF` for each field that `keep` accepts.
    pub fn write_to(&self, out: &mut Vec<u8>, mut keep: impl FnMut(Header<'_>) -> bool) {
        for header in self.iter() {
            if keep(header) {
                out.extend_from_slice(header.name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(header.value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The length of all names and values together, in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.fields
            .iter()
            .map(|field| usize::from(field.name_len) + field.value_len as usize)
            .sum()
    }
}

/// Names only: values hold credentials, and this reaches logs and panics.
impl fmt::Debug for HeaderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(
                self.iter()
                    .map(|header| String::from_utf8_lossy(header.name).into_owned()),
            )
            .finish()
    }
}

fn view<'a>(text: &'a [u8], field: &Field) -> Header<'a> {
    let name_start = field.name_start as usize;
    let name_end = name_start + usize::from(field.name_len);
    let value_start = field.value_start as usize;
    let value_end = value_start + field.value_len as usize;
    Header {
        id: field.id,
        name: text.get(name_start..name_end).unwrap_or_default(),
        value: text.get(value_start..value_end).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> HeaderList {
        let mut headers = HeaderList::new();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        headers
    }

    fn written(headers: &HeaderList) -> String {
        let mut out = Vec::new();
        headers.write_to(&mut out, |_| true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keeps_order_letter_case_and_repeats() {
        let headers = list(&[("Set-Cookie", "a=1"), ("X-One", ""), ("set-cookie", "b=2")]);
        assert_eq!(
            written(&headers),
            "Set-Cookie: a=1\r\nX-One: \r\nset-cookie: b=2\r\n"
        );
        assert_eq!(headers.get(HeaderId::SetCookie), Some(&b"a=1"[..]));
        assert_eq!(headers.get_all(HeaderId::SetCookie).count(), 2);
        assert_eq!(headers.get_named(b"x-ONE"), Some(&b""[..]));
        assert_eq!(headers.text_len(), 31);
    }

    #[test]
    fn removed_ids_are_gone_until_pushed_again() {
        let mut headers = list(&[("Host", "a"), ("Accept", "*/*"), ("host", "b")]);
        headers.remove(HeaderId::Host);
        headers.remove(HeaderId::Cookie);
        assert!(!headers.contains(HeaderId::Host));
        assert_eq!(headers.len(), 1);
        headers.push(b"Host", b"c").unwrap();
        assert_eq!(headers.get(HeaderId::Host), Some(&b"c"[..]));
        headers.retain(|header| header.id != HeaderId::Host);
        assert_eq!(headers.get(HeaderId::Host), None);
        assert_eq!(written(&headers), "Accept: */*\r\n");
    }

    #[test]
    fn a_value_can_have_two_names() {
        let mut headers = list(&[("Accept", "*/*"), ("Host", "a"), ("host", "b")]);
        assert_eq!(headers.push_value_of(HeaderId::Host, b"X-Host"), Ok(true));
        assert_eq!(headers.push_value_of(HeaderId::Cookie, b"X-No"), Ok(false));
        let refused = headers.push_value_of(HeaderId::Host, b"x:\r\n");
        assert_eq!(refused, Err(InvalidHeader::Name));
        headers.remove(HeaderId::Host);
        assert_eq!(written(&headers), "Accept: */*\r\nX-Host: a\r\n");
        assert_eq!(headers.text_len(), 16);
    }

    #[test]
    fn refuses_what_would_split_a_message() {
        let mut headers = HeaderList::new();
        for name in ["", "a b", "a:", "a\r", "a\n", "\u{85}", "a\0", "(x)"] {
            let pushed = headers.push(name.as_bytes(), b"");
            assert_eq!(pushed, Err(InvalidHeader::Name), "{name:?}");
        }
        for value in ["\r", "a\nb", "\0", "\x1b[31m", "\x7f"] {
            let pushed = headers.push(b"a", value.as_bytes());
            assert_eq!(pushed, Err(InvalidHeader::Value), "{value:?}");
        }
        assert_eq!(headers.push(&[b'a'; 65_536], b""), Err(InvalidHeader::Name));
        assert!(headers.is_empty());
        headers.push(b"a", b"tab\tand \xff").unwrap();
    }

    #[test]
    fn debug_shows_no_value() {
        let headers = list(&[("Authorization", "Bearer canary")]);
        assert_eq!(format!("{headers:?}"), r#"{"Authorization"}"#);
    }
}
