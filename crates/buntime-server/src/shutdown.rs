//! Stopping: from a signal to the phases that the parts of the server follow.
//!
//! The first SIGTERM or SIGINT starts draining: readiness fails, nothing new is accepted, requests under way finish
//! until the deadline. Then the workers stop. A second signal, in any phase, is at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// How far the stop has come. Phases only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nobody has asked to stop.
    Serving,
    /// Not ready, accepting nothing, finishing what is under way.
    Draining,
    /// Requests are done or out of time; workers are being stopped.
    StoppingWorkers,
    /// A second signal: no waiting for anybody.
    AtOnce,
}

/// How draining ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything under way has finished.
    Finished,
    /// The deadline came first.
    OutOfTime,
    /// A second signal came first.
    Interrupted,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    /// End of draining. `None` while serving.
    deadline: Option<Instant>,
}

/// The stop of the server. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    state: watch::Sender<State>,
    timeout: Duration,
}

impl Shutdown {
    /// Draining takes at most `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let state = State {
            phase: Phase::Serving,
            deadline: None,
        };
        Self {
            state: watch::Sender::new(state),
            timeout,
        }
    }

    /// A request to stop, from a signal or from elsewhere: the first drains, each further one is at once.
    pub fn request(&self) {
        let deadline = Instant::now() + self.timeout;
        self.state.send_modify(|state| match state.phase {
            Phase::Serving => {
                *state = State {
                    phase: Phase::Draining,
                    deadline: Some(deadline),
                }
            }
            Phase::Draining | Phase::StoppingWorkers | Phase::AtOnce => state.phase = Phase::AtOnce,
        });
    }

    /// Draining is over; workers are being stopped. Does nothing if that is past.
    pub fn stop_workers(&self) {
        self.state.send_if_modified(|state| {
            let is_news = state.phase < Phase::StoppingWorkers;
            if is_news {
                state.phase = Phase::StoppingWorkers;
                state.deadline.get_or_insert_with(Instant::now);
            }
            is_news
        });
    }

    /// How far the stop has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// When draining ends. `None` while serving.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.state.borrow().deadline
    }

    /// Waits until the stop has come as far as `phase`, or further, and says how far.
    pub async fn reached(&self, phase: Phase) -> Phase {
        let mut states = self.state.subscribe();
        // The sender is in `self`, so it is there for the whole wait; an error cannot come.
        match states.wait_for(|state| state.phase >= phase).await {
            Ok(state) => state.phase,
            Err(_) => Phase::AtOnce,
        }
    }

    /// Waits for `work`, but not beyond the deadline and not beyond a second signal. To be called once draining.
    pub async fn drain(&self, work: impl Future<Output = ()>) -> Drained {
        let deadline = self.deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            // Both may be ready at once: finished work is finished.
            biased;
            () = work => Drained::Finished,
            _ = self.reached(Phase::AtOnce) => Drained::Interrupted,
            () = tokio::time::sleep_until(deadline) => Drained::OutOfTime,
        }
    }

    /// Takes over SIGTERM and SIGINT, from the call on. The future turns each into a request to stop, for as long as it
    /// is polled; it is for the runtime that supervises the server.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn on_signals(&self) -> std::io::Result<impl Future<Output = ()> + Send + use<>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        Ok(async move {
            loop {
                let got = tokio::select! {
                    got = terminate.recv() => got,
                    got = interrupt.recv() => got,
                };
                if got.is_none() {
                    return;
                }
                shutdown.request();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn one_request_drains_until_the_deadline() {
        let shutdown = Shutdown::new(TIMEOUT);
        assert_eq!(shutdown.phase(), Phase::Serving);
        assert_eq!(shutdown.deadline(), None);
        let start = Instant::now();
        shutdown.request();
        assert_eq!(shutdown.reached(Phase::Draining).await, Phase::Draining);
        assert_ne!(shutdown.phase(), Phase::Serving);
        assert_eq!(shutdown.drain(pending()).await, Drained::OutOfTime);
        assert_eq!(start.elapsed(), TIMEOUT);
        shutdown.stop_workers();
        assert_eq!(shutdown.phase(), Phase::StoppingWorkers);
    }

    #[tokio::test(start_paused = true)]
    async fn finished_work_ends_draining() {
        let shutdown = Shutdown::new(TIMEOUT);
        shutdown.request();
        assert_eq!(shutdown.drain(ready(())).await, Drained::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_is_at_once() {
        let shutdown = Shutdown::new(TIMEOUT);
        shutdown.request();
        let other = shutdown.clone();
        let ((), drained) = tokio::join!(async move { other.request() }, shutdown.drain(pending()));
        assert_eq!(drained, Drained::Interrupted);
        shutdown.stop_workers();
        assert_eq!(shutdown.phase(), Phase::AtOnce, "phases only move forward");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_while_workers_stop_is_at_once() {
        let shutdown = Shutdown::new(Duration::ZERO);
        shutdown.request();
        assert_eq!(shutdown.drain(pending()).await, Drained::OutOfTime);
        shutdown.stop_workers();
        shutdown.request();
        assert_eq!(
            shutdown.reached(Phase::StoppingWorkers).await,
            Phase::AtOnce
        );
    }

    #[tokio::test]
    async fn signals_are_requests() {
        let shutdown = Shutdown::new(TIMEOUT);
        let watching = tokio::spawn(shutdown.on_signals().unwrap());
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
        assert_eq!(shutdown.reached(Phase::Draining).await, Phase::Draining);
        rustix::process::kill_process(this, rustix::process::Signal::INT).unwrap();
        assert_eq!(shutdown.reached(Phase::AtOnce).await, Phase::AtOnce);
        watching.abort();
    }
}
