//! The small grammars that heads, chunks and paths share (RFC 9110 section 5).

use std::net::Ipv6Addr;

use crate::HeaderId;

/// Bytes that a token may hold (RFC 9110 section 5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a value can stand in a message: no control character but TAB.
///
/// Bytes above 0x7F pass as they are (obs-text); nothing here gives them a meaning.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // Without a branch a byte, so that the compiler checks many at a time.
    let bad = value.iter().fold(false, |bad, &byte| {
        bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7F)
    });
    !bad
}

/// The value without the optional white space around it.
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The elements of a comma-separated list that are not empty (RFC 9110 section 5.6.1).
pub(crate) fn list<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(trim_ows)
        .filter(|element| !element.is_empty())
}

/// Digits and nothing else, up to 2^64 - 1. Leading zeros are in the grammar.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    // 2^64 - 1 has 20 digits; a longer row of zeros is nobody's length.
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    })
}

/// The value of one hexadecimal digit.
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// An authority split into host and port; `None` if it is none.
///
/// Stricter than RFC 3986 section 3.2: no user information, no percent-encoding
/// and no sub-delimiters, because no DNS name and no address holds them and the
/// value goes on to workers and logs.
pub(crate) fn authority(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_len = if text.first() == Some(&b'[') {
        memchr::memchr(b']', text)? + 1
    } else {
        memchr::memchr(b':', text).unwrap_or(text.len())
    };
    let (host, rest) = text.split_at_checked(host_len)?;
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(digits),
        _ => return None,
    };
    let port_is_valid = port.is_none_or(|digits| {
        digits.is_empty()
            || (digits.len() <= 5
                && decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)))
    });
    (is_host(host) && port_is_valid).then_some((host, port))
}

/// A DNS name (255 bytes at most) or an address.
fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host.len() <= 255
        && host
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// What a name means to the server, in any letter case.
pub(crate) fn classify(name: &[u8]) -> HeaderId {
    known(name)
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map_or_else(|| family(name), |&(_, id)| id)
}

fn family(name: &[u8]) -> HeaderId {
    let starts = |prefix: &[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts(b"x-forwarded-") {
        HeaderId::XForwarded
    } else if starts(b"x-buntime-") {
        HeaderId::XBuntime
    } else {
        HeaderId::Other
    }
}

type Known = (&'static [u8], HeaderId);

/// The known names of this length: few enough to compare one by one.
fn known(name: &[u8]) -> &'static [Known] {
    use HeaderId as Id;
    match name.len() {
        2 => &[(b"te", Id::Te)],
        4 => &[
            (b"host", Id::Host),
            (b"date", Id::Date),
            (b"etag", Id::ETag),
        ],
        5 => &[(b"range", Id::Range)],
        6 => &[
            (b"accept", Id::Accept),
            (b"cookie", Id::Cookie),
            (b"origin", Id::Origin),
            (b"expect", Id::Expect),
            (b"server", Id::Server),
            (b"x-base", Id::XBase),
        ],
        7 => &[
            (b"alt-svc", Id::AltSvc),
            (b"trailer", Id::Trailer),
            (b"upgrade", Id::Upgrade),
        ],
        8 => &[
            (b"if-match", Id::IfMatch),
            (b"if-range", Id::IfRange),
            (b"location", Id::Location),
        ],
        9 => &[
            (b"x-real-ip", Id::XRealIp),
            (b"x-api-key", Id::XApiKey),
            (b"forwarded", Id::Forwarded),
        ],
        10 => &[
            (b"user-agent", Id::UserAgent),
            (b"connection", Id::Connection),
            (b"keep-alive", Id::KeepAlive),
            (b"set-cookie", Id::SetCookie),
        ],
        11 => &[
            (b"retry-after", Id::RetryAfter),
            (b"x-not-found", Id::XNotFound),
        ],
        12 => &[
            (b"content-type", Id::ContentType),
            (b"x-request-id", Id::XRequestId),
        ],
        13 => &[
            (b"if-none-match", Id::IfNoneMatch),
            (b"authorization", Id::Authorization),
            (b"last-modified", Id::LastModified),
            (b"content-range", Id::ContentRange),
        ],
        14 => &[
            (b"content-length", Id::ContentLength),
            (b"sec-fetch-site", Id::SecFetchSite),
            (b"sec-fetch-mode", Id::SecFetchMode),
            (b"sec-fetch-dest", Id::SecFetchDest),
            (b"http2-settings", Id::Http2Settings),
        ],
        15 => &[
            (b"accept-encoding", Id::AcceptEncoding),
            (b"clear-site-data", Id::ClearSiteData),
        ],
        16 => &[
            (b"content-encoding", Id::ContentEncoding),
            (b"proxy-connection", Id::ProxyConnection),
        ],
        17 => &[
            (b"transfer-encoding", Id::TransferEncoding),
            (b"if-modified-since", Id::IfModifiedSince),
            (b"sec-websocket-key", Id::SecWebSocketKey),
        ],
        18 => &[(b"proxy-authenticate", Id::ProxyAuthenticate)],
        19 => &[
            (b"if-unmodified-since", Id::IfUnmodifiedSince),
            (b"proxy-authorization", Id::ProxyAuthorization),
        ],
        21 => &[(b"sec-websocket-version", Id::SecWebSocketVersion)],
        22 => &[(b"service-worker-allowed", Id::ServiceWorkerAllowed)],
        23 => &[(b"content-security-policy", Id::ContentSecurityPolicy)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
