//! What there is, and what is done to it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buntime_testkit::TestServer;
use buntime_testkit::process::ProcessId;

use super::support::{Apps as _, ROOT, STAYS, api, builder, listed, root, worker};

/// The process of a worker, as the machine knows it.
#[track_caller]
fn process(server: &TestServer, worker: &str) -> ProcessId {
    server.process_of(worker).unwrap()
}

#[test]
fn a_list_shows_each_worker_with_what_its_processes_do() {
    let server = builder()
        .with_app("shop/1.0.0")
        .with_app("shop/2.0.0")
        .with_app("@acme/cart@1.0.0")
        .app("site", "entrypoint: index.html\n", &[("index.html", "<p>")])
        .app("off/1.0.0", "enabled: false\n", &[])
        .app("bad/1.0.0", "ttl: [\n", &[])
        .start();
    let process = process(&server, &worker(&server, "/shop@1/"));
    let list = root(&server, "GET", "/workers").json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["@acme/cart", "bad", "off", "shop", "site"]);

    let shop = listed(&server, "shop");
    assert_eq!(shop["path"], "apps/shop/2.0.0");
    assert_eq!(shop["source"], "uploaded");
    assert_eq!(shop["removable"], true);
    assert_eq!(shop["versions"], serde_json::json!(["2.0.0", "1.0.0"]));
    assert_eq!(shop["disabledVersions"], serde_json::json!([]));
    let live = &shop["live"];
    assert_eq!(
        (&live["status"], &live["requests"]),
        (&"idle".into(), &1.into())
    );
    let instance = &live["instances"][0];
    assert_eq!(instance["pid"], process.pid);
    assert_eq!(instance["version"], "1.0.0");
    assert_eq!(instance["requests"], 1);
    assert!(instance["memoryBytes"].as_u64().unwrap() > 1 << 20);
    assert!(instance["startedAt"].as_str().unwrap().ends_with('Z'));
    worker(&server, "/shop/");
    assert_eq!(listed(&server, "shop")["live"]["status"], "running");

    for (name, status) in [("site", "static"), ("off", "disabled"), ("bad", "broken")] {
        assert_eq!(listed(&server, name)["live"]["status"], status, "{name}");
    }
    let off = listed(&server, "off");
    assert_eq!(off["versions"], off["disabledVersions"]);
}

#[test]
fn d9_a_disabled_version_is_gone_with_its_process_and_comes_back() {
    let server = builder()
        .with_app("shop/1.0.0")
        .with_app("shop/2.0.0")
        .start();
    let first = worker(&server, "/shop/");
    let process = process(&server, &first);
    root(&server, "POST", "/workers/_/shop/2.0.0/disable");
    assert_eq!(server.get("/shop@2.0.0/").status, 404);
    let other = worker(&server, "/shop/");
    assert_ne!(other, first);
    server.wait_until("the worker is gone", || !process.is_alive());
    let shop = listed(&server, "shop");
    assert_eq!(shop["disabledVersions"], serde_json::json!(["2.0.0"]));
    // The other version is not touched by any of it.
    root(&server, "POST", "/workers/_/shop/2.0.0/enable");
    assert_ne!(worker(&server, "/shop/"), other);
    assert_eq!(worker(&server, "/shop@1.0.0/"), other);
}

#[test]
fn a_version_that_its_manifest_disables_can_be_enabled() {
    let off = format!("{STAYS}enabled: false\n");
    let source = [("index.ts", "export default () => new Response('on')")];
    let server = builder().app("shop/1.0.0", &off, &source).start();
    assert_eq!(server.get("/shop/").status, 404);
    root(&server, "POST", "/workers/_/shop/1.0.0/enable");
    assert_eq!(server.get("/shop/").text(), "on");
}

