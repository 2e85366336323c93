//! Answers and requests that flow: events, downloads, continue, and clients that leave.

use std::time::{Duration, Instant};

use buntime_testkit::process;
use buntime_testkit::wire::Framing;

use crate::support::{Invariants, echo, echo_server, sound};

#[test]
fn events_arrive_as_they_are_sent() {
    let server = echo_server();
    let mut client = server.connect();
    assert_eq!(client.get("/echo/").status, 200);
    let asked = Instant::now();
    client.send(b"GET /echo/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    let response = client.head("GET").unwrap();
    sound(&response);
    assert_eq!(response.framing, Framing::Chunked);
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    assert_eq!(client.chunk(&mut Vec::new()).unwrap(), b"data: first\n\n");
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "the first event took {:?}",
        asked.elapsed()
    );
}

#[test]
fn a_client_that_leaves_a_stream_is_noticed_by_the_app() {
    let server = echo_server();
    let before = Invariants::of(&server);
    {
        let mut client = server.connect();
        client.send(b"GET /echo/events HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head("GET").unwrap();
        let _ = client.chunk(&mut Vec::new()).unwrap();
    }
    server.wait_until("the stream was cancelled", || {
        server.get("/echo/aborted").json()["aborted"] == 1
    });
    before.hold(&server);
}

#[test]
fn a_client_that_leaves_before_the_answer_aborts_the_request() {
    let server = echo_server();
    let before = Invariants::of(&server);
    {
        let mut client = server.connect();
        client.send(b"GET /echo/wait HTTP/1.1\r\nHost: a\r\nX-Request-Id: leaving\r\n\r\n");
        server.wait_for_log(|line| line.message().contains("waiting leaving"));
    }
    server.wait_until("the request's signal was told", || {
        server.get("/echo/aborted").json()["aborted"] == 1
    });
    before.hold(&server);
}

#[test]
fn a_client_waits_for_continue() {
    let server = echo_server();
    let mut client = server.connect();
    let head =
        b"POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for _ in 0..2 {
        client.send(head);
        let interim = client.head("POST").unwrap();
        assert_eq!(interim.status, 100);
        client.send(b"hello");
        let response = client.response_to("POST");
        assert_eq!(response.json()["body"], "hello");
    }
    // Sent without waiting: nobody need say so.
    client.send(&[&head[..], b"hello"].concat());
    assert_eq!(client.response_to("POST").json()["body"], "hello");
    // Refused without the body: no 100 before.
    for (target, status) in [("/api/keys", 403), ("/nobody/", 404)] {
        let mut client = server.connect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n"
        );
        client.send(head.as_bytes());
        let response = client.head("POST").unwrap();
        assert_eq!(response.status, status);
        let _ = client.body(response);
    }
    // HTTP/1.0 has no 100.
    let mut client = server.connect();
    client.send(b"POST /echo/x HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    assert_eq!(client.head("POST").unwrap().status, 200);
}

#[test]
fn head_is_get_without_the_body() {
    let server = echo_server();
    let mut client = server.connect();
    for target in [
        "/echo/",
        "/echo/cookies",
        "/echo/download?blocks=3",
        "/health",
        "/nobody/",
    ] {
        let get = client.get(target);
        let head = client.request("HEAD", target, &[], b"");
        sound(&head);
        assert_eq!(head.status, get.status, "{target}");
        assert!(head.body.is_empty());
        assert_eq!(head.all("set-cookie"), get.all("set-cookie"));
        // What Bun makes up for a body it leaves out where there is none.
        if target != "/echo/cookies" {
            assert_eq!(
                head.header("content-type"),
                get.header("content-type"),
                "{target}"
            );
        }
    }
}

#[test]
fn statuses_without_a_body_have_none() {
    let server = echo_server();
    let mut client = server.connect();
    for code in [204, 304] {
        // Reading asserts that no length is claimed and nothing follows.
        let response = client.get(&format!("/echo/status?code={code}"));
        sound(&response);
        assert_eq!((response.status, response.body.len()), (code, 0));
    }
    for code in [200, 201, 299, 404, 418, 503, 599] {
        let response = client.get(&format!("/echo/status?code={code}&body=1"));
        assert_eq!((response.status, response.text().as_str()), (code, "body"));
    }
    assert_eq!(
        client.get("/echo/").status,
        200,
        "the connection stays in step"
    );
}

