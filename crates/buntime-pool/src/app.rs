//! One version of one app and its workers.

mod exchange;
mod fleet;
mod packages;

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
use crate::status::AppStatus;

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
    /// The group of this app's places.
    group: GroupId,
    /// The workers that take requests. Changed only under the lock of `fleet`.
    ready: ArcSwap<Vec<Arc<Instance>>>,
    fleet: Mutex<Fleet>,
    retired: AtomicBool,
}

impl App {
    pub(crate) fn new(shared: &Arc<Shared>, spec: AppSpec) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            number: shared.next_number(),
            bundle: Arc::new(AppBundle::new(&spec)),
            install: AppInstall::new(&spec),
            spec: Arc::new(spec),
            group: GroupId(shared.next_number()),
            ready: ArcSwap::default(),
            fleet: Mutex::new(Fleet::new(shared.config.crash_loop)),
            retired: AtomicBool::new(false),
        })
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
    pub fn retire(self: &Arc<Self>) {
        self.retired.store(true, Ordering::Release);
        self.install.retire();
        let reason = if self.shared.is_stopping() {
            ExitReason::ServerStopping
        } else {
            ExitReason::Retired
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

    /// What the app is doing.
    #[must_use]
    pub fn status(&self) -> AppStatus {
        let mut instances: Vec<_> = self
            .shared
            .workers_of(&self.spec)
            .iter()
            .map(|instance| instance.status())
            .collect();
        instances.sort_by_key(|instance| std::cmp::Reverse(instance.age));
        let fleet = self.fleet.lock();
        AppStatus {
            id: self.spec.id.clone(),
            instances,
            queued: fleet.waiting() + self.shared.slots.queued_in(self.group),
            start_failures: fleet.breaker.failures(),
            crash_loop: fleet.breaker.waits(Instant::now()),
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
    pub(crate) fn left(&self, instance: &Instance) {
        if self.shared.slots.is_starved() && instance.in_flight() == 0 {
            self.shared.slots.remind();
        }
    }

    /// A worker takes no more requests.
    pub(crate) fn gone(&self, instance: &Arc<Instance>) {
        let _fleet = self.fleet.lock();
        let ready = self.ready.load();
        if ready.iter().any(|known| Arc::ptr_eq(known, instance)) {
            let rest = ready
                .iter()
                .filter(|known| !Arc::ptr_eq(known, instance))
                .cloned()
                .collect();
            self.ready.store(Arc::new(rest));
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
