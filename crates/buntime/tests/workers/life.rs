//! The life of a persistent worker: how long it stays, when it is told, by what it
//! is replaced.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use buntime_testkit::process::ProcessId;
use buntime_testkit::sample::{SAMPLE, assert_gone};
use buntime_testkit::{NeighbourProbe, PATIENCE, TestServer};

use super::server;

const KEPT: &str = "ttl: 1h\n";

/// Workers of an app whose start is logged.
fn started(server: &TestServer, app: &str) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.message() == "Worker started" && line.text("app") == app)
        .count()
}

#[test]
fn an_idle_worker_is_told_once_and_ends_after_its_ttl() {
    let server = server()
        .sample(
            "idle@1.0.0",
            "ttl: 2s\ntimeout: 500ms\nidleTimeout: 500ms\n",
        )
        .start();
    let probe = server.probe();
    let worker = server.worker("idle");
    let notice = format!("idle notice to {}", server.id_of(worker));
    server.wait_for_message(&notice);
    // It lives on, and each request begins its time anew.
    assert_eq!(server.worker("idle"), worker);
    assert_eq!(server.wait_for_end(worker), "idle-ttl");
    server.wait_for_message(&format!("terminate notice to {}", server.id_of(worker)));
    assert_eq!(
        server.count_messages(&notice),
        2,
        "once for each time that it was idle"
    );
    assert_ne!(server.worker("idle"), worker);
    probe.finish();
}

#[test]
fn a_long_request_keeps_its_worker_beyond_the_ttl() {
    let server = server()
        .sample(
            "long@1.0.0",
            "ttl: 1s\ntimeout: 500ms\nidleTimeout: 500ms\n",
        )
        .start();
    let worker = server.worker("long");
    // Five events of 500 ms: more than the time to live, and one response.
    let response = server.get("/long/events?count=5&ms=500");
    assert!(response.text().ends_with("data: 4\n\n"), "{response:?}");
    assert!(worker.is_alive());
    assert_eq!(
        server.count_messages(&format!("idle notice to {}", server.id_of(worker))),
        0
    );
    assert_eq!(server.wait_for_end(worker), "idle-ttl");
}

#[test]
fn a_worker_is_recycled_after_max_requests_without_losing_one() {
    const THREADS: usize = 4;
    /// A replacement takes a while, in which the old worker goes on.
    const MOST: usize = 20_000;
    let server = server()
        .sample("worn@1.0.0", "ttl: 1h\nmaxRequests: 25\n")
        .start();
    let probe = server.probe();
    let pids = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut connection = server.connect();
                for _ in 0..MOST {
                    let response = connection.get("/worn/worker");
                    assert_eq!(response.status, 200, "{response:?}");
                    let mut pids = pids.lock().unwrap();
                    pids.insert(response.text());
                    if pids.len() > 2 {
                        return;
                    }
                }
            });
        }
    });
    let pids = pids.into_inner().unwrap();
    assert!(pids.len() > 2, "{} workers", pids.len());
    server.wait_for_log(|line| {
        line.text("app") == "worn@1.0.0" && line.text("reason") == "max-requests"
    });
    probe.finish();
}

#[test]
fn a_full_pool_retires_the_worker_that_was_not_used_for_longest() {
    let server = server()
        // The neighbour, who is in use all the time, and two more.
        .env("RUNTIME_POOL_SIZE", "3")
        .sample("first@1.0.0", KEPT)
        .sample("second@1.0.0", KEPT)
        .sample("third@1.0.0", KEPT)
        .start();
    let probe = server.probe();
    let first = server.worker("first");
    let second = server.worker("second");
    assert_eq!(server.worker("first"), first, "used last");
    let third = server.worker("third");
    assert_eq!(server.wait_for_end(second), "evicted");
    server.wait_for_message(&format!("terminate notice to {}", server.id_of(second)));
    assert_eq!(server.worker("first"), first);
    assert_eq!(server.worker("third"), third);
    probe.finish();
}

#[test]
fn a_busy_worker_is_not_retired_for_another_app() {
    let server = server()
        .env("RUNTIME_POOL_SIZE", "2")
        .sample("busy@1.0.0", KEPT)
        .sample("other@1.0.0", "ttl: 1h\ntimeout: 5s\n")
        .start();
    let probe = server.probe();
    let worker = server.worker("busy");
    let mut busy = server.begin("/busy/gate");
    server.wait_for_message("begun gate");
    let response = server.get("/other/worker");
    // The neighbour is idle between two of its requests, so its place is free to take.
    assert!([200, 503].contains(&response.status), "{response:?}");
    assert!(worker.is_alive());
    assert_eq!(server.get("/busy/emit").text(), "1");
    assert_eq!(busy.response_to("GET").text(), "opened");
    probe.finish();
}

#[test]
fn an_app_gets_more_workers_while_all_of_its_own_are_busy() {
    let server = server()
        .sample("wide@1.0.0", "ttl: 1h\nlimits: {instances: 1..3}\n")
        .start();
    let probe = server.probe();
    assert_eq!(server.get("/wide/").text(), "ok");
    // The log is written beside the answer.
    server.wait_for_log(|line| {
        line.message() == "Worker started" && line.text("app") == "wide@1.0.0"
    });
    assert_eq!(
        started(&server, "wide@1.0.0"),
        1,
        "one is enough for one client"
    );
    let mut held = Vec::new();
    for workers in 2..=3 {
        // One for each worker there is, and one more that finds all of them busy.
        for _ in 0..workers {
            let tag = format!("held{}", held.len());
            held.push(server.begin(&format!("/wide/hang?tag={tag}")));
            server.wait_for_message(&format!("begun {tag}"));
        }
        server.wait_until("another worker is there", || {
            started(&server, "wide@1.0.0") == workers
        });
    }
    for number in 0..10 {
        held.push(server.begin(&format!("/wide/hang?tag=more{number}")));
        server.wait_for_message(&format!("begun more{number}"));
    }
    assert_eq!(
        started(&server, "wide@1.0.0"),
        3,
        "not more than it may have"
    );
    let workers: HashSet<String> = server
        .log()
        .iter()
        .filter(|line| line.message().starts_with("begun "))
        .map(|line| line.text("worker").to_owned())
        .collect();
    assert_eq!(workers.len(), 3, "all of them work");
    held.clear();
    probe.finish();
}

