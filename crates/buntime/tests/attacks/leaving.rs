//! Clients that leave while the server waits for a worker, and hide it.

use std::time::Duration;

use buntime_testkit::{Connection, TestServer};

use super::{HELD, server};

/// The head and the first word of a stream that then is quiet.
fn quiet_stream(server: &TestServer, request: &[u8]) -> Connection {
    let mut client = server.connect();
    client.send(request);
    assert_eq!(client.head("GET").unwrap().status, 200);
    assert_eq!(client.chunk(&mut Vec::new()).unwrap(), b"x");
    client
}

fn assert_forgotten(server: &TestServer) {
    server.wait_until("the streams are forgotten", || {
        server.get("/held/open").text() == "0"
    });
}

#[test]
fn a_client_that_began_another_request_and_left_does_not_keep_its_stream() {
    let server = server().start();
    let request = b"GET /held/quiet HTTP/1.1\r\nhost: a\r\n\r\n";
    for more in [&b"G"[..], &request.repeat(2), &[b'x'; 100_000]] {
        let client = quiet_stream(&server, &[&request[..], more].concat());
        drop(client);
    }
    assert_forgotten(&server);
}

#[test]
fn a_client_whose_body_nobody_reads_and_that_left_does_not_keep_its_stream() {
    let server = server().start();
    // Less than what is read at once, and less than what Bun takes unread: more
    // keeps the end itself from arriving.
    for length in [0, 1000, 500_000] {
        let head = format!(
            "POST /held/quiet HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            length + 1
        );
        let mut client = quiet_stream(&server, head.as_bytes());
        client.send(&vec![b'b'; length]);
        drop(client);
    }
    assert_forgotten(&server);
}

#[test]
fn a_client_that_left_the_queue_with_its_body_unread_frees_its_place() {
    let server = server()
        .app("one@1.0.0", "ttl: 0\ntimeout: 60s\n", &[("index.ts", HELD)])
        .env("RUNTIME_EPHEMERAL_CONCURRENCY", "1")
        .env("RUNTIME_EPHEMERAL_QUEUE_LIMIT", "1")
        .start();
    let is_full = || {
        let client = server.begin("/one/");
        let limit = Some(Duration::from_millis(500));
        client.stream().set_read_timeout(limit).unwrap();
        matches!(client.stream().peek(&mut [0]), Ok(1))
    };
    let holder = server.begin("/one/hang");
    server.wait_until("the holder has the place", || {
        let mut client = server.connect();
        client.send(b"POST /one/ HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde");
        let full = is_full();
        drop(client);
        full
    });
    server.wait_until("the queue is empty", || !is_full());
    drop(holder);
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there() {
    let server = server().start();
    let client = quiet_stream(&server, b"GET /held/quiet HTTP/1.1\r\nhost: a\r\n\r\n");
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (ours, theirs) = (
        port(client.stream().local_addr().unwrap()),
        port(server.addr()),
    );
    // The server's socket, and which timer runs for it: 2 is that of keepalive.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timer = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1].ends_with(&theirs) && fields[2].ends_with(&ours)).then(|| fields[5].to_owned())
    });
    let timer = timer.expect("the server's socket is listed");
    assert!(timer.starts_with("02:"), "{timer}");
}
