//! `limits.memory`.

use buntime_testkit::sample::assert_error;

use super::{assert_killed, assert_killed_by, hog, server};

const LIMIT: &str = "{memory: 128mb}";
const REASON: &str = "killed: memory 128 MB";

#[test]
fn w15_an_app_that_allocates_is_killed() {
    assert_killed_by(LIMIT, "memory", REASON);
}

#[test]
fn w15_memory_that_native_code_maps_counts() {
    assert_killed_by(LIMIT, "memory-of-the-kernel", REASON);
}

#[test]
fn w15_tables_of_memory_count() {
    assert_killed_by(LIMIT, "tables-of-memory", REASON);
}

#[test]
fn w15_memory_of_a_javascript_worker_counts() {
    assert_killed_by(LIMIT, "memory-in-a-worker", REASON);
}

#[test]
fn w15_an_app_that_allocates_after_its_answer_is_killed() {
    let server = server(LIMIT).start();
    let neighbour = server.probe();
    let worker = hog(&server);
    assert_eq!(server.get("/hog/memory-later").status, 200);
    assert_killed(&server, worker, REASON);
    neighbour.finish();
}

#[test]
fn w15_shared_memory_that_outlives_its_mapping_is_not_given() {
    let server = server(LIMIT).start();
    let neighbour = server.probe();
    let response = server.get("/hog/memory-that-is-shared");
    assert_eq!(response.text(), "refused no memory");
    neighbour.finish();
}

#[test]
fn without_the_sandbox_shared_memory_counts() {
    let server = server(LIMIT).env("RUNTIME_SANDBOX", "off").start();
    let neighbour = server.probe();
    let worker = hog(&server);
    assert_error(
        &server.get("/hog/memory-that-is-shared"),
        502,
        "WORKER_CRASHED",
    );
    assert_killed(&server, worker, REASON);
    neighbour.finish();
}

#[test]
fn an_app_that_needs_too_much_to_start_is_left_alone_after_five_tries() {
    let server = server(LIMIT)
        .module(
            "greedy@1.0.0",
            "ttl: 1h\nbundle: false\nlimits: {memory: 128mb}\n",
            "const kept = [];\nfor (;;) kept.push(new Uint8Array(8 << 20).fill(1));\n",
        )
        .start();
    let neighbour = server.probe();
    for _ in 0..5 {
        assert_error(&server.get("/greedy/"), 502, "WORKER_START_FAILED");
    }
    assert_error(&server.get("/greedy/"), 503, "WORKER_CRASH_LOOP");
    let failed = server.wait_for_log(|line| line.message() == "Worker could not be started");
    assert_eq!(failed.text("reason"), REASON);
    neighbour.finish();
}
