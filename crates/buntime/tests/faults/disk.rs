//! Disks that are full or read-only, and too few descriptors (row D4).

use std::fs;
use std::time::{Duration, Instant};

use buntime_testkit::sample::SAMPLE;
use buntime_testkit::{Response, SmallDisk, TestServer};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::server;

const KEPT: &str = "ttl: 1h\n";

#[test]
fn a_full_state_directory_stops_no_worker_that_runs() {
    let Some(disk) = SmallDisk::mount("size=8m,nr_inodes=2000") else {
        return;
    };
    let state = disk.path().join("state");
    let mut builder = server()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .sample("warm@1.0.0", KEPT);
    for number in 0..6 {
        builder = builder.sample(&format!("cold{number}@1.0.0"), KEPT);
    }
    let server = builder.sample("once@1.0.0", "ttl: 0\n").start();
    let probe = server.probe();
    let worker = server.worker("warm");
    disk.fill();
    // Blanks are used up sooner or later; then nothing can be started, and says so.
    let mut failed = 0;
    for number in 0..12 {
        let target = if number < 6 {
            format!("/cold{number}/")
        } else {
            "/once/".to_owned()
        };
        let response = server.get(&target);
        if response.status != 200 {
            assert!([502, 503, 507].contains(&response.status), "{response:?}");
            assert!(!response.error_code().is_empty(), "{response:?}");
            failed += 1;
        }
    }
    assert!(failed > 0, "the disk is not full");
    assert_eq!(server.worker("warm"), worker);
    assert_eq!(server.get("/health").status, 200);
    disk.clear();
    for app in ["cold0", "cold5", "once"] {
        server.wait_until("it recovers", || {
            server.get(&format!("/{app}/")).status == 200
        });
    }
    probe.finish();
}

/// Asks with a key.
fn ask(server: &TestServer, key: &str, method: &str, target: &str, body: &str) -> Response {
    let headers = [("X-API-Key", key)];
    let mut connection = server.connect();
    connection.request(method, target, &headers, body.as_bytes())
}

#[test]
fn d14_with_a_full_disk_keys_are_verified_and_not_changed() {
    let Some(disk) = SmallDisk::mount("size=8m,nr_inodes=2000") else {
        return;
    };
    let state = disk.path().join("state");
    let root = "the-root-key-of-this-test";
    let server = server()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .env("RUNTIME_ROOT_KEY", root)
        .start();
    let viewer = r#"{"name":"a","role":"viewer"}"#;
    let made = ask(&server, root, "POST", "/api/keys", viewer);
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let (id, key) = (made["data"]["id"].as_str(), made["data"]["key"].as_str());
    let (id, key) = (id.unwrap(), key.unwrap());
    disk.fill();
    let of_key = format!("/api/keys/{id}");
    for (method, target, body) in [
        ("POST", "/api/keys", viewer),
        ("POST", &format!("{of_key}/rotate"), ""),
        ("DELETE", &of_key, ""),
    ] {
        let response = ask(&server, root, method, target, body);
        assert_eq!(response.status, 507, "{}", response.text());
        assert_eq!(response.error_code(), "STORAGE_FULL");
    }
    for _ in 0..3 {
        assert_eq!(ask(&server, key, "GET", "/api/keys", "").status, 200);
    }
    assert_eq!(
        ask(&server, root, "GET", "/api/keys", "").json()[0]["id"],
        id
    );
    disk.clear();
    assert_eq!(ask(&server, root, "POST", "/api/keys", viewer).status, 201);
    assert_eq!(ask(&server, root, "DELETE", &of_key, "").status, 200);
    assert_eq!(ask(&server, key, "GET", "/api/keys", "").status, 401);
}

#[test]
fn a_worker_that_meets_a_full_disk_harms_nobody() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let state = disk.path().join("state");
    let source = "import { writeFileSync } from 'node:fs';
      export default { fetch() {
        try {
          writeFileSync(`${process.env.DATA_DIR}/big`, new Uint8Array(64 * 1024 * 1024));
          return new Response('written');
        } catch (error) { return new Response(error.code); }
      } };\n";
    let server = server()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .module("writer@1.0.0", KEPT, source)
        .sample("warm@1.0.0", KEPT)
        .start();
    let probe = server.probe();
    assert_eq!(server.get("/warm/").text(), "ok");
    assert_eq!(server.get("/writer/").text(), "ENOSPC");
    assert_eq!(server.get("/warm/").text(), "ok");
    probe.finish();
}

#[test]
fn d4_apps_are_served_from_a_read_only_disk() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let app = disk.path().join("fixed@1.0.0");
    fs::create_dir(&app).unwrap();
    fs::write(app.join("manifest.yaml"), KEPT).unwrap();
    fs::write(app.join("index.ts"), SAMPLE).unwrap();
    let site = disk.path().join("site@1.0.0");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("manifest.yaml"), "entrypoint: index.html\n").unwrap();
    fs::write(
        site.join("index.html"),
        "<!doctype html><title>fixed</title>",
    )
    .unwrap();
    disk.make_read_only();
    let builder = server();
    let roots = format!(
        "{}:{}",
        builder.dir().join("apps").display(),
        disk.path().display()
    );
    let server = builder.env("RUNTIME_WORKER_DIRS", &roots).start();
    let probe = server.probe();
    assert_eq!(server.get("/fixed/").text(), "ok");
    assert!(server.get("/site/").text().contains("fixed"));
    assert_eq!(server.get("/health/ready").status, 200);
    probe.finish();
}

/// Takes from the server what it needs for new files, or gives it back.
fn limit_descriptors(server: &TestServer, most: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let limit = Rlimit {
        current: Some(most.unwrap_or(1024)),
        maximum: Some(20_000),
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[test]
fn d4_without_descriptors_what_runs_goes_on_and_the_rest_is_told() {
    // More cold apps than there are blank workers, which have a connection already.
    let cold: Vec<String> = (0..8).map(|n| format!("cold{n}")).collect();
    let mut builder = server().sample("warm@1.0.0", KEPT);
    for name in &cold {
        builder = builder.sample(&format!("{name}@1.0.0"), KEPT);
    }
    let server = builder.start();
    let mut connection = server.connect();
    // A connection of the client and one to the worker, both kept.
    assert_eq!(connection.get("/warm/").text(), "ok");
    let mut others: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for other in &mut others {
        assert_eq!(other.get("/health").status, 200);
    }
    limit_descriptors(&server, Some(3));
    // Connections that cannot be accepted wait; the loop that accepts survives them.
    let mut waiting: Vec<_> = (0..20).map(|_| server.begin("/health")).collect();
    let begun = Instant::now();
    // Long enough for several looks at the folders, which cannot be opened now.
    while begun.elapsed() < Duration::from_secs(3) {
        let response = connection.get("/warm/");
        assert_eq!(response.text(), "ok", "{response:?}");
        assert_eq!(connection.get("/health").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut told = 0;
    for (n, name) in cold.iter().enumerate() {
        let response = others[n % 2].get(&format!("/{name}/"));
        if response.status != 200 {
            assert!([502, 503, 504].contains(&response.status), "{response:?}");
            assert!(!response.error_code().is_empty(), "{response:?}");
            told += 1;
        }
    }
    assert!(told > 0, "a worker was started without a descriptor");
    limit_descriptors(&server, None);
    for connection in &mut waiting {
        assert_eq!(connection.response_to("GET").status, 200);
    }
    server.wait_until("cold apps start again", || {
        cold.iter()
            .all(|name| server.get(&format!("/{name}/")).status == 200)
    });
    assert_eq!(server.get("/warm/").text(), "ok");
}
