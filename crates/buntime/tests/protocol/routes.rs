//! Who answers an address, and in which form failures are told.

use crate::support::{BUNTIME, WARM, echo, echo_server, failed, sound};
use buntime_testkit::TestServer;

#[test]
fn addresses_of_the_server_itself() {
    let server = echo_server();
    let mut client = server.connect();
    for (path, status) in [
        ("/api/health", "healthy"),
        ("/api/health/ready", "ready"),
        ("/api/health/live", "live"),
        ("/health", "healthy"),
        ("/health/ready", "ready"),
        ("/health/live", "live"),
    ] {
        let response = client.get(path);
        sound(&response);
        assert_eq!(response.status, 200, "{path}");
        let body = response.json();
        assert_eq!(
            (&body["ok"], &body["status"]),
            (&true.into(), &status.into()),
            "{path}"
        );
        assert!(body["version"].is_string());
        let head = client.request("HEAD", path, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
        let length = response.body.len().to_string();
        assert_eq!(
            head.header("content-length"),
            Some(length),
            "HEAD says what GET would send"
        );
    }
    let response = client.get("/.well-known/buntime");
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["api"], "/api");
    assert!(response.json()["version"].is_string());
    let icon = client.get("/favicon.ico");
    sound(&icon);
    assert_eq!(icon.status, 204);
    let root = client.get("/");
    assert_eq!(
        (root.status, root.header("location").as_deref()),
        (302, Some("/cpanel/"))
    );
    for path in [
        "/health/",
        "/health/x",
        "/.well-known/",
        "/.well-known/other",
        "/favicon.ico/x",
    ] {
        failed(&client.get(path), 404, "NOT_FOUND");
    }
    // Who has no key does not learn which routes there are.
    failed(&client.get("/api/health/x"), 401, "AUTH_REQUIRED");
}

#[test]
fn the_api_moves_and_its_names_stay_reserved() {
    let server = echo()
        .env("RUNTIME_API_PREFIX", "/_")
        .app(
            "api@1.0.0",
            WARM,
            &[(
                "index.ts",
                "export default { fetch: () => new Response('an app') }",
            )],
        )
        .start();
    let mut client = server.connect();
    assert_eq!(client.get("/_/api/health").json()["status"], "healthy");
    let unknown = client.get("/_/api/keys");
    failed(&unknown, 401, "AUTH_REQUIRED");
    assert_eq!(
        unknown.header("www-authenticate").as_deref(),
        Some("Bearer")
    );
    failed(&client.get("/%5f/api/keys"), 401, "AUTH_REQUIRED");
    failed(&client.get("/_/%61pi/keys"), 401, "AUTH_REQUIRED");
    assert_eq!(client.get("/.well-known/buntime").json()["api"], "/_/api");
    for path in ["/api/health", "/api/", "/api/keys", "/_/other", "/_", "/_/"] {
        failed(&client.get(path), 404, "NOT_FOUND");
    }
}

