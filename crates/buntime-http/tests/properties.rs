//! What holds for all inputs: no panic, no dependence on how bytes are split, and
//! what is written reads back as it was.

#![expect(clippy::unwrap_used, reason = "tests may panic: that is how they fail")]

use std::time::Duration;

use buntime_http::{
    ChunkedDecoder, ChunkedError, Decoded, Direction, FrameInspector, FrameLimits, HeadLimits,
    HeaderList, HopByHop, Method, RequestError, RequestId, Target, Violation,
    apply_response_limits, is_valid_authority, parse_request, parse_request_from, parse_response,
    write_chunk_head,
};
use bytes::BytesMut;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits {
    total: 2_000,
    count: 10,
    value: 300,
    target: 200,
};

/// Bytes that are often nearly a request.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET ".to_vec()),
        Just(b"POST /a?b HTTP/1.1\r\n".to_vec()),
        Just(b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: x, close\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b": ".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
        "[ -~]{0,40}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Bytes that are often nearly a chunked body.
fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"5\r\nhello\r\n".to_vec()),
        Just(b"3;a=b;c=\"d\\\"\"\r\nabc\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"X-A: b\r\n".to_vec()),
        Just(b"Host: b\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
        "[0-9a-f;=\" \r\n]{0,6}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// What came of the request at the beginning of a buffer.
type Outcome = Result<Option<(String, usize)>, RequestError>;

fn at_once(bytes: &[u8]) -> Outcome {
    parse_request(bytes, &LIMITS).map(|parsed| parsed.map(|(head, len)| (format!("{head:?}"), len)))
}

fn in_pieces(bytes: &[u8], ends: &[usize]) -> Outcome {
    let mut searched = 0;
    let mut outcome = Ok(None);
    for &end in ends.iter().chain([&bytes.len()]) {
        let parsed = parse_request_from(&bytes[..end], &mut searched, &LIMITS);
        outcome = parsed.map(|parsed| parsed.map(|(head, len)| (format!("{head:?}"), len)));
        if !matches!(outcome, Ok(None)) {
            break;
        }
    }
    outcome
}

/// Sorted places at which to split.
fn splits(max: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..=max, 0..8).prop_map(|mut ends| {
        ends.sort_unstable();
        ends
    })
}

fn split_input<S: Strategy<Value = Vec<u8>>>(
    input: S,
) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    input.prop_flat_map(|bytes| {
        let len = bytes.len();
        (Just(bytes), splits(len))
    })
}

type Body = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// Everything decoded: data, trailers, rest; `None` if it is not over.
fn decode(bytes: &[u8], ends: &[usize]) -> Result<Option<Body>, ChunkedError> {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::new();
    let mut start = 0;
    let mut data = Vec::new();
    for &end in ends.iter().chain([&bytes.len()]) {
        buf.extend_from_slice(&bytes[start..end]);
        start = end;
        loop {
            match decoder.decode(&mut buf)? {
                Decoded::NeedMore => break,
                Decoded::Data(piece) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Decoded::End(trailers) => {
                    let trailers = trailers.map(|trailers| {
                        let mut out = Vec::new();
                        trailers.write_to(&mut out, |_| true);
                        out
                    });
                    let rest = [&buf[..], &bytes[start..]].concat();
                    return Ok(Some((data, trailers, rest)));
                }
            }
        }
    }
    Ok(None)
}

fn inspect(bytes: &[u8], ends: &[usize], direction: Direction) -> Result<bool, Violation> {
    let limits = FrameLimits {
        frame: 200,
        message: 300,
        controls: 3,
        window: Duration::from_secs(1),
        deflate: false,
    };
    let mut inspector = FrameInspector::new(direction, limits);
    let mut start = 0;
    for &end in ends.iter().chain([&bytes.len()]) {
        inspector.inspect(&bytes[start..end], Duration::ZERO)?;
        start = end;
    }
    Ok(inspector.at_boundary())
}

