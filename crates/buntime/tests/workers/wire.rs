//! Workers that abuse their connections with the server (rows W11 and W13).

use std::time::{Duration, Instant};

use buntime_testkit::memory::Peak;
use buntime_testkit::sample::{SAMPLE, assert_error, assert_gone};
use buntime_testkit::{PATIENCE, Response, TestServer, fake_bun};

use super::server;

const KEPT: &str = "ttl: 1h\n";
const MEGABYTE: u64 = 1024 * 1024;

/// A server whose Bun does with each path what `fake-bun` says, and with the app's
/// source too.
fn fake(source: &str, manifest: &str) -> TestServer {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_BUN", fake_bun().to_str().unwrap())
        // Under which nothing runs that tells whether the sandbox works.
        .env("RUNTIME_SANDBOX", "off")
        .module("fake@1.0.0", manifest, source)
        .module("neighbour@1.0.0", KEPT, "")
        .start()
}

#[test]
fn w11_garbage_instead_of_a_response_costs_its_own_request_alone() {
    let server = fake("", KEPT);
    let probe = server.probe();
    for path in ["garbage", "half-head", "close", "header-flood", "failure"] {
        let response = server.get(&format!("/fake/{path}"));
        assert_eq!(response.status, 502, "{path}: {response:?}");
        assert_error(&response, 502, "WORKER_BAD_RESPONSE");
        assert_eq!(server.get("/fake/next").text(), "/next", "after {path}");
    }
    probe.finish();
}

#[test]
fn w11_a_head_that_never_ends_is_a_timeout() {
    let server = fake("", "ttl: 1h\ntimeout: 1s\n");
    let probe = server.probe();
    for path in ["drip", "hang"] {
        assert_error(&server.get(&format!("/fake/{path}")), 504, "WORKER_TIMEOUT");
    }
    assert_eq!(server.get("/fake/next").text(), "/next");
    probe.finish();
}

#[test]
fn w11_a_second_reply_reaches_nobody() {
    let server = fake("", KEPT);
    let probe = server.probe();
    for _ in 0..20 {
        // One connection of the client, so that a reply too many had somebody to go to.
        let mut connection = server.connect();
        let response = connection.get("/fake/twice");
        assert_eq!(response.text(), "one");
        for number in 0..5 {
            let path = format!("/number{number}");
            assert_eq!(connection.get(&format!("/fake{path}")).text(), path);
        }
        assert_eq!(connection.get("/fake/long").text(), "long");
        assert_eq!(connection.get("/fake/after").text(), "/after");
    }
    probe.finish();
}

#[test]
fn w11_a_body_that_breaks_off_does_not_look_whole() {
    let server = fake("", KEPT);
    let probe = server.probe();
    for path in ["short", "bad-chunk", "short-chunk"] {
        let mut connection = server.begin(&format!("/fake/{path}"));
        // No answer at all, and a browser would ask again.
        let head = connection.head("GET").expect(path);
        let rest = connection.read_to_end();
        let whole = rest.ends_with(b"0\r\n\r\n") || rest.len() == 10;
        assert!(head.status == 502 || !whole, "{path}: {head:?} {rest:?}");
        if head.status == 502 {
            let told = server.wait_for_message("Response broke off");
            assert_eq!(told.text("code"), "WORKER_BAD_RESPONSE");
        }
        assert_eq!(server.get("/fake/next").text(), "/next", "after {path}");
    }
    probe.finish();
}

#[test]
fn w11_garbage_on_the_control_channel_costs_the_worker_at_most() {
    for source in ["noise\n", "close-control\n"] {
        let server = fake(source, KEPT);
        let probe = server.probe();
        let response = server.get("/fake/pid");
        assert!([200, 502].contains(&response.status), "{response:?}");
        server.wait_for_log(|line| {
            line.message() == "Worker ended"
                && line.text("app") == "fake@1.0.0"
                && line.text("reason") == "misbehaved"
        });
        probe.finish();
    }
}

