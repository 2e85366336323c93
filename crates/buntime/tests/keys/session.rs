//! K7, K8, K9: logging in and out.

use std::sync::Arc;

use buntime_testkit::tls::{Certificate, client};
use buntime_testkit::{Response, TestServer};
use serde_json::{Value, json};

use super::support::{ROOT, ask, builder, cookie, failed, get, make, revoke, viewer};

const LOGIN: &str = "/api/admin/session";

fn try_log_in(server: &TestServer, key: &str, more: &[(&str, &str)]) -> Response {
    let own = [
        ("Host", "localhost"),
        ("Origin", "http://localhost"),
        ("Content-Type", "application/json"),
    ];
    let body = json!({"key": key}).to_string();
    let headers = [&own, more].concat();
    server
        .connect()
        .request("POST", LOGIN, &headers, body.as_bytes())
}

/// Logs in and gives the cookie, as it is sent back.
pub(super) fn log_in(server: &TestServer, key: &str) -> String {
    let response = try_log_in(server, key, &[]);
    assert_eq!(response.status, 200, "{}", response.text());
    cookie(&response).0
}

fn who(server: &TestServer, cookie: &str) -> Response {
    let headers = [("Host", "localhost"), ("Cookie", cookie)];
    server.connect().request("GET", LOGIN, &headers, b"")
}

#[test]
fn k7_the_cookie_is_no_key_and_has_every_guard() {
    let server = builder().start();
    let key = make(&server, ROOT, &viewer("panel"));
    let response = try_log_in(&server, &key.secret, &[]);
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["authenticated"], true);
    assert_eq!(response.json()["principal"]["name"], "panel");
    assert!(!response.text().contains(&key.secret));
    let (pair, attributes) = cookie(&response);
    let (name, token) = pair.split_once('=').unwrap();
    assert_eq!(name, "buntime_session");
    assert!(token.len() == 64 && !key.secret.contains(token));
    assert_eq!(
        attributes,
        ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=86400"]
    );
    let me = who(&server, &pair);
    assert_eq!(me.status, 200);
    assert_eq!(me.json()["principal"]["id"], key.id.as_str());
    // It is no key, and a key is no cookie.
    failed(&get(&server, token, LOGIN), 401, "AUTH_REQUIRED");
    for wrong in [
        format!("buntime_session={}", key.secret),
        format!("buntime_session={}", &token[1..]),
        format!("BUNTIME_SESSION={token}"),
        format!("__Host-buntime_session={token}"),
        format!("{pair}; buntime_session=x"),
        "buntime_session=".to_owned(),
    ] {
        failed(&who(&server, &wrong), 401, "AUTH_REQUIRED");
    }
    assert_eq!(who(&server, &format!("a=1; {pair}; b=2")).status, 200);
    // Over a proxy that came by HTTPS the cookie has the other name.
    let response = try_log_in(
        &server,
        &key.secret,
        &[
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-For", "192.0.2.7"),
        ],
    );
    assert_eq!(response.status, 403, "an http origin is none of https");
}

