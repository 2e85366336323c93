//! Releases and the way back.

use std::fs;
use std::net::SocketAddr;

use buntime_testkit::archive::{Format, forge};
use serde_json::Value;

use super::support::{KEY, app, archives, builder, call, deploy, failed, form, send_form, site};

fn releases(address: SocketAddr, worker: &str) -> Value {
    let path = format!("/api/workers/{worker}/releases");
    let response = call(address, "GET", &path, "");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// `number:version`, a star behind what is live.
fn summary(address: SocketAddr, worker: &str) -> Vec<String> {
    let releases = releases(address, worker);
    let line = |release: &Value| {
        let star = if release["live"] == true { "*" } else { "" };
        format!(
            "{}:{}{star}",
            release["number"],
            release["version"].as_str().unwrap()
        )
    };
    releases.as_array().unwrap().iter().map(line).collect()
}

#[track_caller]
fn roll_back(address: SocketAddr, worker: &str, release: u64) -> u64 {
    let body = format!("{{\"release\": {release}}}");
    let path = format!("/api/workers/{worker}/rollback");
    let response = call(address, "POST", &path, &body);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["data"]["worker"]["release"]
        .as_u64()
        .unwrap()
}

#[test]
fn every_deployment_is_a_release_that_says_who_when_and_what() {
    let server = builder().start();
    let archive = forge(Format::Zip, &site("@acme/shop", "1.0.0", "one"));
    let body = form(&[
        ("message", None, "first one, \"quoted\"".as_bytes()),
        ("file", Some("shop.zip"), &archive),
    ]);
    assert_eq!(send_form(KEY, server.addr(), &body).status, 200);
    let listed = releases(server.addr(), "@acme/shop");
    let release = &listed[0];
    assert_eq!(release["number"], 1);
    assert_eq!(release["version"], "1.0.0");
    assert_eq!(release["message"], "first one, \"quoted\"");
    assert_eq!(release["by"]["id"], "root");
    assert_eq!(release["size"], archive.len());
    assert_eq!(release["live"], true);
    assert!(release["createdAt"].as_str().unwrap().ends_with('Z'));
    assert!(release.get("rollbackOf").is_none());
    // The archive is kept as it came, under its hash, for nobody else to read.
    let sha256 = release["sha256"].as_str().unwrap();
    let folder = server.dir().join("state/releases");
    assert_eq!(fs::read(folder.join(sha256)).unwrap(), archive);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs::metadata(folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_rollback_serves_the_older_one_from_the_next_request_on() {
    let server = builder().start();
    let address = server.addr();
    for text in ["one", "two"] {
        deploy(address, &app("shop", "1.0.0", text));
    }
    assert_eq!(server.get("/shop/").text(), "two");
    assert_eq!(roll_back(address, "_/shop", 1), 3);
    assert_eq!(server.get("/shop/").text(), "one");
    assert_eq!(
        summary(address, "_/shop"),
        ["3:1.0.0*", "2:1.0.0", "1:1.0.0"]
    );
    assert_eq!(releases(address, "_/shop")[0]["rollbackOf"], 1);
    // The content is kept once.
    assert_eq!(archives(server.dir()), 2);
    assert_eq!(roll_back(address, "_/shop", 2), 4);
    assert_eq!(server.get("/shop/").text(), "two");
}

#[test]
fn a_rollback_puts_later_versions_aside_until_they_are_deployed_again() {
    let mut server = builder().start();
    let address = server.addr();
    deploy(address, &site("shop", "1.0.0", "one"));
    deploy(address, &site("shop", "1.1.0", "two"));
    deploy(address, &site("shop", "1.0.0", "one, mended"));
    assert_eq!(server.get("/shop/").text(), "two");
    // Both versions change in one step.
    roll_back(address, "_/shop", 1);
    assert_eq!(server.get("/shop/").text(), "one");
    assert_eq!(server.get("/shop@1.1.0/").status, 404);
    assert_eq!(
        summary(address, "_/shop"),
        ["4:1.0.0*", "3:1.0.0", "2:1.1.0", "1:1.0.0"]
    );
    // And forth: the version is back, and the other has its content of then.
    roll_back(address, "_/shop", 3);
    assert_eq!(server.get("/shop@1.1.0/").text(), "two");
    assert_eq!(server.get("/shop@1.0.0/").text(), "one, mended");
    roll_back(address, "_/shop", 1);
    // A start changes nothing of it.
    let dir = server.dir().to_owned();
    let saved = tempfile::tempdir().unwrap();
    for folder in ["apps", "state"] {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([dir.join(folder), saved.path().join(folder)])
            .status();
        assert!(copied.unwrap().success());
    }
    server.kill();
    let path = |folder: &str| saved.path().join(folder).to_str().unwrap().to_owned();
    let server = builder()
        .env("RUNTIME_WORKER_DIRS", &path("apps"))
        .env("RUNTIME_STATE_DIR", &path("state"))
        .start();
    let address = server.addr();
    assert_eq!(server.get("/shop@1.1.0/").status, 404);
    assert_eq!(server.get("/shop/").text(), "one");
    deploy(address, &site("shop", "1.1.0", "two, mended"));
    assert_eq!(server.get("/shop/").text(), "two, mended");
}

#[test]
fn old_releases_are_pruned_and_what_is_live_is_not() {
    let server = builder().env("RUNTIME_RELEASES_KEPT", "2").start();
    let address = server.addr();
    deploy(address, &site("shop", "1.0.0", "stays"));
    for text in ["a", "b", "c", "d"] {
        deploy(address, &site("shop", "2.0.0", text));
    }
    assert_eq!(
        summary(address, "_/shop"),
        ["5:2.0.0*", "4:2.0.0", "1:1.0.0*"]
    );
    assert_eq!(archives(server.dir()), 3);
    roll_back(address, "_/shop", 4);
    assert_eq!(server.get("/shop/").text(), "c");
    assert_eq!(server.get("/shop@1.0.0/").text(), "stays");
    let gone = call(
        address,
        "POST",
        "/api/workers/_/shop/rollback",
        "{\"release\": 2}",
    );
    failed(&gone, 404, "RELEASE_NOT_FOUND");
}

#[test]
fn what_is_no_rollback_is_refused() {
    let server = builder()
        .app(
            "hand@1.0.0",
            "",
            &[("package.json", "{}"), ("index.html", "x")],
        )
        .start();
    let address = server.addr();
    deploy(address, &site("shop", "1.0.0", "one"));
    assert_eq!(releases(address, "_/hand"), serde_json::json!([]));
    for worker in ["_/missing", "@acme/missing"] {
        let list = call(
            address,
            "GET",
            &format!("/api/workers/{worker}/releases"),
            "",
        );
        failed(&list, 404, "WORKER_NOT_FOUND");
    }
    for (worker, body, status, code) in [
        ("_/shop", "{\"release\": 2}", 404, "RELEASE_NOT_FOUND"),
        ("_/missing", "{\"release\": 1}", 404, "RELEASE_NOT_FOUND"),
        ("_/hand", "{\"release\": 1}", 404, "RELEASE_NOT_FOUND"),
        ("_/shop", "{}", 400, "VALIDATION_ERROR"),
        ("_/shop", "{\"release\": \"1\"}", 400, "VALIDATION_ERROR"),
        ("_/shop", "{\"release\": -1}", 400, "VALIDATION_ERROR"),
        (
            "_/shop",
            "{\"release\": 1, \"x\": 1}",
            400,
            "VALIDATION_ERROR",
        ),
        ("_/shop", "{", 400, "INVALID_JSON"),
    ] {
        let response = call(
            address,
            "POST",
            &format!("/api/workers/{worker}/rollback"),
            body,
        );
        failed(&response, status, code);
    }
    assert_eq!(summary(address, "_/shop"), ["1:1.0.0*"]);
    // An archive that somebody has taken away.
    deploy(address, &site("shop", "1.0.0", "two"));
    let sha256 = releases(address, "_/shop")[1]["sha256"].clone();
    let archive = server
        .dir()
        .join("state/releases")
        .join(sha256.as_str().unwrap());
    fs::remove_file(archive).unwrap();
    let back = call(
        address,
        "POST",
        "/api/workers/_/shop/rollback",
        "{\"release\": 1}",
    );
    failed(&back, 409, "RELEASE_NOT_KEPT");
    assert_eq!(server.get("/shop/").text(), "two");
}

#[test]
fn a_removed_worker_is_back_by_a_rollback() {
    let server = builder().start();
    let address = server.addr();
    deploy(address, &site("shop", "1.0.0", "one"));
    let removed = call(address, "DELETE", "/api/workers/_/shop", "");
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!(server.get("/shop/").status, 404);
    assert_eq!(summary(address, "_/shop"), ["1:1.0.0"]);
    roll_back(address, "_/shop", 1);
    assert_eq!(server.get("/shop/").text(), "one");
    assert_eq!(summary(address, "_/shop"), ["2:1.0.0*", "1:1.0.0"]);
}
