//! X8, X9: headers of what the server itself answers, and nothing of a request in it.

use buntime_testkit::Response;

use super::support::{ask, builder, server, with};

const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
const NAVIGATION: (&str, &str) = ("Sec-Fetch-Mode", "navigate");

#[track_caller]
fn protected(response: &Response) {
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.starts_with(POLICY), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'));
    assert_eq!(
        response.header("x-content-type-options").unwrap(),
        "nosniff"
    );
    assert_eq!(response.header("referrer-policy").unwrap(), "no-referrer");
    let text = response.text();
    assert!(!text.contains("://") && !text.contains("src="), "{text}");
}

type Header = (&'static str, &'static str);

/// What the server answers by itself, with each status that it has.
const OWN: [(&str, &str, &[Header], u16); 16] = [
    ("GET", "/", &[], 302),
    ("GET", "/favicon.ico", &[], 204),
    ("GET", "/health", &[], 200),
    ("GET", "/api/health/ready", &[], 200),
    ("GET", "/.well-known/buntime", &[], 200),
    ("OPTIONS", "*", &[], 204),
    ("GET", "/say", &[], 308),
    ("GET", "//say/", &[], 308),
    ("GET", "/say/%", &[], 400),
    ("GET", "/api/keys", &[], 401),
    ("POST", "/api/keys", &[], 403),
    ("GET", "/nobody/", &[], 404),
    ("POST", "/health", &[], 405),
    ("POST", "/say/", &[("Content-Length", "99999999")], 413),
    ("GET", "/api/keys", &[("Cookie", "buntime_session=x")], 421),
    ("GET", "/throws/", &[], 502),
];

#[test]
fn x8_each_answer_of_the_servers_own_is_protected() {
    let server = builder()
        .app(
            "throws@1.0.0",
            "ttl: 1h\n",
            &[("index.ts", "throw new Error('no')")],
        )
        .start();
    for (method, target, headers, status) in OWN {
        for navigation in [&[][..], &[NAVIGATION]] {
            let headers = with(headers, navigation);
            let response = ask(server.addr(), method, target, &headers);
            assert_eq!(response.status, status, "{method} {target}");
            assert!(!response.request_id().is_empty());
            protected(&response);
            assert!(response.all("strict-transport-security").is_empty());
        }
    }
    // What an app or a site answers is its own.
    for target in ["/say/", "/site/"] {
        let response = server.get(target);
        assert_eq!(response.status, 200);
        assert!(response.all("content-security-policy").is_empty());
        assert!(response.all("strict-transport-security").is_empty());
    }
}

#[test]
fn x8_who_came_by_https_is_asked_to_stay_with_it() {
    let by_https = [("X-Forwarded-Proto", "https")];
    let trusting = server();
    for (method, target, headers, status) in OWN {
        // A refused head is answered before its headers are believed, and no app throws here.
        if matches!(status, 400 | 502) {
            continue;
        }
        let response = ask(trusting.addr(), method, target, &with(headers, &by_https));
        assert_eq!(response.status, status);
        let asked = response.header("strict-transport-security").unwrap();
        assert_eq!(asked, "max-age=31536000", "{method} {target}");
    }
    let plain = [("X-Forwarded-Proto", "http")];
    let response = ask(trusting.addr(), "GET", "/health", &plain);
    assert!(response.all("strict-transport-security").is_empty());
    // H6: what anybody can claim has no effect.
    let wary = builder().env("RUNTIME_TRUSTED_PROXIES", "none").start();
    let response = ask(wary.addr(), "GET", "/health", &by_https);
    assert!(response.all("strict-transport-security").is_empty());
}

#[test]
fn x9_nothing_of_a_request_is_written_into_a_page() {
    let server = server();
    let id = ("X-Request-Id", "<script>alert(4)</script>");
    for (method, target, host, status) in [
        ("GET", "/<script>alert(1)</script>", "a", 404),
        ("GET", "/%3Cscript%3Ealert(1)%3C/script%3E", "a", 404),
        ("GET", "/say/%<script>alert(1)</script>", "a", 400),
        ("GET", "/nobody/?q=<script>alert(1)</script>", "a", 404),
        ("GET", "/", "<script>alert(2)</script>", 400),
        ("<script>", "/", "a", 400),
        ("GET", "/api/<script>alert(1)</script>", "a", 401),
    ] {
        let headers = [
            ("Host", host),
            id,
            NAVIGATION,
            ("Referer", "http://a/<script>alert(3)</script>"),
        ];
        let response = ask(server.addr(), method, target, &headers);
        assert_eq!(response.status, status, "{method} {target} {host}");
        assert!(!response.text().to_lowercase().contains("script"));
        protected(&response);
    }
    let headers = [
        ("Host", "a"),
        ("Origin", "http://<script>alert(5)</script>"),
        id,
    ];
    for target in ["/api/<script>", "/say/<script>"] {
        let response = ask(server.addr(), "POST", target, &headers);
        assert_eq!(
            (response.status, response.text().as_str()),
            (403, "Forbidden")
        );
        protected(&response);
    }
}
