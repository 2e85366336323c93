//! Heads of requests and responses.

use crate::{HeaderId, HeaderList, Method, Target};

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// All bytes of the head, in bytes.
    pub total: usize,
    /// Header fields.
    pub count: usize,
    /// One field's value, in bytes.
    pub value: usize,
    /// The request target, in bytes.
    pub target: usize,
}

/// The versions that the edge speaks in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How a request's body is delimited (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body.
    None,
    /// Content-Length, above zero.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body by its status or the request's method.
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Until the connection closes.
    Close,
}

/// A request's head, checked.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Path and query, canonical.
    pub target: Target,
    /// The version of the request line.
    pub version: HttpVersion,
    /// The fields as sent; Content-Length and Transfer-Encoding are already checked.
    pub headers: HeaderList,
    /// How the body is delimited.
    pub framing: BodyFraming,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expect_continue: bool,
    /// Whether this is a well-formed request to change to the WebSocket protocol.
    pub websocket: bool,
}

