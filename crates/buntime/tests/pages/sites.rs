//! Pages of static sites.

use std::fs;

use buntime_testkit::TestServer;

use super::{BASE, NAVIGATION, builder, get};

const PAGE: &str =
    "<!doctype html>\n<html>\n<HEAD lang=x>\n<title>x</title>\n</HEAD>\n<body></body>\n</html>\n";
const CHANGED: &str = "<!doctype html>\n<html>\n<HEAD lang=x><base href=\"/app/\">\n<title>x</title>\n</HEAD>\n<body></body>\n</html>\n";

fn site(keys: &str) -> TestServer {
    builder()
        .app(
            "app@1.0.0",
            keys,
            &[
                ("index.html", PAGE),
                ("index.html.gz", "no page at all"),
                ("page-4f9c2ab1d0.html", PAGE),
                ("main-4f9c2ab1d0.js", "export {};"),
                ("own.html", "<head><base href=/x/></head>"),
                (
                    "large.html",
                    &format!("{PAGE}{}", "<p>x</p>".repeat(20_000)),
                ),
            ],
        )
        .start()
}

#[test]
fn a_site_has_its_base_in_every_page_and_in_its_fallback() {
    let server = site("injectBase: true\n");
    for target in [
        "/app/",
        "/app/index.html",
        "/app/deep/route",
        "/app/page-4f9c2ab1d0.html",
    ] {
        let page = server.get(target);
        assert_eq!(
            (page.status, page.text()),
            (200, CHANGED.to_owned()),
            "{target}"
        );
        assert_eq!(
            page.header("content-length"),
            Some(CHANGED.len().to_string())
        );
        assert_eq!(page.header("cache-control").as_deref(), Some("no-cache"));
    }
    let versioned = get(&server, "/app@1/", &[("x-forwarded-prefix", "/tools")]);
    assert!(
        versioned
            .text()
            .contains("<HEAD lang=x><base href=\"/tools/app@1/\">")
    );
    assert_eq!(
        server.get("/app/own.html").text(),
        "<head><base href=/x/></head>"
    );
    let large = server.get("/app/large.html");
    assert!(large.text().starts_with(CHANGED));
    assert_eq!(large.body.len(), CHANGED.len() + 160_000);
}

#[test]
fn a_changed_page_is_sent_whole_and_plain() {
    let server = site("injectBase: true\n");
    let asked = [
        ("accept-encoding", "gzip, br"),
        ("range", "bytes=0-3"),
        NAVIGATION,
    ];
    let page = get(&server, "/app/", &asked);
    assert_eq!((page.status, page.text()), (200, CHANGED.to_owned()));
    for name in ["content-encoding", "accept-ranges", "last-modified", "vary"] {
        assert_eq!(page.header(name), None, "{name}");
    }
    // What is no page is sent as ever.
    let script = get(
        &server,
        "/app/main-4f9c2ab1d0.js",
        &[("range", "bytes=0-5")],
    );
    assert_eq!((script.status, script.text()), (206, "export".to_owned()));
    assert!(script.header("last-modified").is_some());
}

#[test]
fn head_says_what_get_says() {
    let server = site("injectBase: true\n");
    let page = server.get("/app/");
    let head = server.connect().request("HEAD", "/app/", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in [
        "etag",
        "content-type",
        "cache-control",
        "accept-ranges",
        "last-modified",
    ] {
        assert_eq!(head.header(name), page.header(name), "{name}");
    }
    // The length of what HEAD did not make is not said, and never a wrong one.
    assert_eq!(head.header("content-length"), None);
}

#[test]
fn a_tag_names_the_page_and_what_was_put_into_it() {
    let server = site("injectBase: true\nenv:\n  PUBLIC_X: one\n");
    let etag = |headers: &[(&str, &str)]| get(&server, "/app/", headers).header("etag").unwrap();
    let first = etag(&[]);
    let not_modified = get(&server, "/app/", &[("if-none-match", &first)]);
    assert_eq!((not_modified.status, not_modified.body.len()), (304, 0));
    assert_eq!(not_modified.header("etag").as_ref(), Some(&first));
    assert_ne!(etag(&[("x-forwarded-prefix", "/tools")]), first);
    let elsewhere = [
        ("if-none-match", first.as_str()),
        ("x-forwarded-prefix", "/tools"),
    ];
    assert_eq!(get(&server, "/app/", &elsewhere).status, 200);
    // A date knows nothing of the variables.
    let dated = [("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")];
    assert_eq!(get(&server, "/app/", &dated).status, 200);
    let failed = get(&server, "/app/", &[("if-match", "\"other\"")]);
    assert_eq!(failed.status, 412);

    // Only the variables change: the page in the browser's cache is an old one.
    let manifest = server.dir().join("apps/app@1.0.0/manifest.yaml");
    fs::write(manifest, "injectBase: true\nenv:\n  PUBLIC_X: two\n").unwrap();
    server.wait_until("the new variable is in the page", || {
        server.get("/app/").text().contains("\"PUBLIC_X\":\"two\"")
    });
    let page = get(&server, "/app/", &[("if-none-match", &first)]);
    assert_eq!(page.status, 200);
    assert_ne!(page.header("etag").unwrap(), first);
}

#[test]
fn a_site_that_asks_for_nothing_is_sent_as_it_lies_there() {
    let server = site("env:\n  GREETING: hello\n");
    let page = server.get("/app/");
    assert_eq!(page.text(), PAGE);
    assert_eq!(page.header("accept-ranges").as_deref(), Some("bytes"));
    assert!(page.header("last-modified").is_some());
    let packed = get(&server, "/app/", &[("accept-encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding").as_deref(), Some("gzip"));
    assert!(!page.text().contains(BASE));
}
