//! The writing half of an HTTP/1.1 connection.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_http::{Frame, HeaderId, HeaderList, Method, RequestId};
use buntime_pool::Alarm;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::reader::{HangUp, Home, Reader};
use crate::edge::date::HttpDate;
use crate::edge::pace::Pace;
use crate::message::{Body, BodyLength, Protocol, Response};

/// Data up to this length is copied behind the head, so that both leave in one
/// write without a second buffer.
const COALESCE: usize = 16 * 1024;

/// How long the last bytes of an encrypted connection may take. A plain one has
/// none of its own.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the request says about how its response must be framed.
pub(super) struct Exchange<'a> {
    pub(super) id: &'a RequestId,
    pub(super) method: Method,
    pub(super) protocol: Protocol,
    /// Whether the client would send another request on this connection.
    pub(super) keep_alive: bool,
    pub(super) date: &'a HttpDate,
}

/// Whether the connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The response is whole and the client expects more.
    Reusable,
    /// The response is whole; the connection ends here by agreement.
    Last,
    /// The response was cut: the connection must be closed at once.
    Cut,
    /// The body broke off before a byte of the response had left: another response
    /// can stand in its place.
    Nothing,
}

/// Why a body was not sent to its end.
enum Broken {
    Begun,
    Unsent,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Begun
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

pub(super) struct Writer<W> {
    io: W,
    out: Vec<u8>,
    alarm: Alarm,
    pace: Pace,
}

impl<W: AsyncWrite + Unpin + Send> Writer<W> {
    pub(super) fn new(io: W, timeout: Duration) -> Self {
        Self {
            io,
            out: Vec::with_capacity(1024),
            alarm: Alarm::new(Instant::now() + timeout),
            pace: Pace::new(timeout),
        }
    }

    /// The socket itself, for a protocol that follows this one.
    pub(super) fn io_mut(&mut self) -> &mut W {
        &mut self.io
    }

    /// Tells a client that waits with its body to send it.
    pub(super) async fn send_continue(&mut self) -> io::Result<()> {
        self.write([b"HTTP/1.1 100 Continue\r\n\r\n", b"", b""])
            .await
    }

    /// Closes the sending side, so that the client sees the end.
    pub(super) async fn shutdown(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        poll_fn(|cx| match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.alarm.poll(cx, deadline),
        })
        .await;
    }

