//! P: one canonical path decides gate, route and what the worker sees.

use buntime_testkit::TestServer;

use crate::support::{Invariants, echo, echo_server, failed, refused, seen_by_app, sound};

const CANARY: &str = "canary-3f8a";

/// A static app with files that nobody may get, and a link out of it.
fn site() -> TestServer {
    let secret = format!("SECRET={CANARY}\n");
    let builder = echo().app(
        "spa@1.0.0",
        &format!("entrypoint: index.html\n# {CANARY}\n"),
        &[
            ("index.html", "<!doctype html><title>the spa</title>"),
            (".env", &secret),
            (".git/config", &secret),
            (
                "package.json",
                &format!(r#"{{"name":"spa","description":"{CANARY}"}}"#),
            ),
            ("a b.txt", "with a space"),
            ("café.js", "export default 'coffee'"),
        ],
    );
    let apps = builder.dir().join("apps/spa@1.0.0");
    let outside = builder.dir().join("outside.txt");
    std::fs::write(&outside, CANARY).unwrap();
    std::os::unix::fs::symlink(&outside, apps.join("link.txt")).unwrap();
    builder.start()
}

#[test]
fn p01_double_slash_redirects() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = server.connect();
    for (target, location) in [
        ("//echo/admin", "/echo/admin"),
        ("/echo//admin", "/echo/admin"),
        ("/echo/admin//", "/echo/admin/"),
        ("//evil.example/%2e", "/evil.example/%2e"),
        ("///evil.example/", "/evil.example/"),
        ("//", "/"),
        ("//echo//a///b?x=//y&z", "/echo/a/b?x=//y&z"),
    ] {
        if target.contains("%2e") {
            // A dot segment is refused before slashes are counted.
            failed(
                &refused(&server, get(target).as_bytes(), &[400]),
                400,
                "BAD_PATH",
            );
            continue;
        }
        for method in ["GET", "HEAD"] {
            let response = client.request(method, target, &[], b"");
            sound(&response);
            assert_eq!(response.status, 308, "{method} {target}");
            assert_eq!(
                response.header("location").as_deref(),
                Some(location),
                "{target}"
            );
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let response = client.request(method, target, &[], b"");
            failed(&response, 400, "BAD_PATH");
        }
    }
    before.hold(&server);
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn p04_p05_ambiguous_escapes_are_refused() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for target in [
        "/echo/%00",
        "/echo/a%00b",
        "/%00",
        "/echo/%0d%0aX:1",
        "/echo/%0D",
        "/echo/%0a",
        "/echo/%zz",
        "/echo/%",
        "/echo/%2",
        "/echo/%%30",
        "/echo/%u0041",
        "/echo/%-1",
        "/echo/a\\b",
        "/echo\\admin",
        "/echo/#fragment",
        "/echo/../api/keys",
        "/echo/./x",
        "/echo/%2e%2e/x",
        "/echo/%2E%2e",
        "/echo/.%2e/x",
        "/echo/..",
        "echo/",
        "*",
        "ftp://h/echo/",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        failed(
            &refused(&server, request.as_bytes(), &[400]),
            400,
            "BAD_PATH",
        );
    }
    before.hold(&server);
}

#[test]
fn p07_an_encoded_slash_stays_data() {
    let server = echo_server();
    let mut client = server.connect();
    for path in [
        "/a%2f..%2fb",
        "/a%2F..%2Fb?x=%2f",
        "/%E0%A4%A",
        "/caf%C3%A9",
        "/a+b;c=d",
        "/a%5cb",
        "/%20?",
        "/?a=?b",
        "/...",
        "/.hidden/..a",
    ] {
        if path.ends_with("%A") {
            failed(
                &refused(&server, get(&format!("/echo{path}")).as_bytes(), &[400]),
                400,
                "BAD_PATH",
            );
            continue;
        }
        let seen = seen_by_app(&mut client, &format!("/echo{path}"));
        let url = seen["url"].as_str().unwrap();
        assert_eq!(url.strip_prefix("http://test.example"), Some(path));
    }
    // An encoded slash makes no scope and no name.
    for target in ["/echo%2fadmin/", "/%2fecho/", "/@a%2fecho/"] {
        failed(&client.get(target), 404, "NOT_FOUND");
    }
}

#[test]
fn p08_other_spellings_of_the_api_are_the_api() {
    let server = echo_server();
    let mut client = server.connect();
    for target in [
        "/api/keys",
        "/%61pi/keys",
        "/ap%69/keys",
        "/api",
        "/api/",
        "/api/nothing",
    ] {
        failed(&client.get(target), 401, "AUTH_REQUIRED");
    }
    failed(
        &client.request("GET", "http://h/api/keys", &[("Host", "h")], b""),
        401,
        "AUTH_REQUIRED",
    );
    failed(
        &client.request("GET", "HTTP://H:80/api/keys", &[("Host", "h")], b""),
        401,
        "AUTH_REQUIRED",
    );
    for target in ["/x/../api/keys", "/x/%2e%2e/api/keys", "/./api/keys"] {
        failed(
            &refused(&server, get(target).as_bytes(), &[400]),
            400,
            "BAD_PATH",
        );
    }
    // Within the API's own paths an encoded slash is refused.
    failed(&client.get("/api/workers/@a%2fx"), 400, "BAD_PATH");
    failed(&client.get("/%61pi/workers/@a%2fx"), 400, "BAD_PATH");
}

