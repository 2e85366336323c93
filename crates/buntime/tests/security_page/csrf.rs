//! "The runtime enforces CSRF validation on state-mutating methods."

use buntime_testkit::{Response, TestServer};

use crate::support::{KEPT, send, server, with_app};

/// A route of the API that changes state and asks for a key.
const ROUTE: &str = "/api/workers/upload";
const HOST: &str = "buntime.example";
const SAME: (&str, &str) = ("Origin", "http://buntime.example");

/// Asks the API with the headers of a test after the Host.
#[track_caller]
fn ask(server: &TestServer, method: &str, headers: &[(&str, &str)]) -> Response {
    let headers = [&[("Host", HOST)], headers].concat();
    send(server, &format!("{method} {ROUTE}"), &headers, "")
}

/// Refused with exactly this text.
#[track_caller]
fn forbidden(response: &Response, text: &str) {
    assert_eq!(response.status, 403, "{response:?}");
    assert_eq!(response.text(), text);
    let kind = response.header("content-type").unwrap();
    assert_eq!(kind.split(';').next().unwrap(), "text/plain", "{kind}");
    assert!(!response.request_id().is_empty());
}

/// Past CSRF: what is asked next is a key.
#[track_caller]
fn passed(response: &Response) {
    assert_eq!(
        (response.status, response.error_code().as_str()),
        (401, "AUTH_REQUIRED"),
        "{response:?}"
    );
}

#[test]
fn post_put_patch_and_delete_are_validated() {
    let server = server().start();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        forbidden(&ask(&server, method, &[]), "Forbidden - Origin required");
        assert_ne!(ask(&server, method, &[SAME]).status, 403, "{method}");
    }
}

#[test]
fn rule_1_an_origin_is_required() {
    let server = server().start();
    forbidden(&ask(&server, "POST", &[]), "Forbidden - Origin required");
    let empty = ask(&server, "POST", &[("Origin", "")]);
    forbidden(&empty, "Forbidden - Origin required");
    passed(&ask(&server, "POST", &[SAME]));
}

#[test]
fn rule_2_the_origin_must_match_the_host() {
    let server = server().start();
    for other in [
        "https://evil.example",
        "http://evil.example",
        "http://buntime.example.evil.example",
        "http://evil.example/buntime.example",
        "http://sub.buntime.example",
        "http://buntime.example:8080",
        "null",
        "buntime.example",
        "garbage",
    ] {
        forbidden(&ask(&server, "POST", &[("Origin", other)]), "Forbidden");
    }
    // Two of them are no one's.
    forbidden(&ask(&server, "POST", &[SAME, SAME]), "Forbidden");
    // Names compare without case; the default port is the same as none.
    for same in ["http://BUNTIME.example", "http://buntime.example:80"] {
        passed(&ask(&server, "POST", &[("Origin", same)]));
    }
    let with_port = [
        ("Host", "buntime.example:8000"),
        ("Origin", "http://buntime.example:8000"),
    ];
    passed(&send(&server, &format!("POST {ROUTE}"), &with_port, ""));
    let other_port = [
        ("Host", "buntime.example:8000"),
        ("Origin", "http://buntime.example:8001"),
    ];
    forbidden(
        &send(&server, &format!("POST {ROUTE}"), &other_port, ""),
        "Forbidden",
    );
}

#[test]
fn rule_3_no_embedded_credentials() {
    let server = server().start();
    for credentials in [
        "http://user:pass@buntime.example",
        "http://user@buntime.example",
        "http://:@buntime.example",
        "http://@buntime.example",
    ] {
        forbidden(
            &ask(&server, "POST", &[("Origin", credentials)]),
            "Forbidden",
        );
    }
}

#[test]
fn rule_4_only_http_and_https() {
    let server = server().start();
    for scheme in ["ftp", "file", "ws", "wss", "javascript", "chrome-extension"] {
        let origin = format!("{scheme}://buntime.example");
        forbidden(&ask(&server, "POST", &[("Origin", &origin)]), "Forbidden");
    }
    passed(&ask(&server, "POST", &[SAME]));
    // Behind a proxy that ends TLS, Host alone is compared.
    passed(&ask(
        &server,
        "POST",
        &[("Origin", "https://buntime.example")],
    ));
}

