//! Lists, and paths that lead nowhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::support::*;

#[test]
fn folders_are_listed_with_what_people_want_to_know() {
    let server = server();
    let top = fine(&read(&server, ROOT, "list", ""));
    assert_eq!(top["path"], "");
    assert_eq!(top["currentVisibility"], "public");
    let root = &top["entries"][0];
    assert_eq!(
        (&root["name"], &root["path"]),
        (&"apps".into(), &"apps".into())
    );
    assert_eq!(
        (&root["isDirectory"], &root["files"]),
        (&true.into(), &7.into())
    );
    assert!(root["updatedAt"].as_str().unwrap().ends_with('Z'));
    let unit = fine(&read(&server, ROOT, "list", "apps/@a/x"));
    let version = &unit["entries"][0];
    assert_eq!(version["path"], "apps/@a/x/1.0.0");
    assert_eq!(version["visibility"], "public");
    assert_eq!(version["configValidation"]["valid"], true);
    let inside = fine(&read(&server, ROOT, "list", "apps/@a/x/1.0.0/"));
    assert_eq!(inside["path"], "apps/@a/x/1.0.0");
    let file = &inside["entries"][1];
    assert_eq!(
        (&file["name"], &file["size"]),
        (&"index.html".into(), &16.into())
    );
    assert_eq!(file["isDirectory"], false);
    let plugins = ask(
        &server,
        ROOT,
        "GET",
        "/api/plugins/files/list?path=plugins",
        None,
    );
    let entries = fine(&plugins)["entries"].clone();
    assert_eq!(entries[1]["name"], "plain");
    assert_eq!(entries[1]["visibility"], "public");
}

#[test]
fn nobody_sees_files_without_a_key() {
    let server = server();
    for verb in [
        "list",
        "download",
        "download-batch",
        "refresh",
        "mkdir",
        "delete",
        "nothing",
    ] {
        for kind in ["workers", "plugins"] {
            let response = server.get(&format!("/api/{kind}/files/{verb}"));
            failed(&response, 401, "AUTH_REQUIRED");
        }
    }
}

#[test]
fn f1_and_f2_paths_that_climb_are_refused() {
    let server = server();
    for path in [
        "apps/@a/../../../../etc/passwd",
        "apps/../canary",
        "apps/@a/x/1.0.0/../../../../canary",
        "../canary",
        "apps/@a\\..\\..\\canary",
        "apps/a\0b",
        "apps//echo",
        "apps/./echo",
    ] {
        for verb in ["list", "download"] {
            failed(&read(&server, ROOT, verb, path), 400, "BAD_PATH");
        }
    }
    let target =
        "/api/workers/files/download-batch?paths=apps/echo&paths=apps/../../../proc/self/environ";
    failed(&ask(&server, ROOT, "GET", target, None), 400, "BAD_PATH");
    failed(&read(&server, ROOT, "download", ""), 400, "BAD_PATH");
}

#[test]
fn f7_and_f9_links_are_listed_and_followed_by_nothing() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    symlink("../../../canary", unit.join("link")).unwrap();
    symlink("../../..", unit.join("up")).unwrap();
    symlink("nowhere", unit.join("dangling")).unwrap();
    fs::write(unit.join("locked"), "locked").unwrap();
    fs::set_permissions(unit.join("locked"), fs::Permissions::from_mode(0o0)).unwrap();
    let before = roots(&server);
    assert_eq!(
        names(&server, ROOT, "apps/echo/1.0.0"),
        [
            "dangling",
            "index.html",
            "link",
            "locked",
            "manifest.yaml",
            "up"
        ]
    );
    for path in ["link", "up/canary", "dangling"] {
        let path = format!("apps/echo/1.0.0/{path}");
        failed(
            &read(&server, ROOT, "download", &path),
            404,
            "FILE_NOT_FOUND",
        );
    }
    failed(
        &read(&server, ROOT, "list", "apps/echo/1.0.0/up"),
        404,
        "DIR_NOT_FOUND",
    );
    let zip = read(&server, ROOT, "download", "apps/echo/1.0.0");
    assert_eq!(zip.status, 200);
    let packed = unzipped(&zip.body);
    assert!(
        !packed
            .keys()
            .any(|name| name.contains("link") || name.contains("up"))
    );
    assert!(
        packed.contains_key("1.0.0/index.html"),
        "{:?}",
        packed.keys()
    );
    let sent = upload(&server, ROOT, "apps/echo/1.0.0/up", &[("evil", b"x")], &[]);
    failed(&sent, 404, "DIR_NOT_FOUND");
    let sent = upload(
        &server,
        ROOT,
        "apps/echo/1.0.0",
        &[("e", b"x")],
        &["up/evil"],
    );
    failed(&sent, 404, "DIR_NOT_FOUND");
    assert_eq!(roots(&server), before);
    for link in ["link", "up", "dangling"] {
        let path = format!("apps/echo/1.0.0/{link}");
        fine(&change(
            &server,
            ROOT,
            "delete",
            serde_json::json!({"path": path}),
        ));
    }
    let mut left = before;
    for link in ["link", "up", "dangling"] {
        left.remove(&format!("apps/echo/1.0.0/{link}"));
    }
    assert_eq!(roots(&server), left);
}

#[test]
fn f10_and_f14_what_is_missing_or_hidden_is_not_there() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    for hidden in [".git", "node_modules", ".buntime-x"] {
        fs::create_dir(unit.join(hidden)).unwrap();
        fs::write(unit.join(hidden).join("file"), "hidden").unwrap();
    }
    for path in [
        "apps/none",
        "apps/echo/9.0.0",
        "nowhere",
        ".apps",
        ".apps/core/1.0.0",
        ".git",
        "node_modules",
        ".buntime",
        "apps/.buntime-staging",
        "apps/echo/1.0.0/.git",
        "apps/echo/1.0.0/node_modules",
        "apps/echo/1.0.0/index.html",
    ] {
        failed(&read(&server, ROOT, "list", path), 404, "DIR_NOT_FOUND");
    }
    for path in [
        "apps/none",
        ".apps/core/1.0.0/index.html",
        "apps/echo/1.0.0/.git/file",
    ] {
        failed(
            &read(&server, ROOT, "download", path),
            404,
            "FILE_NOT_FOUND",
        );
    }
    let shown = ["index.html", "manifest.yaml"];
    assert_eq!(names(&server, ROOT, "apps/echo/1.0.0"), shown);
    assert_eq!(names(&server, ROOT, ""), ["apps"]);
    let packed = unzipped(&read(&server, ROOT, "download", "apps/echo").body);
    assert_eq!(packed.len(), 2, "{:?}", packed.keys());
}
