//! Parsing of request heads (RFC 9112 sections 2, 3 and 6).

use super::fields::{
    ConnectionOptions, FieldFault, Length, LengthFault, SectionFault, body_length, find_end,
    is_hopeless, parse_section,
};
use super::{BodyFraming, HeadLimits, HttpVersion, RequestError, RequestHead};
use crate::{HeaderId, HeaderList, Method, Target, grammar};

/// The longest method that is looked at. Any longer token is an unknown method.
const MAX_METHOD: usize = 32;

/// Parses the request head that begins `buf`; gives it with its length in bytes.
///
/// `None` asks for more bytes. See [`parse_request_from`] for a buffer that grows.
///
/// # Errors
/// [`RequestError`] as soon as no more bytes could make a valid head.
pub fn parse_request(
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, RequestError> {
    parse_request_from(buf, &mut 0, limits)
}

/// [`parse_request`] for a buffer that grows between calls.
///
/// `searched` is zero in the first call for a head and then left to this
/// function: bytes that were searched for the end of the head are not again.
///
/// # Errors
/// [`RequestError`] as soon as no more bytes could make a valid head.
pub fn parse_request_from(
    buf: &[u8],
    searched: &mut usize,
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, RequestError> {
    // One empty line before the request is forgiven (RFC 9112 section 2.2).
    let (skipped, head) = match buf {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', head @ ..] => (2, head),
        head => (0, head),
    };
    match head.first() {
        None => return Ok(None),
        Some(&byte) if !grammar::is_token_byte(byte) => return Err(RequestError::Syntax),
        Some(_) => {}
    }
    let seen = searched.saturating_sub(skipped).min(head.len());
    match find_end(head, seen) {
        Ok(Some(end)) if end <= limits.total => {
            let head = head.get(..end).unwrap_or_default();
            Ok(Some((parse_head(head, limits)?, skipped + end)))
        }
        Ok(None) if head.len() < limits.total => {
            check_incomplete(head, limits)?;
            if is_hopeless(head, seen) {
                return Err(RequestError::Syntax);
            }
            *searched = buf.len();
            Ok(None)
        }
        Ok(_) => {
            // A target that alone is too long is the better answer.
            check_incomplete(head, limits)?;
            Err(RequestError::HeadTooLarge)
        }
        Err(FieldFault) => Err(RequestError::Syntax),
    }
}

/// Judges the request line of a head without its end.
fn check_incomplete(head: &[u8], limits: &HeadLimits) -> Result<(), RequestError> {
    // A line that is not over within these has a method or a target that is too long.
    let longest = MAX_METHOD + limits.target + b"  HTTP/1.1\r\n".len();
    let begin = head.get(..longest).unwrap_or(head);
    if let Some(end) = memchr::memchr(b'\n', begin) {
        let line = begin.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        let line = parse_line(line.ok_or(RequestError::Syntax)?, limits)?;
        return parse_target(line.target, line.method).map(drop);
    }
    let mut parts = begin.splitn(3, |&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    if parts
        .next()
        .is_some_and(|target| target.len() > limits.target)
    {
        return Err(RequestError::TargetTooLong);
    }
    let method = method.strip_suffix(b"\r").unwrap_or(method);
    if !grammar::is_token(method) {
        return Err(RequestError::Syntax);
    }
    if method.len() > MAX_METHOD {
        return Err(RequestError::UnknownMethod);
    }
    if begin.len() == longest {
        return Err(RequestError::Syntax);
    }
    Ok(())
}

/// A request line, its target not yet parsed.
struct Line<'a> {
    method: Method,
    target: &'a [u8],
    version: HttpVersion,
}

/// Parses a request line without its CRLF.
fn parse_line<'a>(line: &'a [u8], limits: &HeadLimits) -> Result<Line<'a>, RequestError> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    let target = parts.next().ok_or(RequestError::Syntax)?;
    if target.len() > limits.target {
        return Err(RequestError::TargetTooLong);
    }
    let version = parts.next().ok_or(RequestError::Syntax)?;
    if target.is_empty() || !grammar::is_token(method) {
        return Err(RequestError::Syntax);
    }
    let version = match version {
        b"HTTP/1.1" => HttpVersion::Http11,
        b"HTTP/1.0" => HttpVersion::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(RequestError::UnsupportedVersion);
        }
        _ => return Err(RequestError::Syntax),
    };
    let method = match Method::parse(method) {
        None => return Err(RequestError::UnknownMethod),
        Some(Method::Trace | Method::Connect) => return Err(RequestError::MethodNotAllowed),
        Some(method) => method,
    };
    Ok(Line {
        method,
        target,
        version,
    })
}

