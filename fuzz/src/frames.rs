//! WebSocket frames.

use std::time::Duration;

use buntime_http::{Direction, FrameInspector, FrameLimits, Violation};

const LIMITS: FrameLimits = FrameLimits {
    frame: 2_000,
    message: 3_000,
    controls: 5,
    window: Duration::from_secs(1),
    deflate: false,
};

fn inspect(
    data: &[u8],
    step: usize,
    direction: Direction,
) -> (Result<(), Violation>, FrameInspector) {
    let mut inspector = FrameInspector::new(direction, LIMITS);
    for piece in data.chunks(step) {
        if let Err(violation) = inspector.inspect(piece, Duration::ZERO) {
            let again = inspector.inspect(b"", Duration::ZERO);
            assert_eq!(again, Err(violation), "a violation is final");
            return (Err(violation), inspector);
        }
    }
    (Ok(()), inspector)
}

/// Frames are judged the same however they came, and a violation is final.
pub(crate) fn websocket_frames(data: &[u8]) {
    let (step, data) = match data {
        [step, rest @ ..] => (usize::from(*step).max(1), rest),
        [] => (1, data),
    };
    let mut verdicts = Vec::new();
    for direction in [Direction::FromClient, Direction::FromServer] {
        let (whole, at_once) = inspect(data, data.len().max(1), direction);
        let (pieces, in_pieces) = inspect(data, step, direction);
        assert_eq!(whole, pieces, "in pieces of {step}");
        if whole.is_ok() {
            assert_eq!(at_once.at_boundary(), in_pieces.at_boundary());
            assert_eq!(at_once.is_closed(), in_pieces.is_closed());
        } else if let Err(violation) = whole {
            assert!(matches!(violation.close_code(), 1002 | 1008 | 1009));
        }
        verdicts.push(whole.is_ok() && data.len() >= 2);
    }
    // A frame is masked or it is not: no stream of frames is good in both directions.
    assert_ne!(verdicts, [true, true], "one stream, two directions");
}
