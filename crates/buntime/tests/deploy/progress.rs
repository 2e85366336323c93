//! Uploads that tell how far they are.

use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Connection, TestServer};
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use super::support::{KEY, PLUGINS, WORKERS, builder, call, deploy, failed, form, leftovers, site};

const MULTIPART: &str = "multipart/form-data; boundary=boundary";

fn a_form(entries: &[Entry]) -> Vec<u8> {
    let archive = forge(Format::TarGz, entries);
    form(&[("file", Some("a.tgz"), &archive)])
}

/// An upload whose body is still to be sent.
fn begin(address: SocketAddr, length: usize, more: &str) -> Connection {
    begin_at(WORKERS, address, length, more)
}

fn begin_at(route: &str, address: SocketAddr, length: usize, more: &str) -> Connection {
    let mut client = Connection::open(address);
    let head = format!(
        "POST {route} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\
         Accept: application/x-ndjson\r\nContent-Type: {MULTIPART}\r\n\
         X-Request-Id: the-upload\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    client.send(head.as_bytes());
    client
}

#[track_caller]
fn begins(client: &mut Connection) {
    let head = client.head("POST").unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type").unwrap(), "application/x-ndjson");
}

/// The lines of the rest of the answer.
fn rest(client: &mut Connection) -> Vec<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = client.chunk(&mut Vec::new()) {
        body.extend_from_slice(&chunk);
    }
    lines(&body)
}

fn lines(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn stages(lines: &[Value]) -> Vec<&str> {
    let mut stages: Vec<_> = lines
        .iter()
        .map(|line| line["stage"].as_str().unwrap())
        .collect();
    stages.dedup();
    stages
}

/// The lines of the audit log about uploads.
fn audited(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("state/audit.log")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["action"] == "worker.upload")
        .collect()
}

fn upload(server: &TestServer, entries: &[Entry]) -> Vec<Value> {
    let body = a_form(entries);
    let mut client = begin(server.addr(), body.len(), "");
    begins(&mut client);
    client.send(&body);
    rest(&mut client)
}

#[test]
fn the_answer_begins_before_the_body_and_ends_with_the_worker() {
    let server = builder().start();
    let body = a_form(&site("shop", "1.0.0", "first"));
    let mut client = begin(server.addr(), body.len(), "");
    begins(&mut client);
    let first = client.chunk(&mut Vec::new()).unwrap();
    let expected = format!(
        "{{\"stage\":\"receiving\",\"bytes\":0,\"total\":{}}}\n",
        body.len()
    );
    assert_eq!(String::from_utf8(first).unwrap(), expected);
    assert!(audited(server.dir()).is_empty());
    client.send(&body);
    let lines = rest(&mut client);
    let expected = ["unpacking", "checking", "installing", "done"];
    assert!(stages(&lines).ends_with(&expected), "{lines:?}");
    let worker = &lines.last().unwrap()["data"]["worker"];
    assert_eq!(worker["name"], "shop");
    assert_eq!(worker["version"], "1.0.0");
    assert_eq!(worker["release"], 1);
    assert!(worker["installedAt"].is_string());
    // Who reads the last line finds the line of the log and the worker.
    let audit = audited(server.dir());
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!(audit[0]["status"], 200, "{audit:?}");
    assert_eq!(audit[0]["target"], "shop@1.0.0", "{audit:?}");
    assert_eq!(server.get("/shop/").text(), "first");
    assert_eq!(leftovers(server.dir()), [""; 0]);
    // The connection goes on.
    assert_eq!(client.get("/shop/").text(), "first");
}

#[test]
fn a_refusal_after_the_beginning_is_the_last_line() {
    let server = builder().start();
    let lines = upload(
        &server,
        &[Entry::file("package.json", "{\"name\": \"A B\"}")],
    );
    let last = lines.last().unwrap();
    assert_eq!(last["stage"], "failed");
    assert_eq!(last["status"], 400);
    assert_eq!(last["error"]["code"], "INVALID_PACKAGE_NAME", "{last}");
    assert_eq!(last["error"]["requestId"], "the-upload");
    assert!(last["error"]["message"].is_string());
    let audit = audited(server.dir());
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!(audit[0]["status"], 400, "{audit:?}");
    assert_eq!(audit[0]["code"], "INVALID_PACKAGE_NAME", "{audit:?}");
    assert_eq!(leftovers(server.dir()), [""; 0]);
}

