//! What the heads of requests and responses have in common.

use crate::{HeadLimits, HeaderId, HeaderList, grammar, hop_by_hop};

/// A field line is malformed (RFC 9112 section 5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldFault;

/// Why a header section is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum SectionFault {
    Syntax,
    TooMany,
    ValueTooLong,
}

/// The end of the head that begins `buf`, one past its empty line.
///
/// `searched` says how much of `buf` an earlier call has seen. Fails at the first
/// line that ends in LF alone: the head would never become valid.
pub(super) fn find_end(buf: &[u8], searched: usize) -> Result<Option<usize>, FieldFault> {
    let unseen = buf.get(searched..).unwrap_or_default();
    for at in memchr::memchr_iter(b'\n', unseen) {
        let line = buf.get(..searched + at).unwrap_or_default();
        match line {
            [.., b'\r', b'\n', b'\r'] => return Ok(Some(searched + at + 1)),
            [.., b'\r'] => {}
            _ => return Err(FieldFault),
        }
    }
    Ok(None)
}

/// Whether bytes that no head may hold, or a CR without its LF, came since `searched`.
pub(super) fn is_hopeless(buf: &[u8], searched: usize) -> bool {
    let unseen = buf.get(searched.saturating_sub(1)..).unwrap_or_default();
    let bare = |at: usize| unseen.get(at + 1).is_some_and(|&next| next != b'\n');
    memchr::memchr_iter(b'\r', unseen).any(bare) || memchr::memchr(0, unseen).is_some()
}

/// Splits a line, without its CRLF, into name and value.
pub(crate) fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), FieldFault> {
    // The first byte that no token may hold must be the colon: so there is no
    // space before it, no folded line, no empty name and no line without one.
    let colon = line
        .iter()
        .position(|&byte| !grammar::is_token_byte(byte))
        .ok_or(FieldFault)?;
    let (name, rest) = line.split_at_checked(colon).ok_or(FieldFault)?;
    let value = match rest {
        [b':', value @ ..] => grammar::trim_ows(value),
        _ => return Err(FieldFault),
    };
    if name.is_empty() || name.len() > usize::from(u16::MAX) || !grammar::is_field_value(value) {
        return Err(FieldFault);
    }
    Ok((name, value))
}

/// Reads the field lines of a section, without the empty line that ends it.
pub(super) fn parse_section(
    section: &[u8],
    limits: &HeadLimits,
) -> Result<HeaderList, SectionFault> {
    if section.len() > u32::MAX as usize {
        return Err(SectionFault::TooMany);
    }
    let mut headers = HeaderList::over(section);
    let mut start = 0;
    while start < section.len() {
        let rest = section.get(start..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).ok_or(SectionFault::Syntax)?;
        let line = match rest.get(..end) {
            Some([line @ .., b'\r']) => line,
            _ => return Err(SectionFault::Syntax),
        };
        let (name, value) = parse_field(line).map_err(|FieldFault| SectionFault::Syntax)?;
        if value.len() > limits.value {
            return Err(SectionFault::ValueTooLong);
        }
        if headers.len() == limits.count {
            return Err(SectionFault::TooMany);
        }
        let value_start = start + value_offset(line, name.len());
        headers.push_within(
            start..start + name.len(),
            value_start..value_start + value.len(),
        );
        start += end + 1;
    }
    Ok(headers)
}

/// Where the value of a field line begins.
fn value_offset(line: &[u8], name_len: usize) -> usize {
    let after_colon = line.get(name_len + 1..).unwrap_or_default();
    let blanks = after_colon
        .iter()
        .take_while(|&&byte| matches!(byte, b' ' | b'\t'))
        .count();
    name_len + 1 + blanks
}

/// What Connection says about the connection itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl ConnectionOptions {
    /// `None` if there are more options than are worth reading.
    pub(super) fn of(headers: &HeaderList) -> Option<Self> {
        let mut found = Self::default();
        for (at, option) in hop_by_hop::options(headers).enumerate() {
            if at == hop_by_hop::MAX_OPTIONS {
                return None;
            }
            found.close |= option.eq_ignore_ascii_case(b"close");
            found.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            found.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Some(found)
    }
}

/// What Content-Length and Transfer-Encoding say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Unsaid,
    Bytes(u64),
    Chunked,
}

/// Why they do not say one thing.
#[derive(Clone, Copy, Debug)]
pub(super) enum LengthFault {
    Ambiguous,
    UnknownCoding,
}

/// Reads both length fields (RFC 9112 section 6.3). Where the RFC lets a recipient
/// choose between repair and refusal, this refuses.
pub(super) fn body_length(headers: &HeaderList) -> Result<Length, LengthFault> {
    let mut lengths = headers.get_all(HeaderId::ContentLength);
    let mut codings = headers.get_all(HeaderId::TransferEncoding);
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Length::Unsaid),
        (Some(_), Some(_)) => Err(LengthFault::Ambiguous),
        (Some(length), None) => match (grammar::decimal(length), lengths.next()) {
            (Some(length), None) => Ok(Length::Bytes(length)),
            _ => Err(LengthFault::Ambiguous),
        },
        (None, Some(coding)) => match (coding.eq_ignore_ascii_case(b"chunked"), codings.next()) {
            (true, None) => Ok(Length::Chunked),
            (_, Some(_)) => Err(LengthFault::Ambiguous),
            (false, None) => Err(LengthFault::UnknownCoding),
        },
    }
}
