//! CSRF of requests to apps and static sites, by what their manifests say.

use buntime_testkit::Response;

use super::support::{CHANGES, ask, ask_h2, forbidden, server, with, workers_address};

type Header = (&'static str, &'static str);

const HOST: Header = ("Host", "a.example");
const OWN: Header = ("Origin", "http://a.example");
const EVIL: Header = ("Origin", "https://evil.example");
const FRIEND: Header = ("Origin", "https://friend.example");
const NULL: Header = ("Origin", "null");
const CROSS: Header = ("Sec-Fetch-Site", "cross-site");
const SIBLING: Header = ("Sec-Fetch-Site", "same-site");
const SAME: Header = ("Sec-Fetch-Site", "same-origin");
const USER: Header = ("Sec-Fetch-Site", "none");
const KEY: Header = ("X-API-Key", "of-the-app");
const COOKIE: Header = ("Cookie", "login=1");
const INTERNAL: Header = ("X-Buntime-Internal", "true");

const REQUIRED: &str = "Forbidden - Origin required";
const REFUSED: &str = "Forbidden";
const PASSES: &str = "";

#[track_caller]
fn is(response: &Response, body: &str) {
    if body == PASSES {
        assert_eq!(response.status, 200, "{}", response.text());
    } else {
        forbidden(response, body);
    }
}

/// What each app's policy makes of a request with these headers: the default one's,
/// that of `strict`, and of the one with a trusted origin.
const CASES: [(&[Header], [&str; 3]); 16] = [
    (&[], [PASSES, REQUIRED, PASSES]),
    (&[OWN], [PASSES, PASSES, PASSES]),
    (&[OWN, SAME], [PASSES, PASSES, PASSES]),
    (&[OWN, SAME, COOKIE], [PASSES, PASSES, PASSES]),
    (&[USER], [PASSES, REQUIRED, PASSES]),
    (&[EVIL], [REFUSED, REFUSED, REFUSED]),
    (&[EVIL, COOKIE], [REFUSED, REFUSED, REFUSED]),
    (&[EVIL, SAME], [REFUSED, REFUSED, REFUSED]),
    (&[NULL], [REFUSED, REFUSED, REFUSED]),
    (&[CROSS], [REFUSED, REQUIRED, REFUSED]),
    (&[SIBLING], [REFUSED, REQUIRED, REFUSED]),
    (&[OWN, CROSS, COOKIE], [REFUSED, REFUSED, REFUSED]),
    (&[FRIEND], [REFUSED, REFUSED, PASSES]),
    (&[FRIEND, CROSS, COOKIE], [REFUSED, REFUSED, PASSES]),
    (&[KEY], [PASSES, PASSES, PASSES]),
    (&[INTERNAL], [PASSES, PASSES, PASSES]),
];

#[test]
fn an_app_is_protected_as_its_manifest_says() {
    let server = server();
    for (headers, expected) in CASES {
        let headers = with(&[HOST], headers);
        for method in CHANGES {
            for (app, expected) in ["say", "strict", "trusting"].into_iter().zip(expected) {
                let response = ask(server.addr(), method, &format!("/{app}/x"), &headers);
                is(&response, expected);
            }
            is(&ask(server.addr(), method, "/off/x", &headers), PASSES);
        }
        // What changes nothing is asked nothing.
        for method in ["GET", "HEAD", "OPTIONS"] {
            for app in ["say", "strict", "trusting", "off"] {
                let response = ask(server.addr(), method, &format!("/{app}/x"), &headers);
                is(&response, PASSES);
            }
        }
    }
}

#[test]
fn the_same_over_http_2_and_by_the_workers_own_listener() {
    let server = server();
    let workers = workers_address(&server);
    for (headers, expected) in CASES {
        for (app, expected) in ["say", "strict", "trusting"].into_iter().zip(expected) {
            let target = format!("/{app}/x");
            let by_worker = ask(workers, "POST", &target, &with(&[HOST], headers));
            is(&by_worker, expected);
            let lower: Vec<(String, &str)> = headers
                .iter()
                .map(|(name, value)| (name.to_lowercase(), *value))
                .collect();
            let lower: Vec<(&str, &str)> = lower
                .iter()
                .map(|(name, value)| (name.as_str(), *value))
                .collect();
            let url = format!("http://a.example{target}");
            let (status, _, body) = ask_h2(server.addr(), "POST", &url, &lower);
            if expected == PASSES {
                assert_eq!(status, 200, "{headers:?}: {body}");
            } else {
                assert_eq!((status, body.as_str()), (403, expected), "{headers:?}");
            }
        }
    }
}

#[test]
fn what_a_page_cannot_send_does_not_help_a_cross_site_request_by_default() {
    let server = server();
    let headers = [HOST, EVIL, CROSS, KEY];
    forbidden(&ask(server.addr(), "POST", "/say/x", &headers), REFUSED);
    // From elsewhere, or for a user, the internal header is any header.
    for more in [COOKIE, ("X-Forwarded-For", "6.6.6.6")] {
        let headers = [HOST, INTERNAL, more];
        forbidden(&ask(server.addr(), "POST", "/strict/x", &headers), REQUIRED);
    }
}

