//! Files that come in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use buntime_testkit::{Connection, Response};
use serde_json::json;

use super::support::*;

const UNIT: &str = "apps/@a/x/1.0.0";

#[test]
fn files_go_to_their_paths_whole() {
    let server = server();
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|at| (at.wrapping_mul(31) >> 5) as u8)
        .collect();
    let sent = upload(
        &server,
        ROOT,
        UNIT,
        &[("a.txt", b"a"), ("b.bin", &large), ("node.js", b"n")],
        &["a.txt", "new/folder/b.bin", "node_modules/left/index.js"],
    );
    assert_eq!(fine(&sent)["files"], 3);
    let unit = server.dir().join(UNIT);
    assert_eq!(fs::read_to_string(unit.join("a.txt")).unwrap(), "a");
    assert!(fs::read(unit.join("new/folder/b.bin")).unwrap() == large);
    assert!(unit.join("node_modules/left/index.js").exists());
    let mode = |path: &str| fs::metadata(unit.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a.txt"), mode("new/folder")), (0o644, 0o755));
    let staging = server.dir().join("apps/.buntime-staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn f3_paths_that_climb_change_nothing() {
    let server = server();
    let before = roots(&server);
    let files: &[(&str, &[u8])] = &[("one", b"1"), ("two", b"2")];
    for bad in [
        "../../x",
        "/abs",
        "a\\..\\b",
        "",
        ".",
        "a/../b",
        "a//b",
        "a\u{1}b",
        ".buntime-x",
    ] {
        let sent = upload(&server, ROOT, UNIT, files, &["fine.txt", bad]);
        failed(&sent, 400, "BAD_PATH");
        let sent = upload(&server, ROOT, UNIT, &[("fine.txt", b"1"), (bad, b"2")], &[]);
        if bad != "a\u{1}b" {
            failed(&sent, 400, "BAD_PATH");
        } else {
            failed(&sent, 400, "INVALID_MULTIPART_FORM");
        }
    }
    for paths in [
        &["one.txt"][..],
        &["same", "same"],
        &["a", "a/b"],
        &["a", "b", "c"],
    ] {
        failed(&upload(&server, ROOT, UNIT, files, paths), 400, "BAD_PATH");
    }
    failed(
        &upload(&server, ROOT, UNIT, &[("src", b"1")], &[]),
        409,
        "ALREADY_EXISTS",
    );
    assert_eq!(roots(&server), before);
}

#[test]
fn a_dropped_zip_is_unpacked() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    fs::create_dir(unit.join("static")).unwrap();
    fs::write(unit.join("static/app.js"), "app").unwrap();
    let zip = read(&server, ROOT, "download", "apps/echo/1.0.0").body;
    let sent = upload(&server, ROOT, "apps/copy/2.0.0", &[("copy.zip", &zip)], &[]);
    assert_eq!(fine(&sent)["files"], 3);
    assert_eq!(server.get("/copy/static/app.js").text(), "app");
    let before = roots(&server);
    let cut = &zip[..zip.len() / 2];
    for (content, code) in [(cut, "INVALID_ARCHIVE"), (b"no zip", "INVALID_ARCHIVE")] {
        let sent = upload(
            &server,
            ROOT,
            "apps/copy/2.0.0",
            &[("copy.zip", content)],
            &[],
        );
        failed(&sent, 400, code);
    }
    assert_eq!(roots(&server), before);
}

#[test]
fn forms_that_are_none_are_refused() {
    let server = server();
    let before = roots(&server);
    let part = |head: &str, content: &str| {
        format!("--boundary\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let path = part("name=\"path\"", UNIT);
    let file = part("name=\"files\"; filename=\"a\"", "a");
    let end = "--boundary--\r\n";
    for (body, code) in [
        (format!("{path}{end}"), "NO_FILE_PROVIDED"),
        (format!("{file}{end}"), "BAD_PATH"),
        (format!("{path}{path}{file}{end}"), "BAD_PATH"),
        (format!("{path}{file}"), "INVALID_MULTIPART_FORM"),
        ("{}".to_owned(), "INVALID_MULTIPART_FORM"),
        (String::new(), "INVALID_MULTIPART_FORM"),
    ] {
        failed(&post_form(&server, ROOT, body.as_bytes()), 400, code);
    }
    let headers = [("X-API-Key", ROOT), ("Content-Type", "application/json")];
    let target = "/api/workers/files/upload";
    let response = Connection::open(server.addr()).request("POST", target, &headers, b"{}");
    failed(&response, 400, "INVALID_MULTIPART_FORM");
    assert_eq!(roots(&server), before);
    // The order of the parts does not matter.
    let body = format!("{file}{path}{end}");
    assert_eq!(fine(&post_form(&server, ROOT, body.as_bytes()))["files"], 1);
}

/// A client that goes away in the middle of a file leaves nothing behind.
#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = server();
    let before = roots(&server);
    let staging = server.dir().join("apps/.buntime-staging");
    let mut connection = Connection::open(server.addr());
    let body = format!(
        "--boundary\r\nContent-Disposition: form-data; name=path\r\n\r\n{UNIT}\r\n\
         --boundary\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n{}",
        "x".repeat(500_000)
    );
    connection.send(
        format!(
            "POST /api/workers/files/upload HTTP/1.1\r\nHost: a\r\nX-API-Key: {ROOT}\r\n\
             Content-Type: multipart/form-data; boundary=boundary\r\nContent-Length: 9000000\r\n\r\n{body}"
        )
        .as_bytes(),
    );
    let waiting = || fs::read_dir(&staging).is_ok_and(|entries| entries.count() > 0);
    server.wait_until("the upload has begun", waiting);
    drop(connection);
    server.wait_until("nothing is left of it", || !waiting());
    assert_eq!(roots(&server), before);
}

