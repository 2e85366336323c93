//! Request methods.

use std::fmt;

/// The methods that the server knows (RFC 9110 section 9, RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the method it is named after")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Connect,
}

impl Method {
    /// The method with exactly this name; names are case-sensitive.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => return None,
        })
    }

    /// The name as it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
        }
    }

    /// Whether it asks for no change (RFC 9110 section 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it twice does what sending it once does (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_their_method_and_nothing_else_does() {
        use Method::*;
        for method in [Get, Head, Post, Put, Patch, Delete, Options, Trace, Connect] {
            assert_eq!(Method::parse(method.as_str().as_bytes()), Some(method));
        }
        for name in ["", "get", "Get", "GETS", "FOO", "PRI", " GET"] {
            assert_eq!(Method::parse(name.as_bytes()), None, "{name:?}");
        }
    }

    #[test]
    fn safety_and_idempotence_are_the_rfcs() {
        use Method::*;
        for (method, safe, idempotent) in [
            (Get, true, true),
            (Head, true, true),
            (Options, true, true),
            (Trace, true, true),
            (Put, false, true),
            (Delete, false, true),
            (Post, false, false),
            (Patch, false, false),
            (Connect, false, false),
        ] {
            assert_eq!(method.is_safe(), safe, "{method}");
            assert_eq!(method.is_idempotent(), idempotent, "{method}");
        }
    }
}
