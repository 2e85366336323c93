//! Stopping: asked, asked twice, killed (rows D6 and D15).

use std::process::Command;
use std::time::{Duration, Instant};

use buntime_testkit::process;
use buntime_testkit::sample::assert_error;
use buntime_testkit::{Connection, PATIENCE};
use rustix::process::Signal;

use super::server;

const KEPT: &str = "ttl: 1h\n";

#[test]
fn d15_a_signal_finishes_requests_under_way_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = server().sample("slow@1.0.0", KEPT).start();
        let worker = server.worker("slow");
        let ready = |connection: &mut Connection| connection.get("/health/ready");
        // Kept open: new connections are refused once the server stops.
        let mut slow = server.begin("/slow/slow?ms=1500");
        server.wait_for_message("begun slow");
        let mut stream = server.begin("/slow/events?plain&ms=50&count=20");
        assert_eq!(stream.head("GET").unwrap().status, 200);
        let mut endless = server.begin("/slow/events?ms=50");
        assert_eq!(endless.head("GET").unwrap().status, 200);
        let mut idle = server.connect();
        assert_eq!(ready(&mut idle).status, 200);
        // A request that has begun to arrive is answered, though not with "ready".
        let mut late = server.connect();
        late.send(b"GET /health/ready HTTP/1.1\r\n");
        let begun = Instant::now();
        server.signal(signal);
        server.wait_for_message("Stopping");
        late.send(b"host: test.example\r\n\r\n");
        if let Some(response) = late.next_response("GET") {
            assert_eq!(response.status, 503, "{response:?}");
        }
        idle.assert_closed();
        server.wait_until("new connections are refused", || {
            Connection::try_open(server.addr()).is_err()
        });
        // A stream of events has no end to wait for. Its client comes again.
        while endless.chunk(&mut Vec::new()).is_some() {}
        assert_eq!(slow.response_to("GET").text(), "slow");
        let mut events = 0;
        while stream.chunk(&mut Vec::new()).is_some() {
            events += 1;
        }
        assert_eq!(events, 20, "the stream was finished, not cut");
        let status = server.wait_exit(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0));
        assert!(
            begun.elapsed() >= Duration::from_millis(500),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(
            server.count_messages(&format!("terminate notice to {}", server.id_of(worker))),
            1
        );
        assert!(!worker.is_alive());
    }
}

#[test]
fn d15_what_does_not_end_is_cut_off_after_the_shutdown_timeout() {
    let mut server = server()
        .env("RUNTIME_SHUTDOWN_TIMEOUT", "1s")
        .sample("endless@1.0.0", KEPT)
        .start();
    let worker = server.worker("endless");
    let mut stream = server.begin("/endless/events?plain&ms=20");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    let begun = Instant::now();
    server.terminate();
    // Cut off is not the end of the body.
    assert!(!stream.read_to_end().ends_with(b"0\r\n\r\n"));
    assert_eq!(server.wait_exit(Duration::from_secs(20)).code(), Some(0));
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(!worker.is_alive());
}

#[test]
fn d15_a_second_signal_is_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut server = server().sample("endless@1.0.0", KEPT).start();
        let worker = server.worker("endless");
        let mut stream = server.begin("/endless/events?plain&ms=20");
        assert_eq!(stream.head("GET").unwrap().status, 200);
        let begun = Instant::now();
        server.signal(first);
        server.wait_for_message("Stopping");
        server.signal(second);
        let status = server.wait_exit(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        assert!(!worker.is_alive());
    }
}

#[test]
fn d15_a_second_signal_does_not_wait_for_hooks() {
    let mut server = server()
        .module(
            "stubborn@1.0.0",
            KEPT,
            "export default {
               fetch: () => new Response('ok'),
               onTerminate() { console.log('told'); return new Promise(() => {}); },
             };\n",
        )
        .start();
    assert_eq!(server.get("/stubborn/").status, 200);
    server.terminate();
    server.wait_for_message("told");
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(20)).code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_killed_server_leaves_no_worker() {
    for what in ["idle", "busy"] {
        let mut server = server()
            .sample("kept@1.0.0", KEPT)
            .sample("once@1.0.0", "ttl: 0\n")
            .sample("spinner@1.0.0", KEPT)
            .start();
        let kept = server.worker("kept");
        let mut connections = Vec::new();
        if what == "busy" {
            connections.push(server.begin("/kept/hang?tag=kept"));
            connections.push(server.begin("/once/hang?tag=once"));
            server.wait_for_message("begun kept");
            server.wait_for_message("begun once");
            // A process that spins hears of nothing by itself.
            let _ = server.worker("spinner");
            connections.push(server.begin("/spinner/spin"));
        }
        let family = server.family();
        // How many blanks are up by now is a matter of time.
        assert!(family.len() >= 2, "workers and blanks: {family:?}");
        assert!(family.contains(&kept));
        server.allow_any_exit();
        server.signal(Signal::KILL);
        server.wait_exit(PATIENCE);
        let left = process::wait_gone(&family, Duration::from_secs(2));
        let names: Vec<_> = left.iter().map(|id| id.command()).collect();
        assert!(left.is_empty(), "{what}: {names:?}");
    }
}

#[test]
fn a_server_starts_where_another_one_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();
    for _ in 0..3 {
        let mut server = server()
            .env("RUNTIME_STATE_DIR", state)
            .sample("kept@1.0.0", KEPT)
            .start();
        assert_eq!(server.get("/kept/").text(), "ok");
        server.kill();
    }
    let server = server()
        .env("RUNTIME_STATE_DIR", state)
        .sample("kept@1.0.0", KEPT)
        .start();
    assert_eq!(server.get("/kept/").text(), "ok");
    drop(server);
    let slots = std::fs::read_dir(format!("{state}/run/slots")).map_or(0, Iterator::count);
    assert_eq!(slots, 0, "nothing is left of workers that are gone");
}

#[test]
fn d6_a_second_server_on_one_state_directory_refuses_to_start() {
    let server = server().sample("kept@1.0.0", KEPT).start();
    let probe = server.probe();
    let state = server.dir().join("state");
    let output = Command::new(env!("CARGO_BIN_EXE_buntime"))
        .arg("serve")
        .current_dir(server.dir())
        .env_clear()
        .env("PORT", "0")
        .env("RUNTIME_WORKER_DIRS", server.dir().join("apps"))
        .env("RUNTIME_STATE_DIR", &state)
        .env("RUNTIME_BUN", buntime_testkit::real_bun())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("state") && error.contains(state.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    // The one that runs is not disturbed: its workers' sockets are in there.
    assert_eq!(server.get("/kept/").text(), "ok");
    assert_error(
        &server.get("/kept/throw"),
        502,
        &server.get("/kept/throw").error_code(),
    );
    probe.finish();
}
