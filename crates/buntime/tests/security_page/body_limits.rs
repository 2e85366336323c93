//! "Default 10 MB, per worker via maxBodySize; maximum 100 MB; exceeded? 413."

use buntime_testkit::{Connection, Response, TestServer};

use crate::support::with_app;

const MB: usize = 1024 * 1024;
/// Counts what it is sent.
const COUNT: &str = "export default { async fetch(request) {\n\
    let bytes = 0;\n\
    if (request.body) for await (const piece of request.body) bytes += piece.length;\n\
    return new Response(`${bytes}`);\n\
} };\n";

/// Announces a body of this length and sends nothing of it.
fn announced(server: &TestServer, length: usize) -> (Connection, Response) {
    let mut client = server.connect();
    let head = format!("POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    let response = client.response_to("POST");
    (client, response)
}

/// Sends a body of this length in chunks, for as long as the server takes it.
fn chunked(server: &TestServer, length: usize) -> (Connection, Response) {
    let mut client = server.connect();
    client.send(b"POST /app/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut left = length;
    while left > 0 {
        let piece = left.min(64 * 1024);
        let chunk = [
            format!("{piece:x}\r\n").as_bytes(),
            &vec![b'x'; piece],
            b"\r\n",
        ]
        .concat();
        if client.try_send(&chunk).is_err() {
            break;
        }
        left -= piece;
    }
    client.send(b"0\r\n\r\n");
    let response = client.response_to("POST");
    (client, response)
}

/// A whole body of this length.
fn whole(server: &TestServer, length: usize) -> Response {
    let mut client = server.connect();
    client.request("POST", "/app/", &[], &vec![b'x'; length])
}

#[track_caller]
fn too_large((mut client, response): (Connection, Response)) {
    assert_eq!(response.status, 413, "{response:?}");
    assert_eq!(response.text(), "Payload Too Large");
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    client.assert_closed();
}

#[test]
fn the_default_is_10_mb() {
    let server = with_app("", COUNT).start();
    assert_eq!(whole(&server, 10 * MB).text(), format!("{}", 10 * MB));
    too_large(announced(&server, 10 * MB + 1));
}

#[test]
fn it_is_configurable_per_worker_by_max_body_size() {
    let server = with_app("maxBodySize: 1kb\n", COUNT).start();
    assert_eq!(whole(&server, 1024).text(), "1024");
    too_large(announced(&server, 1025));
    let server = with_app("maxBodySize: 12mb\n", COUNT).start();
    assert_eq!(whole(&server, 11 * MB).text(), format!("{}", 11 * MB));
    too_large(announced(&server, 12 * MB + 1));
}

#[test]
fn the_maximum_is_100_mb_for_any_worker() {
    let server = with_app("maxBodySize: 1gb\n", COUNT).start();
    too_large(announced(&server, 100 * MB + 1));
    let (_, response) = chunked(&server, 20 * MB);
    assert_eq!(response.text(), format!("{}", 20 * MB));
}

#[test]
fn a_worker_that_asks_for_more_is_capped_with_a_warning() {
    let server = with_app("maxBodySize: 1gb\n", COUNT).start();
    assert_eq!(whole(&server, 1).text(), "1");
    let capped: Vec<_> = server
        .log()
        .into_iter()
        .filter(|line| line.level() == "warn" && line.value().to_string().contains("maxBodySize"))
        .collect();
    assert_eq!(capped.len(), 1, "{}", server.output());
    assert!(
        capped[0].value().to_string().contains("app"),
        "{:?}",
        capped[0]
    );
}

#[test]
fn the_global_ceiling_is_configurable() {
    let server = with_app("maxBodySize: 1gb\n", COUNT)
        .env("BODY_SIZE_DEFAULT", "1kb")
        .env("BODY_SIZE_MAX", "2kb")
        .start();
    assert_eq!(whole(&server, 2048).text(), "2048");
    too_large(announced(&server, 2049));
}

#[test]
fn a_chunked_body_counts_as_it_streams() {
    let server = with_app("maxBodySize: 100kb\n", COUNT).start();
    let (_, response) = chunked(&server, 100 * 1024);
    assert_eq!(response.text(), format!("{}", 100 * 1024));
    let (_, response) = chunked(&server, 100 * 1024 + 1);
    assert_eq!(response.status, 413, "{response:?}");
    assert_eq!(response.text(), "Payload Too Large");
}

#[test]
fn exceeded_is_413_payload_too_large_and_the_connection_closes() {
    let server = with_app("", COUNT).start();
    let (client, response) = announced(&server, usize::MAX / 2);
    assert!(!response.request_id().is_empty());
    too_large((client, response));
    assert_eq!(server.get("/app/").text(), "0");
}
