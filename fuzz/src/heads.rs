//! HTTP/1.1 as it comes from a client or a worker.

use buntime_fs::static_files::{ByteRange, byte_range};
use buntime_http::{
    ChunkedDecoder, ChunkedError, Decoded, HeadLimits, HeaderList, HopByHop, Method, RequestHead,
    apply_response_limits, parse_request, parse_request_from, parse_response, parse_response_from,
    write_chunk_head,
};
use bytes::BytesMut;

const LIMITS: HeadLimits = HeadLimits {
    total: 4_000,
    count: 20,
    value: 600,
    target: 300,
};

/// The first byte says how the rest came: in pieces of so many bytes.
fn pieces(data: &[u8]) -> (usize, &[u8]) {
    match data {
        [step, rest @ ..] => (usize::from(*step).max(1), rest),
        [] => (1, data),
    }
}

fn fields(headers: &HeaderList) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .iter()
        .map(|header| (header.name.to_vec(), header.value.to_vec()))
        .collect()
}

/// One line for each field and no way out of it.
fn written(headers: &HeaderList) -> Vec<u8> {
    let mut out = Vec::new();
    headers.write_to(&mut out, |_| true);
    let count = |wanted: u8| out.iter().filter(|&&byte| byte == wanted).count();
    assert_eq!(count(b'\n'), headers.len());
    assert_eq!(count(b'\r'), headers.len());
    assert_eq!(count(0), 0);
    out
}

/// A request head reads the same however it came, within its limits, and what is
/// written of it reads back as it was.
pub(crate) fn request_head(data: &[u8]) {
    let (step, data) = pieces(data);
    let whole = parse_request(data, &LIMITS);
    let mut searched = 0;
    let mut came = Ok(None);
    let mut end = 0;
    while matches!(came, Ok(None)) && end < data.len() {
        end = (end + step).min(data.len());
        came = parse_request_from(&data[..end], &mut searched, &LIMITS);
    }
    match (&whole, &came) {
        (Ok(Some((one, length))), Ok(Some((other, other_length)))) => {
            assert_eq!(length, other_length);
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
        }
        (Ok(None), Ok(None)) => {}
        // The reason may be another one when less was there; both refuse.
        (Err(_), Err(_)) => {}
        (whole, came) => panic!("at once {whole:?}, in pieces of {step} {came:?}"),
    }
    let Ok(Some((head, length))) = whole else {
        return;
    };
    assert!(length <= data.len() && length <= LIMITS.total + 2);
    assert!(head.headers.len() <= LIMITS.count);
    assert!(
        head.headers
            .iter()
            .all(|header| header.value.len() <= LIMITS.value)
    );
    assert!(head.target.to_string().len() <= LIMITS.target + 1);
    round_trip(&head);
}

fn round_trip(head: &RequestHead) {
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method.as_str(), head.target).into_bytes();
    text.extend_from_slice(&written(&head.headers));
    text.extend_from_slice(b"\r\n");
    let roomy = HeadLimits {
        total: 1 << 20,
        ..LIMITS
    };
    // HTTP/1.0 goes without Host, an absolute target names another one.
    let Ok(Some((again, length))) = parse_request(&text, &roomy) else {
        return;
    };
    assert_eq!(length, text.len());
    assert_eq!(again.method, head.method);
    assert_eq!(again.target, head.target);
    assert_eq!(again.framing, head.framing);
    assert_eq!(fields(&again.headers), fields(&head.headers));
    let dropped = HopByHop::of(&head.headers);
    let mut kept = Vec::new();
    head.headers
        .write_to(&mut kept, |header| !dropped.drops(&header));
    assert!(kept.len() <= text.len());
}

/// A worker's head, the same, and the limits that it is put under hold.
pub(crate) fn response_head(data: &[u8]) {
    let (step, data) = pieces(data);
    let whole = parse_response(data, &LIMITS, Method::Get);
    let mut searched = 0;
    let mut came = Ok(None);
    let mut end = 0;
    while matches!(came, Ok(None)) && end < data.len() {
        end = (end + step).min(data.len());
        came = parse_response_from(&data[..end], &mut searched, &LIMITS, Method::Get);
    }
    match (&whole, &came) {
        (Ok(Some(_)), Ok(Some(_))) | (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (whole, came) => panic!("at once {whole:?}, in pieces of {step} {came:?}"),
    }
    let Ok(Some((head, length))) = whole else {
        return;
    };
    assert!(length <= data.len());
    assert!((100..600).contains(&head.status));
    let mut headers = head.headers;
    if apply_response_limits(&mut headers).is_ok() {
        assert!(headers.len() <= 100 && headers.text_len() <= 64 * 1024);
        assert!(headers.iter().all(|header| header.value.len() <= 8 * 1024));
    }
    written(&headers);
}

type Body = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// Data, trailers and what follows; `None` if the body is not over.
fn decode(data: &[u8], step: usize) -> Result<Option<Body>, ChunkedError> {
    let mut decoder = ChunkedDecoder::new();
    let mut buf = BytesMut::new();
    let mut body = Vec::new();
    let mut pieces = data.chunks(step);
    while let Some(piece) = pieces.next() {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf)? {
                Decoded::NeedMore => break,
                Decoded::Data(piece) => {
                    assert!(!piece.is_empty(), "an empty piece");
                    body.extend_from_slice(&piece);
                }
                Decoded::End(trailers) => {
                    let rest: Vec<u8> = pieces.flatten().copied().collect();
                    let trailers = trailers.map(|trailers| written(&trailers));
                    return Ok(Some((body, trailers, [&buf[..], &rest].concat())));
                }
            }
        }
    }
    Ok(None)
}

/// A chunked body decodes the same however it came, to no more than was sent, and
/// written anew it decodes to the same.
pub(crate) fn chunked_body(data: &[u8]) {
    let (step, data) = pieces(data);
    let whole = decode(data, data.len().max(1));
    assert_eq!(whole, decode(data, step), "in pieces of {step}");
    let Ok(Some((body, _, rest))) = whole else {
        return;
    };
    assert!(body.len() + rest.len() <= data.len());
    assert!(data.ends_with(&rest), "what follows the body was changed");
    let mut text = Vec::new();
    for piece in body.chunks(step) {
        write_chunk_head(&mut text, piece.len());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n\r\n");
    let again = decode(&text, 7).expect("what was written is well-formed");
    assert_eq!(again.map(|(body, ..)| body), Some(body));
}

/// A part always lies within the file and is never empty.
pub(crate) fn range_header(data: &[u8]) {
    let (size, header) = match data.split_first_chunk::<8>() {
        Some((size, header)) => (u64::from_le_bytes(*size), header),
        None => (100, data),
    };
    for size in [size, size % 1000, 0] {
        match byte_range(header, size) {
            ByteRange::Part { start, length } => {
                assert!(length > 0, "an empty part");
                let end = start.checked_add(length);
                assert!(end.is_some_and(|end| end <= size), "beyond the end");
            }
            ByteRange::Whole | ByteRange::Unsatisfiable => {}
        }
    }
}
