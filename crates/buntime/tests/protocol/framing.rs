//! T1 to T10, T13: whatever two readers could take differently ends the connection.

use buntime_testkit::{Response, TestServer};

use crate::support::{Invariants, echo_server, failed, header_of, refused, seen, sound};

/// A POST to `echo` with these header lines and body, as it stands.
fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /echo/x HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").into_bytes()
}

/// Each of `requests` is answered 400, and nothing behind it is parsed.
fn all_refused(server: &TestServer, requests: &[Vec<u8>]) {
    let before = Invariants::of(server);
    for request in requests {
        refused(server, request, &[400]);
    }
    before.hold(server);
    let reached = seen(server);
    assert!(reached.is_empty(), "reached the app: {reached:?}");
}

#[test]
fn t01_length_and_coding_together() {
    let server = echo_server();
    let chunked = "Transfer-Encoding: chunked\r\n";
    all_refused(
        &server,
        &[
            post(&format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n"),
            post(&format!("{chunked}Content-Length: 5\r\n"), "0\r\n\r\n"),
            post(&format!("{chunked}content-length: 0\r\n"), "0\r\n\r\n"),
            post(
                &format!("Content-Length: 6\r\nX: y\r\n{chunked}"),
                "0\r\n\r\nG",
            ),
            post(
                "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
                "hello",
            ),
            post("Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"),
        ],
    );
}

#[test]
fn t02_lengths_that_are_no_single_number() {
    let server = echo_server();
    let mut requests: Vec<Vec<u8>> = [
        "3, 3",
        "3,3",
        "+5",
        "-1",
        "0x5",
        "",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        " ",
        "5,",
        ",5",
        "٣",
        "18446744073709551616",
        "99999999999999999999999",
        "5\t5",
        "\"5\"",
        "1_0",
    ]
    .iter()
    .map(|length| post(&format!("Content-Length: {length}\r\n"), "hello"))
    .collect();
    requests.push(post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"));
    requests.push(post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"));
    requests.push(post("Content-Length: 3\r\ncontent-length: 0\r\n", "abc"));
    all_refused(&server, &requests);
    // Leading zeros are digits: 400, or ten.
    let mut client = server.connect();
    client.send(&post("Content-Length: 010\r\n", "0123456789"));
    let response = client.response_to("POST");
    match response.status {
        200 => assert_eq!(response.json()["body"], "0123456789"),
        status => assert_eq!(status, 400),
    }
}

#[test]
fn t03_codings_that_are_not_chunked() {
    let server = echo_server();
    let mut requests: Vec<Vec<u8>> = [
        "xchunked",
        ",chunked",
        "chunked,",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "chunked;q=1",
        "\"chunked\"",
        "chunk",
        "chunkedx",
        "\x0bchunked",
        "chunked\x0c",
        "",
        "chu nked",
        "gzip",
    ]
    .iter()
    .map(|coding| post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"))
    .collect();
    requests.push(post(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ));
    requests.push(post(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "0\r\n\r\n",
    ));
    requests.push(post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
    requests.push(post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"));
    requests.push(post("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    requests.push(
        b"POST /echo/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
    );
    all_refused(&server, &requests);
}

#[test]
fn t04_malformed_chunks() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for body in [
        "-1\r\nx\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "1_0\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r;x\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3,3\r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "3;\0\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "0\n\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n folded: y\r\n\r\n",
        "0\r\nX: a\nb\r\n\r\n",
    ] {
        let request = post("Transfer-Encoding: chunked\r\n", body);
        let response = refused(&server, &request, &[400]);
        failed(&response, 400, "BAD_REQUEST");
    }
    // Extensions without end are no way to be busy for ever.
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000));
    refused(
        &server,
        &post("Transfer-Encoding: chunked\r\n", &long),
        &[400],
    );
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(50_000));
    refused(
        &server,
        &post("Transfer-Encoding: chunked\r\n", &trailers),
        &[400, 431],
    );
    before.hold(&server);
    assert!(seen(&server).is_empty());
}

#[test]
fn t05_hosts() {
    let server = echo_server();
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\n{headers}\r\n").into_bytes()
    };
    let mut requests = vec![
        get("/echo/", ""),
        get("/echo/", "X-Host: a\r\n"),
        get("/echo/", "Host: a\r\nHost: a\r\n"),
        get("/echo/", "Host: a\r\nhost: b\r\n"),
        get("http://b/echo/", "Host: a\r\n"),
        get("http://a:81/echo/", "Host: a\r\n"),
        get("http://a/echo/", "Host: a:81\r\n"),
        get("http://u:p@a/echo/", "Host: a\r\n"),
        get("http:///echo/", "Host: a\r\n"),
        get("http://a/echo/", ""),
    ];
    for host in [
        "a b/c",
        "a/b",
        "a?b",
        "a#b",
        "a@b",
        "u:p@a",
        "a,b",
        "a b",
        "",
        "a:b",
        "a:1:2",
        "a:99999999",
        "[::1",
        "::1",
        "a\\b",
        "<a>",
        "a:-1",
        "\u{e9}",
        "http://a",
    ] {
        requests.push(get("/echo/", &format!("Host: {host}\r\n")));
    }
    all_refused(&server, &requests);
    let mut client = server.connect();
    for (target, host) in [
        ("/echo/", "a"),
        ("/echo/", "a.b-c.example:8080"),
        ("/echo/", "[::1]:80"),
        ("/echo/", "127.0.0.1"),
        ("http://a/echo/", "a"),
        ("http://A:80/echo/", "a"),
        ("http://a/echo/", "a:80"),
    ] {
        let response = client.request("GET", target, &[("Host", host)], b"");
        assert_eq!(response.status, 200, "{target} {host}");
        assert_eq!(header_of(&response.json(), "host").as_deref(), Some(host));
    }
}

#[test]
fn t06_malformed_heads() {
    let server = echo_server();
    let mut requests: Vec<Vec<u8>> = [
        "GET /echo/ HTTP/1.1\nHost: a\n\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\n\r\n",
        "GET /echo/ HTTP/1.1\nHost: a\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n",
        "GET /echo/ HTTP/1.1\rHost: a\r\r",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: a\r\n\tfolded\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX{}: y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX,Y: y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX\"Y: y\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: a\x08b\r\n\r\n",
        "GET /echo/ HTTP/1.1\r\nHost: a\r\nX: a\x7Fb\r\n\r\n",
        "GET  /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/ HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\t/echo/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\nGET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/ x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/ HTTP/1.1x\r\nHost: a\r\n\r\n",
        "GET /echo/ http/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/ HTTP/ 1.1\r\nHost: a\r\n\r\n",
        "GET /echo/ HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET /echo/ HTTPS/1.1\r\nHost: a\r\n\r\n",
        "GET /echo/\r\nHost: a\r\n\r\n",
        "G\0T /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G@T /echo/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}",
        "{\"json\": true}\r\n\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    requests.push(b"GET /echo/ HTTP/1.1\r\nHost: a\r\nX\x85: y\r\n\r\n".to_vec());
    requests.push(b"GET /echo/ HTTP/1.1\r\nHost: a\r\nX\xA0: y\r\n\r\n".to_vec());
    all_refused(&server, &requests);
    // One empty line before a request is forgiven.
    let mut client = server.connect();
    client.send(b"\r\nGET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to("GET").status, 200);
}

#[test]
fn t07_methods() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let with = |method: &str| format!("{method} /echo/x HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    for method in [
        "get",
        "Get",
        "FOO",
        "PROPFIND",
        "GETX",
        "PRI",
        &"M".repeat(10 * 1024),
    ] {
        refused(&server, &with(method), &[501]);
    }
    for method in ["TRACE", "CONNECT"] {
        let response = refused(&server, &with(method), &[405]);
        failed(&response, 405, "METHOD_NOT_ALLOWED");
        assert!(response.header("allow").unwrap().contains("GET"));
    }
    refused(
        &server,
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        &[405],
    );
    assert!(seen(&server).is_empty());
    let mut client = server.connect();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let response = client.request(method, "/echo/x", &[], b"");
        assert_eq!(response.json()["method"], method);
    }
    let response = client.request("HEAD", "/echo/x", &[], b"");
    assert_eq!(response.status, 200);
    let response = client.request("OPTIONS", "*", &[], b"");
    sound(&response);
    assert_eq!(response.status, 204);
    before.hold(&server);
}

#[test]
fn t08_versions() {
    let server = echo_server();
    let before = Invariants::of(&server);
    for (line, status) in [
        ("GET /echo/ HTTP/2.0", 505),
        ("GET /echo/ HTTP/1.9", 505),
        ("GET /echo/ HTTP/0.9", 505),
        ("GET /echo/ HTTP/3.0", 505),
        ("GET /echo/ HTTP/9.9", 505),
        ("GET /echo/", 400),
        ("GET /echo/ HTTP/1", 400),
        ("GET /echo/ HTTP/1.", 400),
        ("GET /echo/ HTTP/.1", 400),
        ("PRI * HTTP/2.0", 505),
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        refused(&server, request.as_bytes(), &[status]);
    }
    before.hold(&server);
    assert!(seen(&server).is_empty());
}

#[test]
fn t10_pipelined_requests_are_answered_in_order_up_to_a_bad_one() {
    let server = echo_server();
    let before = Invariants::of(&server);
    let mut client = server.connect();
    let mut requests = Vec::new();
    for n in 0..1000 {
        let space = if n == 500 { " " } else { "" };
        let head =
            format!("GET /echo/{n} HTTP/1.1\r\nHost{space}: a\r\nX-Request-Id: r{n}\r\n\r\n");
        requests.extend_from_slice(head.as_bytes());
    }
    // Requests and answers fill both socket buffers, so one thread writes.
    let mut socket = client.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut socket, &requests);
    });
    for n in 0..500 {
        let response = client.response_to("GET");
        assert_eq!(response.request_id(), format!("r{n}"));
        assert_eq!(response.json()["url"], format!("http://a/{n}"));
    }
    let bad: Response = client.response_to("GET");
    failed(&bad, 400, "BAD_REQUEST");
    client.assert_closed();
    writer.join().unwrap();
    assert_eq!(seen(&server).len(), 500);
    before.hold(&server);
}