#[test]
fn exempt_is_x_buntime_internal_on_a_direct_loopback_connection() {
    let server = server().start();
    let internal = ("X-Buntime-Internal", "true");
    // It skips CSRF and nothing else: a key is still asked for.
    passed(&ask(&server, "POST", &[internal]));
    let refused = "Forbidden - Origin required";
    for other in [
        ("Cookie", "a=1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "buntime.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=192.0.2.1"),
    ] {
        let response = ask(&server, "POST", &[internal, other]);
        assert_eq!(response.status, 403, "{other:?}: {response:?}");
    }
    for value in ["false", "1", "TRUE ", "true, true", ""] {
        if value.trim().eq_ignore_ascii_case("true") {
            continue;
        }
        let response = ask(&server, "POST", &[("X-Buntime-Internal", value)]);
        forbidden(&response, refused);
    }
}

#[test]
fn a_worker_reaches_the_runtime_with_x_buntime_internal() {
    const CALLS: &str = "export default { async fetch(request) {\n\
        const headers = new URL(request.url).pathname === '/internal' ? { 'x-buntime-internal': 'true' } : {};\n\
        const url = `${process.env.RUNTIME_API_URL}/api/workers/upload`;\n\
        const response = await fetch(url, { method: 'POST', headers });\n\
        return new Response(`${response.status} ${await response.text()}`);\n\
    } };\n";
    let server = with_app("", CALLS).start();
    assert_eq!(
        server.get("/app/").text(),
        "403 Forbidden - Origin required"
    );
    // CSRF alone is skipped: a worker that wants to change something needs a key.
    let internal = server.get("/app/internal").text();
    assert!(
        internal.starts_with("401 ") && internal.contains("AUTH_REQUIRED"),
        "{internal}"
    );
}

#[test]
fn exempt_are_get_head_and_options() {
    let server = server().start();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for headers in [&[][..], &[("Origin", "https://evil.example")]] {
            let response = ask(&server, method, headers);
            assert_ne!(response.status, 403, "{method}: {response:?}");
        }
    }
}

#[test]
fn exempt_is_a_credential_in_a_header_which_no_other_site_can_forge() {
    let server = server().start();
    passed(&ask(&server, "POST", &[("X-API-Key", "btk_wrong")]));
    passed(&ask(
        &server,
        "POST",
        &[("Authorization", "Bearer btk_wrong")],
    ));
    // Basic is what a browser sends by itself.
    let basic = ask(&server, "POST", &[("Authorization", "Basic dTpw")]);
    forbidden(&basic, "Forbidden - Origin required");
}

