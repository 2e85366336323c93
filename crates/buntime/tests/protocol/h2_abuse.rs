//! T14, T15: HTTP/2 by raw frames, and connections that end.

use std::time::{Duration, Instant};

use buntime_testkit::memory::Peak;
use buntime_testkit::{Connection, TestServer, process};

use crate::h2_frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS,
    INITIAL_WINDOW, PING, PROTOCOL_ERROR, RESET, SETTINGS, WINDOW_UPDATE, block, frame, frames,
    goaways, literal, open, string, until,
};
use crate::support::{Invariants, echo, echo_server, seen};

const MIB: u64 = 1024 * 1024;

/// Sends `bytes` again and again while the server takes them and has not closed.
fn flood(
    server: &TestServer,
    mut client: Connection,
    mut next: impl FnMut(u32) -> Vec<u8>,
) -> Vec<Frame> {
    let memory = Peak::watch(server.pid());
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
    let received = received.join().unwrap();
    let grown = memory.growth();
    assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
    frames(&received)
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
        assert_eq!(goaways(&received), [ENHANCE_YOUR_CALM], "{path}");
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
    assert_eq!(goaways(&received), [ENHANCE_YOUR_CALM]);
    // Empty ones cost as much work and no bytes.
    let client = open(&server, &[]);
    let received = flood(&server, client, |n| match n {
        0 => frame(HEADERS, 0, 1, &block("GET", "/echo/x", &[])),
        _ => frame(CONTINUATION, 0, 1, &[]).repeat(10),
    });
    assert_eq!(goaways(&received), [ENHANCE_YOUR_CALM]);
    before.hold(&server);
    assert!(seen(&server).is_empty());
}

/// A request with `uses` references to a header of 4,000 bytes, one byte each, split into frames
/// of at most `most` bytes.
fn bomb(stream: u32, uses: usize, most: usize) -> Vec<u8> {
    let mut head = block("GET", "/echo/bomb", &[]);
    head.push(0x40);
    string(&mut head, b"x");
    string(&mut head, &[b'v'; 4000]);
    head.resize(head.len() + uses, 0x80 | 62);
    let mut pieces = head.chunks(most).peekable();
    let mut frames = Vec::new();
    let mut kind = (HEADERS, END_STREAM);
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        frames.extend(frame(kind.0, kind.1 | end, stream, piece));
        kind = (CONTINUATION, 0);
    }
    frames
}

/// h2 reads to four times its own limit, 128 KB, so that a head a little too large costs one
/// stream only; who is beyond that is sent away at once, whatever stands behind.
#[test]
fn t14_hpack_bomb() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let memory = Peak::watch(server.pid());
    // 44 MB, in one frame and in several, and once the connection has served.
    for (most, is_used) in [(16_000, false), (16_000, true), (2_000, false)] {
        let mut client = open(&server, &[]);
        if is_used {
            let request = block("GET", "/api/health", &[]);
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
            until(&mut client, |frame| frame.flags & END_STREAM != 0).unwrap();
        }
        for stream in [3, 5, 7] {
            client.send(&bomb(stream, 11_000, most));
        }
        let received = frames(&client.read_to_end());
        assert_eq!(goaways(&received), [ENHANCE_YOUR_CALM]);
        let answers = received.iter().filter(|frame| frame.stream > 1);
        assert_eq!(answers.count(), 0, "a bomb was answered");
    }
    let grown = memory.growth();
    assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
    before.hold(&server);
    assert!(seen(&server).is_empty(), "the bomb reached the app");
}

