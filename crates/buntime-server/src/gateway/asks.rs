//! What a connection is for, by its first bytes.

/// Longer than any method that is served.
const LONGEST_METHOD: usize = 32;

/// Whom a connection asks: there is one request on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// The server itself.
    Server,
    /// The proxy: for a tunnel, or by the absolute form of the target (RFC 9112
    /// sections 3.2.2 and 3.2.3).
    Proxy,
}

impl Asks {
    /// `None` if more must be read. What is no request at all is for the server, which
    /// says so.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        let end = first.iter().position(|&byte| byte == b' ');
        let (method, target) = first.split_at_checked(end.unwrap_or(first.len()))?;
        let is_method = method.iter().all(u8::is_ascii_uppercase) && method.len() <= LONGEST_METHOD;
        match (is_method, method, target) {
            (false, ..) | (_, b"", [b' ', ..]) => Some(Self::Server),
            (true, b"CONNECT", [b' ', ..]) => Some(Self::Proxy),
            (true, _, [b' ', letter, ..]) if letter.is_ascii_alphabetic() => Some(Self::Proxy),
            (true, _, [b' ', _, ..]) => Some(Self::Server),
            (true, ..) => None,
        }
    }
}
