//! The counters of one app.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use buntime_core::Namespace;
use buntime_pool::ExitReason;
use parking_lot::Mutex;

/// Upper ends of the classes of time, in microseconds. Above the last is the rest.
pub(super) const BOUNDS: [u64; 9] = [
    1_000, 2_500, 10_000, 25_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
];
pub(super) const TIMES: usize = BOUNDS.len() + 1;
/// `1xx` to `5xx`.
pub(super) const CLASSES: usize = 5;

/// Counters of one app exist so many times, so that threads seldom write to the same
/// line of the cache.
const STRIPES: usize = 8;

/// What is counted of one app.
#[derive(Debug)]
pub(crate) struct AppCounters {
    id: Box<str>,
    scope: Option<Namespace>,
    /// Made with the first request: most of the versions that are installed see none.
    stripes: OnceLock<Box<[Stripe]>>,
    aborted: AtomicU64,
    csrf_refused: AtomicU64,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    /// By class of status and class of time.
    answered: [[AtomicU64; TIMES]; CLASSES],
    micros: AtomicU64,
}

/// What becomes of an app's workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) starts: u64,
    pub(super) start_time: Duration,
    pub(super) start_failures: u64,
    pub(super) crash_loops: u64,
    /// By [`ExitReason::label`], a closed set.
    pub(super) exits: BTreeMap<&'static str, u64>,
    /// Variables that were kept back, at every start.
    pub(super) blocked: u64,
}

/// What was counted until a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    pub(super) by_class: [u64; CLASSES],
    pub(super) by_time: [u64; TIMES],
    pub(super) micros: u64,
    pub(super) aborted: u64,
}

impl AppCounters {
    pub(super) fn new(id: &str, scope: Option<Namespace>) -> Self {
        Self {
            id: id.into(),
            scope,
            stripes: OnceLock::new(),
            aborted: AtomicU64::new(0),
            csrf_refused: AtomicU64::new(0),
            life: Mutex::default(),
        }
    }

    /// A request was answered so, its head after `took`.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        let time = BOUNDS.iter().take_while(|bound| micros > **bound).count();
        let stripes = self
            .stripes
            .get_or_init(|| (0..STRIPES).map(|_| Stripe::default()).collect());
        let stripe = &stripes[stripe_of_thread()];
        stripe.answered[class][time].fetch_add(1, Ordering::Relaxed);
        stripe.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The client went away before it was answered.
    pub(crate) fn aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused for where it came from.
    pub(crate) fn csrf_refused(&self) {
        self.csrf_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker serves, and so many variables were kept back from it.
    pub(crate) fn started(&self, took: Duration, blocked: usize) {
        let mut life = self.life.lock();
        life.starts += 1;
        life.start_time += took;
        life.blocked += u64::try_from(blocked).unwrap_or(0);
    }

    /// A worker could not be started.
    pub(crate) fn start_failed(&self) {
        self.life.lock().start_failures += 1;
    }

    /// Starts failed so often that no more are tried for a while.
    pub(crate) fn crash_loop(&self) {
        self.life.lock().crash_loops += 1;
    }

    /// A worker is gone.
    pub(crate) fn exited(&self, reason: ExitReason) {
        *self.life.lock().exits.entry(reason.label()).or_default() += 1;
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn scope(&self) -> Option<&Namespace> {
        self.scope.as_ref()
    }

    /// `None`: there was no request yet.
    pub(super) fn requests(&self) -> Option<Answered> {
        let mut sum = Answered {
            aborted: self.aborted.load(Ordering::Relaxed),
            ..Answered::default()
        };
        let stripes = self.stripes.get();
        if stripes.is_none() && sum.aborted == 0 {
            return None;
        }
        for stripe in stripes.into_iter().flatten() {
            sum.micros += stripe.micros.load(Ordering::Relaxed);
            for (class, times) in stripe.answered.iter().enumerate() {
                for (time, count) in times.iter().enumerate() {
                    let count = count.load(Ordering::Relaxed);
                    sum.by_class[class] += count;
                    sum.by_time[time] += count;
                }
            }
        }
        Some(sum)
    }

    pub(super) fn csrf_refusals(&self) -> u64 {
        self.csrf_refused.load(Ordering::Relaxed)
    }

    pub(super) fn life(&self) -> Life {
        self.life.lock().clone()
    }
}

/// Threads are numbered as they come: shards, which do all the counting, among the
/// first.
fn stripe_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    })
}
