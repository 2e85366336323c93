//! How an app comes by its workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{App, QUEUE_RETRY};
use crate::breaker::Breaker;
use crate::config::CrashLoop;
use crate::error::{ExchangeError, ExitReason, StartFailure};
use crate::instance::{Instance, Lease, Order};
use crate::scheduler::GroupId;

/// Requests of one app that wait for a start.
const MOST_WAITING: usize = 1024;

/// What changes when workers come and go.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The group of the app's places. A restart begins another one: a start belongs to
    /// the group in which it was begun, and is stale once that is not this one.
    pub(super) group: GroupId,
    pub(super) breaker: Breaker,
    /// Starts under way, and those of them that wait for a place in the pool.
    pub(super) starting: usize,
    pub(super) queued: usize,
    waiting: VecDeque<oneshot::Sender<News>>,
}

/// What a request that waits is told.
#[derive(Debug)]
pub(super) enum News {
    Verdict(Verdict),
    /// It may enter here: somebody has left.
    Place(Lease),
}

/// How waiting ended for a request that got no place by it.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// There may be a worker now.
    LookAgain,
    Failed(StartFailure),
    Timeout,
    QueueFull,
    QueueTimeout,
    Retired,
}

impl From<Verdict> for ExchangeError {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Failed(failure) => Self::StartFailed(failure),
            Verdict::Timeout => Self::Timeout,
            Verdict::QueueFull => Self::QueueFull {
                retry_after: QUEUE_RETRY,
            },
            Verdict::QueueTimeout => Self::QueueTimeout {
                retry_after: QUEUE_RETRY,
            },
            Verdict::LookAgain | Verdict::Retired => Self::Retired,
        }
    }
}

impl Fleet {
    pub(super) fn new(group: GroupId, crash_loop: CrashLoop) -> Self {
        Self {
            group,
            breaker: Breaker::new(crash_loop),
            starting: 0,
            queued: 0,
            waiting: VecDeque::new(),
        }
    }

    /// What was begun before counts no more. Who waits goes on waiting.
    pub(super) fn begin_anew(&mut self, group: GroupId) {
        self.group = group;
        self.starting = 0;
        self.queued = 0;
    }

    /// Requests that wait for a start.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
            .iter()
            .filter(|sender| !sender.is_closed())
            .count()
    }

    /// Tells everybody who waits.
    pub(super) fn conclude(&mut self, verdict: &Verdict) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(News::Verdict(verdict.clone()));
        }
    }

    fn wait(&mut self) -> Result<oneshot::Receiver<News>, ExchangeError> {
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.retain(|sender| !sender.is_closed());
        }
        if self.waiting.len() >= MOST_WAITING {
            return Err(Verdict::QueueFull.into());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(sender);
        Ok(receiver)
    }
}

/// A place in a worker, or something to wait for.
pub(super) enum Found {
    Lease(Lease),
    Wait(oneshot::Receiver<News>),
}

impl App {
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// A place in a worker. If there is no worker, the next start to wait for, which is
    /// begun if none is under way; if all have as many requests as they can have, until
    /// one of them is done.
    pub(super) fn find(self: &Arc<Self>) -> Result<Found, ExchangeError> {
        let (receiver, begin, is_crowded) = {
            let mut fleet = self.fleet.lock();
            let mut begin = None;
            // Under the lock: `retire` empties the list after it set the mark.
            if self.is_retired() {
                return Err(ExchangeError::Retired);
            }
            if let Some(lease) = self.lease_now() {
                return Ok(Found::Lease(lease));
            }
            let is_crowded = self.serves();
            if fleet.starting == 0 && !is_crowded {
                fleet
                    .breaker
                    .try_start(Instant::now())
                    .map_err(|retry_after| ExchangeError::CrashLoop { retry_after })?;
                // One shows whether the app starts at all before the others follow.
                begin = Some(fleet.group);
            }
            let receiver = fleet.wait()?;
            fleet.starting += usize::from(begin.is_some());
            if is_crowded {
                self.crowded.store(true, Ordering::SeqCst);
                // Whoever left before this was to be seen has made a place.
                if let Some(lease) = self.lease_now() {
                    fleet.waiting.pop_back();
                    return Ok(Found::Lease(lease));
                }
            }
            (receiver, begin, is_crowded)
        };
        if is_crowded {
            self.grow(self.spec.manifest.limits.instances.max() as usize);
        }
        if let Some(group) = begin {
            self.begin_start(group);
        }
        Ok(Found::Wait(receiver))
    }

