//! The server that most tests use, and what must hold after every bad input.

use std::time::{Duration, Instant};

use buntime_testkit::process::{self, ProcessId};
use buntime_testkit::{Builder, Connection, Response, TestServer};

/// The program under test.
pub(crate) const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
const ECHO: &str = include_str!("echo.ts");
/// A worker that stays.
pub(crate) const WARM: &str = "ttl: 1h\ntimeout: 20s\n";
/// A request that nobody may ever see: it stands where a second reader would
/// begin a request.
pub(crate) const SMUGGLED: &[u8] = b"GET /echo/smuggled HTTP/1.1\r\nHost: smuggled.example\r\n\r\n";

/// A server with the app `echo`, before it is started.
pub(crate) fn echo() -> Builder {
    TestServer::builder(BUNTIME).app("echo@1.2.3", WARM, &[("index.ts", ECHO)])
}

/// The same, started.
pub(crate) fn echo_server() -> TestServer {
    echo().start()
}

/// Asserts what holds for every response (threats I2, I5).
#[track_caller]
pub(crate) fn sound(response: &Response) {
    assert!(!response.request_id().is_empty());
    assert_ne!(response.status, 500, "{response:?}");
}

/// Asserts that a response is this failure, as JSON.
#[track_caller]
pub(crate) fn failed(response: &Response, status: u16, code: &str) {
    sound(response);
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.error_code(), code, "{response:?}");
    assert_eq!(
        response.json()["error"]["requestId"].as_str(),
        Some(response.request_id().as_str())
    );
    assert_eq!(
        response.header("x-content-type-options").as_deref(),
        Some("nosniff")
    );
}

/// Sends `bytes` and then [`SMUGGLED`]; asserts that there is one answer with one
/// of `statuses`, that the connection closes behind it and says so.
#[track_caller]
pub(crate) fn refused(server: &TestServer, bytes: &[u8], statuses: &[u16]) -> Response {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let mut connection = server.connect();
    connection.send(&[bytes, SMUGGLED].concat());
    let response = connection
        .next_response("GET")
        .unwrap_or_else(|| panic!("closed without an answer: {shown:?}"));
    sound(&response);
    assert!(
        statuses.contains(&response.status),
        "{} instead of one of {statuses:?}: {shown:?}\n{}",
        response.status,
        response.text()
    );
    assert_eq!(
        response.header("connection").as_deref(),
        Some("close"),
        "{shown:?}"
    );
    let rest = connection.read_to_end();
    assert!(
        rest.is_empty(),
        "something was answered after a refusal: {shown:?}\n{}",
        String::from_utf8_lossy(&rest)
    );
    response
}

/// Requests that reached the app `echo`, as `METHOD URL`.
pub(crate) fn seen(server: &TestServer) -> Vec<String> {
    let data = server.dir().join("state/data");
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() == "seen" {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                return text.lines().map(str::to_owned).collect();
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    Vec::new()
}

/// What a server must still be after bad inputs (threats I1).
pub(crate) struct Invariants {
    process: ProcessId,
    descriptors: Vec<String>,
    threads: usize,
}

impl Invariants {
    /// Notes how the server is. Asked once beforehand, so that what is made once
    /// is there.
    pub(crate) fn of(server: &TestServer) -> Self {
        assert_eq!(server.get("/api/health").status, 200);
        assert_eq!(server.get("/echo/unread").status, 200);
        Self {
            process: ProcessId::of(server.pid()).unwrap(),
            descriptors: process::descriptor_names(server.pid()),
            threads: process::threads(server.pid()),
        }
    }

    /// Asserts that the server is as it was.
    pub(crate) fn hold(&self, server: &TestServer) {
        assert!(self.process.is_alive(), "the server is gone");
        let asked = Instant::now();
        assert_eq!(server.get("/api/health").status, 200);
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "health took {:?}",
            asked.elapsed()
        );
        // Each shard may keep a connection to the worker.
        let mut now = Vec::new();
        let returned = server.holds_soon(|| {
            now = process::descriptor_names(server.pid());
            now.len() <= self.descriptors.len() + 4
        });
        assert!(
            returned,
            "descriptors are leaked: {:#?} became {now:#?}",
            self.descriptors
        );
        // The blocking pool's threads come and go.
        server.wait_until("no thread is leaked", || {
            process::threads(server.pid()) <= self.threads + 4
        });
        assert!(
            !seen(server).iter().any(|line| line.contains("smuggled")),
            "a smuggled request reached the app"
        );
    }
}

/// A GET of a path of `echo`, which must be answered 200: what the app saw.
#[track_caller]
pub(crate) fn seen_by_app(connection: &mut Connection, target: &str) -> serde_json::Value {
    let response = connection.get(target);
    sound(&response);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    response.json()
}

/// The value of a header in what the app saw; `None` if it has not come.
pub(crate) fn header_of(seen: &serde_json::Value, name: &str) -> Option<String> {
    let headers = seen["headers"].as_array().unwrap();
    let mut values = headers.iter().filter(|pair| pair[0] == name);
    let value = values.next()?[1].as_str().unwrap().to_owned();
    assert!(values.next().is_none(), "{name} came twice");
    Some(value)
}
