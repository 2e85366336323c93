//! B: bodies of routes that take JSON, every one that the API's description names.

use buntime_testkit::api::failed;
use buntime_testkit::{Response, TestServer};
use serde_json::Value;

const KEY: &str = "0123456789abcdef-root";
/// As large as a body of JSON may be (contract section 7).
const JSON_MAX: usize = 1 << 20;

fn server() -> TestServer {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_ROOT_KEY", KEY)
        .start()
}

/// Method and path of each route that takes JSON.
fn routes(server: &TestServer) -> Vec<(String, String)> {
    let description = server.get("/api/openapi.json").json();
    let mut routes = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_object() {
                let path = path.replace("{scope}", "_");
                let path = path.split('/').map(|part| match part.strip_prefix('{') {
                    Some(_) => "x",
                    None => part,
                });
                let path = path.collect::<Vec<_>>().join("/");
                routes.push((method.to_uppercase(), format!("/api{path}")));
            }
        }
    }
    assert!(routes.len() >= 8, "{routes:?}");
    routes
}

fn ask(
    server: &TestServer,
    (method, path): &(String, String),
    kind: &str,
    body: &[u8],
) -> Response {
    let headers = [
        ("Host", "localhost"),
        ("X-API-Key", KEY),
        ("Content-Type", kind),
    ];
    server.connect().request(method, path, &headers, body)
}

const JSON: &str = "application/json";

#[test]
fn b6_what_is_no_object_is_refused_on_every_route() {
    let server = server();
    for route in routes(&server) {
        for body in [
            "null", "[]", "{", "\"x\"", "1", "true", "[[]]", "{}{}", "{\"a\":}",
        ] {
            let response = ask(&server, &route, JSON, body.as_bytes());
            assert_eq!(
                response.status,
                400,
                "{route:?} {body}: {}",
                response.text()
            );
            assert!(
                ["INVALID_JSON", "VALIDATION_ERROR"].contains(&response.error_code().as_str()),
                "{route:?} {body}: {}",
                response.text()
            );
        }
    }
}

/// However the end of the body is told. Only a rotation may go without one: there is nothing
/// that it must say.
#[test]
fn b6_an_empty_body_is_refused_on_every_route_that_needs_one() {
    let server = server();
    let rotation = "/api/keys/x/rotate";
    let description = server.get("/api/openapi.json").json();
    let is_required = |path: &str| &description["paths"][path]["post"]["requestBody"]["required"];
    assert_eq!(is_required("/keys/{id}/rotate"), false);
    assert_eq!(is_required("/keys"), true);
    for (method, path) in routes(&server) {
        for kind in ["Content-Type: application/json\r\n", ""] {
            for (framing, body) in [
                ("", ""),
                ("Content-Length: 0\r\n", ""),
                ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                ("Content-Length: 3\r\n", " \r\n"),
                ("Transfer-Encoding: chunked\r\n", "1\r\n\n\r\n0\r\n\r\n"),
            ] {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\
                     {kind}{framing}\r\n"
                );
                let mut client = server.connect();
                client.send((head + body).as_bytes());
                let response = client.response_to(&method);
                let is_empty = matches!(body, "" | "0\r\n\r\n");
                if path == rotation && is_empty {
                    // It was read, and there is no such key.
                    failed(&response, 404, "KEY_NOT_FOUND");
                } else {
                    failed(&response, 400, "INVALID_JSON");
                }
            }
        }
    }
}

#[test]
fn b5_json_made_to_break_readers_is_refused_or_read() {
    let server = server();
    let deep = |open: &str, close: &str| {
        let levels = 100_000;
        format!(
            "{{\"name\":{}{}}}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    let keys: Vec<String> = (0..80_000).map(|n| format!("\"k{n}\":1")).collect();
    let bodies = [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        format!("{{{}}}", keys.join(",")),
        "{\"name\":\"a\",\"name\":\"b\"}".to_owned(),
        "{\"name\":\"\\ud800\"}".to_owned(),
        "\u{feff}{\"name\":\"a\"}".to_owned(),
        "{\"__proto__\":{\"role\":\"admin\"}}".to_owned(),
        "{\"name\":1e999}".to_owned(),
    ];
    for route in routes(&server) {
        for body in &bodies {
            assert!(body.len() <= JSON_MAX);
            let response = ask(&server, &route, JSON, body.as_bytes());
            let shown = &body[..body.len().min(40)];
            assert_eq!(
                response.status,
                400,
                "{route:?} {shown}: {}",
                response.text()
            );
        }
        let large = ask(&server, &route, JSON, &vec![b' '; JSON_MAX + 1]);
        assert_eq!(
            (large.status, large.text().as_ref()),
            (413, "Payload Too Large"),
            "{route:?}"
        );
    }
    assert_eq!(server.get("/health").status, 200);
}