    /// Whether there is a worker that takes requests, with a place or without.
    pub(super) fn serves(&self) -> bool {
        self.ready.load().iter().any(|instance| instance.is_open())
    }

    /// Somebody has left a worker: gives the place to who has waited longest.
    pub(super) fn admit(&self, instance: &Arc<Instance>) {
        let mut fleet = self.fleet.lock();
        let mut lease = None;
        while let Some(waiting) = fleet.waiting.pop_front() {
            let Some(place) = lease.take().or_else(|| instance.enter()) else {
                fleet.waiting.push_front(waiting);
                break;
            };
            match waiting.send(News::Place(place)) {
                Ok(()) => break,
                // Gone meanwhile, so it is the next one's turn.
                Err(News::Place(place)) => lease = Some(place),
                Err(News::Verdict(_)) => {}
            }
        }
        self.crowded
            .store(!fleet.waiting.is_empty(), Ordering::SeqCst);
        // Who leaves takes this lock.
        drop(fleet);
        drop(lease);
    }

    /// The workers are others now: who waits for a place looks for one again.
    pub(super) fn look_again(&self, fleet: &mut Fleet) {
        fleet.conclude(&Verdict::LookAgain);
        self.crowded.store(false, Ordering::SeqCst);
    }

    fn lease_now(&self) -> Option<Lease> {
        self.ready.load().iter().find_map(Instance::enter)
    }

    /// All workers are busy: starts one more, unless that would push out another app's.
    pub(super) fn grow(self: &Arc<Self>, most: usize) {
        let group = {
            let Some(mut fleet) = self.fleet.try_lock() else {
                return;
            };
            let slots = &self.shared.slots;
            let wanted = fleet.starting == 0
                && self.ready.load().len() < most
                && !self.is_retired()
                && slots.used() < self.shared.config.size
                && fleet.breaker.try_start(Instant::now()).is_ok();
            if !wanted {
                return;
            }
            fleet.starting += 1;
            fleet.group
        };
        self.begin_start(group);
    }

    /// Begins a start that has been counted in `group`.
    pub(super) fn begin_start(self: &Arc<Self>, group: GroupId) {
        let app = Arc::clone(self);
        let start = async move {
            let outcome = tokio::select! {
                outcome = app.start_persistent(group) => outcome,
                () = app.shared.stopped() => Err(Verdict::Retired),
            };
            app.started(group, outcome);
        };
        let control = &self.shared.config.control;
        self.shared.tracker.spawn_on(start, control);
    }

    async fn start_persistent(self: &Arc<Self>, group: GroupId) -> Result<Lease, Verdict> {
        let deadline = Instant::now() + self.spec.manifest.timeout;
        let packages = self.packages(deadline).await;
        if matches!(packages, Ok(()) | Err(Verdict::QueueFull)) {
            // A start that fails for want of a place counts until all who wait are told.
            self.within(group, |fleet| fleet.queued += 1);
        }
        packages?;
        let slots = &self.shared.slots;
        let wait = slots
            .acquire(group, self.limits())
            .ok_or(Verdict::QueueFull)?;
        let permit = timeout_at(deadline, wait)
            .await
            .map_err(|_| Verdict::QueueTimeout)?;
        self.within(group, |fleet| fleet.queued -= 1);
        self.start_worker(group, Some(permit), deadline).await
    }

