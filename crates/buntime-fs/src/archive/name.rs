//! Names of entries.

use super::error::{ArchiveError, EntryLabel, Unsafe};
use crate::rel_path::RelPath;

/// Most segments of a path.
const MAX_DEPTH: usize = 64;
/// Longest segment in bytes.
const MAX_SEGMENT: usize = 255;
/// Longest path in bytes.
pub(super) const MAX_PATH: usize = 4096;
/// What the server puts into an app's folder begins like this.
const RESERVED: &str = ".buntime";

/// The name of an entry, as far as it says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryName {
    /// Where it belongs; none for the archive's own top, which `tar` writes as `./`.
    pub(super) path: Option<RelPath>,
    /// Whether it ends with a slash, as names of folders do.
    pub(super) slash: bool,
}

impl EntryName {
    /// Takes a name apart. One leading `./` is no offence: that is how `tar` packs `.`.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, ArchiveError> {
        let problem = |problem| ArchiveError::UnsafeEntry {
            entry: EntryLabel::new(raw),
            problem,
        };
        let name = std::str::from_utf8(raw).map_err(|_| problem(Unsafe::NotUtf8))?;
        if name.chars().any(char::is_control) {
            return Err(problem(Unsafe::Control));
        }
        if name.contains('\\') {
            return Err(problem(Unsafe::Backslash));
        }
        if let [letter, b':', ..] = name.as_bytes()
            && letter.is_ascii_alphabetic()
        {
            return Err(problem(Unsafe::Drive));
        }
        let below = match name {
            "." => "",
            name => name.strip_prefix("./").unwrap_or(name),
        };
        if below.starts_with('/') {
            return Err(problem(Unsafe::Absolute));
        }
        if below.is_empty() && !name.is_empty() {
            return Ok(Self {
                path: None,
                slash: name.ends_with('/'),
            });
        }
        let bare = below.strip_suffix('/');
        let path = bare.unwrap_or(below);
        if path.len() > MAX_PATH {
            return Err(problem(Unsafe::TooLong));
        }
        for (depth, segment) in path.split('/').enumerate() {
            if depth == MAX_DEPTH {
                return Err(problem(Unsafe::TooDeep));
            }
            match segment {
                "" => return Err(problem(Unsafe::Empty)),
                "." | ".." => return Err(problem(Unsafe::DotSegment)),
                _ if segment.len() > MAX_SEGMENT => return Err(problem(Unsafe::TooLong)),
                _ if is_reserved(segment) => {
                    return Err(ArchiveError::ReservedName {
                        entry: EntryLabel::new(raw),
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            path: Some(path.parse().map_err(|_| problem(Unsafe::TooLong))?),
            slash: bare.is_some(),
        })
    }
}

fn is_reserved(segment: &str) -> bool {
    segment
        .as_bytes()
        .get(..RESERVED.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(RESERVED.as_bytes()))
}
