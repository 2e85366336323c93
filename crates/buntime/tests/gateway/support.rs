//! The app that connects to where it is told, and the servers that run it.

use std::net::SocketAddr;

use buntime_testkit::{Builder, TestServer};

pub(super) const CALLER: &str = include_str!("caller.ts");
pub(super) const KEY: &str = "canary-root-0123456789abcdef";

pub(super) fn builder() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime")).env("RUNTIME_ROOT_KEY", KEY)
}

/// A manifest whose `permissions.net` is this.
pub(super) fn with_net(net: &str) -> String {
    format!("ttl: 1h\npermissions: {{net: {net}}}\nenv: {{GREETING: {KEY}}}\n")
}

/// A server with the caller as `app`.
pub(super) fn server(net: &str) -> TestServer {
    builder()
        .module("app@1.0.0", &with_net(net), CALLER)
        .start()
}

/// The same without the sandbox, so that the gateway of `app` can be reached from here.
pub(super) fn server_in_the_open() -> TestServer {
    builder()
        .module("app@1.0.0", &with_net("public"), CALLER)
        .env("RUNTIME_HEAD_TIMEOUT", "1s")
        .env("RUNTIME_SANDBOX", "off")
        .start()
}

/// What came of it when `app` tried to connect.
#[track_caller]
pub(super) fn call_of(server: &TestServer, app: &str, way: &str, to: &str) -> String {
    let to: String = to
        .bytes()
        .map(|byte| match byte {
            b':' | b'/' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    let response = server.get(&format!("/{app}/?way={way}&to={to}"));
    assert_eq!(response.status, 200, "{way} {to}: {response:?}");
    response.text()
}

#[track_caller]
pub(super) fn call(server: &TestServer, way: &str, to: &str) -> String {
    call_of(server, "app", way, to)
}

/// Where the gateway of `app` listens, as the app sees it, and what its proxy is called.
pub(super) fn gateway_of(server: &TestServer, app: &str) -> (SocketAddr, String) {
    let url = call_of(server, app, "variable", "RUNTIME_API_URL");
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    (address, call_of(server, app, "variable", "HTTP_PROXY"))
}

/// Whether workers are confined such that they reach nothing but their gateway.
pub(super) fn is_confined(server: &TestServer) -> bool {
    has(server, "network") || has(server, "connect broker")
}

/// Whether workers are in networks of their own.
pub(super) fn has_own_network(server: &TestServer) -> bool {
    has(server, "network")
}

#[expect(clippy::print_stderr, reason = "who runs the tests shall see it")]
fn has(server: &TestServer, layer: &str) -> bool {
    let told = server.wait_for_log(|line| line.value()["context"] == "sandbox");
    let layers = told.value()["layers"].as_str().unwrap_or_default();
    let has = layers.split(", ").any(|found| found == layer);
    if !has {
        eprintln!("this machine gives no {layer}, but {layers}");
    }
    has
}
