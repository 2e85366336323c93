//! The catalog: which workers are installed, kept true while files change.
//!
//! Worker roots hold units in three layouts: `name/1.2.3/`, `name@1.2.3/` and
//! `name/` (which counts as `latest`), each also below `@scope/`. A folder is a
//! unit if it holds a manifest or a package.json. Entries that begin with a
//! dot, `node_modules`, and symbolic links are passed over.
//!
//! **Theory of operation.** One scanner, behind a lock, remembers what each
//! folder looked like and reads again only what looks different. From what it
//! knows a [`Snapshot`] is built and published; requests read that without a
//! lock. A unit whose content is unchanged keeps its [`Deployment`], and with it
//! whatever the server keeps in its slot; one that changed gets a new deployment
//! and the old one is retired. [`Catalog::watch`] starts a pass when the kernel
//! tells of a change, and at least every few seconds, about once a second where the kernel cannot tell.
//!
//! **What counts as a change** is decided in `docs/decisions/0005`.

mod asks;
mod check;
pub(crate) mod files;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod package;
mod problem;
mod scan;
mod snapshot;
mod sources;
mod unit;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use buntime_core::{Grants, PackageName, Version};
use parking_lot::Mutex;
use tokio::sync::watch as notification;

pub use asks::Asks;
pub use check::{Checked, CheckedUnit, CheckedWorker, SET_BY_SERVER, check};
pub(crate) use package::Package;
pub use package::PackageError;
pub use problem::{Problem, Severity, Topic};
pub use snapshot::{Snapshot, Versions};
pub use unit::{Broken, Deployment, Entry, Ready, Source, State, Unit};

use crate::config::WorkerRoot;
use scan::{Dirty, Scanner, WatchList};

/// What the server does when the catalog changes.
///
/// Called on a blocking thread, in the order of the changes, while the catalog
/// is locked for further passes: be quick, do not call [`Catalog::rescan`].
pub trait CatalogEvents<T>: Send + Sync + 'static {
    /// Makes what the server keeps with a unit. Called once for each
    /// deployment, before anybody can see it; also for units that do not serve.
    fn deploy(&self, unit: &Unit) -> T;

    /// A deployment was taken out of the published snapshot; `next` is what took its
    /// place there. Requests that found it in an older snapshot may still come.
    fn retire(&self, deployment: &Arc<Deployment<T>>, next: Option<&Arc<Deployment<T>>>);

    /// Something is wrong, said once until it is gone and comes back.
    fn problem(&self, problem: &Problem);
}

/// `name@version`: what a unit is called everywhere.
pub(crate) fn unit_id(name: &PackageName, version: &Version) -> String {
    format!("{name}@{version}")
}

/// What the operator has said of units, by `unit_id`: enabled or not, whatever their
/// manifests say.
pub type Overrides = HashMap<String, bool>;

/// A folder to look for units in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogRoot {
    /// The folder; relative ones count from the current folder.
    pub path: PathBuf,
    /// The one unit folder below it that counts. `None`: all of them.
    pub only: Option<PathBuf>,
}

impl From<&PathBuf> for CatalogRoot {
    fn from(path: &PathBuf) -> Self {
        Self {
            path: path.clone(),
            only: None,
        }
    }
}

impl From<&WorkerRoot> for CatalogRoot {
    fn from(root: &WorkerRoot) -> Self {
        Self {
            path: root.path.clone(),
            only: root.only.clone(),
        }
    }
}

/// Which workers are installed. Cheap to clone.
pub struct Catalog<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    snapshot: ArcSwap<Snapshot<T>>,
    work: Mutex<Work<T>>,
    events: Box<dyn CatalogEvents<T>>,
    published: notification::Sender<u64>,
}

/// Every folder that is known to hold a unit, those too that do not serve because
/// another one has their name and version.
pub struct Installed<'a>(&'a Scanner);

impl Installed<'_> {
    /// The units of a worker, in the order in which they take precedence.
    pub fn units(&self, name: &PackageName) -> impl Iterator<Item = &Unit> {
        let units = self.0.records().map(|record| &record.unit);
        units.filter(move |unit| unit.name == *name)
    }
}

impl fmt::Debug for Installed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Installed")
    }
}

struct Work<T> {
    scanner: Scanner,
    registry: Registry<T>,
    problems: BTreeSet<Problem>,
    collisions: Vec<Problem>,
    /// Whether units changed since the last snapshot was published.
    changed: bool,
    /// Whether folders came or went since somebody asked what to watch.
    moved: bool,
}

/// Who serves which `name@version` at present.
struct Registry<T> {
    serving: HashMap<Arc<str>, Arc<Deployment<T>>>,
}

/// Who serves which `name@version` from now on.
struct Choice<'a> {
    winners: Vec<&'a scan::Record>,
    collisions: Vec<Problem>,
}

