#![doc = include_str!("../README.md")]

mod body;
mod chunked;
mod grammar;
mod headers;
mod hop_by_hop;
mod message;
mod method;
mod multipart;
mod path;
mod request_id;
mod response_limits;
mod websocket;

pub use body::{BodyError, BodySource, Frame};
pub use chunked::{ChunkedDecoder, ChunkedError, Decoded, may_trail, write_chunk_head};
pub use headers::{Header, HeaderId, HeaderList, InvalidHeader};
pub use hop_by_hop::HopByHop;
pub use message::{
    BodyFraming, HeadLimits, HttpVersion, RequestError, RequestHead, ResponseFraming, ResponseHead,
    ResponseHeadError, is_valid_authority, parse_request, parse_request_from, parse_response,
    parse_response_from,
};
pub use method::Method;
pub use multipart::{FormError, FormEvent, FormParser, PartHead};
pub use path::{BadPath, CanonicalPath, Segment, Target};
pub use request_id::RequestId;
pub use response_limits::{ProtectedHeader, Trimmed, apply_response_limits};
pub use websocket::{
    BadHandshake, Direction, FrameInspector, FrameLimits, Violation, check_handshake, close_frame,
};
