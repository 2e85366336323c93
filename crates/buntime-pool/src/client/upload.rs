//! A request on its way to the worker: its head, then its body as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buntime_http::{BodyError, BodySource, Frame, write_chunk_head};
use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite as _;
use tokio::net::UnixStream;

use super::WorkerRequest;
use super::head::{RequestFraming, write_head};

/// Pieces up to this size are copied behind what waits to be written, so that a
/// small request is one write; larger ones are written from where they are.
const COPIED: usize = 16 * 1024;

/// Why a request could not be sent whole.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The body failed.
    Body(BodyError),
    /// The worker takes nothing more; it may have answered all the same.
    Refused,
}

/// What is left to send of a request.
pub(crate) struct Upload {
    body: Box<dyn BodySource>,
    framing: RequestFraming,
    /// Bytes that the announced length leaves.
    left: u64,
    out: Vec<u8>,
    written: usize,
    /// A large piece, to be written after `out`.
    piece: Bytes,
    /// What follows the large piece.
    tail: &'static [u8],
    /// Whether the body's last frame is in `out`.
    ended: bool,
    /// Whether the last call ended because the client sent nothing.
    waits_for_client: bool,
    /// Whether any byte has reached the worker.
    sent_any: bool,
    /// Whether a frame has been pulled, which cannot be pulled again.
    pulled: bool,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("framing", &self.framing)
            .field("left", &self.left)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// Begins with the head; `out` is a buffer to use.
    pub(crate) fn new(
        request: &WorkerRequest<'_>,
        body: Box<dyn BodySource>,
        mut out: Vec<u8>,
    ) -> Self {
        let framing = match body.content_length() {
            Some(0) if request.method.is_safe() => RequestFraming::None,
            Some(length) => RequestFraming::Length(length),
            None if body.is_end() => RequestFraming::None,
            None => RequestFraming::Chunked,
        };
        out.clear();
        write_head(&mut out, request, framing);
        Self {
            left: match framing {
                RequestFraming::Length(length) => length,
                RequestFraming::None | RequestFraming::Chunked => 0,
            },
            ended: match framing {
                RequestFraming::None | RequestFraming::Length(0) => true,
                RequestFraming::Length(_) | RequestFraming::Chunked => false,
            },
            body,
            framing,
            out,
            written: 0,
            piece: Bytes::new(),
            tail: b"",
            waits_for_client: false,
            sent_any: false,
            pulled: false,
        }
    }

    /// Whether everything has been written.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && self.is_flushed()
    }

    /// Whether it is the client, not the worker, that is being waited for.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.waits_for_client
    }

    /// Whether the request may be sent again because none of its body is lost.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.pulled
    }

    /// Whether any byte has reached the worker.
    pub(crate) fn sent_any(&self) -> bool {
        self.sent_any
    }

    /// Ready once the client is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_gone(cx)
    }

    /// Gives the body back for another try, and the buffer.
    pub(crate) fn into_parts(self) -> (Box<dyn BodySource>, Vec<u8>) {
        (self.body, self.out)
    }

    /// Sends on. Ready when all is sent, or for good failed.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut UnixStream,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            // What is there already goes out together with what waits.
            if !self.ended && self.has_room() {
                match self.poll_pull(cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(UploadError::Body(error))),
                    Poll::Ready(Ok(())) => continue,
                    Poll::Pending if self.is_flushed() => {
                        self.waits_for_client = true;
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if self.is_flushed() {
                if self.ended {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            ready!(self.poll_flush(cx, stream)).map_err(|_| UploadError::Refused)?;
        }
    }

    /// Whether another piece may be put behind what waits.
    fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.out.len() - self.written < COPIED
    }

    fn is_flushed(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Takes one frame of the body.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let frame = ready!(self.body.poll_frame(cx));
        self.pulled = true;
        self.waits_for_client = false;
        // What is written goes, or the buffer would grow with the body.
        self.out.drain(..self.written);
        self.written = 0;
        Poll::Ready(match frame {
            // Trailers end here: Bun shows none to the app, and reads them as the next
            // request on the connection.
            None | Some(Ok(Frame::Trailers(_))) => self.end(),
            Some(Err(error)) => Err(error),
            Some(Ok(Frame::Data(data))) => self.take(data),
        })
    }

    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        match self.framing {
            RequestFraming::Chunked => {
                write_chunk_head(&mut self.out, data.len());
                self.tail = b"\r\n";
            }
            RequestFraming::None | RequestFraming::Length(_) => {
                // A source that gives more than it announced would become the
                // next request on this connection.
                self.left = self
                    .left
                    .checked_sub(data.len() as u64)
                    .ok_or(BodyError::Framing)?;
                self.ended = self.left == 0;
            }
        }
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(self.tail);
            self.tail = b"";
        } else {
            self.piece = data;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        if self.framing != RequestFraming::Chunked {
            return if self.left == 0 {
                self.ended = true;
                Ok(())
            } else {
                Err(BodyError::Framing)
            };
        }
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.ended = true;
        Ok(())
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut UnixStream,
    ) -> Poll<io::Result<()>> {
        let waiting = self.out.get(self.written..).unwrap_or_default();
        let stream = Pin::new(stream);
        let count = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(stream.poll_write(cx, waiting))?
        } else {
            let parts = [
                IoSlice::new(waiting),
                IoSlice::new(&self.piece),
                IoSlice::new(self.tail),
            ];
            ready!(stream.poll_write_vectored(cx, &parts))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent_any = true;
        let from_out = count.min(self.out.len() - self.written);
        self.written += from_out;
        let from_piece = (count - from_out).min(self.piece.len());
        self.piece.advance(from_piece);
        self.tail = self
            .tail
            .get(count - from_out - from_piece..)
            .unwrap_or_default();
        Poll::Ready(Ok(()))
    }
}
