#![doc = include_str!("../README.md")]

mod body;
mod chunked;
mod grammar;
mod headers;
mod message;
mod method;
mod path;
mod request_id;
mod websocket;

pub use body::{BodyError, BodySource, Frame};
pub use chunked::{ChunkedDecoder, ChunkedError, Decoded, write_chunk_head};
pub use headers::{Header, HeaderId, HeaderList, InvalidHeader};
pub use message::{
    BodyFraming, HeadLimits, HttpVersion, RequestError, RequestHead, ResponseFraming, ResponseHead,
    ResponseHeadError, parse_request, parse_response,
};
pub use method::Method;
pub use path::{BadPath, CanonicalPath, Target};
pub use request_id::RequestId;
pub use websocket::{Direction, FrameInspector, FrameLimits, Violation};
