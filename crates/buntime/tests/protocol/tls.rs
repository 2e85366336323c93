//! HTTPS: what is spoken inside it, and clients that do not get that far. T23.

use std::sync::Arc;
use std::time::{Duration, Instant};

use buntime_testkit::tls::{Certificate, client, client_of};
use buntime_testkit::{Builder, Connection, TestServer, process};
use rustls::ClientConfig;

use crate::support::{echo, failed, header_of, seen_by_app, sound};

const MIB: u64 = 1024 * 1024;

/// The server `echo` with this certificate.
pub(crate) fn encrypted(certificate: &Certificate) -> Builder {
    let builder = echo();
    let (cert, key) = certificate.write(builder.dir());
    builder
        .env("RUNTIME_TLS_CERT", cert.to_str().unwrap())
        .env("RUNTIME_TLS_KEY", key.to_str().unwrap())
}

/// The same, started, with a client that offers these protocols.
fn start(
    builder: impl Fn(Builder) -> Builder,
    offers: &[&[u8]],
) -> (TestServer, Arc<ClientConfig>) {
    let certificate = Certificate::new();
    let client = Arc::new(client(&[&certificate], offers));
    (builder(encrypted(&certificate)).start(), client)
}

fn plainly(builder: Builder) -> Builder {
    builder
}

#[test]
fn requests_over_http_1_1_and_workers_see_https() {
    let (server, client) = start(plainly, &[b"http/1.1"]);
    server.wait_for_log(|line| line.message().starts_with("Listening on https://"));
    let mut connection = server.connect_tls(&client);
    assert_eq!(connection.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    for n in 0..3 {
        let seen = seen_by_app(&mut connection, &format!("/echo/{n}"));
        assert_eq!(
            header_of(&seen, "x-forwarded-proto").as_deref(),
            Some("https")
        );
    }
    let own = connection.get("/health");
    assert!(own.header("strict-transport-security").is_some());
    // This machine is a trusted proxy, which knows better.
    let said = [("X-Forwarded-Proto", "http")];
    let response = connection.request("GET", "/echo/", &said, b"");
    let proto = header_of(&response.json(), "x-forwarded-proto");
    assert_eq!(proto.as_deref(), Some("http"));
    let body = vec![b'x'; 3_000_000];
    let response = connection.request("POST", "/echo/raw", &[], &body);
    assert!(response.body == body, "the body changed on its way");
    let response = connection.get("/echo/download?blocks=200");
    assert_eq!(response.body.len(), 200 * 64 * 1024);
    let response = connection.request("GET", "/echo/", &[("Connection", "close")], b"");
    sound(&response);
    connection.assert_closed();
    assert!(!connection.was_cut(), "no close_notify");
}

#[test]
fn the_protocol_is_what_was_agreed_on() {
    let certificate = Certificate::new();
    let server = encrypted(&certificate).start();
    for (offers, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"h2"], Some(b"h2")),
        (&[], None),
    ] {
        let client = Arc::new(client(&[&certificate], offers));
        let mut connection = server.connect_tls(&client);
        assert_eq!(connection.tls().alpn_protocol(), agreed);
        if agreed.is_none() {
            assert_eq!(connection.get("/echo/").status, 200);
            continue;
        }
        // HTTP/1.1 where HTTP/2 was agreed on is nobody's request.
        connection.send(b"GET /echo/smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(connection.read_to_end(), b"");
    }
    let http1 = Arc::new(client(&[&certificate], &[b"http/1.1"]));
    let mut connection = server.connect_tls(&http1);
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!((400..=505).contains(&connection.response_to("GET").status));
    connection.assert_closed();
    let other = Arc::new(client(&[&certificate], &[b"smtp"]));
    assert!(Connection::open_tls(server.addr(), &other).is_err());
    // Neither a name nor the newest version is asked of a client.
    let mut nameless = client(&[&certificate], &[]);
    nameless.enable_sni = false;
    let mut connection = server.connect_tls(&Arc::new(nameless));
    assert_eq!(connection.get("/echo/").status, 200);
    assert!(
        !crate::support::seen(&server)
            .iter()
            .any(|line| line.contains("smuggled"))
    );
}

#[test]
fn nothing_below_tls_1_2() {
    let certificate = Certificate::new();
    let server = encrypted(&certificate).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Arc::new(client_of(&[&certificate], &[], &[version]));
        let mut connection = server.connect_tls(&client);
        assert_eq!(connection.get("/echo/").status, 200, "{version:?}");
    }
    for minor in [0, 1, 2] {
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        // No session, two suites of that time, no compression.
        hello.extend([0, 0, 4, 0xC0, 0x13, 0x00, 0x2F, 1, 0]);
        let mut message = vec![1, 0, 0, hello.len() as u8];
        message.extend(hello);
        let mut record = vec![22, 3, 1, 0, message.len() as u8];
        record.extend(message);
        let mut connection = server.connect();
        connection.send(&record);
        let answer = connection.read_to_end();
        assert_eq!(answer.first(), Some(&21), "no alert: {answer:?}");
    }
}