#[test]
fn an_upload_of_a_plugin_tells_how_far_it_is_too() {
    let builder = builder();
    let plugins = builder.dir().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", plugins.to_str().unwrap())
        .start();
    let send = |manifest: &str| {
        let body = a_form(&[Entry::file("manifest.yaml", manifest)]);
        let mut client = begin_at(PLUGINS, server.addr(), body.len(), "");
        begins(&mut client);
        client.send(&body);
        rest(&mut client)
    };
    let lines = send("name: '@acme/auth'\nbase: /auth\n");
    let expected = ["receiving", "unpacking", "checking", "installing", "done"];
    assert_eq!(stages(&lines), expected, "{lines:?}");
    let plugin = &lines.last().unwrap()["data"]["plugin"];
    assert_eq!(plugin["name"], "@acme/auth");
    assert_eq!(plugin["base"], "/auth");
    let listed = call(server.addr(), "GET", "/api/plugins", "").json();
    assert_eq!(listed[0]["name"], "@acme/auth");
    let lines = send("name: other\nbase: /auth\n");
    let last = lines.last().unwrap();
    assert_eq!(last["stage"], "failed");
    assert_eq!(
        (&last["status"], &last["error"]["code"]),
        (&409.into(), &"PLUGIN_COLLISION".into())
    );
    assert_eq!(leftovers(server.dir()), [""; 0]);
}

/// As many files as take a while.
fn many_files(manifest: &str) -> Vec<u8> {
    let mut entries = vec![Entry::file("manifest.yaml", manifest)];
    entries.extend((0..15_000).map(|number| Entry::file(format!("many/{number}"), "x")));
    entries.push(Entry::file("index.html", "page"));
    a_form(&entries)
}

/// Two places are there for who unpacks: whoever lost one would stop all uploads.
#[test]
fn a_client_that_leaves_while_its_archive_is_unpacked_gives_its_place_back_and_leaves_nothing() {
    let builder = builder();
    let plugins = builder.dir().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", plugins.to_str().unwrap())
        .start();
    let body = many_files("name: gone\nversion: 1.0.0\n");
    // Not `leftovers`, which reads all that there is.
    let staged = || -> Vec<_> {
        let folders = ["apps", "plugins", "state/releases"];
        let folders = folders.map(|folder| server.dir().join(folder).join(".buntime-staging"));
        let entries = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok());
        entries
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let is_unpacking = || {
        staged()
            .iter()
            .any(|path| path.join("unit/many/0").exists())
    };
    for route in [WORKERS, PLUGINS, WORKERS] {
        let mut client = begin_at(route, server.addr(), body.len(), "");
        client.send(&body);
        server.wait_until("it is being unpacked", is_unpacking);
        drop(client);
        server.wait_until("nothing is left", || staged().is_empty());
    }
    assert_eq!(
        fs::read_dir(server.dir().join("apps"))
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name() != ".buntime-staging" })
            .count(),
        0
    );
    assert_eq!(
        call(server.addr(), "GET", "/api/plugins", "").json(),
        serde_json::json!([])
    );
    // Both places are there: two at once, and each is answered.
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let server = &server;
            scope.spawn(move || deploy(server.addr(), &site(name, "1.0.0", name)));
        }
    });
    server.wait_until("the log tells of all three", || {
        let text = fs::read_to_string(server.dir().join("state/audit.log")).unwrap();
        text.matches("\"CUT_OFF\"").count() == 3
    });
}

