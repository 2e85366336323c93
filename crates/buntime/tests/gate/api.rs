//! C: CSRF on the API.

use super::support::{
    CHANGES, admin_address, ask, ask_h2, builder, failed, forbidden, server, with, workers_address,
};

const HOST: (&str, &str) = ("Host", "a");
const ROUTES: [&str; 4] = [
    "/api/keys",
    "/api/workers/_/say/1.0.0/disable",
    "/api/plugins/reload",
    "/api/health",
];

#[test]
fn c1_a_change_without_origin_is_refused() {
    let server = server();
    for method in CHANGES {
        for route in ROUTES {
            let response = ask(server.addr(), method, route, &[HOST]);
            forbidden(&response, "Forbidden - Origin required");
        }
    }
    let both = ask(server.addr(), "POST", "/%61pi/keys", &[HOST]);
    forbidden(&both, "Forbidden - Origin required");
}

#[test]
fn c2_c3_c4_c5_an_origin_that_is_not_the_host_is_refused() {
    let server = server();
    for origin in [
        "https://evil.example",
        "http://a.evil.example",
        "http://a:8000",
        "http://user:pw@a",
        "http://user@a",
        "null",
        "ftp://a",
        "file://",
        "a",
        "//a",
        "http://a/",
        "http://a, http://a",
        "http://",
        "http://a\u{e9}",
        "javascript://a",
    ] {
        for method in CHANGES {
            let response = ask(
                server.addr(),
                method,
                "/api/keys",
                &[HOST, ("Origin", origin)],
            );
            forbidden(&response, "Forbidden");
        }
    }
    let empty = ask(server.addr(), "POST", "/api/keys", &[HOST, ("Origin", "")]);
    forbidden(&empty, "Forbidden - Origin required");
    let two = [HOST, ("Origin", "http://a"), ("Origin", "http://a")];
    forbidden(&ask(server.addr(), "POST", "/api/keys", &two), "Forbidden");
    let output = server.output();
    assert!(!output.contains("pw@") && !output.contains("user"));
}

