//! The reading half of an HTTP/1.1 connection: heads between requests, a body
//! during one.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buntime_http::{
    BodyError, BodyFraming, BodySource, ChunkedDecoder, Decoded, Frame, HeadLimits, RequestError,
    RequestHead, RequestId, parse_request_from,
};
use buntime_pool::Alarm;
use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, Interest};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};

use crate::edge::Timeouts;
use crate::edge::pace::Pace;

/// How much is read at once while a head is awaited. A head is seldom larger.
const HEAD_READ: usize = 8 * 1024;
/// How much is read at once while a body flows.
const BODY_READ: usize = 128 * 1024;
/// Most of a body that is read only to be thrown away, so that the connection can
/// be used again.
const DRAIN: u64 = 64 * 1024;
/// Most that is read of a client whose turn it is not, to see whether it leaves.
const AHEAD: usize = 64 * 1024;
/// How often a client that has sent more than that is looked at.
const HANG_UP_CHECK: Duration = Duration::from_secs(1);

/// Why no head came.
#[derive(Debug)]
pub(super) enum HeadFault {
    /// The client closed, or its socket failed.
    Closed,
    /// Nothing was asked for longer than a connection may rest.
    Idle,
    /// Bytes that are no acceptable head.
    Refused(RequestError),
    /// A head that took longer than the head timeout.
    TooSlow,
}

/// The reading half of a connection. It moves into the request's body while one
/// is handled and comes home afterwards.
pub(super) struct Reader<R> {
    io: R,
    buf: BytesMut,
    /// How far `buf` was searched for the end of a head.
    searched: usize,
    limits: HeadLimits,
    timeouts: Timeouts,
    alarm: Alarm,
    state: BodyState,
    /// The client closed its side.
    eof: bool,
    pace: Pace,
    /// Until the next look at a client that is not read.
    look: Option<Pin<Box<Sleep>>>,
}

enum BodyState {
    End,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// The framing broke or the client went: nothing can be read any more.
    Broken,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    pub(super) fn new(io: R, buf: BytesMut, limits: HeadLimits, timeouts: Timeouts) -> Self {
        Self {
            io,
            buf,
            searched: 0,
            limits,
            timeouts,
            alarm: Alarm::new(Instant::now() + timeouts.idle),
            state: BodyState::End,
            eof: false,
            pace: Pace::new(timeouts.body),
            look: None,
        }
    }

    /// Whether the next request has not begun to arrive.
    pub(super) fn is_idle(&self) -> bool {
        self.buf.is_empty()
    }

    /// Whether the body was read to its end, so that a head may follow.
    pub(super) fn body_is_done(&self) -> bool {
        matches!(self.state, BodyState::End)
    }

    /// Whether what is left of the body is little, as far as one knows.
    fn has_short_rest(&self) -> bool {
        match self.state {
            BodyState::End | BodyState::Chunked(_) => true,
            BodyState::Length(left) => left <= DRAIN,
            BodyState::Broken => false,
        }
    }

    /// Reads what is left of the body and throws it away; whether a head may follow.
    /// The caller bounds the time.
    pub(super) async fn drain_body(&mut self) -> bool {
        let mut limit = DRAIN;
        loop {
            match std::future::poll_fn(|cx| self.poll_body(cx, &mut limit)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    }

    /// The id of the request whose head was refused.
    pub(super) fn refused_id(&self) -> RequestId {
        RequestId::of_refused(&self.buf)
    }

    /// Whether the client has closed its side.
    pub(super) fn is_closed(&self) -> bool {
        self.eof
    }

    /// The next head. Waits for its first byte up to the idle timeout, then for
    /// the rest of it up to the head timeout.
    pub(super) async fn head(&mut self) -> Result<RequestHead, HeadFault> {
        let mut started = !self.buf.is_empty();
        let limit = if started {
            self.timeouts.head
        } else {
            self.timeouts.idle
        };
        let mut deadline = Instant::now() + limit;
        loop {
            if !self.buf.is_empty() {
                match parse_request_from(&self.buf, &mut self.searched, &self.limits) {
                    Ok(Some((head, used))) => {
                        let _ = self.buf.split_to(used);
                        self.searched = 0;
                        self.begin_body(head.framing);
                        return Ok(head);
                    }
                    Ok(None) => {}
                    Err(error) => return Err(HeadFault::Refused(error)),
                }
                if !started {
                    started = true;
                    deadline = Instant::now() + self.timeouts.head;
                }
            }
            if self.eof {
                return Err(HeadFault::Closed);
            }
            let filled = std::future::poll_fn(|cx| {
                if let Poll::Ready(read) = self.poll_fill(cx, HEAD_READ) {
                    return Poll::Ready(Some(read));
                }
                self.alarm.poll(cx, deadline).map(|()| None)
            })
            .await;
            match filled {
                Some(Ok(0) | Err(_)) => return Err(HeadFault::Closed),
                Some(Ok(_)) => {}
                None if started => return Err(HeadFault::TooSlow),
                None => return Err(HeadFault::Idle),
            }
        }
    }

    fn begin_body(&mut self, framing: BodyFraming) {
        self.pace.reset();
        self.state = match framing {
            BodyFraming::None => BodyState::End,
            BodyFraming::Length(length) => BodyState::Length(length),
            BodyFraming::Chunked => BodyState::Chunked(Box::default()),
        };
    }

    /// Takes all that arrived, for a protocol that follows this one.
    pub(super) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buf)
    }