/// What is too large, but no bomb, is refused by itself: with 431, and the connection goes on.
#[test]
fn t14_a_head_that_grows_a_little_costs_its_stream() {
    /// 431 as HPACK compresses it.
    const REFUSED: [u8; 3] = [0x69, 0x90, 0xff];
    let server = echo_server();
    let before = Invariants::of(&server);
    // Over our limit, which has our answer, and over that of h2, which has its own.
    for uses in [20, 40, 110] {
        let mut client = open(&server, &[]);
        client.send(&bomb(1, uses, 16_000));
        let answer = until(&mut client, |frame| frame.stream == 1).unwrap();
        assert_eq!(answer.kind, HEADERS, "{uses}");
        let status = answer.payload.windows(3).find(|bytes| *bytes == REFUSED);
        assert!(status.is_some(), "{uses}: {:x?}", answer.payload);
        let request = block("GET", "/echo/after", &[]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &request));
        until(&mut client, |frame| frame.stream == 3 && frame.kind == DATA).unwrap();
    }
    before.hold(&server);
    assert_eq!(seen(&server), ["GET /after 0"; 3]);
}

#[test]
fn t14_a_client_that_opens_no_window_is_sent_away() {
    let server = echo().env("RUNTIME_WRITE_TIMEOUT", "2s").start();
    let before = Invariants::of(&server);
    // Buffers that are made once are there before it is measured.
    let response = server.get("/echo/download?blocks=160");
    assert_eq!(response.body.len(), 160 * 64 * 1024);
    let memory = Peak::watch(server.pid());
    let request = block("GET", "/echo/download?blocks=1600", &[]);
    for settings in [&[(INITIAL_WINDOW, 0)][..], &[]] {
        // Without a window at all, and with the first one used up.
        let mut client = open(&server, settings);
        for stream in [1, 3, 5] {
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request));
        }
        let received = frames(&client.read_to_end());
        let last = received.last().unwrap();
        assert_eq!(last.kind, GOAWAY, "the last word is why");
        assert_eq!(goaways(&received), [ENHANCE_YOUR_CALM]);
    }
    server.wait_until("the downloads are given up", || {
        server.get("/echo/aborted").json()["aborted"] == 6
    });
    let grown = memory.growth();
    assert!(grown < 20 * MIB, "memory grew by {grown} bytes");
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

/// What a malformed request costs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Its stream alone.
    Stream,
    /// The connection: h2 gives a block of headers up at a name or value that cannot be one, and
    /// what the other side means by later ones is not known from there on.
    Connection,
}

#[test]
fn t15_malformed_requests_reset_their_stream() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let get = |headers: &[(&[u8], &[u8])]| (block("GET", "/echo/x", headers), None);
    let post = |length: &[u8]| {
        let head = block("POST", "/echo/x", &[(b"content-length", length)]);
        (head, Some(&b"abc"[..]))
    };
    let mut twice = block("GET", "/echo/x", &[]);
    twice.extend(literal(b":path", b"/echo/other"));
    let mut late = literal(b"x", b"y");
    late.extend(block("GET", "/echo/x", &[]));
    let pathless = literal(b":method", b"GET");
    let mut after = 0;
    let (stream, connection) = (Ends::Stream, Ends::Connection);
    for (what, ends, (head, body)) in [
        ("connection", stream, get(&[(b"connection", b"close")])),
        ("coding", stream, get(&[(b"transfer-encoding", b"chunked")])),
        ("keep-alive", stream, get(&[(b"keep-alive", b"timeout=1")])),
        ("upgrade", stream, get(&[(b"upgrade", b"websocket")])),
        ("te", stream, get(&[(b"te", b"gzip")])),
        ("upper case", connection, get(&[(b"X-Upper", b"y")])),
        ("CR LF in a value", connection, get(&[(b"x", b"y\r\nz: w")])),
        ("NUL in a value", connection, get(&[(b"x", b"y\0z")])),
        ("a colon in a name", connection, get(&[(b"x:y", b"z")])),
        ("a space in a name", connection, get(&[(b"x y", b"z")])),
        ("no name", connection, get(&[(b"", b"z")])),
        (
            "an unknown pseudo header",
            connection,
            get(&[(b":x", b"z")]),
        ),
        ("one of responses", stream, get(&[(b":status", b"200")])),
        ("two paths", stream, (twice, None)),
        ("a pseudo header after others", stream, (late, None)),
        ("no path", stream, (pathless, None)),
        ("an empty path", stream, (block("GET", "", &[]), None)),
        ("less than announced", stream, post(b"5")),
        ("more than announced", stream, post(b"2")),
        ("no number announced", stream, post(b"x")),
    ] {
        let mut client = open(&server, &[]);
        let end = if body.is_none() { END_STREAM } else { 0 };
        client.send(&frame(HEADERS, END_HEADERS | end, 1, &head));
        if let Some(body) = body {
            client.send(&frame(DATA, END_STREAM, 1, body));
        }
        let answer = until(&mut client, |frame| {
            matches!(frame.kind, RESET | GOAWAY) || frame.stream == 1
        });
        let answer = answer.unwrap_or_else(|| panic!("{what}: closed without a word"));
        let code = match (answer.kind, ends) {
            (RESET, Ends::Stream) => &answer.payload[..4],
            (GOAWAY, Ends::Connection) => &answer.payload[4..8],
            (kind, _) => panic!("{what}: answered by a frame of type {kind}"),
        };
        assert_eq!(code, PROTOCOL_ERROR.to_be_bytes(), "{what}");
        if ends == Ends::Connection {
            let rest = frames(&client.read_to_end());
            assert!(rest.iter().all(|frame| frame.stream == 0), "{what}");
            continue;
        }
        let next = block("GET", "/echo/after", &[]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &next));
        let answer = until(&mut client, |frame| frame.stream == 3);
        assert_eq!(answer.map(|frame| frame.kind), Some(HEADERS), "{what}");
        after += 1;
    }
    let reached = vec!["GET /after 0"; after];
    assert_eq!(
        seen(&server),
        reached,
        "a malformed request reached the app"
    );
    before.hold(&server);
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

