//! A connection to the proxy, and what it answers itself.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_TYPE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::dial::DialError;
use super::forward::{self, Answer, Failure};
use super::policy::Listed;
use super::{Client, Egress};
use crate::edge::ConnectionPlace;

/// How long a head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Serves one connection of `client`: one request, for Bun would reuse the connection for
/// the server itself, which has the same address. Its place is held for as long as it
/// lasts, and a tunnel that comes of it.
pub(super) async fn connection(
    egress: Egress,
    client: Arc<Client>,
    stream: TcpStream,
    early: BytesMut,
    place: ConnectionPlace,
) {
    let place = Arc::new(place);
    let service = service_fn(move |request| {
        let (egress, client, place) = (egress.clone(), Arc::clone(&client), Arc::clone(&place));
        async move {
            let is_tunnel = request.method() == Method::CONNECT;
            let mut response = answer(&egress, &client, request, place).await;
            if !(is_tunnel && response.status().is_success()) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let (read, write) = stream.into_split();
    let read = Cursor::new(early.freeze()).chain(read);
    // A client that breaks the protocol or goes away is nobody else's trouble.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(tokio::io::join(read, write)), service)
        .with_upgrades()
        .await;
}

async fn answer(
    egress: &Egress,
    client: &Arc<Client>,
    request: Request<Incoming>,
    place: Arc<ConnectionPlace>,
) -> Response<Answer> {
    let sent = request.headers().get(PROXY_AUTHORIZATION);
    if !sent.is_some_and(|value| client.is_known_by(value.as_bytes())) {
        let mut response = text(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "This proxy is for one app: use HTTP_PROXY as it is.",
        );
        let scheme = HeaderValue::from_static("Basic");
        response.headers_mut().insert(PROXY_AUTHENTICATE, scheme);
        return response;
    }
    let Some((host, port)) = destination(&request) else {
        return text(
            StatusCode::BAD_REQUEST,
            "Ask by CONNECT host:port, or for an http:// URL.",
        );
    };
    let dialled = egress.0.dialer.connect(client, &host, port).await;
    match dialled {
        Ok(stream) if request.method() == Method::CONNECT => {
            let ended = client.ended.clone();
            forward::tunnel(request, stream, ended, place)
        }
        Ok(stream) => match forward::plain(request, stream).await {
            Ok(response) => response,
            Err(Failure::Late) => text(StatusCode::GATEWAY_TIMEOUT, "The host does not answer."),
            Err(Failure::BrokenOff) => text(
                StatusCode::BAD_GATEWAY,
                "The host broke the connection off.",
            ),
        },
        Err(error) => failed(egress, client, &host, port, &error),
    }
}

/// Where a request is to go: the host without brackets, and the port.
fn destination(request: &Request<Incoming>) -> Option<(String, u16)> {
    let uri = request.uri();
    let port = match (request.method(), uri.scheme_str()) {
        (&Method::CONNECT, None) => uri.port_u16()?,
        (&Method::CONNECT, Some(_)) => return None,
        (_, Some("http")) => uri.port_u16().unwrap_or(80),
        _ => return None,
    };
    let host = uri.host()?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    (!host.is_empty() && port != 0).then(|| (host.to_ascii_lowercase(), port))
}

fn failed(
    egress: &Egress,
    client: &Client,
    host: &str,
    port: u16,
    error: &DialError,
) -> Response<Answer> {
    let status = match error {
        DialError::Refused(refusal) => {
            egress.refused(client, host, port, refusal);
            StatusCode::FORBIDDEN
        }
        DialError::Lookup(source) | DialError::Connect(source) => {
            // Bun's own words would have the registry answer so.
            if client.policy.name(host, port) == Ok(Listed::Configured) {
                let reason = format_args!("{error}: {source}");
                egress.warn("Registry not reached", client, host, port, &reason);
            }
            StatusCode::BAD_GATEWAY
        }
    };
    let mut response = text(status, "");
    *response.body_mut() = Answer::from(format!("{host}:{port}: {error}"));
    response
}

fn text(status: StatusCode, message: &'static str) -> Response<Answer> {
    let mut response = Response::new(Answer::from(message.to_owned()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
