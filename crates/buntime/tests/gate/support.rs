//! Servers, clients and assertions that these tests share.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;

use buntime_testkit::{Builder, Connection, Response, TestServer};
use http_body::Body as _;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// Methods that change something.
pub(super) const CHANGES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
const SAY: &str = include_str!("say.ts");

/// A server with one app for each `csrf` that a manifest can have, and a site.
pub(super) fn builder() -> Builder {
    let mut builder = TestServer::builder(env!("CARGO_BIN_EXE_buntime")).app(
        "site@1.0.0",
        "entrypoint: index.html\n",
        &[("index.html", "<!doctype html><title>site</title>")],
    );
    // So that these tests can come by a worker's gateway.
    builder = builder.env("RUNTIME_SANDBOX", "off");
    for (name, csrf) in [
        ("say", ""),
        ("strict", "csrf: strict\n"),
        ("off", "csrf: off\n"),
        (
            "trusting",
            "csrf: {trustedOrigins: ['https://friend.example']}\n",
        ),
    ] {
        let manifest = format!("ttl: 1h\n{csrf}");
        builder = builder.app(&format!("{name}@1.0.0"), &manifest, &[("index.ts", SAY)]);
    }
    builder
}

pub(super) fn server() -> TestServer {
    builder().start()
}

/// Headers that never come together, in one list.
pub(super) fn with<'a>(
    first: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [first, more].concat()
}

/// Asserts a refusal of contract section 5, to the byte.
#[track_caller]
pub(super) fn forbidden(response: &Response, body: &str) {
    assert_eq!(response.status, 403, "{}", response.text());
    assert_eq!(response.text(), body);
    assert_eq!(response.header("content-type").unwrap(), "text/plain");
    assert_eq!(
        response.header("x-content-type-options").unwrap(),
        "nosniff"
    );
    assert!(!response.request_id().is_empty());
    assert!(response.all("set-cookie").is_empty());
}

/// Asserts a failure as JSON that bears the request's id.
#[track_caller]
pub(super) fn failed(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.error_code(), code);
    assert_eq!(
        response.json()["error"]["requestId"],
        response.request_id().as_str()
    );
    assert!(response.all("set-cookie").is_empty());
}

/// Asks on a connection of its own.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Response {
    Connection::open(address).request(method, target, headers, b"")
}

/// The address that only workers are told.
pub(super) fn workers_address(server: &TestServer) -> SocketAddr {
    let api = server.get("/say/").json()["api"].clone();
    let address = api.as_str().unwrap().strip_prefix("http://").unwrap();
    address.parse().unwrap()
}

/// The address of `RUNTIME_ADMIN_PORT`.
pub(super) fn admin_address(server: &TestServer) -> SocketAddr {
    admin_address_by(server, "http")
}

/// The same, where this scheme is spoken.
pub(super) fn admin_address_by(server: &TestServer, scheme: &str) -> SocketAddr {
    let prefix = format!("API and panel on {scheme}://");
    let line = server.wait_for_log(|line| line.message().starts_with(&prefix));
    let address = line.message().strip_prefix(&prefix).unwrap();
    address.parse().unwrap()
}

/// The values of a header in what the app saw.
pub(super) fn seen(response: &Response, name: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

/// The same over HTTP/2: status, content type and body.
pub(super) fn ask_h2(
    address: SocketAddr,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
) -> (u16, String, String) {
    let mut request = hyper::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(String::new()).unwrap();
    let work = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let (parts, mut body) = client.send_request(request).await.unwrap().into_parts();
        assert_eq!(parts.headers.get_all("x-request-id").iter().count(), 1);
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        let kind = parts.headers.get("content-type");
        let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (
            parts.status.as_u16(),
            kind,
            String::from_utf8(bytes).unwrap(),
        )
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(buntime_testkit::PATIENCE, work)
                .await
                .unwrap()
        })
}