#[test]
fn t13_trailers_cannot_be_headers() {
    let server = echo_server();
    let mut client = server.connect();
    let trailers = "Content-Length: 99\r\nHost: evil.example\r\nX-API-Key: stolen\r\nX-Base: /evil\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\nAuthorization: stolen\r\nX-Sum: 1\r\n";
    for _ in 0..3 {
        let body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
        client.send(&post(
            "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n",
            &body,
        ));
        let response = client.response_to("POST");
        sound(&response);
        assert_eq!(response.status, 200);
        let asked = response.json();
        assert_eq!(asked["body"], "hello");
        assert_eq!(header_of(&asked, "host").as_deref(), Some("a"));
        assert_eq!(header_of(&asked, "x-base").as_deref(), Some("/echo"));
        for name in ["x-api-key", "authorization", "content-length"] {
            assert_eq!(header_of(&asked, name), None, "{name}");
        }
    }
    // Nor the next request on the connection to the worker.
    for trailers in ["GET: /smuggled HTTP/1.1\r\nX: y\r\n", "X-Sum: 1\r\n"] {
        for _ in 0..20 {
            let body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
            client.send(&post("Transfer-Encoding: chunked\r\n", &body));
            assert_eq!(client.response_to("POST").status, 200);
            assert_eq!(
                client.get("/echo/next").json()["url"],
                "http://test.example/next"
            );
        }
    }
    assert!(!seen(&server).iter().any(|line| line.contains("smuggled")));
}
