//! The text that is inserted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use buntime_core::{Manifest, public_env};
use bytes::Bytes;

/// What an app asks the server to put into its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// Whether pages get a `<base href>`.
    base: bool,
    /// The script that sets `window.__env__`; empty without public variables.
    script: Bytes,
    /// Of the script, so that a page's entity tag need not hash it each time.
    script_hash: u64,
}

impl PageSettings {
    /// What the manifest and the filtered variables of an app ask for; `None` for
    /// nothing, and then its pages are not looked at.
    #[must_use]
    pub fn of(manifest: &Manifest, env: &BTreeMap<String, String>) -> Option<Self> {
        let public = public_env(env, &manifest.env_prefix);
        let script = if public.is_empty() {
            String::new()
        } else {
            env_script(&public)
        };
        (manifest.inject_base || !script.is_empty()).then(|| Self {
            base: manifest.inject_base,
            script_hash: hash_of(script.as_bytes()),
            script: script.into(),
        })
    }

    /// What goes into a page of the app that is served at `base` (`/shop`, or
    /// nothing for the homepage) behind a proxy that serves it below `prefix`.
    pub(crate) fn insertion(&self, prefix: &str, base: &str) -> Insertion {
        let base = if self.base {
            base_tag(prefix, base).unwrap_or_default()
        } else {
            String::new()
        };
        Insertion {
            hash: hash_of(base.as_bytes()) ^ self.script_hash.rotate_left(1),
            base: base.into(),
            script: self.script.clone(),
        }
    }
}

/// What goes into one page. ASCII only, so that it reads the same in every
/// charset that pages are rewritten in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    base: Bytes,
    script: Bytes,
    hash: u64,
}

impl Insertion {
    /// For a page without a base of its own.
    pub(crate) fn whole(&self) -> [Bytes; 2] {
        [self.base.clone(), self.script.clone()]
    }

    /// For a page that has its own.
    pub(super) fn script(&self) -> Bytes {
        self.script.clone()
    }

    /// Whether it matters if a page has a base of its own.
    pub(super) fn has_base(&self) -> bool {
        !self.base.is_empty()
    }

    /// For entity tags: another insertion makes another page.
    pub(crate) fn variant(&self) -> String {
        format!("{:x}", self.hash)
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Whether a proxy's prefix may stand in a page: `^(/[A-Za-z0-9._~@^-]+)*$`. In
/// such a path nothing needs an escape, and it cannot begin with `//`.
pub(crate) fn is_plain_prefix(prefix: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~@^-".contains(byte);
    match prefix.split_first() {
        None => true,
        Some((b'/', rest)) => rest
            .split(|&byte| byte == b'/')
            .all(|segment| !segment.is_empty() && segment.iter().all(plain)),
        Some(_) => false,
    }
}

/// `<base href="/shop/">`. `None` where the path would name another host
/// (`//host/`, which browsers also read in `/\host/`) or is no path at all.
fn base_tag(prefix: &str, base: &str) -> Option<String> {
    let href = format!("{prefix}{base}/");
    let second = href.as_bytes().get(1);
    let safe = href.starts_with('/')
        && !matches!(second, Some(b'/' | b'\\'))
        && href.bytes().all(|byte| byte.is_ascii_graphic());
    safe.then(|| format!("<base href=\"{}\">", escape(&href)))
}

/// Escapes as the security page documents it, the backslash too.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' => escaped.push_str("\\\\"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// The script that sets `window.__env__`. Its JSON holds no `<`, so that neither
/// `</script` nor `<!--` can stand in it, and nothing but ASCII: U+2028 and U+2029
/// end lines in older scripts, and the page's charset is not known for sure.
fn env_script(variables: &BTreeMap<String, String>) -> String {
    // A map of texts has no reason to fail.
    let json = serde_json::to_string(variables).unwrap_or_default();
    let mut script = String::with_capacity(json.len() + 48);
    script.push_str("<script>window.__env__=");
    for char in json.chars() {
        match char {
            '<' | '>' | '&' => push_escape(&mut script, char as u16),
            char if char.is_ascii() => script.push(char),
            char => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    push_escape(&mut script, *unit);
                }
            }
        }
    }
    script.push_str("</script>");
    script
}

