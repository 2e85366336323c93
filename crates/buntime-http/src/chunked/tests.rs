use super::*;

/// The body, and the trailers as text, of a whole chunked body; the rest of the bytes.
type Whole = Result<(Vec<u8>, Option<String>, Vec<u8>), ChunkedError>;

/// Decodes with the input arriving in pieces of `piece` bytes.
fn decode(text: &[u8], piece: usize) -> Whole {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::new();
    let mut pieces = text.chunks(piece);
    let mut body = Vec::new();
    loop {
        match decoder.decode(&mut buf)? {
            Decoded::NeedMore => buf.extend_from_slice(pieces.next().expect("a whole body")),
            Decoded::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Decoded::End(trailers) => {
                assert!(decoder.is_end());
                let trailers = trailers.map(|trailers| {
                    let mut out = Vec::new();
                    trailers.write_to(&mut out, |_| true);
                    String::from_utf8(out).unwrap()
                });
                let rest = [&buf[..], &pieces.collect::<Vec<_>>().concat()].concat();
                return Ok((body, trailers, rest));
            }
        }
    }
}

fn both(text: &str) -> Whole {
    let whole = decode(text.as_bytes(), usize::MAX);
    assert_eq!(decode(text.as_bytes(), 1), whole, "{text:?}");
    whole
}

/// The error; the text may also be one that is never complete.
fn error(text: &str) -> ChunkedError {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::from(text);
    loop {
        match decoder.decode(&mut buf) {
            Err(error) => {
                assert_eq!(
                    decoder
                        .decode(&mut BytesMut::from("0\r\n\r\n"))
                        .unwrap_err(),
                    error
                );
                return error;
            }
            Ok(Decoded::Data(_)) => {}
            Ok(other) => panic!("{:.40?} gives {other:?}", text),
        }
    }
}

#[test]
fn bodies() {
    for (text, body) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"),
        ("a\r\n0\r\n\r\n5\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n5\r\n\r\n"),
        ("00000000000000A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    ] {
        let with_rest = format!("{text}GET /");
        let rest = b"GET /".to_vec();
        assert_eq!(both(&with_rest), Ok((body.into(), None, rest)), "{text:?}");
    }
}

#[test]
fn data_is_not_copied() {
    let mut buf = BytesMut::from("5\r\nhello\r\n0\r\n\r\n");
    let data_at = buf[3..].as_ptr();
    let Ok(Decoded::Data(data)) = ChunkedDecoder::new().decode(&mut buf) else {
        panic!("no data");
    };
    assert_eq!((data.as_ptr(), &data[..]), (data_at, &b"hello"[..]));
}

#[test]
fn data_comes_before_its_chunk_is_whole() {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::from("FFFFFFFFFFFFFFFF\r\nabc");
    assert!(matches!(decoder.decode(&mut buf), Ok(Decoded::Data(data)) if data == "abc"));
    assert!(matches!(decoder.decode(&mut buf), Ok(Decoded::NeedMore)));
}

#[test]
fn sizes() {
    for text in [
        "-1\r\n",
        "+1\r\n",
        "0x3\r\n",
        "1_0\r\n",
        "\r\n",
        ";a\r\n",
        " 1\r\n",
        "\n",
        "g\r\n",
        "00000000000000001\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "\u{663}\r\n",
        "1\0\r\n",
        "1,2\r\n",
    ] {
        assert_eq!(error(text), ChunkedError::Size, "{text:?}");
    }
}

#[test]
fn line_ends() {
    for text in [
        "5\nhello",
        "5\rhello",
        "5\r;a\r\nhello",
        "5\r\r\nhello",
        "5\r\nhelloX",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\r\n",
        "0\n",
        "0\r\r",
        "0\r\n\n",
        "0\r\nX: a\n",
    ] {
        assert_eq!(error(text), ChunkedError::LineEnd, "{text:?}");
    }
}

#[test]
fn extensions_are_read_over() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"\"",
        ";a=\"b;\\\"c\\\\\t\u{e9}\"",
        ";a;b=c;d=\"e\"",
        " ; a = b ; c",
        "\t;a\t;b = \"c\" ;d",
    ] {
        let text = format!("1{extension}\r\nx\r\n0{extension}\r\n\r\n");
        assert_eq!(both(&text), Ok((b"x".to_vec(), None, vec![])), "{text:?}");
    }
}

