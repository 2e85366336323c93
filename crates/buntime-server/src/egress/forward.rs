//! From the app to the host and back, once there is a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::edge::ConnectionPlace;

/// Headers of one connection (RFC 9110 section 7.6.1), and those that are the proxy's.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// How long a host may take from its connection to the head of its answer, in which it
/// also takes the body of the request.
const HEAD_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Why a host's answer does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not speak HTTP, or closed.
    BrokenOff,
    /// It is silent.
    Late,
}

/// What the proxy answers with: a text of its own, or what the host sends.
pub(super) enum Answer {
    Own(Option<Bytes>),
    Host(Incoming),
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Own((!text.is_empty()).then(|| text.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Host(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Host(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Host(body) => body.size_hint(),
        }
    }
}

/// Says that the way is open, then carries bytes both ways until both sides have ended,
/// or the worker has.
pub(super) fn tunnel(
    request: Request<Incoming>,
    mut host: TcpStream,
    ended: CancellationToken,
    place: Arc<ConnectionPlace>,
) -> Response<Answer> {
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut app = TokioIo::new(upgraded);
            // Either side may break off at any time; that is the end.
            let carried = tokio::io::copy_bidirectional(&mut app, &mut host);
            ended.run_until_cancelled(carried).await;
        }
        drop(place);
    });
    Response::new(Answer::Own(None))
}

/// Sends one request to the host and its answer back, bodies as they come.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn plain(
    mut request: Request<Incoming>,
    host: TcpStream,
) -> Result<Response<Answer>, Failure> {
    let authority = request.uri().authority().cloned();
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    strip(request.headers_mut());
    // The target decides, not a header beside it (RFC 9112 section 3.2.2).
    if let Some(host) =
        authority.and_then(|authority| HeaderValue::from_str(host_of(authority.as_str())).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(host))
        .await
        .map_err(|_| Failure::BrokenOff)?;
    tokio::spawn(async move {
        // What goes wrong here the answer's body tells.
        let _ = connection.await;
    });
    let answered = timeout(HEAD_PATIENCE, sender.send_request(request)).await;
    let answered = answered.map_err(|_| Failure::Late)?;
    let mut response = answered.map_err(|_| Failure::BrokenOff)?;
    strip(response.headers_mut());
    Ok(response.map(Answer::Host))
}

/// Without `user:password@`.
fn host_of(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}