#[test]
fn c6_the_hosts_own_origin_passes_to_authentication() {
    let server = server();
    for (host, origin) in [
        ("a", "http://a"),
        ("A.Example", "http://a.eXample"),
        ("a:80", "http://a"),
        ("a", "http://a:80"),
        ("a:443", "https://a"),
        ("a", "https://a"),
        ("a:8000", "http://a:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ] {
        let headers = [("Host", host), ("Origin", origin)];
        for method in CHANGES {
            let response = ask(server.addr(), method, "/api/keys", &headers);
            failed(&response, 401, "AUTH_REQUIRED");
        }
    }
    // Known to come by HTTPS, so no page that came by HTTP is of this origin.
    let https = [HOST, ("X-Forwarded-Proto", "https")];
    for (origin, passes) in [("https://a", true), ("http://a", false)] {
        let headers = with(&https, &[("Origin", origin)]);
        let response = ask(server.addr(), "POST", "/api/keys", &headers);
        assert_eq!(response.status, if passes { 401 } else { 403 }, "{origin}");
    }
}

#[test]
fn c7_with_a_cookie_the_browser_must_not_name_another_site() {
    let server = server();
    for cookie in ["buntime_session=x", "__Host-buntime_session=x", "other=1"] {
        let own = [
            ("Host", "localhost"),
            ("Origin", "http://localhost"),
            ("Cookie", cookie),
        ];
        for (site, status) in [
            ("same-origin", 401),
            ("none", 401),
            ("cross-site", 403),
            ("same-site", 403),
            ("SAME-ORIGIN", 403),
            ("same-origin, same-origin", 403),
            ("", 403),
        ] {
            let headers = with(&own, &[("Sec-Fetch-Site", site)]);
            let response = ask(server.addr(), "POST", "/api/keys", &headers);
            assert_eq!(response.status, status, "{cookie} {site}");
        }
        assert_eq!(ask(server.addr(), "POST", "/api/keys", &own).status, 401);
        let without = [own[0], own[2]];
        let response = ask(server.addr(), "POST", "/api/keys", &without);
        forbidden(&response, "Forbidden - Origin required");
        let foreign = [own[0], own[2], ("Origin", "https://evil.example")];
        let response = ask(server.addr(), "POST", "/api/keys", &foreign);
        forbidden(&response, "Forbidden");
    }
}

#[test]
fn c8_the_internal_header_counts_on_a_direct_connection_alone() {
    let server = builder().env("RUNTIME_ADMIN_PORT", "0").start();
    let workers = workers_address(&server);
    let admin = admin_address(&server);
    let internal = [HOST, ("X-Buntime-Internal", "true")];
    // It skips CSRF, never authentication.
    for address in [workers, admin] {
        let response = ask(address, "POST", "/api/keys", &internal);
        failed(&response, 401, "AUTH_REQUIRED");
        for value in ["false", "1", "TRUE", "", "true, true"] {
            let headers = [HOST, ("X-Buntime-Internal", value)];
            let response = ask(address, "POST", "/api/keys", &headers);
            forbidden(&response, "Forbidden - Origin required");
        }
        let cookie = with(&internal, &[("Cookie", "theme=dark")]);
        let response = ask(address, "POST", "/api/keys", &cookie);
        forbidden(&response, "Forbidden - Origin required");
    }
    for header in [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-Ip",
        "Via",
    ] {
        let headers = with(&internal, &[(header, "6.6.6.6")]);
        let response = ask(admin, "POST", "/api/keys", &headers);
        forbidden(&response, "Forbidden - Origin required");
        // What a worker passes on of its own request does not make it less of a worker.
        assert_eq!(ask(workers, "POST", "/api/keys", &headers).status, 401);
    }
    // Public, and not apart: the same.
    let server = self::server();
    let response = ask(server.addr(), "POST", "/api/keys", &internal);
    failed(&response, 401, "AUTH_REQUIRED");
    let session = [
        ("Host", "localhost"),
        internal[1],
        ("Cookie", "buntime_session=x"),
    ];
    let response = ask(server.addr(), "POST", "/api/keys", &session);
    forbidden(&response, "Forbidden - Origin required");
    let forwarded = with(&internal, &[("X-Forwarded-For", "6.6.6.6")]);
    let response = ask(server.addr(), "POST", "/api/keys", &forwarded);
    forbidden(&response, "Forbidden - Origin required");
}

#[test]
fn c9_a_credential_in_a_header_needs_no_origin() {
    let server = server();
    for credential in [
        ("X-API-Key", "btk_not_a_key"),
        ("Authorization", "Bearer btk_not_a_key"),
        ("Authorization", "bearer btk_not_a_key"),
    ] {
        for more in [
            &[][..],
            &[("Origin", "https://evil.example")],
            &[("Cookie", "a=1"), ("Sec-Fetch-Site", "cross-site")],
        ] {
            let headers = with(&[HOST, credential], more);
            let response = ask(server.addr(), "POST", "/api/keys", &headers);
            failed(&response, 401, "AUTH_REQUIRED");
        }
    }
    for none in [
        ("X-API-Key", ""),
        ("Authorization", "Bearer "),
        ("Authorization", "Basic dTpw"),
        ("X_API_Key", "btk_not_a_key"),
    ] {
        let response = ask(server.addr(), "POST", "/api/keys", &[HOST, none]);
        forbidden(&response, "Forbidden - Origin required");
    }
}

#[test]
fn c11_what_only_reads_is_asked_nothing_and_changes_nothing() {
    let server = server();
    let state = || {
        let mut found = Vec::new();
        let mut folders = vec![server.dir().join("state"), server.dir().join("apps")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                // Where workers that wait for an app come and go.
                if entry.file_name() == "run" {
                    continue;
                }
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    folders.push(entry.path());
                }
                found.push((entry.path(), meta.len(), meta.modified().unwrap()));
            }
        }
        found.sort();
        found
    };
    let before = state();
    let foreign = [
        ("Host", "localhost"),
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Cookie", "buntime_session=x"),
    ];
    for route in [
        "/api/health",
        "/api/admin/session",
        "/api/openapi.json",
        "/api/docs",
        "/api/workers",
        "/api/workers/_/say/1.0.0/disable",
        "/api/workers/_/say/logs",
        "/api/workers/files/list?path=",
        "/api/workers/files/refresh",
        "/api/plugins",
        "/api/plugins/loaded",
        "/api/plugins/reload",
        "/api/keys",
        "/api/keys/meta",
        "/api/audit",
        "/api/metrics",
    ] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let response = ask(server.addr(), method, route, &foreign);
            assert!(
                matches!(response.status, 200 | 204 | 401 | 404 | 405),
                "{method} {route}: {}",
                response.status
            );
        }
    }
    assert!(before == state(), "a request that only reads has written");
    assert!(
        !server
            .log()
            .iter()
            .any(|line| line.text("context") == "csrf")
    );
}

