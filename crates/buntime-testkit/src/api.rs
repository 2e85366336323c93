//! Calls of the API, and what is expected of the answers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{Connection, Response, TestServer};

/// The root key of servers that are given one.
pub const ROOT_KEY: &str = "the-root-key-of-these-tests-0123456789";

impl From<&TestServer> for SocketAddr {
    fn from(server: &TestServer) -> Self {
        server.addr()
    }
}

/// Asks with a key, on a connection of its own; a body is JSON.
pub fn ask(
    to: impl Into<SocketAddr>,
    key: &str,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> Response {
    let body = body.map(Value::to_string).unwrap_or_default();
    ask_text(to, key, method, target, &body)
}

/// As [`ask`], with a body that may be no JSON but says that it is.
pub fn ask_text(
    to: impl Into<SocketAddr>,
    key: &str,
    method: &str,
    target: &str,
    body: &str,
) -> Response {
    let mut headers = vec![("X-API-Key", key)];
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    Connection::open(to.into()).request(method, target, &headers, body.as_bytes())
}

/// A key that was made.
#[derive(Debug)]
pub struct MadeKey {
    /// Its id.
    pub id: String,
    /// What is sent to use it.
    pub secret: String,
}

/// Makes a key as `body` says, with the key `by`.
///
/// # Panics
/// If that is refused.
#[track_caller]
pub fn make_key(to: impl Into<SocketAddr>, by: &str, body: &Value) -> MadeKey {
    let response = ask(to, by, "POST", "/api/keys", Some(body));
    assert_eq!(response.status, 201, "{}", response.text());
    let data = &response.json()["data"];
    MadeKey {
        id: data["id"].as_str().unwrap().to_owned(),
        secret: data["key"].as_str().unwrap().to_owned(),
    }
}

/// What [`make_key`] is told for a key of the role `custom`.
#[must_use]
pub fn custom_key(name: &str, namespaces: &[&str], permissions: &[&str]) -> Value {
    json!({
        "name": name,
        "role": "custom",
        "namespaces": namespaces,
        "permissions": permissions,
    })
}

/// Asserts a failure in JSON that bears the id of its request and no path of the machine.
///
/// # Panics
/// If it is another one.
#[track_caller]
pub fn failed(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.error_code(), code, "{}", response.text());
    let error = &response.json()["error"];
    assert_eq!(error["requestId"], response.request_id().as_str());
    let message = error["message"].to_string();
    assert!(!message.contains("/tmp"), "{message}");
}

/// The content type of what [`form`] makes.
pub const FORM: &str = "multipart/form-data; boundary=boundary";

/// A form: each part has a name, perhaps a file name, and a content.
#[must_use]
pub fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in parts {
        let file_name = file_name.map_or_else(String::new, |name| format!("; filename=\"{name}\""));
        let head = format!(
            "--boundary\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--boundary--\r\n");
    body
}

/// Sends a form to a route.
pub fn send_form(to: impl Into<SocketAddr>, key: &str, target: &str, body: &[u8]) -> Response {
    let headers = [("X-API-Key", key), ("Content-Type", FORM)];
    Connection::open(to.into()).request("POST", target, &headers, body)
}
