//! One HTTP/2 connection. The protocol is hyper's; here its requests become ours
//! and our responses its.

mod frames;
mod head;
mod outbox;
mod response;
mod source;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use buntime_http::{Method, RequestId};
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use self::frames::Frames;
use self::head::read_head;
pub(super) use self::outbox::UnsentLimit;
use self::outbox::{Outbox, Stream};
use self::response::{H2Body, respond};
use self::source::H2Source;
use crate::edge::shard::Shard;
use crate::failure::{Form, refused_head};
use crate::message::{Peer, Protocol, Request};

/// Streams a client may have open at once.
const MAX_STREAMS: u32 = 128;
/// Streams a client may reset before it is sent away (rapid reset).
const MAX_RESETS: usize = 32;
/// What one stream and the whole connection may have in flight towards us.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many times our own limit on a head hyper reads. What is over its limit it refuses
/// by itself, without a request id and unknown to the log.
const HEADS: usize = 2;
/// How much of one stream's unsent data keeps it from being asked for more.
const SEND_BUFFER: usize = 32 * 1024;
/// How long a client that was told to leave may take to say that it has heard.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often stalled and idle connections are looked for.
const PATROL: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. `buf` holds the preface, already read.
pub(super) async fn serve<R, W>(shard: Arc<Shard>, read: R, write: W, buf: BytesMut, peer: Peer)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = shard.settings().timeouts;
    let head = shard.settings().head;
    let mut read = std::io::Cursor::new(buf.freeze()).chain(read);
    let mut write = Frames::new(write);
    let io = TokioIo::new(tokio::io::join(&mut read, &mut write));
    let outbox = Outbox::new(timeouts.write, Arc::clone(shard.unsent()));
    let service = {
        let shard = Arc::clone(&shard);
        let outbox = Arc::clone(&outbox);
        hyper::service::service_fn(move |request| {
            let shard = Arc::clone(&shard);
            let stream = outbox.begin();
            let peer = peer.clone();
            async move { answer(shard, request, peer, stream).await }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(head.total * HEADS).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    {
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut drained = pin!(shard.drain().cancelled());
        let mut patrol = tokio::time::interval(PATROL);
        let mut closing = None;
        loop {
            tokio::select! {
                // Its errors are the client's: nobody is left to tell.
                _ = connection.as_mut() => return,
                () = &mut drained, if closing.is_none() => {
                    closing = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                }
                _ = patrol.tick() => match closing {
                    None if outbox.is_stalled() => break,
                    // It was told to leave before.
                    Some(_) if outbox.is_stalled() => return,
                    // It ends by itself if the client answers; this one does not.
                    Some(since) if since.elapsed() > FAREWELL && outbox.is_idle(FAREWELL) => return,
                    None if outbox.is_idle(timeouts.idle) => {
                        closing = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(_) | None => {}
                }
            }
        }
    }
    // All that the connection held is let go of by now.
    let _ = tokio::time::timeout(FAREWELL, write.send_away(read)).await;
}

async fn answer(
    shard: Arc<Shard>,
    request: hyper::Request<Incoming>,
    peer: Peer,
    stream: Arc<Stream>,
) -> Result<hyper::Response<H2Body>, ResetStream> {
    let (parts, incoming) = request.into_parts();
    let head = match read_head(&shard, &parts) {
        Ok(head) => head,
        Err(error) => {
            let failure = refused_head(&error);
            let sent = parts.headers.get_all("x-request-id");
            let id = RequestId::of_values(sent.iter().map(http::HeaderValue::as_bytes));
            shard.refused(&failure, &id, &peer);
            return respond(
                &shard,
                failure.respond(&id, Form::Json),
                &id,
                Method::Get,
                stream,
            );
        }
    };
    let (method, target, headers) = head;
    let id = RequestId::of(&headers);
    let body = Box::new(H2Source::new(incoming, shard.settings().timeouts));
    let response = shard
        .handle(Request {
            id: id.clone(),
            method,
            target,
            protocol: Protocol::Http2,
            headers,
            websocket: false,
            peer,
            body,
        })
        .await
        .map_err(|_| ResetStream)?;
    respond(&shard, response, &id, method, stream)
}

/// Ends a stream without an answer: there is nobody to give one to.
#[derive(Debug, thiserror::Error)]
#[error("the request was abandoned")]
struct ResetStream;
