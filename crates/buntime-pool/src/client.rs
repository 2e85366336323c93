//! One request to a worker and its response, over HTTP/1.1.
//!
//! Everything happens inside the caller's future: the request's body is pumped
//! while the response is awaited and read, and nothing is spawned.

mod body;
mod head;
mod roundtrip;
mod upload;

pub use body::{Upgraded, UpgradedPlace, WorkerBody};
pub(crate) use roundtrip::{RoundTrip, TripError};

use buntime_http::{HeaderList, Method, RequestId, ResponseHead};

/// A request as it goes to a worker, without its body.
#[derive(Clone, Copy, Debug)]
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
