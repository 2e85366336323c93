//! Who may touch whose workers: rows N of the bad inputs, and every route by everybody.

use buntime_testkit::TestServer;
use serde_json::{Value, json};

use super::support::{Apps as _, ROOT, api, builder, root, worker};

/// A server with workers of two namespaces and one without any.
fn server() -> TestServer {
    builder()
        .with_app("@a/shop/1.0.0")
        .with_app("@b/secret/1.0.0")
        .with_app("echo/1.0.0")
        // Its manifest claims another namespace.
        .app(
            "@a/liar/1.0.0",
            "ttl: 1h\nname: '@b/liar'\n",
            &[("index.ts", "export default () => new Response('liar')")],
        )
        .start()
}

/// Makes a key; the answer is its secret.
fn key(server: &TestServer, role: &str, namespaces: &[&str]) -> String {
    let body = json!({"name": "test", "role": role, "namespaces": namespaces}).to_string();
    let headers = [("X-API-Key", ROOT), ("Content-Type", "application/json")];
    let made = server
        .connect()
        .request("POST", "/api/keys", &headers, body.as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["data"]["key"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    let workers = list.as_array().unwrap();
    workers
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect()
}

const ALL: [&str; 4] = ["@a/liar", "@a/shop", "@b/secret", "echo"];

/// Every way to touch a worker, with `UNIT` where it is named.
const ROUTES: [(&str, &str); 6] = [
    ("DELETE", "/workers/UNIT"),
    ("DELETE", "/workers/UNIT/1.0.0"),
    ("POST", "/workers/UNIT/1.0.0/enable"),
    ("POST", "/workers/UNIT/1.0.0/disable"),
    ("POST", "/workers/UNIT/1.0.0/restart"),
    ("GET", "/workers/UNIT/logs"),
];

#[test]
fn n1_n4_a_key_of_one_namespace_is_told_the_same_of_what_is_there_and_what_is_not() {
    let server = server();
    let key = key(&server, "admin", &["@a"]);
    for unit in [
        "@b/secret",
        "@b/none",
        "@c/x",
        "_/echo",
        "_/none",
        "@a.evil/x",
        "@B/secret",
    ] {
        for (method, route) in ROUTES {
            let refused = api(&server, &key, method, &route.replace("UNIT", unit));
            let said = (refused.status, refused.error_code());
            assert_eq!(
                said,
                (403, "NAMESPACE_DENIED".into()),
                "{method} {route} {unit}"
            );
            assert!(!refused.text().contains("secret"), "{}", refused.text());
        }
    }
    assert_eq!(names(&root(&server, "GET", "/workers").json()), ALL);
}

#[test]
fn n2_n3_no_other_spelling_of_a_namespace_opens_it() {
    let server = server();
    let key = key(&server, "admin", &["@a"]);
    for unit in [
        "%40b/secret",
        "%2540b/secret",
        "@B/secret",
        "@b%2f../secret",
        "@a%2f..%2f@b/secret",
        "@a/..%2f@b%2fsecret",
        "@a/../@b/secret",
        "@a/%2e%2e/@b/secret",
        "/@b/secret",
        "@a//@b/secret",
        "@a\\..\\@b/secret",
        "@a%5c..%5c@b/secret",
        "@a%00/secret",
        "%E0%A4%A/x",
        "@a@b/secret",
        "b/secret",
    ] {
        for (method, route) in ROUTES {
            let refused = api(&server, &key, method, &route.replace("UNIT", unit));
            let known = matches!(refused.status, 400 | 403 | 404 | 405);
            assert!(known, "{method} {route} {unit}: {}", refused.status);
        }
    }
    let broken = api(&server, &key, "DELETE", "/workers/%E0%A4%A/x/1");
    assert_eq!(
        (broken.status, broken.error_code()),
        (400, "BAD_PATH".into())
    );
    assert_eq!(names(&root(&server, "GET", "/workers").json()), ALL);
    assert_eq!(server.get("/@b/secret/").status, 200);
}

#[test]
fn n8_n10_lists_hold_what_the_key_may_see_by_the_folders_namespace() {
    let server = server();
    root(&server, "GET", "/workers");
    let a = key(&server, "viewer", &["@a"]);
    let b = key(&server, "viewer", &["@B"]);
    let list = |key: &str| api(&server, key, "GET", "/workers").json();
    assert_eq!(names(&list(&a)), ["@a/liar", "@a/shop"]);
    assert_eq!(names(&list(&b)), ["@b/secret"]);
    // The unit that lies about its name is its folder's everywhere.
    assert_eq!(server.get("/@a/liar/").text(), "liar");
    assert_eq!(server.get("/@b/liar/").status, 404);
    assert_eq!(api(&server, &a, "GET", "/workers/@a/liar/logs").status, 200);
    assert_eq!(api(&server, &b, "GET", "/workers/@a/liar/logs").status, 403);
    // Numbers of processes tell of what else runs.
    let shop = list(&a)[0]["live"]["instances"][0].clone();
    assert!(shop["id"].is_string() && shop["pid"].is_null(), "{shop}");
    let all = root(&server, "GET", "/workers").json();
    assert!(all[0]["live"]["instances"][0]["pid"].is_u64(), "{all}");
}

#[test]
fn every_route_of_workers_refuses_whom_it_must() {
    let server = server();
    let (viewer, editor) = (
        key(&server, "viewer", &["*"]),
        key(&server, "editor", &["@a"]),
    );
    for (method, route) in ROUTES {
        let route = route.replace("UNIT", "@b/secret");
        let stranger = server.connect().request(
            method,
            &format!("/api{route}"),
            &[("Origin", "http://test.example")],
            b"",
        );
        let said = (stranger.status, stranger.error_code());
        assert_eq!(said, (401, "AUTH_REQUIRED".into()), "{method} {route}");
        let seen = api(&server, &viewer, method, &route);
        match method {
            "GET" => assert_eq!(seen.status, 200, "{route}"),
            _ => assert_eq!(seen.error_code(), "PERMISSION_DENIED", "{method} {route}"),
        }
        let other = api(&server, &editor, method, &route);
        assert_eq!(other.error_code(), "NAMESPACE_DENIED", "{method} {route}");
    }
    assert_eq!(names(&root(&server, "GET", "/workers").json()), ALL);
    // What is refused above is allowed to whom it is not refused.
    for (method, route) in ROUTES.iter().rev() {
        let own = api(&server, &editor, method, &route.replace("UNIT", "@a/shop"));
        let is_gone = *route == "/workers/UNIT";
        assert_eq!(
            own.status,
            if is_gone { 404 } else { 200 },
            "{method} {route}"
        );
    }
}

/// The description of the API is the list of what there is to be called.
#[test]
fn every_route_of_the_description_refuses_whom_it_must() {
    let server = server();
    let (viewer, other) = (
        key(&server, "viewer", &["*"]),
        key(&server, "admin", &["@a"]),
    );
    let description = server.get("/api/openapi.json").json();
    let mut walked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let target = path
            .replace("{scope}", "@b")
            .replace("{name}", "secret")
            .replace("{version}", "1.0.0")
            .replace("{plugin}", "@b%2Fplugin")
            .replace("{id}", "no-such-key");
        for (method, about) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            // No security at all is what the description says of public routes.
            if !["GET", "POST", "DELETE"].contains(&&*method) || about["security"] == json!([]) {
                continue;
            }
            walked += 1;
            let headers = [("Origin", "http://test.example")];
            let stranger =
                server
                    .connect()
                    .request(&method, &format!("/api{target}"), &headers, b"");
            let said = (stranger.status, stranger.error_code());
            assert_eq!(said, (401, "AUTH_REQUIRED".into()), "{method} {path}");
            if about["x-audit-action"].is_string() {
                let seen = api(&server, &viewer, &method, &target);
                assert_eq!(seen.error_code(), "PERMISSION_DENIED", "{method} {path}");
            }
            if path.contains("{scope}") || path.contains("{plugin}") {
                let outside = api(&server, &other, &method, &target);
                assert_eq!(outside.error_code(), "NAMESPACE_DENIED", "{method} {path}");
            }
        }
    }
    assert!(walked >= 15, "{walked} routes");
    assert_eq!(names(&root(&server, "GET", "/workers").json()), ALL);
}

#[test]
fn who_follows_a_log_is_cut_off_when_the_key_is_revoked() {
    let server = server();
    let secret = key(&server, "viewer", &["@a"]);
    let mut connection = server.connect();
    let path = "/api/workers/@a/shop/logs?follow=1";
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n\r\n");
    connection.send(request.as_bytes());
    assert_eq!(connection.head("GET").unwrap().status, 200);
    let keys = root(&server, "GET", "/keys").json();
    let id = keys[0]["id"].as_str().unwrap().to_owned();
    root(&server, "DELETE", &format!("/keys/{id}"));
    // Lines for as long as it follows: it must not be the silence that ends it.
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || while connection.chunk(&mut Vec::new()).is_some() {});
        server.wait_until("the stream ends", || {
            worker(&server, "/@a/shop/say?text=after");
            reader.is_finished()
        });
    });
}
