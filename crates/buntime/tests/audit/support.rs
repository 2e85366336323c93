//! Servers and requests that these tests share.

use std::fs;
use std::path::PathBuf;

use buntime_testkit::{Builder, Response, TestServer};
use serde_json::Value;

pub(super) const KEY: &str = "canary-root-0123456789abcdef";

pub(super) fn builder() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime")).env("RUNTIME_ROOT_KEY", KEY)
}

/// By the root key.
pub(super) fn ask(server: &TestServer, method: &str, target: &str) -> Response {
    ask_as(server, &[("X-API-Key", KEY)], method, target)
}

pub(super) fn ask_as(
    server: &TestServer,
    headers: &[(&str, &str)],
    method: &str,
    target: &str,
) -> Response {
    let headers = [&[("Host", "localhost")], headers].concat();
    server.connect().request(method, target, &headers, b"")
}

/// Something that changes, needs no unit and no body.
pub(super) fn change(server: &TestServer) -> Response {
    ask(server, "POST", "/api/plugins/reload")
}

pub(super) fn file(server: &TestServer) -> PathBuf {
    server.dir().join("state/audit.log")
}

/// Every line of the file, each checked to be one object.
pub(super) fn lines(server: &TestServer) -> Vec<Value> {
    let text = fs::read_to_string(file(server)).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line.is_object());
            line
        })
        .collect()
}
