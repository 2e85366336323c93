//! A key of `@a` has nothing to do with what is not `@a`'s.

use std::fs;

use serde_json::{Value, json};

use super::support::*;

const ALL: &[&str] = &["workers:read", "workers:install", "workers:remove"];

#[test]
fn n6_no_verb_climbs_into_another_namespace() {
    let server = server();
    let of_a = key(&server, &["@a"], ALL);
    let before = roots(&server);
    let bad = "apps/@a/../@b/secret/1.0.0/index.html";
    let fine_path = "apps/@a/x/1.0.0/index.html";
    for verb in ["list", "download"] {
        failed(&read(&server, &of_a, verb, bad), 400, "BAD_PATH");
    }
    let target = format!(
        "/api/workers/files/download-batch?paths={}&paths={}",
        escaped(fine_path),
        escaped(bad)
    );
    failed(&ask(&server, &of_a, "GET", &target, None), 400, "BAD_PATH");
    for (verb, body) in [
        ("mkdir", json!({"path": bad})),
        ("delete", json!({"path": bad})),
        ("rename", json!({"path": bad, "newName": "x"})),
        ("move", json!({"path": bad, "destPath": "apps/@a/x/1.0.0"})),
        ("move", json!({"path": fine_path, "destPath": bad})),
        (
            "move-batch",
            json!({"paths": [fine_path, bad], "destPath": "apps/@a/x/1.0.0/src"}),
        ),
        ("delete-batch", json!({"paths": [fine_path, bad]})),
    ] {
        failed(&change(&server, &of_a, verb, body), 400, "BAD_PATH");
    }
    failed(
        &upload(&server, &of_a, bad, &[("a", b"a")], &[]),
        400,
        "BAD_PATH",
    );
    assert_eq!(roots(&server), before);
}

#[test]
fn what_is_of_others_is_denied_whether_it_is_there_or_not() {
    let server = server();
    let of_a = key(&server, &["@a"], ALL);
    let before = roots(&server);
    for other in [
        "apps/@b/secret/1.0.0/index.html",
        "apps/@b/none",
        "apps/echo",
        "apps/none",
    ] {
        for verb in ["list", "download"] {
            failed(&read(&server, &of_a, verb, other), 403, "NAMESPACE_DENIED");
        }
        let mine = "apps/@a/x/1.0.0/index.html";
        for (verb, body) in [
            ("mkdir", json!({"path": other})),
            ("delete", json!({"path": other})),
            ("rename", json!({"path": other, "newName": "x"})),
            (
                "move",
                json!({"path": other, "destPath": "apps/@a/x/1.0.0"}),
            ),
            ("move", json!({"path": mine, "destPath": other})),
            (
                "move-batch",
                json!({"paths": [mine, other], "destPath": "apps/@a/x/1.0.0/src"}),
            ),
            ("delete-batch", json!({"paths": [mine, other]})),
        ] {
            failed(&change(&server, &of_a, verb, body), 403, "NAMESPACE_DENIED");
        }
        failed(
            &upload(&server, &of_a, other, &[("a", b"a")], &[]),
            403,
            "NAMESPACE_DENIED",
        );
        let target = format!(
            "/api/workers/files/download-batch?paths={}&paths={}",
            escaped(mine),
            escaped(other)
        );
        failed(
            &ask(&server, &of_a, "GET", &target, None),
            403,
            "NAMESPACE_DENIED",
        );
    }
    let scope = json!({"path": "apps/@a", "newName": "@b2"});
    failed(
        &change(&server, &of_a, "rename", scope),
        403,
        "NAMESPACE_DENIED",
    );
    assert_eq!(roots(&server), before);
    fine(&change(
        &server,
        &of_a,
        "mkdir",
        json!({"path": "apps/@a/x/1.0.0/new"}),
    ));
}

#[test]
fn n7_a_download_of_a_root_holds_what_the_key_may_see() {
    let server = server();
    let of_a = key(&server, &["@a"], ALL);
    let packed = unzipped(&read(&server, &of_a, "download", "apps").body);
    assert_eq!(packed.len(), 3);
    assert!(
        packed.keys().all(|name| name.contains("@a/x/1.0.0/")),
        "{:?}",
        packed.keys()
    );
    let packed = unzipped(&read(&server, ROOT, "download", "apps").body);
    assert_eq!(packed.len(), 7);
}

#[test]
fn n8_lists_show_no_trace_of_others() {
    let server = server();
    let of_a = key(&server, &["@a"], ALL);
    let lists = || -> Vec<Value> {
        ["", "apps", "apps/@a"]
            .iter()
            .map(|path| fine(&read(&server, &of_a, "list", path)))
            .collect()
    };
    let before = lists();
    assert_eq!(before[0]["entries"][0]["files"], 3);
    assert_eq!(before[1]["entries"].as_array().unwrap().len(), 1);
    for file in [
        "@b/secret/1.0.0/more",
        "@b/new/1.0.0/index.html",
        "other/1.0.0/index.html",
    ] {
        let path = server.dir().join("apps").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "12345").unwrap();
    }
    assert_eq!(lists(), before);
    let plugins = key(&server, &["@a"], &["plugins:read"]);
    let listed = ask(
        &server,
        &plugins,
        "GET",
        "/api/plugins/files/list?path=plugins",
        None,
    );
    let entries = fine(&listed)["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["name"], "@a");
}

#[test]
fn n10_the_folder_decides_whatever_a_manifest_says() {
    let server = server();
    let manifest = server.dir().join("apps/@a/x/1.0.0/manifest.yaml");
    fs::write(&manifest, "name: '@b/x'\nentrypoint: index.html\n").unwrap();
    let of_a = key(&server, &["@a"], ALL);
    let of_b = key(&server, &["@b"], ALL);
    let path = "apps/@a/x/1.0.0/index.html";
    assert_eq!(read(&server, &of_a, "download", path).status, 200);
    failed(
        &read(&server, &of_b, "download", path),
        403,
        "NAMESPACE_DENIED",
    );
    let body = json!({"path": path});
    failed(
        &change(&server, &of_b, "delete", body),
        403,
        "NAMESPACE_DENIED",
    );
    assert!(server.dir().join(path).exists());
}
