//! Where a plugin is mounted (contract §5, Reserved paths).

use std::fmt;
use std::str::FromStr;

use crate::diagnostic::one_line;

/// Paths that belong to the server, whatever is installed and wherever
/// `RUNTIME_API_PREFIX` puts the API.
const RESERVED: [&str; 3] = ["/api", "/health", "/.well-known"];

/// Why a text is no base of a plugin. Reads on after the plugin's name, as in
/// `Plugin "x" has invalid base path …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginBaseError {
    /// It is one of the server's own paths.
    #[error(
        "cannot use reserved path \"{base}\". Reserved paths: {}{}{}",
        RESERVED.join(", "),
        if also.is_some() { ", " } else { "" },
        also.as_deref().unwrap_or_default()
    )]
    Reserved {
        /// The path.
        base: Box<str>,
        /// What is reserved by configuration, besides what always is.
        also: Option<Box<str>>,
    },
    /// It is not one segment of plain characters.
    #[error("has invalid base path \"{base}\". Base must match ^/[a-zA-Z0-9_-]+$")]
    Invalid {
        /// The text for a message: cut, without control characters.
        base: Box<str>,
    },
}

/// The base of a plugin's routes, such as `/auth`.
///
/// Invariant: matches `^/[a-zA-Z0-9_-]+$` and is not `/api`, `/health` or
/// `/.well-known`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginBase(Box<str>);

impl PluginBase {
    /// The base with its slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one path segment that it is, without the slash.
    #[must_use]
    pub fn segment(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or_default()
    }

    /// The base, unless it is `also`: the first segment, with its slash, of a
    /// path that the configuration gave to the server.
    ///
    /// # Errors
    /// [`PluginBaseError::Reserved`] if it is.
    pub fn unless_reserved(self, also: &str) -> Result<Self, PluginBaseError> {
        if *self.0 == *also {
            return Err(PluginBaseError::Reserved {
                base: self.0,
                also: Some(also.into()),
            });
        }
        Ok(self)
    }
}

impl FromStr for PluginBase {
    type Err = PluginBaseError;

    fn from_str(text: &str) -> Result<Self, PluginBaseError> {
        if RESERVED.contains(&text) {
            return Err(PluginBaseError::Reserved {
                base: text.into(),
                also: None,
            });
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match text.strip_prefix('/') {
            Some(segment) if !segment.is_empty() && segment.bytes().all(plain) => {
                Ok(Self(text.into()))
            }
            _ => Err(PluginBaseError::Invalid {
                base: one_line(text, '"').into(),
            }),
        }
    }
}

impl fmt::Display for PluginBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<PluginBase>().unwrap_err().to_string()
    }

    #[test]
    fn g5_reserved_paths_are_named() {
        for base in ["/api", "/health", "/.well-known"] {
            assert_eq!(
                refusal(base),
                format!(
                    "cannot use reserved path \"{base}\". \
                     Reserved paths: /api, /health, /.well-known"
                )
            );
        }
        let base: PluginBase = "/_".parse().unwrap();
        assert_eq!(
            base.clone().unless_reserved("/_").unwrap_err().to_string(),
            "cannot use reserved path \"/_\". Reserved paths: /api, /health, /.well-known, /_"
        );
        assert_eq!(base.clone().unless_reserved("/admin"), Ok(base));
    }

    #[test]
    fn g6_other_bases_name_the_pattern() {
        for base in [
            "/a/b",
            "/plugins/my-plugin",
            "/my plugin",
            "/my-plugin/",
            "my-plugin",
            "x",
            "",
            "/",
            "/é",
            "/..",
            "/.",
            "//a",
            "/a.b",
            "/a%2f",
            "/@a",
            "/a?b",
            "/api/",
            "/.WELL-KNOWN",
        ] {
            assert_eq!(
                refusal(base),
                format!("has invalid base path \"{base}\". Base must match ^/[a-zA-Z0-9_-]+$")
            );
        }
        assert!(refusal("/a\n\x1b[31m\"b").contains("\"/a\\n\\u{1b}[31m\\\"b\""));
        assert!(refusal(&"/é".repeat(100_000)).len() < 300);
    }

    #[test]
    fn plain_segments_pass() {
        for base in [
            "/a",
            "/my-plugin",
            "/A_b-9",
            "/-",
            "/_",
            "/0",
            "/API",
            "/apis",
            "/healthy",
        ] {
            let parsed: PluginBase = base.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.segment()), (base, &base[1..]));
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_is_one_plain_segment(text in "/?[a-zA-Z0-9_./ -]{0,12}|.{0,12}") {
            if let Ok(base) = text.parse::<PluginBase>() {
                prop_assert_eq!(base.as_str(), &text);
                prop_assert!(!RESERVED.contains(&base.as_str()));
                prop_assert!(!base.segment().is_empty());
                prop_assert!(base.segment().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            }
        }
    }
}
