//! HTTP/2 on the same port: T14 and T15 by raw frames, the rest by a real client.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_testkit::{Connection, TestServer, process};
use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Invariants, echo, echo_server, header_of, seen};

const MIB: u64 = 1024 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header as HPACK's literal without indexing.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    string(&mut out, name);
    string(&mut out, value);
    out
}

/// A string of HPACK, not compressed.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text);
}

/// The header block of a request, with these beside what each needs.
fn block(method: &str, path: &str, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let needed: [(&[u8], &[u8]); 4] = [
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"a"),
    ];
    needed
        .iter()
        .chain(headers)
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// A connection on which settings have been exchanged.
fn open(server: &TestServer, settings: &[(u16, u32)]) -> Connection {
    let mut client = server.connect();
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(&frame(SETTINGS, 0, 0, &payload));
    client.send(&frame(SETTINGS, 1, 0, &[]));
    client
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Splits what a server has sent; a frame that is cut is left out.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let Some(payload) = bytes.get(9..9 + length) else {
            break;
        };
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: payload.to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// Reads frames up to one for which `is_it` holds; `None` if the connection ends before.
fn until(client: &mut Connection, is_it: impl Fn(&Frame) -> bool) -> Option<Frame> {
    let mut bytes = Vec::new();
    loop {
        let more = client.some();
        if more.is_empty() {
            return None;
        }
        bytes.extend_from_slice(&more);
        if let Some(found) = frames(&bytes).into_iter().find(&is_it) {
            return Some(found);
        }
    }
}

/// The error codes of GOAWAY frames.
fn goaways(frames: &[Frame]) -> Vec<u32> {
    frames
        .iter()
        .filter(|frame| frame.kind == GOAWAY)
        .map(|frame| u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()))
        .collect()
}

/// Sends `bytes` again and again while the server takes them and has not closed.
fn flood(
    server: &TestServer,
    mut client: Connection,
    mut next: impl FnMut(u32) -> Vec<u8>,
) -> Vec<Frame> {
    let memory = process::private_memory(server.pid());
    let mut reader = client.stream().try_clone().unwrap();
    let received = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let _ = std::io::Read::read_to_end(&mut reader, &mut bytes);
        bytes
    });
    for n in 0..10_000 {
        if client.try_send(&next(n)).is_err() {
            break;
        }
    }
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
    frames(&received.join().unwrap())
}

#[test]
fn t14_rapid_reset() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for path in ["/echo/hang", "/api/health", "/nobody"] {
        let client = open(&server, &[]);
        let request = block("GET", path, &[]);
        let received = flood(&server, client, |n| {
            let stream = 2 * n + 1;
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &request),
                frame(RESET, 0, stream, &8u32.to_be_bytes()),
            ]
            .concat()
        });
        assert_eq!(
            goaways(&received).last(),
            Some(&ENHANCE_YOUR_CALM),
            "{path}"
        );
    }
    before.hold(&server);
}

#[test]
fn t14_continuation_flood() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let client = open(&server, &[]);
    let piece = literal(b"x-header", &[b'v'; 8000]);
    let received = flood(&server, client, |n| match n {
        0 => frame(HEADERS, 0, 1, &block("GET", "/echo/x", &[])),
        _ => frame(CONTINUATION, 0, 1, &piece),
    });
    let goaways = goaways(&received);
    assert!(
        matches!(goaways.last(), Some(&(ENHANCE_YOUR_CALM | PROTOCOL_ERROR))),
        "GOAWAY with {goaways:?}"
    );
    // Empty ones cost as much work and no bytes.
    let client = open(&server, &[]);
    let received = flood(&server, client, |n| match n {
        0 => frame(HEADERS, 0, 1, &block("GET", "/echo/x", &[])),
        _ => frame(CONTINUATION, 0, 1, &[]).repeat(10),
    });
    assert!(!self::goaways(&received).is_empty());
    before.hold(&server);
    assert!(seen(&server).is_empty());
}

