//! Processors, threads, descriptors, output.

use std::time::Instant;

use super::{assert_killed, assert_killed_by, hog, server};

#[test]
fn t20_an_app_that_spins_without_a_request_is_killed() {
    for way in ["spin-later", "spin-in-workers-later"] {
        let manifest = "ttl: 1h\ntimeout: 5s\nidleTimeout: 5s\nlimits: {cpu: 0.1}\n";
        let server = server("{}")
            .module("hog@1.0.0", manifest, super::HOG)
            .start();
        let neighbour = server.probe();
        let worker = hog(&server);
        assert_eq!(server.get(&format!("/hog/{way}")).status, 200);
        assert_killed(&server, worker, "killed: cpu 0.1");
        neighbour.finish();
    }
}

#[test]
fn an_app_that_takes_more_than_its_share_of_the_processors_is_held_back() {
    let server = server("{cpu: 0.1}").start();
    let neighbour = server.probe();
    let worker = hog(&server);
    std::thread::scope(|scope| {
        // Six times what it may use in a second.
        let response = scope.spawn(|| server.get("/hog/spend?ms=900"));
        server.wait_until("it is stopped for a moment", || worker.is_stopped());
        let response = response.join().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
    });
    assert_eq!(hog(&server), worker, "it was held back, not killed");
    neighbour.finish();
}

#[test]
fn w15_threads_are_bounded() {
    assert_killed_by("{}", "threads", "killed: threads 512");
}

#[test]
fn w15_descriptors_are_bounded() {
    let server = server("{}").start();
    let neighbour = server.probe();
    let worker = hog(&server);
    let told = server.get("/hog/descriptors").text();
    let most = told.strip_prefix("EMFILE at ").unwrap().parse::<u32>();
    assert!((900..1024).contains(&most.unwrap()), "{told}");
    assert_eq!(hog(&server), worker);
    neighbour.finish();
}

/// Has an app write 20 MB, of which little is kept.
fn assert_output_is_dropped(way: &str) {
    let server = server("{output: 64kb}").start();
    let neighbour = server.probe();
    let worker = hog(&server);
    let begun = Instant::now();
    assert_eq!(server.get(&format!("/hog/{way}")).text(), "written");
    // It is told with the next line that is kept.
    server.wait_until("the flood is told of", || {
        let _ = server.get("/hog/line");
        server.count_messages("Log lines dropped: the app writes too fast") > 0
    });
    let allowed = (begun.elapsed().as_secs() + 2) * 64 * 1024;
    let lines = server.log();
    let kept = lines.iter().map(|line| line.message());
    let kept = kept.filter(|message| message.contains("flood"));
    let kept: usize = kept.map(|message| message.len() + 1).sum();
    assert!(kept > 32 * 1024, "{kept}");
    assert!(u64::try_from(kept).unwrap() <= allowed, "{kept}, {allowed}");
    assert_eq!(hog(&server), worker, "it was slowed, not killed");
    neighbour.finish();
}

#[test]
fn w18_output_beyond_its_rate_is_dropped_and_counted() {
    assert_output_is_dropped("output");
}

#[test]
fn w18_output_without_lines_is_dropped_and_counted() {
    assert_output_is_dropped("output-without-lines");
}
