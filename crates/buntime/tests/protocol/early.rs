//! T11: answers that come before the request's body has, which looks like requests.

use buntime_testkit::api::{self, ROOT_KEY};
use serde_json::json;

use crate::support::{Invariants, SMUGGLED, echo, echo_server, sound};

const LARGE: usize = 5 * 1024 * 1024;

/// A body on the wire, and how much of it comes before the answer does.
struct Sent {
    framing: String,
    bytes: Vec<u8>,
    early: usize,
}

/// Requests that nobody may see, as bodies: whole ones, and such as are still on their way when
/// they are answered.
fn bodies() -> Vec<Sent> {
    let mut bodies = Vec::new();
    for (length, early) in [(100 * SMUGGLED.len(), usize::MAX), (LARGE, 100_000)] {
        let body: Vec<u8> = SMUGGLED.iter().copied().cycle().take(length).collect();
        let chunked = [
            format!("{length:x}\r\n").as_bytes(),
            &body,
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        for (framing, bytes) in [
            (format!("Content-Length: {length}"), body),
            ("Transfer-Encoding: chunked".to_owned(), chunked),
        ] {
            let early = early.min(bytes.len());
            bodies.push(Sent {
                framing,
                bytes,
                early,
            });
        }
    }
    bodies
}

#[test]
fn t11_the_rest_of_a_body_that_was_answered_early_is_never_a_request() {
    let server = echo()
        .env("RUNTIME_ROOT_KEY", ROOT_KEY)
        .app(
            "site@1.0.0",
            "",
            &[("package.json", "{}"), ("index.html", "<p>")],
        )
        .start();
    let viewer = json!({"name": "viewer", "role": "viewer"});
    let viewer = api::make_key(&server, ROOT_KEY, &viewer).secret;
    let before = Invariants::of(&server);
    let root = format!("X-API-Key: {ROOT_KEY}\r\n");
    let viewer = format!("X-API-Key: {viewer}\r\n");
    let same_origin = "Host: localhost\r\nOrigin: http://localhost\r\n";
    let foreign = "Host: attacker.example\r\nOrigin: http://attacker.example\r\n";
    let own = "Host: a\r\n";
    for (status, target, headers) in [
        (400, "//echo/x", own.to_owned()),
        (401, "/api/keys", same_origin.to_owned()),
        (401, "/api/workers/upload", same_origin.to_owned()),
        (401, "/api/keys", format!("{own}X-API-Key: wrong\r\n")),
        (403, "/api/keys", own.to_owned()),
        (403, "/api/keys", format!("{own}{viewer}")),
        (404, "/nobody/x", own.to_owned()),
        (404, "/echo", own.to_owned()),
        (404, "/api/nothing", format!("{own}{root}")),
        (405, "/health", own.to_owned()),
        (405, "/site/", own.to_owned()),
        (
            415,
            "/api/keys",
            format!("{own}{root}Content-Type: text/plain\r\n"),
        ),
        (421, "/api/admin/session", foreign.to_owned()),
        // An app's own answer: the worker's connection must not be used again either.
        (200, "/echo/unread", own.to_owned()),
    ] {
        for (sent, goes_on) in bodies()
            .iter()
            .flat_map(|sent| [(sent, true), (sent, false)])
        {
            let what = format!("{status} {target}, {}, goes on: {goes_on}", sent.framing);
            let mut client = server.connect();
            let head = format!(
                "POST {target} HTTP/1.1\r\n{headers}{}\r\n\r\n",
                sent.framing
            );
            client.send(head.as_bytes());
            client.send(&sent.bytes[..sent.early]);
            let response = client.response_to("POST");
            sound(&response);
            assert_eq!(response.status, status, "{what}: {}", response.text());
            // Closed or drained: what follows the whole body may be answered, nothing else.
            if goes_on {
                client.send(&sent.bytes[sent.early..]);
                client.send(b"GET /echo/after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                if let Some(next) = client.next_response("GET") {
                    assert_eq!(response.header("connection"), None, "{what}");
                    assert_eq!(next.json()["url"], "http://a/after", "{what}");
                }
            } else {
                client.finish();
            }
            client.assert_closed();
        }
    }
    before.hold(&server);
}

#[test]
fn t11_the_rest_of_a_body_that_is_too_large_or_malformed_is_never_a_request() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let smuggled = SMUGGLED.repeat(100);
    for (status, framing, body) in [
        (413, "Content-Length: 11534336", &b""[..]),
        (400, "Transfer-Encoding: chunked", b"5\r\nhello\r\nz\r\n"),
        (400, "Transfer-Encoding: chunked", b"5\r\nhello"),
    ] {
        let mut client = server.connect();
        let head = format!("POST /echo/count HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        client.send(&[head.as_bytes(), body, &smuggled].concat());
        let response = client.response_to("POST");
        sound(&response);
        assert_eq!(response.status, status, "{framing}");
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        client.finish();
        client.assert_closed();
    }
    before.hold(&server);
}
