//! Parsing of response heads, as a worker sends them (RFC 9112 sections 4 and 6).

use super::fields::{
    ConnectionOptions, FieldFault, Length, SectionFault, body_length, find_end, is_hopeless,
    parse_section,
};
use super::{HeadLimits, HttpVersion, ResponseFraming, ResponseHead, ResponseHeadError};
use crate::{Method, grammar};

/// Parses the response head that begins `buf`; gives it with its length in bytes.
///
/// `request` is the method that it answers: it decides whether there is a body.
/// `limits.target` means nothing here. `None` asks for more bytes. See
/// [`parse_response_from`] for a buffer that grows.
///
/// # Errors
/// [`ResponseHeadError`] as soon as no more bytes could make a valid head.
pub fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
    request: Method,
) -> Result<Option<(ResponseHead, usize)>, ResponseHeadError> {
    parse_response_from(buf, &mut 0, limits, request)
}

/// [`parse_response`] for a buffer that grows between calls.
///
/// `searched` is as in [`crate::parse_request_from`].
///
/// # Errors
/// [`ResponseHeadError`] as soon as no more bytes could make a valid head.
pub fn parse_response_from(
    buf: &[u8],
    searched: &mut usize,
    limits: &HeadLimits,
    request: Method,
) -> Result<Option<(ResponseHead, usize)>, ResponseHeadError> {
    let version = b"HTTP/1.";
    let begin = buf.get(..version.len()).unwrap_or(buf);
    if !version.starts_with(begin) {
        return Err(ResponseHeadError::Syntax);
    }
    let seen = (*searched).min(buf.len());
    match find_end(buf, seen) {
        Ok(Some(end)) if end <= limits.total => {
            let head = buf.get(..end).unwrap_or_default();
            Ok(Some((parse_head(head, limits, request)?, end)))
        }
        Ok(None) if buf.len() < limits.total => {
            if is_hopeless(buf, seen) {
                return Err(ResponseHeadError::Syntax);
            }
            *searched = buf.len();
            Ok(None)
        }
        Ok(_) => Err(ResponseHeadError::TooLarge),
        Err(FieldFault) => Err(ResponseHeadError::Syntax),
    }
}

fn parse_head(
    head: &[u8],
    limits: &HeadLimits,
    request: Method,
) -> Result<ResponseHead, ResponseHeadError> {
    let line_end = memchr::memchr(b'\n', head).ok_or(ResponseHeadError::Syntax)?;
    let (line, section) = head
        .split_at_checked(line_end + 1)
        .ok_or(ResponseHeadError::Syntax)?;
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or(ResponseHeadError::Syntax)?;
    let section = section
        .strip_suffix(b"\r\n")
        .ok_or(ResponseHeadError::Syntax)?;

    let (version, status) = parse_line(line)?;
    let headers = parse_section(section, limits).map_err(|fault| match fault {
        SectionFault::Syntax => ResponseHeadError::Syntax,
        SectionFault::TooMany | SectionFault::ValueTooLong => ResponseHeadError::TooLarge,
    })?;
    let options = ConnectionOptions::of(&headers).ok_or(ResponseHeadError::TooLarge)?;
    let length = body_length(&headers).map_err(|_| ResponseHeadError::BadFraming)?;
    if version == HttpVersion::Http10 && matches!(length, Length::Chunked) {
        return Err(ResponseHeadError::BadFraming);
    }

    let never_a_body = status < 200 || status == 204;
    let framing = match length {
        _ if never_a_body || status == 304 || request == Method::Head => ResponseFraming::None,
        Length::Bytes(length) => ResponseFraming::Length(length),
        Length::Chunked => ResponseFraming::Chunked,
        Length::Unsaid => ResponseFraming::Close,
    };
    // A body announced where none may be could follow all the same and would then
    // be read as the next response.
    let body_may_follow = never_a_body && !matches!(length, Length::Unsaid | Length::Bytes(0));
    let kept = match version {
        HttpVersion::Http11 => !options.close,
        HttpVersion::Http10 => options.keep_alive && !options.close,
    };
    Ok(ResponseHead {
        status,
        headers,
        framing,
        keep_alive: kept && framing != ResponseFraming::Close && !body_may_follow,
    })
}

/// Parses a status line without its CRLF. The space before an empty reason may be missing.
fn parse_line(line: &[u8]) -> Result<(HttpVersion, u16), ResponseHeadError> {
    let version = match line.get(..9) {
        Some(b"HTTP/1.1 ") => HttpVersion::Http11,
        Some(b"HTTP/1.0 ") => HttpVersion::Http10,
        _ => return Err(ResponseHeadError::UnsupportedVersion),
    };
    let (status, reason) = match line.get(9..) {
        Some([a, b, c]) => ([*a, *b, *c], &[][..]),
        Some([a, b, c, b' ', reason @ ..]) => ([*a, *b, *c], reason),
        _ => return Err(ResponseHeadError::Status),
    };
    if !grammar::is_field_value(reason) {
        return Err(ResponseHeadError::Syntax);
    }
    let status = grammar::decimal(&status).ok_or(ResponseHeadError::Status)?;
    match u16::try_from(status) {
        Ok(status @ 100..=599) => Ok((version, status)),
        _ => Err(ResponseHeadError::Status),
    }
}

#[cfg(test)]
mod tests;
