//! Heads of parts, and the boundary.

use super::MAX_BOUNDARY;
use crate::grammar::{is_field_value, is_token, trim_ows};

/// What stands before the content of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The field that the part is for.
    pub name: String,
    /// What the client calls the file, if it is one. Text from outside: neither a
    /// path nor free of slashes.
    pub file_name: Option<String>,
}

impl PartHead {
    /// Reads the lines of a head, without the empty one at the end. `None` if they
    /// are malformed or name no field in UTF-8.
    pub(super) fn parse(lines: &[u8]) -> Option<Self> {
        let mut disposition = None;
        for line in split_lines(lines) {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = (line.get(..colon)?, trim_ows(line.get(colon + 1..)?));
            if !is_token(name) || !is_field_value(value) {
                return None;
            }
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(value).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                // Others would have to be undone, and no browser uses them.
                let is_plain = [&b"binary"[..], b"8bit", b"7bit"]
                    .iter()
                    .any(|plain| value.eq_ignore_ascii_case(plain));
                if !is_plain {
                    return None;
                }
            }
        }
        let (kind, parameters) = parameters(disposition?)?;
        if !kind.eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let find = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| String::from_utf8(value.clone()))
        };
        Some(Self {
            name: find("name")?.ok()?,
            file_name: find("filename").transpose().ok()?,
        })
    }
}

/// The lines of a head: each ends in CR LF, none holds one of the two alone.
fn split_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(lines).filter(|lines| !lines.is_empty());
    std::iter::from_fn(move || {
        let from = rest?;
        let Some(end) = memchr::memmem::find(from, b"\r\n") else {
            rest = None;
            return Some(from);
        };
        rest = from.get(end + 2..);
        from.get(..end)
    })
}

/// The boundary of a `multipart/form-data` content type.
pub(super) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let (kind, parameters) = parameters(content_type)?;
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let (_, boundary) = parameters
        .into_iter()
        .find(|(name, _)| name == "boundary")?;
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    let fits = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.iter().all(is_fine)
        && boundary.last() != Some(&b' ');
    fits.then_some(boundary)
}

type Parameters = Vec<(String, Vec<u8>)>;

/// A value with parameters: what stands before the first semicolon, and names in
/// lower case with their values. None may stand twice.
///
/// In a quoted value `\"` and `\\` stand for `"` and `\`; before other characters a
/// backslash is itself, for browsers send it so.
fn parameters(text: &[u8]) -> Option<(&[u8], Parameters)> {
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    let (value, mut rest) = text.split_at_checked(end)?;
    let mut found: Parameters = Vec::new();
    while let Some(after) = rest.strip_prefix(b";") {
        let after = trim_ows(after);
        // A semicolon at the end is common, and means nothing.
        if after.is_empty() {
            rest = after;
            break;
        }
        let equals = memchr::memchr(b'=', after)?;
        let (name, value) = (after.get(..equals)?, after.get(equals + 1..)?);
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        if !is_token(name.as_bytes()) || found.iter().any(|(known, _)| *known == name) {
            return None;
        }
        let (value, behind) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let (token, behind) = value.split_at_checked(end)?;
                let token = trim_ows(token);
                if !is_token(token) {
                    return None;
                }
                (token.to_vec(), behind)
            }
        };
        found.push((name, value));
        rest = trim_ows(behind);
    }
    if !rest.is_empty() {
        return None;
    }
    Some((trim_ows(value), found))
}

/// A quoted text whose first quote was taken, and what follows its last.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'"', _) => return Some((value, text.get(at + 1..)?)),
            (b'\\', Some(escaped @ (b'"' | b'\\'))) => {
                value.push(*escaped);
                at += 2;
            }
            (byte, _) => {
                value.push(*byte);
                at += 1;
            }
        }
    }
}
