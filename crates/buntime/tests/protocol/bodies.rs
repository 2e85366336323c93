//! B: bodies that are too large, too slow, or where nobody expects one.

use std::time::{Duration, Instant};

use buntime_testkit::memory::Peak;
use buntime_testkit::{Connection, NeighbourProbe};

use crate::support::{Invariants, SMUGGLED, echo, echo_server, sound};

const MIB: usize = 1024 * 1024;

#[track_caller]
fn too_large(response: &buntime_testkit::Response) {
    sound(response);
    assert_eq!(response.status, 413);
    assert_eq!(response.text(), "Payload Too Large");
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(response.header("connection").as_deref(), Some("close"));
}

#[test]
fn b1_a_length_over_the_limit_is_refused_before_the_body() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for length in [10 * MIB + 1, 11 * MIB, usize::MAX] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let mut client = server.connect();
            let head = format!(
                "POST /echo/count HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: {length}\r\n\r\n"
            );
            client.send(head.as_bytes());
            too_large(&client.head("POST").map(|head| client.body(head)).unwrap());
            client.send(SMUGGLED);
            client.finish();
            client.assert_closed();
        }
    }
    let mut client = server.connect();
    let body = vec![b'x'; 10 * MIB];
    let response = client.request("POST", "/echo/count", &[], &body);
    assert_eq!(response.json()["bytes"], 10 * MIB);
    before.hold(&server);
}

#[test]
fn b2_a_chunked_body_is_cut_at_the_limit() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = server.connect();
    let head = b"POST /echo/count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    client.send(format!("{:x}\r\n", 10 * MIB).as_bytes());
    client.send(&vec![b'x'; 10 * MIB]);
    client.send(b"\r\n0\r\n\r\n");
    assert_eq!(client.response_to("POST").json()["bytes"], 10 * MIB);
    client.send(head);
    client.send(format!("{:x}\r\n", 10 * MIB).as_bytes());
    client.send(&vec![b'x'; 10 * MIB]);
    // One byte more, and not another one is needed for the answer.
    client.send(b"\r\n1\r\nx");
    too_large(&client.response_to("POST"));
    client.send(SMUGGLED);
    client.finish();
    client.assert_closed();
    before.hold(&server);
}

#[test]
fn b3_a_huge_body_costs_no_memory() {
    let server = echo_server();
    let before = Invariants::of(&server);
    assert_eq!(
        server
            .connect()
            .request("POST", "/echo/count", &[], &[b'x'; 200_000])
            .status,
        200
    );
    let memory = Peak::watch(server.pid());
    let mut client = server.connect();
    client.send(b"POST /echo/count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b'x'; MIB], b"\r\n"].concat();
    for _ in 0..120 {
        if client.try_send(&chunk).is_err() {
            break;
        }
    }
    too_large(&client.response_to("POST"));
    let grown = memory.growth();
    assert!(grown < 20 * MIB as u64, "memory grew by {grown} bytes");
    before.hold(&server);
}

#[test]
fn b3_an_app_may_raise_its_limit_up_to_the_ceiling() {
    let server = echo_server();
    let source = "export default { async fetch(r) { let n = 0; for await (const c of r.body ?? []) n += c.length; return Response.json({bytes: n}) } }";
    server.app(
        "small@1.0.0",
        "ttl: 1h\nmaxBodySize: 1kb\n",
        &[("index.ts", source)],
    );
    server.app(
        "large@1.0.0",
        "ttl: 1h\nmaxBodySize: 1gb\n",
        &[("index.ts", source)],
    );
    let mut client = server.connect();
    assert_eq!(
        client.request("POST", "/small/", &[], &[0; 1024]).json()["bytes"],
        1024
    );
    too_large(&client.request("POST", "/small/", &[], &[0; 1025]));
    let mut client = server.connect();
    let response = client.request("POST", "/large/", &[], &vec![0; 20 * MIB]);
    assert_eq!(response.json()["bytes"], 20 * MIB);
    let head = format!(
        "POST /large/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        100 * MIB + 1
    );
    client.send(head.as_bytes());
    too_large(&client.response_to("POST"));
}

/// The routes that a body of 118 MB is sent to without a credential, and what each answers: a
/// login has none yet, so its body counts first.
const HUGE: usize = 118 * MIB;
const FOR_STRANGERS: [(&str, u16); 3] = [
    ("/api/admin/session", 413),
    ("/api/keys", 401),
    ("/api/workers/upload", 401),
];

/// Sends `block` until it was sent 118 times or the server no longer takes it; tells how often it
/// was taken.
fn insist(client: &mut Connection, block: &[u8]) -> usize {
    let mut sent = 0;
    while sent < HUGE / MIB && client.try_send(block).is_ok() {
        sent += 1;
    }
    sent
}

#[test]
fn b4_a_huge_body_on_the_api_is_not_read() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let health = NeighbourProbe::start(server.addr(), "/api/health", 50);
    let memory = Peak::watch(server.pid());
    let host = server.addr().to_string();
    for (target, status) in FOR_STRANGERS {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let mut client = server.connect();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{expect}\
                 Content-Type: application/json\r\nContent-Length: {HUGE}\r\n\r\n[\"x"
            );
            // Nothing more is sent before the answer is there: it waits for none of it.
            client.send(head.as_bytes());
            let response = client.head("POST").unwrap();
            let response = client.body(response);
            sound(&response);
            assert_eq!(response.status, status, "{target}");
            assert_eq!(response.header("connection").as_deref(), Some("close"));
            // A client that sends on is not read to the end.
            let sent = insist(&mut client, &vec![b'x'; MIB]);
            assert!(sent < HUGE / MIB / 2, "{target}: {sent} MB were taken");
            client.assert_closed();
        }
    }
    let grown = memory.growth();
    assert!(grown < 4 * MIB as u64, "memory grew by {grown} bytes");
    health.finish();
    before.hold(&server);
}

