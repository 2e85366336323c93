//! T18: WebSocket through the server, and peers that break its rules.

use std::time::Duration;

use buntime_testkit::{Connection, TestServer};

use crate::support::{Invariants, echo, echo_server, failed, sound};

pub(crate) const HANDSHAKE: &str = "GET /echo/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A frame of a client, masked.
pub(crate) fn frame(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 99, 200, 1];
    let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The next frame of the server: its opcode and payload.
pub(crate) fn next(client: &mut Connection) -> (u8, Vec<u8>) {
    let head = client.exactly(2);
    assert_eq!(head[0] & 0x70, 0, "a reserved bit is set");
    assert_eq!(head[1] & 0x80, 0, "a server's frame is masked");
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(client.exactly(2).try_into().unwrap())),
        127 => usize::try_from(u64::from_be_bytes(client.exactly(8).try_into().unwrap())).unwrap(),
        length => usize::from(length),
    };
    (head[0] & 0x0F, client.exactly(length))
}

/// Skips to the Close frame; its code. Then the connection must end.
pub(crate) fn closed_with(client: &mut Connection) -> u16 {
    loop {
        let (opcode, payload) = next(client);
        if opcode == 8 {
            // The end; whatever else was on its way may precede it.
            let _ = client.read_to_end();
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

fn open(server: &TestServer) -> Connection {
    let mut client = server.connect();
    client.send(HANDSHAKE.as_bytes());
    let response = client.response_to("GET");
    sound(&response);
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("upgrade").unwrap().to_ascii_lowercase(),
        "websocket"
    );
    assert_eq!(
        response.header("connection").unwrap().to_ascii_lowercase(),
        "upgrade"
    );
    assert_eq!(
        response.header("sec-websocket-accept").as_deref(),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    client
}

#[test]
fn t18_messages_go_through_both_ways() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = open(&server);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let payload: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        client.send(&frame(2, true, &payload));
        let (opcode, echoed) = next(&mut client);
        assert_eq!(opcode, 2);
        assert!(echoed == payload, "{size} bytes changed on their way");
    }
    client.send(&frame(1, true, "grüße".as_bytes()));
    assert_eq!(next(&mut client), (1, "grüße".as_bytes().to_vec()));
    // In pieces, with a ping between.
    client.send(&frame(1, false, b"hel"));
    client.send(&frame(9, true, b"there?"));
    client.send(&frame(0, true, b"lo"));
    assert_eq!(next(&mut client), (10, b"there?".to_vec()));
    assert_eq!(next(&mut client), (1, b"hello".to_vec()));
    client.send(&frame(8, true, &1000u16.to_be_bytes()));
    assert_eq!(closed_with(&mut client), 1000);
    // Frames that come with the handshake wait for the answer to it.
    let mut client = server.connect();
    client.send(&[HANDSHAKE.as_bytes(), &frame(1, true, b"early")].concat());
    assert_eq!(client.response_to("GET").status, 101);
    assert_eq!(next(&mut client), (1, b"early".to_vec()));
    drop(client);
    before.hold(&server);
}

#[test]
fn t18_bad_handshakes() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let ask = |text: String| {
        let mut client = server.connect();
        client.send(text.as_bytes());
        client.response_to("GET")
    };
    for key in [
        "short",
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "!!!!!!!!!!!!!!!!!!!!!!==",
        "dGhlIHNhbXBsZSBub25jZQ==, x",
    ] {
        let response = ask(HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", key));
        failed(&response, 400, "BAD_WEBSOCKET_KEY");
    }
    for version in ["12", "8", "", "13, 8", "x"] {
        let response = ask(HANDSHAKE.replace("Version: 13", &format!("Version: {version}")));
        failed(&response, 426, "UPGRADE_REQUIRED");
        assert_eq!(
            response.header("sec-websocket-version").as_deref(),
            Some("13")
        );
    }
    // An app that does not upgrade answers as ever.
    let response = ask(HANDSHAKE.replace("/echo/ws", "/echo/"));
    assert_eq!(response.status, 200);
    let response = ask(HANDSHAKE.replace("Connection: Upgrade\r\n", ""));
    assert_eq!(
        (response.status, response.text().as_str()),
        (400, "no upgrade")
    );
    let response = ask(HANDSHAKE.replace("GET", "POST"));
    assert_ne!(response.status, 101);
    let response = ask(HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"));
    assert_ne!(response.status, 101);
    before.hold(&server);
}

#[test]
fn t18_who_breaks_the_rules_is_sent_away() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let huge = |length: u64| [&[0x82, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat();
    let pings: Vec<u8> = (0..20_000).flat_map(|_| frame(9, true, b"x")).collect();
    let mut unmasked = frame(1, true, b"x");
    unmasked[1] &= 0x7F;
    for (what, bytes, code) in [
        ("a frame of 1 GB", huge(1 << 30), 1009),
        ("a frame of 2^63", huge(1 << 63), 1002),
        ("a frame of 16 MB and 1", huge(16 * 1024 * 1024 + 1), 1009),
        ("a ping flood", pings, 1008),
        ("no mask", unmasked, 1002),
        ("a reserved opcode", frame(3, true, b"x"), 1002),
        ("a ping in pieces", frame(9, false, b"x"), 1002),
        ("a ping of 126 bytes", frame(9, true, &[b'x'; 126]), 1002),
        ("a continuation of nothing", frame(0, true, b"x"), 1002),
        ("reserved bits", frame(1 | 0x30, true, b"x"), 1002),
    ] {
        let mut client = open(&server);
        client.send(&bytes);
        assert_eq!(closed_with(&mut client), code, "{what}");
    }
    // One who speaks for ever in small pieces.
    let mut client = open(&server);
    let piece = frame(0, false, &[b'x'; 65_000]);
    client.send(&frame(2, false, b"x"));
    for _ in 0..400 {
        if client.try_send(&piece).is_err() {
            break;
        }
    }
    assert_eq!(closed_with(&mut client), 1009);
    before.hold(&server);
}

#[test]
fn t18_peers_that_leave() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for _ in 0..50 {
        let mut client = open(&server);
        client.send(&frame(1, true, b"x"));
        assert_eq!(next(&mut client).1, b"x");
    }
    before.hold(&server);
}

#[test]
fn t18_a_stop_says_goodbye() {
    let mut server = echo().env("RUNTIME_SHUTDOWN_TIMEOUT", "10s").start();
    let mut client = open(&server);
    client.send(&frame(1, true, b"x"));
    assert_eq!(next(&mut client).1, b"x");
    server.terminate();
    assert_eq!(closed_with(&mut client), 1001);
    assert_eq!(server.wait_exit(Duration::from_secs(30)).code(), Some(0));
}