    /// Reads and throws away what the client still sends, so that closing does
    /// not reset the connection before it has read our answer (RFC 9112 section
    /// 9.6). Bounded in bytes; the caller bounds the time.
    pub(super) async fn discard(&mut self, mut bytes: usize) {
        while bytes > 0 && !self.eof {
            self.buf.clear();
            match std::future::poll_fn(|cx| self.poll_fill(cx, HEAD_READ)).await {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes = bytes.saturating_sub(read),
            }
        }
    }

    /// Reads once into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<std::io::Result<usize>> {
        if self.buf.capacity() - self.buf.len() < want / 2 {
            self.buf.reserve(want);
        }
        let read = ready!(tokio_util::io::poll_read_buf(
            Pin::new(&mut self.io),
            cx,
            &mut self.buf
        ));
        if matches!(read, Ok(0) | Err(_)) {
            self.eof = true;
        }
        Poll::Ready(read)
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        limit: &mut u64,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            match self.take_buffered(limit) {
                Ok(Some(frame)) => {
                    self.pace.stop();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if self.body_is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => {
                    self.state = BodyState::Broken;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match self.poll_fill(cx, BODY_READ) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.state = BodyState::Broken;
                    return Poll::Ready(Some(Err(BodyError::Gone)));
                }
                Poll::Ready(Ok(read)) => self.pace.progress(read),
                Poll::Pending => {
                    let deadline = self.pace.wait();
                    ready!(self.alarm.poll(cx, deadline));
                    self.state = BodyState::Broken;
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
            }
        }
    }

    /// The next frame out of what was already read.
    fn take_buffered(&mut self, limit: &mut u64) -> Result<Option<Frame>, BodyError> {
        match &mut self.state {
            BodyState::End => Ok(None),
            BodyState::Broken => Err(BodyError::Framing),
            BodyState::Length(left) => {
                if self.buf.is_empty() {
                    return Ok(None);
                }
                let take =
                    usize::try_from(*left).map_or(self.buf.len(), |left| left.min(self.buf.len()));
                charge(limit, take)?;
                *left -= take as u64;
                let data = self.buf.split_to(take).freeze();
                if *left == 0 {
                    self.state = BodyState::End;
                }
                Ok(Some(Frame::Data(data)))
            }
            BodyState::Chunked(decoder) => {
                match decoder
                    .decode(&mut self.buf)
                    .map_err(|_| BodyError::Framing)?
                {
                    Decoded::NeedMore => Ok(None),
                    Decoded::Data(data) => {
                        charge(limit, data.len())?;
                        Ok(Some(Frame::Data(data)))
                    }
                    Decoded::End(trailers) => {
                        self.state = BodyState::End;
                        Ok(trailers
                            .filter(|trailers| !trailers.is_empty())
                            .map(Frame::Trailers))
                    }
                }
            }
        }
    }

