//! HTTPS: the handshake, and the encrypted stream as the two halves that the
//! protocols above read and write.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::h1::{self, HangUp};
use super::shard::{Shard, Speaks, serve};
use crate::failure::Failure;
use crate::message::{Peer, Scheme};
use crate::tls::Tls;

/// What may wait, encrypted, until the socket takes it. Small, so that a client
/// that takes nothing is noticed and costs little.
const SEND_BUFFER: usize = 32 * 1024;

/// A client that speaks plain HTTP here is told so, not left to guess at an alert.
const HTTPS_ONLY: Failure = Failure::new(400, "HTTPS_REQUIRED", "This port speaks HTTPS only.");

/// How a handshake ended.
enum Handshake {
    Done(Box<TlsStream<TcpStream>>),
    /// The first byte is a letter, which no handshake begins with.
    PlainHttp(TcpStream),
    Failed(io::Error),
    /// The server stops.
    Stopped,
}

/// Shakes hands, then serves the connection. The handshake has the time of a
/// head; what it may fill is bounded by rustls.
pub(super) async fn accept(shard: Arc<Shard>, tls: &Tls, stream: TcpStream, mut peer: Peer) {
    let limit = shard.settings().timeouts.head;
    let handshake = tokio::select! {
        biased;
        done = tokio::time::timeout(limit, shake_hands(tls, stream)) => {
            done.unwrap_or_else(|_| Handshake::Failed(io::ErrorKind::TimedOut.into()))
        }
        () = shard.drain().cancelled() => Handshake::Stopped,
    };
    let stream = match handshake {
        Handshake::Done(stream) => stream,
        Handshake::PlainHttp(stream) => {
            let (read, write) = stream.into_split();
            return h1::refuse(shard, read, write, &HTTPS_ONLY.closing(), peer).await;
        }
        Handshake::Failed(error) => return shard.handshake_failed(&peer, &error),
        Handshake::Stopped => return,
    };
    peer.scheme = Scheme::Https;
    let speaks = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speaks::Http2,
        _ => Speaks::Http1,
    };
    let shared = Arc::new(Mutex::new(*stream));
    let (read, write) = (TlsRead(Arc::clone(&shared)), TlsWrite(shared));
    serve(shard, (read, BytesMut::new()), write, peer, speaks).await;
}

async fn shake_hands(tls: &Tls, stream: TcpStream) -> Handshake {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1..) if first[0].is_ascii_alphabetic() => return Handshake::PlainHttp(stream),
        Ok(_) => {}
        Err(error) => return Handshake::Failed(error),
    }
    let accepting = TlsAcceptor::from(tls.current()).accept_with(stream, |connection| {
        connection.set_buffer_limit(Some(SEND_BUFFER));
    });
    match accepting.await {
        Ok(stream) => Handshake::Done(Box::new(stream)),
        Err(error) => Handshake::Failed(error),
    }
}

type Shared = Arc<Mutex<TlsStream<TcpStream>>>;

/// The reading half. Both halves are polled by one task, so the lock is never
/// waited for, and one waker for each direction of the socket is enough.
pub(super) struct TlsRead(Shared);

/// The writing half.
pub(super) struct TlsWrite(Shared);

impl AsyncRead for TlsRead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(cx, buf)
    }
}

impl HangUp for TlsRead {
    fn is_hung_up(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.0.lock();
        let ready = pin!(stream.get_ref().0.ready(Interest::READABLE));
        matches!(ready.poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncWrite for TlsWrite {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(cx)
    }
}
