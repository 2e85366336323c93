//! HTTP/2 on the same port, by a real client: plain and inside TLS.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_testkit::tls::{Certificate, client};
use buntime_testkit::{FailingDisk, TestServer};
use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::support::{BUNTIME, Invariants, echo_server, header_of};
use crate::tls::encrypted;

/// A request's body, in pieces.
pub(crate) struct Pieces(Vec<Bytes>);

impl Pieces {
    /// No body.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        Poll::Ready((!self.0.is_empty()).then(|| Ok(BodyFrame::data(self.0.remove(0)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<http::HeaderMap>,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) type Client = SendRequest<Pieces>;

pub(crate) async fn connect(server: &TestServer) -> Client {
    let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    shake_hands(stream).await
}

async fn shake_hands<S>(stream: S) -> Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn ask(
    client: &mut Client,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<Bytes>,
) -> Answer {
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("http://test.example{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let work = async {
        client.ready().await.unwrap();
        let response = client
            .send_request(request.body(Pieces(body)).unwrap())
            .await
            .unwrap();
        let (parts, mut incoming) = response.into_parts();
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
            trailers,
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .unwrap();
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
    assert_ne!(answer.status, 500);
    for name in ["connection", "transfer-encoding", "keep-alive", "upgrade"] {
        assert!(!answer.headers.contains_key(name), "{name} in HTTP/2");
    }
    answer
}

pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn requests_over_http_2() {
    let server = echo_server();
    let before = Invariants::of(&server);
    block_on(async {
        let client = &mut connect(&server).await;
        let headers = [
            ("x-request-id", "abc-2"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-base", "/evil"),
            ("x-forwarded-for", "6.6.6.6"),
        ];
        let answer = ask(client, "GET", "/echo/a%2fb?c=d", &headers, vec![]).await;
        assert_eq!(
            (answer.status, &answer.headers["x-request-id"]),
            (200, &"abc-2".parse().unwrap())
        );
        let asked = answer.json();
        assert_eq!(asked["url"], "http://test.example/a%2fb?c=d");
        assert_eq!(header_of(&asked, "cookie").as_deref(), Some("a=1; b=2"));
        assert_eq!(header_of(&asked, "host").as_deref(), Some("test.example"));
        assert_eq!(header_of(&asked, "x-base").as_deref(), Some("/echo"));

        let body: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let pieces = body.chunks(10_007).map(Bytes::copy_from_slice).collect();
        let answer = ask(client, "POST", "/echo/raw", &[], pieces).await;
        assert!(answer.body == body, "the body changed on its way");

        let answer = ask(client, "HEAD", "/echo/", &[], vec![]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let answer = ask(client, "GET", "/echo/cookies", &[], vec![]).await;
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 3);
        for code in [204, 304] {
            let answer = ask(
                client,
                "GET",
                &format!("/echo/status?code={code}"),
                &[],
                vec![],
            )
            .await;
            assert_eq!((answer.status, answer.body.len()), (code, 0));
        }
        for (method, target, status) in [
            ("GET", "/", 302),
            ("GET", "/echo", 308),
            ("GET", "//echo/x", 308),
            ("POST", "//echo/x", 400),
            ("GET", "/echo/%00", 400),
            ("GET", "/echo/..%2f", 200),
            ("GET", "/echo/%2e%2e/x", 400),
            ("GET", "/api/keys", 401),
            ("GET", "/%61pi/keys", 401),
            ("GET", "/nobody/", 404),
            ("POST", "/health", 405),
            ("TRACE", "/echo/", 405),
            ("FOO", "/echo/", 501),
            ("GET", "/echo/throw", 502),
        ] {
            let answer = ask(client, method, target, &[], vec![]).await;
            assert_eq!(answer.status, status, "{method} {target}");
            if status >= 400 {
                assert_eq!(
                    answer.json()["error"]["requestId"],
                    answer.headers["x-request-id"].to_str().unwrap()
                );
            }
        }
        let id = [("x-request-id", "abc-refused")];
        for (target, status) in [("/nobody/", 404), ("/echo/%", 400)] {
            let answer = ask(client, "GET", target, &id, vec![]).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["x-request-id"], "abc-refused");
        }
        let long = format!("/echo/{}", "a".repeat(17_000));
        assert_eq!(ask(client, "GET", &long, &[], vec![]).await.status, 414);
        let large = vec![Bytes::from(vec![b'x'; 64 * 1024]); 176];
        let answer = ask(client, "POST", "/echo/count", &[], large).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (413, &b"Payload Too Large"[..])
        );
        let answer = ask(
            client,
            "GET",
            "/echo/",
            &[("host", "other.example")],
            vec![],
        )
        .await;
        assert_eq!(answer.status, 400);
        let many: Vec<(String, &str)> = (0..150).map(|n| (format!("x-{n}"), "v")).collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(
            ask(client, "GET", "/echo/", &many, vec![]).await.status,
            431
        );
        let value = "v".repeat(15_000);
        let names = ["x-0", "x-1", "x-2", "x-3", "x-4", "x-5"];
        for (count, status) in [(4, 200), (5, 431), (6, 431)] {
            let large: Vec<(&str, &str)> = names.map(|name| (name, value.as_str())).into();
            let answer = ask(client, "GET", "/echo/", &large[..count], vec![]).await;
            assert_eq!(answer.status, status, "{count} headers of 15,000 bytes");
            assert!(answer.headers.contains_key("x-request-id"), "{count}");
        }
        let answer = ask(client, "GET", "/echo/", &[], vec![]).await;
        assert_eq!(answer.status, 200, "the connection has survived all of it");
    });
    before.hold(&server);
}

#[test]
fn many_streams_of_one_connection() {
    let server = echo_server();
    block_on(async {
        let client = connect(&server).await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..200 {
            let mut client = client.clone();
            tasks.spawn(async move {
                let body = vec![Bytes::from(format!("body {n}"))];
                let answer = ask(&mut client, "POST", &format!("/echo/{n}"), &[], body).await;
                let asked = answer.json();
                assert_eq!(asked["url"], format!("http://test.example/{n}"));
                assert_eq!(asked["body"], format!("body {n}"));
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn http_2_inside_tls() {
    let certificate = Certificate::new();
    let server = encrypted(&certificate).start();
    let offers = Arc::new(client(&[&certificate], &[b"h2"]));
    block_on(async {
        let stream = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(offers).connect(name, stream).await;
        let client = shake_hands(stream.unwrap()).await;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let mut client = client.clone();
            tasks.spawn(async move {
                let asked = ask(&mut client, "GET", &format!("/echo/{n}"), &[], vec![]).await;
                let asked = asked.json();
                assert_eq!(asked["url"], format!("http://test.example/{n}"));
                assert_eq!(
                    header_of(&asked, "x-forwarded-proto").as_deref(),
                    Some("https")
                );
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let client = &mut client.clone();
        let body: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let pieces = body.chunks(10_007).map(Bytes::copy_from_slice).collect();
        let answer = ask(client, "POST", "/echo/raw", &[], pieces).await;
        assert!(answer.body == body, "the body changed on its way");
        let answer = ask(client, "GET", "/echo/download?blocks=200", &[], vec![]).await;
        assert_eq!(answer.body.len(), 200 * 64 * 1024);
    });
}

/// A real disk that fails: see `faults::unreadable` for what HTTP/1.1 makes of it.
#[test]
fn d4_a_file_that_cannot_be_read_to_its_end_resets_its_stream() {
    let large = vec![b'x'; 4 << 20];
    let Some(disk) = FailingDisk::mount(&[
        ("apps/site@1.0.0/manifest.yaml", b"entrypoint: index.html\n"),
        ("apps/site@1.0.0/index.html", b"page"),
        ("apps/site@1.0.0/large.bin", &large),
    ]) else {
        return;
    };
    let root = disk.path().join("apps");
    let server = TestServer::builder(BUNTIME)
        .env("RUNTIME_WORKER_DIRS", root.to_str().unwrap())
        .start();
    disk.fail_from("apps/site@1.0.0/large.bin", 2 << 20);
    block_on(async {
        let client = &mut connect(&server).await;
        let request = hyper::Request::get("http://test.example/site/large.bin");
        client.ready().await.unwrap();
        let sending = client.send_request(request.body(Pieces::none()).unwrap());
        let reading = async {
            let response = sending.await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            let mut length = 0;
            loop {
                match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    Some(Ok(frame)) => length += frame.into_data().unwrap().len(),
                    end => break (length, end.is_some()),
                }
            }
        };
        let (length, is_reset) = tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .unwrap();
        assert!(is_reset && length <= 2 << 20, "{length}");
        let answer = ask(client, "GET", "/site/", &[], vec![]).await;
        assert_eq!(answer.body, b"page");
    });
}
