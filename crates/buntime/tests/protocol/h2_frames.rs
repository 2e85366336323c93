//! HTTP/2 frame by frame, for what no client would send.

use buntime_testkit::{Connection, TestServer};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// The setting SETTINGS_INITIAL_WINDOW_SIZE.
pub(crate) const INITIAL_WINDOW: u16 = 4;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header as HPACK's literal without indexing.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    string(&mut out, name);
    string(&mut out, value);
    out
}

/// A string of HPACK, not compressed.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text);
}

/// The header block of a request, with these beside what each needs.
pub(crate) fn block(method: &str, path: &str, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let needed: [(&[u8], &[u8]); 4] = [
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"a"),
    ];
    needed
        .iter()
        .chain(headers)
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// A connection on which settings have been exchanged.
pub(crate) fn open(server: &TestServer, settings: &[(u16, u32)]) -> Connection {
    let mut client = server.connect();
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(&frame(SETTINGS, 0, 0, &payload));
    client.send(&frame(SETTINGS, 1, 0, &[]));
    client
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Splits what a server has sent; a frame that is cut is left out.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let Some(payload) = bytes.get(9..9 + length) else {
            break;
        };
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: payload.to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// Reads frames up to one for which `is_it` holds; `None` if the connection ends before.
pub(crate) fn until(client: &mut Connection, is_it: impl Fn(&Frame) -> bool) -> Option<Frame> {
    let mut bytes = Vec::new();
    loop {
        let more = client.some();
        if more.is_empty() {
            return None;
        }
        bytes.extend_from_slice(&more);
        if let Some(found) = frames(&bytes).into_iter().find(&is_it) {
            return Some(found);
        }
    }
}

/// The error codes of GOAWAY frames.
pub(crate) fn goaways(frames: &[Frame]) -> Vec<u32> {
    frames
        .iter()
        .filter(|frame| frame.kind == GOAWAY)
        .map(|frame| u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()))
        .collect()
}