/// A frame with right mask and length, and payload to match, or some bytes.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u8>(), 0_usize..400, any::<bool>()).prop_map(|(first, len, masked)| {
        let first = first & 0x8F;
        let mask = if masked { 0x80 } else { 0 };
        let mut out = vec![first];
        if len < 126 {
            out.push(mask | len as u8);
        } else {
            out.push(mask | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        out.resize(out.len() + len + if masked { 4 } else { 0 }, 0xFF);
        out
    });
    let piece = prop_oneof![
        4 => frame,
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn header_list(fields: &[(String, Vec<u8>)]) -> HeaderList {
    let mut headers = HeaderList::new();
    for (name, value) in fields {
        headers.push(name.as_bytes(), value).unwrap();
    }
    headers
}

/// Names that mean nothing to the parser, values without white space around.
fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value = proptest::collection::vec(prop_oneof![0x21..=0x7E_u8, 0x80..=0xFF_u8], 0..40);
    proptest::collection::vec(("x-[a-z0-9!#$%&'*+.^_`|~-]{1,20}", value), 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = at_once(&bytes);
        let _ = parse_response(&bytes, &LIMITS, Method::Get);
        let _ = Target::parse(&bytes);
        let _ = RequestId::parse(&bytes);
        let _ = is_valid_authority(&bytes);
        let _ = decode(&bytes, &[]);
        let _ = inspect(&bytes, &[], Direction::FromClient);
        let _ = inspect(&bytes, &[], Direction::FromServer);
    }

    #[test]
    fn near_requests_never_panic(bytes in nearly_a_request()) {
        if let Ok(Some((head, len))) = parse_request(&bytes, &LIMITS) {
            prop_assert!(len <= bytes.len());
            prop_assert!(head.headers.len() <= LIMITS.count);
            let hop_by_hop = HopByHop::of(&head.headers);
            let mut out = Vec::new();
            head.headers.write_to(&mut out, |header| !hop_by_hop.drops(&header));
            let _ = head.target.path().first_segments();
            let _ = head.target.path().decoded_rest(0);
        }
        let _ = parse_response(&bytes, &LIMITS, Method::Get);
    }

    #[test]
    fn a_whole_head_reads_the_same_however_it_came((bytes, ends) in split_input(nearly_a_request())) {
        let whole = at_once(&bytes);
        let pieces = in_pieces(&bytes, &ends);
        match (&whole, &pieces) {
            // A refusal may come for an earlier reason when less was there; but both refuse.
            (Err(_), Err(_)) => {}
            _ => prop_assert_eq!(whole, pieces),
        }
    }

    #[test]
    fn nothing_is_accepted_that_was_hopeless_before(bytes in nearly_a_request()) {
        let accepted = matches!(at_once(&bytes), Ok(Some(_)));
        for end in 0..bytes.len() {
            if at_once(&bytes[..end]).is_err() {
                prop_assert!(!accepted, "refused at {end}, accepted later");
            }
        }
    }

    #[test]
    fn written_requests_read_back(
        path in "/[a-z0-9@^~]{1,20}(/[a-z0-9]{1,20}){0,4}/?",
        query in proptest::option::of("[!-\"$-~]{0,40}"),
        fields in fields(),
    ) {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{path}{query}");
        let mut text = format!("PUT {target} HTTP/1.1\r\nhost: h\r\n").into_bytes();
        header_list(&fields).write_to(&mut text, |_| true);
        text.extend_from_slice(b"\r\n");
        let (head, len) = parse_request(&text, &LIMITS).unwrap().unwrap();
        prop_assert_eq!(len, text.len());
        prop_assert_eq!(head.method, Method::Put);
        prop_assert_eq!(head.target.to_string(), target);
        let read: Vec<_> = head
            .headers
            .iter()
            .skip(1)
            .map(|header| (String::from_utf8(header.name.to_vec()).unwrap(), header.value.to_vec()))
            .collect();
        prop_assert_eq!(read, fields);
    }

    #[test]
    fn no_list_can_be_written_that_splits_a_message(
        name in proptest::collection::vec(any::<u8>(), 0..10),
        value in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut headers = HeaderList::new();
        if headers.push(&name, &value).is_ok() {
            let mut out = Vec::new();
            headers.write_to(&mut out, |_| true);
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\r').count(), 1);
        }
    }

    #[test]
    fn paths_have_one_reading(path in "/[a-b./%2eEfF\\\\]{0,12}") {
        if let Ok(target) = Target::parse(path.as_bytes()) {
            prop_assert_eq!(target.path().as_str(), &path);
            let (first, second) = target.path().first_segments();
            prop_assert!(first.end <= path.len());
            let rest = target.path().rest(first.end);
            prop_assert!(rest.is_empty() || rest.starts_with('/'));
            prop_assert_eq!(second.is_none(), rest.is_empty());
            for segment in [Some(first), second].into_iter().flatten() {
                prop_assert!(!matches!(segment.as_str(), Some("." | "..")));
            }
            if let Ok(decoded) = target.path().decoded_rest(0) {
                let dots = decoded.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."));
                prop_assert!(!dots, "a dot segment after decoding");
            }
            if let Some(redirect) = target.canonical_redirect() {
                prop_assert!(redirect.starts_with('/') && !redirect.contains("//"));
                prop_assert_eq!(Target::parse(redirect.as_bytes()).map(|t| t.has_empty_segments()), Ok(false));
            }
        }
    }

    #[test]
    fn chunks_decode_the_same_however_they_came((bytes, ends) in split_input(nearly_chunked())) {
        prop_assert_eq!(decode(&bytes, &ends), decode(&bytes, &[]));
    }

    #[test]
    fn written_chunks_read_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6),
        ends in splits(40),
        rest in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut text = Vec::new();
        for piece in &pieces {
            write_chunk_head(&mut text, piece.len());
            text.extend_from_slice(piece);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
        text.extend_from_slice(&rest);
        let ends: Vec<_> = ends.into_iter().filter(|&end| end <= text.len()).collect();
        let decoded = decode(&text, &ends);
        prop_assert_eq!(decoded, Ok(Some((pieces.concat(), Some(b"X-Sum: 1\r\n".to_vec()), rest))));
    }

    #[test]
    fn frames_are_judged_the_same_however_they_came(
        (bytes, ends) in split_input(nearly_frames()),
        from_client in any::<bool>(),
    ) {
        let direction = if from_client { Direction::FromClient } else { Direction::FromServer };
        prop_assert_eq!(inspect(&bytes, &ends, direction), inspect(&bytes, &[], direction));
    }

    #[test]
    fn response_limits_hold(
        sizes in proptest::collection::vec((0_usize..3, 0_usize..10_000), 0..130),
    ) {
        let mut headers = HeaderList::new();
        for (kind, len) in &sizes {
            let name: &[u8] = [&b"x-a"[..], b"set-cookie", b"x-frame-options"][*kind];
            headers.push(name, &vec![b'v'; if *kind == 0 { *len } else { len / 20 }]).unwrap();
        }
        let protected: Vec<_> = headers.iter().filter(|h| h.name != b"x-a").map(|h| h.value.to_vec()).collect();
        let before = headers.len();
        match apply_response_limits(&mut headers) {
            Ok(trimmed) => {
                prop_assert_eq!(headers.len() + trimmed.dropped, before);
                prop_assert!(headers.len() <= 100 && headers.text_len() <= 64 * 1024);
                prop_assert!(headers.iter().all(|header| header.value.len() <= 8 * 1024));
                let kept: Vec<_> = headers.iter().filter(|h| h.name != b"x-a").map(|h| h.value.to_vec()).collect();
                prop_assert_eq!(kept, protected);
            }
            Err(_) => prop_assert_eq!(headers.len(), before),
        }
    }
}
