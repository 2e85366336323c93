//! Bodies of any length, both ways, on real Bun.

use std::sync::Arc;

use buntime_http::{Frame, HeaderList, Method, RequestId};
use buntime_pool::{App, ExchangeError, WorkerRequest};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::support::{Failed, Rig, TestBody, soon};

const SOURCE: &str = r#"
export default {
  async fetch(req, server) {
    const { pathname } = new URL(req.url);
    if (pathname === "/echo") return new Response(req.body);
    if (pathname === "/length") return new Response(String((await req.arrayBuffer()).byteLength));
    if (pathname === "/large") return new Response(new Uint8Array(32 << 20));
    if (pathname === "/cookies") {
      const headers = new Headers();
      headers.append("set-cookie", "a=1"); headers.append("set-cookie", "b=2");
      return new Response(null, { status: 204, headers });
    }
    if (pathname === "/events") {
      return new Response(new ReadableStream({
        async start(c) {
          req.signal.addEventListener("abort", () => console.log("aborted"));
          c.enqueue("data: 1\n\n");
          await new Promise(() => {});
        },
      }), { headers: { "content-type": "text/event-stream" } });
    }
    if (pathname === "/wait") {
      req.signal.addEventListener("abort", () => console.log("aborted"));
      console.log("waiting");
      await new Promise(() => {});
    }
    if (pathname === "/ws" && server.upgrade(req)) return;
    return new Response("?");
  },
  websocket: { message(ws, text) { ws.send("re: " + text); } },
};
"#;

fn app(rig: &Rig) -> Arc<App> {
    rig.app("streams", SOURCE, |_| {})
}

#[tokio::test]
async fn bodies_pass_both_ways() {
    let rig = Rig::real();
    let app = app(&rig);
    let piece = Bytes::from((0..100_000).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    for length in [None, Some(50 * 100_000)] {
        let body = TestBody::of(length, vec![piece.clone(); 50]);
        let answer = rig.send(&app, Method::Post, "/echo", body).await.unwrap();
        assert_eq!(answer.body.len(), 5_000_000);
        assert!(answer.body.chunks(100_000).all(|chunk| chunk == piece));
    }
    let empty = rig
        .send(&app, Method::Post, "/length", TestBody::none())
        .await
        .unwrap();
    assert_eq!(empty.text(), "0");
    assert_eq!(rig.get(&app, "/large").await.unwrap().body.len(), 32 << 20);
    rig.finish().await;
}

#[tokio::test]
async fn heads_without_bodies_and_several_cookies() {
    let rig = Rig::real();
    let app = app(&rig);
    let head = rig
        .send(&app, Method::Head, "/large", TestBody::none())
        .await
        .unwrap();
    assert_eq!((head.head.status, head.body.len()), (200, 0));
    let cookies = rig.get(&app, "/cookies").await.unwrap();
    assert_eq!(
        cookies
            .head
            .headers
            .get_all(buntime_http::HeaderId::SetCookie)
            .count(),
        2
    );
    assert_eq!(cookies.head.status, 204);
    rig.finish().await;
}

#[tokio::test]
async fn a_dropped_response_is_aborted_in_the_worker() {
    let rig = Rig::real();
    let app = app(&rig);
    let mut response = rig
        .begin(&app, Method::Get, "/events", TestBody::none())
        .await
        .unwrap();
    let first = soon("first event", response.body.frame())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(first, Frame::Data(data) if data == "data: 1\n\n"));
    assert_eq!(app.status().instances[0].in_flight, 1);
    drop(response);
    rig.events.line("aborted").await;
    assert_eq!(app.status().instances[0].in_flight, 0);
    rig.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_aborts_the_request() {
    let rig = Rig::real();
    let app = app(&rig);
    let (gone, _) = watch::channel(false);
    rig.text(&app, "/").await;
    let request = rig.begin(&app, Method::Get, "/wait", TestBody::none().leaving(&gone));
    let leave = async {
        rig.events.line("waiting").await;
        gone.send_replace(true);
    };
    let (outcome, ()) = tokio::join!(request, leave);
    assert!(
        matches!(outcome, Err(Failed::Exchange(ExchangeError::ClientGone))),
        "{outcome:?}"
    );
    rig.events.line("aborted").await;
    rig.finish().await;
}

#[tokio::test]
async fn a_websocket_passes() {
    let rig = Rig::real();
    let app = app(&rig);
    let mut headers = HeaderList::new();
    for (name, value) in [
        ("host", "test.example"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        headers.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let id = RequestId::fresh();
    let request = WorkerRequest {
        method: Method::Get,
        target: b"/ws",
        headers: &headers,
        request_id: &id,
        websocket: true,
    };
    let mut body: Option<Box<dyn buntime_http::BodySource>> = Some(Box::new(TestBody::none()));
    let response = soon(
        "upgrade",
        app.exchange(&rig.connections, request, &mut body),
    )
    .await
    .unwrap();
    assert_eq!(response.head.status, 101);
    let mut upgraded = response.body.into_upgraded().expect("a connection");
    assert_eq!(app.status().instances[0].in_flight, 1);
    // A masked text frame with an all-zero mask.
    upgraded
        .write
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
        .await
        .unwrap();
    let mut answer = upgraded.leftover.to_vec();
    while answer.len() < 8 {
        soon("frame", upgraded.read.read_buf(&mut answer))
            .await
            .unwrap();
    }
    assert_eq!(answer, b"\x81\x06re: hi");
    drop(upgraded);
    assert_eq!(app.status().instances[0].in_flight, 0);
    rig.finish().await;
}
