//! Static sites over HTTP: what a browser, a cache and a download manager rely on
//! (RFC 9110 sections 8.8, 13 and 14).

use std::collections::BTreeMap;

use buntime_testkit::{Connection, Response, TestServer};

use crate::support::{BUNTIME, failed, sound};

const PAGE: &str = "<!doctype html><title>page</title>";
const SCRIPT: &str = "console.log('plain')";
const YEAR: &str = "public, max-age=31536000, immutable";
const NAVIGATES: (&str, &str) = ("Accept", "text/html");

/// More than the server keeps in memory of one file.
fn large() -> String {
    (0..300_000_u32)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect()
}

fn site() -> TestServer {
    TestServer::builder(BUNTIME)
        .app(
            "site@1.0.0",
            "entrypoint: index.html\n",
            &[
                ("index.html", PAGE),
                ("app.js", SCRIPT),
                ("app.js.br", "br"),
                ("app.js.gz", "as gzip"),
                ("assets/app-BX2k3jd8.css", "a{}"),
                ("large.txt", &large()),
            ],
        )
        .start()
}

/// Asks, and checks what holds for every answer of a site.
fn ask(client: &mut Connection, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let response = client.request(method, path, headers, b"");
    sound(&response);
    response
}

fn header(response: &Response, name: &str) -> String {
    response
        .header(name)
        .unwrap_or_else(|| panic!("no {name}: {response:?}"))
}

#[test]
fn head_says_what_get_would_send() {
    let server = site();
    let mut client = server.connect();
    for path in ["/site/", "/site/app.js", "/site/large.txt"] {
        let fields = |response: &Response| -> BTreeMap<&str, Option<String>> {
            [
                "content-type",
                "content-length",
                "etag",
                "last-modified",
                "accept-ranges",
                "cache-control",
                "vary",
            ]
            .map(|name| (name, response.header(name)))
            .into()
        };
        let get = ask(&mut client, "GET", path, &[]);
        let head = ask(&mut client, "HEAD", path, &[]);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert_eq!(fields(&get), fields(&head), "{path}");
        assert!(head.body.is_empty());
        assert_eq!(header(&get, "content-length"), get.body.len().to_string());
    }
}

#[test]
fn what_a_cache_has_is_not_sent_again() {
    let server = site();
    let mut client = server.connect();
    let first = ask(&mut client, "GET", "/site/app.js", &[]);
    let (etag, modified) = (header(&first, "etag"), header(&first, "last-modified"));
    assert_eq!(header(&first, "cache-control"), "no-cache");
    let several = format!("\"other\", W/{etag}");
    for (name, value) in [
        ("If-None-Match", etag.as_str()),
        ("If-None-Match", "*"),
        ("If-None-Match", &several),
        ("If-Modified-Since", &modified),
    ] {
        for method in ["GET", "HEAD"] {
            let response = ask(&mut client, method, "/site/app.js", &[(name, value)]);
            assert_eq!(response.status, 304, "{method} {name}: {value}");
            assert!(response.body.is_empty());
            assert_eq!(header(&response, "etag"), etag);
            assert_eq!(response.header("content-type"), None);
        }
    }
    for (name, value, status) in [
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
        ("If-Match", "\"other\"", 412),
        ("If-Match", etag.as_str(), 200),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ] {
        let response = ask(&mut client, "GET", "/site/app.js", &[(name, value)]);
        assert_eq!(response.status, status, "{name}: {value}");
    }
    // The tag decides where both are sent (RFC 9110 section 13.2.2).
    let both = [
        ("If-None-Match", "\"other\""),
        ("If-Modified-Since", modified.as_str()),
    ];
    assert_eq!(ask(&mut client, "GET", "/site/app.js", &both).status, 200);
}

#[test]
fn a_changed_file_has_another_tag() {
    let server = site();
    let mut client = server.connect();
    let etag = header(&ask(&mut client, "GET", "/site/app.js", &[]), "etag");
    let file = server.dir().join("apps/site@1.0.0/app.js");
    std::fs::write(file, "console.log('changed')").unwrap();
    server.wait_until("the change is served", || {
        let response = server.get("/site/app.js");
        response.text() == "console.log('changed')" && header(&response, "etag") != etag
    });
    let old = [("If-None-Match", etag.as_str())];
    assert_eq!(ask(&mut client, "GET", "/site/app.js", &old).status, 200);
}