#[test]
fn web_sockets_over_tls() {
    let (server, client) = start(plainly, &[b"http/1.1"]);
    let mut connection = server.connect_tls(&client);
    connection.send(crate::websocket::HANDSHAKE.as_bytes());
    assert_eq!(connection.response_to("GET").status, 101);
    for size in [1, 1000, 1_000_000] {
        let text = vec![b'x'; size];
        connection.send(&crate::websocket::frame(2, true, &text));
        let (opcode, payload) = crate::websocket::next(&mut connection);
        assert_eq!((opcode, payload.len()), (2, size));
    }
    server.terminate();
    assert_eq!(crate::websocket::closed_with(&mut connection), 1001);
    assert!(!connection.was_cut(), "no close_notify");
}

#[test]
fn plain_http_on_the_port_of_https_is_told_so() {
    let (server, client) = start(plainly, &[]);
    let mut connection = server.connect();
    connection.send(b"GET /echo/smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = connection.response_to("GET");
    failed(&response, 400, "HTTPS_REQUIRED");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    connection.finish();
    connection.assert_closed();
    assert_eq!(server.connect_tls(&client).get("/echo/").status, 200);
}

#[test]
fn t23_a_handshake_has_a_deadline_and_a_place() {
    let (server, client) = start(
        |builder| {
            builder
                .env("RUNTIME_HEAD_TIMEOUT", "1s")
                .env("RUNTIME_MAX_CONNECTIONS", "10")
        },
        &[],
    );
    let begun = Instant::now();
    let hello: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03";
    let halves: Vec<Connection> = (0..10)
        .map(|n| {
            let mut connection = server.connect();
            connection.send(&hello[..n]);
            connection
        })
        .collect();
    // All places are taken; who comes now is turned away.
    server.wait_until("the places are taken", || {
        Connection::open_tls(server.addr(), &client).is_err()
    });
    for mut half in halves {
        let answer = half.read_to_end();
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.wait_until("the places come back", || {
        Connection::open_tls(server.addr(), &client)
            .is_ok_and(|mut connection| connection.get("/echo/").status == 200)
    });
    server
        .wait_for_log(|line| line.message() == "Handshake failed" && line.text("level") == "debug");
}

#[test]
fn t23_failed_handshakes_leave_nothing() {
    let (server, client) = start(|builder| builder.env("RUNTIME_LOG_LEVEL", "info"), &[]);
    let inputs: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC",
        b"\x16\x03\x01\xFF\xFF\x01",
        b"\x16\x03\x03\0\x05hello",
        b"\x80\x2E\x01\x03\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    let round = |count: usize| {
        for n in 0..count {
            let mut connection = server.connect();
            connection.send(inputs[n % inputs.len()]);
            connection.finish();
            let _ = connection.read_to_end();
        }
    };
    round(200);
    let descriptors = process::descriptor_names(server.pid()).len();
    let memory = process::private_memory(server.pid());
    round(2_000);
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 4 * MIB, "memory grew by {grown} bytes");
    server.wait_until("no descriptor is leaked", || {
        process::descriptor_names(server.pid()).len() <= descriptors + 4
    });
    assert_eq!(server.connect_tls(&client).get("/echo/").status, 200);
}

#[test]
fn t17_a_reader_that_stops_is_closed_over_tls_too() {
    let (server, client) = start(|builder| builder.env("RUNTIME_WRITE_TIMEOUT", "2s"), &[]);
    let memory = process::private_memory(server.pid());
    let mut stalled = server.connect_tls(&client);
    stalled.send(b"GET /echo/download?blocks=1600 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stalled.head("GET").unwrap().status, 200);
    let mut grown = 0;
    server.wait_until("the stalled download is given up", || {
        grown = grown.max(process::private_memory(server.pid()).saturating_sub(memory));
        let mut asking = server.connect_tls(&client);
        asking.get("/echo/aborted").json()["aborted"] == 1
    });
    assert!(grown < 6 * MIB, "memory grew by {grown} bytes");
}

#[test]
fn idle_connections_are_closed_in_order() {
    let (mut server, client) = start(|builder| builder.env("RUNTIME_IDLE_TIMEOUT", "1s"), &[]);
    let mut idle = server.connect_tls(&client);
    assert_eq!(idle.get("/echo/").status, 200);
    idle.assert_closed();
    assert!(!idle.was_cut(), "no close_notify");
    let mut idle = server.connect_tls(&client);
    assert_eq!(idle.get("/echo/").status, 200);
    server.terminate();
    idle.assert_closed();
    assert!(!idle.was_cut(), "no close_notify");
    assert_eq!(server.wait_exit(Duration::from_secs(30)).code(), Some(0));
}
