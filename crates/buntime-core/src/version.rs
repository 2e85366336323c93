//! Versions of units, npm ranges, and which version a range picks (contract §4).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use nodejs_semver::{Identifier, Range};

/// Longest version, in bytes. npm's own limit.
const VERSION_MAX_BYTES: usize = 256;

/// Longest range, in bytes: a range is a part of a URL.
const RANGE_MAX_BYTES: usize = 64;

/// Largest number that a version may hold. npm's own limit: the largest whole
/// number that JavaScript counts exactly.
const NUMBER_MAX: u64 = 9_007_199_254_740_991;

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

/// Why a text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Longer than 64 bytes.
    #[error("a range has at most {RANGE_MAX_BYTES} characters")]
    TooLong,
    /// npm would not take it either.
    #[error("a range is an npm range, as in `1`, `1.2`, `^1.0.0` or `>=1 <3`, or `latest`")]
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
    parsed: nodejs_semver::Version,
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
        self.0.parsed.is_prerelease()
    }

    fn parse(text: &str) -> Option<Self> {
        let (rest, build) = split_tail(text, '+');
        let (core, pre_release) = split_tail(rest, '-');
        let mut numbers = core.split('.').map(number);
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if numbers.next().is_some() {
            return None;
        }
        let pre_release = match pre_release {
            Some(tail) => tail
                .split('.')
                .map(pre_release_identifier)
                .collect::<Option<_>>()?,
            None => Vec::new(),
        };
        if let Some(tail) = build
            && !tail.split('.').all(is_identifier)
        {
            return None;
        }
        Some(Self(Arc::new(Parts {
            text: text.into(),
            parsed: nodejs_semver::Version::new(major, minor, patch, pre_release, Vec::new()),
        })))
    }
}

impl Ord for SemVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .parsed
            .cmp(&other.0.parsed)
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

/// What stands after the `@` of a request path: an npm range or `latest`.
#[derive(Clone, Debug)]
pub struct VersionRange(Selector);

#[derive(Clone, Debug)]
enum Selector {
    Latest,
    Exact(SemVersion),
    Npm(Range),
}

impl TryFrom<&str> for VersionRange {
    type Error = RangeError;

    fn try_from(text: &str) -> Result<Self, RangeError> {
        // The length first: no parser sees more than a few characters.
        if text.len() > RANGE_MAX_BYTES {
            return Err(RangeError::TooLong);
        }
        // npm reads nothing as "any version"; in a path it is a slip.
        if text.trim().is_empty() {
            return Err(RangeError::Malformed);
        }
        match Version::try_from(text) {
            Ok(Version::Latest) => return Ok(Self(Selector::Latest)),
            Ok(Version::Semver(version)) => return Ok(Self(Selector::Exact(version))),
            Err(_) => {}
        }
        Range::parse(text)
            .map(|range| Self(Selector::Npm(range)))
            .map_err(|_| RangeError::Malformed)
    }
}

impl FromStr for VersionRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        Self::try_from(text)
    }
}

impl VersionRange {
    /// Whether `version` fits, pre-releases included. `latest` fits only itself,
    /// because a folder without a number has no place in a range of numbers.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        match (&self.0, version) {
            (Selector::Latest, Version::Latest) => true,
            (Selector::Exact(wanted), Version::Semver(version)) => {
                wanted.0.parsed == version.0.parsed
            }
            (Selector::Npm(range), Version::Semver(version)) => {
                range.satisfies_with_prerelease(&version.0.parsed, true)
            }
            _ => false,
        }
    }
}

impl VersionRange {
    /// Whether the range is this version's whole text. Versions that differ only
    /// in their build are one version to npm; the one asked for by name goes first.
    fn names(&self, version: &Version) -> bool {
        matches!((&self.0, version), (Selector::Exact(wanted), Version::Semver(version)) if wanted == version)
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

fn split_tail(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

/// A number without leading zeros, at most [`NUMBER_MAX`].
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !is_digits(text) {
        return None;
    }
    text.parse().ok().filter(|&number| number <= NUMBER_MAX)
}

fn pre_release_identifier(text: &str) -> Option<Identifier> {
    if is_digits(text) {
        return number(text).map(Identifier::Numeric);
    }
    is_identifier(text).then(|| Identifier::AlphaNumeric(text.into()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests;
