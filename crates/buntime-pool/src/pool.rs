//! All workers together.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Retirement};
use crate::blanks::Blanks;
use crate::bundle::Bundles;
use crate::config::{AppSpec, PoolConfig};
use crate::confine::{STAGE, has_blanks};
use crate::error::{ExitReason, StartError};
use crate::forwards::NAMES;
use crate::install::Installs;
use crate::instance::{Instance, Order, SlotDirs};
use crate::leftovers;
use crate::program::{self, Program};
use crate::slots::Slots;
use crate::status::PoolStatus;
use crate::watch::{self, Disks};
use crate::wrapper::{self, Wrapper};

/// For killed processes to be reaped and their slots removed.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// All workers together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// What apps, blanks and supervisors share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) slots: Arc<Slots>,
    pub(crate) blanks: Blanks,
    pub(crate) bundles: Bundles,
    pub(crate) installs: Installs,
    pub(crate) slots_dir: PathBuf,
    pub(crate) slot_dirs: SlotDirs,
    pub(crate) program: Program,
    pub(crate) wrapper: Wrapper,
    /// Every task of the pool, so that a shutdown can wait for the last one.
    pub(crate) tracker: TaskTracker,
    apps: Mutex<HashMap<u64, Arc<App>>>,
    /// Every worker whose process may live.
    instances: Mutex<HashMap<u64, Arc<Instance>>>,
    /// What apps keep on the disk, as far as somebody has looked.
    pub(crate) disks: Disks,
    numbers: AtomicU64,
    stop: CancellationToken,
    /// Held for as long as the pool lives: two servers must not clean up after
    /// each other.
    _lock: File,
}

impl Pool {
    /// Prepares the runtime directory and begins to start blanks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: PoolConfig) -> Result<Self, StartError> {
        let bun = fs::metadata(&config.bun).and_then(|found| {
            let error = || io::Error::from(io::ErrorKind::InvalidInput);
            found.is_file().then_some(()).ok_or_else(error)
        });
        bun.map_err(|source| StartError::NoBun {
            path: config.bun.clone(),
            source,
        })?;
        let (lock, slots_dir, wrapper) =
            prepare(&config.runtime_dir).map_err(|source| StartError::RuntimeDir {
                path: config.runtime_dir.clone(),
                source,
            })?;
        let bundles = Bundles::open(&config).map_err(|source| StartError::BundleDir {
            path: config.bundle_dir.clone(),
            source,
        })?;
        let installs = Installs::open(&config).map_err(|source| StartError::InstallDir {
            path: config.install.dir.clone(),
            source,
        })?;
        let shared = Arc::new(Shared {
            slots: Slots::new(config.size),
            blanks: Blanks::new(if has_blanks(config.sandbox.layers) {
                config.blanks
            } else {
                0
            }),
            bundles,
            installs,
            slot_dirs: SlotDirs::new(slots_dir.clone()),
            slots_dir,
            program: Program::new(config.bun.clone()),
            wrapper,
            tracker: TaskTracker::new(),
            apps: Mutex::default(),
            instances: Mutex::default(),
            disks: Disks::default(),
            numbers: AtomicU64::new(0),
            stop: CancellationToken::new(),
            _lock: lock,
            config,
        });
        let evictor = evict(Arc::clone(&shared));
        shared.tracker.spawn_on(evictor, &shared.config.control);
        let watch = watch::watch(Arc::clone(&shared));
        shared.tracker.spawn_on(watch, &shared.config.control);
        shared.blanks.fill(&shared);
        let copy = program::prepare(Arc::clone(&shared));
        shared.tracker.spawn_on(copy, &shared.config.control);
        let compile = wrapper::compile(Arc::clone(&shared));
        shared.tracker.spawn_on(compile, &shared.config.control);
        Ok(Self { shared })
    }

    /// A new app of this specification, without workers yet. One of the same id
    /// goes on beside it until its owner retires it, so that requests are never
    /// between the two.
    #[must_use]
    pub fn app(&self, spec: AppSpec) -> Arc<App> {
        let app = App::new(&self.shared, spec);
        let mut apps = self.shared.apps.lock();
        apps.insert(app.number(), Arc::clone(&app));
        drop(apps);
        if self.shared.is_stopping() {
            app.retire(Retirement::Removed);
        }
        app
    }

    /// What the pool is doing.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let apps: Vec<Arc<App>> = self.shared.apps.lock().values().cloned().collect();
        let mut apps: Vec<_> = apps
            .iter()
            .map(|app| app.status())
            .filter(|app| !app.instances.is_empty() || app.queued > 0 || app.start_failures > 0)
            .collect();
        apps.sort_by(|a, b| a.id.cmp(&b.id));
        PoolStatus {
            size: self.shared.config.size,
            used: self.shared.slots.used(),
            blanks: self.shared.blanks.ready(),
            queued: self.shared.slots.queued(),
            apps,
        }
    }

    /// Refuses new requests, finishes those under way and ends all workers. What
    /// still runs after `deadline` is killed; no process is left when it returns.
    pub async fn shutdown(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let shared = &self.shared;
        shared.stop.cancel();
        shared.blanks.close();
        let apps: Vec<Arc<App>> = shared.apps.lock().drain().map(|(_, app)| app).collect();
        for app in apps {
            app.retire(Retirement::Removed);
        }
        shared.order_all(Order::Drain(ExitReason::ServerStopping));
        shared.tracker.close();
        if timeout_at(until, shared.tracker.wait()).await.is_err() {
            shared.order_all(Order::Kill(ExitReason::ServerStopping));
            // A process that the kernel cannot end now ends when it can.
            let _ = timeout(REAP_LIMIT, shared.tracker.wait()).await;
        }
        shared.slot_dirs.clear();
    }
}

