//! How fast a body must come.

use std::time::Duration;

use tokio::time::Instant;

/// A body slower than this, after the first grace, is cut (threat T23).
const MIN_BYTES_PER_SECOND: u64 = 240;

/// How a body has kept time. Only waiting for the client counts; back-pressure
/// from our side does not.
#[derive(Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    /// Since when the client is waited for, and until when at the longest.
    waiting: Option<(Instant, Instant)>,
}

impl Pace {
    /// Notes that so many bytes came, which may be none.
    pub(super) fn progress(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.stop();
    }

    /// Notes that the client is not waited for any more.
    pub(super) fn stop(&mut self) {
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }

    /// Notes that the client is waited for, and tells until when.
    pub(super) fn wait(&mut self, timeout: Duration) -> Instant {
        let (_, deadline) = *self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            let earned = timeout + Duration::from_secs(self.bytes / MIN_BYTES_PER_SECOND);
            (now, now + timeout.min(earned.saturating_sub(self.waited)))
        });
        deadline
    }
}
