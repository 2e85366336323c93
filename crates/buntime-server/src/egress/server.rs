//! The proxy's listener and what it answers itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::dial::DialError;
use super::forward::{self, Answer};
use super::{Client, Egress};

/// How long a head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// After an accept that failed: descriptors may be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`.
pub(super) async fn serve(egress: Egress, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Full: the client finds its connection closed.
        let Ok(place) = Arc::clone(&egress.0.connections).try_acquire_owned() else {
            continue;
        };
        let egress = egress.clone();
        tokio::spawn(async move {
            connection(egress, stream).await;
            drop(place);
        });
    }
}

async fn connection(egress: Egress, stream: TcpStream) {
    let service = service_fn(move |request| {
        let egress = egress.clone();
        async move { Ok::<_, Infallible>(answer(&egress, request).await) }
    });
    // A client that breaks the protocol or goes away is nobody else's trouble.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(egress: &Egress, request: Request<Incoming>) -> Response<Answer> {
    let client = request
        .headers()
        .get(PROXY_AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| egress.client(value));
    let Some(client) = client else {
        let mut response = text(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "This proxy is for apps: use HTTP_PROXY as it is.",
        );
        let scheme = HeaderValue::from_static("Basic");
        response.headers_mut().insert(PROXY_AUTHENTICATE, scheme);
        return response;
    };
    let Some((host, port)) = destination(&request) else {
        return text(
            StatusCode::BAD_REQUEST,
            "Ask by CONNECT host:port, or for an http:// URL.",
        );
    };
    let Ok(place) = Arc::clone(&client.connections).try_acquire_owned() else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "This app has too many connections.",
        );
    };
    let dialled = egress.0.dialer.connect(&client.policy, &host, port).await;
    match dialled {
        Ok(stream) if request.method() == Method::CONNECT => {
            forward::tunnel(request, stream, place)
        }
        Ok(stream) => match forward::plain(request, stream, place).await {
            Ok(response) => response,
            Err(_) => text(
                StatusCode::BAD_GATEWAY,
                "The host broke the connection off.",
            ),
        },
        Err(error) => failed(egress, &client, &host, port, &error),
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
        DialError::Lookup(_) | DialError::Connect(_) => StatusCode::BAD_GATEWAY,
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
