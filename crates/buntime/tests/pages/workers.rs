//! Pages that a worker answers with.

use buntime_testkit::{Response, TestServer};

use super::{BASE, NAVIGATION, app, builder, get};

const HTML: &str = "content-type:text/html; charset=utf-8";
const PAGE: &str = "<!doctype html><html><head><title>x</title></head></html>";

/// Asks the app for an answer with this status, these headers and this body.
#[track_caller]
fn answer(
    server: &TestServer,
    method: &str,
    (status, headers, body): (u16, &[&str], &[u8]),
    request: &[(&str, &str)],
) -> Response {
    let mut target = format!("/app/answer?status={status}&body={}", base64url(body));
    for header in headers {
        target.push_str("&h=");
        for byte in header.bytes() {
            target.push_str(&format!("%{byte:02x}"));
        }
    }
    server.connect().request(method, &target, request, b"")
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for digit in 0..=group.len() {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

fn with_base(page: &str, base: &str) -> String {
    page.replacen("<head>", &format!("<head><base href=\"{base}\">"), 1)
}

#[test]
fn a_page_gets_the_base_that_it_was_asked_for_under() {
    let server = app("injectBase: true\n");
    let plain = "<!doctype html><html><head><title>x</title></head><body>y</body></html>";
    for base in ["/app/", "/app@1/", "/app@^1.0.0/"] {
        let response = server.get(base);
        assert_eq!(response.text(), with_base(plain, base));
        assert_eq!(response.header("content-length"), None, "{response:?}");
    }
    let head = server.connect().request("HEAD", "/app/", &[], b"");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), None, "{head:?}");
}

#[test]
fn an_app_that_asks_for_nothing_is_left_alone() {
    let server = app("env:\n  GREETING: hello\n");
    let response = answer(
        &server,
        "GET",
        (200, &[HTML, "etag:\"x\""], PAGE.as_bytes()),
        &[],
    );
    assert_eq!(response.text(), PAGE);
    assert_eq!(response.header("etag").as_deref(), Some("\"x\""));
    assert_eq!(
        response.header("content-length"),
        Some(PAGE.len().to_string())
    );
}

#[test]
fn the_homepage_has_its_base_at_the_root() {
    let server = builder()
        .app(
            "app@1.0.0",
            "ttl: 1h\ninjectBase: true\n",
            &[("index.ts", super::PAGES)],
        )
        .env("RUNTIME_HOMEPAGE", "app")
        .start();
    assert!(
        server
            .get("/")
            .text()
            .contains("<head><base href=\"/\"><title>")
    );
    assert!(server.get("/app/").text().contains(BASE));
}

#[test]
fn x1_a_prefix_that_is_no_plain_path_is_ignored() {
    let server = app("injectBase: true\n");
    for (prefix, base) in [
        ("/\"><script>", "/app/"),
        ("//evil.example", "/app/"),
        ("/\\evil.example", "/app/"),
        ("/a/", "/app/"),
        ("https://evil.example", "/app/"),
        ("/a /b", "/app/"),
        ("/far, /near", "/near/app/"),
        ("/a%22", "/app/"),
        ("/tools", "/tools/app/"),
        ("/a.b/c~d@e^f-g_h", "/a.b/c~d@e^f-g_h/app/"),
    ] {
        let response = get(&server, "/app/", &[("x-forwarded-prefix", prefix)]);
        let expected = format!("<head><base href=\"{base}\"><title>");
        assert!(
            response.text().contains(&expected),
            "{prefix}: {}",
            response.text()
        );
    }
    // Of two lines the last was written by the nearest proxy.
    let twice = [
        ("x-forwarded-prefix", "/far"),
        ("X-Forwarded-Prefix", "/near"),
    ];
    let response = get(&server, "/app/", &twice);
    assert!(response.text().contains("<base href=\"/near/app/\">"));
    let told = answer(
        &server,
        "GET",
        (200, &[], b""),
        &[("x-forwarded-prefix", "/tools")],
    );
    assert!(
        told.header("x-seen")
            .unwrap()
            .contains("x-forwarded-prefix=")
    );
    assert!(!told.header("x-seen").unwrap().contains("/tools"));
}

#[test]
fn x1_a_prefix_from_somebody_else_than_a_trusted_proxy_is_ignored() {
    let server = builder()
        .app(
            "app@1.0.0",
            "ttl: 1h\ninjectBase: true\n",
            &[("index.ts", super::PAGES)],
        )
        .env("RUNTIME_TRUSTED_PROXIES", "10.0.0.0/8")
        .start();
    let response = get(&server, "/app/", &[("x-forwarded-prefix", "/tools")]);
    assert!(response.text().contains(BASE), "{}", response.text());
}

