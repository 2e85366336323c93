//! Lines of the audit log, and the page that tells them.

use std::fs;

use buntime_testkit::PATIENCE;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{KEY, ask, ask_as, builder, change, file, lines};

#[test]
fn a1_a_change_leaves_its_line_before_it_is_answered() {
    let server = builder().start();
    let headers = [("X-API-Key", KEY), ("X-Request-Id", "r-1")];
    let response = ask_as(&server, &headers, "POST", "/api/plugins/reload?x=secret");
    assert_eq!(response.status, 200, "{}", response.text());
    let found = lines(&server);
    assert_eq!(found.len(), 1, "{found:?}");
    let line = &found[0];
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    for (field, value) in [
        ("requestId", json!("r-1")),
        ("address", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("path", json!("/api/plugins/reload")),
        ("action", json!("plugin.reload")),
        ("namespaces", json!(["*"])),
        ("status", json!(200)),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert_eq!(line["key"]["id"], "root");
    // Looking leaves none.
    assert_eq!(ask(&server, "GET", "/api/plugins").status, 200);
    assert_eq!(ask(&server, "GET", "/api/audit").status, 200);
    assert_eq!(lines(&server).len(), 1);
}

#[test]
fn the_page_tells_the_newest_first() {
    let server = builder().start();
    for n in 0..5 {
        let id = format!("r-{n}");
        let headers = [("X-API-Key", KEY), ("X-Request-Id", id.as_str())];
        ask_as(&server, &headers, "POST", "/api/plugins/reload");
    }
    let mut ids = Vec::new();
    let mut next = Value::from("");
    while let Some(cursor) = next.as_str() {
        let more = if cursor.is_empty() { "" } else { "&cursor=" };
        let target = format!("/api/audit?limit=2&action=plugin{more}{cursor}");
        let page = ask(&server, "GET", &target);
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json()["data"].clone();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 2);
        ids.extend(entries.iter().map(|entry| entry["requestId"].clone()));
        next = page["nextCursor"].clone();
    }
    assert_eq!(ids, ["r-4", "r-3", "r-2", "r-1", "r-0"]);
    for (query, ids) in [
        ("key=root&limit=1", 1),
        ("key=other", 0),
        ("action=plugin.reload", 5),
        ("action=plug", 0),
        ("until=2001-01-01", 0),
        ("since=2001-01-01T00:00:00Z", 5),
        ("target=x", 0),
    ] {
        let page = ask(&server, "GET", &format!("/api/audit?{query}")).json();
        assert_eq!(
            page["data"]["entries"].as_array().unwrap().len(),
            ids,
            "{query}"
        );
    }
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "since=today",
        "until=1&until=2",
    ] {
        let response = ask(&server, "GET", &format!("/api/audit?{bad}"));
        assert_eq!(response.status, 400, "{bad}");
    }
    assert_eq!(server.get("/api/audit").status, 401);
}

#[test]
fn a3_without_its_file_nothing_changes_and_reading_goes_on() {
    let server = builder().start();
    assert_eq!(change(&server).status, 200);
    let file = file(&server);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    for _ in 0..2 {
        let refused = change(&server);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.error_code(), "AUDIT_UNAVAILABLE");
    }
    for target in ["/api/plugins", "/api/audit", "/api/metrics", "/api/health"] {
        assert_eq!(ask(&server, "GET", target).status, 200, "{target}");
    }
    let metrics = ask(&server, "GET", "/api/metrics").text();
    assert!(metrics.contains("\nbuntime_audit_available 0\n"));
    assert!(metrics.contains("\nbuntime_audit_failures_total 2\n"));
    fs::remove_dir(&file).unwrap();
    assert_eq!(change(&server).status, 200);
    assert_eq!(lines(&server).len(), 1, "what was refused has left nothing");
}

#[test]
fn strangers_are_counted_by_address_and_what_they_sent_is_not_kept() {
    let mut server = builder().start();
    let canary = "canary-wrong-0123456789";
    for _ in 0..7 {
        assert_eq!(server.get("/api/plugins").status, 401);
    }
    let wrong = [("X-API-Key", canary)];
    assert_eq!(
        ask_as(&server, &wrong, "POST", "/api/plugins/reload").status,
        401
    );
    // A proxy that is trusted says for whom it asks.
    let proxied = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(ask_as(&server, &proxied, "GET", "/api/nothing").status, 401);
    // CSRF: no Origin.
    assert_eq!(
        ask_as(&server, &[], "POST", "/api/plugins/reload").status,
        403
    );
    assert_eq!(lines(&server), [] as [Value; 0], "no line for each");
    let metrics = ask(&server, "GET", "/api/metrics").text();
    assert!(
        metrics.contains(r#"buntime_refusals_total{code="AUTH_REQUIRED"} 9"#),
        "{metrics}"
    );
    server.signal(Signal::TERM);
    assert!(server.wait_exit(PATIENCE).success());
    let mut found = lines(&server);
    found.sort_by_key(|line| line["address"].to_string());
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["address"], "127.0.0.1");
    assert_eq!(
        found[0]["counts"],
        json!({"AUTH_REQUIRED": 8, "ORIGIN_REQUIRED": 1})
    );
    assert_eq!(found[1]["address"], "203.0.113.9");
    // A4: neither the key that was wrong nor the one that is right.
    let everything = fs::read_to_string(file(&server)).unwrap() + &server.output();
    assert!(!everything.contains("canary-"));
}