#[test]
fn what_the_head_refuses_has_a_status() {
    let server = builder().start();
    let made = r#"{"name":"viewer","role":"viewer"}"#;
    let made = call(server.addr(), "POST", "/api/keys", made).json();
    let viewer = made["data"]["key"].as_str().or(made["key"].as_str());
    let viewer = viewer.unwrap().to_owned();
    let body = a_form(&site("shop", "1.0.0", "first"));
    let ask = |key: &str, kind: &str| {
        let headers = [
            ("X-API-Key", key),
            ("Accept", "application/x-ndjson"),
            ("Content-Type", kind),
        ];
        Connection::open(server.addr()).request("POST", "/api/workers/upload", &headers, &body)
    };
    failed(&ask("nobody", MULTIPART), 401, "AUTH_REQUIRED");
    failed(&ask(&viewer, MULTIPART), 403, "PERMISSION_DENIED");
    failed(&ask(KEY, "text/plain"), 400, "INVALID_MULTIPART_FORM");
    let mut client = begin(server.addr(), 200 << 20, "");
    failed(&client.response_to("POST"), 413, "ARCHIVE_TOO_LARGE");
    assert_eq!(server.get("/shop/").status, 404);
}

#[test]
fn a_client_that_waits_with_its_body_is_told_to_send_it() {
    let server = builder().start();
    let body = a_form(&site("shop", "1.0.0", "first"));
    let mut client = begin(server.addr(), body.len(), "Expect: 100-continue\r\n");
    assert_eq!(client.head("POST").unwrap().status, 100);
    client.send(&body);
    begins(&mut client);
    let lines = rest(&mut client);
    assert_eq!(lines.last().unwrap()["stage"], "done", "{lines:?}");
}

#[test]
fn a_client_that_goes_away_while_it_sends_leaves_nothing() {
    let server = builder().start();
    deploy(server.addr(), &site("shop", "1.0.0", "first"));
    let body = a_form(&site("shop", "1.0.0", "second"));
    let mut client = begin(server.addr(), body.len(), "");
    begins(&mut client);
    client.send(&body[..body.len() - 20]);
    server.wait_until("the archive is being received", || {
        !leftovers(server.dir()).is_empty()
    });
    drop(client);
    server.wait_until("the upload is given up", || {
        leftovers(server.dir()).is_empty() && audited(server.dir()).len() == 2
    });
    let audit = audited(server.dir());
    assert!(
        audit[1].get("status").is_none_or(Value::is_null),
        "{audit:?}"
    );
    assert_eq!(server.get("/shop/").text(), "first");
}

#[test]
fn an_upload_that_cannot_be_audited_does_not_end_as_a_success() {
    let server = builder().start();
    let body = a_form(&site("shop", "1.0.0", "first"));
    let mut client = begin(server.addr(), body.len(), "");
    begins(&mut client);
    let log = server.dir().join("state/audit.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    client.send(&body);
    let lines = rest(&mut client);
    let last = lines.last().unwrap();
    assert_eq!(last["stage"], "failed", "{last}");
    assert_eq!(last["status"], 503);
    assert_eq!(last["error"]["code"], "AUDIT_UNAVAILABLE");
    fs::remove_dir(&log).unwrap();
    // What was done is written as soon as it can be.
    server.wait_until("the line is written", || audited(server.dir()).len() == 1);
    assert_eq!(audited(server.dir())[0]["status"], 200);
}

/// A body in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

#[test]
fn progress_over_http_2() {
    let server = builder().start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |body: Vec<u8>| {
        let address = server.addr();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let shaken =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut client, connection) = shaken.await.unwrap();
            tokio::spawn(connection);
            let request = hyper::Request::builder()
                .method("POST")
                .uri("http://a/api/workers/upload")
                .header("x-api-key", KEY)
                .header("accept", "application/json, application/x-ndjson")
                .header("content-type", MULTIPART)
                .body(Whole(Some(body.into())))
                .unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut incoming = response.into_body();
            let mut body = Vec::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
                body.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            lines(&body)
        }
    };
    let answers = async {
        let done = ask(a_form(&site("shop", "1.0.0", "first"))).await;
        let failed = ask(form(&[("message", None, b"no file")])).await;
        (done, failed)
    };
    let (done, failed) = runtime.block_on(async {
        let answers = tokio::time::timeout(Duration::from_secs(30), answers);
        answers.await.unwrap()
    });
    let expected = ["receiving", "unpacking", "checking", "installing", "done"];
    assert_eq!(stages(&done), expected);
    assert_eq!(failed.last().unwrap()["error"]["code"], "NO_FILE_PROVIDED");
    assert_eq!(server.get("/shop/").text(), "first");
}