#[test]
fn x5_what_cannot_be_read_here_is_left_alone_byte_for_byte() {
    let server = app("injectBase: true\n");
    let utf16: Vec<u8> = std::iter::once(0xFEFF)
        .chain(PAGE.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let page = PAGE.as_bytes();
    let cases: &[(u16, &[&str], &[u8])] = &[
        (200, &["content-type:text/html"], &utf16),
        (200, &["content-type:text/html; charset=utf-16le"], page),
        (200, &["content-type:text/html; charset=iso-2022-jp"], page),
        (200, &["content-type:text/html;charset=\"UTF-16\""], page),
        (200, &[HTML, "content-encoding:gzip"], page),
        (200, &[HTML, "content-encoding:br"], page),
        (200, &[HTML, "cache-control:private, no-transform"], page),
        (
            200,
            &[HTML, "content-disposition:attachment; filename=x.html"],
            page,
        ),
        (200, &["content-type:application/xhtml+xml"], page),
        (200, &["content-type:text/plain"], page),
        (200, &["content-type:text/htmlx"], page),
        (200, &[], page),
        (200, &[HTML, "content-range:bytes 0-56/100"], page),
        (206, &[HTML, "content-range:bytes 0-56/100"], page),
        (200, &[HTML], b"<p>a part of a page</p>"),
    ];
    for (status, headers, body) in cases {
        let response = answer(&server, "GET", (*status, headers, body), &[]);
        assert_eq!(response.status, *status);
        assert_eq!(response.body, *body, "{headers:?}");
    }
    for status in [204, 304] {
        let response = answer(&server, "GET", (status, &["etag:\"x\""], b""), &[]);
        assert_eq!((response.status, response.body.len()), (status, 0));
        assert_eq!(response.header("etag").as_deref(), Some("\"x\""));
    }
}

#[test]
fn x5_charsets_that_hold_ascii_keep_their_bytes() {
    let server = app("injectBase: true\n");
    let latin = b"<head \xe9=\xff>\xe9<title>\xe9</title></head>\x80\xff";
    let place = latin.iter().position(|&byte| byte == b'>').unwrap() + 1;
    let expected = [&latin[..place], BASE.as_bytes(), &latin[place..]].concat();
    for content_type in [
        "content-type:text/html; charset=ISO-8859-1",
        "content-type:Text/HTML;charset=windows-1252",
        "content-type:text/html ; foo=bar; charset=\"utf-8\"",
        "content-type:text/html",
    ] {
        let response = answer(&server, "GET", (200, &[content_type], latin), &[]);
        assert_eq!(response.body, expected, "{content_type}");
    }
}

#[test]
fn pages_of_any_method_and_of_errors_are_pages() {
    let server = app("injectBase: true\n");
    for status in [200, 201, 404, 422, 500] {
        let response = answer(&server, "GET", (status, &[HTML], PAGE.as_bytes()), &[]);
        assert_eq!(
            (response.status, response.text()),
            (status, with_base(PAGE, "/app/"))
        );
    }
    let posted = answer(&server, "POST", (200, &[HTML], PAGE.as_bytes()), &[]);
    assert_eq!(posted.text(), with_base(PAGE, "/app/"));
    // Our own errors are not the app's pages.
    let ours = get(&server, "/nothing/", &[NAVIGATION]);
    assert!(ours.text().contains("<head>") && !ours.text().contains("<base"));
}

#[test]
fn what_described_the_apps_bytes_is_not_said_of_the_page() {
    let server = app("injectBase: true\n");
    let described = &[
        HTML,
        "etag:\"x\"",
        "last-modified:Sun, 06 Nov 1994 08:49:37 GMT",
        "accept-ranges:bytes",
        "content-md5:Q2hlY2sgSW50ZWdyaXR5IQ==",
        "digest:sha-256=x",
        "content-digest:sha-256=:x:",
        "repr-digest:sha-256=:x:",
        "x-own:kept",
    ];
    for method in ["GET", "HEAD"] {
        let response = answer(&server, method, (200, described, PAGE.as_bytes()), &[]);
        assert_eq!(response.header("etag").as_deref(), Some("W/\"x\""));
        assert_eq!(response.header("x-own").as_deref(), Some("kept"));
        assert_eq!(response.header("content-length"), None);
        for name in [
            "last-modified",
            "accept-ranges",
            "content-md5",
            "digest",
            "content-digest",
            "repr-digest",
        ] {
            assert_eq!(response.header(name), None, "{method} {name}");
        }
    }
}

/// A browser may have the page as it was before the app asked for an insertion,
/// and an app that compresses its pages would get none.
#[test]
fn a_navigation_asks_the_app_for_the_whole_page() {
    let server = app("injectBase: true\n");
    let conditional = [
        NAVIGATION,
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("range", "bytes=0-3"),
        ("accept-encoding", "gzip, br"),
    ];
    let seen = answer(&server, "GET", (200, &[], b""), &conditional);
    assert_eq!(
        seen.header("x-seen").unwrap(),
        "if-none-match=, if-modified-since=, range=, accept-encoding=identity, x-forwarded-prefix="
    );
    // A form's page is to be plain too, but what it writes may stand under a condition.
    let seen = answer(&server, "POST", (200, &[], b""), &conditional)
        .header("x-seen")
        .unwrap();
    assert!(
        seen.contains("if-none-match=\"x\"") && seen.contains("accept-encoding=identity"),
        "{seen}"
    );
    let of_a_script = [("if-none-match", "\"x\""), ("accept-encoding", "gzip")];
    let seen = answer(&server, "GET", (200, &[], b""), &of_a_script)
        .header("x-seen")
        .unwrap();
    assert!(
        seen.contains("if-none-match=\"x\"") && seen.contains("accept-encoding=gzip"),
        "{seen}"
    );
}

#[test]
fn x7_only_public_variables_reach_the_page() {
    let keys = "env:\n  PUBLIC_A: one\n  VITE_B: \"</script><!--&\u{2028}é\"\n  SECRET_C: canary\n  PUBLIC_D_TOKEN: canary\n  public_e: canary\n";
    let manifest = format!("ttl: 1h\n{keys}");
    let server = builder()
        .app(
            "app@1.0.0",
            &manifest,
            &[
                ("index.ts", super::PAGES),
                (".env", "PUBLIC_A=two\nPUBLIC_F=three\nOTHER=canary\n"),
            ],
        )
        .start();
    let text = server.get("/app/").text();
    assert!(
        !text.contains("canary") && !text.contains("<base"),
        "{text}"
    );
    let script = text
        .split("<head>")
        .nth(1)
        .unwrap()
        .split("<title>")
        .next()
        .unwrap();
    assert_eq!(
        script,
        "<script>window.__env__={\"PUBLIC_A\":\"two\",\"PUBLIC_F\":\"three\",\
         \"VITE_B\":\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\\u00e9\"}</script>"
    );
}

#[test]
fn x7_an_empty_prefix_is_refused_and_another_one_replaces_the_usual_ones() {
    let manifest = "ttl: 1h\nenvPrefix: [APP_]\nenv:\n  PUBLIC_A: canary\n  APP_B: b\n";
    let server = builder()
        .app("app@1.0.0", manifest, &[("index.ts", super::PAGES)])
        .app(
            "bad@1.0.0",
            "ttl: 1h\nenvPrefix: [\"\"]\nenv:\n  A: canary\n",
            &[("index.ts", super::PAGES)],
        )
        .start();
    assert!(
        server
            .get("/app/")
            .text()
            .contains("<script>window.__env__={\"APP_B\":\"b\"}</script>")
    );
    let refused = server.get("/bad/");
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (503, "INVALID_MANIFEST")
    );
    server.wait_for_log(|line| {
        line.message()
            .contains("envPrefix[0]: an empty text is not accepted")
    });
}

/// The example says in its page that its variables reach it.
#[test]
fn the_example_links_has_its_title_from_its_manifest() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/apps/links@1.0.0"
    );
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let (manifest, index, store, page) = (
        read("manifest.yaml"),
        read("index.ts"),
        read("store.ts"),
        read("page.html"),
    );
    let server = builder()
        .app(
            "links@1.0.0",
            &manifest,
            &[
                ("index.ts", &index),
                ("store.ts", &store),
                ("page.html", &page),
            ],
        )
        .start();
    let text = server.get("/links/").text();
    let script = "<script>window.__env__={\"PUBLIC_TITLE\":\"Links for everyone\"}</script>";
    assert!(
        text.contains(&format!("<head>{script}\n<meta charset")),
        "{text}"
    );
    assert_eq!(text.replacen(script, "", 1), page);
}