#[test]
fn b4_a_huge_body_without_a_length_is_cut() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let health = NeighbourProbe::start(server.addr(), "/api/health", 50);
    let memory = Peak::watch(server.pid());
    let host = server.addr().to_string();
    let chunk = |body: &[u8]| [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
    for (target, status) in FOR_STRANGERS {
        let mut client = server.connect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.send(head.as_bytes());
        if status == 413 {
            // As much as such a body may have, and one byte: not another one is needed.
            client.send(&chunk(&vec![b' '; MIB]));
            client.send(b"1\r\n ");
        }
        let response = client.response_to("POST");
        sound(&response);
        assert_eq!(response.status, status, "{target}");
        let sent = insist(&mut client, &chunk(&vec![b'x'; MIB]));
        assert!(sent < HUGE / MIB / 2, "{target}: {sent} MB were taken");
        client.assert_closed();
    }
    let grown = memory.growth();
    assert!(grown < 8 * MIB as u64, "memory grew by {grown} bytes");
    health.finish();
    before.hold(&server);
}

#[test]
fn b7_a_body_that_stops_is_given_up() {
    let server = echo().env("RUNTIME_BODY_TIMEOUT", "1s").start();
    let before = Invariants::of(&server);
    for head in [
        "Content-Length: 1000000\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    ] {
        let begun = Instant::now();
        let mut client = server.connect();
        client.send(format!("POST /echo/count HTTP/1.1\r\nHost: a\r\n{head}").as_bytes());
        if let Some(response) = client.next_response("POST") {
            sound(&response);
            assert_eq!(response.status, 408, "{}", response.text());
            assert_eq!(response.header("connection").as_deref(), Some("close"));
        }
        client.assert_closed();
        assert!(
            begun.elapsed() >= Duration::from_millis(900),
            "too early: {:?}",
            begun.elapsed()
        );
    }
    before.hold(&server);
}

#[test]
fn b8_a_body_that_drips_is_given_up() {
    let server = echo().env("RUNTIME_BODY_TIMEOUT", "1s").start();
    let before = Invariants::of(&server);
    let mut client = server.connect();
    client.set_patience(Duration::from_millis(100));
    client.send(b"POST /echo/count HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let begun = Instant::now();
    // The pace is what is tested: a byte now and then, always within the timeout.
    while client.try_send(b"x").is_ok() && begun.elapsed() < Duration::from_secs(15) {
        let socket = client.stream();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        if socket.peek(&mut [0]).is_ok() {
            break;
        }
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "a dripping body lived {took:?}"
    );
    assert!(took >= Duration::from_millis(900), "no grace: {took:?}");
    if let Some(response) = client.next_response("POST") {
        assert_eq!(response.status, 408);
    }
    before.hold(&server);
}

#[test]
fn b10_a_body_of_a_get_is_not_lost() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let smuggled = String::from_utf8_lossy(SMUGGLED).into_owned();
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        for head in [
            format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
                smuggled.len()
            ),
        ] {
            let mut client = server.connect();
            client
                .send(format!("{method} /echo/with-body HTTP/1.1\r\nHost: a\r\n{head}").as_bytes());
            let response = client.response_to(method);
            sound(&response);
            if matches!(method, "GET" | "HEAD") {
                // Bun has no body of these for the app, so it must not seem to have one.
                assert_eq!(response.status, 400, "{method}");
            } else {
                assert_eq!(response.status, 200, "{method}");
                assert_eq!(response.json()["url"], "http://a/with-body");
                assert_eq!(response.json()["body"], smuggled);
            }
            // Both connections are still in step: ours, and that to the worker.
            for _ in 0..3 {
                let next = client.get("/echo/next");
                assert_eq!(next.json()["url"], "http://test.example/next");
            }
        }
    }
    before.hold(&server);
}

#[test]
fn b10_a_body_that_the_app_does_not_read_is_not_parsed() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for size in [SMUGGLED.len(), 100_000, 5 * MIB] {
        let body: Vec<u8> = SMUGGLED.iter().copied().cycle().take(size).collect();
        let mut client = server.connect();
        client.send(
            format!("POST /echo/unread HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")
                .as_bytes(),
        );
        client.send(&body);
        let response = client.response_to("POST");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "not read")
        );
        client.send(b"GET /echo/after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if let Some(next) = client.next_response("GET") {
            assert_eq!(next.json()["url"], "http://a/after");
        }
        client.assert_closed();
    }
    before.hold(&server);
}

#[test]
fn bodies_reach_the_app_and_come_back_as_they_are() {
    let server = echo_server();
    let mut client = server.connect();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let response = client.request("POST", "/echo/raw", &[], &body);
    assert_eq!(response.status, 200);
    assert!(response.body == body, "the body changed on its way");
    // In odd pieces, with extensions and trailers.
    client.send(b"POST /echo/raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
    for piece in body[..100_000].chunks(777) {
        client.send(format!("{:04X};name=\"a value\"\r\n", piece.len()).as_bytes());
        client.send(piece);
        client.send(b"\r\n");
    }
    client.send(b"0\r\nX-Sum: 1\r\n\r\n");
    let response = client.response_to("POST");
    assert!(response.body == body[..100_000]);
    // No body at all, in each way to say so.
    for head in [
        "",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let end = if head.starts_with('T') {
            "0\r\n\r\n"
        } else {
            ""
        };
        client.send(format!("POST /echo/ HTTP/1.1\r\nHost: a\r\n{head}\r\n{end}").as_bytes());
        let response = client.response_to("POST");
        assert_eq!(response.json()["body"], "");
    }
}
