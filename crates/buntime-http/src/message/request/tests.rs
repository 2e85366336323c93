use super::*;

const LIMITS: HeadLimits = HeadLimits {
    total: 64 * 1024,
    count: 100,
    value: 16 * 1024,
    target: 8 * 1024,
};

fn parse(text: impl AsRef<[u8]>) -> Result<RequestHead, RequestError> {
    let text = text.as_ref();
    parse_request(text, &LIMITS).map(|parsed| {
        let (head, len) =
            parsed.unwrap_or_else(|| panic!("{:?} is incomplete", text.escape_ascii()));
        assert_eq!(len, text.len());
        head
    })
}

/// A request with these lines after the request line and Host.
fn with(lines: &str) -> Result<RequestHead, RequestError> {
    parse(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

fn refused(text: impl AsRef<[u8]>) -> RequestError {
    let text = text.as_ref();
    match parse_request(text, &LIMITS) {
        Err(error) => error,
        Ok(_) => panic!("{:?} is not refused", text.escape_ascii()),
    }
}

#[test]
fn a_browsers_request() {
    let text = b"GET /app/x?y=1 HTTP/1.1\r\nHost: a.example:8000\r\nUser-Agent:  x \t\r\nAccept:*/*\r\nX-Empty:\r\n\r\nrest";
    let (head, len) = parse_request(text, &LIMITS).unwrap().unwrap();
    assert_eq!(&text[len..], b"rest");
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target.to_string(), "/app/x?y=1");
    assert_eq!(head.version, HttpVersion::Http11);
    assert_eq!(head.framing, BodyFraming::None);
    assert!(head.keep_alive && !head.expect_continue && !head.websocket);
    let fields: Vec<_> = head.headers.iter().map(|h| (h.name, h.value)).collect();
    assert_eq!(
        fields,
        [
            (&b"Host"[..], &b"a.example:8000"[..]),
            (b"User-Agent", b"x"),
            (b"Accept", b"*/*"),
            (b"X-Empty", b""),
        ]
    );
}

#[test]
fn every_prefix_asks_for_more() {
    let text = b"\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let mut searched = 0;
    for end in 0..text.len() {
        let parsed = parse_request_from(&text[..end], &mut searched, &LIMITS);
        assert!(parsed.unwrap().is_none(), "at {end}");
        assert!(parse_request(&text[..end], &LIMITS).unwrap().is_none());
    }
    let (head, len) = parse_request_from(text, &mut searched, &LIMITS)
        .unwrap()
        .unwrap();
    assert_eq!(len, text.len());
    assert_eq!(head.framing, BodyFraming::Length(3));
}

#[test]
fn one_empty_line_before_is_forgiven() {
    assert!(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    for text in [
        "\r\n\r\n",
        "\r\n\r",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "\n",
        "\rG",
        " ",
        "\0",
    ] {
        assert_eq!(refused(text), RequestError::Syntax, "{text:?}");
    }
}

#[test]
fn request_lines() {
    use RequestError::*;
    for (line, error) in [
        ("get / HTTP/1.1", UnknownMethod),
        ("FOO / HTTP/1.1", UnknownMethod),
        ("TRACE / HTTP/1.1", MethodNotAllowed),
        ("CONNECT a:80 HTTP/1.1", MethodNotAllowed),
        ("GET / HTTP/2.0", UnsupportedVersion),
        ("PRI * HTTP/2.0", UnsupportedVersion),
        ("GET / HTTP/1.9", UnsupportedVersion),
        ("GET / HTTP/0.9", UnsupportedVersion),
        ("GET /", Syntax),
        ("GET / ", Syntax),
        ("GET / http/1.1", Syntax),
        ("GET / HTTP/1.10", Syntax),
        ("GET / HTTP/1.1 ", Syntax),
        ("GET  / HTTP/1.1", Syntax),
        ("GET /  HTTP/1.1", Syntax),
        ("GET /a b HTTP/1.1", Syntax),
        ("GET\t/ HTTP/1.1", Syntax),
        (" GET / HTTP/1.1", Syntax),
        ("G\u{e9}T / HTTP/1.1", Syntax),
        ("GET", Syntax),
        ("GET /\0 HTTP/1.1", BadPath),
        ("GET /\u{e9} HTTP/1.1", BadPath),
        ("GET /# HTTP/1.1", BadPath),
        ("GET x HTTP/1.1", BadPath),
        ("GET * HTTP/1.1", BadPath),
        ("GET ftp://a/ HTTP/1.1", BadPath),
        ("GET /x/../api HTTP/1.1", BadPath),
    ] {
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(refused(&text), error, "{line}");
        // The line alone is enough to know.
        assert_eq!(refused(format!("{line}\r\n")), error, "{line}");
    }
}

#[test]
fn line_ends_are_crlf() {
    for text in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\nb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(refused(text), RequestError::Syntax, "{text:?}");
    }
}

#[test]
fn field_lines() {
    for line in [
        "X : a",
        "X\t: a",
        ": a",
        "X",
        " X: a",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X: a\0b",
        "X: \u{1b}[31m",
        "X: \u{7f}",
        "X(: a",
        "X Y: a",
        "\"X\": a",
        "Transfer-Encoding : chunked",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        assert_eq!(refused(text), RequestError::Syntax, "{line:?}");
    }
    let folded_first = "GET / HTTP/1.1\r\n Host: a\r\n\r\n";
    assert_eq!(refused(folded_first), RequestError::Syntax);
    let next_line = b"GET / HTTP/1.1\r\nHost: a\r\nX\x85: a\r\n\r\n";
    assert_eq!(refused(next_line), RequestError::Syntax);
}

#[test]
fn other_bytes_and_names_pass_as_data() {
    let head = parse(b"GET / HTTP/1.1\r\nHost: a\r\nX_Api_Key: k\r\nX: \xff\tb\r\n\r\n").unwrap();
    assert!(!head.headers.contains(HeaderId::XApiKey));
    assert_eq!(head.headers.get_named(b"x_api_key"), Some(&b"k"[..]));
    assert_eq!(head.headers.get_named(b"x"), Some(&b"\xff\tb"[..]));
}

#[test]
fn hosts() {
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: a b/c\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a, b\r\n",
        "Host: a:b\r\n",
    ] {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refused(text), RequestError::BadHost, "{fields:?}");
    }
    assert_eq!(
        refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        RequestError::BadHost
    );
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn absolute_form_is_reduced() {
    for (line, host, target) in [
        ("GET http://h/api/keys", "h", "/api/keys"),
        ("GET HTTP://H:80/x?y", "h", "/x?y"),
        ("GET https://h/", "h:443", "/"),
        ("GET http://h", "h", "/"),
        ("GET http://h?x", "h", "/?x"),
        ("GET http://[::1]:8000/a", "[::1]:8000", "/a"),
        ("OPTIONS http://h", "h", "*"),
        ("OPTIONS *", "h", "*"),
        ("OPTIONS /", "h", "/"),
    ] {
        let head = parse(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        assert_eq!(head.target.to_string(), target, "{line}");
    }
    for (uri, host, error) in [
        ("http://h/", "other", RequestError::BadHost),
        ("http://h:81/", "h", RequestError::BadHost),
        ("http://user@h/", "h", RequestError::BadHost),
        ("http:///", "h", RequestError::BadHost),
        ("http://h/..", "h", RequestError::BadPath),
        ("http://h#x", "h", RequestError::BadPath),
        ("http:/h", "h", RequestError::BadPath),
        ("http://h\\x/", "h", RequestError::BadHost),
    ] {
        let text = format!("GET {uri} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(text), error, "{uri}");
    }
    let head = parse("GET http://h:81/ HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(head.headers.get(HeaderId::Host), Some(&b"h:81"[..]));
}

#[test]
fn lengths() {
    use BodyFraming::*;
    for (lines, framing) in [
        ("", None),
        ("Content-Length: 0\r\n", None),
        ("Content-Length: 5\r\n", Length(5)),
        ("Content-Length: 010\r\n", Length(10)),
        ("content-length: 18446744073709551615\r\n", Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Chunked),
        ("transfer-encoding: CHUNKED\r\n", Chunked),
    ] {
        assert_eq!(with(lines).unwrap().framing, framing, "{lines:?}");
    }
}

#[test]
fn ambiguous_lengths() {
    use RequestError::*;
    for (lines, error) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            BadFraming,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            BadFraming,
        ),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", BadFraming),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", BadFraming),
        ("Content-Length: 3, 3\r\n", BadFraming),
        ("Content-Length: +5\r\n", BadFraming),
        ("Content-Length: -1\r\n", BadFraming),
        ("Content-Length: 0x5\r\n", BadFraming),
        ("Content-Length:\r\n", BadFraming),
        ("Content-Length: 18446744073709551616\r\n", BadFraming),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            BadFraming,
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            BadFraming,
        ),
        ("Transfer-Encoding: xchunked\r\n", UnknownTransferCoding),
        ("Transfer-Encoding: ,chunked\r\n", UnknownTransferCoding),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            UnknownTransferCoding,
        ),
        ("Transfer-Encoding: chunked;a\r\n", UnknownTransferCoding),
        ("Transfer-Encoding: \"chunked\"\r\n", UnknownTransferCoding),
        ("Transfer-Encoding: identity\r\n", UnknownTransferCoding),
        ("Transfer-Encoding:\r\n", UnknownTransferCoding),
        ("Transfer-Encoding: \u{b}chunked\r\n", Syntax),
    ] {
        assert_eq!(with(lines).unwrap_err(), error, "{lines:?}");
    }
    assert_eq!(
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BadFraming
    );
}

