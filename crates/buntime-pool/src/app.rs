//! One version of one app and its workers.

mod exchange;
mod fleet;
mod packages;
mod starts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bundle::AppBundle;
use crate::config::AppSpec;
use crate::error::ExitReason;
use crate::install::AppInstall;
use crate::instance::{Instance, Lease, Order};
use crate::pool::Shared;
use crate::scheduler::{GroupId, GroupLimits};
use crate::status::{AppStatus, LastExit};

use fleet::{Fleet, Verdict};

/// What a client is told when it should come back after a full queue.
const QUEUE_RETRY: Duration = Duration::from_secs(1);

/// One version of one app and its workers.
#[derive(Debug)]
pub struct App {
    shared: Arc<Shared>,
    /// Tells apps apart, also of the same id.
    number: u64,
    spec: Arc<AppSpec>,
    bundle: Arc<AppBundle>,
    install: AppInstall,
    /// The workers that take requests. Changed only under the lock of `fleet`.
    ready: ArcSwap<Vec<Arc<Instance>>>,
    fleet: Mutex<Fleet>,
    /// Whether requests wait because no worker has a place for them. Set under the lock of
    /// `fleet`; who leaves a worker looks at it without.
    crowded: AtomicBool,
    /// Every worker that was given this app and whose process may live.
    members: Mutex<Members>,
    retired: AtomicBool,
}

/// The workers of an app, for those who ask what it is doing.
#[derive(Debug, Default)]
struct Members {
    alive: Vec<Arc<Instance>>,
    /// Requests that those had been given which are gone.
    past_requests: u64,
    /// What became of the last one that did not end because its one request was over.
    last_exit: Option<(ExitReason, Instant)>,
}

/// Why an app is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// Another one serves in its place: what is under way has time to end.
    Replaced,
    /// It was disabled or removed: what is under way has the app's `timeout` to end.
    Removed,
}

impl App {
    pub(crate) fn new(shared: &Arc<Shared>, spec: AppSpec) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            number: shared.next_number(),
            bundle: Arc::new(AppBundle::new(&spec)),
            install: AppInstall::new(&spec),
            spec: Arc::new(spec),
            ready: ArcSwap::default(),
            fleet: Mutex::new(Fleet::new(
                GroupId(shared.next_number()),
                shared.config.crash_loop,
            )),
            crowded: AtomicBool::new(false),
            members: Mutex::default(),
            retired: AtomicBool::new(false),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What the app was made from.
    #[must_use]
    pub fn spec(&self) -> &Arc<AppSpec> {
        &self.spec
    }

    /// The app was replaced or removed: requests under way are finished, new ones
    /// refused, then its workers end.
    pub fn retire(self: &Arc<Self>, why: Retirement) {
        self.retired.store(true, Ordering::Release);
        self.install.retire();
        let reason = match why {
            _ if self.shared.is_stopping() => ExitReason::ServerStopping,
            Retirement::Replaced => ExitReason::Retired,
            Retirement::Removed => ExitReason::Removed,
        };
        let drained = {
            let mut fleet = self.fleet.lock();
            fleet.conclude(&Verdict::Retired);
            self.ready.swap(Arc::default())
        };
        for instance in drained.iter() {
            instance.order(Order::Drain(reason));
        }
        self.shared.forget(self);
    }

    /// Every request from now on gets a process that was begun after this call. Requests
    /// under way are finished by the workers that have them. Failed starts are forgotten.
    pub fn restart(self: &Arc<Self>) {
        let group = GroupId(self.shared.next_number());
        let (drained, begin) = {
            let mut fleet = self.fleet.lock();
            if self.is_retired() {
                return;
            }
            fleet.breaker.reset();
            // Each of its processes has one request: there is none to be replaced.
            if self.spec.manifest.is_ephemeral() {
                return;
            }
            let ready = self.ready.swap(Arc::default());
            // Also those that are still loading the app, perhaps for ever.
            let drained = self.members.lock().alive.clone();
            // Who was warm stays warm, and who waits for a start waits for this one.
            let begin = !ready.is_empty() || fleet.starting > 0;
            // Places are counted anew: the old workers keep theirs until they are done,
            // and the new ones must not wait for that.
            fleet.begin_anew(group);
            fleet.starting = usize::from(begin);
            (drained, begin)
        };
        for instance in &drained {
            instance.order(Order::Drain(ExitReason::Restarted));
        }
        if begin {
            self.begin_start(group);
        }
    }

