//! "Every request carries an X-Request-Id for tracing."

use buntime_testkit::{TestServer, is_uuid};

use crate::support::{server, with_app};

/// Says its id; writes a line of its own; fails on demand.
const APP: &str = "export default { fetch(request) {\n\
    const id = request.headers.get('x-request-id');\n\
    if (request.url.endsWith('/throw')) throw new Error('secret reason');\n\
    if (request.url.endsWith('/many'))\n\
      return new Response('', { headers: { 'x-long': 'v'.repeat(9000) } });\n\
    return new Response(id);\n\
} };\n";

fn id_of(server: &TestServer, target: &str, id: &str) -> String {
    let mut client = server.connect();
    let response = client.request("GET", target, &[("X-Request-Id", id)], b"");
    response.request_id()
}

#[test]
fn a_client_may_provide_it() {
    let server = server().start();
    let longest = "x".repeat(128);
    for id in ["abc-123", "A.b_c:d-9", "0", &longest] {
        assert_eq!(id_of(&server, "/api/health", id), id);
    }
}

#[test]
fn it_is_optional_and_generated_if_absent() {
    let server = server().start();
    let (one, two) = (
        server.get("/api/health").request_id(),
        server.get("/api/health").request_id(),
    );
    assert!(is_uuid(&one), "{one}");
    assert!(is_uuid(&two), "{two}");
    assert_ne!(one, two);
}

#[test]
fn an_abusive_one_is_replaced() {
    let server = server().start();
    let too_long = "x".repeat(129);
    for id in ["", "a b", "<script>", "${jndi:ldap://x}", "a,b", &too_long] {
        let given = id_of(&server, "/api/health", id);
        assert!(is_uuid(&given), "{id:?} became {given:?}");
    }
}

#[test]
fn it_is_always_present_in_the_response() {
    let server = with_app("", APP).start();
    // One of each sort of answer: our own, an app's, a redirect, errors by every layer.
    for (request, status) in [
        ("GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("HEAD /app/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        ("GET /app HTTP/1.1\r\nHost: a\r\n\r\n", 308),
        ("GET /app/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /app/ HTTP/1.1\r\n\r\n", 400),
        ("GET /api/keys HTTP/1.1\r\nHost: a\r\n\r\n", 401),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /app/throw HTTP/1.1\r\nHost: a\r\n\r\n", 502),
        ("GET /app/ HTTP/3.9\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut client = server.connect();
        client.send(request.as_bytes());
        let method = request.split(' ').next().unwrap();
        let response = client.response_to(method);
        assert_eq!(response.status, status, "{request}");
        assert!(is_uuid(&response.request_id()), "{request}");
    }
}

#[test]
fn it_propagates_to_logs_of_all_levels() {
    let server = with_app("", APP).start();
    for (target, level) in [
        ("/app/throw", "error"),
        ("/app/many", "warn"),
        ("/app/%zz", "debug"),
    ] {
        let id = server.get(target).request_id();
        server.wait_for_log(|line| line.text("requestId") == id && line.level() == level);
    }
}

#[test]
fn it_propagates_to_errors() {
    let server = with_app("", APP).start();
    let mut client = server.connect();
    for (target, status) in [
        ("/nothing", 404),
        ("/api/keys", 401),
        ("/app/throw", 502),
        // Last, for the connection ends with it.
        ("/app/%", 400),
    ] {
        let response = client.request("GET", target, &[("X-Request-Id", "of-an-error")], b"");
        assert_eq!(response.status, status);
        assert_eq!(response.json()["error"]["requestId"], "of-an-error");
        assert_eq!(response.request_id(), "of-an-error");
    }
}

#[test]
fn it_propagates_to_workers() {
    let server = with_app("", APP).start();
    let mut client = server.connect();
    let response = client.request("GET", "/app/", &[("X-Request-Id", "to-the-app")], b"");
    assert_eq!(response.text(), "to-the-app");
    // One that was generated or replaced is the one that the worker gets.
    let response = client.request("GET", "/app/", &[("X-Request-Id", "a b")], b"");
    assert_eq!(response.text(), response.request_id());
    assert!(is_uuid(&response.request_id()));
}