#[test]
fn keep_alive_follows_the_version_and_connection() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(parse(&text).unwrap().keep_alive, keep_alive, "{text}");
    }
    let many = format!("Connection: {}x\r\n", "x,".repeat(64));
    assert_eq!(with(&many).unwrap_err(), RequestError::TooManyHeaders);
}

#[test]
fn expectations() {
    let expects = |lines: &str| with(lines).map(|head| head.expect_continue);
    assert_eq!(
        expects("Expect: 100-Continue\r\nContent-Length: 5\r\n"),
        Ok(true)
    );
    assert_eq!(expects("Expect: 100-continue\r\n"), Ok(false));
    assert_eq!(expects("Content-Length: 5\r\n"), Ok(false));
    for lines in ["Expect: x\r\n", "Expect: 100-continue, x\r\n"] {
        assert_eq!(expects(lines), Err(RequestError::UnknownExpectation));
    }
    let old = "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 5\r\n\r\n";
    assert!(!parse(old).unwrap().expect_continue);
}

#[test]
fn websocket_requests() {
    let is_websocket = |line: &str, lines: &str| {
        let text = format!("{line}\r\nHost: a\r\n{lines}\r\n");
        parse(text).unwrap().websocket
    };
    let get = "GET / HTTP/1.1";
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    assert!(is_websocket(get, upgrade));
    assert!(!is_websocket("POST / HTTP/1.1", upgrade));
    assert!(!is_websocket("GET / HTTP/1.0", upgrade));
    assert!(!is_websocket(get, "Upgrade: websocket\r\n"));
    assert!(!is_websocket(get, "Connection: upgrade\r\n"));
    assert!(!is_websocket(
        get,
        "Connection: upgrade\r\nUpgrade: h2c\r\n"
    ));
    assert!(!is_websocket(
        get,
        &format!("{upgrade}Content-Length: 5\r\n")
    ));
    assert!(!is_websocket(
        get,
        &format!("{upgrade}Transfer-Encoding: chunked\r\n")
    ));
}

