//! T16, T17: clients that take their time, and many of them.

use std::time::{Duration, Instant};

use buntime_testkit::{Connection, process};

use crate::support::{Invariants, echo, sound};

const MIB: u64 = 1024 * 1024;

#[test]
fn t16_over_the_cap_is_turned_away_and_places_come_back() {
    let server = echo().env("RUNTIME_MAX_CONNECTIONS", "50").start();
    let mut idle: Vec<Connection> = Vec::new();
    // Each one is served once, so that it surely has its place.
    while idle.len() < 50 {
        let mut client = server.connect();
        if client.get("/api/health").status == 200 {
            idle.push(client);
        }
    }
    for _ in 0..20 {
        let mut client = server.connect();
        let response = client.response_to("GET");
        sound(&response);
        assert_eq!(response.status, 503);
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        assert!(response.header("retry-after").is_some());
        client.assert_closed();
    }
    assert_eq!(
        idle[0].get("/echo/").status,
        200,
        "who has a place is served"
    );
    idle.truncate(10);
    server.wait_until("places come back", || {
        Connection::try_open(server.addr()).is_ok_and(|mut client| {
            client.send(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n");
            client
                .next_response("GET")
                .is_some_and(|response| response.status == 200)
        })
    });
}

#[test]
fn connections_have_as_many_threads_as_configured_and_all_are_served() {
    for shards in [1, 3] {
        let server = echo().env("RUNTIME_SHARDS", &shards.to_string()).start();
        // Each goes to the thread with the fewest: all threads have some.
        let mut clients: Vec<Connection> = (0..9).map(|_| server.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/echo/").status, 200);
        }
        let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let names = threads
            .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
        let serving = names.filter(|name| name.starts_with("shard-")).count();
        assert_eq!(serving, shards);
    }
}

#[test]
fn t16_thousands_of_idle_sockets() {
    let most = process::raise_descriptors().saturating_sub(500).min(9_900);
    let server = echo().start();
    let before = Invariants::of(&server);
    let memory = process::private_memory(server.pid());
    let mut idle = Vec::new();
    for _ in 0..most {
        idle.push(server.connect());
    }
    let asked = Instant::now();
    assert_eq!(server.get("/api/health").status, 200);
    assert_eq!(server.get("/echo/").status, 200);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "took {:?}",
        asked.elapsed()
    );
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(
        grown < most * 16 * 1024 + 8 * MIB,
        "{most} sockets cost {grown} bytes"
    );
    drop(idle);
    before.hold(&server);
}

#[test]
fn t16_half_heads_are_closed() {
    let server = echo().env("RUNTIME_HEAD_TIMEOUT", "1s").start();
    let before = Invariants::of(&server);
    let halves: [&[u8]; 6] = [
        b"G",
        b"GET /echo/ HTTP/1.1\r\nHost: a\r\n",
        b"GET /echo/ HTTP/1.1\r\nHost: a\r\n\r",
        b"\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let begun = Instant::now();
    let mut clients: Vec<(usize, Connection)> = (0..300)
        .map(|n| {
            let mut client = server.connect();
            client.send(halves[n % halves.len()]);
            (n % halves.len(), client)
        })
        .collect();
    assert_eq!(server.get("/api/health").status, 200);
    for (half, client) in &mut clients {
        match *half {
            // A preface alone opens a connection of HTTP/2, which is idle then.
            5 => continue,
            4 => client.assert_closed(),
            _ => {
                if let Some(response) = client.next_response("GET") {
                    sound(&response);
                    assert_eq!(response.status, 408);
                }
                client.assert_closed();
            }
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "took {:?}",
        begun.elapsed()
    );
    drop(clients);
    before.hold(&server);
}

#[test]
fn t16_a_head_that_drips_has_no_more_time_than_one_that_stops() {
    let server = echo().env("RUNTIME_HEAD_TIMEOUT", "1s").start();
    let mut client = server.connect();
    let begun = Instant::now();
    client.send(b"GET /echo/ HTTP/1.1\r\nHost: a\r\nX: ");
    let socket = client.stream().try_clone().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while client.try_send(b"x").is_ok() && begun.elapsed() < Duration::from_secs(15) {
        if socket.peek(&mut [0]).is_ok() {
            break;
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it lived {:?}",
        begun.elapsed()
    );
    if let Some(response) = client.next_response("GET") {
        assert_eq!(response.status, 408);
    }
}

#[test]
fn t17_a_reader_that_stops_pauses_the_worker_and_is_closed() {
    let server = echo().env("RUNTIME_WRITE_TIMEOUT", "2s").start();
    let before = Invariants::of(&server);
    // Buffers that are made once are there before it is measured.
    for _ in 0..4 {
        assert_eq!(
            server.get("/echo/download?blocks=160").body.len(),
            160 * 64 * 1024
        );
    }
    let memory = process::private_memory(server.pid());
    let mut client = server.connect();
    client.send(b"GET /echo/download?blocks=1600 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head("GET").unwrap().status, 200);
    // Nothing is read from here on. The server gives the connection up, and
    // meanwhile it has not grown.
    let mut grown = 0;
    server.wait_until("the stalled download is given up", || {
        grown = grown.max(process::private_memory(server.pid()).saturating_sub(memory));
        server.get("/echo/aborted").json()["aborted"] == 1
    });
    assert!(grown < 4 * MIB, "memory grew by {grown} bytes");
    let mut bytes = 0;
    loop {
        match client.some().len() {
            0 => break,
            read => bytes += read,
        }
    }
    assert!(bytes < 100 * MIB as usize, "the whole body was sent");
    before.hold(&server);
}

#[test]
fn t17_many_readers_that_stop() {
    let server = echo().env("RUNTIME_WRITE_TIMEOUT", "2s").start();
    let before = Invariants::of(&server);
    let memory = process::private_memory(server.pid());
    let clients: Vec<Connection> = (0..40)
        .map(|_| {
            let mut client = server.connect();
            client.send(b"GET /echo/download?blocks=1600 HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    let mut grown = 0;
    server.wait_until("the stalled downloads are given up", || {
        grown = grown.max(process::private_memory(server.pid()).saturating_sub(memory));
        server.get("/echo/aborted").json()["aborted"] == 40
    });
    assert!(grown < 40 * MIB, "memory grew by {grown} bytes");
    drop(clients);
    before.hold(&server);
}

/// Threat I1: nothing grows, however often bad input comes.
#[test]
fn i1_ten_thousand_bad_inputs_leave_nothing() {
    let server = echo().env("RUNTIME_LOG_LEVEL", "info").start();
    let inputs: [&[u8]; 12] = [
        b"GET /echo/%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"POST /echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /echo/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /echo/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frames at all, but enough bytes for one",
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC",
    ];
    let round = |count: usize| {
        for n in 0..count {
            let mut client = server.connect();
            client.send(inputs[n % inputs.len()]);
            client.finish();
            let _ = client.read_to_end();
        }
    };
    round(500);
    let before = Invariants::of(&server);
    let memory = process::private_memory(server.pid());
    round(10_000);
    before.hold(&server);
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 4 * MIB, "memory grew by {grown} bytes");
}
