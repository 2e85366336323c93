//! What an app sends beside its response: early hints before it, trailers behind it.

use buntime_testkit::{TestServer, fake_bun};

use crate::h2::{ask, block_on, connect};
use crate::support::{BUNTIME, WARM, sound};

/// A server whose workers answer as `fake-bun` says.
fn server() -> TestServer {
    TestServer::builder(BUNTIME)
        .env("RUNTIME_BUN", fake_bun().to_str().unwrap())
        // Under which nothing runs that tells whether the sandbox works.
        .env("RUNTIME_SANDBOX", "off")
        .app("fake@1.0.0", WARM, &[("index.ts", "")])
        .start()
}

#[test]
fn early_hints_go_before_the_response() {
    let server = server();
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(b"GET /fake/informational HTTP/1.1\r\nHost: a\r\n\r\n");
        let hints = client.head("GET").unwrap();
        assert_eq!(hints.status, 103);
        assert_eq!(hints.headers, [("link".to_owned(), b"</a>".to_vec())]);
        // The 102 before them says nothing, and ends here.
        let response = client.head("GET").unwrap();
        assert_eq!(response.status, 200);
        let response = client.body(response);
        sound(&response);
        assert_eq!(response.text(), "final");
    }
    // HTTP/1.0 knows no response before the response.
    let mut client = server.connect();
    client.send(b"GET /fake/informational HTTP/1.0\r\n\r\n");
    let response = client.head("GET").unwrap();
    assert_eq!(response.status, 200);
    // The library for HTTP/2 cannot send any: the response comes without.
    block_on(async {
        let client = &mut connect(&server).await;
        let answer = ask(client, "GET", "/fake/informational", &[], vec![]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"final"[..]));
    });
}

#[test]
fn trailers_follow_the_body() {
    let server = server();
    let mut client = server.connect();
    for _ in 0..2 {
        let response = client.get("/fake/trailers");
        sound(&response);
        assert_eq!(response.text(), "ok");
        assert_eq!(response.trailers, [("x-sum".to_owned(), b"1".to_vec())]);
    }
    // Without chunks there is no place for them.
    let mut client = server.connect();
    client.send(b"GET /fake/trailers HTTP/1.0\r\n\r\n");
    let response = client.response_to("GET");
    assert_eq!(response.text(), "ok");
    block_on(async {
        let client = &mut connect(&server).await;
        for _ in 0..2 {
            let answer = ask(client, "GET", "/fake/trailers", &[], vec![]).await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
            assert_eq!(answer.trailers.unwrap()["x-sum"], "1");
        }
    });
}
