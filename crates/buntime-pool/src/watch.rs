//! One task that watches what all workers use, and ends those that use too much.
//!
//! What costs the least is asked first, and of a process that has computed nothing since
//! the last look nothing else: it cannot have grown. That is one clock reading for each
//! idle worker, five times a second, and twenty times for one that has or had a request.
//! Of those that computed memory and threads are read, and less often how much they have
//! written.

mod cpu;
mod disk;
mod tree;
mod usage;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use buntime_sandbox::Pace;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use self::cpu::{Account, Verdict};
pub(crate) use self::disk::Disks;
use self::disk::Walker;
pub(crate) use self::usage::usage;
use crate::bounds::Bounds;
use crate::config::AppSpec;
use crate::error::{ExitReason, Limit};
use crate::instance::{Instance, Order};
use crate::pool::Shared;

/// Between two looks. A process can fill some 50 MB in it.
const TICK: Duration = Duration::from_millis(50);
/// Each how many looks those are looked at who did nothing at the last, and those who
/// computed are asked what they have written.
const SELDOM: u32 = 4;
/// Who has computed less than this has not grown by anything that counts.
const NOTHING: Duration = Duration::from_micros(500);

/// By how much the kernel would rather end a worker than the server, of 1000.
const FIRST_TO_GO: i32 = 500;

/// What the watcher knows of one worker.
#[derive(Debug)]
pub(crate) struct Watched {
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    account: Option<Account>,
    /// Whether it was stopped, because it has used more than its share.
    waits: bool,
    /// Processor time at the last look at its memory, and at the last at its writing.
    measured: Duration,
    asked: Duration,
    /// Requests that it had been given by the last look.
    requests: u64,
    /// Whether it had computed nothing by the last look since the one before.
    quiet: bool,
    /// Bytes that it had written.
    written: u64,
    /// What the app's folder held when it began.
    found: Option<u64>,
}

impl Watched {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            state: Mutex::default(),
        }
    }

    /// The worker gets its app.
    pub(crate) fn begin(&self, spec: &AppSpec, shared: &Shared) {
        self.state.lock().found = shared.disks.size(spec);
    }

    /// What the app's folder held when this worker began. If nobody knew: what it holds
    /// now, `data`, without what this worker may have put there.
    fn found_on_disk(&self, pid: u32, data: u64) -> u64 {
        let mut state = self.state.lock();
        *state.found.get_or_insert_with(|| {
            let written = usage::written(pid).unwrap_or(0);
            data.saturating_sub(written)
        })
    }
}

/// When the machine is out of memory, the kernel shall end workers before the server.
pub(crate) fn is_first_to_go(pid: u32) {
    let read = fs::read_to_string("/proc/self/oom_score_adj").ok();
    let own = read.and_then(|text| text.trim().parse::<i32>().ok());
    // Where the system refuses, they are as good as the server.
    let _ = fs::write(
        format!("/proc/{pid}/oom_score_adj"),
        (own.unwrap_or(0) + FIRST_TO_GO).min(1000).to_string(),
    );
}

/// Until a process that is no worker has more memory than `most` bytes. Its number must
/// stay its own while this runs.
pub(crate) async fn over(pid: u32, most: u64) {
    while usage(pid).is_none_or(|usage| usage.memory <= most) {
        sleep(TICK).await;
    }
}

/// Watches all workers until the pool stops and the last of them is gone.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = interval(TICK);
    // After a pause there is nothing to be caught up with.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut walker = Walker::default();
    for number in 0_u32.. {
        ticks.tick().await;
        let workers = shared.workers();
        if workers.is_empty() && shared.is_stopping() {
            return;
        }
        let now = Instant::now();
        let all = number % SELDOM == 0;
        for worker in &workers {
            look(worker, now, all);
        }
        if all {
            for worker in &workers {
                ask_what_it_wrote(&shared, worker, now);
            }
            walker.step(&shared, &workers, now).await;
        }
    }
}

/// Looks at processor time, memory and threads of a worker that has an app. `all`:
/// whether quiet ones have their turn.
fn look(worker: &Instance, now: Instant, all: bool) {
    let Some(bounds) = worker.bounds() else {
        return;
    };
    let pace = &worker.watched.pace;
    let mut state = worker.watched.state.lock();
    let asked = worker.in_flight() > 0 || worker.requests() != state.requests;
    if state.quiet && !asked && !all {
        return;
    }
    let Some(used) = pace.processor_time() else {
        return;
    };
    state.quiet = used.saturating_sub(state.measured) < NOTHING && !state.waits;
    let limit = match state.count(worker, bounds, used, now) {
        Verdict::Kill => Some(bounds.cpu()),
        verdict => {
            state.hold_back(pace, verdict == Verdict::Wait);
            state.measure(worker, bounds, used)
        }
    };
    drop(state);
    if let Some(limit) = limit {
        worker.order(Order::Kill(ExitReason::Killed(limit)));
    }
}

impl State {
    fn count(
        &mut self,
        worker: &Instance,
        bounds: &Bounds,
        used: Duration,
        now: Instant,
    ) -> Verdict {
        let requests = worker.requests();
        // While it loads the app it has its timeout.
        let busy = worker.in_flight() > 0 || requests != self.requests || !worker.is_loaded();
        self.requests = requests;
        match &mut self.account {
            Some(account) => account.look(bounds, used, now, busy),
            None => {
                // What it used as a blank does not count.
                self.account = Some(Account::new(bounds, used, now));
                Verdict::Run
            }
        }
    }

    fn hold_back(&mut self, pace: &Pace, wait: bool) {
        if self.waits != wait {
            if wait {
                pace.stop();
            } else {
                pace.resume();
            }
            self.waits = wait;
        }
    }

    fn measure(&mut self, worker: &Instance, bounds: &Bounds, used: Duration) -> Option<Limit> {
        if used.saturating_sub(self.measured) < NOTHING {
            return None;
        }
        self.measured = used;
        let usage = usage(worker.pid())?;
        // So many threads take memory too.
        if usage.threads > bounds.threads {
            Some(Limit::Threads(bounds.threads))
        } else {
            (usage.memory > bounds.memory.bytes()).then_some(Limit::Memory(bounds.memory))
        }
    }
}

/// Asks a worker that has computed something since the last time.
fn ask_what_it_wrote(shared: &Shared, worker: &Instance, now: Instant) {
    let (Some(spec), Some(bounds)) = (worker.spec(), worker.bounds()) else {
        return;
    };
    let mut state = worker.watched.state.lock();
    if state.measured == state.asked {
        return;
    }
    state.asked = state.measured;
    let new = state.new_bytes(worker, bounds);
    shared.disks.wrote(spec, bounds, new, now);
}

impl State {
    /// What it has written since somebody asked last. If the system does not tell, it
    /// may be anything.
    fn new_bytes(&mut self, worker: &Instance, bounds: &Bounds) -> u64 {
        let Some(written) = usage::written(worker.pid()) else {
            return bounds.disk.bytes();
        };
        let new = written.saturating_sub(self.written);
        self.written = written;
        new
    }
}

/// Notes what a worker has written that is about to be killed: many live too short a
/// time to be asked.
pub(crate) fn last_look(shared: &Shared, worker: &Instance, spec: &AppSpec) {
    let Some(bounds) = worker.bounds() else {
        return;
    };
    let new = worker.watched.state.lock().new_bytes(worker, bounds);
    shared.disks.wrote(spec, bounds, new, Instant::now());
}
