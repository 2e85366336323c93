//! Blank workers, started ahead.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::error::StartFailure;
use crate::instance::{Blank, Flavor, boot};
use crate::pool::Shared;

/// After a failed start; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between taking a blank and starting the next while there are others: about
/// what a short request takes.
const REFILL_DELAY: Duration = Duration::from_millis(15);

/// More than the time of one processor that a start takes with its request.
const START_COST: Duration = Duration::from_millis(20);

type Outcome = Result<Blank, StartFailure>;

/// Keeps `target` blanks ready. Who finds none waits for the next one that
/// comes up, and starts are begun so that there is one for each who waits.
#[derive(Debug)]
pub(crate) struct Blanks {
    target: usize,
    /// How long none is started ahead after a request found none: as long as such
    /// requests keep all processors busy.
    calm: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Blank>,
    /// Starts that are under way.
    starting: usize,
    /// Never more than there are places in the pool, for who waits holds one.
    waiting: VecDeque<oneshot::Sender<Outcome>>,
    /// Failed starts in a row.
    failures: u32,
    /// Whether a pause after a failure is under way.
    pausing: bool,
    /// Whether a delayed fill is under way.
    filling_soon: bool,
    /// When a worker was last started because no blank was ready.
    overtaken: Option<Instant>,
    closed: bool,
}

impl Blanks {
    pub(crate) fn new(target: usize) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        Self {
            target,
            calm: START_COST / processors,
            state: Mutex::new(State::default()),
        }
    }

    /// A blank that is ready. If there is none, the caller is about to start a worker
    /// by itself, and none is started ahead while that goes on.
    pub(crate) fn take_ready(&self, shared: &Arc<Shared>) -> Option<Blank> {
        let (blank, soon) = {
            let mut state = self.state.lock();
            let blank = next_alive(&mut state.ready);
            if blank.is_none() {
                state.overtaken = Some(Instant::now());
            }
            let soon = blank.is_none() || !state.ready.is_empty();
            (blank, soon)
        };
        if soon {
            self.fill_soon(shared);
        } else {
            self.fill(shared);
        }
        blank
    }

    /// A blank: one that is ready, else the next one that is.
    pub(crate) async fn take(&self, shared: &Arc<Shared>) -> Outcome {
        let waiting = {
            let mut state = self.state.lock();
            if let Some(blank) = next_alive(&mut state.ready) {
                let spare = !state.ready.is_empty();
                Ok((blank, spare))
            } else {
                let (sender, receiver) = oneshot::channel();
                // Those who gave up must not have blanks started for them.
                state.waiting.retain(|waiting| !waiting.is_closed());
                state.waiting.push_back(sender);
                Err(receiver)
            }
        };
        match waiting {
            Ok((blank, true)) => {
                self.fill_soon(shared);
                Ok(blank)
            }
            Ok((blank, false)) => {
                self.fill(shared);
                Ok(blank)
            }
            Err(receiver) => {
                self.fill(shared);
                receiver
                    .await
                    .unwrap_or_else(|_| Err(StartFailure::new("the pool is stopping")))
            }
        }
    }

    /// Fills up a little later: a start takes both cores of a small machine, and
    /// the request that took a blank is about to need them.
    fn fill_soon(&self, shared: &Arc<Shared>) {
        if std::mem::replace(&mut self.state.lock().filling_soon, true) {
            return;
        }
        let weak = Arc::downgrade(shared);
        let fill = async move {
            sleep(REFILL_DELAY).await;
            if let Some(shared) = weak.upgrade() {
                shared.blanks.state.lock().filling_soon = false;
                shared.blanks.fill(&shared);
            }
        };
        shared.tracker.spawn_on(fill, &shared.config.control);
    }

    /// Blanks that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Begins as many starts as are missing. Requests that wait are served at
    /// once even after failures, for they bring their own limit, the app's
    /// breaker; blanks for later wait for the pause.
    pub(crate) fn fill(&self, shared: &Arc<Shared>) {
        let (missing, is_behind) = {
            let mut state = self.state.lock();
            let (alive, gone): (VecDeque<_>, VecDeque<_>) =
                state.ready.drain(..).partition(Blank::is_alive);
            state.ready = alive;
            let overtaken = state.overtaken.map(|at| at.elapsed());
            let is_behind = overtaken.is_some_and(|ago| ago < self.calm);
            let ahead = if state.pausing || is_behind {
                0
            } else {
                self.target
            };
            let wanted = if state.closed {
                0
            } else {
                state.waiting.len() + ahead
            };
            let missing = wanted.saturating_sub(state.ready.len() + state.starting);
            state.starting += missing;
            drop(gone);
            (missing, is_behind && !state.closed)
        };
        if is_behind {
            self.fill_soon(shared);
        }
        for _ in 0..missing {
            let weak = Arc::downgrade(shared);
            let start = start_one(weak);
            shared.tracker.spawn_on(start, &shared.config.control);
        }
    }

    /// Ends all blanks and starts no more.
    pub(crate) fn close(&self) {
        let (ready, waiting) = {
            let mut state = self.state.lock();
            state.closed = true;
            (
                std::mem::take(&mut state.ready),
                std::mem::take(&mut state.waiting),
            )
        };
        drop((ready, waiting));
    }

    /// A start has come to its end.
    fn started(&self, outcome: Outcome) -> Option<Duration> {
        let mut state = self.state.lock();
        state.starting = state.starting.saturating_sub(1);
        let failed = outcome.is_err();
        let mut outcome = Some(outcome);
        while let Some(next) = outcome.take() {
            let Some(waiting) = state.waiting.pop_front() else {
                match next {
                    Ok(blank) if !state.closed => state.ready.push_back(blank),
                    other => drop(other),
                }
                break;
            };
            // Who gave up hands it to the next one.
            outcome = waiting.send(next).err();
        }
        if !failed {
            state.failures = 0;
            return None;
        }
        let doublings = state.failures.min(16);
        state.failures = state.failures.saturating_add(1);
        if state.pausing {
            return None;
        }
        state.pausing = true;
        Some(
            FIRST_PAUSE
                .saturating_mul(1 << doublings)
                .min(LONGEST_PAUSE),
        )
    }

    fn pause_over(&self) {
        self.state.lock().pausing = false;
    }
}

async fn start_one(shared: Weak<Shared>) {
    let Some(shared) = shared.upgrade() else {
        return;
    };
    let outcome = boot(&shared, Flavor::Normal, None).await;
    // One that is broken off by the end of the pool has not failed.
    if let Err(failure) = &outcome
        && !shared.is_stopping()
    {
        shared.config.events.start_failed(None, &failure.message);
    }
    if let Some(pause) = shared.blanks.started(outcome) {
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.stopped() => return,
        }
        shared.blanks.pause_over();
    }
    shared.blanks.fill(&shared);
}

fn next_alive(ready: &mut VecDeque<Blank>) -> Option<Blank> {
    while let Some(blank) = ready.pop_front() {
        if blank.is_alive() {
            return Some(blank);
        }
    }
    None
}
