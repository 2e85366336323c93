//! Disks of which reading fails (row D4): real ones, that answer EIO.

use std::path::Path;

use buntime_testkit::api::{self, ROOT_KEY, failed};
use buntime_testkit::sample::{SAMPLE, assert_error};
use buntime_testkit::{Builder, FailingDisk, Response, TestServer};

use super::server;

const SITE: &[u8] = b"entrypoint: index.html\n";
const PAGE: &[u8] = b"<!doctype html><title>page</title>";
/// More than is read at a time, and more than the sockets between server and client hold.
const LARGE: usize = 12 << 20;

/// A server that has this disk for a second worker root.
fn beside(disk: &FailingDisk) -> Builder {
    let builder = server();
    let own = builder.dir().join("apps");
    let roots = format!("{}:{}", own.display(), root(disk).display());
    builder
        .env("RUNTIME_WORKER_DIRS", &roots)
        .env("RUNTIME_ROOT_KEY", ROOT_KEY)
}

fn root(disk: &FailingDisk) -> std::path::PathBuf {
    Path::new(&disk.path()).join("apps")
}

#[track_caller]
fn assert_unreadable(response: &Response) {
    assert_error(response, 503, "STORAGE_UNAVAILABLE");
}

/// Whoever accepts pages gets no entry page in place of what cannot be read.
fn ask(server: &TestServer, method: &str, target: &str) -> Response {
    let headers = [("Accept", "text/html")];
    let mut connection = server.connect();
    connection.request(method, target, &headers, b"")
}

fn api(server: &TestServer, target: &str) -> Response {
    api::ask_text(server, ROOT_KEY, "GET", target, "")
}

#[test]
fn d4_a_file_that_cannot_be_read_is_told_and_others_are_served() {
    let large = vec![b'x'; LARGE];
    let Some(disk) = FailingDisk::mount(&[
        ("apps/site@1.0.0/manifest.yaml", SITE),
        ("apps/site@1.0.0/index.html", PAGE),
        ("apps/site@1.0.0/kept.txt", b"kept"),
        ("apps/site@1.0.0/lost.txt", b"lost"),
        ("apps/site@1.0.0/large.bin", &large),
    ]) else {
        return;
    };
    let server = beside(&disk).start();
    let probe = server.probe();
    assert_eq!(server.get("/site/").body, PAGE);
    disk.fail_from("apps/site@1.0.0/lost.txt", 0);
    for file in ["lost.txt", "large.bin"] {
        let target = format!("/site/{file}");
        assert_unreadable(&server.get(&target));
        assert_eq!(ask(&server, "GET", &target).status, 503);
        let target = format!("/api/workers/files/download?path=apps-2/site@1.0.0/{file}");
        failed(&api(&server, &target), 503, "STORAGE_UNAVAILABLE");
    }
    assert_eq!(ask(&server, "HEAD", "/site/lost.txt").status, 503);
    assert_eq!(server.get("/site/").body, PAGE);
    assert_eq!(server.get("/site/kept.txt").text(), "kept");
    assert_eq!(server.get("/site/none.txt").status, 404);
    for alive in ["/health", "/health/ready"] {
        assert_eq!(server.get(alive).status, 200, "{alive}");
    }
    disk.heal();
    assert_eq!(server.get("/site/lost.txt").text(), "lost");
    assert!(server.get("/site/large.bin").body == large);
    probe.finish();
}

#[test]
fn d4_a_body_that_cannot_be_read_to_its_end_is_cut() {
    let large: Vec<u8> = (0..LARGE).map(|n| n.to_be_bytes()[6]).collect();
    let Some(disk) = FailingDisk::mount(&[
        ("apps/site@1.0.0/manifest.yaml", SITE),
        ("apps/site@1.0.0/index.html", PAGE),
        ("apps/site@1.0.0/large.bin", &large),
    ]) else {
        return;
    };
    let server = beside(&disk).start();
    let probe = server.probe();
    disk.fail_from("apps/site@1.0.0/large.bin", LARGE as u64 / 2);
    let mut connection = server.begin("/site/large.bin");
    let head = connection.head("GET").unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(LARGE.to_string()));
    let body = connection.read_to_end();
    assert!(
        !body.is_empty() && body.len() <= LARGE / 2,
        "{}",
        body.len()
    );
    assert!(large.starts_with(&body));
    // What can be read is served.
    let range = [("Range", "bytes=1000-1999")];
    let mut connection = server.connect();
    let part = connection.request("GET", "/site/large.bin", &range, b"");
    assert_eq!(part.status, 206);
    assert_eq!(part.body, large[1000..2000]);
    let range = [("Range", "bytes=-1000")];
    assert_unreadable(&connection.request("GET", "/site/large.bin", &range, b""));
    disk.heal();
    assert!(server.get("/site/large.bin").body == large);
    probe.finish();
}

#[test]
fn d4_an_app_whose_code_cannot_be_read_is_told_and_others_run() {
    let Some(disk) = FailingDisk::mount(&[
        ("apps/warm@1.0.0/manifest.yaml", b"ttl: 1h\n"),
        ("apps/warm@1.0.0/index.ts", SAMPLE.as_bytes()),
        ("apps/cold@1.0.0/manifest.yaml", b"ttl: 1h\n"),
        ("apps/once@1.0.0/manifest.yaml", b"ttl: 0\n"),
        ("apps/cold@1.0.0/index.ts", SAMPLE.as_bytes()),
        ("apps/once@1.0.0/index.ts", SAMPLE.as_bytes()),
    ]) else {
        return;
    };
    let server = beside(&disk).start();
    let probe = server.probe();
    let worker = server.worker("warm");
    disk.fail_from("apps/cold@1.0.0/index.ts", 0);
    for app in ["cold", "once"] {
        let response = server.get(&format!("/{app}/"));
        assert_error(&response, 502, "WORKER_START_FAILED");
    }
    assert_eq!(server.worker("warm"), worker);
    assert_eq!(server.get("/health").status, 200);
    disk.heal();
    for app in ["cold", "once"] {
        server.wait_until("it starts", || {
            server.get(&format!("/{app}/")).text() == "ok"
        });
    }
    probe.finish();
}

#[test]
fn d4_a_server_whose_worker_root_fails_is_alive_and_not_ready() {
    let Some(disk) = FailingDisk::mount(&[
        ("apps/site@1.0.0/manifest.yaml", SITE),
        ("apps/site@1.0.0/index.html", PAGE),
    ]) else {
        return;
    };
    let server = beside(&disk).start();
    let probe = server.probe();
    assert_eq!(server.get("/site/").body, PAGE);
    disk.fail_from("apps", 0);
    server.wait_until("not ready", || server.get("/health/ready").status == 503);
    assert_eq!(server.get("/health/ready").json()["status"], "impaired");
    assert_eq!(server.get("/health").status, 200);
    disk.heal();
    server.wait_until("ready again", || server.get("/health/ready").status == 200);
    assert_eq!(server.get("/site/").body, PAGE);
    probe.finish();
}
