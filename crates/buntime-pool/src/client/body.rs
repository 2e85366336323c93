//! A response's body on its way from the worker.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buntime_http::{BodyError, ChunkedDecoder, Decoded, Frame, ResponseFraming, ResponseHead};
use bytes::{Bytes, BytesMut};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, sleep};

use super::upload::{Upload, UploadError};
use crate::connections::{Connection, Shelf};
use crate::error::WorkerBodyError;
use crate::instance::Lease;

/// How much is read at a time when nobody knows how much will come.
const READ: usize = 64 * 1024;
/// How much is read at a time of a body that is known to be large.
const LARGE_READ: usize = 256 * 1024;

/// From which length on a piece of a body has its buffer to itself.
const LET_GO: usize = 2 * 1024;

/// A response's body, pulled a frame at a time. It holds the request's place in
/// the worker until its end or until it is dropped; dropped before its end, the
/// connection closes and the request is aborted in the worker.
#[derive(Debug)]
pub struct WorkerBody {
    /// Present until the end.
    open: Option<Open>,
    framing: Framing,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    lease: Lease,
    shelf: Arc<Shelf>,
    /// What is left to send of the request.
    upload: Option<Upload>,
    reusable: bool,
    silence: Option<Silence>,
}

#[derive(Debug)]
enum Framing {
    End,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    Close,
    Upgraded,
}

/// Ends a body on which nothing moves.
#[derive(Debug)]
struct Silence {
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

impl WorkerBody {
    pub(super) fn new(
        connection: Connection,
        lease: Lease,
        shelf: Arc<Shelf>,
        head: &ResponseHead,
        upload: Option<Upload>,
        reusable: bool,
    ) -> Self {
        let framing = match head.framing {
            _ if head.status == 101 => Framing::Upgraded,
            ResponseFraming::None | ResponseFraming::Length(0) => Framing::End,
            ResponseFraming::Length(length) => Framing::Length(length),
            ResponseFraming::Chunked => Framing::Chunked(Box::default()),
            ResponseFraming::Close => Framing::Close,
        };
        let silence = lease.longest_silence().map(|longest| Silence {
            longest,
            timer: Box::pin(sleep(longest)),
        });
        let mut body = Self {
            open: Some(Open {
                connection,
                lease,
                shelf,
                upload,
                reusable,
                silence,
            }),
            framing,
        };
        if matches!(body.framing, Framing::End) {
            body.finish();
        }
        body
    }

