//! What workers write becomes lines of the server's log, bounded and tagged.

use buntime_testkit::memory::Peak;
use buntime_testkit::{TestServer, fake_bun};

use super::server;

const KEPT: &str = "ttl: 1h\n";
const MEGABYTE: u64 = 1024 * 1024;
/// A longer line is cut.
const LONGEST: usize = 16 * 1024;

/// Has the app write a text.
fn write(server: &TestServer, path: &str, text: &str) {
    let response = server.connect().request("POST", path, &[], text.as_bytes());
    assert_eq!(response.text(), "logged", "{response:?}");
}

#[test]
fn lines_are_tagged_with_their_app_and_worker() {
    let server = server()
        .sample("first@1.0.0", KEPT)
        .sample("@acme/second@2.0.0", KEPT)
        .start();
    let probe = server.probe();
    let id = server.get("/first/env").json()["WORKER_ID"]
        .as_str()
        .unwrap()
        .to_owned();
    write(&server, "/first/log", "from the first");
    let line = server.wait_for_message("from the first");
    assert_eq!(
        (line.level(), line.text("context")),
        ("info", "first@1.0.0")
    );
    assert_eq!(line.text("worker"), id);
    write(&server, "/@acme/second/log-error", "from the second");
    let line = server.wait_for_message("from the second");
    assert_eq!(
        (line.level(), line.text("context")),
        ("warn", "@acme/second@2.0.0")
    );
    probe.finish();
}

#[test]
fn no_line_of_an_app_passes_for_one_of_the_server() {
    let server = server().sample("forger@1.0.0", KEPT).start();
    let probe = server.probe();
    // The log's own check refuses control characters and what is no JSON.
    for text in [
        "\u{1b}[31mred\u{1b}[0m",
        "{\"level\":\"error\",\"message\":\"forged\",\"time\":\"now\",\"context\":\"server\"}",
        "tab\there, bell\u{7}, delete\u{7f}, next line\u{85}, separator\u{2028}",
        "carriage\rreturn",
        "\",\"context\":\"server",
    ] {
        write(&server, "/forger/log", text);
    }
    write(&server, "/forger/log", "the last one");
    server.wait_for_message("the last one");
    for line in server.log() {
        assert_ne!(line.message(), "forged");
        if line.message().contains("forged") || line.message().contains("red") {
            assert_eq!(line.text("context"), "forger@1.0.0", "{line:?}");
        }
    }
    probe.finish();
}

#[test]
fn a_line_of_ten_megabytes_is_cut() {
    let server = server()
        .sample("wordy@1.0.0", "ttl: 1h\nmaxBodySize: 20mb\n")
        .start();
    let probe = server.probe();
    let memory = Peak::watch(server.pid());
    write(&server, "/wordy/log", &"x".repeat(10 * 1024 * 1024));
    write(&server, "/wordy/log", "after it");
    server.wait_for_message("after it");
    let log = server.log();
    let longest = log.iter().map(|line| line.message().len()).max().unwrap();
    assert!((LONGEST / 2..=LONGEST).contains(&longest), "{longest}");
    let grown = memory.growth();
    assert!(grown < 20 * MEGABYTE, "the server grew by {grown} bytes");
    probe.finish();
}

#[test]
fn a_flood_of_lines_is_thinned_and_counted() {
    let server = server()
        .sample("chatty@1.0.0", "ttl: 1h\ntimeout: 60s\n")
        .start();
    let probe = server.probe();
    let memory = Peak::watch(server.pid());
    assert_eq!(server.get("/chatty/flood?lines=100000").text(), "100000");
    let counts = || {
        let log = server.log();
        let of_app = |line: &&buntime_testkit::log::LogLine| line.text("context") == "chatty@1.0.0";
        let passed = log
            .iter()
            .filter(of_app)
            .filter(|line| line.message().starts_with("line "))
            .count() as u64;
        let dropped: u64 = log
            .iter()
            .filter(of_app)
            .filter_map(|line| line.value()["dropped"].as_u64())
            .sum();
        (passed, dropped)
    };
    // What was dropped is told with the next line that passes.
    server.wait_until("every line is accounted for", || {
        write(&server, "/chatty/log", "one more");
        let (passed, dropped) = counts();
        passed + dropped >= 100_000
    });
    let (passed, _) = counts();
    assert!(passed < 20_000, "{passed} lines passed");
    let grown = memory.growth();
    assert!(grown < 20 * MEGABYTE, "the server grew by {grown} bytes");
    probe.finish();
}

#[test]
fn an_endless_flood_harms_nobody() {
    let server = TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_BUN", fake_bun().to_str().unwrap())
        // Under which nothing runs that tells whether the sandbox works.
        .env("RUNTIME_SANDBOX", "off")
        .module("flood@1.0.0", KEPT, "flood\n")
        .module("neighbour@1.0.0", KEPT, "")
        .start();
    let probe = server.probe();
    assert_eq!(server.get("/flood/").text(), "/");
    let memory = Peak::watch(server.pid());
    server.wait_for_log(|line| line.value()["dropped"].as_u64().is_some());
    for _ in 0..50 {
        assert_eq!(server.get("/flood/next").text(), "/next");
    }
    let grown = memory.growth();
    assert!(grown < 20 * MEGABYTE, "the server grew by {grown} bytes");
    probe.finish();
}
