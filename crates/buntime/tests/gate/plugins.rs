//! Routes about plugins.

use std::fs;
use std::path::Path;

use buntime_testkit::api::{ask_text, failed, form, send_form};
use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Builder, Response, TestServer};

const KEY: &str = "0123456789abcdef-root";
const AUTH: &str =
    "name: '@acme/auth'\nbase: /auth\nmenus: [{title: Auth, path: /auth/, icon: lock}]\n";
const TAKEN: &str = "name: taken\nbase: /auth\nenabled: false\n";
const PLAIN: &str = "name: plain\nenabled: false\nflag: true\n";

fn install(dir: &Path) {
    for (folder, manifest) in [
        ("plugins/@acme/auth", AUTH),
        ("plugins/taken", TAKEN),
        (".core/plain", PLAIN),
    ] {
        let dir = dir.join(folder);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("manifest.yaml"), manifest).unwrap();
        fs::write(dir.join("plugin.ts"), "export default {};").unwrap();
    }
}

/// With the plugins that lie below `dir`.
fn serve(builder: Builder, dir: &Path) -> TestServer {
    let roots = format!("{0}/plugins:{0}/.core", dir.display());
    builder
        .env("RUNTIME_PLUGIN_DIRS", &roots)
        .env("RUNTIME_ROOT_KEY", KEY)
        .start()
}

fn server() -> TestServer {
    let builder = TestServer::builder(env!("CARGO_BIN_EXE_buntime"));
    let dir = builder.dir().to_path_buf();
    install(&dir);
    serve(builder, &dir)
}

fn ask(server: &TestServer, method: &str, path: &str) -> Response {
    let headers = [("Host", "a"), ("X-API-Key", KEY)];
    server.connect().request(method, path, &headers, b"")
}

#[test]
fn plugins_are_listed_with_what_can_be_done_to_them() {
    let server = server();
    let list = ask(&server, "GET", "/api/plugins").json();
    assert_eq!(
        list,
        serde_json::json!([
            {"name": "plain", "path": ".core/plain", "source": "built-in", "removable": false, "enabled": false},
            {"name": "@acme/auth", "path": "plugins/@acme/auth", "base": "/auth", "source": "uploaded", "removable": true, "enabled": true},
            {"name": "taken", "path": "plugins/taken", "base": "/auth", "source": "uploaded", "removable": true, "enabled": false},
        ])
    );
    let loaded = ask(&server, "GET", "/api/plugins/loaded").json();
    assert_eq!(
        loaded,
        serde_json::json!([{
            "name": "@acme/auth", "base": "/auth", "dependencies": [], "optionalDependencies": [],
            "menus": [{"title": "Auth", "path": "/auth/", "icon": "lock"}],
        }])
    );
}

#[test]
fn n11_nothing_of_plugins_is_told_without_a_key() {
    let server = server();
    for path in ["/api/plugins", "/api/plugins/loaded", "/api/plugins/reload"] {
        let response = server.get(path);
        assert_eq!(
            (response.status, response.error_code().as_str()),
            (401, "AUTH_REQUIRED")
        );
    }
}

