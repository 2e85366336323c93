//! The example apps as `make run` serves them: the folders themselves, with their packages
//! (`make deps`).

use buntime_testkit::TestServer;

const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/apps");

fn server() -> TestServer {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_WORKER_DIRS", APPS)
        .start()
}

#[test]
fn each_of_them_answers() {
    let server = server();
    for (target, kind, part) in [
        ("/links/", "text/html", "window.__env__"),
        ("/todos/items", "application/json", "items"),
        ("/todos/", "application/json", "2.0.0"),
        ("/todos@1/", "application/json", "1.0.0"),
        ("/@demo/planets/", "text/html", "\"/@demo/planets/assets/"),
        (
            "/@demo/planets/compare",
            "text/html",
            "\"/@demo/planets/assets/",
        ),
        ("/clock/", "text/html", "<title>Clock</title>"),
        ("/clock/now", "application/json", "readers"),
        ("/chat/", "text/html", "<title>Chat</title>"),
        ("/qr/code.svg?text=hello", "image/svg+xml", "<svg"),
    ] {
        let mut client = server.connect();
        let response = client.request("GET", target, &[("Accept", "text/html")], b"");
        let (status, text) = (response.status, response.text());
        assert_eq!(status, 200, "{target}: {text}");
        let told = response.header("content-type").unwrap();
        assert!(told.starts_with(kind), "{target}: {told}");
        assert!(text.contains(part), "{target}: {text}");
    }
}

#[test]
fn their_lists_take_what_is_sent() {
    let server = server();
    let json = [("Content-Type", "application/json")];
    let mut client = server.connect();
    let made = client.request("POST", "/todos@1/items", &json, br#"{"title":"Buy milk"}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    let list = client.get("/todos@1/items").json();
    assert_eq!(list[0]["title"], "Buy milk");
    let wrong = client.request("POST", "/todos@1/items", &json, br#"{"title":""}"#);
    assert_eq!(wrong.status, 400);
}

#[test]
fn they_stream() {
    let server = server();
    let mut clock = server.connect();
    clock.send(b"GET /clock/events HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = clock.head("GET").unwrap();
    assert_eq!(head.header("content-type").unwrap(), "text/event-stream");
    let first = clock.chunk(&mut Vec::new()).unwrap();
    assert!(
        first.starts_with(b"retry: 2000\nevent: tick\n"),
        "{first:?}"
    );
    let mut chat = server.connect();
    chat.send(
        b"GET /chat/socket?name=Ann HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(chat.head("GET").unwrap().status, 101);
}