    pub(super) fn group(&self) -> GroupId {
        self.fleet.lock().group
    }

    /// Changes the fleet, unless the app was restarted since `group` was its group.
    pub(super) fn within<R>(
        &self,
        group: GroupId,
        change: impl FnOnce(&mut Fleet) -> R,
    ) -> Option<R> {
        let mut fleet = self.fleet.lock();
        (fleet.group == group).then(|| change(&mut fleet))
    }

    /// A start has come to its end: publishes the worker, or says what was wrong.
    fn started(self: &Arc<Self>, group: GroupId, outcome: Result<Lease, Verdict>) {
        let mut stale = None;
        let more = {
            let mut fleet = self.fleet.lock();
            if fleet.group != group {
                drop(fleet);
                if let Ok(lease) = &outcome {
                    lease.instance().order(Order::Drain(ExitReason::Restarted));
                }
                return;
            }
            fleet.starting -= 1;
            if let Err(Verdict::QueueFull | Verdict::QueueTimeout) = outcome {
                fleet.queued -= 1;
            }
            match &outcome {
                Ok(lease) => {
                    if !self.is_retired() {
                        self.publish(lease.instance());
                    } else {
                        stale = Some(Arc::clone(lease.instance()));
                    }
                    self.look_again(&mut fleet);
                }
                // Others may still come up.
                Err(_) if fleet.starting > 0 => {}
                // It would have been one more: who waits does so for a place.
                Err(_) if self.serves() => {}
                Err(verdict) => fleet.conclude(verdict),
            }
            let least = self.spec.manifest.limits.instances.min() as usize;
            let missing = least.saturating_sub(self.ready.load().len() + fleet.starting);
            let more = if outcome.is_ok() && stale.is_none() {
                missing
            } else {
                0
            };
            fleet.starting += more;
            more
        };
        if let Some(stale) = stale {
            stale.order(Order::Drain(ExitReason::Retired));
        }
        for _ in 0..more {
            self.begin_start(group);
        }
    }

    /// Adds a worker to those that take requests. The fleet must be locked.
    fn publish(&self, instance: &Arc<Instance>) {
        let mut ready = Vec::clone(&self.ready.load());
        ready.push(Arc::clone(instance));
        self.ready.store(Arc::new(ready));
        // Its supervisor may have given it up in this moment, and then has been here.
        if !instance.is_open() {
            ready = self
                .ready
                .load()
                .iter()
                .filter(|known| known.is_open())
                .cloned()
                .collect();
            self.ready.store(Arc::new(ready));
        }
    }

    /// A worker has served its number of requests: starts the next one and only
    /// then lets this one go. If that fails it serves on.
    pub(super) fn recycle(self: &Arc<Self>, old: &Arc<Instance>) {
        let app = Arc::clone(self);
        let old = Arc::clone(old);
        let group = self.group();
        let replace = async move {
            let deadline = Instant::now() + app.spec.manifest.timeout;
            let start = async {
                app.packages(deadline).await?;
                app.start_worker(group, None, deadline).await
            };
            let outcome = tokio::select! {
                outcome = start => outcome,
                () = app.shared.stopped() => return,
            };
            let Ok(lease) = outcome else {
                return;
            };
            let new = lease.instance();
            let mut fleet = app.fleet.lock();
            let is_wanted = !app.is_retired() && fleet.group == group;
            let permit = is_wanted.then(|| old.take_permit()).flatten();
            match permit {
                Some(permit) => {
                    new.give_permit(permit);
                    app.publish(new);
                    app.look_again(&mut fleet);
                    drop(fleet);
                    old.order(Order::Drain(ExitReason::MaxRequests));
                }
                // The old one has gone its own way, and so the place with it.
                None => {
                    drop(fleet);
                    new.order(Order::Drain(ExitReason::Retired));
                }
            }
        };
        let control = &self.shared.config.control;
        self.shared.tracker.spawn_on(replace, control);
    }
}