#[test]
fn p09_what_only_looks_like_the_api_is_not() {
    let server = echo_server();
    let mut client = server.connect();
    for target in [
        "/API/keys",
        "/Api/keys",
        "/api;x/keys",
        "/api%2fkeys",
        "/api.json",
        "/apis/keys",
    ] {
        failed(&client.get(target), 404, "NOT_FOUND");
    }
}

#[test]
fn p11_raw_bytes_and_long_targets() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for bytes in [
        &b"\xFF\xFE"[..],
        b"/echo/\xFF\xFE",
        b"/echo/\x01",
        b"/echo/\x7F",
        b"/echo/caf\xC3\xA9",
    ] {
        let request = [b"GET ", bytes, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        refused(&server, &request, &[400]);
    }
    let long = get(&format!("/echo/{}", "a".repeat(20 * 1024)));
    failed(
        &refused(&server, long.as_bytes(), &[414]),
        414,
        "URI_TOO_LONG",
    );
    let longer = get(&format!("/echo/?{}", "a".repeat(200 * 1024)));
    failed(
        &refused(&server, longer.as_bytes(), &[414]),
        414,
        "URI_TOO_LONG",
    );
    let fits = format!("/echo/?{}", "a".repeat(16 * 1024 - 7));
    assert_eq!(server.get(&fits).status, 200);
    before.hold(&server);
}

#[test]
fn p12_p13_a_site_gives_no_secrets() {
    let server = site();
    let mut client = server.connect();
    for path in [
        ".env",
        "%2eenv",
        ".git/config",
        ".git%2fconfig",
        "manifest.yaml",
        "manifest%2eyaml",
        "Manifest.yaml",
        "package.json",
        "link.txt",
        "./.env",
        "index.html/../.env",
        "..%2f..%2foutside.txt",
        "%2e%2e/outside.txt",
        "node_modules/x",
    ] {
        for accept in ["*/*", "text/html"] {
            let target = format!("/spa/{path}");
            let mut client = server.connect();
            let response = client.request("GET", &target, &[("Accept", accept)], b"");
            sound(&response);
            assert!(
                matches!(response.status, 200 | 400 | 404),
                "{target}: {response:?}"
            );
            assert!(
                !response.text().contains(CANARY),
                "{target}: {}",
                response.text()
            );
            if response.status == 200 {
                assert!(response.text().contains("the spa"), "{target}");
            }
        }
    }
    failed(&client.get("/spa/link.txt"), 404, "NOT_FOUND");
}

#[test]
fn p14_names_that_need_escapes_are_found() {
    let server = site();
    let mut client = server.connect();
    let response = client.get("/spa/a%20b.txt");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "with a space")
    );
    let response = client.get("/spa/caf%C3%A9.js");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "export default 'coffee'")
    );
}

#[test]
fn p15_a_redirect_never_names_a_host() {
    let server = site();
    let mut client = server.connect();
    for (target, location) in [
        ("/spa", "/spa/"),
        ("/spa?a=b", "/spa/?a=b"),
        ("/spa@1", "/spa@1/"),
        ("/%73pa", "/%73pa/"),
        ("/echo", "/echo/"),
    ] {
        for host in ["evil.example", "evil.example:99"] {
            let headers = [("Host", host), ("X-Forwarded-Host", "evil.example")];
            let response = client.request("GET", target, &headers, b"");
            sound(&response);
            assert_eq!(response.status, 308, "{target}");
            assert_eq!(response.header("location").as_deref(), Some(location));
            assert!(!response.text().contains("evil"));
        }
    }
    // What is not repeated at another address is not redirected.
    assert_ne!(client.request("POST", "/spa", &[], b"x").status, 308);
}

#[test]
fn p16_version_ranges() {
    let server = echo_server();
    server.app(
        "@acme/tool@2.0.0",
        crate::support::WARM,
        &[(
            "index.ts",
            "export default { fetch: () => new Response('two') }",
        )],
    );
    let mut client = server.connect();
    let longest = format!("{}1", "1||".repeat(21));
    for (target, found) in [
        ("/echo@%3E%3D0.0.1/", true),
        ("/echo@1/", true),
        ("/echo@1.2/", true),
        ("/echo@^1.0.0/", true),
        ("/echo@~1.2/", true),
        ("/echo@1.2.3/", true),
        ("/echo@2/", false),
        ("/echo@latest/", false),
        ("/echo@../", false),
        ("/echo@/", false),
        ("/echo@1@2/", false),
        ("/ECHO/", false),
        ("/@acme/tool/", true),
        ("/@acme/tool@2/", true),
        ("/@acme/tool@3/", false),
        ("/@acme/", false),
        ("/@acme/echo/", false),
        ("/tool/", false),
        ("/@/tool/", false),
        (&format!("/echo@{longest}/"), true),
        (&format!("/echo@{longest}0/"), false),
        (&format!("/echo@{}/", "1".repeat(10 * 1024)), false),
    ] {
        let response = client.get(target);
        sound(&response);
        assert_eq!(
            response.status,
            if found { 200 } else { 404 },
            "{target:.80}"
        );
    }
}