#[test]
fn http_1_0_keeps_a_connection_only_if_asked() {
    let server = echo_server();
    let mut client = server.connect();
    client.send(b"GET /echo/ HTTP/1.0\r\n\r\n");
    let response = client.response_to("GET");
    sound(&response);
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    client.assert_closed();
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(b"GET /echo/ HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n");
        let response = client.response_to("GET");
        assert_eq!(response.header("connection").as_deref(), Some("keep-alive"));
    }
    // Of unknown length it ends with the connection: 1.0 knows no chunks.
    client
        .send(b"GET /echo/download?blocks=4 HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n");
    let response = client.response_to("GET");
    assert_eq!(response.framing, Framing::Close);
    assert_eq!(response.body.len(), 4 * 64 * 1024);
}

#[test]
fn http_1_1_keeps_a_connection_unless_told() {
    let server = echo_server();
    let mut client = server.connect();
    for _ in 0..10 {
        let response = client.get("/echo/");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("connection"), None);
    }
    let response = client.request("GET", "/echo/", &[("Connection", "Close")], b"");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    client.assert_closed();
    // Pipelined behind a request with a body.
    let mut client = server.connect();
    client.send(
        b"POST /echo/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
          POST /echo/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
          GET /echo/3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for (url, body) in [
        ("http://a/1", "hello"),
        ("http://a/2", "hi"),
        ("http://a/3", ""),
    ] {
        let seen = client.response_to("GET").json();
        assert_eq!((&seen["url"], &seen["body"]), (&url.into(), &body.into()));
    }
}

#[test]
fn a_connection_outlives_a_body_that_nobody_read() {
    let server = echo_server();
    let mut client = server.connect();
    for (target, status) in [
        ("/api/keys", 403),
        ("/nobody/", 404),
        ("/health", 405),
        ("/echo", 404),
    ] {
        for body in [&b"x"[..], &[b'x'; 60_000]] {
            let response = client.request("POST", target, &[], body);
            assert_eq!(
                (response.status, response.header("connection")),
                (status, None),
                "{target}"
            );
        }
        client.send(
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
        );
        client.send(b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(client.response_to("POST").status, status);
    }
    assert_eq!(client.get("/echo/").status, 200);
    // Where it cannot, the answer says so.
    for (headers, body) in [
        (&[][..], vec![b'x'; 1_000_000]),
        (&[("Expect", "100-continue")][..], vec![b'x'; 10]),
    ] {
        let mut client = server.connect();
        let response = client.request("POST", "/nobody/", headers, &body);
        assert_eq!(response.status, 404);
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        client.finish();
        client.assert_closed();
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let server = echo().env("RUNTIME_IDLE_TIMEOUT", "1s").start();
    let mut client = server.connect();
    assert_eq!(client.get("/echo/").status, 200);
    client.assert_closed();
    server.connect().assert_closed();
}

#[test]
fn a_large_download_costs_no_memory() {
    let server = echo_server();
    let mut client = server.connect();
    assert_eq!(
        client.get("/echo/download?blocks=8").body.len(),
        8 * 64 * 1024
    );
    let memory = process::private_memory(server.pid());
    client.send(b"GET /echo/download?blocks=3200 HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head("GET").unwrap();
    assert_eq!(head.framing, Framing::Chunked);
    let mut bytes = 0;
    while let Some(chunk) = client.chunk(&mut Vec::new()) {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 3200 * 64 * 1024);
    let grown = process::private_memory(server.pid()).saturating_sub(memory);
    assert!(grown < 20 * 1024 * 1024, "memory grew by {grown} bytes");
}

#[test]
fn a_stop_ends_what_has_no_end() {
    let mut server = echo_server();
    let mut events = server.connect();
    events.send(b"GET /echo/events HTTP/1.1\r\nHost: a\r\n\r\n");
    events.head("GET").unwrap();
    let _ = events.chunk(&mut Vec::new()).unwrap();
    let mut idle = server.connect();
    assert_eq!(idle.get("/echo/").status, 200);
    server.terminate();
    assert_eq!(
        events.chunk(&mut Vec::new()),
        None,
        "the stream ends as a whole response"
    );
    idle.assert_closed();
    let status = server.wait_exit(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0));
}
