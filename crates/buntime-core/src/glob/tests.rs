use proptest::prelude::*;

use super::*;

fn matches(glob: &str, path: &str) -> bool {
    glob.parse::<RouteGlob>().unwrap().matches(path)
}

#[test]
fn one_star_is_one_segment() {
    assert!(matches("/a/*", "/a/b"));
    assert!(!matches("/a/*", "/a"));
    assert!(!matches("/a/*", "/a/"));
    assert!(!matches("/a/*", "/a/b/c"));
    assert!(matches("/*/c", "/a/c"));
    assert!(!matches("/*/c", "/a/b/c"));
    assert!(matches("/*.js", "/x.js"));
    assert!(matches("/*.js", "/.js"));
    assert!(!matches("/*.js", "/a/x.js"));
    assert!(!matches("/ab*ba", "/aba"));
    assert!(matches("/ab*ba", "/abba"));
}

#[test]
fn two_stars_are_any_number_of_segments() {
    for path in ["/a", "/a/", "/a/b", "/a/b/c"] {
        assert!(matches("/a/**", path), "{path}");
    }
    for path in ["/", "/ab", "/b/a", "/A/b", "a/b", ""] {
        assert!(!matches("/a/**", path), "{path}");
    }
    assert!(matches("/**", "/"));
    assert!(matches("/**/x", "/x"));
    assert!(matches("/**/x", "/a/b/x"));
    assert!(!matches("/**/x", "/a/b/x/c"));
    assert!(matches("/a/**/b/**/c", "/a/b/b/x/c"));
    assert!(!matches("/a/**/b/**/c", "/a/x/c"));
    assert!(matches("/**/a/*/b", "/a/a/x/b"));
}

#[test]
fn literals_are_exact() {
    assert!(matches("/a", "/a"));
    assert!(!matches("/a", "/a/"));
    assert!(matches("/a/", "/a/"));
    assert!(matches("/", "/"));
    assert!(!matches("/", "/a"));
    assert!(matches("/a%2Fb", "/a%2Fb"));
    assert!(!matches("/a%2Fb", "/a/b"));
}

#[test]
fn refuses_other_patterns() {
    for (text, error) in [
        ("", GlobError::NotAbsolute),
        ("a/**", GlobError::NotAbsolute),
        ("**", GlobError::NotAbsolute),
        ("/a**", GlobError::Stars),
        ("/***", GlobError::Stars),
        ("/*a*", GlobError::Stars),
        ("/a//b", GlobError::Malformed),
        ("/../a", GlobError::Malformed),
        ("/a/.", GlobError::Malformed),
        ("/a?b", GlobError::Malformed),
        ("/a#b", GlobError::Malformed),
        ("/a\\b", GlobError::Malformed),
        ("/a\nb", GlobError::Malformed),
    ] {
        assert_eq!(text.parse::<RouteGlob>(), Err(error), "{text}");
    }
    assert_eq!(
        format!("/{}", "a".repeat(256)).parse::<RouteGlob>(),
        Err(GlobError::TooLong)
    );
    assert_eq!(
        "/a".repeat(33).parse::<RouteGlob>(),
        Err(GlobError::TooLong)
    );
}

#[test]
fn methods_select_globs() {
    let mut globs = RouteGlobs::default();
    assert!(globs.is_empty());
    assert!(globs.push("GET", "/read".parse().unwrap()));
    assert!(globs.push("ALL", "/open/**".parse().unwrap()));
    assert!(!globs.push("FETCH", "/x".parse().unwrap()));
    for (method, path, fits) in [
        ("GET", "/read", true),
        ("HEAD", "/read", true),
        ("POST", "/read", false),
        ("DELETE", "/open/x", true),
        ("GET", "/closed", false),
    ] {
        assert_eq!(globs.matches(method, path), fits, "{method} {path}");
    }
}

/// The definition, slow and plain: tries every length for each `**`.
fn model(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|taken| model(rest, &path[taken..])),
        [first, rest @ ..] => path.split_first().is_some_and(|(segment, tail)| {
            let fits = match first.split_once('*') {
                None => first == segment,
                Some((prefix, suffix)) => {
                    let rest = segment.strip_prefix(prefix);
                    !segment.is_empty() && rest.is_some_and(|rest| rest.ends_with(suffix))
                }
            };
            fits && model(rest, tail)
        }),
    }
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        pattern in prop::collection::vec(prop_oneof![Just("**"), Just("*"), Just("a"), Just("b"), Just("a*"), Just("*b")], 1..6),
        path in prop::collection::vec("[ab]{0,2}", 1..8),
    ) {
        let glob: RouteGlob = format!("/{}", pattern.join("/")).parse().unwrap();
        let text = format!("/{}", path.join("/"));
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        prop_assert_eq!(glob.matches(&text), model(&pattern, &path), "{} {}", glob, text);
    }

    #[test]
    fn never_panics(glob in "/?[a*/.é]{0,20}", path in "\\PC{0,40}") {
        if let Ok(glob) = glob.parse::<RouteGlob>() {
            let _ = glob.matches(&path);
        }
    }
}

#[test]
fn hard_patterns_stay_cheap() {
    // Where a backtracking matcher would need longer than anybody waits.
    let glob: RouteGlob = format!("{}/x", "/**/a".repeat(14)).parse().unwrap();
    assert!(!glob.matches(&"/a".repeat(8_000)));
}