    /// What the app is doing. Takes nothing that a request waits for.
    #[must_use]
    pub fn status(&self) -> AppStatus {
        let (alive, past_requests, last_exit) = {
            let members = self.members.lock();
            let past = (members.past_requests, members.last_exit);
            (members.alive.clone(), past.0, past.1)
        };
        let mut instances: Vec<_> = alive.iter().map(|instance| instance.status()).collect();
        instances.sort_by_key(|instance| std::cmp::Reverse(instance.age));
        let present: u64 = instances.iter().map(|instance| instance.requests).sum();
        let (group, waiting, start_failures, crash_loop) = {
            let fleet = self.fleet.lock();
            let breaker = &fleet.breaker;
            let pause = breaker.waits(Instant::now());
            (fleet.group, fleet.waiting(), breaker.failures(), pause)
        };
        AppStatus {
            id: self.spec.id.clone(),
            instances,
            requests: past_requests + present,
            queued: waiting + self.shared.slots.queued_in(group),
            start_failures,
            crash_loop,
            last_exit: last_exit.map(|(reason, at)| LastExit {
                reason,
                ago: at.elapsed(),
            }),
        }
    }

    /// A worker was given this app.
    pub(crate) fn joined(&self, instance: &Arc<Instance>) {
        self.members.lock().alive.push(Arc::clone(instance));
    }

    /// A worker that was given this app is no more. `reason`: why, if it ever took it.
    pub(crate) fn parted(&self, instance: &Instance, reason: Option<ExitReason>) {
        let mut members = self.members.lock();
        members
            .alive
            .retain(|known| known.number() != instance.number());
        members.past_requests += instance.requests();
        if let Some(reason) = reason.filter(|reason| *reason != ExitReason::EphemeralDone) {
            members.last_exit = Some((reason, Instant::now()));
        }
    }

    /// A place in the least busy worker. The hot path: atomics only.
    fn lease(self: &Arc<Self>) -> Option<Lease> {
        let ready = self.ready.load();
        let instance = match ready.as_slice() {
            [] => return None,
            [only] => only,
            several => several.iter().min_by_key(|instance| instance.in_flight())?,
        };
        let lease = match instance.enter() {
            Some(lease) => lease,
            None => ready.iter().find_map(Instance::enter)?,
        };
        let most = self.spec.manifest.limits.instances.max() as usize;
        if ready.len() < most && lease.instance().in_flight() > 1 {
            self.grow(most);
        }
        Some(lease)
    }

    /// A request has left a worker.
    pub(crate) fn left(&self, instance: &Arc<Instance>) {
        if self.crowded.load(Ordering::SeqCst) {
            self.admit(instance);
        }
        if self.shared.slots.is_starved() && instance.in_flight() == 0 {
            self.shared.slots.remind();
        }
    }

    /// A worker takes no more requests.
    pub(crate) fn gone(&self, instance: &Arc<Instance>) {
        let mut fleet = self.fleet.lock();
        let ready = self.ready.load();
        if ready.iter().any(|known| Arc::ptr_eq(known, instance)) {
            let rest = ready
                .iter()
                .filter(|known| !Arc::ptr_eq(known, instance))
                .cloned()
                .collect();
            self.ready.store(Arc::new(rest));
        }
        // Who waited for a place there may have to begin a start.
        if self.crowded.load(Ordering::SeqCst) {
            self.look_again(&mut fleet);
        }
    }

    fn limits(&self) -> GroupLimits {
        let config = &self.shared.config;
        let manifest = &self.spec.manifest;
        if manifest.is_ephemeral() {
            GroupLimits {
                concurrency: config.ephemeral_concurrency.max(1),
                queue: config.ephemeral_queue_limit,
            }
        } else {
            let most = manifest.limits.instances.max() as usize;
            GroupLimits {
                concurrency: most,
                queue: most,
            }
        }
    }
}
