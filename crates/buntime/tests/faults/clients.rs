//! Clients that are many, idle or slow.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use buntime_testkit::memory::{Peak, anonymous};
use buntime_testkit::process::{self, raise_descriptors};
use buntime_testkit::sample::{assert_error, retry_after};
use buntime_testkit::{Connection, PATIENCE, TestServer};

use super::server;

const KEPT: &str = "ttl: 1h\n";
const MEGABYTE: u64 = 1024 * 1024;
const IDLE: u64 = 10_000;
/// Of the server, for each connection that says nothing: its task. Not optimised it
/// is about 10 KB.
const EACH: u64 = 16 * 1024;

/// How many connections this process may hold besides what else it needs.
fn allowed() -> u64 {
    raise_descriptors().saturating_sub(500).min(IDLE)
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_delay_nobody() {
    let count = allowed();
    if count < IDLE {
        let mut err = std::io::stderr();
        let _ = writeln!(
            err,
            "only {count} idle connections: the limit of open files is low"
        );
    }
    let server = server().env("RUNTIME_MAX_CONNECTIONS", "11000").start();
    let probe = server.probe();
    let before = anonymous(server.pid());
    let idle: Vec<TcpStream> = (0..count)
        .map(|_| TcpStream::connect(server.addr()).unwrap())
        .collect();
    let wanted = usize::try_from(count).unwrap();
    server.wait_until("all are accepted", || {
        process::descriptors(server.pid()) > wanted
    });
    let grown = anonymous(server.pid()).saturating_sub(before);
    assert!(grown < count * EACH, "the server grew by {grown} bytes");
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(server.get("/health").status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }
    // Any of them may begin to talk.
    let mut talker = &idle[idle.len() / 2];
    talker
        .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    talker.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut talker, &mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(idle);
    server.wait_until("all are forgotten", || {
        process::descriptors(server.pid()) < 500
    });
    probe.finish();
}

#[test]
fn connections_over_the_cap_are_refused_and_those_below_are_served() {
    let server = server().env("RUNTIME_MAX_CONNECTIONS", "20").start();
    let mut held: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = server.connect();
            assert_eq!(connection.get("/health").status, 200);
            connection
        })
        .collect();
    for _ in 0..20 {
        let mut refused = server.connect();
        refused.send(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
        if let Some(response) = refused.next_response("GET") {
            assert_eq!(response.status, 503, "{response:?}");
            let _ = response.request_id();
        }
        refused.assert_closed();
    }
    for connection in &mut held {
        assert_eq!(connection.get("/neighbour/").text(), "well");
    }
    held.clear();
    server.wait_until("there is room again", || {
        let mut connection = server.connect();
        connection.send(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
        connection
            .next_response("GET")
            .is_some_and(|response| response.status == 200)
    });
}

/// A server with short deadlines.
fn strict() -> TestServer {
    server()
        .env("RUNTIME_HEAD_TIMEOUT", "1s")
        .env("RUNTIME_BODY_TIMEOUT", "1s")
        .env("RUNTIME_WRITE_TIMEOUT", "1s")
        .env("RUNTIME_IDLE_TIMEOUT", "2s")
        .sample("plain@1.0.0", KEPT)
        .start()
}

/// Sends a byte each 50 ms until the server closes or answers; says how long that took.
fn drip(connection: &mut Connection, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    connection.stream().set_nonblocking(true).unwrap();
    for byte in bytes.iter().cycle() {
        let answered = connection.stream().peek(&mut [0]).is_ok();
        if answered || connection.try_send(&[*byte]).is_err() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the server is too patient");
        // The pace of the attack.
        thread::sleep(Duration::from_millis(50));
    }
    connection.stream().set_nonblocking(false).unwrap();
    begun.elapsed()
}

/// The connection ends, with nothing but a 408 before.
fn assert_given_up(connection: &mut Connection) {
    if let Some(response) = connection.next_response("GET") {
        assert_eq!(response.status, 408, "{response:?}");
        let _ = response.request_id();
    }
    connection.assert_closed();
}

#[test]
fn a_slow_loris_on_the_head_is_closed() {
    let server = strict();
    let probe = server.probe();
    let mut connection = server.connect();
    connection.send(b"GET /plain/ HTTP/1.1\r\nhost: a\r\nx-slow: ");
    let took = drip(&mut connection, b"x");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert_given_up(&mut connection);

    // Three hundred at once, silent in the middle of their heads.
    let memory = Peak::watch(server.pid());
    let mut half: Vec<Connection> = (0..300)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(b"GET /plain/ HTTP/1.1\r\nhost: a\r\nx-half: ");
            connection
        })
        .collect();
    half.iter_mut().for_each(assert_given_up);
    let grown = memory.growth();
    assert!(grown < 16 * MEGABYTE, "the server grew by {grown} bytes");
    probe.finish();
}

