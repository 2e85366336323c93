//! A path that can only go down.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

/// Longest path in bytes.
const MAX_PATH: usize = 4096;
/// Longest segment in bytes: what Linux file systems take.
const MAX_SEGMENT: usize = 255;
/// Most segments.
const MAX_DEPTH: usize = 128;

/// A relative path of normal components: never absolute, never `.` or `..`,
/// no empty segment, no NUL, no backslash, valid UTF-8, bounded in length.
///
/// Necessary, not sufficient: a link on disk may still lead out. [`Root`]
/// opens it in a way that refuses links, so that check and use are one step.
///
/// [`Root`]: crate::Root
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Cow<'static, str>);

/// Why text is no [`RelPath`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidPath {
    /// Nothing, or nothing between two slashes, or a slash at an end.
    #[error("path has an empty segment")]
    Empty,
    /// Begins with a slash.
    #[error("path is absolute")]
    Absolute,
    /// A `.` or `..` segment.
    #[error("path has a dot segment")]
    DotSegment,
    /// NUL, a backslash, or bytes that are no UTF-8.
    #[error("path has a forbidden character")]
    Character,
    /// A percent sign that two hex digits do not follow.
    #[error("path has a broken percent escape")]
    Escape,
    /// Longer or deeper than any real path.
    #[error("path is too long")]
    TooLong,
}

impl RelPath {
    /// A file name that is written in the source.
    ///
    /// # Panics
    /// If it is not one plain segment; in a constant that fails the build.
    #[must_use]
    pub const fn literal(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= MAX_SEGMENT);
        let mut at = 0;
        let mut dots_only = true;
        while at < bytes.len() {
            assert!(bytes[at] != b'/' && bytes[at] != b'\\' && bytes[at] != 0);
            dots_only = dots_only && bytes[at] == b'.';
            at += 1;
        }
        assert!(!dots_only, "`.` and `..` are no names");
        Self(Cow::Borrowed(name))
    }

    /// The path as text, segments separated by single slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for the standard library.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The segments, top first. There is at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// All but the last segment; none for a path of one segment.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.to_owned().into()))
    }

    /// All but the last segment, if there is any, and the last.
    #[must_use]
    pub fn split_last(&self) -> (Option<Self>, Self) {
        (self.parent(), Self(self.file_name().to_owned().into()))
    }

    /// This path with one more below it.
    ///
    /// # Errors
    /// The joined path is too long or too deep.
    pub fn join(&self, below: &Self) -> Result<Self, InvalidPath> {
        format!("{self}/{below}").parse()
    }

    /// This path with text appended to its last segment (`app.js` and `.gz`).
    ///
    /// # Errors
    /// The result is too long, or the suffix is no part of a segment.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, InvalidPath> {
        if suffix.contains('/') {
            return Err(InvalidPath::Empty);
        }
        format!("{self}{suffix}").parse()
    }

    /// Decodes the path of a URL, segment by segment.
    ///
    /// An encoded slash stays a character of its segment, which no file name
    /// can hold, so it is refused and never becomes a separator.
    ///
    /// # Errors
    /// A broken escape, or what [`RelPath`] refuses after decoding.
    pub fn from_url(path: &[u8]) -> Result<Self, InvalidPath> {
        if path.len() > 3 * MAX_PATH {
            return Err(InvalidPath::TooLong);
        }
        let mut decoded = Vec::with_capacity(path.len());
        let mut rest = path.iter();
        while let Some(&byte) = rest.next() {
            if byte != b'%' {
                decoded.push(byte);
                continue;
            }
            let (Some(high), Some(low)) = (hex_digit(rest.next()), hex_digit(rest.next())) else {
                return Err(InvalidPath::Escape);
            };
            match high << 4 | low {
                b'/' => return Err(InvalidPath::Character),
                byte => decoded.push(byte),
            }
        }
        String::from_utf8(decoded)
            .map_err(|_| InvalidPath::Character)?
            .parse()
    }
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    match *byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl FromStr for RelPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if text.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        if text.len() > MAX_PATH {
            return Err(InvalidPath::TooLong);
        }
        if text.bytes().any(|byte| byte == 0 || byte == b'\\') {
            return Err(InvalidPath::Character);
        }
        let mut depth = 0;
        for segment in text.split('/') {
            depth += 1;
            match segment {
                "" => return Err(InvalidPath::Empty),
                "." | ".." => return Err(InvalidPath::DotSegment),
                _ if segment.len() > MAX_SEGMENT || depth > MAX_DEPTH => {
                    return Err(InvalidPath::TooLong);
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned().into()))
    }
}