#[test]
fn a2_a_request_cannot_forge_a_line() {
    let server = builder().start();
    let nasty = "/api/plugins/%22%7D%0A%7B%22action%22:%22forged%22%7D%1b%5B31m/enable";
    let response = ask(&server, "POST", nasty);
    assert!(matches!(response.status, 400 | 404), "{}", response.text());
    for line in lines(&server) {
        assert_ne!(line["action"], "forged");
    }
    let text = fs::read_to_string(file(&server)).unwrap();
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_stopped_server_goes_on_where_it_was() {
    let mut builder = builder();
    let state = tempfile::tempdir().unwrap();
    builder = builder.env("RUNTIME_STATE_DIR", state.path().to_str().unwrap());
    let mut server = builder.start();
    assert_eq!(change(&server).status, 200);
    server.kill();
    let torn = fs::read_to_string(state.path().join("audit.log")).unwrap();
    fs::write(
        state.path().join("audit.log"),
        format!("{torn}{}", &torn[..50]),
    )
    .unwrap();
    drop(server);
    let server = super::support::builder()
        .env("RUNTIME_STATE_DIR", state.path().to_str().unwrap())
        .start();
    assert_eq!(change(&server).status, 200);
    let page = ask(&server, "GET", "/api/audit").json();
    assert_eq!(page["data"]["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn a_call_that_names_hundreds_of_namespaces_leaves_a_line_that_is_told() {
    let server = builder().start();
    let post = |key: &str, path: &str, body: &Value| {
        let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
        let body = body.to_string();
        server
            .connect()
            .request("POST", path, &headers, body.as_bytes())
    };
    let long: Vec<String> = (0..256)
        .map(|n| format!("@n{n:03}{}", "x".repeat(200)))
        .collect();
    let wide = json!({"name": "wide", "role": "admin", "namespaces": long});
    let made = post(KEY, "/api/keys", &wide);
    assert_eq!(made.status, 201, "{}", made.text());
    let wide_key = made.json()["data"]["key"].as_str().unwrap().to_owned();
    let small = json!({"name": "small", "role": "admin", "namespaces": ["@a"]});
    let small_key = post(KEY, "/api/keys", &small).json()["data"]["key"].clone();
    // What is refused, and what is out of the caller's reach, must be told as well.
    let paths: Vec<String> = (0..900)
        .map(|n| format!("apps/@s{n}{}/x", "y".repeat(60)))
        .collect();
    let batch = json!({"paths": paths});
    for (key, path, body, status) in [
        (small_key.as_str().unwrap(), "/api/keys", &wide, 403),
        (
            small_key.as_str().unwrap(),
            "/api/workers/files/delete-batch",
            &batch,
            403,
        ),
        (
            &wide_key,
            "/api/workers/_/x/1.0.0/restart",
            &Value::Null,
            403,
        ),
        (&wide_key, "/api/workers/files/refresh", &Value::Null, 200),
        (KEY, "/api/keys", &small, 201),
    ] {
        let response = post(key, path, body);
        assert_eq!(response.status, status, "{path} {}", response.text());
    }
    let page = ask(&server, "GET", "/api/audit").json();
    let entries = page["data"]["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 7);
    assert_eq!(lines(&server).len(), 7);
    let actions: Vec<_> = entries
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "key.create",
            "worker.files.refresh",
            "worker.restart",
            "worker.files.delete",
            "key.create",
            "key.create",
            "key.create",
        ]
    );
    // Nobody but who reaches everything is told.
    for at in [1, 2, 4, 6] {
        assert_eq!(entries[at]["namespaces"], json!(["*"]), "{}", entries[at]);
    }
}

#[test]
fn a4_a_key_that_stands_in_a_path_is_in_no_log() {
    let server = builder().start();
    let headers = [("X-API-Key", KEY), ("Content-Type", "application/json")];
    let body = json!({"name": "a", "role": "viewer"}).to_string();
    let made = server
        .connect()
        .request("POST", "/api/keys", &headers, body.as_bytes());
    let key = made.json()["data"]["key"].as_str().unwrap().to_owned();
    let typo = format!(
        "{}{}",
        &key[..52],
        if key.ends_with('0') { '1' } else { '0' }
    );
    for secret in [&key, &typo] {
        for (method, path) in [
            ("DELETE", format!("/api/keys/{secret}")),
            ("POST", format!("/api/keys/{secret}/rotate")),
            ("DELETE", format!("/api/workers/_/{secret}")),
            ("POST", format!("/{secret}/")),
        ] {
            ask(&server, method, &path);
        }
        let path = format!("/api/keys/{secret}");
        let headers = [("Origin", "http://evil.example")];
        ask_as(&server, &headers, "DELETE", &path);
        let audit = fs::read_to_string(file(&server)).unwrap();
        for text in [server.output(), audit] {
            assert!(!text.contains(&secret[..40]), "{text}");
            assert!(text.contains(&format!("{}…", &secret[..12])), "{text}");
        }
    }
}
