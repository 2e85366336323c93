//! Versions of units, npm ranges, and which version a range picks (contract §4).

mod precedence;
mod range;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use precedence::Precedence;
pub use range::{RangeError, VersionRange};

/// Longest version, in bytes. npm's own limit.
const VERSION_MAX_BYTES: usize = 256;

/// Why a text is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// Longer than 256 bytes.
    #[error("a version has at most {VERSION_MAX_BYTES} characters")]
    TooLong,
    /// Neither a semantic version nor `latest`.
    #[error("a version is three numbers, as in `1.2.3` or `1.2.3-beta.1`, or `latest`")]
    Malformed,
}

/// A semantic version, exactly as written.
///
/// Invariant: its text matches the grammar of semver.org, strictly (no `v`, no
/// leading zeros, three numbers), so it is one ordinary folder name. Ordered by
/// semantic precedence; versions that differ only in their build are ordered by
/// its text, so that the order is total and agrees with equality. Cheap to clone.
#[derive(Clone)]
pub struct SemVersion(Arc<Parts>);

struct Parts {
    text: Box<str>,
    precedence: Precedence,
}

impl SemVersion {
    /// The version as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether it has a pre-release part.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.0.precedence.is_prerelease()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self(Arc::new(Parts {
            text: text.into(),
            precedence: Precedence::parse(text)?,
        })))
    }
}

impl Ord for SemVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .precedence
            .cmp(&other.0.precedence)
            .then_with(|| self.0.text.cmp(&other.0.text))
    }
}

impl PartialOrd for SemVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SemVersion {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for SemVersion {}

impl Hash for SemVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl fmt::Display for SemVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for SemVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// The version of a unit: the name of its version folder (contract §3).
///
/// `latest` is above every number, so the largest version of a unit is also what
/// a request without a range gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// A semantic version.
    Semver(SemVersion),
    /// The folder `latest`, or a folder without a version level.
    Latest,
}

impl Version {
    /// The version as it stands in folder names and in `name@version`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Semver(version) => version.as_str(),
            Self::Latest => "latest",
        }
    }
}

impl TryFrom<&str> for Version {
    type Error = VersionError;

    fn try_from(text: &str) -> Result<Self, VersionError> {
        if text.len() > VERSION_MAX_BYTES {
            return Err(VersionError::TooLong);
        }
        if text == "latest" {
            return Ok(Self::Latest);
        }
        SemVersion::parse(text)
            .map(Self::Semver)
            .ok_or(VersionError::Malformed)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::try_from(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The version that a request gets (contract §4): without a range `latest` if
/// present, else the highest; with one the highest that fits.
///
/// One pass, no allocation. Disabled versions are for the caller to leave out.
pub fn pick<'a>(
    range: Option<&VersionRange>,
    versions: impl Iterator<Item = &'a Version>,
) -> Option<&'a Version> {
    let Some(range) = range else {
        return versions.max();
    };
    versions
        .filter(|version| range.matches(version))
        .max_by_key(|version| (range.names(version), *version))
}

#[cfg(test)]
mod tests;
