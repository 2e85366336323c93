//! Bundles with bytecode, for fast starts.
//!
//! **Theory of operation.** The first worker of an app starts from source, and a
//! bundle is looked for in the cache, or made, beside it. From then on workers load
//! the bundle. At most once a second it is checked that the app is still what the
//! bundle was made from; if not, the source runs again until there is another
//! bundle. Whatever goes wrong, the source runs. What `auto` bundles, and why, is
//! decided in `docs/decisions/0006`.

mod build;
mod cache;
mod inputs;
mod meta;
mod observable;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buntime_core::BundleMode;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::{AppSpec, PoolConfig};
use crate::lines::cut;
use crate::pool::Shared;

use build::build;
pub(crate) use build::run as run_build;
use cache::{Cache, Stored};
use inputs::Snapshot;
use meta::Metafile;

/// Builds at the same time.
const BUILDS: usize = 1;
/// All bundles together, in bytes.
const CAPACITY: u64 = 512 << 20;
/// How long an app is taken to be unchanged.
const TRUST: Duration = Duration::from_secs(1);
/// Between a change of an app and its next bundle; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Builds until what was read is sure not to have changed meanwhile.
const BUILD_TRIES: usize = 3;
/// What is told of a failure, in bytes.
const LONGEST_REASON: usize = 4 * 1024;

/// The bundles of all apps.
#[derive(Debug)]
pub(crate) struct Bundles {
    cache: Arc<Cache>,
    places: Semaphore,
}

impl Bundles {
    /// Takes the cache's directory. Blocks.
    pub(crate) fn open(config: &PoolConfig) -> io::Result<Self> {
        Ok(Self {
            cache: Arc::new(Cache::open(&config.bundle_dir, CAPACITY)?),
            places: Semaphore::new(BUILDS),
        })
    }
}

/// The bundle of one app, if there is one.
#[derive(Debug)]
pub(crate) struct AppBundle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Grows when what is under way is out of date.
    generation: u64,
    pause: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// None is wanted, can be made, or works.
    Source,
    /// Nobody looked since then.
    Unknown(Option<Instant>),
    /// One is looked for or made.
    UnderWay,
    /// There is one, and the app was what it was made from at that time.
    Ready(Arc<Stored>, Instant),
}

/// What the app is to run, seen from one moment.
enum Choice {
    Source,
    Make(u64),
    Bundle(PathBuf),
    Check(Arc<Stored>, u64),
}

/// Why there is no bundle.
enum Refusal {
    /// The app may not be told from its source, and could be.
    Observable(String),
    Failed(String),
    /// Its files change all the time.
    Changing,
}

impl AppBundle {
    pub(crate) fn new(spec: &AppSpec) -> Self {
        let is_wanted = match spec.manifest.bundle {
            BundleMode::Auto => spec.manifest.is_ephemeral(),
            BundleMode::Always => true,
            BundleMode::Never => false,
        };
        let phase = if is_wanted {
            Phase::Unknown(None)
        } else {
            Phase::Source
        };
        Self {
            state: Mutex::new(State {
                generation: 0,
                pause: FIRST_PAUSE,
                phase,
            }),
        }
    }

    /// The bundle's module, if there is one that is up to date. Never waits for a
    /// build, but begins one.
    pub(crate) async fn entry(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        spec: &Arc<AppSpec>,
    ) -> Option<PathBuf> {
        match self.choose() {
            Choice::Source => None,
            Choice::Bundle(entry) => Some(entry),
            Choice::Make(generation) => {
                self.begin(shared, spec, generation);
                None
            }
            Choice::Check(stored, generation) => {
                let now = Instant::now();
                let entry = stored.entry();
                let check = Arc::clone(&stored);
                let control = &shared.config.control;
                let is_current = control.spawn_blocking(move || check.is_current()).await;
                self.checked(
                    stored,
                    generation,
                    is_current.unwrap_or(false).then_some(now),
                )
                .then_some(entry)
            }
        }
    }

