//! Servers and apps that the sections share.

use buntime_testkit::{Builder, Response, TestServer};

/// The program under test.
pub(crate) const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
/// A worker that stays, so that a test asks one process.
pub(crate) const KEPT: &str = "ttl: 1h\n";

/// A server without apps, before it is started.
pub(crate) fn server() -> Builder {
    TestServer::builder(BUNTIME)
}

/// A server with one app of one module under `/app/`.
pub(crate) fn with_app(manifest: &str, source: &str) -> Builder {
    server().module("app@1.0.0", &format!("{KEPT}{manifest}"), source)
}

/// Sends `headers` as they stand, none added but the length of `body`.
#[track_caller]
pub(crate) fn send(
    server: &TestServer,
    request_line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut head = format!("{request_line} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut client = server.connect();
    client.send(format!("{head}\r\n{body}").as_bytes());
    client.response_to(request_line.split(' ').next().unwrap())
}
