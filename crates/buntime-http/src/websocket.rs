//! WebSocket: the handshake's request and the frames of a tunnel (RFC 6455).
//!
//! The server takes no part in the conversation. It watches the frame headers
//! that pass, so that a peer that breaks the protocol or floods is cut off with
//! a close code, and so that it knows where a frame of its own may stand.

use std::time::Duration;

use crate::{HeaderId, HeaderList};

/// What is wrong with a WebSocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHandshake {
    /// Not exactly one `Sec-WebSocket-Version: 13`.
    #[error("the WebSocket version is not 13")]
    Version,
    /// Not exactly one `Sec-WebSocket-Key` that is 16 bytes in base64.
    #[error("the WebSocket key is not 16 bytes in base64")]
    Key,
}

/// Checks version and key of a handshake (RFC 6455 section 4.2.1).
///
/// The rest is in [`crate::RequestHead::websocket`].
///
/// # Errors
/// [`BadHandshake`] names the first field that is wrong.
pub fn check_handshake(headers: &HeaderList) -> Result<(), BadHandshake> {
    if only(headers, HeaderId::SecWebSocketVersion) != Some(b"13") {
        return Err(BadHandshake::Version);
    }
    match only(headers, HeaderId::SecWebSocketKey) {
        Some(key) if is_key(key) => Ok(()),
        _ => Err(BadHandshake::Key),
    }
}

fn only(headers: &HeaderList, id: HeaderId) -> Option<&[u8]> {
    let mut values = headers.get_all(id);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn is_key(key: &[u8]) -> bool {
    // 16 bytes are 22 digits and two of padding.
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(base64))
}

/// A Close frame from the server with this code and no reason.
#[must_use]
pub fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// Which way the frames of a [`FrameInspector`] go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client: every frame must be masked.
    FromClient,
    /// From the worker: no frame may be masked.
    FromServer,
}

/// Bounds on the frames of one direction.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// One frame's payload, in bytes.
    pub frame: u64,
    /// One message's payload over all of its frames, in bytes.
    pub message: u64,
    /// Control frames, and empty fragments, within one [`Self::window`].
    pub controls: u32,
    /// The length of a window.
    pub window: Duration,
    /// Whether permessage-deflate was agreed on, which uses the bit RSV1 (RFC 7692 section 6).
    pub deflate: bool,
}

/// Why a tunnel must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame or a message is over its limit.
    #[error("a WebSocket message is too big")]
    TooBig,
    /// The peer broke the protocol.
    #[error("WebSocket protocol error: {0}")]
    Protocol(&'static str),
    /// Too many control frames or empty fragments in a window.
    #[error("too many WebSocket control frames")]
    Flood,
}

impl Violation {
    /// The code of the Close frame that says so (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::TooBig => 1009,
            Self::Protocol(_) => 1002,
            Self::Flood => 1008,
        }
    }
}

/// The longest frame header: two bytes, a length of eight, a mask of four.
const HEADER_MAX: usize = 14;

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;

/// Follows the frames of one direction over arbitrary splits. Holds no payload.
///
/// After an error nothing of this direction may be passed on; the inspector then
/// gives the same error for ever.
#[derive(Debug)]
pub struct FrameInspector {
    direction: Direction,
    limits: FrameLimits,
    /// The beginning of a frame header that is not complete.
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// What is left of the payload of the frame that has begun.
    payload: u64,
    /// The payload so far of a message whose last frame has not begun.
    message: Option<u64>,
    closed: bool,
    window_start: Duration,
    controls: u32,
    failed: Option<Violation>,
}

impl FrameInspector {
    /// An inspector at the beginning of a stream, right after the handshake.
    #[must_use]
    pub fn new(direction: Direction, limits: FrameLimits) -> Self {
        Self {
            direction,
            limits,
            header: [0; HEADER_MAX],
            header_len: 0,
            payload: 0,
            message: None,
            closed: false,
            window_start: Duration::ZERO,
            controls: 0,
            failed: None,
        }
    }

