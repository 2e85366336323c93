//! Automatic installs: `bun install` before an app's first start.
//!
//! **Theory of operation.** What to install is parsed from the app's package.json and
//! bun.lock and written anew (`buntime_core::InstallPlan`) into a directory of the
//! server's own, where Bun finds nothing else of the app's. There it installs, in a
//! process like a worker's, watched for time and size. Then `node_modules` changes
//! places with the app's in one step. A stamp in the state directory tells later runs
//! that this was done. Why it is done like this is told in `docs/decisions/0008`.

mod folder;
mod run;
mod store;
mod tree;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buntime_core::InstallPlan;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::{AppSpec, PoolConfig};
use crate::error::StartFailure;
use crate::pool::Shared;

use folder::Folder;
use store::{CachePlace, Store, Work};

/// Installs at the same time; more wait.
const INSTALLS: usize = 4;
/// How long `node_modules` is taken to be there.
const TRUST: Duration = Duration::from_secs(1);
/// Between two tries for a folder into which another server installs.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What all installs share.
#[derive(Debug)]
pub(crate) struct Installs {
    store: Arc<Store>,
    places: Semaphore,
}

impl Installs {
    /// Takes the directory of the installs. Blocks.
    pub(crate) fn open(config: &PoolConfig) -> io::Result<Self> {
        Ok(Self {
            store: Arc::new(Store::open(&config.install)?),
            places: Semaphore::new(INSTALLS),
        })
    }
}

/// How an install ended; `None` while it is under way.
pub(crate) type Outcome = Option<Result<(), StartFailure>>;

/// Whether the packages of one app are there.
#[derive(Debug)]
pub(crate) struct AppInstall {
    phase: Mutex<Phase>,
    /// Starts that wait for an install.
    waiting: AtomicUsize,
    /// The app was retired: an install under way ends.
    retired: CancellationToken,
}

#[derive(Debug)]
enum Phase {
    /// None is wanted, or there is nothing to install.
    Source,
    Unknown,
    UnderWay(watch::Receiver<Outcome>),
    /// `node_modules` was there at that time.
    Done(Instant),
}

/// What a start has to do about it, seen from one moment.
#[derive(Debug)]
pub(crate) enum Choice {
    Ready,
    /// See whether `node_modules` is still there.
    Look,
    /// Install, and tell the sender.
    Begin(watch::Sender<Outcome>, watch::Receiver<Outcome>),
    Wait(watch::Receiver<Outcome>),
}

impl AppInstall {
    pub(crate) fn new(spec: &AppSpec) -> Self {
        let phase = if spec.manifest.auto_install {
            Phase::Unknown
        } else {
            Phase::Source
        };
        Self {
            phase: Mutex::new(phase),
            waiting: AtomicUsize::new(0),
            retired: CancellationToken::new(),
        }
    }

    /// The app is no longer served.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    pub(crate) fn choose(&self) -> Choice {
        let mut phase = self.phase.lock();
        match &*phase {
            Phase::Source => Choice::Ready,
            Phase::Done(checked) if checked.elapsed() < TRUST => Choice::Ready,
            Phase::Done(_) => Choice::Look,
            Phase::UnderWay(receiver) if receiver.has_changed().is_ok() => {
                Choice::Wait(receiver.clone())
            }
            // Its sender is gone: it came to no end.
            Phase::Unknown | Phase::UnderWay(_) => {
                let (sender, receiver) = watch::channel(None);
                *phase = Phase::UnderWay(receiver.clone());
                Choice::Begin(sender, receiver)
            }
        }
    }

    /// A place among those that wait; `None` if there are `most`.
    pub(crate) fn wait(&self, most: usize) -> Option<Waiting<'_>> {
        let waiting = Waiting(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(waiting)
    }

    /// Notes what a look found.
    pub(crate) fn looked(&self, is_there: bool) {
        let mut phase = self.phase.lock();
        if let Phase::Done(_) = *phase {
            *phase = if is_there {
                Phase::Done(Instant::now())
            } else {
                Phase::Unknown
            };
        }
    }

    fn ended(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }
}

/// A place among those that wait; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an app has its `node_modules`. Blocks for a moment.
pub(crate) fn has_modules(spec: &AppSpec) -> bool {
    let found = std::fs::symlink_metadata(spec.dir.join(folder::MODULES));
    found.is_ok_and(|found| found.is_dir())
}

/// Why nothing was installed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The message says what to do.
    Failed(String),
    /// The pool is stopping or the app was retired.
    GivenUp,
}

