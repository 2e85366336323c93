//! Paths: one reading each, and none that climbs.

use buntime_core::normalize_entrypoint;
use buntime_fs::RelPath;
use buntime_http::Target;

/// What passes prints as it was read, reads back as the same, and no part of it
/// could be taken for a dot segment, decoded or not.
pub(crate) fn canonical_path(data: &[u8]) {
    let Ok(target) = Target::parse(data) else {
        return;
    };
    assert_eq!(target.to_string().as_bytes(), data, "printed differently");
    assert_eq!(Target::parse(data), Ok(target.clone()), "read differently");
    let path = target.path();
    let text = path.as_str();
    assert!(text.starts_with('/'));
    assert!(!text.contains(['\\', '#', '?', '\0', '\r', '\n', ' ']));
    let (first, second) = path.first_segments();
    let rest = path.rest(first.end);
    assert!(rest.is_empty() || rest.starts_with('/'));
    assert_eq!(second.is_none(), rest.is_empty());
    for segment in [Some(first), second].into_iter().flatten() {
        if let Some(text) = segment.as_str() {
            assert!(!matches!(text, "." | "..") && !text.contains(['/', '\0', '\r', '\n']));
        }
    }
    if let Ok(decoded) = path.decoded_rest(0) {
        let climbs = |segment: &[u8]| matches!(segment, b"." | b"..");
        assert!(!decoded.split(|&byte| byte == b'/').any(climbs));
        assert!(!decoded.iter().any(|byte| matches!(byte, 0 | b'\\')));
    }
    // Making it canonical once more changes nothing.
    if let Some(redirect) = target.canonical_redirect() {
        assert!(redirect.starts_with('/') && !redirect.starts_with("//"));
        let again = Target::parse(redirect.as_bytes()).expect("a redirect is a path");
        assert_eq!(again.canonical_redirect(), None);
    }
}

/// What passes stays below the app's folder, and normalising it again changes nothing.
pub(crate) fn entrypoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(normal) = normalize_entrypoint(text) else {
        return;
    };
    assert!(!normal.is_empty() && !normal.starts_with('/'));
    for segment in normal.split('/') {
        assert!(!matches!(segment, "" | "." | ".."), "{normal:?}");
    }
    assert_eq!(normalize_entrypoint(&normal).as_ref(), Ok(&normal));
    // What the crate that opens files takes or refuses, it never takes differently.
    if let Ok(path) = normal.parse::<RelPath>() {
        assert!(path.as_path().is_relative());
        assert_eq!(path.as_path().to_str(), Some(normal.as_str()));
    }
}
