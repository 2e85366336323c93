//! Code that throws, exits, loops or keeps silent (rows W1 to W4).

use std::time::{Duration, Instant};

use buntime_testkit::memory::Peak;
use buntime_testkit::process::{self, ProcessId};
use buntime_testkit::sample::{assert_error, assert_gone, retry_after};
use buntime_testkit::{PATIENCE, TestServer};

use super::server;

const IMPATIENT: &str = "ttl: 1h\ntimeout: 2s\n";
const KEPT: &str = "ttl: 1h\n";

/// The rest of the machine may be slow; the server is not early.
#[track_caller]
fn assert_took(begun: Instant, at_least: Duration) {
    let took = begun.elapsed();
    assert!(took >= at_least, "too early: {took:?}");
    assert!(
        took < at_least + Duration::from_secs(3),
        "too late: {took:?}"
    );
}

/// Workers of an app, found by what the log tells of their starts.
fn starts(server: &TestServer, app: &str) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.message() == "Worker started" && line.text("app") == app)
        .count()
}

#[test]
fn w1_a_handler_that_loops_for_ever_is_killed_at_its_timeout() {
    let server = server().sample("spinner@1.0.0", IMPATIENT).start();
    let probe = server.probe();
    let worker = server.worker("spinner");
    let begun = Instant::now();
    let response = server.get("/spinner/spin");
    assert_error(&response, 504, "WORKER_TIMEOUT");
    assert_took(begun, Duration::from_secs(2));
    assert_gone(worker, Duration::from_secs(1));
    assert_eq!(server.wait_for_end(worker), "timeout");
    assert_ne!(
        server.worker("spinner"),
        worker,
        "the next request has a new worker"
    );
    probe.finish();
}

#[test]
fn w1_a_handler_that_never_answers_is_killed_at_its_timeout() {
    let server = server().sample("silent@1.0.0", IMPATIENT).start();
    let probe = server.probe();
    let worker = server.worker("silent");
    let begun = Instant::now();
    assert_error(&server.get("/silent/hang"), 504, "WORKER_TIMEOUT");
    assert_took(begun, Duration::from_secs(2));
    assert_gone(worker, Duration::from_secs(1));
    probe.finish();
}

#[test]
fn w2_a_module_that_loops_for_ever_is_killed_at_the_timeout() {
    for (ttl, what) in [("0", "ephemeral"), ("1h", "persistent")] {
        let manifest = format!("ttl: {ttl}\ntimeout: 1s\n");
        let server = server()
            .module(
                "loop@1.0.0",
                &manifest,
                "while (true);\nexport default { fetch() {} };\n",
            )
            .start();
        let probe = server.probe();
        let begun = Instant::now();
        assert_error(&server.get("/loop/"), 504, "WORKER_TIMEOUT");
        assert_took(begun, Duration::from_secs(1));
        let ended = server.wait_for_log(|line| {
            line.message() == "Worker ended" && line.text("app") == "loop@1.0.0"
        });
        assert_eq!(ended.text("reason"), "timeout", "{what}");
        let pid = u32::try_from(ended.value()["pid"].as_u64().unwrap()).unwrap();
        assert!(
            !ProcessId::of(pid).is_some_and(ProcessId::is_alive),
            "{what}"
        );
        probe.finish();
    }
}

#[test]
fn w3_an_app_that_cannot_start_is_left_alone_after_five_tries() {
    for ttl in ["0", "1h"] {
        let server = server()
            .module(
                "broken@1.0.0",
                // A start from a bundle that fails is tried from the source once more.
                &format!("ttl: {ttl}\nbundle: false\n"),
                "console.log('a start');\nthrow new Error('canary-in-a-message');\n",
            )
            .start();
        let probe = server.probe();
        let responses: Vec<_> = (0..100).map(|_| server.get("/broken/")).collect();
        let (failed, left): (Vec<_>, Vec<_>) = responses
            .into_iter()
            .partition(|response| response.status == 502);
        for response in &failed {
            assert_error(response, 502, "WORKER_START_FAILED");
        }
        for response in &left {
            assert_error(response, 503, "WORKER_CRASH_LOOP");
            assert!((1..=60).contains(&retry_after(response)));
        }
        assert!(!left.is_empty(), "it was tried a hundred times");
        let pauses = || -> Vec<u64> {
            server
                .log()
                .iter()
                .filter(|line| line.message() == "Worker failed to start too often")
                .map(|line| line.value()["pauseSeconds"].as_u64().unwrap())
                .collect()
        };
        // Five tries, and one more after each pause.
        server.wait_until("all tries are in the log", || {
            server.count_messages("a start") == 4 + pauses().len()
        });
        let pauses = pauses();
        assert_eq!(pauses.first(), Some(&1), "ttl {ttl}");
        assert!(
            pauses.windows(2).all(|pair| pair[1] == pair[0] * 2),
            "{pauses:?}"
        );
        assert!(pauses.len() < 5, "{pauses:?}");
        let line = server.wait_for_log(|line| {
            line.message() == "Worker could not be started" && line.text("app") == "broken@1.0.0"
        });
        assert!(
            line.text("reason").contains("canary-in-a-message"),
            "the log says why: {line:?}"
        );
        probe.finish();
    }
}

