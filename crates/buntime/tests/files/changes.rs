//! Making, removing, renaming, moving.

use std::fs;

use serde_json::json;

use super::support::*;

#[test]
fn f4_names_that_are_none_are_refused() {
    let server = server();
    let before = roots(&server);
    let long = "x".repeat(300);
    for name in [
        "../x", "a/b", "", ".", "..", "a\0b", &long, "a\nb", "a\\b", ".git",
    ] {
        let body = json!({"path": "apps/echo/1.0.0/index.html", "newName": name});
        failed(&change(&server, ROOT, "rename", body), 400, "BAD_NAME");
    }
    assert_eq!(roots(&server), before);
}

#[test]
fn f5_roots_are_not_removed_renamed_or_moved() {
    let server = server();
    let before = roots(&server);
    for path in ["apps//", "apps/", "apps/.", "/", "", "apps"] {
        let body = json!({"path": path});
        failed(
            &change(&server, ROOT, "delete", body),
            400,
            "CANNOT_DELETE_ROOT",
        );
        let body = json!({"paths": ["apps/echo", path]});
        failed(
            &change(&server, ROOT, "delete-batch", body),
            400,
            "CANNOT_DELETE_ROOT",
        );
        let body = json!({"path": path, "newName": "other"});
        failed(
            &change(&server, ROOT, "rename", body),
            400,
            "CANNOT_RENAME_ROOT",
        );
        let body = json!({"path": path, "destPath": "apps/echo/1.0.0"});
        failed(
            &change(&server, ROOT, "move", body),
            400,
            "CANNOT_MOVE_ROOT",
        );
        let body = json!({"path": path});
        failed(
            &change(&server, ROOT, "mkdir", body),
            400,
            "UPLOAD_TARGET_INVALID",
        );
    }
    assert_eq!(roots(&server), before);
}

#[test]
fn f6_each_verb_asks_for_its_own_permission() {
    let server = server();
    let before = roots(&server);
    let reads = key(&server, &["*"], &["workers:read"]);
    let installs = key(&server, &["*"], &["workers:install"]);
    let removes = key(&server, &["*"], &["workers:remove"]);
    let of_plugins = key(
        &server,
        &["*"],
        &["plugins:read", "plugins:install", "plugins:remove"],
    );
    let one = json!({"path": "apps/echo/1.0.0/index.html"});
    let two = json!({"paths": ["apps/echo/1.0.0/index.html"]});
    for (verb, body, without) in [
        ("delete-batch", &two, [&reads, &installs, &of_plugins]),
        ("delete", &one, [&reads, &installs, &of_plugins]),
        ("mkdir", &one, [&reads, &removes, &of_plugins]),
        ("rename", &one, [&reads, &removes, &of_plugins]),
        ("move", &one, [&reads, &removes, &of_plugins]),
        ("move-batch", &two, [&reads, &removes, &of_plugins]),
        ("upload", &one, [&reads, &removes, &of_plugins]),
    ] {
        for key in without {
            failed(
                &change(&server, key, verb, body.clone()),
                403,
                "PERMISSION_DENIED",
            );
        }
    }
    for verb in ["list", "download", "download-batch", "refresh"] {
        for key in [&installs, &removes, &of_plugins] {
            failed(&read(&server, key, verb, "apps"), 403, "PERMISSION_DENIED");
        }
    }
    assert_eq!(names(&server, &reads, ""), ["apps"]);
    assert_eq!(roots(&server), before);
    fine(&change(&server, &removes, "delete-batch", two));
    fine(&change(
        &server,
        &installs,
        "mkdir",
        json!({"path": "apps/echo/1.0.0/new"}),
    ));
}

#[test]
fn what_is_changed_is_served_by_the_next_request() {
    let server = server();
    assert!(server.get("/echo/").text().contains("<title>echo</title>"));
    let rename = json!({"path": "apps/echo/1.0.0", "newName": "2.0.0"});
    fine(&change(&server, ROOT, "rename", rename));
    assert_eq!(server.get("/echo@1.0.0/").status, 404);
    assert_eq!(server.get("/echo@2.0.0/").status, 200);
    let new = b"<title>new</title>";
    let sent = upload(
        &server,
        ROOT,
        "apps/echo/2.0.0",
        &[("index.html", new)],
        &[],
    );
    assert_eq!(fine(&sent)["files"], 1);
    assert!(server.get("/echo/").text().contains("<title>new</title>"));
    fine(&change(
        &server,
        ROOT,
        "delete",
        json!({"path": "apps/echo"}),
    ));
    assert_eq!(server.get("/echo/").status, 404);
    assert!(!server.dir().join("apps/echo").exists());
    fine(&ask(
        &server,
        ROOT,
        "POST",
        "/api/workers/files/refresh",
        None,
    ));
    fine(&ask(
        &server,
        ROOT,
        "GET",
        "/api/workers/files/refresh",
        None,
    ));
}

