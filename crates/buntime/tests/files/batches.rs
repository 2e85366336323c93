//! All paths of a batch are looked at before any is touched; downloads never mix.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use super::support::*;

#[test]
fn a_batch_is_done_whole_or_not_at_all() {
    let server = server();
    let before = roots(&server);
    for (paths, status, code) in [
        (
            ["apps/echo/1.0.0/index.html", "apps/none"],
            404,
            "FILE_NOT_FOUND",
        ),
        (["apps/echo", "apps/../canary"], 400, "BAD_PATH"),
        (["apps/echo", "apps"], 400, "CANNOT_DELETE_ROOT"),
        (["apps/echo", ".apps/core"], 404, "DIR_NOT_FOUND"),
    ] {
        let response = change(&server, ROOT, "delete-batch", json!({"paths": paths}));
        failed(&response, status, code);
        assert_eq!(roots(&server), before, "{paths:?}");
    }
    let moved = json!({
        "paths": ["apps/echo/1.0.0/index.html", "apps/@b/secret/1.0.0/index.html"],
        "destPath": "apps/@a/x/1.0.0/src",
    });
    failed(
        &change(&server, ROOT, "move-batch", moved),
        409,
        "ALREADY_EXISTS",
    );
    assert_eq!(roots(&server), before);
    let moved = json!({
        "paths": ["apps/@a/x/1.0.0/index.html", "apps/@a/x/1.0.0/manifest.yaml"],
        "destPath": "apps/@a/x/1.0.0/src",
    });
    assert_eq!(
        fine(&change(&server, ROOT, "move-batch", moved))["moved"],
        2
    );
    let listed = names(&server, ROOT, "apps/@a/x/1.0.0/src");
    assert_eq!(listed, ["deep.txt", "index.html", "manifest.yaml"]);
    let deleted = json!({"paths": ["apps/@a/x", "apps/echo/1.0.0/index.html"]});
    assert_eq!(
        fine(&change(&server, ROOT, "delete-batch", deleted))["deleted"],
        2
    );
    assert!(!server.dir().join("apps/@a/x").exists());
}

/// The line of the log is bounded, and says of all paths that they were these.
#[test]
fn a1_a_batch_of_many_long_paths_is_told_by_its_number_and_hash() {
    let server = server();
    let unit = server.dir().join("apps/@a/x/1.0.0");
    let paths: Vec<String> = (0..100)
        .map(|number| format!("apps/@a/x/1.0.0/{}-{number}", "long".repeat(20)))
        .collect();
    for path in &paths {
        fs::write(unit.join(path.rsplit('/').next().unwrap()), "x").unwrap();
    }
    let body = json!({"paths": paths});
    assert_eq!(
        fine(&change(&server, ROOT, "delete-batch", body))["deleted"],
        100
    );
    let line = ask(&server, ROOT, "GET", "/api/audit?limit=1", None).json();
    let target = line
        .pointer("/data/entries/0/target")
        .or(line.pointer("/entries/0/target"));
    let target = target.unwrap_or_else(|| panic!("{line}")).as_str().unwrap();
    let lines: String = paths.iter().map(|path| format!("{path}\n")).collect();
    let list = server.dir().join("list");
    fs::write(&list, lines).unwrap();
    let sum = std::process::Command::new("sha256sum")
        .arg(&list)
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let begin = format!("100 paths, sha256 {}: {}, ", &sum[..64], paths[0]);
    assert!(target.starts_with(&begin), "{target}");
    assert!(target.len() <= 2048);
}

/// F12: 400 downloads of two paths each, 20 at a time.
#[test]
fn f12_parallel_batches_neither_mix_nor_break() {
    let server = server();
    let unit = server.dir().join("apps/@a/x/1.0.0");
    for number in 0..20 {
        let dir = unit.join(format!("d{number}"));
        fs::create_dir(&dir).unwrap();
        let content = format!("{number}-").repeat(10_000 + number);
        fs::write(dir.join("own.txt"), content).unwrap();
        fs::write(
            unit.join(format!("f{number}.txt")),
            format!("file {number}"),
        )
        .unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..20 {
                    let (one, two) = ((thread + round) % 20, (thread * 7 + round) % 20);
                    let target = format!(
                        "/api/workers/files/download-batch?paths=apps/%40a/x/1.0.0/d{one}&paths=apps/%40a/x/1.0.0/f{two}.txt"
                    );
                    let response = ask(server, ROOT, "GET", &target, None);
                    assert_eq!(response.status, 200, "{}", response.text());
                    let expected = BTreeMap::from([
                        (
                            format!("d{one}/own.txt"),
                            format!("{one}-").repeat(10_000 + one).into_bytes(),
                        ),
                        (format!("f{two}.txt"), format!("file {two}").into_bytes()),
                    ]);
                    assert_eq!(unzipped(&response.body), expected);
                }
            });
        }
    });
}

#[test]
fn the_paths_of_a_download_come_one_by_one_or_with_commas() {
    let server = server();
    let paths = ["apps/echo/1.0.0/index.html", "apps/@a/x/1.0.0/index.html"];
    let expected = BTreeMap::from([
        ("index.html".to_owned(), b"<title>echo</title>".to_vec()),
        ("index-2.html".to_owned(), b"<title>a</title>".to_vec()),
    ]);
    for query in [
        format!("paths={}&paths={}", escaped(paths[0]), escaped(paths[1])),
        format!("paths={}", escaped(&paths.join(","))),
    ] {
        let target = format!("/api/workers/files/download-batch?{query}");
        let response = ask(&server, ROOT, "GET", &target, None);
        assert_eq!(unzipped(&response.body), expected);
        let disposition = response.header("content-disposition").unwrap();
        assert_eq!(disposition, "attachment; filename=\"files.zip\"");
    }
    let none = ask(
        &server,
        ROOT,
        "GET",
        "/api/workers/files/download-batch",
        None,
    );
    failed(&none, 400, "BAD_PATH");
}
