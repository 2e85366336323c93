//! Fields that are for one connection only (RFC 9110 section 7.6.1).

use crate::{Header, HeaderId, HeaderList, grammar};

/// How many options the Connection fields of one message may name.
///
/// Each is compared with each field, so an unbounded number would be work out of
/// proportion to the bytes sent. The parsers refuse heads with more.
pub(crate) const MAX_OPTIONS: usize = 64;

/// Which fields of a message must not be passed on.
///
/// A name that the server knows has its fixed fate: it is for one connection or
/// it is not. What a Connection field lists decides only about the other names.
/// So nobody can have a field removed that the server sets or checks, such as
/// Host, X-Request-Id or Authorization.
#[derive(Debug)]
pub struct HopByHop {
    named: Vec<Box<[u8]>>,
}

impl HopByHop {
    /// Reads the Connection fields.
    #[must_use]
    pub fn of(headers: &HeaderList) -> Self {
        let named = if headers.contains(HeaderId::Connection) {
            options(headers)
                .take(MAX_OPTIONS)
                .filter(|option| HeaderId::of(option) == HeaderId::Other)
                .filter(|option| headers.get_named(option).is_some())
                .map(Box::from)
                .collect()
        } else {
            Vec::new()
        };
        Self { named }
    }

    /// Whether the field ends here.
    #[must_use]
    pub fn drops(&self, header: &Header<'_>) -> bool {
        match header.id {
            HeaderId::Connection
            | HeaderId::Http2Settings
            | HeaderId::KeepAlive
            | HeaderId::ProxyAuthenticate
            | HeaderId::ProxyAuthorization
            | HeaderId::ProxyConnection
            | HeaderId::Te
            | HeaderId::Trailer
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade => true,
            HeaderId::Other => self
                .named
                .iter()
                .any(|name| name.eq_ignore_ascii_case(header.name)),
            _ => false,
        }
    }
}

/// What the Connection fields name.
pub(crate) fn options(headers: &HeaderList) -> impl Iterator<Item = &[u8]> {
    grammar::list(headers.get_all(HeaderId::Connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderList::new();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let hop_by_hop = HopByHop::of(&headers);
        headers
            .iter()
            .filter(|header| !hop_by_hop.drops(header))
            .map(|header| String::from_utf8(header.name.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn drops_the_fixed_set() {
        let fields = [
            ("Connection", "close"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Proxy-Authenticate", "Basic"),
            ("TE", "trailers"),
            ("Trailer", "X-Sum"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Accept", "*/*"),
        ];
        assert_eq!(kept(&fields), ["Accept"]);
    }

    #[test]
    fn drops_what_connection_names() {
        let fields = [
            ("Connection", "close, x-one,,X-TWO ,keep-alive"),
            ("connection", "x-four"),
            ("X-One", "1"),
            ("x-two", "2"),
            ("X-Three", "3"),
            ("X-Four", "4"),
        ];
        assert_eq!(kept(&fields), ["X-Three"]);
    }

    #[test]
    fn connection_cannot_name_what_the_server_knows() {
        let names = [
            "Host",
            "Content-Length",
            "Content-Type",
            "X-Request-Id",
            "X-Base",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Real-Ip",
            "Forwarded",
            "Authorization",
            "Cookie",
            "X-API-Key",
            "Origin",
            "Sec-Fetch-Site",
            "Set-Cookie",
            "Location",
            "Content-Security-Policy",
        ];
        let all = names.join(", ");
        let mut fields = vec![("Connection", all.as_str())];
        fields.extend(names.map(|name| (name, "1")));
        assert_eq!(kept(&fields), names);
    }
}
