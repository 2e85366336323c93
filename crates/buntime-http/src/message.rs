//! Heads of requests and responses.
//!
//! The grammar is read by one hand-written pass and nothing else: what it does
//! not name is refused, so there is no lenient reading to be told from a strict one.

pub(crate) mod fields;
mod request;
mod response;

use crate::{HeaderList, Method, Target, grammar};

pub use request::{parse_request, parse_request_from};
pub use response::{parse_response, parse_response_from};

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

/// A response's head, checked.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status code, 100 to 599.
    pub status: u16,
    /// The fields as sent; Content-Length and Transfer-Encoding are already checked.
    pub headers: HeaderList,
    /// How the body is delimited.
    pub framing: ResponseFraming,
    /// Whether the connection may serve another request once the body is read.
    pub keep_alive: bool,
}

/// Why a request's head is refused. Each is the end of its connection: after it
/// nobody knows where another request would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request target is over its limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The head is over its limit.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// There are more fields than the limit, or more than 64 options in Connection.
    #[error("the request has too many headers")]
    TooManyHeaders,
    /// A field's value is over its limit.
    #[error("a header value is too long")]
    ValueTooLong,
    /// The bytes are no request head.
    #[error("the request head is malformed")]
    Syntax,
    /// Host is missing, doubled, malformed or contradicts the request target.
    #[error("the Host header is missing, doubled, malformed or contradicts the request target")]
    BadHost,
    /// Content-Length and Transfer-Encoding do not tell one length.
    #[error("the length of the request body is ambiguous")]
    BadFraming,
    /// The path is malformed or ambiguous, as [`crate::BadPath`] says.
    #[error("the path is malformed or ambiguous")]
    BadPath,
    /// The method is none that the server knows.
    #[error("the method is not known")]
    UnknownMethod,
    /// The method is TRACE or CONNECT.
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    #[error("the HTTP version is not supported")]
    UnsupportedVersion,
    /// Expect holds something else than 100-continue.
    #[error("the expectation is not known")]
    UnknownExpectation,
    /// Transfer-Encoding is something else than `chunked`.
    #[error("the transfer coding is not known")]
    UnknownTransferCoding,
}

impl From<crate::BadPath> for RequestError {
    fn from(crate::BadPath: crate::BadPath) -> Self {
        Self::BadPath
    }
}

/// Why a response's head is refused. Each is the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseHeadError {
    /// The bytes are no response head.
    #[error("the response head is malformed")]
    Syntax,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    #[error("the response has an HTTP version that is not supported")]
    UnsupportedVersion,
    /// The status is not within 100 to 599.
    #[error("the response's status is not within 100 to 599")]
    Status,
    /// The head, its number of fields or a value is over its limit.
    #[error("the response head is too large")]
    TooLarge,
    /// Content-Length and Transfer-Encoding do not tell one length.
    #[error("the length of the response body is ambiguous")]
    BadFraming,
}

/// Whether this is a host with an optional port, as it may stand in Host or
/// `:authority`: a DNS name or an address, without user information.
#[must_use]
pub fn is_valid_authority(text: &[u8]) -> bool {
    grammar::authority(text).is_some()
}