#[test]
fn the_order_is_path_then_host_then_csrf_then_authentication() {
    let server = server();
    let cookie = [
        ("Host", "attacker.example"),
        ("Cookie", "buntime_session=x"),
    ];
    // All is wrong with the first one; with each further one a thing less.
    let response = ask(server.addr(), "POST", "/api/x/..%2f", &cookie);
    assert_ne!(response.status, 200);
    failed(
        &ask(server.addr(), "POST", "/api/%00", &cookie),
        400,
        "BAD_PATH",
    );
    failed(
        &ask(server.addr(), "POST", "/api/keys", &cookie),
        421,
        "HOST_NOT_ALLOWED",
    );
    let allowed = [("Host", "127.0.0.1"), cookie[1]];
    forbidden(
        &ask(server.addr(), "POST", "/api/keys", &allowed),
        "Forbidden - Origin required",
    );
    let own = with(&allowed, &[("Origin", "http://127.0.0.1")]);
    failed(
        &ask(server.addr(), "POST", "/api/keys", &own),
        401,
        "AUTH_REQUIRED",
    );
}

#[test]
fn over_http_2_the_same_is_asked() {
    let server = server();
    let ask =
        |headers: &[(&str, &str)]| ask_h2(server.addr(), "POST", "http://a:8000/api/keys", headers);
    let text = |body: &str| (403, "text/plain".to_owned(), body.to_owned());
    assert_eq!(ask(&[]), text("Forbidden - Origin required"));
    assert_eq!(ask(&[("origin", "http://a")]), text("Forbidden"));
    assert_eq!(ask(&[("origin", "null")]), text("Forbidden"));
    assert_eq!(ask(&[("origin", "http://a:8000")]).0, 401);
    assert_eq!(ask(&[("x-api-key", "k")]).0, 401);
    assert_eq!(ask(&[("x-buntime-internal", "true")]).0, 401);
    let internal = [("x-buntime-internal", "true"), ("x-forwarded-for", "::1")];
    assert_eq!(ask(&internal), text("Forbidden - Origin required"));
    let session = [
        ("origin", "http://a:8000"),
        ("cookie", "a=1"),
        ("cookie", "buntime_session=x"),
    ];
    let (status, _, body) = ask(&session);
    assert_eq!(status, 421);
    assert!(body.contains("HOST_NOT_ALLOWED"), "{body}");
}

#[test]
fn t18_an_upgrade_of_the_api_is_checked_like_a_post() {
    let server = server();
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        HOST,
    ];
    for (origin, status) in [
        (None, 403),
        (Some("https://evil.example"), 403),
        (Some("http://a"), 401),
    ] {
        let mut headers = upgrade.to_vec();
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let response = ask(server.addr(), "GET", "/api/events", &headers);
        assert_eq!(response.status, status, "{origin:?}");
    }
}

#[test]
fn each_refusal_is_a_warning_that_says_all() {
    let server = server();
    let headers = [
        ("Host", "a:8000"),
        ("Origin", "https://evil.example"),
        ("X-Request-Id", "the-id"),
    ];
    let response = ask(server.addr(), "DELETE", "/api/keys/7?q=secret", &headers);
    forbidden(&response, "Forbidden");
    assert_eq!(response.request_id(), "the-id");
    let line = server.wait_for_log(|line| line.text("requestId") == "the-id");
    assert_eq!(
        (line.level(), line.message()),
        ("warn", "CSRF check failed")
    );
    for (field, value) in [
        ("method", "DELETE"),
        ("path", "/api/keys/7"),
        ("origin", "https://evil.example"),
        ("host", "a:8000"),
    ] {
        assert_eq!(line.text(field), value);
    }
}
