use super::*;

const LIMITS: FrameLimits = FrameLimits {
    frame: 100_000,
    message: 150_000,
    controls: 10,
    window: Duration::from_secs(1),
    deflate: false,
};

/// A frame with this first byte; the payload's bytes do not matter.
fn frame(first: u8, payload: usize, masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload {
        0..=125 => out.push(mask | payload as u8),
        126..=65_535 => {
            out.push(mask | 126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&[1, 2, 3, 4]);
    }
    out.resize(out.len() + payload, 0x81);
    out
}

fn client(first: u8, payload: usize) -> Vec<u8> {
    frame(first, payload, true)
}

/// The verdict on all bytes at once, which must be that on byte after byte.
fn verdict(direction: Direction, limits: FrameLimits, bytes: &[u8]) -> Result<bool, Violation> {
    let mut whole = FrameInspector::new(direction, limits);
    let at_once = whole.inspect(bytes, Duration::ZERO);
    let mut split = FrameInspector::new(direction, limits);
    let one_by_one = bytes
        .chunks(1)
        .try_for_each(|byte| split.inspect(byte, Duration::ZERO));
    assert_eq!(at_once, one_by_one);
    if at_once.is_err() {
        assert_eq!(
            whole.inspect(&[], Duration::ZERO),
            at_once,
            "an error stays"
        );
    } else {
        assert_eq!(whole.at_boundary(), split.at_boundary());
    }
    at_once.map(|()| whole.at_boundary())
}

fn from_client(bytes: &[u8]) -> Result<bool, Violation> {
    verdict(Direction::FromClient, LIMITS, bytes)
}

fn breaks_protocol(bytes: &[u8]) {
    match from_client(bytes) {
        Err(violation @ Violation::Protocol(_)) => assert_eq!(violation.close_code(), 1002),
        other => panic!("{bytes:x?} gives {other:?}"),
    }
}

#[test]
fn conversations_pass() {
    let conversation = [
        client(0x81, 5),
        client(0x82, 126),
        client(0x89, 0),
        client(0x01, 65_535),
        client(0x8A, 125),
        client(0x00, 1),
        client(0x80, 70_000),
        client(0x82, 0),
        client(0x88, 2),
        client(0x8A, 0),
    ]
    .concat();
    assert_eq!(from_client(&conversation), Ok(true));
    let server = [frame(0x81, 5, false), frame(0x88, 125, false)].concat();
    assert_eq!(verdict(Direction::FromServer, LIMITS, &server), Ok(true));
    assert_eq!(
        verdict(Direction::FromServer, LIMITS, &close_frame(1009)),
        Ok(true)
    );
}

#[test]
fn boundaries_are_between_frames() {
    for bytes in [
        client(0x81, 0),
        client(0x81, 5),
        client(0x82, 300),
        client(0x82, 70_000),
    ] {
        let mut inspector = FrameInspector::new(Direction::FromClient, LIMITS);
        assert!(inspector.at_boundary());
        for (at, byte) in bytes.chunks(1).enumerate() {
            inspector.inspect(byte, Duration::ZERO).unwrap();
            assert_eq!(inspector.at_boundary(), at + 1 == bytes.len(), "after {at}");
        }
    }
}

#[test]
fn close_is_seen() {
    let mut inspector = FrameInspector::new(Direction::FromServer, LIMITS);
    inspector
        .inspect(&frame(0x81, 1, false), Duration::ZERO)
        .unwrap();
    assert!(!inspector.is_closed());
    inspector
        .inspect(&close_frame(1000), Duration::ZERO)
        .unwrap();
    assert!(inspector.is_closed());
}

#[test]
fn masks_follow_the_direction() {
    breaks_protocol(&frame(0x81, 5, false));
    let masked = verdict(Direction::FromServer, LIMITS, &client(0x81, 5));
    assert!(matches!(masked, Err(Violation::Protocol(_))));
}

#[test]
fn bad_first_bytes() {
    for first in [
        0xC1, 0xA1, 0x91, 0xF2, 0xC9, 0x83, 0x87, 0x8B, 0x8F, 0x08, 0x09, 0x0A, 0x80, 0x00,
    ] {
        breaks_protocol(&[first]);
    }
}

#[test]
fn rsv1_is_for_the_first_frame_of_a_compressed_message() {
    let deflate = FrameLimits {
        deflate: true,
        ..LIMITS
    };
    let with = |bytes: &[u8]| verdict(Direction::FromClient, deflate, bytes);
    assert_eq!(with(&client(0xC1, 5)), Ok(true));
    assert_eq!(with(&[client(0x41, 5), client(0x80, 5)].concat()), Ok(true));
    for bytes in [
        [client(0x41, 5), client(0xC0, 5)].concat(),
        client(0xC9, 5),
        client(0xE1, 5),
        client(0xD1, 5),
    ] {
        assert!(
            matches!(with(&bytes), Err(Violation::Protocol(_))),
            "{bytes:x?}"
        );
    }
}

#[test]
fn fragments_are_of_one_message() {
    breaks_protocol(&[client(0x01, 5), client(0x81, 5)].concat());
    breaks_protocol(&[client(0x01, 5), client(0x80, 5), client(0x80, 5)].concat());
    breaks_protocol(&[client(0x81, 5), client(0x00, 5)].concat());
}

#[test]
fn control_frames() {
    breaks_protocol(&client(0x89, 126));
    breaks_protocol(&[0x88, 0xFF]);
    breaks_protocol(&client(0x88, 1));
    breaks_protocol(&[client(0x88, 0), client(0x81, 0)].concat());
}

#[test]
fn lengths_have_one_form() {
    breaks_protocol(&[0x81, 0x80 | 126, 0, 125]);
    breaks_protocol(&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]);
    breaks_protocol(&[0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn size_limits() {
    let gigabyte = [&[0x82, 0x80 | 127][..], &(1_u64 << 30).to_be_bytes()].concat();
    assert_eq!(from_client(&gigabyte), Err(Violation::TooBig));
    assert_eq!(Violation::TooBig.close_code(), 1009);
    assert_eq!(from_client(&client(0x82, 100_000)), Ok(true));
    assert_eq!(from_client(&client(0x82, 100_001)), Err(Violation::TooBig));
    let half = client(0x02, 75_000);
    assert_eq!(
        from_client(&[half.clone(), client(0x80, 75_000)].concat()),
        Ok(true)
    );
    assert_eq!(
        from_client(&[half, client(0x80, 75_001)].concat()),
        Err(Violation::TooBig)
    );
    let next_starts_at_zero = [client(0x82, 100_000), client(0x82, 100_000)].concat();
    assert_eq!(from_client(&next_starts_at_zero), Ok(true));
}

#[test]
fn floods() {
    let ping = client(0x89, 0);
    assert_eq!(from_client(&ping.repeat(10)), Ok(true));
    assert_eq!(from_client(&ping.repeat(11)), Err(Violation::Flood));
    assert_eq!(Violation::Flood.close_code(), 1008);
    let fragments = [client(0x01, 1), client(0x00, 0).repeat(11)].concat();
    assert_eq!(from_client(&fragments), Err(Violation::Flood));

    let mut inspector = FrameInspector::new(Direction::FromClient, LIMITS);
    for second in 0..100 {
        let now = Duration::from_secs(second);
        assert_eq!(inspector.inspect(&ping.repeat(10), now), Ok(()));
    }
    // Any origin of time will do.
    let mut late = FrameInspector::new(Direction::FromClient, LIMITS);
    let now = Duration::from_secs(1 << 40);
    assert_eq!(late.inspect(&ping.repeat(10), now), Ok(()));
    assert_eq!(late.inspect(&ping, now), Err(Violation::Flood));
}

#[test]
fn handshakes() {
    let check = |fields: &[(&str, &str)]| {
        let mut headers = HeaderList::new();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        check_handshake(&headers)
    };
    let version = ("Sec-WebSocket-Version", "13");
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(check(&[version, key]), Ok(()));
    assert_eq!(check(&[key]), Err(BadHandshake::Version));
    assert_eq!(check(&[version, version, key]), Err(BadHandshake::Version));
    for other in ["", "8", "013", "13, 8"] {
        let fields = [("Sec-WebSocket-Version", other), key];
        assert_eq!(check(&fields), Err(BadHandshake::Version), "{other:?}");
    }
    assert_eq!(check(&[version]), Err(BadHandshake::Key));
    assert_eq!(check(&[version, key, key]), Err(BadHandshake::Key));
    for other in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25jZQA==",
        "dGhlIHNhbXBs-SBub25jZQ==",
    ] {
        let fields = [version, ("Sec-WebSocket-Key", other)];
        assert_eq!(check(&fields), Err(BadHandshake::Key), "{other:?}");
    }
}