#[test]
fn what_was_said_of_a_version_outlives_the_server_and_not_the_version() {
    let state = tempfile::tempdir().unwrap();
    // A root whose name starts with a dot would be built-in.
    let apps = state.path().join("apps");
    let dir = apps.join("shop/1.0.0");
    let place = || {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("index.html"), "<p>").unwrap();
        fs::write(dir.join("manifest.yaml"), "entrypoint: index.html\n").unwrap();
    };
    let start = || {
        builder()
            .env(
                "RUNTIME_STATE_DIR",
                state.path().join("state").to_str().unwrap(),
            )
            .env("RUNTIME_WORKER_DIRS", apps.to_str().unwrap())
            .start()
    };
    place();
    let server = start();
    assert_eq!(server.get("/shop/").status, 200);
    root(&server, "POST", "/workers/_/shop/1.0.0/disable");
    drop(server);
    let server = start();
    assert_eq!(server.get("/shop/").status, 404);
    root(&server, "DELETE", "/workers/_/shop/1.0.0");
    place();
    server.wait_until("it is found anew", || server.get("/shop/").status == 200);
    drop(server);
    assert_eq!(start().get("/shop/").status, 200);
}

#[test]
fn d7_what_is_removed_finishes_its_requests_and_is_not_found_later() {
    let server = builder()
        .with_app("shop/1.0.0")
        .with_app("shop/2.0.0")
        .start();
    let first = worker(&server, "/shop/");
    let process = process(&server, &first);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/shop/slow?ms=1500"));
        server.wait_for_log(|line| line.message() == "slow begins");
        let removed = root(&server, "DELETE", "/workers/_/shop/2.0.0").json();
        assert_eq!(removed["data"]["versions"], serde_json::json!(["2.0.0"]));
        assert_eq!(server.get("/shop@2.0.0/").status, 404);
        assert!(!server.dir().join("apps/shop/2.0.0").exists());
        assert!(process.is_alive(), "its request is under way");
        let answer = slow.join().unwrap();
        assert_eq!((answer.status, answer.text()), (200, first));
    });
    server.wait_until("the worker is gone", || !process.is_alive());
    worker(&server, "/shop/");
    root(&server, "DELETE", "/workers/_/shop");
    assert_eq!(server.get("/shop/").status, 404);
    let again = api(&server, ROOT, "DELETE", "/workers/_/shop");
    assert_eq!(
        (again.status, again.error_code()),
        (404, "WORKER_NOT_FOUND".into())
    );
    assert!(!server.dir().join("apps/shop").exists());
}

#[test]
fn d5_a_folder_removed_by_hand_is_noticed_and_its_worker_ends() {
    let server = builder().with_app("shop/1.0.0").start();
    let process = process(&server, &worker(&server, "/shop/"));
    fs::remove_dir_all(server.dir().join("apps/shop")).unwrap();
    server.wait_until("it is not found", || server.get("/shop/").status == 404);
    server.wait_until("the worker is gone", || !process.is_alive());
    let list = root(&server, "GET", "/workers").json();
    assert_eq!(list, serde_json::json!([]));
    let again = api(&server, ROOT, "DELETE", "/workers/_/shop/1.0.0");
    assert_eq!(again.error_code(), "WORKER_NOT_FOUND");
}

