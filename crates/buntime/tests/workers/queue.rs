//! Ephemeral workers: fresh for each request, few at a time, with a bounded queue
//! for each app (rows W5 to W8).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use buntime_testkit::process::ProcessId;
use buntime_testkit::sample::{assert_error, retry_after};
use buntime_testkit::{Connection, TestServer};

use super::server;

const EPHEMERAL: &str = "ttl: 0\n";

/// Whether the connection has something to read, or has ended.
fn is_answered(connection: &Connection) -> bool {
    connection.stream().set_nonblocking(true).unwrap();
    let answered = connection.stream().peek(&mut [0]).is_ok();
    connection.stream().set_nonblocking(false).unwrap();
    answered
}

/// Occupies the app's two places with responses that have begun and do not end.
fn occupy(server: &TestServer, app: &str) -> Vec<Connection> {
    (0..2)
        .map(|_| {
            let mut stream = server.begin(&format!("/{app}/events"));
            assert_eq!(stream.head("GET").unwrap().status, 200);
            stream
        })
        .collect()
}

#[test]
fn each_request_has_a_worker_of_its_own_that_is_gone_afterwards() {
    let server = server().sample("once@1.0.0", EPHEMERAL).start();
    let probe = server.probe();
    let mut workers = HashSet::new();
    for _ in 0..10 {
        assert_eq!(
            server.get("/once/count").text(),
            "1",
            "nothing is left of earlier requests"
        );
        workers.insert(server.get("/once/worker").text());
    }
    assert_eq!(workers.len(), 10);
    for worker in workers {
        let gone = || !server.process_of(&worker).is_some_and(ProcessId::is_alive);
        server.wait_until("the worker is gone", gone);
    }
    probe.finish();
}

#[test]
fn w5_slow_requests_to_one_app_do_not_delay_another() {
    let server = server()
        .sample("slow@1.0.0", EPHEMERAL)
        .sample("quick@1.0.0", EPHEMERAL)
        .sample("warm@1.0.0", "ttl: 1h\n")
        .start();
    let probe = server.probe();
    let mut slow: Vec<Connection> = (0..6)
        .map(|number| server.begin(&format!("/slow/hang?tag=slow{number}")))
        .collect();
    server.wait_until("two of them have begun", || {
        let log = server.log();
        log.iter()
            .filter(|line| line.message().starts_with("begun slow"))
            .count()
            == 2
    });
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(server.get("/quick/").text(), "ok");
        assert_eq!(server.get("/warm/").text(), "ok");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    assert!(
        !slow.iter().any(is_answered),
        "none of the slow ones is done"
    );
    slow.clear();
    probe.finish();
}

#[test]
fn w6_and_w7_a_full_queue_refuses_at_once_and_empties_when_clients_leave() {
    let server = server().sample("popular@1.0.0", EPHEMERAL).start();
    let probe = server.probe();
    let mut waiting: Vec<Connection> = (0..110)
        .map(|_| server.begin("/popular/hang?tag=queued"))
        .collect();
    // Two run and a hundred wait.
    server.wait_until("eight are refused", || {
        waiting
            .iter()
            .filter(|connection| is_answered(connection))
            .count()
            == 8
    });
    let refused: Vec<usize> = (0..waiting.len())
        .filter(|&at| is_answered(&waiting[at]))
        .collect();
    for at in refused.into_iter().rev() {
        let response = waiting.remove(at).response_to("GET");
        assert_error(&response, 503, "WORKER_QUEUE_FULL");
        assert!(retry_after(&response) >= 1);
    }
    assert!(!waiting.iter().any(is_answered));
    server.wait_until("two have begun", || {
        server.count_messages("begun queued") >= 2
    });
    assert_eq!(server.count_messages("begun queued"), 2);

    let begun = Instant::now();
    waiting.clear();
    // Each of the hundred would hold a place for its timeout of 30 s.
    server.wait_until("there is room again", || {
        server.get("/popular/").text() == "ok"
    });
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let begun = server.count_messages("begun queued");
    assert!(
        begun < 20,
        "{begun} requests were run for clients that had left"
    );
    // What runs for nobody is ended.
    server.wait_until("all workers of the app have ended", || {
        let log = server.log();
        let workers = |message: &str| -> HashSet<String> {
            log.iter()
                .filter(|line| line.message() == message && line.text("app") == "popular@1.0.0")
                .map(|line| line.text("worker").to_owned())
                .collect()
        };
        // Some ended before they were ready: their clients had left by then.
        let (started, ended) = (workers("Worker started"), workers("Worker ended"));
        !started.is_empty() && started.is_subset(&ended)
    });
    probe.finish();
}

#[test]
fn w7_the_abort_of_a_client_reaches_the_handler() {
    let server = server().sample("heard@1.0.0", "ttl: 1h\n").start();
    let probe = server.probe();
    let worker = server.worker("heard");
    for number in 0..10 {
        let left = server.begin(&format!("/heard/hang?tag=left{number}"));
        server.wait_for_message(&format!("begun left{number}"));
        drop(left);
        server.wait_for_message(&format!("aborted left{number}"));
    }
    assert_eq!(server.worker("heard"), worker, "clients may leave");
    probe.finish();
}

#[test]
fn w8_a_request_that_waits_longer_than_its_timeout_is_told_so() {
    let server = server()
        .sample("busy@1.0.0", "ttl: 0\ntimeout: 1s\n")
        .start();
    let probe = server.probe();
    let mut streams = occupy(&server, "busy");
    let begun = Instant::now();
    let mut waiting: Vec<Connection> = (0..5).map(|_| server.begin("/busy/")).collect();
    for mut connection in waiting.drain(..) {
        let response = connection.response_to("GET");
        assert_error(&response, 503, "QUEUE_TIMEOUT");
        assert!(retry_after(&response) >= 1);
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    streams.clear();
    assert_eq!(server.get("/busy/").text(), "ok");
    probe.finish();
}

#[test]
fn who_waits_is_served_as_places_become_free() {
    let server = server().sample("fair@1.0.0", EPHEMERAL).start();
    let probe = server.probe();
    let mut streams = occupy(&server, "fair");
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(server.begin(&format!("/fair/slow?ms=1&tag=turn{number}")));
    }
    assert!(!waiting.iter().any(is_answered));
    streams.pop();
    for (number, connection) in waiting.iter_mut().enumerate() {
        assert_eq!(
            connection.response_to("GET").text(),
            format!("turn{number}")
        );
    }
    probe.finish();
}

#[test]
fn all_apps_together_stay_within_the_size_of_the_pool() {
    let server = server()
        .env("RUNTIME_POOL_SIZE", "3")
        .sample("first@1.0.0", "ttl: 0\ntimeout: 1s\n")
        .sample("second@1.0.0", "ttl: 0\ntimeout: 1s\n")
        .start();
    let probe = server.probe();
    // Two places; the third is the neighbour's, who is never idle for long.
    let mut streams = occupy(&server, "first");
    let response = server.get("/second/");
    assert!(
        matches!(
            response.error_code().as_str(),
            "QUEUE_TIMEOUT" | "WORKER_QUEUE_FULL"
        ) || response.status == 200,
        "{response:?}"
    );
    streams.clear();
    // The places come back, each with the end of its worker.
    let response = server.get("/second/");
    assert_eq!(response.status, 200, "{response:?}");
    probe.finish();
}
