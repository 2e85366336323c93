//! The last lines of a worker, and those that come.

use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use http_body::Body as _;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::support::{APP, Apps as _, Follow, ROOT, STAYS, api, builder, root, worker};

#[test]
fn the_last_lines_are_those_of_the_app_and_of_the_server_about_it() {
    let server = builder()
        .with_app("shop/1.0.0")
        .with_app("@acme/cart/1.0.0")
        .start();
    worker(&server, "/shop/say?text=hello");
    worker(&server, "/@acme/cart/say?text=other");
    let line = |path: &str, wanted: &str| {
        let lines = root(&server, "GET", path).json();
        let mut lines = lines.as_array().unwrap().clone();
        lines.retain(|line| line["message"] == wanted);
        lines.pop()
    };
    let path = "/workers/_/shop/logs";
    server.wait_until("the line is there", || line(path, "hello").is_some());
    let hello = line(path, "hello").unwrap();
    assert_eq!(
        (&hello["stream"], &hello["version"]),
        (&"stdout".into(), &"1.0.0".into())
    );
    assert!(hello["worker"].is_string() && hello["time"].is_string());
    assert_eq!(line(path, "other"), None);
    assert_eq!(line("/workers/_/shop/logs?version=2.0.0", "hello"), None);
    let all = root(&server, "GET", path).json();
    let is_start = |line: &serde_json::Value| {
        line["stream"] == "server"
            && line["message"]
                .as_str()
                .unwrap()
                .starts_with("worker started")
    };
    assert!(all.as_array().unwrap().iter().any(is_start), "{all}");
    let one = root(&server, "GET", "/workers/@acme/cart/logs?lines=1").json();
    assert_eq!(one.as_array().unwrap().len(), 1);
    for bad in [
        "lines=x",
        "lines=-1",
        "lines=+1",
        "lines=1001",
        "follow=2",
        "version=~",
        "lines=1&lines=2",
    ] {
        let refused = api(&server, ROOT, "GET", &format!("{path}?{bad}"));
        assert_eq!(refused.status, 400, "{bad}: {}", refused.text());
    }
}

#[test]
fn errors_of_an_app_stand_in_its_log_with_the_request() {
    let source = "export default () => { throw new Error('thrown here'); }";
    let server = builder()
        .app("bad/1.0.0", "ttl: 1h\n", &[("index.ts", source)])
        .start();
    let failed = server.get("/bad/");
    assert_eq!(failed.status, 502, "{}", failed.text());
    server.wait_until("the error is there", || {
        let lines = root(&server, "GET", "/workers/_/bad/logs").json();
        lines.as_array().unwrap().iter().any(|line| {
            line["stream"] == "error"
                && line["requestId"] == failed.request_id().as_str()
                && line["message"].as_str().unwrap().contains("thrown here")
        })
    });
}

#[test]
fn a_follower_gets_lines_as_they_come_and_goes_on_where_it_was() {
    let server = builder().with_app("shop/1.0.0").start();
    let path = "/workers/_/shop/logs?follow=1";
    let mut follow = Follow::begin(&server, path, None);
    worker(&server, "/shop/say?text=one");
    let one = follow.line();
    assert_eq!(one.data["message"], "one");
    assert_eq!(one.data["id"], one.id.as_str());
    drop(follow);
    worker(&server, "/shop/say?text=two");
    worker(&server, "/shop/say?text=three");
    let mut again = Follow::begin(&server, path, Some(&one.id));
    assert_eq!(again.line().data["message"], "two");
    assert_eq!(again.line().data["message"], "three");
    // An id of another run means nothing: the last lines it is.
    let mut stranger = Follow::begin(&server, path, Some("0123456789abcdef-7"));
    assert_eq!(stranger.line().data["message"], "one");
    let mut none = Follow::begin(&server, &format!("{path}&lines=0"), None);
    worker(&server, "/shop/say?text=four");
    assert_eq!(none.line().data["message"], "four");
}

#[test]
fn a_stream_ends_with_the_server_and_with_its_worker() {
    let mut server = builder()
        .with_app("shop/1.0.0")
        .with_app("gone/1.0.0")
        .start();
    let mut ended = Follow::begin(&server, "/workers/_/gone/logs?follow=1", None);
    worker(&server, "/gone/");
    root(&server, "DELETE", "/workers/_/gone");
    while ended.next().is_some() {}
    let mut follow = Follow::begin(&server, "/workers/_/shop/logs?follow=1", None);
    worker(&server, "/shop/");
    assert!(follow.next().is_some());
    let began = Instant::now();
    server.terminate();
    while follow.next().is_some() {}
    server.wait_exit(Duration::from_secs(20));
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}