#[test]
fn t14_hpack_bomb() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = open(&server, &[]);
    let memory = process::private_memory(server.pid());
    // One header of 4,000 bytes into the dynamic table, then it 16,000 times.
    let mut head = block("GET", "/echo/bomb", &[]);
    head.push(0x40);
    string(&mut head, b"x");
    string(&mut head, &[b'v'; 4000]);
    head.resize(head.len() + 11_000, 0x80 | 62);
    for stream in [1, 3, 5, 7] {
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
    }
    let answer = until(&mut client, |frame| {
        matches!(frame.kind, GOAWAY | RESET)
            || frame.kind == HEADERS && frame.flags & END_STREAM != 0
            || frame.kind == DATA
    });
    assert!(answer.is_some(), "closed without a word");
    drop(client);
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
    before.hold(&server);
    assert!(seen(&server).is_empty(), "the bomb reached the app");
}

#[test]
fn t14_a_client_that_opens_no_window_is_given_up() {
    let server = echo().env("RUNTIME_WRITE_TIMEOUT", "2s").start();
    let before = Invariants::of(&server);
    let memory = process::private_memory(server.pid());
    let request = block("GET", "/echo/download?blocks=1600", &[]);
    for settings in [&[(4u16, 0u32)][..], &[]] {
        // Without a window at all, and with the first one used up.
        let mut client = open(&server, settings);
        for stream in [1, 3, 5] {
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request));
        }
        let _ = client.read_to_end();
    }
    server.wait_until("the downloads are given up", || {
        server.get("/echo/aborted").json()["aborted"] == 6
    });
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 8 * MIB, "memory grew by {grown} bytes");
    before.hold(&server);
}

#[test]
fn t14_floods_of_small_frames() {
    let server = echo_server();
    let before = Invariants::of(&server);
    // Answers to these pile up if they are not read.
    for bytes in [
        frame(PING, 0, 0, &[0; 8]).repeat(100),
        frame(SETTINGS, 0, 0, &[]).repeat(100),
        frame(0x55, 0, 0, &[]).repeat(100),
    ] {
        let mut client = open(&server, &[]);
        client
            .stream()
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let memory = process::private_memory(server.pid());
        for _ in 0..2_000 {
            if client.try_send(&bytes).is_err() {
                break;
            }
        }
        let grown = process::private_memory(server.pid()).saturating_sub(memory);
        assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
    }
    before.hold(&server);
}

