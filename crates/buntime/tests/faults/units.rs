//! What operators do to the folders of apps that are being served (rows D5, D7, D9).

use std::fs;
use std::time::{Duration, Instant};

use buntime_testkit::sample::{assert_error, assert_gone};
use buntime_testkit::{PATIENCE, TestServer};

use super::server;

const KEPT: &str = "ttl: 1h\n";
/// Rows D5 and D9 say two seconds; a loaded machine gets a little more.
const NOTICED: Duration = Duration::from_secs(4);

fn manifest(server: &TestServer, app: &str) -> std::path::PathBuf {
    server.dir().join("apps").join(app).join("manifest.yaml")
}

/// Waits until the app answers with this status, and says how long that took.
fn wait_for_status(server: &TestServer, app: &str, status: u16) {
    let begun = Instant::now();
    server.wait_until(&format!("{app} answers {status}"), || {
        server.get(&format!("/{app}/")).status == status
    });
    assert!(begun.elapsed() < NOTICED, "{:?}", begun.elapsed());
}

#[test]
fn d5_a_folder_removed_by_hand_is_404_and_its_worker_ends() {
    let server = server().sample("removed@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("removed");
    fs::remove_dir_all(server.dir().join("apps/removed@1.0.0")).unwrap();
    wait_for_status(&server, "removed", 404);
    assert_error(&server.get("/removed/"), 404, "NOT_FOUND");
    assert_eq!(server.wait_for_end(worker), "removed");
    probe.finish();
}

#[test]
fn d7_a_folder_removed_during_a_request_lets_it_complete() {
    let server = server().sample("removed@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("removed");
    let mut slow = server.begin("/removed/slow?ms=3000");
    server.wait_for_message("begun slow");
    let mut stream = server.begin("/removed/events?ms=200&count=15");
    assert_eq!(stream.head("GET").unwrap().status, 200);
    fs::remove_dir_all(server.dir().join("apps/removed@1.0.0")).unwrap();
    wait_for_status(&server, "removed", 404);
    assert!(worker.is_alive());
    assert_eq!(slow.response_to("GET").text(), "slow");
    let mut events = 0;
    while stream.chunk(&mut Vec::new()).is_some() {
        events += 1;
    }
    assert_eq!(events, 15);
    assert_eq!(server.wait_for_end(worker), "removed");
    assert_eq!(server.get("/removed/").status, 404);
    probe.finish();
}

#[test]
fn d9_a_warm_app_that_is_disabled_is_404_and_its_worker_ends() {
    let server = server().sample("switched@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("switched");
    fs::write(
        manifest(&server, "switched@1.0.0"),
        "ttl: 1h\nenabled: false\n",
    )
    .unwrap();
    wait_for_status(&server, "switched", 404);
    assert_eq!(server.wait_for_end(worker), "removed");
    fs::write(manifest(&server, "switched@1.0.0"), KEPT).unwrap();
    wait_for_status(&server, "switched", 200);
    probe.finish();
}

#[test]
fn d9_another_version_takes_over_from_a_disabled_one() {
    let server = server()
        .module(
            "two@1.0.0",
            KEPT,
            "export default { fetch: () => new Response('one') };\n",
        )
        .module(
            "two@2.0.0",
            KEPT,
            "export default { fetch: () => new Response('two') };\n",
        )
        .start();
    let probe = server.probe();
    assert_eq!(server.get("/two/").text(), "two");
    fs::write(manifest(&server, "two@2.0.0"), "ttl: 1h\nenabled: false\n").unwrap();
    server.wait_until("the other version answers", || {
        server.get("/two/").text() == "one"
    });
    assert_eq!(server.get("/two@2.0.0/").status, 404);
    probe.finish();
}

#[test]
fn a_manifest_broken_while_running_disables_its_app_alone_until_it_is_mended() {
    let server = server().sample("broken@1.0.0", KEPT).start();
    let probe = server.probe();
    for text in [
        "ttl: [1h\n",
        "timeout: -1\n",
        "timeout: 5 parsecs\n",
        "- a list\n",
        "\u{0}\u{1}",
        "entrypoint: ../../etc/passwd\n",
    ] {
        let worker = server.worker("broken");
        fs::write(manifest(&server, "broken@1.0.0"), text).unwrap();
        server.wait_until("the app is disabled", || {
            server.get("/broken/").status >= 500
        });
        let response = server.get("/broken/");
        let code = if text.starts_with("entrypoint") {
            (response.status, response.error_code())
        } else {
            assert_error(&response, 503, "INVALID_MANIFEST");
            (503, String::new())
        };
        assert!([502, 503].contains(&code.0), "{code:?}");
        assert_gone(worker, PATIENCE);
        fs::write(manifest(&server, "broken@1.0.0"), KEPT).unwrap();
        wait_for_status(&server, "broken", 200);
    }
    server.wait_for_log(|line| {
        line.level() == "error"
            && line.message().contains("timeout")
            && line.message().contains("-1")
    });
    probe.finish();
}

#[test]
fn a_manifest_removed_by_hand_takes_the_app_with_it() {
    let server = server().sample("bare@1.0.0", KEPT).start();
    let probe = server.probe();
    let worker = server.worker("bare");
    fs::remove_file(manifest(&server, "bare@1.0.0")).unwrap();
    wait_for_status(&server, "bare", 404);
    assert_gone(worker, PATIENCE);
    probe.finish();
}