#[test]
fn nothing_else_is_exempt() {
    let server = server().start();
    for header in [
        ("X-Requested-With", "XMLHttpRequest"),
        ("Content-Type", "application/json"),
        ("Referer", "http://buntime.example/"),
        ("Sec-Fetch-Site", "same-origin"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Forwarded-Method", "GET"),
    ] {
        let response = ask(&server, "POST", &[header]);
        forbidden(&response, "Forbidden - Origin required");
    }
}

#[test]
fn the_refusal_is_403_text_plain_forbidden_origin_required() {
    let server = server().start();
    let response = ask(&server, "DELETE", &[("X-Request-Id", "refused-1")]);
    forbidden(&response, "Forbidden - Origin required");
    assert_eq!(response.request_id(), "refused-1");
}

#[test]
fn or_simply_forbidden_when_the_origin_does_not_match() {
    let server = server().start();
    let response = ask(&server, "DELETE", &[("Origin", "https://evil.example")]);
    forbidden(&response, "Forbidden");
}

#[test]
fn a_refusal_is_a_warning_with_id_method_path_origin_and_host() {
    let server = server().start();
    let headers = [
        ("X-Request-Id", "refused-2"),
        ("Origin", "https://evil.example"),
    ];
    forbidden(&ask(&server, "PUT", &headers), "Forbidden");
    let line =
        server.wait_for_log(|line| line.level() == "warn" && line.text("requestId") == "refused-2");
    assert_eq!(line.text("method"), "PUT");
    assert_eq!(line.text("path"), ROUTE);
    assert_eq!(line.text("origin"), "https://evil.example");
    assert_eq!(line.text("host"), HOST);
}

#[test]
fn the_host_is_the_forwarded_one_of_a_trusted_proxy_alone() {
    let forwarded = [
        ("X-Forwarded-Host", "public.example"),
        ("Origin", "https://public.example"),
    ];
    let own = [("X-Forwarded-Host", "public.example"), SAME];
    let trusting = server().start();
    passed(&ask(&trusting, "POST", &forwarded));
    forbidden(&ask(&trusting, "POST", &own), "Forbidden");
    let wary = server().env("RUNTIME_TRUSTED_PROXIES", "none").start();
    forbidden(&ask(&wary, "POST", &forwarded), "Forbidden");
    passed(&ask(&wary, "POST", &own));
}

#[test]
fn the_api_is_validated_under_a_prefix_and_in_other_spellings_too() {
    let server = server().env("RUNTIME_API_PREFIX", "/_").start();
    for path in ["/_/api/keys", "/_/%61pi/keys", "/%5F/api/keys"] {
        let response = send(&server, &format!("POST {path}"), &[("Host", HOST)], "");
        forbidden(&response, "Forbidden - Origin required");
    }
}

const ECHO: &str = "export default { fetch: (request) => new Response(request.method) };\n";

/// Asks an app with the headers of a test after the Host.
#[track_caller]
fn ask_app(server: &TestServer, app: &str, headers: &[(&str, &str)]) -> Response {
    let headers = [&[("Host", HOST)], headers].concat();
    send(server, &format!("POST /{app}/"), &headers, "")
}

#[test]
fn workers_refuse_a_browsers_cross_site_request_by_default() {
    let server = with_app("", ECHO).start();
    for refused in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        let response = ask_app(&server, "app", &[refused]);
        assert_eq!(response.status, 403, "{refused:?}: {response:?}");
    }
    for passed in [
        &[][..],
        &[SAME],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
    ] {
        let response = ask_app(&server, "app", passed);
        assert_eq!(response.text(), "POST", "{passed:?}: {response:?}");
    }
}

#[test]
fn workers_may_ask_for_the_rule_of_the_api() {
    let server = with_app("csrf: strict\n", ECHO).start();
    let response = ask_app(&server, "app", &[]);
    forbidden(&response, "Forbidden - Origin required");
    let other = ask_app(&server, "app", &[("Origin", "https://evil.example")]);
    forbidden(&other, "Forbidden");
    assert_eq!(ask_app(&server, "app", &[SAME]).text(), "POST");
}

#[test]
fn workers_may_turn_it_off_or_trust_other_origins() {
    let server = with_app("csrf: off\n", ECHO)
        .module(
            "trusting@1.0.0",
            &format!("{KEPT}csrf:\n  trustedOrigins: [\"https://friend.example\"]\n"),
            ECHO,
        )
        .start();
    let evil = ("Origin", "https://evil.example");
    let cross = ("Sec-Fetch-Site", "cross-site");
    assert_eq!(ask_app(&server, "app", &[evil, cross]).text(), "POST");
    let friend = ("Origin", "https://friend.example");
    assert_eq!(
        ask_app(&server, "trusting", &[friend, cross]).text(),
        "POST"
    );
    for refused in [
        &[evil][..],
        &[evil, cross],
        &[("Origin", "http://friend.example")],
        &[("Origin", "https://friend.example:444")],
        &[("Origin", "https://friend.example.evil.example")],
    ] {
        let response = ask_app(&server, "trusting", refused);
        assert_eq!(response.status, 403, "{refused:?}: {response:?}");
    }
}

#[test]
fn a_websocket_upgrade_is_checked_like_a_post() {
    const SOCKET: &str = "export default {\n\
        fetch: (request, server) => server.upgrade(request) ? undefined : new Response('no'),\n\
        websocket: { message() {} },\n};\n";
    let server = with_app("", SOCKET).start();
    let upgrade = [
        ("Host", HOST),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let ask = |origin: &'static str| {
        let headers = [&upgrade[..], &[("Origin", origin)]].concat();
        send(&server, "GET /app/", &headers, "").status
    };
    assert_eq!(ask("https://evil.example"), 403);
    assert_eq!(ask("null"), 403);
    assert_eq!(ask("http://buntime.example"), 101);
}