#[test]
fn other_methods_get_405_with_allow() {
    let server = echo()
        .app(
            "spa@1.0.0",
            "entrypoint: index.html\n",
            &[("index.html", "<p>spa")],
        )
        .start();
    let mut client = server.connect();
    for path in [
        "/health",
        "/api/health",
        "/.well-known/buntime",
        "/spa/",
        "/",
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let own = [("Origin", "http://test.example")];
            let response = client.request(method, path, &own, b"");
            failed(&response, 405, "METHOD_NOT_ALLOWED");
            assert_eq!(
                response.header("allow").as_deref(),
                Some("GET, HEAD"),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn redirects_to_the_folder() {
    let server = echo_server();
    server.app(
        "@acme/tool@2.0.0",
        WARM,
        &[(
            "index.ts",
            "export default { fetch: r => new Response(r.url) }",
        )],
    );
    let mut client = server.connect();
    for (target, location) in [
        ("/echo", "/echo/"),
        ("/echo?x=1&y=%2f", "/echo/?x=1&y=%2f"),
        ("/echo@1", "/echo@1/"),
        ("/echo@%5E1.0.0", "/echo@%5E1.0.0/"),
        ("/@acme/tool", "/@acme/tool/"),
        ("/@acme/tool@2?q", "/@acme/tool@2/?q"),
        ("/%40acme/tool", "/%40acme/tool/"),
    ] {
        for method in ["GET", "HEAD"] {
            let response = client.request(method, target, &[], b"");
            sound(&response);
            assert_eq!(response.status, 308, "{method} {target}");
            assert_eq!(response.header("location").as_deref(), Some(location));
        }
        assert_eq!(
            client.request("POST", target, &[], b"x").status,
            404,
            "{target}"
        );
    }
    assert_eq!(
        client.get("/@acme/tool/x?y").text(),
        "http://test.example/x?y"
    );
}

#[test]
fn failures_are_pages_for_browsers_and_json_for_programs() {
    let server = echo_server();
    let mut client = server.connect();
    let page = [
        ("Accept", "text/html,application/xhtml+xml"),
        ("Sec-Fetch-Mode", "navigate"),
    ];
    let navigation = [("Accept", "text/html,*/*;q=0.8")];
    let script = [("Accept", "text/html"), ("Sec-Fetch-Mode", "cors")];
    for (path, status, code) in [
        ("/nobody/<script>", 404, "NOT_FOUND"),
        ("/api/keys", 401, "AUTH_REQUIRED"),
        ("/echo/throw", 502, "WORKER_BAD_RESPONSE"),
    ] {
        for headers in [&page[..], &navigation] {
            let response = client.request("GET", path, headers, b"");
            sound(&response);
            assert_eq!(response.status, status);
            assert_eq!(
                response.header("content-type").as_deref(),
                Some("text/html; charset=utf-8")
            );
            assert!(
                response
                    .header("content-security-policy")
                    .unwrap()
                    .contains("script-src 'none'")
            );
            let text = response.text();
            assert!(
                text.contains(code) && text.contains(&response.request_id()),
                "{path}: {text}"
            );
            for part in ["<script", "http://", "https://"] {
                assert!(!text.contains(part), "{path}: {text}");
            }
        }
        for headers in [
            &script[..],
            &[],
            &[("Accept", "*/*")],
            &[("Accept", "application/json")],
        ] {
            failed(&client.request("GET", path, headers, b""), status, code);
        }
        if path != "/nobody/<script>" {
            let own = [&page[..], &[("Origin", "http://test.example")]].concat();
            failed(&client.request("POST", path, &own, b"x"), status, code);
        }
    }
    // What the app itself answers is the app's, whatever its status.
    let mine = client.request("GET", "/echo/error-page", &page, b"");
    assert_eq!((mine.status, mine.text().as_str()), (500, "mine"));
    assert!(!mine.request_id().is_empty());
}

#[test]
fn the_homepage_answers_what_nobody_else_does() {
    let server = TestServer::builder(BUNTIME)
        .env("RUNTIME_HOMEPAGE", "home")
        .app("home@1.0.0", WARM, &[(
            "index.ts",
            "export default { fetch: r => new Response(new URL(r.url).pathname + '|' + r.headers.get('x-base')) }",
        )])
        .app("other@1.0.0", WARM, &[("index.ts", "export default { fetch: () => new Response('other') }")])
        .start();
    let mut client = server.connect();
    for (path, answer) in [
        ("/", "/|"),
        ("/some/page", "/some/page|"),
        ("/favicon.ico", "/favicon.ico|"),
        ("/home/x", "/x|/home"),
        ("/other/", "other"),
        ("/@nobody/x", "/@nobody/x|"),
    ] {
        let response = client.get(path);
        sound(&response);
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, answer),
            "{path}"
        );
    }
    failed(&client.get("/api/keys"), 401, "AUTH_REQUIRED");
    assert_eq!(client.get("/health").status, 200);
    failed(&client.get("/.well-known/x"), 404, "NOT_FOUND");
    assert_eq!(client.get("/other").status, 308);
}

#[test]
fn a_disabled_version_is_not_there() {
    let server = echo_server();
    let source = [(
        "index.ts",
        "export default { fetch: () => new Response('on') }",
    )];
    server.app("switch@1.0.0", WARM, &source);
    assert_eq!(server.get("/switch/").status, 200);
    server.app("switch@2.0.0", WARM, &source);
    let off = server.dir().join("apps/switch@2.0.0/manifest.yaml");
    std::fs::write(off, format!("{WARM}enabled: false\n")).unwrap();
    server.wait_until("switch@2 is disabled", || {
        server.get("/switch@2/").status == 404
    });
    assert_eq!(server.get("/switch/").status, 200);
}