#[test]
fn w11_an_app_that_writes_into_the_servers_connections_harms_itself_alone() {
    let server = server().sample("evil@1.0.0", KEPT).start();
    let probe = server.probe();
    // A reply too many that comes while another request of the same app waits cannot
    // be told from that one's. So the app's own clients get an error or something
    // that the app itself wrote; nobody else notices anything.
    let its_own = |response: Response| match response.status {
        200 => assert!(["ok", "first", "second"].contains(&response.text().as_str())),
        _ => assert_error(&response, 502, "WORKER_BAD_RESPONSE"),
    };
    assert_error(
        &server.get("/evil/socket-garbage"),
        502,
        "WORKER_BAD_RESPONSE",
    );
    for _ in 0..5 {
        its_own(server.get("/evil/socket-garbage"));
        let mut connection = server.connect();
        its_own(connection.get("/evil/socket-garbage?kind=twice"));
        for _ in 0..5 {
            its_own(connection.get("/evil/"));
        }
    }
    probe.finish();
}

#[test]
fn w11_an_app_that_writes_into_the_control_channel_harms_itself_alone() {
    let server = server().sample("evil@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("evil");
    // What the server takes for an answer of the wrapper changes nothing either.
    for text in [
        "what%20is%20this",
        "{%22t%22:%22up%22}",
        "{%22t%22:%22ready%22,%22hooks%22:[]}",
        "{%22t%22:%22failed%22,%22message%22:%22canary%22,%22stack%22:%22%22}",
        "{%22t%22:%22terminated%22}",
    ] {
        let response = server.get(&format!("/evil/control-garbage?text={text}"));
        assert_eq!(response.status, 200, "{response:?}");
    }
    server.wait_for_log(|line| {
        line.message() == "Worker misbehaves" && line.text("app") == "evil@1.0.0"
    });
    assert_eq!(server.worker("evil"), worker);
    // Too much of it is the end.
    let _ = server.get("/evil/control-garbage?text=x&times=1000");
    assert_eq!(server.wait_for_end(worker), "misbehaved");
    assert_eq!(server.get("/evil/").text(), "ok");
    probe.finish();
}

#[test]
fn w11_a_line_of_a_gigabyte_on_the_control_channel_is_not_kept() {
    let manifest = "ttl: 1h\ntimeout: 3s\n";
    let server = server()
        .app("evil@1.0.0", manifest, &[("index.ts", SAMPLE)])
        .start();
    let probe = server.probe();
    let worker = server.worker("evil");
    let memory = Peak::watch(server.pid());
    let begun = Instant::now();
    let response = server.get("/evil/control-flood");
    assert!([200, 502, 504].contains(&response.status), "{response:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let grown = memory.growth();
    assert!(grown < 8 * MEGABYTE, "the server grew by {grown} bytes");
    if response.status != 200 {
        assert_gone(worker, PATIENCE);
    }
    assert_eq!(server.get("/evil/").text(), "ok");
    probe.finish();
}

#[test]
fn w13_no_body_is_sent_where_there_can_be_none() {
    let server = server().sample("wordy@1.0.0", KEPT).start();
    let probe = server.probe();
    let mut connection = server.connect();
    for status in [204, 304] {
        // The strict client refuses a length with 204, and would take a body for
        // the head of the next response.
        let response = connection.get(&format!("/wordy/empty?status={status}"));
        assert!([status, 502].contains(&response.status), "{response:?}");
        assert_eq!(connection.get("/wordy/").text(), "ok");
    }
    for path in [
        "",
        "download?bytes=100000",
        "empty?status=200",
        "events?count=1",
    ] {
        let response = connection.request("HEAD", &format!("/wordy/{path}"), &[], b"");
        assert_eq!((response.status, response.body.len()), (200, 0), "{path}");
        assert_eq!(
            connection.get("/wordy/").text(),
            "ok",
            "after HEAD of {path}"
        );
    }
    probe.finish();
}
