//! A bug of the server's own, met by one request: that request fails and nothing else.

use buntime_testkit::api::{ROOT_KEY, ask_text};
use buntime_testkit::sample::assert_error;
use buntime_testkit::{PATIENCE, TestServer, process};

use crate::h2;
use crate::support::BUNTIME;

/// More requests panic than connections are allowed at a time.
const CONNECTIONS: usize = 8;
const PANICS: usize = 3 * CONNECTIONS;

/// A server with one shard, of which a request for `/panics` panics.
fn server() -> TestServer {
    let mut server = TestServer::builder(BUNTIME)
        .neighbour()
        .env("BUNTIME_PANIC_AT", "/panics")
        .env("RUNTIME_ROOT_KEY", ROOT_KEY)
        .env("RUNTIME_SHARDS", "1")
        .env("RUNTIME_MAX_CONNECTIONS", &CONNECTIONS.to_string())
        .start();
    // Dropping it asserts that nothing panicked.
    server.allow_any_exit();
    server
}

/// The connections that the server counts.
fn connections(server: &TestServer) -> String {
    let metrics = ask_text(server, ROOT_KEY, "GET", "/api/metrics", "").text();
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("buntime_connections "));
    count.unwrap().to_owned()
}

/// Asserts that the shard serves on, that each panic was told, and that the server ends as
/// if there had been none.
fn assert_unharmed(mut server: TestServer) {
    // None is open but the one that asks.
    server.wait_until("all places are given back", || connections(&server) == "1");
    for path in ["/neighbour/", "/health", "/health/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let log = server.log();
    let (panics, requests): (Vec<_>, Vec<_>) = log
        .iter()
        .filter(|line| line.text("context") == "panic")
        .partition(|line| line.text("requestId").is_empty());
    assert_eq!((panics.len(), requests.len()), (PANICS, PANICS));
    for line in panics {
        assert_eq!(line.level(), "error");
        assert_eq!(line.message(), "a test has this request panic");
        assert_eq!(line.text("thread"), "shard-0");
        assert!(line.text("place").contains("panics.rs:"), "{line:?}");
    }
    let family = server.family();
    server.terminate();
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    assert!(process::wait_gone(&family, PATIENCE).is_empty());
}

#[test]
fn a_request_that_panics_fails_and_nothing_else() {
    let server = server();
    let probe = server.probe();
    // Open all the time, on the same shard.
    let mut other = server.connect();
    for _ in 0..PANICS {
        let mut connection = server.connect();
        assert_eq!(connection.get("/health").status, 200);
        let failed = connection.get("/panics");
        assert_error(&failed, 500, "INTERNAL_ERROR");
        server.wait_for_log_about(&failed.request_id(), |line| line.level() == "error");
        assert_eq!(
            connection.get("/health").status,
            200,
            "on the same connection"
        );
        assert_eq!(other.get("/neighbour/").text(), "well");
    }
    drop(other);
    probe.finish();
    assert_unharmed(server);
}

#[test]
fn a_request_over_http_2_that_panics_fails_and_nothing_else() {
    let server = server();
    let probe = server.probe();
    h2::block_on(async {
        let client = &mut h2::connect(&server).await;
        for _ in 0..PANICS {
            let request = hyper::Request::get("http://test.example/panics");
            client.ready().await.unwrap();
            let failed = client.send_request(request.body(h2::Pieces::none()).unwrap());
            let failed = tokio::time::timeout(PATIENCE, failed).await;
            assert_eq!(failed.unwrap().unwrap().status(), 500);
            let answer = h2::ask(client, "GET", "/neighbour/", &[], vec![]).await;
            assert_eq!(answer.body, b"well");
        }
    });
    probe.finish();
    assert_unharmed(server);
}