    /// Sends a response's head alone, as before a change of protocol.
    pub(super) async fn send_switching(
        &mut self,
        headers: &HeaderList,
        exchange: &Exchange<'_>,
    ) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n",
        );
        write_fields(&mut out, headers, exchange);
        out.extend_from_slice(b"\r\n");
        let written = self.write([&out, b"", b""]).await;
        self.out = out;
        written
    }

    /// Sends a whole response; `home` tells when the client leaves meanwhile.
    pub(super) async fn send<R: AsyncRead + HangUp + Unpin + Send>(
        &mut self,
        mut response: Response,
        exchange: &Exchange<'_>,
        home: &Arc<Home<R>>,
        drain: &CancellationToken,
    ) -> Sent {
        self.pace.reset();
        let framing = framing(&response, exchange);
        let keep_alive = exchange.keep_alive && !response.close && framing != Framing::Close;
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        if exchange.protocol == Protocol::Http11 {
            for hints in &response.early_hints {
                out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
                hints.write_to(&mut out, |_| true);
                out.extend_from_slice(b"\r\n");
            }
        }
        write_head(&mut out, &response, exchange, framing, keep_alive);
        let body = std::mem::replace(&mut response.body, Body::Empty);
        let written = if framing == Framing::None || exchange.method == Method::Head {
            drop(body);
            self.write([&out, b"", b""]).await.map_err(Broken::from)
        } else {
            let endless = response.is_event_stream();
            let mut stream = Stream {
                body,
                framing,
                left: match response.length {
                    BodyLength::Exact(length) => length,
                    BodyLength::Unknown => u64::MAX,
                },
                reader: None,
                home,
                drain: endless.then(|| Box::pin(drain.clone().cancelled_owned())),
            };
            self.send_body(&mut out, &mut stream).await
        };
        out.shrink_to(4 * COALESCE);
        self.out = out;
        match written {
            Err(Broken::Begun) => Sent::Cut,
            Err(Broken::Unsent) => Sent::Nothing,
            Ok(()) if keep_alive => Sent::Reusable,
            Ok(()) => Sent::Last,
        }
    }

    /// Sends what stands in `out`, then the body. The head leaves as soon as the
    /// body has to be waited for.
    async fn send_body<R: AsyncRead + HangUp + Unpin + Send>(
        &mut self,
        out: &mut Vec<u8>,
        stream: &mut Stream<'_, R>,
    ) -> Result<(), Broken> {
        let mut begun = false;
        loop {
            let next = match poll_fn(|cx| Poll::Ready(stream.poll_next(cx))).await {
                Poll::Ready(Err(_)) if !begun => return Err(Broken::Unsent),
                Poll::Ready(next) => next?,
                Poll::Pending => {
                    if !out.is_empty() {
                        begun = true;
                        self.write([out, b"", b""]).await?;
                        out.clear();
                    }
                    poll_fn(|cx| stream.poll_next(cx)).await?
                }
            };
            match next {
                Next::Data(data) => {
                    self.send_data(out, &data, stream.framing).await?;
                    begun |= out.is_empty();
                }
                Next::End(trailers) => {
                    out.extend_from_slice(&trailers);
                    if !out.is_empty() {
                        self.write([out, b"", b""]).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn send_data(
        &mut self,
        out: &mut Vec<u8>,
        data: &Bytes,
        framing: Framing,
    ) -> io::Result<()> {
        let chunked = framing == Framing::Chunked;
        if chunked {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{:x}\r\n", data.len());
        }
        let tail: &[u8] = if chunked { b"\r\n" } else { b"" };
        if out.len() + data.len() <= COALESCE {
            out.extend_from_slice(data);
            out.extend_from_slice(tail);
            // More may be there already, as the end of a short body mostly is:
            // the loop writes once it has to wait, or when this grows.
            return Ok(());
        }
        self.write([out, data, tail]).await?;
        out.clear();
        Ok(())
    }

    /// Writes all three pieces, gathered, until the socket has taken them; fails if
    /// the client takes too little in too long.
    async fn write(&mut self, mut pieces: [&[u8]; 3]) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                let io = Pin::new(&mut self.io);
                // One piece leaves by the cheaper system call.
                let flushing = pieces == [b"", b"", b""];
                let written = match pieces {
                    // What TLS holds back; a plain socket holds nothing.
                    [[], [], []] => io.poll_flush(cx).map_ok(|()| 0),
                    [piece, [], []] => io.poll_write(cx, piece),
                    _ => io.poll_write_vectored(cx, &pieces.map(IoSlice::new)),
                };
                match written {
                    Poll::Ready(Ok(_)) if flushing => {
                        self.pace.stop();
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(Ok(mut written)) => {
                        self.pace.progress(written);
                        for piece in &mut pieces {
                            let taken = written.min(piece.len());
                            *piece = piece.get(taken..).unwrap_or_default();
                            written -= taken;
                        }
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        let deadline = self.pace.wait();
                        return self
                            .alarm
                            .poll(cx, deadline)
                            .map(|()| Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        })
        .await
    }
}

/// The end of a chunked body without trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A body on its way to the client.
struct Stream<'a, R> {
    body: Body,
    framing: Framing,
    /// What may still come before the body would be longer than announced.
    left: u64,
    /// The connection's reading half, once the handler is done with it.
    reader: Option<Box<Reader<R>>>,
    home: &'a Arc<Home<R>>,
    /// Set where the stream ends with the server, having no end of its own.
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

enum Next {
    Data(Bytes),
    /// The end, with the bytes that close the framing.
    End(Cow<'static, [u8]>),
}

impl<R: AsyncRead + HangUp + Unpin + Send> Stream<'_, R> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                let Some(left) = self.left.checked_sub(data.len() as u64) else {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                };
                self.left = left;
                Poll::Ready(Ok(Next::Data(data)))
            }
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                let mut end = b"0\r\n".to_vec();
                trailers.write_to(&mut end, |_| true);
                end.extend_from_slice(b"\r\n");
                Poll::Ready(Ok(self.end(Cow::Owned(end))))
            }
            Poll::Ready(None) if self.framing == Framing::Length && self.left > 0 => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Ready(None) => Poll::Ready(Ok(self.end(Cow::Borrowed(LAST_CHUNK)))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Poll::Pending => self.poll_interruptions(cx),
        }
    }

    fn end(&self, chunked: Cow<'static, [u8]>) -> Next {
        Next::End(if self.framing == Framing::Chunked {
            chunked
        } else {
            Cow::Borrowed(b"")
        })
    }

    /// What may end a quiet stream: its client leaves, or the server stops.
    fn poll_interruptions(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if self.reader.is_none() {
            self.reader = self.home.take();
        }
        if let Some(reader) = &mut self.reader
            && reader.poll_gone(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(drain) = &mut self.drain
            && drain.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(self.end(Cow::Borrowed(LAST_CHUNK))));
        }
        Poll::Pending
    }
}

impl<R> Drop for Stream<'_, R> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.home.put(reader);
        }
    }
}

