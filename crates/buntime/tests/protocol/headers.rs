//! H: bounds on headers both ways, and what passes neither way.

use buntime_testkit::Connection;

use crate::support::{
    Invariants, echo, echo_server, failed, header_of, refused, seen_by_app, sound,
};

#[test]
fn h1_too_many_or_too_large_request_headers() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let with = |headers: &str| format!("GET /echo/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let fill = |count: usize, size: usize| {
        (0..count)
            .map(|n| format!("X-{n}: {}\r\n", "v".repeat(size)))
            .collect::<String>()
    };
    for headers in [
        fill(200, 1),
        fill(100, 1),
        fill(5, 15_000),
        fill(1, 16 * 1024 + 1),
        fill(1, 70_000),
        format!("{}: v\r\n", "n".repeat(70_000)),
    ] {
        let response = refused(&server, with(&headers).as_bytes(), &[431]);
        failed(&response, 431, "HEADERS_TOO_LARGE");
    }
    for headers in [fill(99, 1), fill(1, 16 * 1024), fill(4, 15_000)] {
        let mut client = server.connect();
        client.send(with(&headers).as_bytes());
        assert_eq!(client.response_to("GET").status, 200);
    }
    // Endless, never to be complete.
    let mut client = server.connect();
    client.send(b"GET /echo/ HTTP/1.1\r\nHost: a\r\nX: ");
    while client.try_send(&[b'v'; 8192]).is_ok() {
        if client.stream().peek_now() {
            break;
        }
    }
    failed(&client.response_to("GET"), 431, "HEADERS_TOO_LARGE");
    before.hold(&server);
}

/// Whether something can be read at once.
trait PeekNow {
    fn peek_now(&self) -> bool;
}

impl PeekNow for std::net::TcpStream {
    fn peek_now(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let there = self.peek(&mut [0]).is_ok();
        self.set_nonblocking(false).unwrap();
        there
    }
}

#[test]
fn h2_the_headers_that_matter_are_never_dropped() {
    let server = echo_server();
    let response = server.get("/echo/many-headers?count=150");
    sound(&response);
    assert_eq!(response.status, 200);
    let of_the_app = response
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-n-"))
        .count();
    assert!((90..=97).contains(&of_the_app), "{of_the_app} of 150 kept");
    assert!(response.header("x-n-000").is_some() && response.header("x-n-149").is_none());
    for (name, value) in [
        ("set-cookie", "z=1"),
        ("location", "/somewhere"),
        ("content-security-policy", "default-src 'none'"),
    ] {
        assert_eq!(response.header(name).as_deref(), Some(value));
    }
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    server.wait_for_log(|line| {
        line.level() == "warn" && line.text("requestId") == response.request_id()
    });
}

#[test]
fn h3_long_values_are_cut_or_refused() {
    let server = echo_server();
    let mut client = server.connect();
    let response = client.get("/echo/long-header?name=x-long&size=9000");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-long").unwrap(), "v".repeat(8192));
    server.wait_for_log(|line| {
        line.level() == "warn" && line.text("requestId") == response.request_id()
    });
    let response = client.get("/echo/long-header?name=x-long&size=8192");
    assert_eq!(response.header("x-long").unwrap().len(), 8192);
    for name in [
        "set-cookie",
        "location",
        "content-type",
        "content-security-policy",
        "strict-transport-security",
    ] {
        let response = client.get(&format!("/echo/long-header?name={name}&size=9000"));
        failed(&response, 502, "WORKER_BAD_RESPONSE");
    }
}

#[test]
fn h4_several_cookies_stay_several() {
    let server = echo_server();
    let response = server.get("/echo/cookies");
    assert_eq!(
        response.all("set-cookie"),
        ["a=1; Path=/", "b=1; Path=/", "c=1; Path=/"]
    );
}

#[test]
fn h5_hop_by_hop_headers_of_an_app_end_here() {
    let server = echo_server();
    let mut client = server.connect();
    let response = client.get("/echo/hop-by-hop");
    sound(&response);
    assert_eq!((response.status, response.text().as_str()), (200, "hop"));
    for name in [
        "keep-alive",
        "upgrade",
        "proxy-connection",
        "x-drop",
        "alt-svc",
        "clear-site-data",
        "x-buntime-secret",
        "connection",
    ] {
        assert!(response.all(name).is_empty(), "{name} passed: {response:?}");
    }
    assert_ne!(response.request_id(), "of-the-app");
    assert_eq!(
        client.get("/echo/").status,
        200,
        "the connection stays in step"
    );
}

