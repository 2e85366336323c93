//! R: one request id on every response, the client's only where it is harmless.

use buntime_testkit::log::LogLine;
use buntime_testkit::{Response, is_uuid};

use crate::support::{echo, echo_server, header_of, sound};

#[track_caller]
fn fresh(response: &Response) {
    assert!(is_uuid(&response.request_id()), "{response:?}");
}

#[test]
fn r1_a_good_id_is_kept_everywhere() {
    let server = echo_server();
    let mut client = server.connect();
    let longest = "x".repeat(128);
    for id in ["abc-123", "A.b_c:d-9", "0", &longest] {
        let response = client.request("GET", "/echo/", &[("X-Request-Id", id)], b"");
        assert_eq!(response.request_id(), id);
        let line = server.wait_for_log(|line| line.text("requestId") == id);
        assert_eq!((line.message(), line.text("path")), ("Request", "/echo/"));
        assert_eq!(
            header_of(&response.json(), "x-request-id").as_deref(),
            Some(id)
        );
    }
    // Where the app fails, the log and the body name it too.
    let response = client.request("GET", "/echo/throw", &[("X-Request-Id", "abc-throw")], b"");
    assert_eq!(response.status, 502);
    assert_eq!(response.request_id(), "abc-throw");
    assert_eq!(response.json()["error"]["requestId"], "abc-throw");
    server.wait_for_log(|line| line.text("requestId") == "abc-throw" && line.level() != "debug");
    assert!(!response.text().contains("secret reason"));
}

#[test]
fn r2_r3_r4_r6_other_ids_are_replaced() {
    let server = echo_server();
    let too_long = "y".repeat(129);
    let values: Vec<&[u8]> = vec![
        too_long.as_bytes(),
        b"<script>alert(1)</script>",
        b"a b",
        b"a\"b",
        b"a\\nb",
        b"${jndi:x}",
        b"",
        b"   ",
        b"a\tb",
        b"a,b",
        b"caf\xC3\xA9",
        b"\x80\xFF",
    ];
    for value in values {
        let mut client = server.connect();
        client.send(b"GET /echo/throw HTTP/1.1\r\nHost: a\r\nX-Request-Id: ");
        client.send(value);
        client.send(b"\r\n\r\n");
        let response = client.response_to("GET");
        sound(&response);
        assert_eq!(response.status, 502);
        fresh(&response);
        let id = response.request_id();
        server.wait_for_log(|line| line.text("requestId") == id);
    }
    // Two ids are none.
    let mut client = server.connect();
    let both = [("X-Request-Id", "one"), ("X-Request-Id", "two")];
    fresh(&client.request("GET", "/echo/", &both, b""));
    // A control character is no header value at all.
    client.send(b"GET /echo/ HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\x1B[31mb\r\n\r\n");
    let response = client.response_to("GET");
    assert!(matches!(response.status, 200 | 400));
    fresh(&response);
    // Reading the log asserts that each line is one line of JSON without controls.
    let log: Vec<LogLine> = server.log();
    let output = server.output();
    assert!(!log.is_empty());
    for sent in [&too_long, "<script>", "jndi", "\u{1b}"] {
        assert!(!output.contains(sent), "{sent} stands in the log");
    }
}

#[test]
fn r7_every_status_has_one() {
    let server = echo()
        .env("RUNTIME_HEAD_TIMEOUT", "500ms")
        .app(
            "broken@1.0.0",
            "ttl: never\n",
            &[("index.ts", "export default {}")],
        )
        .app(
            "slow@1.0.0",
            "ttl: 1h\ntimeout: 1s\nidleTimeout: 2s\n",
            &[(
                "index.ts",
                "export default { fetch: () => new Promise(() => {}) }",
            )],
        )
        .app(
            "throws@1.0.0",
            "ttl: 1h\n",
            &[("index.ts", "throw new Error('no')")],
        )
        .start();
    let head = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    for (bytes, status) in [
        (head("GET /echo/ HTTP/1.1"), 200),
        (head("GET /favicon.ico HTTP/1.1"), 204),
        (head("GET / HTTP/1.1"), 302),
        (head("GET /echo HTTP/1.1"), 308),
        (head("GET /echo/% HTTP/1.1"), 400),
        (head("GET /api/keys HTTP/1.1"), 401),
        (head("POST /api/keys HTTP/1.1"), 403),
        (head("GET /nobody/ HTTP/1.1"), 404),
        (head("POST /health HTTP/1.1"), 405),
        (head("TRACE /echo/ HTTP/1.1"), 405),
        ("GET /echo/ HTTP/1.1\r\nHost".to_owned(), 408),
        (
            head("POST /echo/ HTTP/1.1\r\nContent-Length: 99999999"),
            413,
        ),
        (head(&format!("GET /{} HTTP/1.1", "a".repeat(20_000))), 414),
        (
            head("POST /echo/ HTTP/1.1\r\nContent-Length: 1\r\nExpect: tea"),
            417,
        ),
        (
            head("GET /api/keys HTTP/1.1\r\nCookie: buntime_session=x"),
            421,
        ),
        (
            head(&"GET / HTTP/1.1\r\nX: 1".replace("X: 1", &vec!["X: 1"; 150].join("\r\n"))),
            431,
        ),
        (head("FOO /echo/ HTTP/1.1"), 501),
        (head("GET /throws/ HTTP/1.1"), 502),
        (head("GET /broken/ HTTP/1.1"), 503),
        (head("GET /slow/ HTTP/1.1"), 504),
        (head("GET /echo/ HTTP/1.9"), 505),
    ] {
        let mut client = server.connect();
        client.send(bytes.as_bytes());
        let response = client.response_to("GET");
        assert_eq!(response.status, status, "{bytes:.100}");
        fresh(&response);
        if status >= 400 && !matches!(status, 403 | 413) {
            assert_eq!(response.json()["error"]["requestId"], response.request_id());
        }
    }
}
