//! One request to a worker and its response.

use std::task::{Context, Poll};

use buntime_http::{Frame, HeaderList, Method, RequestId, ResponseHead};
use bytes::Bytes;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::WorkerBodyError;

/// A request as it goes to a worker, without its body.
#[derive(Debug)]
pub struct WorkerRequest<'a> {
    /// The method.
    pub method: Method,
    /// Path below the app's base, and query, as they are sent.
    pub target: &'a [u8],
    /// The fields. The pool leaves out hop-by-hop fields, those about the body's
    /// framing, `x-request-id` and `x-buntime-*`, and adds its own.
    pub headers: &'a HeaderList,
    /// Sent as `x-request-id`.
    pub request_id: &'a RequestId,
    /// Whether this asks for a change to the WebSocket protocol.
    pub websocket: bool,
}

/// A worker's response.
#[derive(Debug)]
pub struct WorkerResponse {
    /// The final head, without `x-buntime-*` fields.
    pub head: ResponseHead,
    /// The fields of each 103 response that came before it.
    pub early_hints: Vec<HeaderList>,
    /// The body. Dropping it before its end aborts the request in the worker.
    pub body: WorkerBody,
}

/// A response's body, pulled a frame at a time. It holds the request's place in
/// the worker until its end or until it is dropped.
#[derive(Debug)]
pub struct WorkerBody {}

impl WorkerBody {
    /// The length that the head announced, less what was pulled; `None` if unknown.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        None
    }

    /// Whether no frame will come any more.
    #[must_use]
    pub fn is_end(&self) -> bool {
        true
    }

    /// The next frame; `None` at the end. An error is final.
    pub fn poll_frame(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, WorkerBodyError>>> {
        Poll::Ready(None)
    }

    /// The connection after a 101 response; `None` after any other.
    #[must_use]
    pub fn into_upgraded(self) -> Option<Upgraded> {
        None
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
pub struct UpgradedPlace {}
