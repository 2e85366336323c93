//! Bodies as streams, both ways (row W14).

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use buntime_testkit::memory::Peak;
use buntime_testkit::sample::assert_gone;
use buntime_testkit::{Connection, PATIENCE, TestServer};

use super::server;

const KEPT: &str = "ttl: 1h\n";
const MEGABYTE: u64 = 1024 * 1024;
const GIGABYTE: u64 = 1024 * MEGABYTE;
/// Contract: a body of any length through so much memory.
const MOST_GROWTH: u64 = 20 * MEGABYTE;

fn event(stream: &mut Connection) -> Option<String> {
    let chunk = stream.chunk(&mut Vec::new())?;
    Some(String::from_utf8(chunk).unwrap())
}

#[test]
fn w14_each_event_arrives_before_the_next_one_is_made() {
    for ttl in ["1h", "0"] {
        let server = server()
            .sample("clock@1.0.0", &format!("ttl: {ttl}\n"))
            .start();
        let probe = server.probe();
        // An ephemeral worker has no second request that could open its gate.
        let pace = if ttl == "0" { "?ms=100&count=10" } else { "" };
        let mut stream = server.begin(&format!("/clock/events{pace}"));
        assert_eq!(stream.head("GET").unwrap().status, 200);
        for number in 0..10 {
            assert_eq!(event(&mut stream).unwrap(), format!("data: {number}\n\n"));
            if ttl == "1h" {
                server.wait_until("the next event is asked for", || {
                    server.get("/clock/emit").text() == "1"
                });
            }
        }
        drop(stream);
        probe.finish();
    }
}

#[test]
fn w14_a_client_that_leaves_ends_the_stream_in_the_worker() {
    let server = server().sample("clock@1.0.0", KEPT).start();
    let probe = server.probe();
    let mut stream = server.begin("/clock/events?ms=10");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    assert_eq!(event(&mut stream).unwrap(), "data: 0\n\n");
    drop(stream);
    server.wait_for_message("events cancelled");
    probe.finish();
}

#[test]
fn w14_the_idle_timeout_of_an_ephemeral_stream_counts_from_its_last_byte() {
    let server = server()
        .sample("quiet@1.0.0", "ttl: 0\ntimeout: 1s\nidleTimeout: 1s\n")
        .start();
    let probe = server.probe();
    // Longer than both timeouts, but never silent for so long.
    let response = server.get("/quiet/events?ms=400&count=5");
    assert!(response.text().ends_with("data: 4\n\n"), "{response:?}");

    let mut stream = server.begin("/quiet/events");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    assert_eq!(event(&mut stream).unwrap(), "data: 0\n\n");
    let begun = Instant::now();
    let rest = stream.read_to_end();
    assert!(
        rest.is_empty(),
        "cut off is not the end of the body: {rest:?}"
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    probe.finish();
}

#[test]
fn a_quiet_stream_of_a_kept_worker_is_not_cut() {
    let server = server()
        .sample(
            "quiet@1.0.0",
            "ttl: 2s\ntimeout: 500ms\nidleTimeout: 500ms\n",
        )
        .start();
    let mut stream = server.begin("/quiet/events?ms=2500&count=2");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    assert_eq!(event(&mut stream).unwrap(), "data: 0\n\n");
    assert_eq!(event(&mut stream).unwrap(), "data: 1\n\n");
    assert_eq!(event(&mut stream), None);
}

#[test]
fn a_gigabyte_comes_down_through_little_memory() {
    let server = server().sample("big@1.0.0", KEPT).start();
    let probe = server.probe();
    assert_eq!(server.get("/big/").text(), "ok");
    let memory = Peak::watch(server.pid());
    let stream = server.begin(&format!("/big/download?bytes={GIGABYTE}"));
    let mut stream = stream.stream();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut block = vec![0; 256 * 1024];
    let (mut received, mut end) = (0, Vec::new());
    // The framing counts too, but is little.
    while !end.ends_with(b"0\r\n\r\n") {
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "the stream ended after {received} bytes");
        received += read as u64;
        let tail = &block[read.saturating_sub(5)..read];
        end.extend_from_slice(tail);
        end.drain(..end.len().saturating_sub(5));
    }
    let grown = memory.growth();
    assert!(
        (GIGABYTE..GIGABYTE + 32 * MEGABYTE).contains(&received),
        "{received}"
    );
    assert!(grown <= MOST_GROWTH, "the server grew by {grown} bytes");
    probe.finish();
}