    /// The bundle did not start: it is not tried again.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.phase = Phase::Source;
    }

    fn choose(&self) -> Choice {
        let mut state = self.state.lock();
        let now = Instant::now();
        match &state.phase {
            Phase::Source | Phase::UnderWay => Choice::Source,
            Phase::Unknown(Some(later)) if *later > now => Choice::Source,
            Phase::Unknown(_) => {
                state.phase = Phase::UnderWay;
                Choice::Make(state.generation)
            }
            Phase::Ready(stored, checked) if now - *checked < TRUST => {
                Choice::Bundle(stored.entry())
            }
            Phase::Ready(stored, _) => Choice::Check(Arc::clone(stored), state.generation),
        }
    }

    /// Notes the outcome of a check that began at `current_at`; whether the bundle
    /// may be run.
    fn checked(&self, stored: Arc<Stored>, generation: u64, current_at: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        if state.generation != generation {
            return false;
        }
        match current_at {
            Some(at) => state.phase = Phase::Ready(stored, at),
            None => state.look_later(),
        }
        current_at.is_some()
    }

    fn begin(self: &Arc<Self>, shared: &Arc<Shared>, spec: &Arc<AppSpec>, generation: u64) {
        let bundle = Arc::clone(self);
        let shared = Arc::clone(shared);
        let spec = Arc::clone(spec);
        let (tracker, control) = (shared.tracker.clone(), shared.config.control.clone());
        let make = async move {
            let begun = Instant::now();
            let made = tokio::select! {
                made = make(&shared, &spec) => made,
                () = shared.stopped() => return,
            };
            let is_ready = made.is_ok();
            let reason = bundle.made(generation, made);
            let events = &shared.config.events;
            if is_ready {
                events.bundled(&spec.id, begun.elapsed());
            } else if let Some(reason) = reason {
                let demanded = spec.manifest.bundle == BundleMode::Always;
                events.not_bundled(&spec.id, demanded, cut(&reason, LONGEST_REASON));
            }
        };
        tracker.spawn_on(make, &control);
    }

    /// Notes what came of a search; returns what to tell if it was nothing.
    fn made(&self, generation: u64, made: Result<Arc<Stored>, Refusal>) -> Option<String> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        match made {
            // Checked before the first use: time may have passed since it was made.
            Ok(stored) => {
                let long_ago = Instant::now().checked_sub(TRUST);
                state.phase = match long_ago {
                    Some(then) => Phase::Ready(stored, then),
                    None => Phase::Unknown(None),
                };
                None
            }
            Err(Refusal::Changing) => {
                state.look_later();
                Some("its files change while it is made".to_owned())
            }
            Err(Refusal::Observable(reason) | Refusal::Failed(reason)) => {
                state.phase = Phase::Source;
                Some(reason)
            }
        }
    }
}

impl State {
    fn look_later(&mut self) {
        self.generation += 1;
        self.phase = Phase::Unknown(Some(Instant::now() + self.pause));
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// The bundle of an app: from the cache, else a new one.
async fn make(shared: &Arc<Shared>, spec: &AppSpec) -> Result<Arc<Stored>, Refusal> {
    let bundles = &shared.bundles;
    let Ok(_place) = bundles.places.acquire().await else {
        return Err(Refusal::Failed("the pool is stopping".to_owned()));
    };
    let recipe = build::recipe(shared);
    let pool = Arc::clone(shared);
    let entry = spec.entrypoint.clone();
    let cache = Arc::clone(&bundles.cache);
    let (slot, found) = blocking(move || {
        let slot = cache::slot(&pool.program.identity()?, &recipe, cache.dir(), &entry);
        let found = cache.find(&slot)?;
        Ok((slot, found))
    })
    .await?;
    let stored = match found {
        Some(stored) => stored,
        None => make_new(shared, spec, slot).await?,
    };
    match stored.observable() {
        Some(reason) if spec.manifest.bundle == BundleMode::Auto => {
            Err(Refusal::Observable(reason.to_owned()))
        }
        _ => Ok(stored),
    }
}

async fn make_new(
    shared: &Arc<Shared>,
    spec: &AppSpec,
    slot: String,
) -> Result<Arc<Stored>, Refusal> {
    let mut strict = true;
    let mut before: Option<String> = None;
    for _ in 0..=BUILD_TRIES {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH);
        let begun = begun.map_or(0, |since| since.as_secs());
        let cache = Arc::clone(&shared.bundles.cache);
        let place = blocking(move || cache.begin()).await?;
        let built = build(shared, spec, &place.dir, strict).await;
        let built = built.map_err(Refusal::Failed)?;
        let metafile = Metafile::parse(&built.metafile)
            .map_err(|error| Refusal::Failed(format!("Bun's metafile: {error}")))?;
        if strict && !metafile.is_strict() {
            // Its CommonJS modules must not be strict; the others then are not either.
            strict = false;
            continue;
        }
        let root = spec.dir.clone();
        let looked = blocking(move || {
            let root = root.canonicalize()?;
            let inputs = metafile.inputs(&built.cwd);
            let (snapshot, texts) = Snapshot::take(&root, &inputs).map_err(io::Error::other)?;
            let observable = observable::observable(&place.text()?, &metafile, &texts);
            Ok((place, snapshot, observable))
        });
        let (place, snapshot, observable) = looked.await?;
        // What was written since the build began may not be what was built.
        let content = snapshot.content();
        let begun = i64::try_from(begun).unwrap_or(0);
        if snapshot.is_older_than(begun) || before.as_ref() == Some(&content) {
            let cache = Arc::clone(&shared.bundles.cache);
            return blocking(move || cache.place(&slot, place, snapshot, observable)).await;
        }
        before = Some(content);
    }
    Err(Refusal::Changing)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| Refusal::Failed(error.to_string()))
}