/// Installs the packages of one app unless that was done, and notes the outcome.
///
/// # Errors
/// See [`Problem`]; the next start tries again.
pub(crate) async fn install(
    shared: &Arc<Shared>,
    spec: &Arc<AppSpec>,
    state: &AppInstall,
) -> Result<(), Problem> {
    let given_up = async {
        tokio::select! {
            () = shared.stopped() => {}
            () = state.retired.cancelled() => {}
        }
    };
    let installed = prepare_and_run(shared, spec, given_up).await;
    state.ended(match &installed {
        Ok(Found::Nothing) => Phase::Source,
        Ok(Found::Modules) => Phase::Done(Instant::now()),
        Err(_) => Phase::Unknown,
    });
    installed.map(|_| ())
}

/// What an app has after an install.
enum Found {
    /// It depends on nothing.
    Nothing,
    Modules,
}

async fn prepare_and_run(
    shared: &Arc<Shared>,
    spec: &Arc<AppSpec>,
    given_up: impl Future<Output = ()>,
) -> Result<Found, Problem> {
    let deadline = Instant::now() + shared.config.install.limits.time;
    let mut given_up = std::pin::pin!(given_up);
    let prepare = async {
        let Ok(place) = shared.installs.places.acquire().await else {
            return Err(Problem::GivenUp);
        };
        let folder = locked(spec, deadline).await?;
        Ok((place, folder))
    };
    let (_place, folder) = tokio::select! {
        prepared = prepare => prepared?,
        () = &mut given_up => return Err(Problem::GivenUp),
    };
    let store = Arc::clone(&shared.installs.store);
    let app = Arc::clone(spec);
    let job = match blocking(move || Job::find(&store, folder, &app)).await? {
        Job::None => return Ok(Found::Nothing),
        Job::Done => return Ok(Found::Modules),
        Job::Do(job) => job,
    };
    let begun = Instant::now();
    let config = &shared.config;
    let hosts: Vec<&str> = job.plan.hosts.iter().map(String::as_str).collect();
    let registry = &config.install.registry;
    let events = &config.events;
    events.installing(&spec.id, job.plan.packages, registry, &hosts);
    let ran = run::run(shared, spec, &job, deadline, given_up).await;
    let store = Arc::clone(&shared.installs.store);
    // Also after a failure: what was begun is removed.
    blocking(move || match ran {
        Ok(()) => job.conclude(&store),
        Err(problem) => {
            job.clear();
            Err(problem)
        }
    })
    .await?;
    events.installed(&spec.id, begun.elapsed());
    Ok(Found::Modules)
}

/// The app's folder, once no other server installs into it.
async fn locked(spec: &AppSpec, deadline: Instant) -> Result<Folder, Problem> {
    let path = spec.dir.clone();
    let folder = blocking(move || Folder::open(&path).map_err(failed("open the app's folder")));
    let folder = folder.await?;
    let lock = async {
        while !folder.try_lock() {
            sleep(LOCK_PAUSE).await;
        }
    };
    match timeout_at(deadline, lock).await {
        Ok(()) => Ok(folder),
        Err(_) => Err(Problem::Failed(
            "another server has been installing into this folder all the time".to_owned(),
        )),
    }
}

/// What is to be done for one app.
enum Job {
    /// The app depends on nothing.
    None,
    /// It was done by an earlier run.
    Done,
    Do(Box<Begun>),
}

/// An install that has begun.
struct Begun {
    folder: Folder,
    plan: InstallPlan,
    fingerprint: String,
    work: Work,
    cache: CachePlace,
}

impl Job {
    /// Looks what there is to do, and prepares it.
    fn find(store: &Arc<Store>, folder: Folder, spec: &AppSpec) -> Result<Self, Problem> {
        folder.clear();
        let plan = match folder.plan()? {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(Self::None),
            Err(error) => return Err(Problem::Failed(error.to_string())),
        };
        let fingerprint = store::fingerprint(&plan);
        let modules = folder.modules();
        if modules.is_some() && store.stamp_of(&spec.dir, &fingerprint) == modules {
            return Ok(Self::Done);
        }
        folder.expect_writable()?;
        let work = store.work(&plan).map_err(failed("prepare an install"))?;
        let cache = store.cache(&spec.name);
        let cache = cache.map_err(failed("make the cache of an install"))?;
        Ok(Self::Do(Box::new(Begun {
            folder,
            plan,
            fingerprint,
            work,
            cache,
        })))
    }
}

impl Begun {
    /// Puts what was installed in its place.
    fn conclude(self, store: &Store) -> Result<(), Problem> {
        let placed = self.folder.place(&self.work.project());
        let stamped = placed.and_then(|modules| {
            store.stamp(self.folder.path(), &self.fingerprint, modules)?;
            Ok(())
        });
        self.clear();
        store.evict();
        stamped.map_err(failed("put node_modules in its place"))
    }

    /// Removes what is left of it.
    fn clear(self) {
        self.work.remove();
        self.folder.clear();
    }
}

/// Says what could not be done.
fn failed(what: &'static str) -> impl Fn(io::Error) -> Problem {
    move |error| Problem::Failed(format!("cannot {what}: {error}"))
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::Failed(error.to_string())))
}
