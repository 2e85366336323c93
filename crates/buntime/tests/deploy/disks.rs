//! Disks that are full or only read, and several of them.

use std::fs;

use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Response, SmallDisk, TestServer};

use super::support::{
    KEY, PLUGINS, app, builder, call, deploy, failed, form, leftovers, send_form_to, site, tree,
    upload_entries,
};

/// Twelve megabytes that pack well enough to come in, and not into eight.
fn large(name: &str) -> Vec<Entry> {
    let mut entries = site(name, "1.0.0", "large");
    let line = "a line that is not all zeros, so that it is no bomb 0123456789\n";
    for number in 0..12 {
        let text = format!("{number}{}", line.repeat((1 << 20) / line.len()));
        // What does not pack keeps the ratio down.
        entries.push(Entry::file(format!("{number}.txt"), text));
        entries.push(Entry::file(format!("{number}.bin"), noise(8_000, number)));
    }
    entries
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Row D2; row D3 with it: the worker root is a file system of its own, so what is
/// renamed into it was staged on it.
#[test]
fn d2_d3_a_full_worker_disk_leaves_the_old_version_and_no_rubbish() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let root = disk.path().join("apps");
    fs::create_dir(&root).unwrap();
    let server = builder()
        .env("RUNTIME_WORKER_DIRS", root.to_str().unwrap())
        .start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    let (used, before) = (disk.used(), tree(&root));
    for format in Format::ALL {
        let response = upload_entries(server.addr(), format, &large("shop"));
        failed(&response, 507, "STORAGE_FULL");
        assert_eq!(server.get("/shop/").text(), "old");
        assert_eq!(tree(&root), before);
        assert_eq!(disk.used(), used);
    }
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    assert_eq!(server.get("/shop/").text(), "new");
}

#[test]
fn d14_a_full_state_disk_leaves_the_old_version_and_no_rubbish() {
    let Some(disk) = SmallDisk::mount("size=4m") else {
        return;
    };
    let state = disk.path().join("state");
    let server = builder()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    let kept = tree(&state.join("releases"));
    let mut entries = site("shop", "1.0.0", "new");
    entries.push(Entry::file("noise", noise(6_000_000, 1)));
    let response = upload_entries(server.addr(), Format::TarGz, &entries);
    failed(&response, 507, "STORAGE_FULL");
    assert_eq!(server.get("/shop/").text(), "old");
    assert_eq!(tree(&state.join("releases")), kept);
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    assert_eq!(server.get("/shop/").text(), "new");
}

/// Row D4: what changes a worker root or a plugin root is refused while it can only be
/// read, and everything stays as it was. What the operator says of a worker is kept
/// elsewhere, and goes on.
#[test]
fn d4_a_read_only_worker_disk_takes_no_change_and_serves_on() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let roots = ["apps", "plugins"].map(|root| disk.path().join(root));
    for root in &roots {
        fs::create_dir(root).unwrap();
    }
    let server = builder()
        .env("RUNTIME_WORKER_DIRS", roots[0].to_str().unwrap())
        .env("RUNTIME_PLUGIN_DIRS", roots[1].to_str().unwrap())
        .start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    deploy(server.addr(), &site("shop", "1.0.0", "live"));
    deploy(server.addr(), &app("echo", "1.0.0", "works"));
    let plugin = upload_plugin(&server);
    assert_eq!(plugin.status, 200, "{}", plugin.text());
    let before = tree(disk.path());
    let releases = releases(&server);
    disk.make_read_only();

    let unavailable = |response: &Response, what: &str| {
        assert_eq!(response.status, 503, "{what}: {}", response.text());
        failed(response, 503, "STORAGE_UNAVAILABLE");
        assert_eq!(tree(disk.path()), before, "{what}");
        assert_eq!(leftovers(server.dir()), [""; 0], "{what}");
        assert_eq!(server.get("/shop/").text(), "live", "{what}");
        assert_eq!(server.get("/echo/").text(), "works", "{what}");
        for alive in ["/health", "/health/ready"] {
            assert_eq!(server.get(alive).status, 200, "{alive} after {what}");
        }
    };
    for format in Format::ALL {
        for version in ["1.0.0", "2.0.0"] {
            let entries = site("shop", version, "new");
            let response = upload_entries(server.addr(), format, &entries);
            unavailable(&response, &format!("an upload of {version} as {format:?}"));
        }
    }
    unavailable(&upload_plugin(&server), "an upload of a plugin");
    let files = "/api/workers/files";
    for (method, path, body) in [
        ("POST", "/api/workers/_/shop/rollback", r#"{"release": 1}"#),
        ("DELETE", "/api/workers/_/shop/1.0.0", ""),
        ("DELETE", "/api/workers/_/shop", ""),
        ("DELETE", "/api/plugins/tool", ""),
        (
            "POST",
            &format!("{files}/mkdir"),
            r#"{"path": "apps/shop/1.0.0/new"}"#,
        ),
        (
            "POST",
            &format!("{files}/rename"),
            r#"{"path": "apps/shop/1.0.0/index.html", "newName": "new.html"}"#,
        ),
        (
            "POST",
            &format!("{files}/move"),
            r#"{"path": "apps/shop/1.0.0/index.html", "destPath": "apps/shop/1.0.0/assets"}"#,
        ),
        (
            "POST",
            &format!("{files}/move-batch"),
            r#"{"paths": ["apps/shop/1.0.0/index.html"], "destPath": "apps/shop/1.0.0/assets"}"#,
        ),
        (
            "DELETE",
            &format!("{files}/delete"),
            r#"{"path": "apps/shop/1.0.0/index.html"}"#,
        ),
        (
            "POST",
            &format!("{files}/delete-batch"),
            r#"{"paths": ["apps/shop/1.0.0/index.html", "apps/shop/1.0.0/assets"]}"#,
        ),
    ] {
        let response = call(server.addr(), method, path, body);
        unavailable(&response, &format!("{method} {path}"));
    }
    for file in ["index.html", "new.html"] {
        let body = form(&[
            ("path", None, b"apps/shop/1.0.0"),
            ("files", Some(file), b"new"),
        ]);
        let response = send_form_to(&format!("{files}/upload"), KEY, server.addr(), &body);
        unavailable(&response, &format!("an upload of {file}"));
    }
    assert_eq!(self::releases(&server), releases);

    let of_shop = |verb| format!("/api/workers/_/shop/1.0.0/{verb}");
    assert_eq!(
        call(server.addr(), "POST", &of_shop("disable"), "").status,
        200
    );
    assert_eq!(server.get("/shop/").status, 404);
    assert_eq!(
        call(server.addr(), "POST", &of_shop("enable"), "").status,
        200
    );
    assert_eq!(server.get("/shop/").text(), "live");

    disk.make_writable();
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    assert_eq!(server.get("/shop/").text(), "new");
}

fn upload_plugin(server: &TestServer) -> Response {
    let entries = [Entry::file(
        "manifest.yaml",
        "name: tool\nbase: /tool\nenabled: false\n",
    )];
    let archive = forge(Format::TarGz, &entries);
    let body = form(&[("file", Some("tool.tgz"), &archive)]);
    send_form_to(PLUGINS, KEY, server.addr(), &body)
}

fn releases(server: &TestServer) -> serde_json::Value {
    let response = call(server.addr(), "GET", "/api/workers/_/shop/releases", "");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}