/// A server that takes a gigabyte.
fn generous() -> TestServer {
    server()
        .env("BODY_SIZE_MAX", "2gb")
        .sample("big@1.0.0", "ttl: 1h\nmaxBodySize: 2gb\ntimeout: 5m\n")
        .start()
}

#[test]
fn a_gigabyte_goes_up_through_little_memory() {
    let block = vec![b'x'; 256 * 1024];
    let server = generous();
    let probe = server.probe();
    for chunked in [false, true] {
        assert_eq!(server.get("/big/").text(), "ok");
        let memory = Peak::watch(server.pid());
        let mut connection = server.connect();
        connection.set_patience(Duration::from_secs(120));
        let framing = if chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {GIGABYTE}")
        };
        let head = format!("POST /big/upload HTTP/1.1\r\nhost: test.example\r\n{framing}\r\n\r\n");
        connection.send(head.as_bytes());
        let mut stream = connection.stream();
        for _ in 0..GIGABYTE / block.len() as u64 {
            if chunked {
                write!(stream, "{:x}\r\n", block.len()).unwrap();
            }
            stream.write_all(&block).unwrap();
            if chunked {
                stream.write_all(b"\r\n").unwrap();
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        let response = connection.response_to("POST");
        assert_eq!(response.text(), GIGABYTE.to_string(), "chunked: {chunked}");
        let grown = memory.growth();
        assert!(
            grown <= MOST_GROWTH,
            "the server grew by {grown} bytes, chunked: {chunked}"
        );
    }
    probe.finish();
}

#[test]
fn a_client_that_does_not_read_stops_the_worker() {
    let server = server().sample("eager@1.0.0", KEPT).start();
    let probe = server.probe();
    let memory = Peak::watch(server.pid());
    let mut stream = server.begin(&format!("/eager/download?bytes={GIGABYTE}"));
    assert_eq!(stream.head("GET").unwrap().status, 200);
    let made = || -> u64 { server.get("/eager/made").text().parse().unwrap() };
    // Buffers fill up, and then nothing more is made, however often the worker and the server
    // have a turn, which each of these requests gives them.
    let mut before = 0;
    server.wait_until("the worker has stopped", || {
        before = made();
        before > 0 && (0..100).all(|_| made() == before)
    });
    assert!(
        before < 32 * MEGABYTE,
        "{before} bytes were made for nobody"
    );
    let grown = memory.growth();
    assert!(grown <= 4 * MEGABYTE, "the server grew by {grown} bytes");

    // It goes on when the client does.
    for _ in 0..1000 {
        assert!(stream.chunk(&mut Vec::new()).is_some());
    }
    server.wait_until("more is made", || made() > before);
    drop(stream);
    server.wait_for_message("download cancelled");
    probe.finish();
}

#[test]
fn a_worker_that_does_not_read_stops_the_client() {
    let server = generous();
    let probe = server.probe();
    let memory = Peak::watch(server.pid());
    let mut connection = server.connect();
    let head = format!(
        "POST /big/hang HTTP/1.1\r\nhost: test.example\r\ncontent-length: {GIGABYTE}\r\n\r\n"
    );
    connection.send(head.as_bytes());
    connection
        .stream()
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let block = vec![b'x'; 256 * 1024];
    let mut sent = 0;
    while sent < GIGABYTE && connection.try_send(&block).is_ok() {
        sent += block.len() as u64;
    }
    assert!(
        sent < 32 * MEGABYTE,
        "{sent} bytes were taken that nobody reads"
    );
    let grown = memory.growth();
    assert!(grown <= MOST_GROWTH, "the server grew by {grown} bytes");
    drop(connection);
    probe.finish();
}

#[test]
fn a_worker_that_dies_in_a_stream_ends_it_for_its_client() {
    let server = server().sample("mortal@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("mortal");
    let mut stream = server.begin("/mortal/events");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    assert_eq!(event(&mut stream).unwrap(), "data: 0\n\n");
    assert_eq!(server.get("/mortal/exit").status, 502);
    assert_gone(worker, PATIENCE);
    let rest = stream.read_to_end();
    assert!(
        rest.is_empty(),
        "cut off is not the end of the body: {rest:?}"
    );
    probe.finish();
}
