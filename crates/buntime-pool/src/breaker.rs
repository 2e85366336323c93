//! The crash-loop breaker of one app: a state machine without a clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::CrashLoop;

/// Counts failed starts in a row.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: CrashLoop,
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(settings: CrashLoop) -> Self {
        Self {
            settings,
            failures: 0,
            closed_until: None,
        }
    }

    /// Whether a start may be tried now; else how long to wait.
    ///
    /// After a pause one start alone is let through: the next one waits until
    /// that one has succeeded or failed, or for another pause.
    pub(crate) fn try_start(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(wait) = self.waits(now) {
            return Err(wait);
        }
        if self.failures >= self.settings.failures {
            self.closed_until = Some(now + self.pause());
        }
        Ok(())
    }

    /// How long no start will be tried.
    pub(crate) fn waits(&self, now: Instant) -> Option<Duration> {
        self.closed_until
            .map(|until| until.saturating_duration_since(now))
            .filter(|wait| !wait.is_zero())
    }

    /// A start failed. The pause that begins, if one does.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.settings.failures {
            return None;
        }
        let pause = self.pause();
        self.closed_until = Some(now + pause);
        Some(pause)
    }

    /// A start succeeded, or the app's files changed.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.closed_until = None;
    }

    /// Failed starts in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(self.settings.failures).min(20);
        self.settings
            .first_pause
            .saturating_mul(1 << doublings)
            .min(self.settings.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_close_it_for_longer_each_time() {
        let mut breaker = Breaker::new(CrashLoop::default());
        let mut now = Instant::now();
        for _ in 0..4 {
            assert_eq!(breaker.try_start(now), Ok(()));
            assert_eq!(breaker.failed(now), None);
        }
        assert_eq!(breaker.try_start(now), Ok(()));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = breaker.failed(now).expect("closed");
            assert_eq!(breaker.try_start(now), Err(pause));
            now += pause;
            assert_eq!(breaker.try_start(now), Ok(()), "one try after the pause");
            assert!(breaker.try_start(now).is_err(), "and one only");
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        breaker.reset();
        assert_eq!(breaker.try_start(now), Ok(()));
        assert_eq!(breaker.failures(), 0);
    }
}
