//! What a worker's response may bring of header fields (contract section 5).

use crate::{Header, HeaderId, HeaderList};

/// Fields of one response.
const MAX_COUNT: usize = 100;
/// All names and values, in bytes.
const MAX_TOTAL: usize = 64 * 1024;
/// One value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// Security policies without a [`HeaderId`] of their own.
const POLICIES: [&[u8]; 16] = [
    b"content-security-policy-report-only",
    b"cross-origin-embedder-policy",
    b"cross-origin-opener-policy",
    b"cross-origin-resource-policy",
    b"document-policy",
    b"feature-policy",
    b"integrity-policy",
    b"origin-agent-cluster",
    b"permissions-policy",
    b"referrer-policy",
    b"require-document-policy",
    b"strict-transport-security",
    b"x-content-type-options",
    b"x-frame-options",
    b"x-permitted-cross-domain-policies",
    b"x-xss-protection",
];

/// How much of a response's header fields was over the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Values cut to 8 KB.
    pub cut: usize,
    /// Fields dropped.
    pub dropped: usize,
}

impl Trimmed {
    /// Whether anything was, so that a warning is due.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// The limits cannot be kept without a field that must stay as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limits on header fields would touch one that must stay whole")]
pub struct ProtectedHeader;

/// Brings the fields within 100 in number, 64 KB in all and 8 KB a value.
///
/// Longer values are cut; fields past the limits are dropped, the later ones
/// first. Set-Cookie, Location, Content-Type, security policies, and what tells
/// how to read the body stay whole: room is kept for them.
///
/// # Errors
/// [`ProtectedHeader`] if these alone are over a limit; the list is then unchanged.
pub fn apply_response_limits(headers: &mut HeaderList) -> Result<Trimmed, ProtectedHeader> {
    let fits = headers.len() <= MAX_COUNT
        && headers.text_len() <= MAX_TOTAL
        && headers.iter().all(|header| header.value.len() <= MAX_VALUE);
    if fits {
        return Ok(Trimmed::default());
    }

    let mut count = MAX_COUNT;
    let mut room = MAX_TOTAL;
    for header in headers.iter().filter(is_protected) {
        if header.value.len() > MAX_VALUE {
            return Err(ProtectedHeader);
        }
        count = count.checked_sub(1).ok_or(ProtectedHeader)?;
        room = room
            .checked_sub(header.name.len() + header.value.len())
            .ok_or(ProtectedHeader)?;
    }

    let mut trimmed = Trimmed::default();
    let mut full = false;
    let mut kept = HeaderList::with_capacity(MAX_TOTAL.min(headers.text_len()));
    for header in headers.iter() {
        if is_protected(&header) {
            kept.push_checked(header.id, header.name, header.value);
            continue;
        }
        let value = header.value.get(..MAX_VALUE).unwrap_or(header.value);
        let size = header.name.len() + value.len();
        full = full || count == 0 || size > room;
        if full {
            trimmed.dropped += 1;
            continue;
        }
        count -= 1;
        room -= size;
        trimmed.cut += usize::from(value.len() < header.value.len());
        kept.push_checked(header.id, header.name, value);
    }
    *headers = kept;
    Ok(trimmed)
}

fn is_protected(header: &Header<'_>) -> bool {
    match header.id {
        HeaderId::SetCookie
        | HeaderId::Location
        | HeaderId::ContentType
        | HeaderId::ContentSecurityPolicy
        | HeaderId::ContentEncoding
        | HeaderId::ContentRange => true,
        HeaderId::Other => POLICIES
            .iter()
            .any(|policy| policy.eq_ignore_ascii_case(header.name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