/// Opens as many downloads as a connection may have, and reads none of them.
fn stuck(server: &TestServer, settings: &[(u16, u32)], target: &str) -> Connection {
    let mut client = open(server, settings);
    // The connection's own window is as wide as it gets.
    let widest = (i32::MAX as u32 - 65_535).to_be_bytes();
    client.send(&frame(WINDOW_UPDATE, 0, 0, &widest));
    let request = block("GET", target, &[]);
    for n in 0..128 {
        let stream = 2 * n + 1;
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request));
    }
    client
}

#[test]
fn t14_downloads_that_nobody_takes_hold_little_memory() {
    const CONNECTIONS: u64 = 4;
    let page = "x".repeat(5 * MIB as usize);
    let server = echo()
        .env("RUNTIME_WRITE_TIMEOUT", "2s")
        .app(
            "site@1.0.0",
            "name: site\n",
            &[("index.html", "<p>"), ("big.txt", &page)],
        )
        .start();
    let before = Invariants::of(&server);
    // Buffers that are made once are there before it is measured.
    for _ in 0..4 {
        assert_eq!(server.get("/site/big.txt").body.len(), page.len());
        let response = server.get("/echo/download?blocks=160");
        assert_eq!(response.body.len(), 160 * 64 * 1024);
    }
    let memory = process::private_memory(server.pid());
    let mut grown = 0;
    for (target, window) in [
        ("/echo/download?blocks=1600", i32::MAX as u32),
        ("/echo/download?blocks=1600", 0),
        ("/echo/large", 65_535),
        ("/site/big.txt", 0),
    ] {
        let clients: Vec<Connection> = (0..CONNECTIONS)
            .map(|_| stuck(&server, &[(INITIAL_WINDOW, window)], target))
            .collect();
        // Others go on meanwhile, in the same worker too.
        for _ in 0..10 {
            let response = server.get("/echo/download?blocks=16");
            assert_eq!(response.body.len(), 16 * 64 * 1024);
            let now = process::private_memory(server.pid());
            grown = grown.max(now.saturating_sub(memory));
        }
        assert!(
            grown < CONNECTIONS * 4 * MIB,
            "{target}, window {window}: memory grew by {grown} bytes"
        );
        let ping = frame(PING, 0, 0, &[0; 8]);
        for mut client in clients {
            server.wait_until("the downloads are given up", || {
                client.try_send(&ping).is_err()
            });
        }
    }
    before.hold(&server);
}

