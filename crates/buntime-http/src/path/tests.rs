use super::*;

fn target(text: &str) -> Target {
    Target::parse(text.as_bytes()).unwrap_or_else(|BadPath| panic!("{text:?} is refused"))
}

fn first(text: &str) -> (String, usize) {
    let target = target(text);
    let (first, _) = target.path().first_segments();
    (first.as_str().unwrap_or("<none>").to_owned(), first.end)
}

#[test]
fn keeps_what_was_sent() {
    for (text, path, query) in [
        ("/", "/", None),
        ("/echo/a%2f..%2fb", "/echo/a%2f..%2fb", None),
        ("/a/?", "/a/", Some("")),
        ("/a?b=/../%zz?c\\d", "/a", Some("b=/../%zz?c\\d")),
        ("/echo@^1.0.0/x", "/echo@^1.0.0/x", None),
        ("/spa/caf%C3%A9.js", "/spa/caf%C3%A9.js", None),
        ("/a..b/...", "/a..b/...", None),
        ("/<script>\"'|{}`", "/<script>\"'|{}`", None),
        ("/a;x=1/%5c%01", "/a;x=1/%5c%01", None),
        ("/%252e%252e/%2500", "/%252e%252e/%2500", None),
    ] {
        let target = target(text);
        assert_eq!(target.path().as_str(), path);
        assert_eq!(target.query(), query.map(str::as_bytes));
        assert_eq!(target.to_string(), text);
    }
}

#[test]
fn refuses_what_is_ambiguous() {
    for text in [
        "",
        "a",
        "*",
        "?x",
        "http://h/",
        "/echo/%00",
        "/echo/%0d%0aX:1",
        "/%0D",
        "/%0a",
        "/echo/%zz",
        "/echo/%",
        "/%2",
        "/%2g",
        "/%%32",
        "/a\\b",
        "/a#b",
        "/a?b#c",
        "/a b",
        "/a?b c",
        "/a\tb",
        "/a\r",
        "/\0",
        "/a?\0",
        "/\x7f",
        "/caf\u{e9}",
        "/a?\u{e9}",
        "/.",
        "/..",
        "/./a",
        "/x/../api/keys",
        "/x/..",
        "/x/.",
        "/%2e",
        "/%2e%2e/",
        "/a/.%2E/b",
        "/a/%2e./b",
        "/a/%2E%2e",
    ] {
        assert_eq!(Target::parse(text.as_bytes()), Err(BadPath), "{text:?}");
    }
    assert_eq!(Target::parse(b"/\xff\xfe"), Err(BadPath));
    assert_eq!(Target::parse(b"/?\xff"), Err(BadPath));
}

#[test]
fn empty_segments_redirect_to_one_slash() {
    for (text, redirect) in [
        ("//echo/admin", "/echo/admin"),
        ("//evil.example", "/evil.example"),
        ("///", "/"),
        ("/a//b///c//", "/a/b/c/"),
        ("/a//?x=//", "/a/?x=//"),
    ] {
        let target = target(text);
        assert!(target.has_empty_segments());
        assert_eq!(target.canonical_redirect().as_deref(), Some(redirect));
    }
    for text in ["/", "/a/", "/a/b?x=//", "/a%2f%2fb"] {
        let target = target(text);
        assert!(!target.has_empty_segments(), "{text}");
        assert_eq!(target.canonical_redirect(), None);
    }
}

#[test]
fn first_segments_are_decoded_once() {
    assert_eq!(first("/"), (String::new(), 1));
    assert_eq!(first("/api"), ("api".into(), 4));
    assert_eq!(first("/api/keys"), ("api".into(), 4));
    assert_eq!(first("/%61pi/keys"), ("api".into(), 6));
    assert_eq!(first("/API/keys"), ("API".into(), 4));
    assert_eq!(first("/api;x/keys"), ("api;x".into(), 6));
    assert_eq!(first("/%2561pi/"), ("%61pi".into(), 8));
    assert_eq!(first("/api%2fkeys"), ("<none>".into(), 11));
    assert_eq!(first("/api%2Fkeys/"), ("<none>".into(), 11));
    assert_eq!(first("/%ff/"), ("<none>".into(), 4));
}

#[test]
fn second_segments_follow() {
    let second = |text: &str| {
        let target = target(text);
        let (_, second) = target.path().first_segments();
        second.map(|second| {
            let rest = target.path().rest(second.end).to_owned();
            (second.as_str().unwrap_or("<none>").to_owned(), rest)
        })
    };
    assert_eq!(second("/"), None);
    assert_eq!(second("/a"), None);
    assert_eq!(second("/a/"), Some((String::new(), String::new())));
    assert_eq!(second("/@a/x"), Some(("x".into(), String::new())));
    assert_eq!(
        second("/%40a/%78/y%20/"),
        Some(("x".into(), "/y%20/".into()))
    );
    assert_eq!(second("/@a/x%2fy/z"), Some(("<none>".into(), "/z".into())));
}

#[test]
fn rest_is_decoded_for_files_only_without_hidden_separators() {
    let rest = |text: &str| {
        let target = target(text);
        let (first, _) = target.path().first_segments();
        target.path().decoded_rest(first.end).map(Cow::into_owned)
    };
    assert_eq!(rest("/spa"), Ok(b"".to_vec()));
    assert_eq!(rest("/spa/"), Ok(b"/".to_vec()));
    assert_eq!(rest("/spa/a%20b.txt"), Ok(b"/a b.txt".to_vec()));
    assert_eq!(
        rest("/spa/caf%C3%A9.js"),
        Ok("/café.js".as_bytes().to_vec())
    );
    assert_eq!(rest("/spa/%ff"), Ok(b"/\xff".to_vec()));
    assert_eq!(rest("/spa/%252f"), Ok(b"/%2f".to_vec()));
    assert_eq!(rest("/spa/a%2fb"), Err(BadPath));
    assert_eq!(rest("/spa/..%2f..%2fetc"), Err(BadPath));
    assert_eq!(rest("/spa/a%5cb"), Err(BadPath));
}

#[test]
fn asterisk_is_the_server() {
    let target = Target::asterisk();
    assert!(target.is_asterisk());
    assert_eq!(target.path().as_str(), "/");
    assert_eq!(target.to_string(), "*");
    assert!(!super::tests::target("/").is_asterisk());
}

#[test]
fn segments_are_decoded_one_by_one() {
    for (path, expected) in [
        ("/", &[""][..]),
        ("/a", &["a"]),
        ("/a/", &["a", ""]),
        ("/%61/b%2fc/d", &["a", "b/c", "d"]),
    ] {
        let target = Target::parse(path.as_bytes()).unwrap();
        let segments = target.path().segments();
        let decoded: Vec<_> = segments
            .map(|segment| String::from_utf8(segment.decoded.into_owned()).unwrap())
            .collect();
        assert_eq!(decoded, expected, "{path}");
    }
}