#[test]
fn a_reload_takes_all_plugins_or_none() {
    let server = server();
    let plugins = server.dir().join("plugins");
    let names = || {
        let list = ask(&server, "GET", "/api/plugins").json();
        let names = list.as_array().unwrap().iter();
        names
            .map(|view| view["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let add = |folder: &str, manifest: &str| {
        fs::create_dir_all(plugins.join(folder)).unwrap();
        fs::write(plugins.join(folder).join("manifest.yaml"), manifest).unwrap();
    };
    let before = names();
    add("good", "name: good\n");
    for (folder, manifest, says) in [
        (
            "bad",
            "name: bad\nbase: /api\n",
            "cannot use reserved path \"/api\"",
        ),
        (
            "bad",
            "name: bad\nbase: /a/b\n",
            "has invalid base path \"/a/b\"",
        ),
        ("bad", "name: [\n", "cannot be loaded"),
        ("bad", "name: bad\nbase: /auth\n", "cannot be loaded"),
    ] {
        add(folder, manifest);
        let response = ask(&server, "POST", "/api/plugins/reload");
        assert_eq!(response.status, 409, "{}", response.text());
        assert_eq!(response.error_code(), "PLUGIN_RELOAD_FAILED");
        assert!(
            response.text().contains(&says.replace('"', "\\\"")),
            "{}",
            response.text()
        );
        assert!(!response.text().contains(&*plugins.to_string_lossy()));
        assert_eq!(names(), before);
    }
    fs::remove_dir_all(plugins.join("bad")).unwrap();
    let response = ask(&server, "POST", "/api/plugins/reload");
    assert_eq!(response.json()["data"]["plugins"], 4, "{}", response.text());
    assert_eq!(names(), ["plain", "@acme/auth", "good", "taken"]);
}

#[test]
fn a_plugin_is_removed_at_once_and_a_built_in_one_never() {
    let server = server();
    for (path, status, code) in [
        (
            "/api/plugins/plain",
            403,
            "BUILT_IN_PLUGIN_REMOVE_FORBIDDEN",
        ),
        ("/api/plugins/nothing", 404, "PLUGIN_NOT_FOUND"),
        ("/api/plugins/@acme%2fnothing", 404, "PLUGIN_NOT_FOUND"),
        ("/api/plugins/@acme%2f..", 404, "NOT_FOUND"),
        ("/api/plugins/%2e%2e", 400, "BAD_PATH"),
    ] {
        let response = ask(&server, "DELETE", path);
        assert_eq!(
            (response.status, response.error_code().as_str()),
            (status, code),
            "{path}"
        );
    }
    let response = ask(&server, "DELETE", "/api/plugins/@acme%2Fauth");
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(!server.dir().join("plugins/@acme/auth").exists());
    let list = ask(&server, "GET", "/api/plugins").json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        ask(&server, "DELETE", "/api/plugins/@acme%2fauth").status,
        404
    );
}

#[test]
fn the_operators_word_on_a_plugin_outlives_the_server_and_not_the_plugin() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path());
    let start = || {
        let state = dir.path().join("state");
        let builder = TestServer::builder(env!("CARGO_BIN_EXE_buntime"));
        let builder = builder.env("RUNTIME_STATE_DIR", state.to_str().unwrap());
        serve(builder, dir.path())
    };
    let server = start();
    let enabled = |server: &TestServer| {
        let list = ask(server, "GET", "/api/plugins/loaded").json();
        let names = list.as_array().unwrap().iter();
        names
            .map(|view| view["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(enabled(&server), ["@acme/auth"]);
    // Its base belongs to another plugin that is enabled.
    let taken = ask(&server, "POST", "/api/plugins/taken/enable");
    assert_eq!(
        (taken.status, taken.error_code().as_str()),
        (409, "PLUGIN_RELOAD_FAILED")
    );
    assert_eq!(enabled(&server), ["@acme/auth"]);
    for path in [
        "/api/plugins/@acme%2Fauth/disable",
        "/api/plugins/taken/enable",
        "/api/plugins/plain/enable",
    ] {
        assert_eq!(ask(&server, "POST", path).status, 200, "{path}");
    }
    assert_eq!(
        ask(&server, "POST", "/api/plugins/nothing/enable").status,
        404
    );
    assert_eq!(enabled(&server), ["plain", "taken"]);
    drop(server);
    let server = start();
    assert_eq!(enabled(&server), ["plain", "taken"]);
    assert_eq!(ask(&server, "DELETE", "/api/plugins/taken").status, 200);
    assert_eq!(enabled(&server), ["plain"]);
    let taken = dir.path().join("plugins/taken");
    fs::create_dir_all(&taken).unwrap();
    fs::write(taken.join("manifest.yaml"), TAKEN).unwrap();
    assert_eq!(ask(&server, "POST", "/api/plugins/reload").status, 200);
    assert_eq!(enabled(&server), ["plain"]);
}

#[test]
fn n11_n12_a_key_of_one_namespace_sees_and_reloads_no_more_than_that() {
    let server = server();
    let key = |namespace: &str| {
        let body =
            format!(r#"{{"name":"of {namespace}","role":"editor","namespaces":["{namespace}"]}}"#);
        let headers = [
            ("Host", "a"),
            ("X-API-Key", KEY),
            ("Content-Type", "application/json"),
        ];
        let made = server
            .connect()
            .request("POST", "/api/keys", &headers, body.as_bytes());
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["key"].as_str().unwrap().to_owned()
    };
    let (of_acme, of_other) = (key("@acme"), key("@other"));
    let ask = |key: &str, method: &str, path: &str| {
        let headers = [("Host", "a"), ("X-API-Key", key)];
        server.connect().request(method, path, &headers, b"")
    };
    for (key, seen) in [(&of_acme, 1), (&of_other, 0)] {
        for path in ["/api/plugins", "/api/plugins/loaded"] {
            let list = ask(key, "GET", path).json();
            assert_eq!(list.as_array().unwrap().len(), seen, "{path}");
        }
        let reload = ask(key, "POST", "/api/plugins/reload");
        assert_eq!(
            (reload.status, reload.error_code().as_str()),
            (403, "NAMESPACE_DENIED")
        );
    }
    for path in [
        "/api/plugins/@acme%2fauth",
        "/api/plugins/@acme%2fnothing",
        "/api/plugins/plain",
    ] {
        for (method, path) in [
            ("DELETE", path.to_owned()),
            ("POST", format!("{path}/enable")),
            ("POST", format!("{path}/disable")),
        ] {
            // Editors may not remove in other namespaces, nor learn what is there.
            let denied = ask(&of_other, method, &path);
            assert_eq!(denied.error_code(), "NAMESPACE_DENIED", "{method} {path}");
        }
    }
    assert_eq!(
        ask(&of_acme, "DELETE", "/api/plugins/@acme%2fauth").status,
        200
    );
}

#[test]
fn whoever_enables_a_plugin_learns_nothing_of_those_of_others() {
    let server = server();
    let body = r#"{"name": "b", "role": "admin", "namespaces": ["@acme"]}"#;
    let headers = [("X-API-Key", KEY), ("Content-Type", "application/json")];
    let made = server
        .connect()
        .request("POST", "/api/keys", &headers, body.as_bytes());
    let key = made.json()["data"]["key"].as_str().unwrap().to_owned();
    let enable = || {
        let headers = [("X-API-Key", &*key)];
        let path = "/api/plugins/@acme%2Fauth/enable";
        server.connect().request("POST", path, &headers, b"")
    };
    assert_eq!(enable().status, 200);
    let folder = server.dir().join("plugins/@other/secret");
    fs::create_dir_all(&folder).unwrap();
    let mut told = Vec::new();
    for manifest in [
        "name: '@other/secret'\nbase: /api\n",
        "name: '@other/secret'\nbase: /auth\n",
        "name: [\n",
    ] {
        fs::write(folder.join("manifest.yaml"), manifest).unwrap();
        let response = enable();
        assert_eq!(response.error_code(), "PLUGIN_RELOAD_FAILED");
        told.push(response.json()["error"]["message"].clone());
        // The operator is told.
        let response = ask(&server, "POST", "/api/plugins/@acme%2Fauth/enable");
        let message = response.json()["error"]["message"].clone();
        assert!(told.last() != Some(&message), "{message}");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].to_string().contains("secret"), "{told:?}");
    // One's own mistakes are told.
    let own = server.dir().join("plugins/@acme/auth/manifest.yaml");
    fs::write(own, "name: '@acme/auth'\nbase: /a/b\n").unwrap();
    let message = enable().json()["error"]["message"].to_string();
    assert!(
        message.contains("/a/b") && !message.contains("secret"),
        "{message}"
    );
}

/// Sends a page as version 1.0.0 of a worker.
fn deploy(server: &TestServer, name: &str) -> Response {
    let package = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}");
    let archive = forge(
        Format::TarGz,
        &[
            Entry::file("package.json", package),
            Entry::file("index.html", "page"),
        ],
    );
    let body = form(&[("file", Some("a.tgz"), &archive)]);
    send_form(server, KEY, "/api/workers/upload", &body)
}

#[test]
fn no_worker_is_deployed_to_the_path_of_a_plugin() {
    let server = server();
    for (name, status) in [("auth", 409), ("auth2", 200), ("@x/auth", 200)] {
        let response = deploy(&server, name);
        assert_eq!(response.status, status, "{name} {}", response.text());
        if status == 409 {
            assert_eq!(response.error_code(), "WORKER_COLLISION");
        }
    }
}

#[test]
fn no_worker_is_rolled_back_to_the_path_that_a_plugin_has_now() {
    let server = server();
    assert_eq!(
        ask(&server, "POST", "/api/plugins/@acme%2Fauth/disable").status,
        200
    );
    assert_eq!(deploy(&server, "auth").status, 200);
    assert_eq!(server.get("/auth/").text(), "page");
    // While the worker is there, the plugin does not get its base back.
    let enable = || ask(&server, "POST", "/api/plugins/@acme%2Fauth/enable");
    assert_eq!(enable().error_code(), "PLUGIN_RELOAD_FAILED");
    assert_eq!(ask(&server, "DELETE", "/api/workers/_/auth").status, 200);
    assert_eq!(enable().status, 200);
    let back = ask_text(
        &server,
        KEY,
        "POST",
        "/api/workers/_/auth/rollback",
        "{\"release\": 1}",
    );
    failed(&back, 409, "WORKER_COLLISION");
    assert_eq!(server.get("/auth/").status, 404);
    assert_eq!(ask(&server, "POST", "/api/plugins/reload").status, 200);
}

#[test]
fn a_worker_placed_by_hand_takes_no_plugin_away() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path());
    let start = || {
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(dir.path().join("apps")).unwrap();
        let builder = TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
            .env("RUNTIME_WORKER_DIRS", &path("apps"))
            .env("RUNTIME_STATE_DIR", &path("state"));
        serve(builder, dir.path())
    };
    let enabled = |server: &TestServer| {
        let list = ask(server, "GET", "/api/plugins/loaded").json();
        list.as_array().unwrap().len()
    };
    let server = start();
    let worker = dir.path().join("apps/auth/1.0.0");
    fs::create_dir_all(&worker).unwrap();
    fs::write(worker.join("index.html"), "page").unwrap();
    fs::write(worker.join("manifest.yaml"), "entrypoint: index.html\n").unwrap();
    server.wait_until("the worker is found", || {
        server.get("/auth/").text() == "page"
    });
    // The plugin was there first: it stays, with a warning each time.
    for _ in 0..2 {
        let reload = ask(&server, "POST", "/api/plugins/reload");
        assert_eq!(reload.status, 200, "{}", reload.text());
        assert_eq!(enabled(&server), 1);
    }
    let line = server.wait_for_log(|line| {
        line.message()
            .contains("the worker \"auth\" has the path of plugin \"@acme/auth\"")
    });
    assert_eq!(line.level(), "warn");
    drop(server);
    // At a start nobody is first. No base shadows a worker: the plugin is disabled, the
    // server starts, and reloads go on as long as that is all that is wrong.
    let server = start();
    let line = server.wait_for_log(|line| {
        line.message()
            .contains("base \"/auth\" already belongs to the worker \"auth\"")
    });
    assert_eq!(line.level(), "error");
    let reload = || ask(&server, "POST", "/api/plugins/reload");
    assert_eq!(reload().status, 200);
    assert_eq!(enabled(&server), 0);
    let bad = dir.path().join("plugins/bad");
    fs::create_dir_all(&bad).unwrap();
    fs::write(bad.join("manifest.yaml"), "name: [\n").unwrap();
    assert_eq!(reload().error_code(), "PLUGIN_RELOAD_FAILED");
    fs::remove_dir_all(&bad).unwrap();
    // With the worker gone the plugin comes back.
    fs::remove_dir_all(dir.path().join("apps/auth")).unwrap();
    server.wait_until("the worker is gone", || {
        ask(&server, "GET", "/api/workers").json() == serde_json::json!([])
    });
    assert_eq!(reload().status, 200);
    assert_eq!(enabled(&server), 1);
}