#[test]
fn parts_of_a_file_can_be_asked_for() {
    let server = site();
    let mut client = server.connect();
    let whole = large();
    let size = whole.len();
    for path in ["/site/large.txt"] {
        let first = ask(&mut client, "GET", path, &[]);
        assert_eq!(header(&first, "accept-ranges"), "bytes");
        let etag = header(&first, "etag");
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=100-70099", 100..70_100),
            ("bytes=-10", size - 10..size),
            ("bytes=299990-", 299_990..size),
            ("bytes=299990-999999999", 299_990..size),
        ] {
            let response = ask(
                &mut client,
                "GET",
                path,
                &[("Range", range), ("If-Range", &etag)],
            );
            assert_eq!(response.status, 206, "{range}");
            let place = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(header(&response, "content-range"), place);
            assert_eq!(response.text(), whole[expected], "{range}");
        }
        let outside = ask(&mut client, "GET", path, &[("Range", "bytes=300000-")]);
        assert_eq!(outside.status, 416);
        assert_eq!(header(&outside, "content-range"), format!("bytes */{size}"));
        // What is no range that is known is as if it were not there (section 14.2).
        for range in [
            "lines=1-2",
            "bytes=9-3",
            "bytes=",
            "bytes=a-b",
            "bytes=-",
            "bytes=0-1,5-6",
        ] {
            let response = ask(&mut client, "GET", path, &[("Range", range)]);
            assert_eq!(
                (response.status, response.body.len()),
                (200, size),
                "{range}"
            );
        }
        let stale = [("Range", "bytes=0-9"), ("If-Range", "\"other\"")];
        assert_eq!(ask(&mut client, "GET", path, &stale).body.len(), size);
        let head = ask(&mut client, "HEAD", path, &[("Range", "bytes=0-9")]);
        assert_eq!(head.status, 200, "a range is for GET alone");
    }
}

#[test]
fn a_compressed_sibling_is_sent_to_who_takes_it() {
    let server = site();
    let mut client = server.connect();
    for (accepted, coding, body) in [
        ("br, gzip", Some("br"), "br"),
        ("gzip", Some("gzip"), "as gzip"),
        ("gzip;q=1, br;q=0.5", Some("gzip"), "as gzip"),
        ("br;q=0, gzip;q=0", None, SCRIPT),
        ("identity", None, SCRIPT),
        ("", None, SCRIPT),
    ] {
        let headers = [("Accept-Encoding", accepted)];
        let response = ask(&mut client, "GET", "/site/app.js", &headers);
        assert_eq!(
            response.header("content-encoding").as_deref(),
            coding,
            "{accepted}"
        );
        assert_eq!(response.text(), body, "{accepted}");
        assert_eq!(
            header(&response, "content-type"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(header(&response, "vary"), "accept-encoding");
    }
    let plain = ask(&mut client, "GET", "/site/app.js", &[]);
    let coded = ask(
        &mut client,
        "GET",
        "/site/app.js",
        &[("Accept-Encoding", "br")],
    );
    assert_ne!(header(&plain, "etag"), header(&coded, "etag"));
}

#[test]
fn hashed_names_are_kept_and_pages_are_not() {
    let server = site();
    let mut client = server.connect();
    let hashed = ask(&mut client, "GET", "/site/assets/app-BX2k3jd8.css", &[]);
    assert_eq!(header(&hashed, "cache-control"), YEAR);
    for path in ["/site/", "/site/some/route"] {
        let page = ask(&mut client, "GET", path, &[NAVIGATES]);
        assert_eq!((page.status, page.text()), (200, PAGE.to_owned()), "{path}");
        assert_eq!(header(&page, "cache-control"), "no-cache", "{path}");
    }
    // A script that is gone must not come as a page.
    failed(
        &ask(&mut client, "GET", "/site/gone.js", &[]),
        404,
        "NOT_FOUND",
    );
}

#[test]
fn a_site_takes_no_other_methods() {
    let server = site();
    let mut client = server.connect();
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let response = ask(
            &mut client,
            method,
            "/site/app.js",
            &[("Origin", "http://test.example")],
        );
        failed(&response, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(header(&response, "allow"), "GET, HEAD");
    }
}
