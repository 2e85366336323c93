//! Bodies as they flow: pulled a frame at a time, so that back-pressure is the
//! absence of a pull.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::HeaderList;

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Some bytes, never empty.
    Data(Bytes),
    /// The trailer section; nothing follows it.
    Trailers(HeaderList),
}

/// Why a request body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client closed the connection or reset the stream.
    #[error("the client went away")]
    Gone,
    /// The bytes do not follow the framing that the head announced.
    #[error("the body's framing is broken")]
    Framing,
    /// More than the limit that [`BodySource::set_limit`] gave.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// No progress within the body timeout, or slower than the minimum rate.
    #[error("the body arrived too slowly")]
    TooSlow,
}

/// Where a request's body comes from.
///
/// The edge implements it for HTTP/1.1 and for HTTP/2; who handles a request
/// pulls. Dropping a source before its end is allowed at any time.
pub trait BodySource: Send {
    /// The length that the head announced; `Some(0)` when there is no body.
    fn content_length(&self) -> Option<u64>;

    /// Whether no frame will come any more (no body, or all of it was pulled).
    fn is_end(&self) -> bool;

    /// The most bytes that may still be pulled before [`BodyError::TooLarge`].
    fn set_limit(&mut self, bytes: u64);

    /// The next frame; `None` at the end. An error is final.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// Ready once the client is known to be gone. Pulls nothing from the body.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl dyn BodySource + '_ {
    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyError>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }
}
