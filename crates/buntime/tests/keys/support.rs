//! Servers with a root key, and who asks them.

use std::path::Path;

pub(super) use buntime_testkit::api::{
    ROOT_KEY as ROOT, ask, custom_key as custom, failed, make_key as make,
};
use buntime_testkit::{Builder, Response, TestServer};
use serde_json::{Value, json};

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

pub(super) fn get(server: &TestServer, key: &str, target: &str) -> Response {
    ask(server, key, "GET", target, None)
}

pub(super) fn viewer(name: &str) -> Value {
    json!({"name": name, "role": "viewer"})
}

pub(super) fn revoke(server: &TestServer, by: &str, id: &str) -> Response {
    ask(server, by, "DELETE", &format!("/api/keys/{id}"), None)
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