    /// The length that is left, if the worker announced one.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.framing {
            Framing::End => Some(0),
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Close | Framing::Upgraded => None,
        }
    }

    /// Whether no frame will come any more.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.open.is_none()
    }

    /// The next frame; `None` at the end. An error is final.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, WorkerBodyError>>> {
        let outcome = ready!(self.poll_next(cx));
        match &outcome {
            Ok(Some(Frame::Data(_))) => {}
            Ok(Some(Frame::Trailers(_))) | Ok(None) => self.finish(),
            Err(_) => {
                self.framing = Framing::End;
                self.open = None;
            }
        }
        Poll::Ready(outcome.transpose())
    }

    /// The next frame; `None` at the end. An error is final.
    pub async fn frame(&mut self) -> Option<Result<Frame, WorkerBodyError>> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// The connection after a 101 response; `None` after any other.
    #[must_use]
    pub fn into_upgraded(self) -> Option<Upgraded> {
        let (Framing::Upgraded, Some(open)) = (self.framing, self.open) else {
            return None;
        };
        let (read, write) = open.connection.stream.into_split();
        Some(Upgraded {
            read,
            write,
            leftover: open.connection.input.freeze(),
            place: UpgradedPlace { _lease: open.lease },
        })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, WorkerBodyError>> {
        let Some(open) = &mut self.open else {
            return Poll::Ready(Ok(None));
        };
        open.poll_upload(cx)?;
        loop {
            let input = &mut open.connection.input;
            match &mut self.framing {
                Framing::End | Framing::Upgraded => return Poll::Ready(Ok(None)),
                Framing::Length(left) => {
                    let here = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(input.len());
                    if here > 0 {
                        *left -= here as u64;
                        let data = input.split_to(here).freeze();
                        let_go(input, &data);
                        if *left == 0 {
                            self.framing = Framing::End;
                            self.finish();
                        }
                        return Poll::Ready(Ok(Some(Frame::Data(data))));
                    }
                }
                Framing::Chunked(decoder) => {
                    match decoder
                        .decode(input)
                        .map_err(|_| WorkerBodyError::Framing)?
                    {
                        Decoded::Data(data) => {
                            let_go(input, &data);
                            return Poll::Ready(Ok(Some(Frame::Data(data))));
                        }
                        Decoded::End(trailers) => {
                            return Poll::Ready(Ok(trailers.map(Frame::Trailers)));
                        }
                        Decoded::NeedMore => {}
                    }
                }
                Framing::Close if !input.is_empty() => {
                    let data = input.split().freeze();
                    return Poll::Ready(Ok(Some(Frame::Data(data))));
                }
                Framing::Close => {}
            }
            let room = match self.framing {
                Framing::Length(left) => {
                    usize::try_from(left).unwrap_or(LARGE_READ).min(LARGE_READ)
                }
                _ => READ,
            };
            match open.connection.poll_fill(cx, room) {
                Poll::Ready(Ok(0)) if matches!(self.framing, Framing::Close) => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(WorkerBodyError::Truncated));
                }
                Poll::Ready(Ok(_)) => {
                    if let Some(silence) = &mut open.silence {
                        silence.broken();
                    }
                }
                Poll::Pending => return open.poll_silence(cx),
            }
        }
    }

    /// The response is whole: keeps the connection if it may serve another
    /// request, and gives the place in the worker back.
    fn finish(&mut self) {
        let by_close = matches!(self.framing, Framing::Close | Framing::Upgraded);
        self.framing = Framing::End;
        let Some(open) = self.open.take() else {
            return;
        };
        // Bytes past the end are nobody's; they must not answer the next request.
        if open.reusable && !by_close && open.upload.is_none() && open.connection.input.is_empty() {
            open.shelf.put(open.lease.instance(), open.connection);
        }
    }
}

/// Leaves the buffer that `data` was read into to `data` alone: whoever is slow to
/// send that on waits long before the next read, which makes a buffer of its own.
fn let_go(input: &mut BytesMut, data: &Bytes) {
    if data.len() >= LET_GO && input.len() <= LET_GO / 16 {
        *input = BytesMut::from(input.as_ref());
    }
}

impl Open {
    /// Sends what the worker takes of the request.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), WorkerBodyError> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        match upload.poll_send(cx, &mut self.connection.stream) {
            // A worker that takes nothing more keeps the client's end from being read.
            Poll::Pending if upload.poll_gone(cx).is_ready() => {
                return Err(WorkerBodyError::Request(BodyError::Gone));
            }
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(UploadError::Refused)) => {
                self.upload = None;
                self.reusable = false;
            }
            Poll::Ready(Err(UploadError::Body(error))) => {
                return Err(WorkerBodyError::Request(error));
            }
        }
        Ok(())
    }

    fn poll_silence(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, WorkerBodyError>> {
        let Some(silence) = &mut self.silence else {
            return Poll::Pending;
        };
        silence
            .timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(WorkerBodyError::Silent))
    }
}

impl Silence {
    fn broken(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.longest);
    }
}

/// A connection to a worker that speaks another protocol now.
#[derive(Debug)]
pub struct Upgraded {
    /// From the worker.
    pub read: OwnedReadHalf,
    /// To the worker.
    pub write: OwnedWriteHalf,
    /// What the worker sent right after the head.
    pub leftover: Bytes,
    /// Keeps the place in the worker; drop it when the connection is over.
    pub place: UpgradedPlace,
}

/// A place in a worker that an upgraded connection holds.
#[derive(Debug)]
pub struct UpgradedPlace {
    _lease: Lease,
}