#[test]
fn d8_restarts_under_load_fail_no_request_and_take_effect_at_once() {
    let server = builder().with_app("shop/1.0.0").start();
    worker(&server, "/shop/");
    let is_over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    let mut served = 0_u32;
                    while !is_over.load(Ordering::Relaxed) {
                        let response = connection.get("/shop/");
                        assert_eq!(response.status, 200, "{}", response.text());
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        let mut before = Vec::new();
        for _ in 0..5 {
            before.push(worker(&server, "/shop/"));
            root(&server, "POST", "/workers/_/shop/1.0.0/restart");
            let now = worker(&server, "/shop/");
            assert!(!before.contains(&now), "{now} is older than the restart");
        }
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
}

#[test]
fn a_restart_ends_the_wait_of_a_crash_loop() {
    let server = builder()
        .app("bad/1.0.0", STAYS, &[("index.ts", "throw new Error('no')")])
        .start();
    server.wait_until("it is left alone", || {
        server.get("/bad/").error_code() == "WORKER_CRASH_LOOP"
    });
    let live = listed(&server, "bad")["live"].clone();
    assert_eq!(live["status"], "crash-loop");
    assert!(live["crashLoop"]["retryAfterMs"].as_u64().unwrap() > 0);
    assert_eq!(live["lastExit"]["reason"], "start-failed");
    root(&server, "POST", "/workers/_/bad/1.0.0/restart");
    assert_eq!(server.get("/bad/").error_code(), "WORKER_START_FAILED");
}

#[test]
fn built_in_workers_can_be_disabled_and_not_removed() {
    let builder = builder();
    let core = builder.dir().join(".core/panel/1.0.0");
    fs::create_dir_all(&core).unwrap();
    fs::write(core.join("manifest.yaml"), "entrypoint: index.html\n").unwrap();
    fs::write(core.join("index.html"), "<p>").unwrap();
    let roots = ["apps", ".core"].map(|root| builder.dir().join(root).display().to_string());
    let server = builder.env("RUNTIME_WORKER_DIRS", &roots.join(":")).start();
    let panel = listed(&server, "panel");
    assert_eq!(
        (&panel["source"], &panel["removable"]),
        (&"built-in".into(), &false.into())
    );
    for path in ["/workers/_/panel", "/workers/_/panel/1.0.0"] {
        let refused = api(&server, ROOT, "DELETE", path);
        assert_eq!(refused.status, 403);
        assert_eq!(refused.error_code(), "BUILT_IN_WORKER_REMOVE_FORBIDDEN");
    }
    assert_eq!(server.get("/panel/").status, 200);
    root(&server, "POST", "/workers/_/panel/1.0.0/disable");
    assert_eq!(server.get("/panel/").status, 404);
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = builder()
        .with_app("shop/1.0.0")
        .app("off/1.0.0", "enabled: false\n", &[])
        .start();
    for (method, path) in [
        ("DELETE", "/workers/_/none"),
        ("DELETE", "/workers/_/shop/2.0.0"),
        ("DELETE", "/workers/@acme/shop"),
        ("POST", "/workers/_/shop/2.0.0/enable"),
        ("POST", "/workers/_/shop/x/disable"),
        ("POST", "/workers/_/none/1.0.0/restart"),
        ("GET", "/workers/_/none/logs"),
    ] {
        let refused = api(&server, ROOT, method, path);
        let said = (refused.status, refused.error_code());
        assert_eq!(said, (404, "WORKER_NOT_FOUND".into()), "{method} {path}");
    }
    let disabled = api(&server, ROOT, "POST", "/workers/_/off/1.0.0/restart");
    assert_eq!(
        (disabled.status, disabled.error_code()),
        (409, "WORKER_DISABLED".into())
    );
}

#[test]
fn d9_an_endless_response_of_a_disabled_app_ends_within_its_timeout() {
    let source = r#"
        export default () => new Response(new ReadableStream({
          start(controller) { controller.enqueue(process.env.WORKER_ID); },
        }));
    "#;
    let manifest = "ttl: 1h\ntimeout: 2s\n";
    let server = builder()
        .app("stream/1.0.0", manifest, &[("index.ts", source)])
        .start();
    let mut connection = server.connect();
    connection.send(b"GET /stream/ HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(connection.head("GET").unwrap().status, 200);
    let process = connection.chunk(&mut Vec::new()).unwrap();
    let process = self::process(&server, std::str::from_utf8(&process).unwrap());
    root(&server, "POST", "/workers/_/stream/1.0.0/disable");
    let began = std::time::Instant::now();
    server.wait_until("the worker is gone", || !process.is_alive());
    assert!(began.elapsed() < Duration::from_secs(10));
    let _ = connection.read_to_end();
}
