//! Servers with a root key, and who asks them.

use std::path::Path;

use buntime_testkit::{Builder, Connection, Response, TestServer};
use serde_json::{Value, json};

pub(super) const ROOT: &str = "the-root-key-of-these-tests";

/// A server with this root key and few workers.
pub(super) fn builder() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_ROOT_KEY", ROOT)
        .env("RUNTIME_POOL_SIZE", "1")
}

/// The same on a state directory that outlives it.
pub(super) fn on(state: &Path) -> Builder {
    builder().env("RUNTIME_STATE_DIR", state.to_str().unwrap())
}

/// Asks with a key; a body is JSON.
pub(super) fn ask(
    server: &TestServer,
    key: &str,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> Response {
    let mut headers = vec![("X-API-Key", key)];
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    Connection::open(server.addr()).request(method, target, &headers, body.as_bytes())
}

pub(super) fn get(server: &TestServer, key: &str, target: &str) -> Response {
    ask(server, key, "GET", target, None)
}

/// A key that was made.
pub(super) struct Made {
    pub(super) id: String,
    pub(super) secret: String,
}

/// Makes a key.
#[track_caller]
pub(super) fn make(server: &TestServer, by: &str, body: &Value) -> Made {
    let response = ask(server, by, "POST", "/api/keys", Some(body));
    assert_eq!(response.status, 201, "{}", response.text());
    let data = &response.json()["data"];
    Made {
        id: data["id"].as_str().unwrap().to_owned(),
        secret: data["key"].as_str().unwrap().to_owned(),
    }
}

pub(super) fn viewer(name: &str) -> Value {
    json!({"name": name, "role": "viewer"})
}

pub(super) fn custom(name: &str, namespaces: &[&str], permissions: &[&str]) -> Value {
    json!({
        "name": name,
        "role": "custom",
        "namespaces": namespaces,
        "permissions": permissions,
    })
}

pub(super) fn revoke(server: &TestServer, by: &str, id: &str) -> Response {
    ask(server, by, "DELETE", &format!("/api/keys/{id}"), None)
}

#[track_caller]
pub(super) fn failed(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.error_code(), code, "{}", response.text());
    assert_eq!(
        response.json()["error"]["requestId"],
        response.request_id().as_str()
    );
}

/// The `name=value` of the one cookie that a response sets, and its attributes.
pub(super) fn cookie(response: &Response) -> (String, Vec<String>) {
    let set = response.all("set-cookie");
    assert_eq!(set.len(), 1, "{set:?}");
    let mut parts = set[0].split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

/// Every file below a folder.
pub(super) fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Whether a file holds these bytes.
pub(super) fn holds(file: &Path, text: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
