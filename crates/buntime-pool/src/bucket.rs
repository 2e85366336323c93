//! A token bucket without a clock of its own.

use std::time::Duration;

use tokio::time::Instant;

/// Lets `burst` through at once and `per_second` in the long run.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self {
            burst: burst.into(),
            per_second: per_second.into(),
            tokens: burst.into(),
            filled: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
    }

    /// Takes so many if there are any at all: what is taken too much is missing later.
    pub(crate) fn take_many(&mut self, count: u32, now: Instant) -> bool {
        self.fill(now);
        let any = self.tokens > 0.0;
        if any {
            self.tokens -= f64::from(count);
        }
        any
    }

    /// Takes a token if there is one; else says how long until there is.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64(
                (1.0 - self.tokens) / self.per_second,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 10, start);
        assert!((0..3).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| bucket.take(later).is_ok()).count(), 3);
    }

    #[test]
    fn one_that_is_larger_than_the_burst_is_paid_for_later() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 10, start);
        assert!(bucket.take_many(30, start));
        assert!(!bucket.take_many(1, start + Duration::from_secs(2)));
        assert!(bucket.take_many(1, start + Duration::from_secs(3)));
    }
}