#[test]
fn limits() {
    use RequestError::*;
    let value = |len: usize| with(&format!("X: {}\r\n", "v".repeat(len))).map(drop);
    assert_eq!(value(16 * 1024), Ok(()));
    assert_eq!(value(16 * 1024 + 1), Err(ValueTooLong));
    // One more field is Host.
    assert!(with(&"X: 1\r\n".repeat(99)).is_ok());
    assert_eq!(with(&"X: 1\r\n".repeat(100)).unwrap_err(), TooManyHeaders);
    assert_eq!(with(&"X: 1\r\n".repeat(200)).unwrap_err(), TooManyHeaders);

    let long = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    assert!(parse(long(8 * 1024)).is_ok());
    assert_eq!(refused(long(8 * 1024 + 1)), TargetTooLong);
    assert_eq!(refused(long(20 * 1024)), TargetTooLong);
    assert_eq!(refused(long(200 * 1024)), TargetTooLong);
    assert_eq!(
        refused(format!("GET /{}", "a".repeat(20 * 1024))),
        TargetTooLong
    );
    assert_eq!(refused("A".repeat(10 * 1024)), UnknownMethod);
    assert_eq!(refused("A".repeat(33)), UnknownMethod);
    assert_eq!(refused(format!("GET / {}", "a".repeat(20 * 1024))), Syntax);
    let method = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(10 * 1024));
    assert_eq!(refused(method), UnknownMethod);
}

#[test]
fn the_whole_head_has_a_limit() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    let sized = |total: usize| {
        let fields = "X: ".len() + "\r\n".len();
        let mut text = start.to_owned();
        while text.len() + 2 < total {
            let value = (total - 2 - text.len() - fields).min(10_000);
            // The last field must leave room for no other.
            let value = if total - 2 - text.len() - fields - value < fields && value == 10_000 {
                value - fields
            } else {
                value
            };
            text.push_str(&format!("X: {}\r\n", "v".repeat(value)));
        }
        text.push_str("\r\n");
        assert_eq!(text.len(), total);
        text
    };
    assert!(parse(sized(64 * 1024)).is_ok());
    assert_eq!(refused(sized(64 * 1024 + 1)), RequestError::HeadTooLarge);
    // Without its end it is refused as soon as the end would be too late.
    let endless = sized(64 * 1024 + 5);
    assert_eq!(refused(&endless[..64 * 1024]), RequestError::HeadTooLarge);
    assert!(
        parse_request(&endless.as_bytes()[..64 * 1024 - 1], &LIMITS)
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    for text in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\x00",
        b"{\"a\":1}",
        b"\x80",
        b"GET\0",
    ] {
        assert_eq!(refused(text), RequestError::Syntax);
    }
}