/// An app that writes without end, a follower that reads all the time and one that reads
/// nothing: the app answers as before, and each is told what it missed.
#[test]
fn a_slow_follower_holds_up_nobody_and_is_told_what_it_missed() {
    let builder = builder();
    let grants = builder.dir().join("grants.yaml");
    fs::write(&grants, "shop: {limits: {output: 32mb}}\n").unwrap();
    let chatty = format!("{STAYS}limits: {{output: 32mb}}\n");
    let server = builder
        .env("RUNTIME_GRANTS", grants.to_str().unwrap())
        .app("shop/1.0.0", &chatty, &[("index.ts", APP)])
        .start();
    worker(&server, "/shop/");
    let path = "/workers/_/shop/logs?follow=1&lines=0";
    let mut slow = Follow::begin(&server, path, None);
    slow.connection().hold_little();
    let mut quick = Follow::begin(&server, path, None);
    let text = "x".repeat(8000);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = 0_u32;
            loop {
                let event = quick.next().unwrap();
                seen += 1;
                if event.data["message"] == "the end" {
                    return seen;
                }
            }
        });
        // More than the sockets of both ends hold.
        let mut connection = server.connect();
        for _ in 0..1200 {
            let began = Instant::now();
            let said = connection.get(&format!("/shop/say?text={text}"));
            assert_eq!(said.status, 200, "{}", said.text());
            assert!(began.elapsed() < Duration::from_secs(5));
        }
        server.wait_until("the last line gets through", || {
            connection.get("/shop/say?text=the%20end");
            reader.is_finished()
        });
        assert!(reader.join().unwrap() > 100);
    });
    let mut missed = None;
    while let Some(event) = slow.next() {
        if event.kind == "lost" {
            missed = event.data["lines"].as_u64();
            break;
        }
    }
    assert!(missed.is_some_and(|lines| lines > 0), "{missed:?}");
    assert!(slow.connection().stream().peer_addr().is_ok());
}

#[test]
fn a_flood_is_bounded_and_says_so() {
    let server = builder().with_app("shop/1.0.0").start();
    worker(&server, "/shop/flood?lines=20000");
    let path = "/workers/_/shop/logs?lines=1000";
    worker(&server, "/shop/say?text=afterwards");
    server.wait_until("it is said that lines were dropped", || {
        worker(&server, "/shop/say?text=afterwards");
        let lines = root(&server, "GET", path).json();
        let lines = lines.as_array().unwrap().clone();
        assert!(lines.len() <= 1000);
        lines
            .iter()
            .any(|line| line["message"].as_str().unwrap().contains("lines dropped"))
    });
}

#[test]
fn one_key_follows_a_few_logs_at_a_time() {
    let server = builder().with_app("shop/1.0.0").start();
    let path = "/workers/_/shop/logs?follow=1";
    let follows: Vec<_> = (0..16)
        .map(|_| Follow::begin(&server, path, None))
        .collect();
    let refused = api(&server, ROOT, "GET", path);
    assert_eq!(
        (refused.status, refused.error_code()),
        (429, "TOO_MANY_FOLLOWERS".into())
    );
    assert!(refused.header("retry-after").is_some());
    drop(follows);
    server.wait_until("there is a place again", || {
        let mut connection = server.connect();
        let request = format!("GET /api{path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ROOT}\r\n\r\n");
        connection.send(request.as_bytes());
        connection.head("GET").unwrap().status == 200
    });
}

#[test]
fn head_of_a_log_says_what_get_would() {
    let server = builder().with_app("shop/1.0.0").start();
    for _ in 0..20 {
        let head = api(&server, ROOT, "HEAD", "/workers/_/shop/logs?follow=1");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type").unwrap(), "text/event-stream");
    }
}

#[test]
fn a_log_is_followed_over_http2_too() {
    let server = builder().with_app("shop/1.0.0").start();
    let work = async {
        let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get("http://test.example/api/workers/_/shop/logs?follow=1")
            .header("x-api-key", ROOT)
            .body(String::new())
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut text = String::new();
        while !text.contains("over-two") {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let data = frame.unwrap().unwrap().into_data().unwrap();
            if text.is_empty() {
                // The first bytes are there before the app has said anything.
                worker(&server, "/shop/say?text=over-two");
            }
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let followed = tokio::time::timeout(buntime_testkit::PATIENCE, work);
            followed.await.unwrap();
        });
}
