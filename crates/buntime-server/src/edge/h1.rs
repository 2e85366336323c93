//! One HTTP/1.1 connection: read a head, hand the request on, write the answer,
//! again. Strict in what it reads (docs/decisions/0002-own-http1-codec.md).

mod reader;
mod writer;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use buntime_http::{HttpVersion, Method, RequestHead, RequestId};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::reader::HangUp;
use self::reader::{H1Body, HeadFault, Home, Reader};
use self::writer::{Exchange, Sent, Writer};
use crate::edge::shard::Shard;
use crate::edge::tunnel;
use crate::failure::{Failure, Form, refused_head};
use crate::message::{Body, Peer, Protocol, Request, Response};

/// How long a closing connection is read on, and how much of it, so that the
/// client can still read our answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 * 1024 * 1024;

/// Serves a connection until it ends. `buf` holds what was already read of it.
pub(crate) async fn serve<R, W>(shard: Arc<Shard>, read: R, write: W, buf: BytesMut, peer: Peer)
where
    R: AsyncRead + HangUp + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send,
{
    let timeouts = shard.settings().timeouts;
    let mut connection = Connection {
        home: Home::new(),
        writer: Writer::new(write, timeouts.write),
        peer,
        shard: &shard,
    };
    let mut reader = Box::new(Reader::new(read, buf, shard.settings().head, timeouts));
    let mut drained = pin!(shard.drain().cancelled());
    loop {
        let head = {
            let idle = reader.is_idle();
            let mut head = pin!(reader.head());
            poll_fn(|cx| {
                if let Poll::Ready(head) = head.as_mut().poll(cx) {
                    return Poll::Ready(Some(head));
                }
                // A stopping server closes connections that wait for work; one
                // whose request has begun to arrive is served.
                if idle && drained.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await
        };
        let Some(head) = head else {
            return connection.writer.shutdown().await;
        };
        match head {
            Ok(head) => match connection.exchange(head, reader).await {
                After::Next(home) => reader = home,
                After::Close => return,
                After::Linger(home) => return connection.linger(home).await,
            },
            Err(HeadFault::Closed) => return,
            Err(HeadFault::Idle) => return connection.writer.shutdown().await,
            Err(HeadFault::TooSlow) => {
                let failure =
                    Failure::new(408, "REQUEST_TIMEOUT", "The request arrived too slowly.");
                return connection.refuse(&failure.closing(), reader).await;
            }
            Err(HeadFault::Refused(error)) => {
                return connection.refuse(&refused_head(&error), reader).await;
            }
        }
    }
}

/// Answers a connection on which nothing is served, then closes it.
pub(crate) async fn refuse<R, W>(
    shard: Arc<Shard>,
    read: R,
    write: W,
    failure: &Failure,
    peer: Peer,
) where
    R: AsyncRead + HangUp + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send,
{
    let settings = *shard.settings();
    let mut connection = Connection {
        home: Home::new(),
        writer: Writer::new(write, settings.timeouts.write),
        peer,
        shard: &shard,
    };
    let reader = Reader::new(read, BytesMut::new(), settings.head, settings.timeouts);
    connection.refuse(failure, Box::new(reader)).await;
}

/// A client that got no answer at all on a connection that it has used before asks
/// again by itself, whatever the first request has done.
const BROKEN_OFF: Failure = Failure::new(
    502,
    "WORKER_BAD_RESPONSE",
    "The app broke its response off at the beginning.",
)
.closing();

struct Connection<'a, R, W> {
    shard: &'a Arc<Shard>,
    home: Arc<Home<R>>,
    writer: Writer<W>,
    peer: Peer,
}

/// What becomes of a connection after an exchange.
enum After<R> {
    Next(Box<Reader<R>>),
    Close,
    Linger(Box<Reader<R>>),
}

impl<R, W> Connection<'_, R, W>
where
    R: AsyncRead + HangUp + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send,
{
    async fn exchange(&mut self, head: RequestHead, reader: Box<Reader<R>>) -> After<R> {
        let id = RequestId::of(&head.headers);
        let method = head.method;
        let form = Form::of(method, &head.headers);
        let protocol = match head.version {
            HttpVersion::Http10 => Protocol::Http10,
            HttpVersion::Http11 => Protocol::Http11,
        };
        let websocket = head.websocket;
        let body = Box::new(H1Body::new(
            reader,
            Arc::clone(&self.home),
            head.framing,
            head.expect_continue,
        ));
        let request = Request {
            id: id.clone(),
            method,
            target: head.target,
            protocol,
            headers: head.headers,
            websocket,
            peer: self.peer.clone(),
            body,
        };
        let handler = self.shard.handle(request);
        let Ok(response) = self.drive(pin!(handler)).await else {
            return After::Close;
        };
        let exchange = Exchange {
            id: &id,
            method,
            protocol,
            // Bun would reuse a worker's connection for the proxy, which has the same address.
            keep_alive: head.keep_alive
                && self.peer.listener.is_for_clients()
                && !self.shard.drain().is_cancelled()
                && self.home.may_continue(),
            date: self.shard.date(),
        };
        if response.status == 101 {
            self.upgrade(response, &exchange).await;
            return After::Close;
        }
        let mut sent = self
            .writer
            .send(response, &exchange, &self.home, self.shard.drain())
            .await;
        if sent == Sent::Nothing {
            self.shard.broke_off(&BROKEN_OFF, &id);
            let response = BROKEN_OFF.respond(&id, form);
            sent = self
                .writer
                .send(response, &exchange, &self.home, self.shard.drain())
                .await;
        }
        match (sent, self.home.take()) {
            (Sent::Cut | Sent::Nothing, _) | (_, None) => After::Close,
            (Sent::Reusable, Some(reader)) if reader.body_is_done() => After::Next(reader),
            (Sent::Reusable, Some(mut reader)) => {
                let drained = tokio::time::timeout(LINGER, reader.drain_body()).await;
                match drained {
                    Ok(true) => After::Next(reader),
                    Ok(false) | Err(_) => After::Linger(reader),
                }
            }
            (_, Some(reader)) => After::Linger(reader),
        }
    }

    /// Runs the handler, and tells a client that waits for it to send its body
    /// once the handler asks for that. An error means there is nobody to answer.
    async fn drive<F>(&mut self, mut handler: Pin<&mut F>) -> Result<Response, Aborted>
    where
        F: Future<Output = Result<Response, Aborted>>,
    {
        loop {
            let response = poll_fn(|cx| match handler.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending if self.home.take_continue() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await;
            match response {
                Some(response) => return response,
                None => self.writer.send_continue().await.map_err(|_| Aborted)?,
            }
        }
    }

    async fn upgrade(&mut self, response: Response, exchange: &Exchange<'_>) {
        if self
            .writer
            .send_switching(&response.headers, exchange)
            .await
            .is_err()
        {
            return;
        }
        let deflate = response
            .headers
            .get_named(b"sec-websocket-extensions")
            .is_some_and(|agreed| agreed.starts_with(b"permessage-deflate"));
        let Body::Worker(body) = response.body else {
            return;
        };
        // Taking the upgraded connection out of the body sends the reader home.
        let Some(worker) = body.into_upgraded() else {
            return;
        };
        let Some(reader) = self.home.take() else {
            return;
        };
        let (read, early) = reader.into_parts();
        tunnel::run(
            self.shard,
            read,
            early,
            self.writer.io_mut(),
            worker,
            deflate,
        )
        .await;
    }

    /// Answers bytes that never became a request, then closes.
    async fn refuse(&mut self, failure: &Failure, reader: Box<Reader<R>>) {
        let id = reader.refused_id();
        self.shard.refused(failure, &id, &self.peer);
        let exchange = Exchange {
            id: &id,
            method: Method::Get,
            protocol: Protocol::Http11,
            keep_alive: false,
            date: self.shard.date(),
        };
        let response = failure.respond(&id, Form::Json);
        let sent = self
            .writer
            .send(response, &exchange, &self.home, self.shard.drain())
            .await;
        if sent != Sent::Cut {
            self.linger(reader).await;
        }
    }

    /// Closes so that the client can read the last answer although it may still
    /// be sending (RFC 9112 section 9.6).
    async fn linger(&mut self, mut reader: Box<Reader<R>>) {
        self.writer.shutdown().await;
        if !reader.is_closed() {
            let _ = tokio::time::timeout(LINGER, reader.discard(LINGER_BYTES)).await;
        }
    }
}

/// There is nobody left to answer.
#[derive(Clone, Copy, Debug)]
pub struct Aborted;