/// Parses a whole head, up to and with its empty line.
fn parse_head(head: &[u8], limits: &HeadLimits) -> Result<RequestHead, RequestError> {
    let line_end = memchr::memchr(b'\n', head).ok_or(RequestError::Syntax)?;
    let (line, section) = head
        .split_at_checked(line_end + 1)
        .ok_or(RequestError::Syntax)?;
    let line = line.strip_suffix(b"\r\n").ok_or(RequestError::Syntax)?;
    let section = section.strip_suffix(b"\r\n").ok_or(RequestError::Syntax)?;

    let Line {
        method,
        target,
        version,
    } = parse_line(line, limits)?;
    let mut headers = parse_section(section, limits).map_err(|fault| match fault {
        SectionFault::Syntax => RequestError::Syntax,
        SectionFault::TooMany => RequestError::TooManyHeaders,
        SectionFault::ValueTooLong => RequestError::ValueTooLong,
    })?;

    let host = host(&headers, version)?;
    let (target, authority) = parse_target(target, method)?;
    if let Some((scheme, authority)) = authority {
        match host {
            Some(host) if !same_authority(scheme, host, authority) => {
                return Err(RequestError::BadHost);
            }
            Some(_) => {}
            // HTTP/1.0 may go without Host; from here on there is one.
            None => headers.push_checked(HeaderId::Host, b"Host", authority),
        }
    }

    let framing = framing(&headers, version)?;
    let options = ConnectionOptions::of(&headers).ok_or(RequestError::TooManyHeaders)?;
    let keep_alive = match version {
        HttpVersion::Http11 => !options.close,
        HttpVersion::Http10 => options.keep_alive && !options.close,
    };
    // A body would make it unclear where the frames begin.
    let websocket = method == Method::Get
        && version == HttpVersion::Http11
        && framing == BodyFraming::None
        && options.upgrade
        && grammar::list(headers.get_all(HeaderId::Upgrade))
            .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    Ok(RequestHead {
        expect_continue: expects_continue(&headers, version)? && framing != BodyFraming::None,
        method,
        target,
        version,
        headers,
        framing,
        keep_alive,
        websocket,
    })
}

/// The one Host field (RFC 9112 section 3.2); only HTTP/1.0 may go without.
fn host(headers: &HeaderList, version: HttpVersion) -> Result<Option<&[u8]>, RequestError> {
    let mut hosts = headers.get_all(HeaderId::Host);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if grammar::authority(host).is_some() => Ok(Some(host)),
        (None, _) if version == HttpVersion::Http10 => Ok(None),
        _ => Err(RequestError::BadHost),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

type Authority<'a> = (Scheme, &'a [u8]);

/// Reads the forms of a request target (RFC 9112 section 3.2); the absolute form
/// is reduced to what the origin form would have been, and its authority.
fn parse_target(
    text: &[u8],
    method: Method,
) -> Result<(Target, Option<Authority<'_>>), RequestError> {
    if text.first() == Some(&b'/') {
        return Ok((Target::parse(text)?, None));
    }
    if text == b"*" {
        return if method == Method::Options {
            Ok((Target::asterisk(), None))
        } else {
            Err(RequestError::BadPath)
        };
    }
    let (scheme, rest) = if let Some(rest) = strip_scheme(text, b"http://") {
        (Scheme::Http, rest)
    } else if let Some(rest) = strip_scheme(text, b"https://") {
        (Scheme::Https, rest)
    } else {
        return Err(RequestError::BadPath);
    };
    let authority_len = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (authority, rest) = rest
        .split_at_checked(authority_len)
        .ok_or(RequestError::BadHost)?;
    if grammar::authority(authority).is_none() {
        return Err(RequestError::BadHost);
    }
    let target = match rest {
        // What a proxy makes of `OPTIONS http://host` (RFC 9112 section 3.2.4).
        [] if method == Method::Options => Target::asterisk(),
        [b'/', ..] => Target::parse(rest)?,
        _ => Target::parse(&[b"/", rest].concat())?,
    };
    Ok((target, Some((scheme, authority))))
}

fn strip_scheme<'a>(text: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether both name the same host and port; the scheme's own port may be left out.
fn same_authority(scheme: Scheme, a: &[u8], b: &[u8]) -> bool {
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let parts = |text| {
        let (host, port) = grammar::authority(text)?;
        Some((host, port.and_then(grammar::decimal).unwrap_or(default)))
    };
    match (parts(a), parts(b)) {
        (Some((host_a, port_a)), Some((host_b, port_b))) => {
            host_a.eq_ignore_ascii_case(host_b) && port_a == port_b
        }
        _ => false,
    }
}

fn framing(headers: &HeaderList, version: HttpVersion) -> Result<BodyFraming, RequestError> {
    match body_length(headers) {
        Ok(Length::Unsaid | Length::Bytes(0)) => Ok(BodyFraming::None),
        Ok(Length::Bytes(length)) => Ok(BodyFraming::Length(length)),
        // A peer that speaks 1.0 does not know the coding (RFC 9112 section 6.1).
        Ok(Length::Chunked) if version == HttpVersion::Http10 => Err(RequestError::BadFraming),
        Ok(Length::Chunked) => Ok(BodyFraming::Chunked),
        Err(LengthFault::Ambiguous) => Err(RequestError::BadFraming),
        Err(LengthFault::UnknownCoding) => Err(RequestError::UnknownTransferCoding),
    }
}

/// Reads Expect (RFC 9110 section 10.1.1), which HTTP/1.0 does not have.
fn expects_continue(headers: &HeaderList, version: HttpVersion) -> Result<bool, RequestError> {
    if version == HttpVersion::Http10 {
        return Ok(false);
    }
    let mut expected = false;
    for expectation in grammar::list(headers.get_all(HeaderId::Expect)) {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestError::UnknownExpectation);
        }
        expected = true;
    }
    Ok(expected)
}

#[cfg(test)]
mod tests;
