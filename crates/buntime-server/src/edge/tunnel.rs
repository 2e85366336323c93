//! A connection that has become a WebSocket: bytes both ways, watched.
//!
//! The server takes no part in the conversation, but follows the frames so that
//! a client that floods or breaks the protocol is sent away with a reason, and
//! so that both sides get a proper Close when the server stops.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buntime_http::{Direction, FrameInspector, FrameLimits, close_frame};
use buntime_pool::{Alarm, Upgraded};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFuture;

use super::pace::Pace;
use super::shard::Shard;

/// The largest message that passes; Bun's own default is the same.
const MESSAGE_MAX: u64 = 16 * 1024 * 1024;
/// Control frames a peer may send in a window of [`CONTROL_WINDOW`].
const CONTROLS: u32 = 100;
const CONTROL_WINDOW: Duration = Duration::from_secs(1);
/// How much is read of one side before the other must have taken it.
const READ: usize = 64 * 1024;
/// The Close code of a server that goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;
/// How long the last bytes may take once the tunnel is ending.
const FAREWELL: Duration = Duration::from_secs(2);

/// Carries frames until either side ends, breaks the protocol or stops reading,
/// or the server stops. `early` was read of the client before the tunnel began;
/// `deflate` says whether both sides agreed on compression.
pub(super) async fn run<R, W>(
    shard: &Shard,
    read: R,
    early: BytesMut,
    write: &mut W,
    worker: Upgraded,
    deflate: bool,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Upgraded {
        read: worker_read,
        write: worker_write,
        leftover,
        place: _place,
    } = worker;
    let settings = Settings {
        stall: shard.settings().timeouts.write,
        deflate,
    };
    let mut up = Lane::new(
        read,
        worker_write,
        early.freeze(),
        Direction::FromClient,
        settings,
    );
    let mut down = Lane::new(
        worker_read,
        write,
        leftover,
        Direction::FromServer,
        settings,
    );
    let mut drained = pin!(shard.drain().cancelled());
    let end = poll_fn(|cx| poll(cx, &mut up, &mut down, drained.as_mut())).await;
    if let Some(code) = end {
        let _ = tokio::time::timeout(FAREWELL, farewell(&mut up, &mut down, code)).await;
    }
}

/// Ready once the tunnel is over, with the Close code that the client is owed.
fn poll<R, W, S, T>(
    cx: &mut Context<'_>,
    up: &mut Lane<R, W>,
    down: &mut Lane<S, T>,
    drained: Pin<&mut WaitForCancellationFuture<'_>>,
) -> Poll<Option<u16>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    // The worker's frames first: what it has said is delivered before an end.
    let down = down.poll(cx);
    let up = up.poll(cx);
    match (down, up) {
        (Poll::Ready(End::Violation(_)), _) => Poll::Ready(Some(1011)),
        (_, Poll::Ready(End::Violation(code))) => Poll::Ready(Some(code)),
        (Poll::Ready(End::Closed | End::Failed), _) | (_, Poll::Ready(End::Failed)) => {
            Poll::Ready(None)
        }
        (Poll::Pending, Poll::Ready(End::Closed)) => Poll::Ready(None),
        (Poll::Pending, Poll::Pending) => drained.poll(cx).map(|()| Some(GOING_AWAY)),
    }
}

/// Tells the client why it is over, if a frame may stand here, and the worker
/// that its peer is gone.
async fn farewell<R, W, S, T>(up: &mut Lane<R, W>, down: &mut Lane<S, T>, code: u16)
where
    W: AsyncWrite + Unpin,
    T: AsyncWrite + Unpin,
{
    if down.inspector.at_boundary() && !down.inspector.is_closed() {
        let _ = poll_fn(|cx| down.poll_flush(cx)).await;
        down.waiting = Bytes::copy_from_slice(&close_frame(code));
    }
    let _ = poll_fn(|cx| down.poll_flush(cx)).await;
    let _ = poll_fn(|cx| Pin::new(&mut down.write).poll_shutdown(cx)).await;
    let _ = poll_fn(|cx| Pin::new(&mut up.write).poll_shutdown(cx)).await;
}

/// How a lane ended.
enum End {
    /// Its source has nothing more, and all of it was delivered.
    Closed,
    /// A socket failed, or the destination stopped reading.
    Failed,
    /// The source broke the protocol; the Close code says how.
    Violation(u16),
}

/// What both directions have in common.
#[derive(Clone, Copy)]
struct Settings {
    /// How long a destination may take nothing.
    stall: Duration,
    deflate: bool,
}

/// One direction of a tunnel.
struct Lane<R, W> {
    read: R,
    write: W,
    buf: BytesMut,
    /// Inspected and on its way.
    waiting: Bytes,
    inspector: FrameInspector,
    started: Instant,
    /// How the destination keeps time.
    pace: Pace,
    alarm: Alarm,
    early: Bytes,
}

impl<R, W> Lane<R, W> {
    fn new(read: R, write: W, early: Bytes, direction: Direction, settings: Settings) -> Self {
        let limits = FrameLimits {
            frame: MESSAGE_MAX,
            message: MESSAGE_MAX,
            controls: CONTROLS,
            window: CONTROL_WINDOW,
            deflate: settings.deflate,
        };
        Self {
            read,
            write,
            buf: BytesMut::new(),
            waiting: Bytes::new(),
            inspector: FrameInspector::new(direction, limits),
            started: Instant::now(),
            pace: Pace::new(settings.stall),
            alarm: Alarm::new(Instant::now() + settings.stall),
            early,
        }
    }
}

impl<R, W: AsyncWrite + Unpin> Lane<R, W> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let flushing = self.waiting.is_empty();
            let write = Pin::new(&mut self.write);
            let written = if flushing {
                // What TLS holds back; a plain socket holds nothing.
                write.poll_flush(cx).map_ok(|()| 0)
            } else {
                write.poll_write(cx, &self.waiting)
            };
            match written {
                Poll::Ready(Ok(_)) if flushing => {
                    self.pace.stop();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.pace.progress(written);
                    self.waiting.advance(written);
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
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Lane<R, W> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(End::Failed);
            }
            let bytes = if self.early.is_empty() {
                self.buf.reserve(READ);
                let read =
                    tokio_util::io::poll_read_buf(Pin::new(&mut self.read), cx, &mut self.buf);
                match ready!(read) {
                    Ok(0) => return Poll::Ready(End::Closed),
                    Ok(_) => self.buf.split().freeze(),
                    Err(_) => return Poll::Ready(End::Failed),
                }
            } else {
                std::mem::take(&mut self.early)
            };
            if let Err(violation) = self.inspector.inspect(&bytes, self.started.elapsed()) {
                return Poll::Ready(End::Violation(violation.close_code()));
            }
            self.waiting = bytes;
        }
    }
}