impl<T: Send + Sync + 'static> Catalog<T> {
    /// Looks at all roots and publishes what is there. Blocks.
    ///
    /// A root that cannot be read is a problem like any other: told to `events`,
    /// looked at again with the rest.
    #[must_use]
    pub fn open<R>(roots: R, events: impl CatalogEvents<T>) -> Self
    where
        R: IntoIterator<Item: Into<CatalogRoot>>,
    {
        Self::open_with(roots, Overrides::new(), Arc::default(), events)
    }

    /// As [`Catalog::open`], with what the operator has said of units before, and grants
    /// them.
    #[must_use]
    pub fn open_with<R>(
        roots: R,
        overrides: Overrides,
        grants: Arc<Grants>,
        events: impl CatalogEvents<T>,
    ) -> Self
    where
        R: IntoIterator<Item: Into<CatalogRoot>>,
    {
        let roots = roots.into_iter().map(Into::into).collect();
        let catalog = Self {
            shared: Arc::new(Shared {
                snapshot: ArcSwap::from_pointee(Snapshot::build(0, Vec::new(), None)),
                work: Mutex::new(Work {
                    scanner: Scanner::new(roots, overrides, grants),
                    registry: Registry::default(),
                    problems: BTreeSet::new(),
                    collisions: Vec::new(),
                    changed: false,
                    moved: true,
                }),
                events: Box::new(events),
                published: notification::Sender::new(0),
            }),
        };
        catalog.rescan();
        catalog
    }

    /// What is installed now. The guard is for one lookup or one request's
    /// routing: cheap, and not to be kept.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot<T>>> {
        self.shared.snapshot.load()
    }

    /// Looks at everything again, code included, publishes what changed and
    /// returns the generation. Blocks.
    pub fn rescan(&self) -> u64 {
        self.pass(&Dirty {
            all: true,
            ..Dirty::default()
        });
        self.snapshot().generation()
    }

    /// The operator enables or disables a unit, whatever its manifest says; `None`: the
    /// manifest counts again. It holds from the next request on. True if the published
    /// snapshot has it so, false if there is no such unit or it cannot be read. Blocks.
    pub fn set_enabled(&self, id: &str, enabled: Option<bool>) -> bool {
        let work = &mut *self.shared.work.lock();
        let dirty = work.scanner.set_override(id, enabled);
        if dirty.units.is_empty() {
            return false;
        }
        // A unit that need not be read again is served otherwise all the same.
        work.changed = true;
        self.run_pass(work, &dirty);
        let serving = work.registry.serving.get(id);
        let is_enabled =
            serving.map(|deployment| !matches!(deployment.unit().state, State::Disabled));
        is_enabled.is_some_and(|is| enabled.is_none_or(|wanted| wanted == is))
    }

    /// Changes folders of units: `work` does it, and what it did is published before this
    /// returns, as one snapshot. No other pass sees what is half done. Blocks.
    pub fn change<R>(&self, work: impl FnOnce(&Installed<'_>) -> R) -> R {
        let locked = &mut *self.shared.work.lock();
        let result = work(&Installed(&locked.scanner));
        let dirty = Dirty {
            structure: true,
            ..Dirty::default()
        };
        self.run_pass(locked, &dirty);
        result
    }

    /// As [`Catalog::change`], for work that may fail. If it does not, the operator's word
    /// on these units, by `name@version`, changes in the same step. Blocks.
    pub fn change_with<R, E>(
        &self,
        words: &[(String, Option<bool>)],
        work: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let locked = &mut *self.shared.work.lock();
        let result = work();
        let mut dirty = Dirty {
            structure: true,
            ..Dirty::default()
        };
        if result.is_ok() {
            for (id, word) in words {
                let units = locked.scanner.set_override(id, *word).units;
                locked.changed |= !units.is_empty();
                dirty.units.extend(units);
            }
        }
        self.run_pass(locked, &dirty);
        result
    }

    /// What is installed, those folders too that do not serve. Blocks.
    pub fn look<R>(&self, work: impl FnOnce(&Installed<'_>) -> R) -> R {
        work(&Installed(&self.shared.work.lock().scanner))
    }

    /// Tells the generation whenever another snapshot is published.
    #[must_use]
    pub fn subscribe(&self) -> notification::Receiver<u64> {
        self.shared.published.subscribe()
    }

    /// Keeps the catalog true until `stop` completes.
    ///
    /// To be spawned once, on a runtime with time, I/O and blocking threads.
    pub async fn watch(&self, stop: impl Future<Output = ()> + Send) {
        watch::watch(self, stop).await;
    }

    /// Says a problem that the scanner does not know of, once.
    fn report(&self, problem: &Problem) {
        self.shared.events.problem(problem);
    }

    fn pass(&self, dirty: &Dirty) {
        self.run_pass(&mut self.shared.work.lock(), dirty);
    }

    /// A pass, and the folders to watch if they may be others than last time.
    fn pass_and_wanted(&self, dirty: &Dirty) -> Option<WatchList> {
        let work = &mut *self.shared.work.lock();
        self.run_pass(work, dirty);
        std::mem::take(&mut work.moved).then(|| work.scanner.wanted())
    }

    /// The next [`Catalog::pass_and_wanted`] tells what to watch in any case.
    fn watches_lost(&self) {
        self.shared.work.lock().moved = true;
    }

    fn run_pass(&self, work: &mut Work<T>, dirty: &Dirty) {
        let shared = &self.shared;
        let pass = work.scanner.pass(dirty);
        // Noted first: what panics below is done again by the next pass.
        work.changed |= pass.changed;
        work.moved |= pass.moved;
        if work.changed {
            let choice = work.registry.choose(&work.scanner);
            work.collisions = choice.collisions;
            let units = choice
                .winners
                .into_iter()
                .map(|record| (work.scanner.effective(record), record.revision))
                .collect();
            let retired = work.registry.take_over(units, &*shared.events);
            let before = shared.snapshot.load();
            let snapshot = Snapshot::build(
                before.generation() + 1,
                work.registry.serving.values().cloned().collect(),
                Some(&before),
            );
            let generation = snapshot.generation();
            shared.snapshot.store(Arc::new(snapshot));
            work.changed = false;
            shared.published.send_replace(generation);
            for deployment in retired {
                let next = work.registry.serving.get(&deployment.unit().id);
                shared.events.retire(&deployment, next);
            }
        }
        let mut problems = work.scanner.problems();
        problems.extend(work.collisions.iter().cloned());
        for problem in problems.difference(&work.problems) {
            shared.events.problem(problem);
        }
        work.problems = problems;
    }
}

impl<T: 'static> Registry<T> {
    /// Picks one folder for each `name@version`: the one that serves it now,
    /// else the first by root and path.
    fn choose<'a>(&self, scanner: &'a Scanner) -> Choice<'a> {
        let mut chosen: HashMap<&str, &scan::Record> = HashMap::new();
        let mut losers = Vec::new();
        for record in scanner.records() {
            let id = &*record.unit.id;
            let serves_now = || {
                self.serving
                    .get(id)
                    .is_some_and(|serving| serving.unit().dir == record.unit.dir)
            };
            match chosen.get(id) {
                None => {
                    chosen.insert(id, record);
                }
                Some(_) if !serves_now() => losers.push(record),
                Some(first) => {
                    losers.push(first);
                    chosen.insert(id, record);
                }
            }
        }
        let collisions = losers
            .into_iter()
            .filter_map(|loser| Some((loser, chosen.get(&*loser.unit.id)?)))
            .map(|(loser, winner)| collision(&loser.unit.id, &winner.unit.dir, &loser.unit.dir))
            .collect();
        Choice {
            winners: chosen.into_values().collect(),
            collisions,
        }
    }

    /// Serves the winners from now on and returns who does not any more.
    fn take_over(
        &mut self,
        winners: Vec<(Cow<'_, Unit>, u64)>,
        events: &dyn CatalogEvents<T>,
    ) -> Vec<Arc<Deployment<T>>> {
        // Nothing is replaced before all is made: `deploy` may panic.
        let is_off = |unit: &Unit| matches!(unit.state, State::Disabled);
        let next = winners
            .into_iter()
            .map(|(unit, revision)| {
                let known = self.serving.get(&unit.id).filter(|known| {
                    known.revision() == revision
                        && known.unit().dir == unit.dir
                        && is_off(known.unit()) == is_off(&unit)
                });
                let id = Arc::clone(&unit.id);
                let deployment = match known {
                    Some(known) => Arc::clone(known),
                    None => {
                        let slot = events.deploy(&unit);
                        Arc::new(Deployment::new(unit.into_owned(), revision, slot))
                    }
                };
                (id, deployment)
            })
            .collect();
        let before = std::mem::replace(&mut self.serving, next);
        let is_replaced = |(id, old): (Arc<str>, Arc<Deployment<T>>)| {
            let kept = self
                .serving
                .get(&id)
                .is_some_and(|now| Arc::ptr_eq(now, &old));
            (!kept).then_some(old)
        };
        before.into_iter().filter_map(is_replaced).collect()
    }
}

fn collision(id: &str, first: &Path, second: &Path) -> Problem {
    let message = format!(
        "Worker collision: \"{id}\" already registered from \"{}\", cannot register from \"{}\"",
        first.display(),
        second.display()
    );
    Problem::error(Topic::Collision, second, message)
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self {
            serving: HashMap::new(),
        }
    }
}

impl<T> Clone for Catalog<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for Catalog<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot.load();
        formatter
            .debug_struct("Catalog")
            .field("generation", &snapshot.generation())
            .field("workers", &snapshot.workers().count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