#[test]
fn a_slow_loris_on_the_body_is_closed() {
    let server = strict();
    let probe = server.probe();
    let head = b"POST /plain/upload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    // Row B7: three bytes, then silence.
    let mut silent = server.connect();
    silent.send(head);
    silent.send(b"abc");
    assert_given_up(&mut silent);
    // Row B8: a byte now and then.
    let mut slow = server.connect();
    slow.send(head);
    let took = drip(&mut slow, b"x");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert_given_up(&mut slow);
    // The worker is as it was.
    assert_eq!(server.get("/plain/").text(), "ok");
    probe.finish();
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let server = strict();
    let mut never = server.connect();
    let mut once = server.connect();
    assert_eq!(once.get("/health").status, 200);
    let begun = Instant::now();
    never.assert_closed();
    once.assert_closed();
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_client_that_never_reads_is_closed_and_its_worker_told() {
    let server = strict();
    let probe = server.probe();
    let memory = Peak::watch(server.pid());
    let mut connection = server.begin("/plain/download?bytes=104857600");
    server.wait_for_message("download cancelled");
    let grown = memory.growth();
    assert!(grown < 4 * MEGABYTE, "the server grew by {grown} bytes");
    // What was under way can be read, but not the whole.
    let received = connection.read_to_end();
    assert!(received.len() < 100 * 1024 * 1024, "{}", received.len());
    probe.finish();
}

/// Rows W15 and W16 from outside: a client that takes all that a worker can serve at a time.
#[test]
fn a_client_with_more_streams_than_a_worker_has_room_for_ends_none_of_them() {
    /// Of the 1,024 descriptors of a worker.
    const ROOM: usize = 768;
    assert!(
        raise_descriptors() > 1_000,
        "the limit of open files is low"
    );
    let source = "export default { fetch(request) {
        if (request.url.endsWith('/worker')) return new Response(process.env.WORKER_ID);
        const start = (reader) => reader.enqueue('data: 1\\n\\n');
        return new Response(new ReadableStream({ start }));
      } };\n";
    let server = server()
        .module(
            "feed@1.0.0",
            "ttl: 1h\nmaxRequests: 10000\ntimeout: 2s\n",
            source,
        )
        .start();
    let probe = server.probe();
    let worker = server.worker("feed");
    let mut streams = Vec::new();
    for _ in 0..ROOM {
        let mut stream = server.begin("/feed/");
        assert_eq!(stream.head("GET").unwrap().status, 200);
        streams.push(stream);
    }
    let late = server.get("/feed/");
    assert_error(&late, 503, "QUEUE_TIMEOUT");
    assert!(retry_after(&late) > 0);
    // Who waits gets the place of the next who leaves, in the same worker, so nobody was cut off.
    let mut waiting = server.begin("/feed/worker");
    drop(streams.pop());
    let answer = waiting.response_to("GET");
    assert_eq!(server.process_of(&answer.text()), Some(worker));
    probe.finish();
}
