//! The example apps as `make run` serves them: the folders themselves, with their packages
//! (`make deps`).

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use buntime_testkit::log::Lines;
use buntime_testkit::{Connection, PATIENCE, TestServer, process, real_bun};
use rustix::process::{Pid, Signal, kill_process_group};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
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

/// `make run`, as a shell starts it: in a process group, which Ctrl-C ends.
struct MakeRun {
    make: Child,
    group: Pid,
}

impl MakeRun {
    /// What it installs and builds first is left out: a test must not.
    fn start(port: u16, state: &str) -> Self {
        let make = Command::new("make")
            .args(["-o", "build", "-o", "deps", "run", &format!("PORT={port}")])
            .current_dir(ROOT)
            // Of a `make test` that this may be part of.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .env_remove("RUNTIME_ROOT_KEY")
            .env("BUNTIME", env!("CARGO_BIN_EXE_buntime"))
            .env("RUNTIME_BUN", real_bun())
            .env("RUNTIME_STATE_DIR", state)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let group = Pid::from_child(&make);
        Self { make, group }
    }
}

impl Drop for MakeRun {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::INT);
        let _ = self.make.wait();
    }
}

#[test]
fn make_run_serves_them_and_tells_where_they_are() {
    let state = tempfile::tempdir().unwrap();
    // Nobody else gets a port that was free a moment ago so soon.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut run = MakeRun::start(port, state.path().to_str().unwrap());
    let (screen, reader) = Lines::collect(run.make.stdout.take().unwrap());
    let last = |line: &str| line.contains("README.md shows how to deploy").then_some(());
    let told = screen.wait(PATIENCE, last);
    let lines = screen.all();
    assert_eq!(told, Some(()), "{lines:#?}");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let url = format!("http://{address}");
    let places: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix(&url))
        .filter_map(|place| place.split_whitespace().next())
        .collect();
    assert_eq!(places.len(), 7, "{lines:#?}");
    for place in places.into_iter().chain(["/api/docs"]) {
        let response = Connection::open(address).get(place);
        assert_eq!(response.status, 200, "{place}: {}", response.text());
    }
    let key = state.path().join("root-key");
    let shown = key.display().to_string();
    assert!(
        lines.iter().any(|line| line.ends_with(&shown)),
        "{lines:#?}"
    );
    assert!(key.exists());
    // What the README shows of it is what it shows.
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let (_, sample) = readme.split_once("In the end you see:\n\n```\n").unwrap();
    let (sample, _) = sample.split_once("    \u{2026}\n").unwrap();
    for line in sample.lines() {
        let line = line.replace("http://127.0.0.1:8000", &url);
        assert!(
            lines.contains(&line),
            "{line:?} of the README is not in {lines:#?}"
        );
    }
    drop(run);
    let _ = reader.join();
    let left = process::with_environment_of(state.path().as_os_str());
    let left = process::wait_gone(&left, PATIENCE);
    assert!(left.is_empty(), "Ctrl-C leaves {left:?}");
}
