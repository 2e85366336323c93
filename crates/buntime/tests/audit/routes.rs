//! Every route that changes something, as the API describes itself (row A1), and what
//! none of them leaves behind (row A4).

use std::fs;

use buntime_testkit::{Response, TestServer};
use serde_json::{Value, json};

use super::support::{KEY, ask, builder, lines};

/// A method and a path for each route that changes something, with its audited name.
fn changing_routes(server: &TestServer) -> Vec<(String, String, String)> {
    let description = server.get("/api/openapi.json").json();
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(action) = operation["x-audit-action"].as_str() else {
                assert_eq!(method, "get", "{path} changes something unaudited");
                continue;
            };
            let path = path
                .replace("{scope}", "@b")
                .replace("{name}", "secret")
                .replace("{version}", "1.0.0")
                .replace("{plugin}", "%40b%2Fsecret")
                .replace("{id}", "no-such-key");
            assert!(!path.contains('{'), "{path}");
            routes.push((
                method.to_uppercase(),
                format!("/api{path}"),
                action.to_owned(),
            ));
        }
    }
    routes
}

fn send(server: &TestServer, key: &str, method: &str, target: &str, body: &Value) -> Response {
    let headers = [
        ("Host", "localhost"),
        ("X-API-Key", key),
        ("Content-Type", "application/json"),
    ];
    let body = body.to_string();
    server
        .connect()
        .request(method, target, &headers, body.as_bytes())
}

/// A key of this role in these namespaces: its secret.
fn key(server: &TestServer, name: &str, role: &str, namespaces: &[&str]) -> String {
    let body = json!({"name": name, "role": role, "namespaces": namespaces});
    let made = send(server, KEY, "POST", "/api/keys", &body);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["data"]["key"].as_str().unwrap().to_owned()
}

#[test]
fn a1_each_changing_route_leaves_one_line_allowed_and_denied() {
    let server = builder().start();
    let routes = changing_routes(&server);
    assert!(routes.len() > 10, "{routes:?}");
    let viewer = key(&server, "viewer", "viewer", &["*"]);
    let of_a = key(&server, "of a", "admin", &["@a"]);
    let mut so_far = lines(&server).len();
    for (method, path, action) in &routes {
        // Of these the keys are not in a header: the next test has them.
        if path == "/api/admin/session" {
            continue;
        }
        for secret in [KEY, &viewer, &of_a] {
            let response = send(&server, secret, method, path, &json!({}));
            if secret == viewer {
                assert_eq!(
                    response.error_code(),
                    "PERMISSION_DENIED",
                    "{method} {path}"
                );
            }
            let all = lines(&server);
            assert_eq!(
                all.len(),
                so_far + 1,
                "{method} {path}: {}",
                response.text()
            );
            so_far = all.len();
            let line = &all[so_far - 1];
            assert_eq!(line["action"], *action, "{method} {path}");
            assert_eq!(line["requestId"], response.request_id());
            assert_eq!(line["status"], response.status);
            assert!(line["key"]["name"].is_string());
            assert_eq!(line["address"], "127.0.0.1");
            if response.status >= 400 {
                assert_eq!(line["code"], response.error_code(), "{method} {path}");
            }
            // A key of @a that reached for @b: no line that @a's readers see names it.
            if secret == of_a && path.contains("secret") {
                assert_eq!(line["code"], "NAMESPACE_DENIED", "{method} {path}");
                assert_eq!(line["namespaces"], json!(["@a", "@b"]), "{method} {path}");
            }
        }
    }
    let headers = [("Host", "localhost"), ("X-API-Key", of_a.as_str())];
    let seen = server
        .connect()
        .request("GET", "/api/audit?limit=1000", &headers, b"");
    assert_eq!(seen.status, 200);
    assert!(!seen.text().contains("@b") && seen.text().contains("of a"));
}

#[test]
fn a1_a_session_leaves_a_line_when_it_begins_and_when_it_ends() {
    let server = builder().start();
    let before = ask(&server, "GET", "/api/audit").json();
    assert_eq!(before["data"]["entries"], json!([]));
    let origin = format!("http://{}", server.addr());
    let host = server.addr().to_string();
    let login = |key: &str| {
        let headers = [
            ("Host", host.as_str()),
            ("Origin", origin.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = json!({"key": key}).to_string();
        server
            .connect()
            .request("POST", "/api/admin/session", &headers, body.as_bytes())
    };
    let wrong = login("canary-wrong-key-0123456789");
    assert_eq!(wrong.status, 401);
    assert_eq!(lines(&server), [] as [Value; 0], "strangers are counted");
    let response = login(KEY);
    assert_eq!(response.status, 200, "{}", response.text());
    let cookie = response.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let headers = [
        ("Host", host.as_str()),
        ("Origin", origin.as_str()),
        ("Cookie", cookie),
    ];
    let ended = server
        .connect()
        .request("DELETE", "/api/admin/session", &headers, b"");
    assert_eq!(ended.status, 204);
    let actions: Vec<Value> = lines(&server)
        .iter()
        .map(|line| json!([line["action"], line["key"]["id"], line["status"]]))
        .collect();
    assert_eq!(
        actions,
        [
            json!(["session.create", "root", 200]),
            json!(["session.end", "root", 204])
        ]
    );
    // A4: neither keys nor the session's token.
    let token = cookie.split_once('=').unwrap().1;
    let all = fs::read_to_string(super::support::file(&server)).unwrap() + &server.output();
    for secret in [KEY, token, "canary-"] {
        assert!(!all.contains(secret));
    }
}

#[test]
fn a2_a4_names_of_keys_stay_on_their_line_and_secrets_off_it() {
    let server = builder().start();
    let name = "a\"b \\ {\"forged\":true} \u{202e}ä";
    let secret = key(&server, name, "admin", &["@a"]);
    let made = lines(&server);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["action"], "key.create");
    assert_eq!(made[0]["namespaces"], json!(["@a"]));
    let headers = [("Host", "localhost"), ("X-API-Key", secret.as_str())];
    let denied = server
        .connect()
        .request("POST", "/api/plugins/reload", &headers, b"");
    assert_eq!(denied.error_code(), "NAMESPACE_DENIED");
    let all = lines(&server);
    assert_eq!(all[1]["key"]["name"], name);
    assert_eq!(all[1]["key"]["prefix"], secret[..12]);
    let text = fs::read_to_string(super::support::file(&server)).unwrap();
    assert!(!text.contains('\u{202e}'));
    let everything = text + &server.output();
    assert!(!everything.contains(&secret) && !everything.contains(KEY));
}