#[test]
fn malformed_extensions() {
    for extension in [
        ";",
        ";;",
        "; ",
        " ",
        " x",
        ";a ",
        ";a=",
        ";a= ",
        ";=b",
        ";a==b",
        ";a=b=c",
        ";a b",
        ";a=b c",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=\"\\",
        ";a=\"\0\"",
        ";a=\"\u{1b}\"",
        ";a\n",
        ";a=\"b\n\"",
        ";(",
        ";\u{e9}",
        ";a,b",
    ] {
        let text = format!("1{extension}\r\nx\r\n0\r\n\r\n");
        assert_eq!(error(&text), ChunkedError::Extension, "{text:?}");
    }
}

#[test]
fn extensions_have_a_limit_over_all_chunks() {
    let endless = format!("1;{}", "a".repeat(MAX_EXTENSIONS + 1));
    assert_eq!(error(&endless), ChunkedError::ExtensionsTooLong);
    let many = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(17);
    assert_eq!(error(&many), ChunkedError::ExtensionsTooLong);
    // Every byte after `;` counts, the CR among them.
    let fits = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(MAX_EXTENSIONS - 1));
    assert!(both(&fits).is_ok());
}

#[test]
fn trailers() {
    let (_, trailers, rest) =
        both("1\r\nx\r\n0\r\nX-Sum: abc \r\nContent-Digest: d\r\n\r\nrest").unwrap();
    assert_eq!(
        trailers.as_deref(),
        Some("X-Sum: abc\r\nContent-Digest: d\r\n")
    );
    assert_eq!(rest, b"rest");
}

#[test]
fn trailers_that_steer_are_dropped() {
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "X-API-Key",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Connection",
        "Trailer",
        "Content-Type",
        "Content-Encoding",
        "Content-Disposition",
        "Content-Security-Policy",
        "Location",
        "X-Request-Id",
        "X-Forwarded-For",
        "X-Buntime-Internal",
        "X-Base",
        "Origin",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Protocol",
        "Access-Control-Allow-Origin",
        "Cache-Control",
        "If-Schedule-Tag-Match",
        "Www-Authenticate",
        "Expect",
        "Range",
        "Upgrade",
    ] {
        let text = format!("0\r\n{name}: 1\r\n\r\n");
        assert_eq!(both(&text), Ok((vec![], None, vec![])), "{name}");
    }
}

#[test]
fn malformed_trailers() {
    for line in [
        "X : a",
        " X: a",
        "X",
        ": a",
        "X: a\0",
        "X: a\rb",
        "X\u{85}: a",
    ] {
        let text = format!("0\r\n{line}\r\n\r\n");
        assert_eq!(error(&text), ChunkedError::Trailer, "{line:?}");
    }
}

#[test]
fn trailers_have_limits() {
    let many = format!("0\r\n{}", "X: 1\r\n".repeat(65));
    assert_eq!(error(&many), ChunkedError::TrailersTooLong);
    // What is dropped counts too.
    let dropped = format!("0\r\n{}", "Host: 1\r\n".repeat(65));
    assert_eq!(error(&dropped), ChunkedError::TrailersTooLong);
    let endless = format!("0\r\nX: {}", "a".repeat(MAX_TRAILERS));
    assert_eq!(error(&endless), ChunkedError::TrailersTooLong);
    let long = format!("0\r\n{}", format!("X: {}\r\n", "a".repeat(4000)).repeat(5));
    assert_eq!(error(&long), ChunkedError::TrailersTooLong);
    let fits = format!("0\r\n{}\r\n", "X: 1\r\n".repeat(64));
    assert!(both(&fits).is_ok());
}

#[test]
fn the_end_stays() {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::from("0\r\n\r\n5\r\n");
    for _ in 0..3 {
        assert!(matches!(decoder.decode(&mut buf), Ok(Decoded::End(None))));
    }
    assert_eq!(&buf[..], b"5\r\n");
}

#[test]
fn chunk_heads() {
    for (len, head) in [
        (1, "1\r\n"),
        (255, "ff\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_head(&mut out, len);
        assert_eq!(out, head.as_bytes());
    }
}
