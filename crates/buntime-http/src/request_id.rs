//! The id that a request carries through logs, workers and responses.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::{HeaderId, HeaderList};

const MAX_LEN: usize = 128;
const UUID_LEN: usize = 36;

/// A request id: `[A-Za-z0-9._:-]{1,128}`, so it can stand in a header, a log
/// line and a page as it is. Cheap to clone.
#[derive(Clone)]
pub struct RequestId(Text);

#[derive(Clone)]
enum Text {
    /// A fresh UUID, without an allocation. ASCII.
    Uuid([u8; UUID_LEN]),
    /// What the client sent.
    Sent(Arc<str>),
}

impl RequestId {
    /// A new random UUID (version 4).
    #[must_use]
    pub fn fresh() -> Self {
        let mut text = [0; UUID_LEN];
        Uuid::new_v4().hyphenated().encode_lower(&mut text);
        Self(Text::Uuid(text))
    }

    /// The id with this text, if it is one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let valid = (1..=MAX_LEN).contains(&text.len())
            && text.iter().all(|&byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
            });
        if !valid {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        Some(Self(Text::Sent(Arc::from(text))))
    }

    /// The client's id where it sent exactly one that is acceptable, else a fresh one.
    #[must_use]
    pub fn of(headers: &HeaderList) -> Self {
        Self::of_values(headers.get_all(HeaderId::XRequestId))
    }

    /// The same, of all values of the client's `X-Request-Id`.
    #[must_use]
    pub fn of_values<'a>(sent: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut sent = sent.into_iter();
        match (sent.next(), sent.next()) {
            (Some(text), None) => Self::parse(text).unwrap_or_else(Self::fresh),
            _ => Self::fresh(),
        }
    }

    /// The id of a request whose head was refused: as [`RequestId::of`], if the head
    /// is there to its end. `bytes` are those of the connection, from the head on.
    #[must_use]
    pub fn of_refused(bytes: &[u8]) -> Self {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return Self::fresh();
        };
        let head = bytes.get(..end).unwrap_or_default();
        // Each line feed ends a line, so that none can hide in another's value.
        let sent = head.split(|&byte| byte == b'\n').filter_map(|line| {
            let (name, value) = line.split_at(memchr::memchr(b':', line)?);
            name.eq_ignore_ascii_case(b"x-request-id")
                .then(|| value.get(1..).unwrap_or_default().trim_ascii())
        });
        Self::of_values(sent)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Uuid(text) => std::str::from_utf8(text).unwrap_or_default(),
            Text::Sent(text) => text,
        }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&[u8]]) -> RequestId {
        let mut headers = HeaderList::new();
        for value in values {
            headers.push(b"x-request-id", value).unwrap();
        }
        RequestId::of(&headers)
    }

    fn is_uuid_v4(id: &RequestId) -> bool {
        Uuid::parse_str(id.as_str()).is_ok_and(|uuid| uuid.get_version_num() == 4)
            && id.as_str().len() == UUID_LEN
    }

    #[test]
    fn keeps_acceptable_ids() {
        for id in ["abc-123", "a", "A.b_c:d-9", &"x".repeat(128)] {
            assert_eq!(of(&[id.as_bytes()]).as_str(), id);
        }
    }

    #[test]
    fn replaces_every_other() {
        for id in [
            &b""[..],
            &[b'x'; 129],
            b"<script>alert(1)</script>",
            b"a b",
            b"a\"b",
            b"a\\nb",
            b"${jndi:x}",
            b"a\tb",
            b"a,b",
            b"\x80",
            b"\xff\xfe",
            "\u{e9}".as_bytes(),
        ] {
            assert!(is_uuid_v4(&of(&[id])), "{id:?}");
        }
        assert_eq!(RequestId::parse(b"\x1b[31m"), None);
    }

    #[test]
    fn replaces_none_and_two() {
        assert!(is_uuid_v4(&of(&[])));
        assert!(is_uuid_v4(&of(&[b"a", b"a"])));
    }

    #[test]
    fn a_refused_head_keeps_its_id() {
        let of = |head: &[u8]| RequestId::of_refused(head);
        let kept =
            of(b"GET /% HTTP/1.1\r\nHost: a\r\nX-Request-Id:  abc-1 \r\n\r\nX-Request-Id: b");
        assert_eq!(kept.as_str(), "abc-1");
        for head in [
            &b""[..],
            b"GET / HTTP/1.1\r\nX-Request-Id: abc-1\r\n",
            b"GET / HTTP/1.1\r\n\r\nX-Request-Id: abc-1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Id: a\r\nX-Request-Id: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Id: a\nX-Request-Id: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Id : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Id: <script>\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Request-Id:\r\n\r\n",
        ] {
            assert!(is_uuid_v4(&of(head)), "{head:?}");
        }
    }

    #[test]
    fn fresh_ids_differ() {
        assert_ne!(RequestId::fresh(), RequestId::fresh());
        let id = RequestId::fresh();
        assert_eq!(id.clone(), id);
    }
}
