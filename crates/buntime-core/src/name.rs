//! Names of units and their namespaces (contract §5, §7).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest package name, in bytes, scope and slash included. npm's own limit.
const NAME_MAX_BYTES: usize = 214;

/// First path segments that belong to the server, and folders with a meaning of
/// their own. `cpanel` is here because a look-alike login page would be served
/// from the server's own origin.
const RESERVED: [&str; 8] = [
    "api",
    "health",
    "cpanel",
    "favicon.ico",
    "node_modules",
    ".well-known",
    ".buntime",
    ".git",
];

/// Names that Windows opens as devices, whatever extension follows. A unit is
/// downloaded as an archive too, so its folder must be creatable everywhere.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no name at all.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than 214 bytes.
    #[error("a name has at most {NAME_MAX_BYTES} characters")]
    TooLong,
    /// It has a form that no package name has.
    #[error(
        "a name is lower case letters, digits, `.`, `_` and `-`, starts with a letter or digit, \
         and may have a scope before it, as in `@acme/shop`"
    )]
    Malformed,
    /// It is one of the server's own names and could not be a package name either.
    /// Names that are well formed *and* reserved parse; see
    /// [`PackageName::is_reserved`].
    #[error("this name is reserved for the server")]
    Reserved,
    /// It is no `@scope`.
    #[error("a namespace is `@` and then letters, digits, `.`, `_` and `-`, as in `@acme`")]
    MalformedNamespace,
}

/// An `@scope`, kept in lower case: namespaces are compared without case
/// (contract §7).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace with its `@`, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Namespace {
    type Error = NameError;

    /// Parses `@scope`, any case. Space around it is for the caller to trim.
    fn try_from(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('@') {
            Some(scope) if is_segment(scope) => Ok(Self(lower.into())),
            _ => Err(NameError::MalformedNamespace),
        }
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a worker or plugin: `shop` or `@acme/shop`.
///
/// Invariant: matches `^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*$` and has at
/// most 214 characters, so each part is one ordinary folder name. Cheap to clone.
/// Equal, ordered and hashed as its text.
#[derive(Clone)]
pub struct PackageName {
    text: Arc<str>,
    scope: Option<Namespace>,
}

impl PackageName {
    /// The whole name, `@acme/shop`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `@acme` of `@acme/shop`; none for an unscoped name.
    #[must_use]
    pub fn scope(&self) -> Option<&Namespace> {
        self.scope.as_ref()
    }

    /// `shop` of `@acme/shop`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// Whether no unit may be installed under this name (contract §7,
    /// `RESERVED_NAME`). Unscoped: the server's own paths and folders. With and
    /// without a scope: Windows device names such as `con`, `nul.js` and `com1`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_device(self.base()) || (self.scope.is_none() && RESERVED.contains(&self.base()))
    }
}

impl TryFrom<&str> for PackageName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        let (scope, base) = match text.strip_prefix('@') {
            Some(scoped) => {
                let (scope, base) = scoped.split_once('/').ok_or(NameError::Malformed)?;
                (Some(scope), base)
            }
            None => (None, text),
        };
        if !is_segment(base) || !scope.is_none_or(is_segment) {
            return Err(if RESERVED.contains(&text) {
                NameError::Reserved
            } else {
                NameError::Malformed
            });
        }
        Ok(Self {
            text: text.into(),
            scope: scope.map(|scope| Namespace(format!("@{scope}").into())),
        })
    }
}

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text)
    }
}

impl PartialEq for PackageName {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PackageName {}

impl std::hash::Hash for PackageName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for PackageName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PackageName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

/// Lets maps keyed by name be asked with a part of a request path, unparsed.
impl std::borrow::Borrow<str> for PackageName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for PackageName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for PackageName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// `[a-z0-9][a-z0-9._-]*`
fn is_segment(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().next().is_some_and(alphanumeric)
        && text
            .bytes()
            .all(|byte| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_device(base: &str) -> bool {
    let stem = base.split('.').next().unwrap_or_default();
    DEVICES.contains(&stem)
        || ["com", "lpt"].iter().any(|port| {
            stem.strip_prefix(port)
                .is_some_and(|digit| digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit())
        })
}

#[cfg(test)]
mod tests;