#[test]
fn t15_malformed_requests_reset_their_stream() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let get = |headers: &[(&[u8], &[u8])]| (block("GET", "/echo/x", headers), None);
    let mut twice = block("GET", "/echo/x", &[]);
    twice.extend(literal(b":path", b"/echo/other"));
    let mut late = literal(b"x", b"y");
    late.extend(block("GET", "/echo/x", &[]));
    for (what, (head, body)) in [
        ("connection", get(&[(b"connection", b"close")])),
        (
            "transfer-encoding",
            get(&[(b"transfer-encoding", b"chunked")]),
        ),
        ("keep-alive", get(&[(b"keep-alive", b"timeout=1")])),
        ("upgrade", get(&[(b"upgrade", b"websocket")])),
        ("te", get(&[(b"te", b"gzip")])),
        ("upper case", get(&[(b"X-Upper", b"y")])),
        ("CR LF in a value", get(&[(b"x", b"y\r\nz: w")])),
        ("NUL in a value", get(&[(b"x", b"y\0z")])),
        ("a colon in a name", get(&[(b"x:y", b"z")])),
        ("a space in a name", get(&[(b"x y", b"z")])),
        ("no name", get(&[(b"", b"z")])),
        ("an unknown pseudo header", get(&[(b":x", b"z")])),
        ("a pseudo header of responses", get(&[(b":status", b"200")])),
        ("two paths", (twice, None)),
        ("a pseudo header after others", (late, None)),
        ("no path", (literal(b":method", b"GET"), None)),
        ("an empty path", (block("GET", "", &[]), None)),
        (
            "less than announced",
            (
                block("POST", "/echo/x", &[(b"content-length", b"5")]),
                Some(&b"abc"[..]),
            ),
        ),
        (
            "more than announced",
            (
                block("POST", "/echo/x", &[(b"content-length", b"2")]),
                Some(b"abc"),
            ),
        ),
        (
            "no number announced",
            (
                block("POST", "/echo/x", &[(b"content-length", b"x")]),
                Some(b"abc"),
            ),
        ),
    ] {
        let mut client = open(&server, &[]);
        let end = if body.is_none() { END_STREAM } else { 0 };
        client.send(&frame(HEADERS, END_HEADERS | end, 1, &head));
        if let Some(body) = body {
            client.send(&frame(DATA, END_STREAM, 1, body));
        }
        let answer = until(&mut client, |frame| {
            matches!(frame.kind, RESET | GOAWAY) || frame.kind == HEADERS && frame.stream == 1
        });
        let answer = answer.unwrap_or_else(|| panic!("{what}: closed without a word"));
        let code = match answer.kind {
            RESET => u32::from_be_bytes(answer.payload[..4].try_into().unwrap()),
            GOAWAY => u32::from_be_bytes(answer.payload[4..8].try_into().unwrap()),
            // A whole answer is a refusal too, if the app was not asked.
            _ => PROTOCOL_ERROR,
        };
        assert_eq!(code, PROTOCOL_ERROR, "{what}");
    }
    let reached = seen(&server);
    assert!(reached.is_empty(), "reached the app: {reached:?}");
    before.hold(&server);
}

