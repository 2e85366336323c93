use super::*;
use crate::HeaderId;

const LIMITS: HeadLimits = HeadLimits {
    total: 256 * 1024,
    count: 1000,
    value: 128 * 1024,
    target: 0,
};

fn parse_for(method: Method, text: impl AsRef<[u8]>) -> Result<ResponseHead, ResponseHeadError> {
    parse_response(text.as_ref(), &LIMITS, method).map(|parsed| parsed.unwrap().0)
}

fn parse(text: impl AsRef<[u8]>) -> Result<ResponseHead, ResponseHeadError> {
    parse_for(Method::Get, text)
}

#[test]
fn a_workers_response() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi";
    let (head, len) = parse_response(text, &LIMITS, Method::Get).unwrap().unwrap();
    assert_eq!(&text[len..], b"hi");
    assert_eq!((head.status, head.keep_alive), (200, true));
    assert_eq!(head.framing, ResponseFraming::Length(2));
    let cookies: Vec<_> = head.headers.get_all(HeaderId::SetCookie).collect();
    assert_eq!(cookies, [b"a", b"b"]);
}

#[test]
fn every_prefix_asks_for_more() {
    let text = b"HTTP/1.1 200 \r\nX: y\r\nContent-Length: 2\r\n\r\n";
    let mut searched = 0;
    for end in 0..text.len() {
        let parsed = parse_response_from(&text[..end], &mut searched, &LIMITS, Method::Get);
        assert!(parsed.unwrap().is_none(), "at {end}");
    }
    let parsed = parse_response_from(text, &mut searched, &LIMITS, Method::Get);
    assert_eq!(parsed.unwrap().unwrap().1, text.len());
}

#[test]
fn status_lines() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 599 N\u{e9}", 599),
        ("HTTP/1.1 100 Continue", 100),
    ] {
        assert_eq!(parse(format!("{line}\r\n\r\n")).unwrap().status, status);
    }
    use ResponseHeadError::*;
    for (line, error) in [
        ("HTTP/1.1 099 X", Status),
        ("HTTP/1.1 000 X", Status),
        ("HTTP/1.1 600 X", Status),
        ("HTTP/1.1 9999 X", Status),
        ("HTTP/1.1 20 X", Status),
        ("HTTP/1.1 +20 X", Status),
        ("HTTP/1.1  200 X", Status),
        ("HTTP/1.1 200OK", Status),
        ("HTTP/1.1 OK", Status),
        ("HTTP/1.1 200 O\0K", Syntax),
        ("HTTP/1.1 200 O\x1bK", Syntax),
        ("HTTP/1.2 200 OK", UnsupportedVersion),
        ("HTTP/1.1", UnsupportedVersion),
        ("HTTP/2 200 OK", Syntax),
        ("ICY 200 OK", Syntax),
        ("<html>", Syntax),
        ("", Syntax),
    ] {
        let text = format!("{line}\r\n\r\n");
        assert_eq!(parse(text).unwrap_err(), error, "{line:?}");
    }
}

#[test]
fn bodies_by_status_and_method() {
    use ResponseFraming::*;
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, status, lines, framing, keep_alive) in [
        (Method::Get, 200, length, Length(5), true),
        (Method::Get, 200, "Content-Length: 0\r\n", Length(0), true),
        (Method::Get, 200, chunked, Chunked, true),
        (Method::Get, 200, "", Close, false),
        (Method::Head, 200, length, None, true),
        (Method::Head, 200, chunked, None, true),
        (Method::Head, 200, "", None, true),
        (Method::Get, 304, length, None, true),
        (Method::Get, 204, "", None, true),
        (Method::Get, 204, "Content-Length: 0\r\n", None, true),
        // A body that must not be may follow: the connection is not used again.
        (Method::Get, 204, length, None, false),
        (Method::Get, 204, chunked, None, false),
        (
            Method::Get,
            101,
            "Upgrade: websocket\r\nConnection: upgrade\r\n",
            None,
            true,
        ),
        (Method::Get, 103, "Link: </a>\r\n", None, true),
        (
            Method::Get,
            200,
            "Connection: close\r\nContent-Length: 5\r\n",
            Length(5),
            false,
        ),
    ] {
        let text = format!("HTTP/1.1 {status} X\r\n{lines}\r\n");
        let head = parse_for(method, &text).unwrap();
        assert_eq!(
            (head.framing, head.keep_alive),
            (framing, keep_alive),
            "{method} {text}"
        );
    }
    let old = parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
    assert!(!old.keep_alive);
    let kept = parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n");
    assert!(kept.unwrap().keep_alive);
}

#[test]
fn ambiguous_lengths() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        let parsed = parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        assert_eq!(
            parsed.unwrap_err(),
            ResponseHeadError::BadFraming,
            "{lines:?}"
        );
    }
    let old = parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.unwrap_err(), ResponseHeadError::BadFraming);
}

#[test]
fn malformed_fields() {
    for lines in [
        "X : a\r\n",
        "X: a\r\n b\r\n",
        "X: a\0\r\n",
        "X: a\rb\r\n",
        "X: a\nY: b\r\n",
        "X\r\n",
        ": a\r\n",
        "X Y: a\r\n",
    ] {
        let parsed = parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        assert_eq!(parsed.unwrap_err(), ResponseHeadError::Syntax, "{lines:?}");
    }
}

#[test]
fn limits() {
    use ResponseHeadError::TooLarge;
    let head = |lines: &str| parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    assert!(head(&"X: 1\r\n".repeat(1000)).is_ok());
    assert_eq!(head(&"X: 1\r\n".repeat(1001)).unwrap_err(), TooLarge);
    let value = format!("X: {}\r\n", "v".repeat(128 * 1024 + 1));
    assert_eq!(head(&value).unwrap_err(), TooLarge);
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "v".repeat(256 * 1024));
    assert_eq!(parse(&endless).unwrap_err(), TooLarge);
    let options = format!("Connection: {}\r\n", "x,".repeat(65));
    assert_eq!(head(&options).unwrap_err(), TooLarge);
}