#[test]
fn a_static_site_is_protected_too() {
    let server = server();
    for method in CHANGES {
        let response = ask(server.addr(), method, "/site/", &[HOST, EVIL]);
        forbidden(&response, REFUSED);
        assert_eq!(ask(server.addr(), method, "/site/", &[HOST]).status, 405);
    }
}

#[test]
fn t18_an_upgrade_is_checked_like_a_post() {
    let server = server();
    let handshake = [
        HOST,
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (app, headers, status) in [
        ("say", &[][..], 101),
        ("say", &[OWN], 101),
        ("say", &[OWN, SAME, COOKIE], 101),
        ("say", &[EVIL, COOKIE], 403),
        ("say", &[EVIL, CROSS, COOKIE], 403),
        ("say", &[CROSS], 403),
        ("say", &[NULL], 403),
        ("strict", &[], 403),
        ("strict", &[EVIL], 403),
        ("strict", &[OWN], 101),
        ("trusting", &[FRIEND, CROSS, COOKIE], 101),
        ("trusting", &[EVIL], 403),
        ("off", &[EVIL, CROSS, COOKIE], 101),
        // What is refused is refused before its handshake is looked at.
        ("say", &[EVIL, ("Sec-WebSocket-Protocol", "\"")], 403),
    ] {
        let headers = with(&handshake, headers);
        let response = ask(server.addr(), "GET", &format!("/{app}/ws"), &headers);
        assert_eq!(response.status, status, "{app} {headers:?}");
        assert!(!response.request_id().is_empty());
    }
}

#[test]
fn a_proxys_host_is_the_host_if_the_proxy_is_trusted() {
    let behind = [
        ("Host", "inner:8000"),
        ("X-Forwarded-Host", "a.example"),
        OWN,
    ];
    let trusting = server();
    is(&ask(trusting.addr(), "POST", "/say/x", &behind), PASSES);
    let forwarded = [
        ("Host", "inner:8000"),
        ("Forwarded", "host=evil.example, for=9.9.9.9;host=a.example"),
    ];
    is(
        &ask(trusting.addr(), "POST", "/say/x", &with(&forwarded, &[OWN])),
        PASSES,
    );
    // A quote that its client left open does not swallow what the proxy says.
    let swallowed = [
        HOST,
        (
            "Forwarded",
            "host=evil.example;x=\", for=9.9.9.9;host=a.example",
        ),
        ("Origin", "http://evil.example"),
    ];
    forbidden(&ask(trusting.addr(), "POST", "/say/x", &swallowed), REFUSED);
    let claimed = [HOST, ("X-Forwarded-Host", "evil.example"), EVIL];
    // The last word is the proxy's own.
    let appended = [
        ("Host", "inner:8000"),
        ("X-Forwarded-Host", "evil.example, a.example"),
    ];
    let evil = with(&appended, &[("Origin", "http://evil.example")]);
    forbidden(&ask(trusting.addr(), "POST", "/say/x", &evil), REFUSED);
    is(
        &ask(trusting.addr(), "POST", "/say/x", &with(&appended, &[OWN])),
        PASSES,
    );
    let unreadable = [HOST, ("X-Forwarded-Host", "a.example/x"), OWN];
    forbidden(
        &ask(trusting.addr(), "POST", "/say/x", &unreadable),
        REFUSED,
    );

    let wary = super::support::builder()
        .env("RUNTIME_TRUSTED_PROXIES", "192.0.2.0/24")
        .start();
    forbidden(&ask(wary.addr(), "POST", "/say/x", &behind), REFUSED);
    forbidden(&ask(wary.addr(), "POST", "/say/x", &claimed), REFUSED);
    let forwarded = with(&forwarded, &[OWN]);
    forbidden(&ask(wary.addr(), "POST", "/say/x", &forwarded), REFUSED);
    // A worker is no proxy.
    let workers = workers_address(&trusting);
    forbidden(&ask(workers, "POST", "/say/x", &behind), REFUSED);
}

#[test]
fn a_refusal_is_logged_with_its_app_and_a_new_manifest_counts_at_once() {
    let server = server();
    let headers = [HOST, EVIL, ("X-Request-Id", "to-an-app")];
    forbidden(&ask(server.addr(), "PUT", "/say/x?y=z", &headers), REFUSED);
    let line = server.wait_for_log(|line| line.text("requestId") == "to-an-app");
    assert_eq!(line.level(), "warn");
    for (field, value) in [
        ("method", "PUT"),
        ("path", "/say/x"),
        ("origin", "https://evil.example"),
        ("host", "a.example"),
        ("app", "say@1.0.0"),
    ] {
        assert_eq!(line.text(field), value);
    }
    let manifest = server.dir().join("apps/say@1.0.0/manifest.yaml");
    std::fs::write(manifest, "ttl: 1h\ncsrf: 'off'\n").unwrap();
    server.wait_until("the new policy counts", || {
        ask(server.addr(), "PUT", "/say/x", &[HOST, EVIL]).status == 200
    });
}