    /// Whether the bytes so far end where a frame ends, so that another frame may
    /// be put in. Control frames may stand between the frames of a message.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.header_len == 0 && self.payload == 0
    }

    /// Whether a Close frame has begun to pass.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes note of bytes before they are passed on. `now` is monotonic, from any origin.
    ///
    /// # Errors
    /// [`Violation`] if the tunnel must end; then pass on none of these bytes.
    pub fn inspect(&mut self, bytes: &[u8], now: Duration) -> Result<(), Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        let verdict = self.advance(bytes, now);
        self.failed = verdict.err();
        verdict
    }

    fn advance(&mut self, mut bytes: &[u8], now: Duration) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = usize::try_from(self.payload)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.payload -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let [byte, rest @ ..] = bytes else { break };
            bytes = rest;
            self.header_byte(*byte, now)?;
        }
        Ok(())
    }

    /// Takes one byte of a frame header and judges what is known of it so far.
    fn header_byte(&mut self, byte: u8, now: Duration) -> Result<(), Violation> {
        if let Some(place) = self.header.get_mut(self.header_len) {
            *place = byte;
            self.header_len += 1;
        }
        let [first, second, extended @ ..] = self.header;
        match self.header_len {
            1 => return self.check_first(first),
            2 => self.check_second(first, second)?,
            _ => {}
        }
        let short_len = second & 0x7F;
        let length_bytes = match short_len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        if self.header_len < 2 + length_bytes {
            return Ok(());
        }
        let length = match short_len {
            126 => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = extended;
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
            short => u64::from(short),
        };
        if self.header_len == 2 + length_bytes {
            self.check_length(first, short_len, length, now)?;
        }
        if self.header_len == 2 + length_bytes + mask_bytes {
            self.header_len = 0;
            self.payload = length;
        }
        Ok(())
    }

    /// Judges the final bit, the reserved bits and the opcode.
    fn check_first(&self, first: u8) -> Result<(), Violation> {
        let opcode = first & 0x0F;
        let is_final = first & 0x80 != 0;
        let is_control = opcode & 0x08 != 0;
        // RSV1 marks a compressed message in its first frame and nowhere else.
        let rsv1_allowed = self.limits.deflate && !is_control && opcode != CONTINUATION;
        if first & 0x30 != 0 || (first & 0x40 != 0 && !rsv1_allowed) {
            return Err(Violation::Protocol("a reserved bit is set"));
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(Violation::Protocol("a reserved opcode"));
        }
        if is_control {
            return if is_final {
                Ok(())
            } else {
                Err(Violation::Protocol("a fragmented control frame"))
            };
        }
        if self.closed {
            return Err(Violation::Protocol("a data frame after Close"));
        }
        match (opcode == CONTINUATION, self.message.is_some()) {
            (true, false) => Err(Violation::Protocol("a continuation of no message")),
            (false, true) => Err(Violation::Protocol("a new message within another")),
            _ => Ok(()),
        }
    }

    /// Judges the mask bit and a control frame's length.
    fn check_second(&self, first: u8, second: u8) -> Result<(), Violation> {
        let masked = second & 0x80 != 0;
        match (self.direction, masked) {
            (Direction::FromClient, false) => {
                return Err(Violation::Protocol("a client's frame is not masked"));
            }
            (Direction::FromServer, true) => {
                return Err(Violation::Protocol("a server's frame is masked"));
            }
            _ => {}
        }
        let short_len = second & 0x7F;
        if first & 0x08 != 0 && short_len > 125 {
            return Err(Violation::Protocol("a control frame is over 125 bytes"));
        }
        if first & 0x0F == CLOSE && short_len == 1 {
            return Err(Violation::Protocol("half a close code"));
        }
        Ok(())
    }

    /// Judges the length and accounts the frame.
    fn check_length(
        &mut self,
        first: u8,
        short_len: u8,
        length: u64,
        now: Duration,
    ) -> Result<(), Violation> {
        let shortest = match short_len {
            126 => length > 125,
            127 => length > u64::from(u16::MAX),
            _ => true,
        };
        if !shortest || length > i64::MAX as u64 {
            return Err(Violation::Protocol("a length in a wrong form"));
        }
        let opcode = first & 0x0F;
        let is_final = first & 0x80 != 0;
        if opcode & 0x08 != 0 {
            self.closed |= opcode == CLOSE;
            return self.count(now);
        }
        if length > self.limits.frame {
            return Err(Violation::TooBig);
        }
        let message = self.message.unwrap_or(0).saturating_add(length);
        if message > self.limits.message {
            return Err(Violation::TooBig);
        }
        self.message = (!is_final).then_some(message);
        if length == 0 && !is_final {
            // Costs the receiver as much as a ping and never reaches the message limit.
            return self.count(now);
        }
        Ok(())
    }

    fn count(&mut self, now: Duration) -> Result<(), Violation> {
        if now.saturating_sub(self.window_start) >= self.limits.window {
            self.window_start = now;
            self.controls = 0;
        }
        self.controls = self.controls.saturating_add(1);
        if self.controls > self.limits.controls {
            return Err(Violation::Flood);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