impl TryFrom<&str> for RelPath {
    type Error = InvalidPath;

    fn try_from(text: &str) -> Result<Self, InvalidPath> {
        text.parse()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_normal_components_only() {
        for good in [
            "a", "a/b", "a b.txt", "café.js", "..a", "a..", "...", ".env", "a:b", "%2f",
        ] {
            assert!(RelPath::from_str(good).is_ok(), "{good}");
        }
        let long_segment = "a".repeat(256);
        let long_path = "a/".repeat(3000) + "a";
        let deep = "a/".repeat(128) + "a";
        for (bad, why) in [
            ("", InvalidPath::Empty),
            ("/", InvalidPath::Absolute),
            ("/etc/passwd", InvalidPath::Absolute),
            ("a//b", InvalidPath::Empty),
            ("a/", InvalidPath::Empty),
            (".", InvalidPath::DotSegment),
            ("..", InvalidPath::DotSegment),
            ("a/../b", InvalidPath::DotSegment),
            ("a/./b", InvalidPath::DotSegment),
            ("a\\b", InvalidPath::Character),
            ("a\0b", InvalidPath::Character),
            (&long_segment, InvalidPath::TooLong),
            (&long_path, InvalidPath::TooLong),
            (&deep, InvalidPath::TooLong),
        ] {
            assert_eq!(RelPath::from_str(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn decodes_urls_without_making_separators() {
        let decoded = |path: &str| RelPath::from_url(path.as_bytes());
        assert_eq!(decoded("a%20b.txt").unwrap().as_str(), "a b.txt");
        assert_eq!(decoded("caf%C3%A9.js").unwrap().as_str(), "café.js");
        assert_eq!(decoded("100%25").unwrap().as_str(), "100%");
        assert_eq!(decoded("a%2f..%2fb"), Err(InvalidPath::Character));
        assert_eq!(decoded("%2e%2e/x"), Err(InvalidPath::DotSegment));
        assert_eq!(decoded("%5c"), Err(InvalidPath::Character));
        assert_eq!(decoded("%00"), Err(InvalidPath::Character));
        assert_eq!(decoded("%ff%fe"), Err(InvalidPath::Character));
        for broken in ["%", "%2", "%zz", "a%2", "%%20"] {
            assert_eq!(decoded(broken), Err(InvalidPath::Escape), "{broken}");
        }
    }

    #[test]
    fn takes_paths_apart() {
        let path: RelPath = "dist/assets/app.js".parse().unwrap();
        assert_eq!(path.file_name(), "app.js");
        assert_eq!(path.parent().unwrap().as_str(), "dist/assets");
        assert_eq!(
            path.segments().collect::<Vec<_>>(),
            ["dist", "assets", "app.js"]
        );
        assert_eq!(
            path.with_suffix(".gz").unwrap().as_str(),
            "dist/assets/app.js.gz"
        );
        assert!(path.with_suffix("/..").is_err());
        let top: RelPath = "index.html".parse().unwrap();
        assert_eq!(path.split_last().1.as_str(), "app.js");
        assert_eq!(top.split_last(), (None, top.clone()));
        assert_eq!(top.parent(), None);
        assert_eq!(
            path.parent().unwrap().join(&top).unwrap().as_str(),
            "dist/assets/index.html"
        );
    }

    proptest! {
        #[test]
        fn whatever_passes_has_only_normal_components(text in "[a./\\\\%0-9e-]{0,40}|.{0,40}") {
            if let Ok(path) = RelPath::from_str(&text) {
                prop_assert!(path.as_path().components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(path.as_path().components().count(), path.segments().count());
            }
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(path) = RelPath::from_url(&bytes) {
                prop_assert!(path.segments().all(|segment| segment != ".." && !segment.is_empty()));
            }
        }
    }
}