fn framing(response: &Response, exchange: &Exchange<'_>) -> Framing {
    match (response.status, response.length) {
        (204 | 304, _) => Framing::None,
        (_, BodyLength::Exact(_)) => Framing::Length,
        (_, BodyLength::Unknown) if exchange.protocol == Protocol::Http10 => Framing::Close,
        (_, BodyLength::Unknown) => Framing::Chunked,
    }
}

fn write_head(
    out: &mut Vec<u8>,
    response: &Response,
    exchange: &Exchange<'_>,
    framing: Framing,
    keep_alive: bool,
) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(response.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(out, &response.headers, exchange);
    match (framing, response.length) {
        (Framing::Length, BodyLength::Exact(length)) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(digits.format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {}
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if exchange.protocol == Protocol::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn write_fields(out: &mut Vec<u8>, headers: &HeaderList, exchange: &Exchange<'_>) {
    let mut dated = false;
    headers.write_to(out, |header| {
        dated |= header.id == HeaderId::Date;
        !matches!(
            header.id,
            HeaderId::Connection
                | HeaderId::ContentLength
                | HeaderId::TransferEncoding
                | HeaderId::XRequestId
        )
    });
    if !dated {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(&exchange.date.now());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"x-request-id: ");
    out.extend_from_slice(exchange.id.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrases of the codes in use; clients ignore them (RFC 9112 section 4).
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::time::{sleep, timeout};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    /// Writes 100 KB to a client that takes `bytes` every `pause`.
    async fn write_to_one_that_takes(bytes: usize, pause: Duration) -> io::Result<()> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut writer = Writer::new(ours, GRACE);
        let client = tokio::spawn(async move {
            let mut taken = vec![0; bytes];
            while theirs.read_exact(&mut taken).await.is_ok() {
                sleep(pause).await;
            }
        });
        let written = writer.write([&[b'x'; 50_000], &[b'y'; 50_000], b""]).await;
        client.abort();
        written
    }

    #[tokio::test(start_paused = true)]
    async fn t23_a_client_that_takes_too_little_is_cut() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let cut = write_to_one_that_takes(20, second).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        // 20 bytes earn a twelfth of the second in which they are taken.
        let lived = begun.elapsed().as_secs();
        assert!((30..36).contains(&lived), "it lived {lived} s");
        let cut = write_to_one_that_takes(1, GRACE * 2).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        let slow = write_to_one_that_takes(60, second / 4);
        let slow = timeout(Duration::from_secs(1000), slow).await;
        assert!(slow.unwrap().is_ok(), "one in time was cut");
    }
}
