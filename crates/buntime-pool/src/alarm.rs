//! A deadline that mostly does not come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// A timer for deadlines that move forward with every request.
///
/// Setting and clearing a timer for each wait costs more than the wait's own
/// bookkeeping. This one is left running when the deadline moves later and looks
/// again when it fires: a connection that is in use touches the timer wheel once
/// in a timeout instead of twice in a request.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// An alarm whose first deadline is expected to be about `first`.
    #[must_use]
    pub fn new(first: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(first)),
        }
    }

    /// Ready once `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_deadline_it_is_polled_with() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start + Duration::from_secs(10));
        for seconds in [10, 30, 31, 90] {
            let deadline = start + Duration::from_secs(seconds);
            poll_fn(|cx| alarm.poll(cx, deadline)).await;
            assert_eq!(start.elapsed(), Duration::from_secs(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_is_kept() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start + Duration::from_secs(60));
        poll_fn(|cx| alarm.poll(cx, start + Duration::from_secs(5))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