/// A form of another site can send these without asking (threat T12).
#[test]
fn t12_content_types_of_forms_are_refused() {
    let server = server();
    for route in routes(&server) {
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain; charset=application/json",
            "application/jsonp",
            "",
        ] {
            let response = ask(&server, &route, kind, b"{}");
            assert_eq!(
                response.status,
                415,
                "{route:?} {kind}: {}",
                response.text()
            );
            assert_eq!(response.error_code(), "UNSUPPORTED_MEDIA_TYPE");
        }
    }
}

#[test]
fn a_refusal_names_the_field() {
    let server = server();
    for (body, field) in [
        (r#"{"name":{},"role":"viewer"}"#, "name"),
        (r#"{"name":"a","role":"viewer","colour":"red"}"#, "colour"),
        (r#"{"role":"viewer"}"#, "name"),
    ] {
        let route = ("POST".to_owned(), "/api/keys".to_owned());
        let response = ask(&server, &route, JSON, body.as_bytes());
        assert_eq!(response.status, 400, "{body}");
        let error: Value = response.json();
        let message = error["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn every_route_says_in_plain_words_what_to_write() {
    let server = server();
    for (method, path, body, message) in [
        (
            "POST",
            "/api/workers/_/x/rollback",
            r#"{"release":"3"}"#,
            "release: write a whole number.",
        ),
        (
            "POST",
            "/api/workers/_/x/rollback",
            "{}",
            "release: is missing; write a whole number.",
        ),
        (
            "POST",
            "/api/workers/_/x/rollback",
            r#"{"release":1,"message":5}"#,
            "message: write a text.",
        ),
        (
            "POST",
            "/api/workers/_/x/rollback",
            r#"{"release":1,"why":"x"}"#,
            "why: there is no such field.",
        ),
        (
            "POST",
            "/api/workers/files/mkdir",
            r#"{"path":5}"#,
            "path: write a text.",
        ),
        (
            "DELETE",
            "/api/workers/files/delete",
            "{}",
            "path: is missing; write a text.",
        ),
        (
            "POST",
            "/api/workers/files/delete-batch",
            r#"{"paths":"x"}"#,
            "paths: write a list of texts.",
        ),
        (
            "POST",
            "/api/workers/files/move-batch",
            r#"{"paths":[5],"destPath":"x"}"#,
            "paths: write a list of texts.",
        ),
        (
            "POST",
            "/api/workers/files/rename",
            r#"{"path":"x","newName":null}"#,
            "newName: write a text.",
        ),
        (
            "POST",
            "/api/workers/files/move",
            r#"{"path":"x"}"#,
            "destPath: is missing; write a text.",
        ),
        (
            "POST",
            "/api/admin/session",
            r#"{"key":5}"#,
            "key: write the key as a text.",
        ),
    ] {
        let route = (method.to_owned(), path.to_owned());
        let mut response = ask(&server, &route, JSON, body.as_bytes());
        if path.ends_with("/session") {
            let headers = [
                ("Host", "localhost"),
                ("Origin", "http://localhost"),
                ("Content-Type", JSON),
            ];
            response = server
                .connect()
                .request(method, path, &headers, body.as_bytes());
        }
        failed(&response, 400, "VALIDATION_ERROR");
        assert_eq!(
            response.json()["error"]["message"],
            message,
            "{path} {body}"
        );
    }
    let twice = ask(
        &server,
        &("POST".to_owned(), "/api/workers/files/mkdir".to_owned()),
        JSON,
        br#"{"path":"a","path":"b"}"#,
    );
    failed(&twice, 400, "VALIDATION_ERROR");
    assert!(twice.text().contains("stands twice"));
}