impl Shared {
    /// A number that names a worker or an app; never used twice.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns once the pool stops.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Every worker whose process may live.
    pub(crate) fn workers(&self) -> Vec<Arc<Instance>> {
        self.instances.lock().values().cloned().collect()
    }

    pub(crate) fn register(&self, instance: &Arc<Instance>) {
        self.instances
            .lock()
            .insert(instance.number(), Arc::clone(instance));
        // A shutdown that looked before sees it no more.
        if self.is_stopping() {
            instance.order(Order::Kill(ExitReason::ServerStopping));
        }
    }

    pub(crate) fn unregister(&self, instance: &Instance) {
        self.instances.lock().remove(&instance.number());
    }

    /// Forgets an app that was retired.
    pub(crate) fn forget(&self, app: &App) {
        self.apps.lock().remove(&app.number());
    }

    fn order_all(&self, order: Order) {
        for instance in self.workers() {
            instance.order(order);
        }
    }

    /// Ends idle workers, least recently used first, until there is one for each
    /// request that only the pool's size holds back.
    fn make_room(&self) {
        let starved = self.slots.starved();
        if starved == 0 {
            return;
        }
        let instances = self.workers();
        let ending = instances
            .iter()
            .filter(|instance| instance.spec().is_some() && !instance.is_open())
            .count();
        let mut idle: Vec<_> = instances
            .iter()
            .filter(|instance| instance.is_idle())
            .collect();
        idle.sort_by_key(|instance| instance.last_used());
        let mut missing = starved.saturating_sub(ending);
        for instance in idle {
            if missing == 0 {
                return;
            }
            if instance.close_if_idle() {
                instance.order(Order::Drain(ExitReason::Evicted));
                missing -= 1;
            }
        }
    }
}

async fn evict(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.slots.hungry() => shared.make_room(),
            () = shared.stopped() => return,
        }
    }
}

/// Takes the runtime directory: locks it, removes what an earlier run left, and
/// writes the wrapper.
fn prepare(dir: &Path) -> io::Result<(File, PathBuf, Wrapper)> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Workers run elsewhere: what they are told must not depend on where we run.
    let dir = dir.canonicalize()?;
    let lock = File::create(dir.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let slots = dir.join("slots");
    match leftovers::remove(&slots) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&slots)?;
    let mut stage = DirBuilder::new();
    stage.recursive(true).mode(0o700).create(dir.join(STAGE))?;
    let names = dir.join(NAMES);
    match fs::remove_dir_all(&names) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&names)?;
    let wrapper = Wrapper::write(&dir)?;
    Ok((lock, slots, wrapper))
}
