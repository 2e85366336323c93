//! Clients that send so slowly that they hold what they are given.

use std::time::{Duration, Instant};

use super::server;

/// Sends `piece` again and again until the server answers or closes; fails if it
/// has not after ten seconds.
fn trickle(
    client: &buntime_testkit::Connection,
    pause: Duration,
    pieces: impl Iterator<Item = Vec<u8>>,
) {
    use std::io::Write as _;

    let begun = Instant::now();
    client.stream().set_read_timeout(Some(pause)).unwrap();
    let mut stream = client.stream();
    for piece in pieces {
        if stream.write_all(&piece).is_err() || stream.peek(&mut [0]).is_ok() {
            return;
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(10), "held for {waited:?}");
    }
    panic!("all was taken");
}

#[test]
fn a_preface_of_http2_byte_by_byte_is_a_head_that_takes_too_long() {
    let server = server().env("RUNTIME_HEAD_TIMEOUT", "1s").start();
    let client = server.connect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let begun = Instant::now();
    trickle(
        &client,
        Duration::from_millis(600),
        preface.iter().map(|&byte| vec![byte]),
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_body_over_http2_keeps_the_pace_that_one_over_http1_keeps() {
    let server = server().env("RUNTIME_BODY_TIMEOUT", "1s").start();
    // A literal block: POST, http, /held/, a.
    let mut head = vec![0x83, 0x86, 0x04, 6];
    head.extend_from_slice(b"/held/");
    head.extend_from_slice(&[0x01, 1, b'a']);
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    };
    // Bytes, and frames that hold none.
    for piece in [&b"b"[..], b""] {
        let mut client = server.connect();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(&frame(4, 0, 0, &[]));
        client.send(&frame(4, 1, 0, &[]));
        let settings = client.exactly(9);
        let length = usize::from(settings[2]);
        let _ = client.exactly(length);
        client.send(&frame(1, 4, 1, &head));
        // What comes besides an answer: the acknowledgement and windows.
        let mut reader = client.stream().try_clone().unwrap();
        let answered = std::thread::spawn(move || {
            use std::io::Read as _;
            reader
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            loop {
                let mut head = [0; 9];
                if reader.read_exact(&mut head).is_err() {
                    return None;
                }
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                reader.read_exact(&mut payload).ok()?;
                if head[8] == 1 && matches!(head[3], 1 | 3) {
                    return Some(head[3]);
                }
            }
        });
        let begun = Instant::now();
        while !answered.is_finished() {
            let _ = client.try_send(&frame(0, 0, 1, piece));
            std::thread::sleep(Duration::from_millis(200));
            let held = begun.elapsed();
            assert!(
                held < Duration::from_secs(9),
                "{piece:?}: held for {held:?}"
            );
        }
        assert!(answered.join().unwrap().is_some(), "closed without a word");
    }
}
