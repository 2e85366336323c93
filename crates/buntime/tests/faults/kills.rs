//! Row T19: a thousand kills of one app's workers, and of blanks, at all moments, while
//! another app is under load.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use buntime_testkit::process::{self, ProcessId};
use buntime_testkit::sample::assert_gone;
use buntime_testkit::{Connection, NeighbourProbe, PATIENCE, TestServer};
use rustix::process::{Pid, Signal, kill_process};

use super::server;

const KILLS: usize = 1000;
const THREADS: usize = 3;
/// Each how many kills a blank is hit, if one can be found.
const BLANK_EACH: usize = 20;
/// Clients of the neighbour, each of which asks all the time.
const PROBES: usize = 4;
const LIMIT: Duration = Duration::from_secs(180);

/// How long a request was under way when its worker is killed: any time up to its end,
/// and the same in each run.
fn moment(number: usize) -> Duration {
    let mixed = u64::try_from(number)
        .unwrap()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 32;
    Duration::from_micros(mixed % 25_000)
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended by itself in this moment.
    let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
}

/// Reads a response however it ends: `None` if the connection broke.
fn outcome(mut connection: Connection) -> Option<u16> {
    let head = connection.head("GET")?;
    let status = head.status;
    // A stream of a worker that is killed breaks off.
    let _ = connection.read_to_end();
    Some(status)
}

/// Finds the victim's worker, or fails to because it was just killed.
fn victim(server: &TestServer) -> Option<u32> {
    let response = server.get("/victim/worker");
    assert!([200, 502, 503].contains(&response.status), "{response:?}");
    if response.status == 200 {
        return server.process_of(&response.text()).map(|worker| worker.pid);
    }
    let code = response.error_code();
    let known = [
        "WORKER_CRASHED",
        "WORKER_START_FAILED",
        "WORKER_CRASH_LOOP",
        // Killed within its answer, or on a busy machine known to be dead too late.
        "WORKER_BAD_RESPONSE",
    ];
    assert!(known.contains(&code.as_str()), "{response:?}");
    None
}

/// Kills once: between requests, in a request, or in a stream.
fn strike(server: &TestServer, number: usize) -> bool {
    let Some(pid) = victim(server) else {
        return false;
    };
    let under_way = match number % 3 {
        0 => None,
        1 => Some("/victim/slow?ms=20&tag=quiet"),
        _ => Some("/victim/events?ms=1&count=1000"),
    };
    let begun = under_way.map(|target| {
        let mut connection = server.connect();
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        connection.send(request.as_bytes());
        thread::sleep(moment(number));
        connection
    });
    kill(pid);
    if let Some(status) = begun.and_then(outcome) {
        assert!([200, 502, 503].contains(&status), "{status}");
    }
    true
}

#[test]
fn t19_a_thousand_kills_fail_no_request_of_a_neighbour() {
    let server = server()
        // Lest a blank that is hit be just about to become the neighbour's next worker.
        .module(
            "neighbour@1.0.0",
            "ttl: 1h\nmaxRequests: 1000000\n",
            "export default { fetch: () => new Response('well') };\n",
        )
        .sample(
            "victim@1.0.0",
            "ttl: 1h\ntimeout: 5s\nlimits: {instances: 1..3}\n",
        )
        .start();
    let probes = [(); PROBES].map(|()| server.probe());
    let descriptors = process::descriptors(server.pid());
    let begun = Instant::now();
    let kills = AtomicUsize::new(0);
    let started = server.wait_for_log(|line| {
        line.message() == "Worker started" && line.text("app") == "neighbour@1.0.0"
    });
    let neighbour = started.value()["pid"].as_u64().unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while kills.load(Ordering::Relaxed) < KILLS {
                    assert!(
                        begun.elapsed() < LIMIT,
                        "{} kills only",
                        kills.load(Ordering::Relaxed)
                    );
                    let number = kills.load(Ordering::Relaxed);
                    if number % BLANK_EACH == BLANK_EACH - 1 {
                        // The youngest: a blank, or a process that becomes one.
                        let family = server.family();
                        let spared = |id: &&ProcessId| u64::from(id.pid) != neighbour;
                        if let Some(young) = family.iter().filter(spared).max_by_key(|id| id.pid) {
                            kill(young.pid);
                            kills.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if strike(&server, number) {
                        kills.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for report in probes.map(NeighbourProbe::finish) {
        assert!(report.sent > 100, "{report}");
    }
    server.wait_until("the victim is back", || {
        server.get("/victim/").status == 200
    });
    let worker = server.worker("victim");
    // Nothing is left of the dead: no zombie, no descriptor, no slot but those that are
    // kept for workers to come.
    server.wait_until("descriptors are given back", || {
        process::descriptors(server.pid()) <= descriptors + 40
    });
    let slots =
        || std::fs::read_dir(server.dir().join("state/run/slots")).map_or(0, Iterator::count);
    server.wait_until("slots are given back", || slots() <= 26);
    assert!(server.family().len() <= 10, "{:?}", server.family());
    kill(worker.pid);
    assert_gone(worker, PATIENCE);
}
