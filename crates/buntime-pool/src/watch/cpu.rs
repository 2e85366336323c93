//! The processor time of one worker: an account without a clock of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::bounds::Bounds;

/// How long a worker may compute at once on all that it has.
const BURST: f64 = 1.0;

/// What a look at the account comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on.
    Run,
    /// It must wait: it has used more than its share.
    Wait,
    /// It has computed for too long without a request.
    Kill,
}

/// Seconds of processor time that a worker has in hand.
#[derive(Debug)]
pub(super) struct Account {
    at: Instant,
    used: Duration,
    in_hand: f64,
    without_request: f64,
}

impl Account {
    /// `used`: what its process had used by `now`.
    pub(super) fn new(bounds: &Bounds, used: Duration, now: Instant) -> Self {
        Self {
            at: now,
            used,
            in_hand: bounds.share() * BURST,
            without_request: bounds.without_request().1,
        }
    }

    /// `busy`: whether it had a request at any time since the last look.
    pub(super) fn look(
        &mut self,
        bounds: &Bounds,
        used: Duration,
        now: Instant,
        busy: bool,
    ) -> Verdict {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let spent = used.saturating_sub(self.used).as_secs_f64();
        (self.at, self.used) = (now, used);
        let share = bounds.share();
        self.in_hand = (self.in_hand + passed * share).min(share * BURST) - spent;
        if !busy {
            let (share, most) = bounds.without_request();
            self.without_request = (self.without_request + passed * share).min(most) - spent;
            if self.without_request < 0.0 {
                return Verdict::Kill;
            }
        }
        if self.in_hand < 0.0 {
            Verdict::Wait
        } else {
            Verdict::Run
        }
    }
}

#[cfg(test)]
mod tests {
    use buntime_core::Caps;

    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    /// Looks at a process that would use `speed` processors for `time`, and is stopped
    /// when it must wait. How much it got, and whether it was killed before.
    fn spin(cpu: f64, speed: f64, time: Duration, busy: bool) -> (Duration, Option<Duration>) {
        let caps = Caps { cpu, ..Caps::FREE };
        let bounds = Bounds::within(&caps, Duration::from_secs(30));
        let start = Instant::now();
        let mut account = Account::new(&bounds, Duration::ZERO, start);
        let (mut passed, mut used, mut verdict) = (TICK, Duration::ZERO, Verdict::Run);
        while passed <= time {
            if verdict == Verdict::Run {
                used += TICK.mul_f64(speed);
            }
            verdict = account.look(&bounds, used, start + passed, busy);
            if verdict == Verdict::Kill {
                return (used, Some(passed));
            }
            passed += TICK;
        }
        (used, None)
    }

    #[test]
    fn a_worker_with_requests_gets_its_share_and_half_as_much_again() {
        for (cpu, speed) in [(0.2, 1.0), (1.0, 8.0), (2.0, 64.0)] {
            let (used, killed) = spin(cpu, speed, Duration::from_secs(100), true);
            assert_eq!(killed, None);
            let share = used.as_secs_f64() / 100.0;
            // The burst, and what was used before it was seen, come on top.
            assert!(
                (cpu * 1.49..cpu * 1.52 + 0.1).contains(&share),
                "{cpu}: {share}"
            );
        }
        let (used, _) = spin(1.0, 1.0, Duration::from_secs(100), true);
        assert_eq!(used, Duration::from_secs(100), "nobody waits for one loop");
    }

    #[test]
    fn without_a_request_a_loop_ends_and_modest_work_does_not() {
        let (_, killed) = spin(1.0, 1.0, Duration::from_secs(100), false);
        let killed = killed.unwrap().as_secs();
        assert!((29..=31).contains(&killed), "{killed}");
        let (_, killed) = spin(1.0, 0.4, Duration::from_secs(3600), false);
        assert_eq!(killed, None);
        let (_, killed) = spin(2.0, 1.0, Duration::from_secs(3600), false);
        assert_eq!(killed, None, "who may use two processors may use one");
    }
}