/// What a client may not say to an app.
const CLAIMS: [(&str, &str); 12] = [
    ("X-Base", "/elsewhere"),
    ("X-Not-Found", "1"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Port", "6"),
    ("X-Real-Ip", "6.6.6.6"),
    ("X-Buntime-Internal", "true"),
    ("X-Buntime-Anything", "true"),
    ("Forwarded", "for=6.6.6.6;host=evil.example"),
    ("X-Request-Id", "not valid"),
];

#[test]
fn h6_what_only_the_server_says_is_not_taken_from_a_client() {
    let server = echo()
        .env("RUNTIME_TRUSTED_PROXIES", "192.0.2.0/24")
        .start();
    let mut client = server.connect();
    let response = client.request("GET", "/echo/x", &CLAIMS, b"");
    assert_eq!(response.status, 200);
    let seen = response.json();
    for (name, value) in [
        ("x-base", Some("/echo")),
        ("x-not-found", None),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("test.example")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-prefix", None),
        ("x-forwarded-port", None),
        ("x-real-ip", None),
        ("x-buntime-internal", None),
        ("x-buntime-anything", None),
        ("forwarded", None),
        ("x-request-id", Some(response.request_id().as_str())),
    ] {
        assert_eq!(header_of(&seen, name).as_deref(), value, "{name}");
    }
    assert!(!response.text().contains("6.6.6.6") && !response.text().contains("evil"));
}

#[test]
fn h6_a_trusted_proxy_is_believed() {
    let server = echo().env("RUNTIME_TRUSTED_PROXIES", "127.0.0.0/8").start();
    let mut client = server.connect();
    let response = client.request("GET", "/echo/x", &CLAIMS, b"");
    let seen = response.json();
    for (name, value) in [
        ("x-base", Some("/echo")),
        ("x-forwarded-for", Some("6.6.6.6, 127.0.0.1")),
        ("x-forwarded-host", Some("evil.example")),
        ("x-forwarded-proto", Some("https")),
        ("x-buntime-internal", None),
    ] {
        assert_eq!(header_of(&seen, name).as_deref(), value, "{name}");
    }
    let forwarded = [(
        "Forwarded",
        "for=6.6.6.6;host=client.example, for=\"[2001:db8::1]:99\";host=\"front.example:8443\";proto=https",
    )];
    let seen = client.request("GET", "/echo/x", &forwarded, b"").json();
    for (name, value) in [
        ("x-forwarded-for", Some("6.6.6.6, 2001:db8::1, 127.0.0.1")),
        ("x-forwarded-host", Some("front.example:8443")),
        ("x-forwarded-proto", Some("https")),
        ("forwarded", None),
    ] {
        assert_eq!(header_of(&seen, name).as_deref(), value, "{name}");
    }
    // What is no host is not told to apps, which make links of it.
    for host in [
        "front.example/x",
        "\"><script>",
        "a b",
        "user@front.example",
    ] {
        let odd = [("X-Forwarded-Host", host)];
        let seen = client.request("GET", "/echo/x", &odd, b"").json();
        assert_eq!(
            header_of(&seen, "x-forwarded-host").as_deref(),
            Some("test.example"),
            "{host}"
        );
    }
    let odd = [("X-Forwarded-Proto", "gopher")];
    let seen = client.request("GET", "/echo/x", &odd, b"").json();
    assert_eq!(
        header_of(&seen, "x-forwarded-proto").as_deref(),
        Some("http")
    );
}

#[test]
fn h6_hop_by_hop_headers_of_a_client_end_here() {
    let server = echo_server();
    let mut client = server.connect();
    let headers = [
        ("Connection", "keep-alive, x-drop"),
        ("X-Drop", "1"),
        ("Keep-Alive", "timeout=9"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Keep", "1"),
        ("Cookie", "theme=dark; lang=de"),
        ("Authorization", "Bearer of-the-app"),
    ];
    let seen = client.request("GET", "/echo/x", &headers, b"").json();
    for name in [
        "connection",
        "x-drop",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-connection",
    ] {
        assert_eq!(header_of(&seen, name), None, "{name}");
    }
    assert_eq!(header_of(&seen, "x-keep").as_deref(), Some("1"));
    assert_eq!(
        header_of(&seen, "cookie").as_deref(),
        Some("theme=dark; lang=de")
    );
    assert_eq!(
        header_of(&seen, "authorization").as_deref(),
        Some("Bearer of-the-app")
    );
    // What Connection must not be able to name away.
    let headers = [("Connection", "host, x-request-id, content-length, x-base")];
    let response = client.request("POST", "/echo/x", &headers, b"body");
    let seen = response.json();
    assert_eq!(seen["body"], "body");
    assert_eq!(header_of(&seen, "host").as_deref(), Some("test.example"));
    assert_eq!(header_of(&seen, "x-base").as_deref(), Some("/echo"));
}

#[test]
fn h8_twins_with_underscore_and_bytes_beyond_ascii() {
    let server = echo_server();
    let mut client: Connection = server.connect();
    let headers = [
        ("X_Base", "/evil"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Content_Length", "9"),
    ];
    let response = client.request("GET", "/echo/x", &headers, b"");
    assert_eq!(response.status, 200);
    assert_eq!(
        header_of(&response.json(), "x-base").as_deref(),
        Some("/echo")
    );
    assert_eq!(
        header_of(&response.json(), "x-forwarded-for").as_deref(),
        Some("127.0.0.1")
    );
    client.send(b"GET /echo/x HTTP/1.1\r\nHost: a\r\nX-Text: caf\xE9\r\n\r\n");
    let response = client.response_to("GET");
    sound(&response);
    match response.status {
        // Bun gives header bytes as Latin-1.
        200 => assert_eq!(
            header_of(&response.json(), "x-text").as_deref(),
            Some("caf\u{e9}")
        ),
        status => assert_eq!(status, 400),
    }
    seen_by_app(&mut server.connect(), "/echo/");
}