#[test]
fn w3_mended_files_end_a_crash_loop_at_once() {
    let server = server()
        .module("mended@1.0.0", KEPT, "throw new Error('not yet');\n")
        .start();
    while server.get("/mended/").status != 503 {}
    let file = server.dir().join("apps/mended@1.0.0/index.ts");
    std::fs::write(
        file,
        "export default { fetch: () => new Response('mended') };\n",
    )
    .unwrap();
    let begun = Instant::now();
    server.wait_until("the mended app answers", || {
        server.get("/mended/").status == 200
    });
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn w4_a_worker_that_ends_between_requests_is_replaced() {
    let server = server().sample("mortal@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("mortal");
    assert_eq!(server.get("/mortal/exit-after").text(), "bye");
    assert_gone(worker, PATIENCE);
    assert_eq!(server.wait_for_end(worker), "crashed with code 0");
    let begun = Instant::now();
    assert_ne!(server.worker("mortal"), worker);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );

    // Killed from outside, and asked at once: nobody may get the dead one.
    for _ in 0..20 {
        let worker = server.worker("mortal");
        kill(worker);
        let response = server.get("/mortal/worker");
        assert_eq!(response.status, 200, "{response:?}");
        assert_ne!(response.text(), server.id_of(worker));
    }
    probe.finish();
}

fn kill(worker: ProcessId) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(i32::try_from(worker.pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert!(process::wait_gone(&[worker], PATIENCE).is_empty());
}

#[test]
fn w4_errors_between_requests_cost_no_request() {
    let server = server().sample("late@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("late");
    for (path, said) in [
        ("throw-after", "thrown late"),
        ("reject-after", "rejected late"),
    ] {
        for _ in 0..10 {
            assert_eq!(server.get(&format!("/late/{path}")).status, 200);
        }
        server.wait_for_log(|line| {
            line.text("context") == "late@1.0.0"
                && line.level() == "error"
                && line.message().contains(said)
        });
    }
    assert_eq!(server.worker("late"), worker, "the worker lives on");
    probe.finish();
}

#[test]
fn a_worker_that_dies_in_a_request_fails_that_request_alone() {
    let server = server().sample("mortal@1.0.0", KEPT).start();
    let probe = server.probe();
    for (path, reason) in [
        ("exit", "crashed with code 3"),
        ("crash", "crashed by signal "),
    ] {
        let worker = server.worker("mortal");
        assert_error(
            &server.get(&format!("/mortal/{path}")),
            502,
            "WORKER_CRASHED",
        );
        let ended = server.wait_for_end(worker);
        assert!(ended.starts_with(reason), "{ended}");
        assert_eq!(server.get("/mortal/").text(), "ok");
    }
    probe.finish();
}

#[test]
fn a_handler_that_throws_or_rejects_fails_that_request_alone() {
    let server = server().sample("thrower@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("thrower");
    for path in ["throw", "reject"] {
        let response = server.get(&format!("/thrower/{path}"));
        assert_eq!(response.status, 502);
        assert_error(&response, 502, &response.error_code());
        let id = response.request_id();
        let line = server.wait_for_log(|line| {
            line.text("requestId") == id && line.message().contains("canary-in-a-message")
        });
        assert_eq!(
            line.text("context"),
            "thrower@1.0.0",
            "the log says what the client is not told"
        );
    }
    assert_eq!(server.worker("thrower"), worker, "the worker lives on");
    probe.finish();
}

#[test]
fn a_response_that_cannot_be_sent_fails_that_request_alone() {
    let server = server().sample("garbage@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("garbage");
    // A client that is half-way through does not suffer either.
    let mut other = server.begin("/garbage/gate?tag=before");
    server.wait_for_message("begun before");
    for kind in [
        "error",
        "status",
        "low-status",
        "header",
        "text",
        "object",
        "nothing",
        "null",
        "number",
        "used",
        "broken-stream",
    ] {
        let response = server.get(&format!("/garbage/garbage?kind={kind}"));
        assert_error(&response, 502, "WORKER_BAD_RESPONSE");
        assert_eq!(response.all("x-injected"), [""; 0]);
    }
    // Its head was sent: the connection ends without the end of the body.
    let mut torn = server.begin("/garbage/torn");
    let head = torn.head("GET").unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(torn.chunk(&mut Vec::new()).unwrap(), b"first part");
    let mut opened = 0;
    server.wait_until("both are let go", || {
        opened += server.get("/garbage/emit").text().parse::<u32>().unwrap();
        opened == 2
    });
    let rest = torn.read_to_end();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a torn body looks whole: {rest:?}"
    );
    assert_eq!(other.response_to("GET").text(), "opened");
    assert_eq!(server.worker("garbage"), worker, "the worker lives on");
    probe.finish();
}

#[test]
fn an_app_that_leaks_until_it_is_killed_costs_the_server_and_its_neighbour_nothing() {
    let server = server().sample("leaky@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("leaky");
    let before = process::private_memory(server.pid());
    for megabytes in (128..=384).step_by(128) {
        let response = server.get("/leaky/leak?mb=128");
        assert_eq!(response.text(), megabytes.to_string());
    }
    // Whether the next one is still answered is a matter of moments.
    while server.get("/leaky/leak?mb=128").status == 200 && worker.is_alive() {}
    assert_eq!(server.wait_for_end(worker), "killed: memory 512 MB");
    let grown = process::private_memory(server.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "the server grew by {grown} bytes");
    probe.finish();
}

#[test]
fn an_app_that_opens_all_files_it_may_harms_nobody() {
    let server = server().sample("hoarder@1.0.0", KEPT).start();
    let probe = server.probe();
    let opened: usize = server.get("/hoarder/files").text().parse().unwrap();
    assert!((16..100_000).contains(&opened), "{opened}");
    assert_eq!(server.get("/hoarder/").text(), "ok");
    probe.finish();
    assert_eq!(starts(&server, "hoarder@1.0.0"), 1);
}

#[test]
fn failed_requests_leave_nothing_behind_in_the_server() {
    const ROUNDS: usize = 100;
    // The sandbox keeps so many networks of workers for others, each with a descriptor.
    const KEPT_NETWORKS: usize = 32;
    let server = server()
        .sample("kept@1.0.0", KEPT)
        .sample("once@1.0.0", "ttl: 0\n")
        .start();
    let round = |number: usize| {
        for path in ["throw", "garbage?kind=text", "no-such-path"] {
            assert!(server.get(&format!("/kept/{path}")).status >= 400);
        }
        let mut torn = server.begin("/kept/torn");
        assert!(torn.head("GET").is_some());
        server.wait_until("it waits", || server.get("/kept/emit").text() == "1");
        for app in ["kept", "once"] {
            let tag = format!("left-{app}-{number}");
            let left = server.begin(&format!("/{app}/hang?tag={tag}"));
            server.wait_for_message(&format!("begun {tag}"));
            drop(left);
        }
        assert_eq!(server.get("/once/exit").status, 502);
    };
    // What is there from the first use on is no leak.
    round(ROUNDS);
    let settled = || {
        (
            process::descriptors(server.pid()),
            process::threads(server.pid()),
        )
    };
    let mut before = settled();
    server.wait_until("the server is at rest", || {
        let last = std::mem::replace(&mut before, settled());
        std::thread::sleep(Duration::from_millis(100));
        last == before
    });
    let memory = Peak::watch(server.pid());
    (0..ROUNDS).for_each(round);
    server.wait_until("descriptors and threads are given back", || {
        let (descriptors, threads) = settled();
        descriptors <= before.0 + KEPT_NETWORKS + 2 && threads <= before.1 + 2
    });
    let grown = memory.growth();
    assert!(grown < 8 * 1024 * 1024, "the server grew by {grown} bytes");
}