#[test]
fn code_that_was_uploaded_answers_the_next_request() {
    let server = server();
    let code = |word: &str| format!("export default {{ fetch: () => new Response('{word}') }};\n");
    for word in ["first", "second", "third"] {
        let files = [
            ("index.ts", code(word).into_bytes()),
            ("manifest.yaml", b"ttl: 1h\n".to_vec()),
        ];
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| (*name, &**content))
            .collect();
        fine(&upload(&server, ROOT, "apps/fresh/1.0.0", &files, &[]));
        assert_eq!(server.get("/fresh/").text(), word);
    }
}

#[test]
fn files_are_written_inside_units_only() {
    let server = server();
    for path in [
        "apps/new",
        "apps/@new",
        "apps/new/src",
        "apps/api/1.0.0",
        "apps/New/1.0.0",
    ] {
        let made = change(&server, ROOT, "mkdir", json!({"path": path}));
        failed(&made, 400, "UPLOAD_TARGET_INVALID");
        let sent = upload(&server, ROOT, path, &[("a", b"a")], &[]);
        failed(&sent, 400, "UPLOAD_TARGET_INVALID");
        let body = json!({"path": "apps/echo/1.0.0/index.html", "destPath": path});
        failed(
            &change(&server, ROOT, "move", body),
            400,
            "UPLOAD_TARGET_INVALID",
        );
    }
    fine(&change(
        &server,
        ROOT,
        "mkdir",
        json!({"path": "apps/new/1.0.0"}),
    ));
    let again = change(&server, ROOT, "mkdir", json!({"path": "apps/new/1.0.0"}));
    failed(&again, 409, "ALREADY_EXISTS");
    let plugin = |path: &str| {
        let body = json!({"path": path});
        ask(
            &server,
            ROOT,
            "POST",
            "/api/plugins/files/mkdir",
            Some(&body),
        )
    };
    failed(&plugin("plugins/@a"), 400, "UPLOAD_TARGET_INVALID");
    fine(&plugin("plugins/plain/assets"));
    failed(&plugin("apps/echo/1.0.0/x"), 404, "DIR_NOT_FOUND");
}

#[test]
fn protected_units_are_read_only_and_internal_ones_hidden() {
    let server = server();
    let manifest = server.dir().join("apps/echo/1.0.0/manifest.yaml");
    fs::write(&manifest, "entrypoint: index.html\nvisibility: protected\n").unwrap();
    let path = "apps/echo/1.0.0";
    assert_eq!(
        fine(&read(&server, ROOT, "list", path))["currentVisibility"],
        "protected"
    );
    for (verb, body) in [
        ("mkdir", json!({"path": format!("{path}/x")})),
        ("delete", json!({"path": "apps/echo"})),
        ("rename", json!({"path": path, "newName": "2.0.0"})),
        (
            "move",
            json!({"path": format!("{path}/index.html"), "destPath": "apps/@a/x/1.0.0"}),
        ),
    ] {
        failed(&change(&server, ROOT, verb, body), 403, "UNIT_PROTECTED");
    }
    failed(
        &upload(&server, ROOT, path, &[("a", b"a")], &[]),
        403,
        "UNIT_PROTECTED",
    );
    assert_eq!(read(&server, ROOT, "download", path).status, 200);
    fs::write(&manifest, "entrypoint: index.html\nvisibility: internal\n").unwrap();
    failed(&read(&server, ROOT, "list", path), 404, "DIR_NOT_FOUND");
    assert_eq!(names(&server, ROOT, "apps/echo"), [""; 0]);
    // It is served all the same.
    assert_eq!(server.get("/echo/").status, 200);
}

#[test]
fn bodies_of_another_shape_name_the_field() {
    let server = server();
    for (verb, body) in [
        ("mkdir", json!({})),
        ("mkdir", json!({"path": 5})),
        ("mkdir", json!({"path": "a", "more": 1})),
        ("delete-batch", json!({"paths": "apps/echo"})),
        ("rename", json!({"path": "apps/echo"})),
        ("move", json!({"path": "apps/echo", "destPath": null})),
    ] {
        let response = change(&server, ROOT, verb, body.clone());
        failed(&response, 400, "VALIDATION_ERROR");
    }
    failed(
        &change(&server, ROOT, "delete-batch", json!({"paths": []})),
        400,
        "BAD_PATH",
    );
    let many: Vec<String> = (0..1_001).map(|number| format!("apps/x{number}")).collect();
    let response = change(&server, ROOT, "delete-batch", json!({"paths": many}));
    failed(&response, 413, "TOO_MANY_ENTRIES");
}