/// What comes in holds disk, so its number is bounded, and one team cannot take all.
#[test]
fn uploads_of_one_namespace_leave_a_place_for_whoever_reaches_all() {
    let server = server();
    let key = key(&server, &["@a"], &["workers:install"]);
    let begin = || {
        let mut connection = Connection::open(server.addr());
        connection.send(
            format!(
                "POST /api/workers/files/upload HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\
                 Content-Type: multipart/form-data; boundary=boundary\r\nContent-Length: 90000\r\n\r\n\
                 --boundary\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\nx"
            )
            .as_bytes(),
        );
        connection
    };
    let mut held: Vec<_> = (0..48).map(|_| begin()).collect();
    server.wait_until("the places of the namespace are taken", || {
        // The one before may have found the place taken that this form had.
        held.push(begin());
        let refused = upload(&server, &key, UNIT, &[("a.txt", b"a")], &[]);
        refused.status == 503 && refused.error_code() == "TOO_MANY_UPLOADS"
    });
    fine(&upload(&server, ROOT, UNIT, &[("a.txt", b"a")], &[]));
}

#[test]
fn no_plugin_gets_a_manifest_with_which_no_server_starts() {
    let server = server();
    let key = key(&server, &["@a"], &["plugins:install"]);
    let bad = "name: '@a/tool'\nbase: /api\n";
    let put = |path: &str, name: &str, content: &[u8]| {
        let mut body = Vec::new();
        for (head, content) in [
            ("name=\"path\"".to_owned(), path.as_bytes()),
            (format!("name=\"files\"; filename=\"{name}\""), content),
        ] {
            let head = format!("--frontier\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--frontier--\r\n");
        let headers = [
            ("X-API-Key", key.as_str()),
            ("Content-Type", "multipart/form-data; boundary=frontier"),
        ];
        server
            .connect()
            .request("POST", "/api/plugins/files/upload", &headers, &body)
    };
    let refused = |response: &Response| failed(response, 400, "INVALID_MANIFEST");
    let before = tree(&server.dir().join("plugins"));
    refused(&put("plugins/@a/tool", "manifest.yaml", bad.as_bytes()));
    refused(&put(
        "plugins/@a/tool",
        "manifest.yml",
        b"name: '@a/tool'\nbase: /a/b\n",
    ));
    refused(&put("plugins/@a/new", "manifest.yaml", bad.as_bytes()));
    refused(&put(
        "plugins/@a/tool/deep",
        "manifest.yaml",
        bad.as_bytes(),
    ));
    assert_eq!(tree(&server.dir().join("plugins")), before);
    // By another name first.
    assert_eq!(
        put("plugins/@a/tool", "later.yaml", bad.as_bytes()).status,
        200
    );
    for (verb, body) in [
        (
            "rename",
            json!({"path": "plugins/@a/tool/later.yaml", "newName": "manifest.yml"}),
        ),
        (
            "move",
            json!({"path": "plugins/@a/tool/later.yaml", "destPath": "plugins/@a/tool/manifest.yml"}),
        ),
    ] {
        let target = format!("/api/plugins/files/{verb}");
        refused(&ask(&server, &key, "POST", &target, Some(&body)));
    }
    // What is wrong otherwise is the plugin's own affair.
    let own = put(
        "plugins/@a/tool",
        "manifest.yaml",
        b"name: '@a/tool'\nbase: /tool\nmenus: 5\n",
    );
    assert_eq!(own.status, 200, "{}", own.text());
}
