//! How fast a client must send its body and take its response.

use std::time::Duration;

use tokio::time::Instant;

/// A client slower than this is cut once its grace is used up (threat T23).
const MIN_BYTES_PER_SECOND: u64 = 240;

/// How a client has kept time. It begins with a grace; time in which it is waited
/// for uses that up, bytes earn it back at the least rate, up to where it began.
/// So nobody is waited for longer than the grace without a byte, nor for ever
/// because of a few. Back-pressure from our side costs the client nothing.
#[derive(Debug)]
pub(super) struct Pace {
    grace: Duration,
    left: Duration,
    /// Since when the client is waited for.
    waiting: Option<Instant>,
}

impl Pace {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            left: grace,
            waiting: None,
        }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.left = self.grace;
        self.waiting = None;
    }

    /// Notes that so many bytes went, which may be none.
    pub(super) fn progress(&mut self, bytes: usize) {
        self.stop();
        if self.left < self.grace {
            let earned = (bytes as u64).saturating_mul(1_000_000) / MIN_BYTES_PER_SECOND;
            let left = self.left.saturating_add(Duration::from_micros(earned));
            self.left = left.min(self.grace);
        }
    }

    /// Notes that the client is not waited for any more.
    pub(super) fn stop(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    /// Notes that the client is waited for, and tells until when.
    pub(super) fn wait(&mut self) -> Instant {
        *self.waiting.get_or_insert_with(Instant::now) + self.left
    }

    /// Whether the client is waited for and has used up its time.
    pub(super) fn is_over(&self) -> bool {
        self.waiting
            .is_some_and(|since| since.elapsed() >= self.left)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    /// Seconds until a client is cut that takes `bytes` at every `step`.
    async fn lives(bytes: usize, step: u64) -> Option<u64> {
        let mut pace = Pace::new(GRACE);
        for second in 1..1000 {
            pace.wait();
            advance(Duration::from_secs(1)).await;
            if pace.is_over() {
                return Some(second);
            }
            if second % step == 0 {
                pace.progress(bytes);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_after_the_grace_and_a_drip_little_later() {
        assert_eq!(lives(0, 1).await, Some(30));
        assert_eq!(lives(1, 1).await, Some(31));
        assert_eq!(lives(120, 1).await, Some(59));
        assert_eq!(lives(240, 1).await, None);
        // As slow in the long run, in larger pieces.
        assert_eq!(lives(29 * 240, 29).await, None);
        assert_eq!(lives(29 * 120, 29).await, Some(45));
    }

    #[tokio::test(start_paused = true)]
    async fn much_at_once_earns_no_more_than_the_grace() {
        let mut pace = Pace::new(GRACE);
        pace.progress(1 << 30);
        pace.wait();
        advance(GRACE - Duration::from_secs(1)).await;
        assert!(!pace.is_over());
        pace.progress(1 << 30);
        pace.wait();
        advance(GRACE).await;
        assert!(pace.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts() {
        let mut pace = Pace::new(GRACE);
        for _ in 0..100 {
            pace.wait();
            pace.stop();
            advance(GRACE).await;
            assert!(!pace.is_over());
        }
        let deadline = pace.wait();
        assert_eq!(deadline, Instant::now() + GRACE);
    }
}