#[test]
fn requests_go_to_the_least_busy_worker() {
    let server = server()
        .sample("even@1.0.0", "ttl: 1h\nlimits: {instances: 3..3}\n")
        .start();
    let probe = server.probe();
    assert_eq!(server.get("/even/").text(), "ok");
    server.wait_until("there are three workers", || {
        started(&server, "even@1.0.0") == 3
    });
    let mut held = Vec::new();
    let mut load: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for number in 0..9 {
        held.push(server.begin(&format!("/even/hang?tag=even{number}")));
        let line = server.wait_for_message(&format!("begun even{number}"));
        *load.entry(line.text("worker").to_owned()).or_default() += 1;
    }
    assert_eq!(load.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    held.clear();
    probe.finish();
}

#[test]
fn changed_files_are_served_without_losing_a_request() {
    let server = server().sample("changing@1.0.0", KEPT).start();
    let own = NeighbourProbe::start(server.addr(), "/changing/", 100);
    let probe = server.probe();
    let file = server.dir().join("apps/changing@1.0.0/index.ts");
    let new = server.dir().join("index.new");
    for version in 1..=3 {
        let worker = server.get("/changing/worker").text();
        let answer = format!("new Response(\"ok {version}\")");
        std::fs::write(&new, SAMPLE.replace("new Response(\"ok\")", &answer)).unwrap();
        std::fs::rename(&new, &file).unwrap();
        let wanted = format!("ok {version}");
        server.wait_until("the new code runs", || {
            server.get("/changing/").text() == wanted
        });
        if let Some(old) = server.process_of(&worker) {
            assert_gone(old, PATIENCE);
        }
    }
    own.finish();
    probe.finish();
}

#[test]
fn requests_under_way_finish_on_the_old_code() {
    let server = server().sample("changing@1.0.0", KEPT).start();
    let worker = server.worker("changing");
    let mut stream = server.begin("/changing/events?ms=100&count=30");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    let file = server.dir().join("apps/changing@1.0.0/index.ts");
    std::fs::write(
        &file,
        "export default { fetch: () => new Response('new') };\n",
    )
    .unwrap();
    server.wait_until("the new code runs", || {
        server.get("/changing/").text() == "new"
    });
    assert!(worker.is_alive());
    let mut events = 0;
    while stream.chunk(&mut Vec::new()).is_some() {
        events += 1;
    }
    assert_eq!(events, 30);
    assert_eq!(server.wait_for_end(worker), "retired");
}

#[test]
fn low_memory_is_bun_smol() {
    for ttl in ["0", "1h"] {
        let server = server()
            .sample("small@1.0.0", &format!("ttl: {ttl}\nlowMemory: true\n"))
            .sample("normal@1.0.0", KEPT)
            .start();
        let small = server.begin("/small/hang?tag=small");
        let line = server.wait_for_log(|line| {
            line.message() == "Worker started" && line.text("app") == "small@1.0.0"
        });
        let pid = u32::try_from(line.value()["pid"].as_u64().unwrap()).unwrap();
        let command = ProcessId::of(pid).unwrap().command();
        assert!(command.contains("--smol"), "{command}");
        assert!(!server.worker("normal").command().contains("--smol"));
        drop(small);
    }
}

#[test]
fn garbage_is_collected_before_it_fills_the_caches() {
    let server = server()
        .module(
            "litter@1.0.0",
            KEPT,
            "import { heapStats } from 'bun:jsc';
             export default { fetch() {
               let most = 0;
               for (let i = 0; i < 1_000_000; i++) {
                 globalThis.last = new Array(8).fill(i);
                 if (i % 1000 === 0) most = Math.max(most, heapStats().heapCapacity);
               }
               return new Response(String(most));
             } };\n",
        )
        .start();
    // Left alone, Bun lets it grow to 13 MB here.
    let most: u64 = server.get("/litter/").text().parse().unwrap();
    assert!(most < 10 << 20, "{most}");
}

#[test]
fn workers_are_told_before_the_server_stops() {
    let mut server = server()
        .sample("told@1.0.0", KEPT)
        .module(
            "tidy@1.0.0",
            KEPT,
            "export default {
               fetch: () => new Response('ok'),
               async onTerminate() { await Bun.sleep(300); console.log('all tidied'); },
             };\n",
        )
        .start();
    let worker = server.worker("told");
    assert_eq!(server.get("/tidy/").status, 200);
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(30)).code(), Some(0));
    assert_eq!(
        server.count_messages(&format!("terminate notice to {}", server.id_of(worker))),
        1
    );
    assert_eq!(
        server.count_messages("all tidied"),
        1,
        "it had the time that it needed"
    );
    assert!(!worker.is_alive());
}

#[test]
fn a_worker_that_does_not_end_when_told_is_killed_after_its_grace() {
    let mut server = server()
        .module(
            "stubborn@1.0.0",
            KEPT,
            "export default {
               fetch: () => new Response(process.env.WORKER_ID),
               onTerminate() { while (true); },
             };\n",
        )
        .start();
    let worker = server.get("/stubborn/").text();
    let worker = server.process_of(&worker).unwrap();
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(20)).code(), Some(0));
    assert!(!worker.is_alive());
}