/// A client that takes little holds back its own streams, and none of them for ever.
#[test]
fn all_streams_end_when_they_share_little_room() {
    let server = echo_server();
    // Each answer is larger than a stream's share of what may be unsent.
    let mut client = open(&server, &[(INITIAL_WINDOW, 16 * 1024)]);
    let request = block("GET", "/echo/download?blocks=4", &[]);
    for n in 0..100 {
        client.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * n + 1,
            &request,
        ));
    }
    let (mut bytes, mut ended) = (Vec::new(), 0);
    while ended < 100 {
        let more = client.some();
        assert!(!more.is_empty(), "closed after {ended} streams");
        bytes.extend_from_slice(&more);
        let mut used = 0;
        for frame in frames(&bytes) {
            used += 9 + frame.payload.len();
            assert_ne!(frame.kind, RESET);
            if frame.kind != DATA {
                continue;
            }
            ended += usize::from(frame.flags & END_STREAM != 0);
            let taken = (frame.payload.len() as u32).to_be_bytes();
            if frame.payload.is_empty() {
                continue;
            }
            for stream in [0, frame.stream] {
                client.send(&self::frame(WINDOW_UPDATE, 0, stream, &taken));
            }
        }
        bytes.drain(..used);
    }
}

/// T23: a window of a few bytes now and then is progress, but too little.
#[test]
fn t23_a_download_that_is_taken_in_drops_is_given_up() {
    let server = echo().env("RUNTIME_WRITE_TIMEOUT", "1s").start();
    let before = Invariants::of(&server);
    let mut client = open(&server, &[(INITIAL_WINDOW, 10)]);
    let request = block("GET", "/echo/download?blocks=16", &[]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
    let socket = client.stream().try_clone().unwrap();
    let pause = Some(Duration::from_millis(100));
    let (begun, mut taken) = (Instant::now(), 0);
    loop {
        socket.set_read_timeout(pause).unwrap();
        let mut bytes = [0; 4096];
        match std::io::Read::read(&mut &socket, &mut bytes) {
            Ok(0) => break,
            Ok(read) => {
                let frames = frames(&bytes[..read]);
                let data = frames.iter().filter(|frame| frame.kind == DATA);
                taken += data.map(|frame| frame.payload.len()).sum::<usize>();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // Within the timeout each time, and about 100 bytes a second.
                let more = frame(WINDOW_UPDATE, 0, 1, &10u32.to_be_bytes());
                if client.try_send(&more).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it lives on");
    }
    assert!(taken >= 20, "there was no progress: {taken} bytes");
    assert!(begun.elapsed() >= Duration::from_millis(900), "no grace");
    server.wait_until("the app is told", || {
        server.get("/echo/aborted").json()["aborted"] == 1
    });
    before.hold(&server);
}

#[test]
fn t23_a_quiet_stream_is_not_cut() {
    let server = echo()
        .env("RUNTIME_WRITE_TIMEOUT", "1s")
        .env("RUNTIME_IDLE_TIMEOUT", "1s")
        .start();
    let mut plain = server.connect();
    plain.send(b"GET /echo/events HTTP/1.1\r\nHost: a\r\n\r\n");
    plain.head("GET").unwrap();
    assert_eq!(plain.chunk(&mut Vec::new()).unwrap(), b"data: first\n\n");
    let mut client = open(&server, &[]);
    let request = block("GET", "/echo/events", &[]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request));
    until(&mut client, |frame| frame.kind == DATA).unwrap();
    // Time enough for clients that take nothing to be given up.
    for _ in 0..2 {
        let mut stalled = server.connect();
        stalled.send(b"GET /echo/download?blocks=1600 HTTP/1.1\r\nHost: a\r\n\r\n");
        let ping = b"GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n";
        server.wait_until("the stalled download is given up", || {
            stalled.try_send(ping).is_err()
        });
    }
    assert_eq!(server.get("/echo/emit").json()["listening"], 2);
    assert_eq!(plain.chunk(&mut Vec::new()).unwrap(), b"data: more\n\n");
    let more = until(&mut client, |frame| frame.kind == DATA).unwrap();
    assert_eq!(more.payload, b"data: more\n\n");
}