#[test]
fn k7_over_https_the_cookie_is_secure_and_of_this_host_alone() {
    let certificate = Certificate::new();
    let client = Arc::new(client(&[&certificate], &[b"http/1.1"]));
    let builder = builder();
    let (cert, key) = certificate.write(builder.dir());
    let server = builder
        .env("RUNTIME_TLS_CERT", cert.to_str().unwrap())
        .env("RUNTIME_TLS_KEY", key.to_str().unwrap())
        .start();
    let mut connection = server.connect_tls(&client);
    let headers = [("Host", "localhost"), ("Origin", "https://localhost")];
    let body = json!({"key": ROOT}).to_string();
    let response = connection.request("POST", LOGIN, &headers, body.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    let (pair, attributes) = cookie(&response);
    assert!(pair.starts_with("__Host-buntime_session="), "{pair}");
    assert!(attributes.contains(&"Secure".to_owned()), "{attributes:?}");
    assert!(attributes.contains(&"Path=/".to_owned()), "{attributes:?}");
    let mut ask = |cookie: &str| {
        let headers = [("Host", "localhost"), ("Cookie", cookie)];
        connection.request("GET", LOGIN, &headers, b"").status
    };
    assert_eq!(ask(&pair), 200);
    // The name that another host of the domain could set does not count here.
    assert_eq!(ask(pair.strip_prefix("__Host-").unwrap()), 401);
}

#[test]
fn k8_the_eleventh_failure_of_a_minute_waits_and_others_do_not() {
    let server = builder().start();
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    for _ in 0..10 {
        failed(
            &try_log_in(&server, "wrong", &from("192.0.2.1")),
            401,
            "INVALID_KEY",
        );
    }
    for key in ["wrong", ROOT] {
        for _ in 0..20 {
            let response = try_log_in(&server, key, &from("192.0.2.1"));
            failed(&response, 429, "TOO_MANY_ATTEMPTS");
            let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
    assert_eq!(try_log_in(&server, ROOT, &from("192.0.2.2")).status, 200);
    assert_eq!(try_log_in(&server, ROOT, &[]).status, 200);
    // What the client itself says before its proxy counts for nothing.
    let response = try_log_in(&server, ROOT, &from("192.0.2.9, 192.0.2.1"));
    failed(&response, 429, "TOO_MANY_ATTEMPTS");
    // A key in a header is not slowed: 256 bits are guessed by nobody.
    let headers = [("X-API-Key", ROOT), ("X-Forwarded-For", "192.0.2.1")];
    let mut connection = server.connect();
    assert_eq!(connection.request("GET", LOGIN, &headers, b"").status, 200);
}

#[test]
fn k9_a_session_ends_by_logout_revocation_and_rotation() {
    let server = builder().start();
    let key = make(&server, ROOT, &viewer("panel"));
    let log_out = |cookie: &str, more: &[(&str, &str)]| {
        let own = [
            ("Host", "localhost"),
            ("Origin", "http://localhost"),
            ("Cookie", cookie),
        ];
        let headers = [&own, more].concat();
        server.connect().request("DELETE", LOGIN, &headers, b"")
    };
    let (first, second) = (log_in(&server, &key.secret), log_in(&server, &key.secret));
    // Another page cannot log anybody out.
    let origin = [
        ("Host", "localhost"),
        ("Origin", "http://evil.example"),
        ("Cookie", &first),
    ];
    let forged = server.connect().request("DELETE", LOGIN, &origin, b"");
    assert_eq!(forged.status, 403);
    // A credential in a header decides alone: the cookie is not looked at.
    assert_eq!(log_out(&first, &[("X-API-Key", "x")]).status, 204);
    assert_eq!(who(&server, &first).status, 200);
    let response = log_out(&first, &[]);
    assert_eq!(response.status, 204);
    let (pair, attributes) = cookie(&response);
    assert_eq!(pair, "buntime_session=");
    assert!(attributes.contains(&"Max-Age=0".to_owned()));
    failed(&who(&server, &first), 401, "AUTH_REQUIRED");
    assert_eq!(who(&server, &second).status, 200);
    assert_eq!(log_out(&first, &[]).status, 204, "it is gone already");
    // Logging in again ends the session that the browser had.
    let again = try_log_in(&server, &key.secret, &[("Cookie", &second)]);
    assert_eq!(again.status, 200);
    failed(&who(&server, &second), 401, "AUTH_REQUIRED");
    let second = cookie(&again).0;
    assert_eq!(who(&server, &second).status, 200);
    let rotate = format!("/api/keys/{}/rotate", key.id);
    let rotated = ask(
        &server,
        ROOT,
        "POST",
        &rotate,
        Some(&json!({"grace": "1h"})),
    );
    assert_eq!(rotated.status, 200);
    failed(&who(&server, &second), 401, "AUTH_REQUIRED");
    let third = log_in(&server, &key.secret);
    assert_eq!(revoke(&server, ROOT, &key.id).status, 200);
    failed(&who(&server, &third), 401, "AUTH_REQUIRED");
    failed(&try_log_in(&server, &key.secret, &[]), 401, "INVALID_KEY");
}

#[test]
fn a_session_lasts_as_long_as_it_was_configured() {
    let server = builder().env("RUNTIME_CPANEL_SESSION_TTL", "1s").start();
    let response = try_log_in(&server, ROOT, &[]);
    let (pair, attributes) = cookie(&response);
    assert!(attributes.contains(&"Max-Age=1".to_owned()));
    server.wait_until("the session has ended", || {
        who(&server, &pair).status == 401
    });
}

#[test]
fn a_cookie_changes_things_only_for_pages_of_its_own_origin() {
    let server = builder().start();
    let pair = log_in(&server, ROOT);
    let create = |more: &[(&str, &str)]| {
        let own = [("Host", "localhost"), ("Cookie", pair.as_str())];
        let headers = [&own, more].concat();
        let body = viewer("by cookie").to_string();
        server
            .connect()
            .request("POST", "/api/keys", &headers, body.as_bytes())
            .status
    };
    let origin = ("Origin", "http://localhost");
    assert_eq!(create(&[origin]), 201);
    assert_eq!(create(&[]), 403);
    assert_eq!(create(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(create(&[origin, ("Sec-Fetch-Site", "same-site")]), 403);
    // A form cannot be JSON.
    assert_eq!(create(&[origin, ("Content-Type", "text/plain")]), 415);
}

#[test]
fn bodies_that_are_no_login() {
    let server = builder().start();
    let headers = [("Host", "localhost"), ("Origin", "http://localhost")];
    let post = |body: &str| {
        server
            .connect()
            .request("POST", LOGIN, &headers, body.as_bytes())
    };
    for (body, code) in [
        ("", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        ("{}", "VALIDATION_ERROR"),
        (r#"{"key":""}"#, "VALIDATION_ERROR"),
        (r#"{"key":5}"#, "VALIDATION_ERROR"),
        (r#"{"key":"x","user":"y"}"#, "VALIDATION_ERROR"),
    ] {
        failed(&post(body), 400, code);
    }
    let deep = format!("{{\"key\":{}", "[".repeat(100_000));
    failed(&post(&deep), 400, "INVALID_JSON");
    let long = json!({"key": "x".repeat(10_000)}).to_string();
    failed(&post(&long), 401, "INVALID_KEY");
    let _: Value = get(&server, ROOT, LOGIN).json();
}