fn push_escape(script: &mut String, unit: u16) {
    // Writing to a string cannot fail.
    let _ = write!(script, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn x2_a_base_is_escaped_as_documented() {
        assert_eq!(
            base_tag("", r#"/a\b'c&d"e<f>g"#).as_deref(),
            Some(r#"<base href="/a\\b&#39;c&amp;d&quot;e&lt;f&gt;g/">"#)
        );
        assert_eq!(
            base_tag("/proxy", "/shop@^1.0.0").as_deref(),
            Some(r#"<base href="/proxy/shop@^1.0.0/">"#)
        );
        assert_eq!(base_tag("", "").as_deref(), Some(r#"<base href="/">"#));
    }

    #[test]
    fn x2_a_base_that_names_another_host_is_not_made() {
        for base in [
            "//evil.example",
            "/\\evil.example",
            "evil",
            "/a b",
            "/a\nb",
            "/é",
        ] {
            assert_eq!(base_tag("", base), None, "{base:?}");
        }
        assert_eq!(base_tag("/", "/evil.example"), None);
    }

    #[test]
    fn x1_a_prefix_is_a_plain_path_or_nothing() {
        for plain in ["", "/a", "/a/b", "/a.b~c@d^e-f_g", "/@acme/x@^1.0.0"] {
            assert!(is_plain_prefix(plain.as_bytes()), "{plain:?}");
        }
        for other in [
            "/\"><script>",
            "/",
            "//",
            "//a",
            "/a/",
            "/a//b",
            "a",
            "a/b",
            "/a b",
            "/a%20b",
            "/a\\b",
            "/\\a",
            "/a'b",
            "/a&b",
            "/a?b",
            "/a#b",
            "/a:b",
            "/a, /b",
            "/é",
            "\n/a",
            "/a\n",
        ] {
            assert!(!is_plain_prefix(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn a_script_cannot_be_left() {
        let script = env_script(&env(
            "PUBLIC_X",
            "</script><!--<script>&\u{2028}\u{2029}é😀\"\\",
        ));
        assert_eq!(
            script,
            "<script>window.__env__={\"PUBLIC_X\":\"\\u003c/script\\u003e\\u003c!--\\u003cscript\\u003e\
             \\u0026\\u2028\\u2029\\u00e9\\ud83d\\ude00\\\"\\\\\"}</script>"
        );
    }

    #[test]
    fn only_what_is_asked_for_is_inserted() {
        let mut manifest = Manifest::default();
        assert_eq!(PageSettings::of(&manifest, &env("GREETING", "x")), None);
        let with_env = PageSettings::of(&manifest, &env("PUBLIC_X", "x")).unwrap();
        let insertion = with_env.insertion("", "/shop");
        assert!(!insertion.has_base());
        assert!(
            insertion
                .script()
                .ends_with(b"{\"PUBLIC_X\":\"x\"}</script>")
        );
        manifest.inject_base = true;
        let with_base = PageSettings::of(&manifest, &BTreeMap::new()).unwrap();
        let insertion = with_base.insertion("", "/shop");
        assert_eq!(insertion.whole(), [&b"<base href=\"/shop/\">"[..], b""]);
        assert_ne!(
            insertion.variant(),
            with_base.insertion("/p", "/shop").variant()
        );
    }

    proptest! {
        /// Whatever the value, the script holds its JSON and nothing that ends it.
        #[test]
        fn a_script_holds_its_value(value in any::<String>()) {
            let script = env_script(&env("PUBLIC_X", &value));
            prop_assert!(script.is_ascii());
            let json = script.strip_prefix("<script>window.__env__=").unwrap();
            let json = json.strip_suffix("</script>").unwrap();
            prop_assert!(!json.contains(['<', '>', '&']));
            let read: BTreeMap<String, String> = serde_json::from_str(json).unwrap();
            prop_assert_eq!(read, env("PUBLIC_X", &value));
        }

        /// A tag is one tag: nothing in it ends the value or the tag.
        #[test]
        fn a_base_is_one_tag(prefix in "(/[ -~é]{0,8}){0,2}", base in "(/[ -~]{0,8}){0,3}") {
            if let Some(tag) = base_tag(&prefix, &base) {
                let href = tag.strip_prefix("<base href=\"/").unwrap();
                let href = href.strip_suffix("/\">").or(href.strip_suffix("\">")).unwrap();
                prop_assert!(!href.contains(['"', '\'', '<', '>']));
                prop_assert!(!href.starts_with(['/', '\\']));
            }
        }
    }
}