    /// Ready once the client has closed. What it sends until then is kept.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>
    where
        R: HangUp,
    {
        while !self.eof {
            if self.buf.len() >= AHEAD {
                return self.poll_hang_up(cx);
            }
            if let Ok(read @ 1..) = ready!(self.poll_fill(cx, HEAD_READ)) {
                self.pace.progress(read);
                // It may be what the body is waited for.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(())
    }

    /// The same for a client of which more has come than is read here. Nobody is
    /// woken when it closes behind that, so it is looked at again and again.
    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<()>
    where
        R: HangUp,
    {
        while !self.io.is_hung_up(cx) {
            let look = self
                .look
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(HANG_UP_CHECK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
        }
        Poll::Ready(())
    }
}

/// A socket's reading half that knows whether the peer has closed, also while
/// bytes from before are not read.
pub(crate) trait HangUp {
    /// Whether the peer has closed its side or the connection is broken.
    fn is_hung_up(&self, cx: &mut Context<'_>) -> bool;
}

impl HangUp for OwnedReadHalf {
    fn is_hung_up(&self, cx: &mut Context<'_>) -> bool {
        let ready = pin!(self.ready(Interest::READABLE));
        matches!(ready.poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

fn charge(limit: &mut u64, bytes: usize) -> Result<(), BodyError> {
    *limit = limit.checked_sub(bytes as u64).ok_or(BodyError::TooLarge)?;
    Ok(())
}

/// Where a [`Reader`] comes home to when the body that held it is dropped.
pub(super) struct Home<R>(Mutex<Stay<R>>);

struct Stay<R> {
    reader: Option<Box<Reader<R>>>,
    /// The body was asked for while the client still waits for `100 Continue`.
    wants_continue: bool,
}

impl<R> Home<R> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Stay {
            reader: None,
            wants_continue: false,
        })))
    }

    pub(super) fn take(&self) -> Option<Box<Reader<R>>> {
        self.0.lock().reader.take()
    }

    pub(super) fn put(&self, reader: Box<Reader<R>>) {
        self.0.lock().reader = Some(reader);
    }

    /// Whether the request's body is over or can be: false where it is known that
    /// the connection has to close.
    pub(super) fn may_continue(&self) -> bool
    where
        R: AsyncRead + Unpin + Send,
    {
        let stay = self.0.lock();
        stay.reader
            .as_ref()
            .is_none_or(|reader| reader.has_short_rest())
    }

    /// Whether `100 Continue` is due now; true once.
    pub(super) fn take_continue(&self) -> bool {
        std::mem::take(&mut self.0.lock().wants_continue)
    }
}

/// The body of the request under way.
pub(super) struct H1Body<R> {
    reader: Option<Box<Reader<R>>>,
    home: Arc<Home<R>>,
    limit: u64,
    length: Option<u64>,
    expects_continue: bool,
}

impl<R: AsyncRead + Unpin + Send> H1Body<R> {
    pub(super) fn new(
        reader: Box<Reader<R>>,
        home: Arc<Home<R>>,
        framing: BodyFraming,
        expects_continue: bool,
    ) -> Self {
        let length = match framing {
            BodyFraming::None => Some(0),
            BodyFraming::Length(length) => Some(length),
            BodyFraming::Chunked => None,
        };
        Self {
            reader: Some(reader),
            home,
            limit: u64::MAX,
            length,
            expects_continue,
        }
    }
}

impl<R: AsyncRead + HangUp + Unpin + Send> BodySource for H1Body<R> {
    fn content_length(&self) -> Option<u64> {
        self.length
    }

    fn is_end(&self) -> bool {
        self.reader
            .as_ref()
            .is_none_or(|reader| reader.body_is_done())
    }

    fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(None);
        };
        let frame = reader.poll_body(cx, &mut self.limit);
        if frame.is_pending() && std::mem::take(&mut self.expects_continue) {
            self.home.0.lock().wants_continue = true;
        }
        frame
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.reader {
            Some(reader) if matches!(reader.state, BodyState::Broken) => Poll::Ready(()),
            Some(reader) => reader.poll_gone(cx),
            None => Poll::Pending,
        }
    }
}

impl<R> Drop for H1Body<R> {
    fn drop(&mut self) {
        let mut reader = self.reader.take();
        if let Some(reader) = &mut reader
            && self.expects_continue
            && !matches!(reader.state, BodyState::End)
        {
            // The client was never told to send its body and may not do so.
            reader.state = BodyState::Broken;
        }
        self.home.0.lock().reader = reader;
    }
}