/// A request's body, in pieces.
struct Pieces(Vec<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        Poll::Ready((!self.0.is_empty()).then(|| Ok(BodyFrame::data(self.0.remove(0)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Client = SendRequest<Pieces>;

async fn connect(server: &TestServer) -> Client {
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(
    client: &mut Client,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<Bytes>,
) -> Answer {
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("http://test.example{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let work = async {
        client.ready().await.unwrap();
        let response = client
            .send_request(request.body(Pieces(body)).unwrap())
            .await
            .unwrap();
        let (parts, mut incoming) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            if let Ok(data) = frame.unwrap().into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .unwrap();
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
    assert_ne!(answer.status, 500);
    for name in ["connection", "transfer-encoding", "keep-alive", "upgrade"] {
        assert!(!answer.headers.contains_key(name), "{name} in HTTP/2");
    }
    answer
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn requests_over_http_2() {
    let server = echo_server();
    let before = Invariants::of(&server);
    block_on(async {
        let client = &mut connect(&server).await;
        let headers = [
            ("x-request-id", "abc-2"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-base", "/evil"),
            ("x-forwarded-for", "6.6.6.6"),
        ];
        let answer = ask(client, "GET", "/echo/a%2fb?c=d", &headers, vec![]).await;
        assert_eq!(
            (answer.status, &answer.headers["x-request-id"]),
            (200, &"abc-2".parse().unwrap())
        );
        let asked = answer.json();
        assert_eq!(asked["url"], "http://test.example/a%2fb?c=d");
        assert_eq!(header_of(&asked, "cookie").as_deref(), Some("a=1; b=2"));
        assert_eq!(header_of(&asked, "host").as_deref(), Some("test.example"));
        assert_eq!(header_of(&asked, "x-base").as_deref(), Some("/echo"));

        let body: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let pieces = body.chunks(10_007).map(Bytes::copy_from_slice).collect();
        let answer = ask(client, "POST", "/echo/raw", &[], pieces).await;
        assert!(answer.body == body, "the body changed on its way");

        let answer = ask(client, "HEAD", "/echo/", &[], vec![]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let answer = ask(client, "GET", "/echo/cookies", &[], vec![]).await;
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 3);
        for code in [204, 304] {
            let answer = ask(
                client,
                "GET",
                &format!("/echo/status?code={code}"),
                &[],
                vec![],
            )
            .await;
            assert_eq!((answer.status, answer.body.len()), (code, 0));
        }
        for (method, target, status) in [
            ("GET", "/", 302),
            ("GET", "/echo", 308),
            ("GET", "//echo/x", 308),
            ("POST", "//echo/x", 400),
            ("GET", "/echo/%00", 400),
            ("GET", "/echo/..%2f", 200),
            ("GET", "/echo/%2e%2e/x", 400),
            ("GET", "/api/keys", 401),
            ("GET", "/%61pi/keys", 401),
            ("GET", "/nobody/", 404),
            ("POST", "/health", 405),
            ("TRACE", "/echo/", 405),
            ("FOO", "/echo/", 501),
            ("GET", "/echo/throw", 502),
        ] {
            let answer = ask(client, method, target, &[], vec![]).await;
            assert_eq!(answer.status, status, "{method} {target}");
            if status >= 400 {
                assert_eq!(
                    answer.json()["error"]["requestId"],
                    answer.headers["x-request-id"].to_str().unwrap()
                );
            }
        }
        let long = format!("/echo/{}", "a".repeat(17_000));
        assert_eq!(ask(client, "GET", &long, &[], vec![]).await.status, 414);
        let large = vec![Bytes::from(vec![b'x'; 64 * 1024]); 176];
        let answer = ask(client, "POST", "/echo/count", &[], large).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (413, &b"Payload Too Large"[..])
        );
        let answer = ask(
            client,
            "GET",
            "/echo/",
            &[("host", "other.example")],
            vec![],
        )
        .await;
        assert_eq!(answer.status, 400);
        let many: Vec<(String, &str)> = (0..150).map(|n| (format!("x-{n}"), "v")).collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(
            ask(client, "GET", "/echo/", &many, vec![]).await.status,
            431
        );
        let answer = ask(client, "GET", "/echo/", &[], vec![]).await;
        assert_eq!(answer.status, 200, "the connection has survived all of it");
    });
    before.hold(&server);
}

#[test]
fn many_streams_of_one_connection() {
    let server = echo_server();
    block_on(async {
        let client = connect(&server).await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..200 {
            let mut client = client.clone();
            tasks.spawn(async move {
                let body = vec![Bytes::from(format!("body {n}"))];
                let answer = ask(&mut client, "POST", &format!("/echo/{n}"), &[], body).await;
                let asked = answer.json();
                assert_eq!(asked["url"], format!("http://test.example/{n}"));
                assert_eq!(asked["body"], format!("body {n}"));
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn a_stream_that_is_reset_aborts_the_request() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = open(&server, &[]);
    let request = block("GET", "/echo/wait", &[(b"x-request-id", b"leaving-2")]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
    server.wait_for_log(|line| line.message().contains("waiting leaving-2"));
    client.send(&frame(RESET, 0, 1, &8u32.to_be_bytes()));
    server.wait_until("the request's signal was told", || {
        server.get("/echo/aborted").json()["aborted"] == 1
    });
    drop(client);
    before.hold(&server);
}

#[test]
fn an_idle_connection_of_http_2_is_closed() {
    let server = echo().env("RUNTIME_IDLE_TIMEOUT", "1s").start();
    let mut client = open(&server, &[]);
    let received = frames(&client.read_to_end());
    assert_eq!(goaways(&received).last(), Some(&0));
}

#[test]
fn a_stop_ends_connections_of_http_2() {
    let mut server = echo_server();
    let mut client = open(&server, &[]);
    let request = block("GET", "/echo/events", &[]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
    until(&mut client, |frame| frame.kind == DATA).unwrap();
    server.terminate();
    let received = frames(&client.read_to_end());
    assert!(
        received
            .iter()
            .any(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0)
    );
    assert_eq!(goaways(&received).last(), Some(&0));
    assert_eq!(server.wait_exit(Duration::from_secs(30)).code(), Some(0));
}
