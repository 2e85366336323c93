//! Which names are served, which are a navigation, which never change.

/// Whether `*.map` files are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceMaps {
    /// They count as missing: they hold the sources.
    #[default]
    Hidden,
    /// They are served like any file.
    Served,
}

/// Files that describe the app, not its pages. Compared without case: the
/// folder may lie on a file system that ignores it.
const PRIVATE_FILES: &[&str] = &[
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "bunfig.toml",
];

/// A manifest under these names may hold variables; so may a copy of it
/// (`manifest.yaml.bak`).
const PRIVATE_PREFIXES: &[&str] = &["manifest.yaml", "manifest.yml"];

/// Folders whose content a build tool names by hash.
const IMMUTABLE_FOLDERS: &[&str] = &["_app/immutable/", "_next/static/"];

/// Whether a path may be served at all: no dot files or folders, no
/// `node_modules`, no manifests, no lockfiles, nor any of these precompressed.
pub(super) fn is_public(path: &str, source_maps: SourceMaps) -> bool {
    path.split('/').all(|segment| {
        let mut name = segment;
        for suffix in [".br", ".zst", ".gz"] {
            if ends_with_ignoring_case(name, suffix) {
                name = &name[..name.len() - suffix.len()];
            }
        }
        !(segment.starts_with('.')
            || name.eq_ignore_ascii_case("node_modules")
            || PRIVATE_FILES
                .iter()
                .any(|private| name.eq_ignore_ascii_case(private))
            || PRIVATE_PREFIXES
                .iter()
                .any(|prefix| starts_with_ignoring_case(name, prefix))
            || (source_maps == SourceMaps::Hidden && ends_with_ignoring_case(name, ".map")))
    })
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    let (text, prefix) = (text.as_bytes(), prefix.as_bytes());
    text.len() >= prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// Whether a missing path is a page of the app's own router: its last segment
/// has no extension, or the client asks for HTML.
pub(super) fn is_navigation(path: &[u8], accept: Option<&[u8]>) -> bool {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    !last.contains(&b'.') || accept.is_some_and(accepts_html)
}

fn accepts_html(accept: &[u8]) -> bool {
    accept.split(|&byte| byte == b',').any(|item| {
        let kind = item
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or(item)
            .trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html")
            || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

/// Whether the name tells that the content never changes under it, as build
/// tools name their output: `index-BX2k3jd8.js`, `main.3f2a9c1b.css`.
///
/// A wrong yes would freeze a file in browsers for a year, a wrong no costs a
/// 304; so words with a number (`chapter-version2.js`, `photo-20240101.jpg`,
/// `logo-DarkMode.svg`) must not pass, and some real hashes do not either.
pub(super) fn is_immutable(path: &str) -> bool {
    let (folder, name) = path
        .rsplit_once('/')
        .map_or(("", path), |(folder, name)| (folder, name));
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    // Pages have stable addresses whatever they are called.
    if extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm") {
        return false;
    }
    let folder = format!("/{folder}/");
    if IMMUTABLE_FOLDERS
        .iter()
        .any(|marker| folder.contains(&format!("/{marker}")))
    {
        return true;
    }
    // The hash itself may hold a dash or an underscore, so its place is found
    // from the end first.
    let short = stem.len().checked_sub(9).and_then(|at| stem.get(at..));
    let short = short.and_then(|tail| tail.strip_prefix(['-', '.']));
    if short.is_some_and(looks_random) {
        return true;
    }
    stem.rsplit_once(['-', '.'])
        .is_some_and(|(_, token)| looks_like_hex_digest(token))
}

/// Eight characters of a base-64 or base-36 hash: letters and digits that
/// change places too often for a word with a number.
fn looks_random(token: &str) -> bool {
    fn class(byte: u8) -> u8 {
        match byte {
            b'a'..=b'z' => 0,
            b'A'..=b'Z' => 1,
            b'0'..=b'9' => 2,
            _ => 3,
        }
    }
    let bytes = token.as_bytes();
    if !bytes
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return false;
    }
    if looks_like_hex_digest(token) {
        return true;
    }
    let changes = bytes
        .windows(2)
        .filter(|pair| class(pair[0]) != class(pair[1]))
        .count();
    bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_alphabetic)
        && changes >= 4
}

/// Eight or more hex digits in one case, with a letter and a digit among them.
fn looks_like_hex_digest(token: &str) -> bool {
    let bytes = token.as_bytes();
    (8..=64).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_names_are_refused_in_every_spelling() {
        for private in [
            ".env",
            ".git/config",
            "a/.hidden/b.txt",
            ".well-known/x",
            "manifest.yaml",
            "Manifest.YAML",
            "manifest.yml",
            "manifest.yaml.bak",
            "manifest.yaml~",
            "sub/package.json",
            "PACKAGE.JSON",
            "package.json.gz",
            "package.json.br",
            "bun.lock",
            "bun.lockb",
            "node_modules/hono/index.js",
            "app.js.map",
            "app.js.map.zst",
        ] {
            assert!(!is_public(private, SourceMaps::Hidden), "{private}");
        }
        for public in [
            "index.html",
            "manifest.json",
            "site.webmanifest",
            "package.jsonl",
            "map.js",
            "a.b/c.txt",
            "é.gz",
        ] {
            assert!(is_public(public, SourceMaps::Hidden), "{public}");
        }
        assert!(is_public("app.js.map", SourceMaps::Served));
        assert!(!is_public(".app.js.map", SourceMaps::Served));
    }

    #[test]
    fn navigations_have_no_extension_or_ask_for_html() {
        let browser: &[u8] = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(is_navigation(b"users/7", None));
        assert!(is_navigation(b"v1.2/users", Some(b"*/*")));
        assert!(is_navigation(b"missing.js", Some(browser)));
        assert!(is_navigation(b"folder/", None));
        assert!(!is_navigation(b"missing.js", Some(b"*/*")));
        assert!(!is_navigation(
            b"missing.png",
            Some(b"image/avif,image/webp")
        ));
        assert!(!is_navigation(b"missing.js", None));
    }

    #[test]
    fn hashed_names_are_known_and_words_are_not() {
        for hashed in [
            "assets/index-BX2k3jd8.js",
            "assets/index-B-2k3j_8.css",
            "static/js/main.3f2a9c1b.js",
            "main.0d1f2e3c4b5a69788796.chunk.css",
            "chunk-1gtgm0r8.js",
            "_app/immutable/entry/start.js",
            "_next/static/abc/_buildManifest.js",
        ] {
            let expected = !hashed.ends_with(".chunk.css");
            assert_eq!(is_immutable(hashed), expected, "{hashed}");
        }
        for plain in [
            "app.js",
            "index-BX2k3jd8.html",
            "chapter-version2.js",
            "photo-20240101.jpg",
            "logo-DarkMode.svg",
            "photo-iPhone14.jpg",
            "image-1920x1080.png",
            "my-component.js",
            "logo-Original.png",
            "README",
            "a.12345678.js",
            "é-ééééabcd.js",
            "my_next/static/x.js",
        ] {
            assert!(!is_immutable(plain), "{plain}");
        }
    }
}
