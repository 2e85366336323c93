//! All problems of some folders at once, without serving them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_core::{Grants, PackageName, Version};
use buntime_fs::Root;

use super::asks::Asks;
use super::load::{self, Called, Enabled};
use super::problem::{Problem, Severity, Topic};
use super::scan::{Dirty, Scanner};
use super::unit::{Entry, State};
use super::{Overrides, Registry};

/// What the server sets in the environment of every worker (contract §6): the
/// name, and what the value is.
pub const SET_BY_SERVER: [(&str, &str); 22] = [
    ("APP_DIR", "the app's folder"),
    (
        "DATA_DIR",
        "a folder of the app's own, which outlives its workers",
    ),
    ("ENTRYPOINT", "the file that runs"),
    ("HOME", "a folder of the worker's own"),
    ("HTTPS_PROXY", PROXY),
    ("HTTP_PROXY", PROXY),
    ("LANG", "C.UTF-8"),
    ("NODE_ENV", "the server's"),
    ("NODE_USE_ENV_PROXY", "1"),
    ("NO_PROXY", DIRECT),
    ("PATH", "the usual folders of programs"),
    (
        "RUNTIME_API_URL",
        "where the worker reaches the server; chosen at its start",
    ),
    ("RUNTIME_LOG_LEVEL", "the server's"),
    ("RUNTIME_PLUGIN_DIRS", "the server's"),
    ("RUNTIME_WORKER_DIRS", "the server's"),
    ("TMPDIR", "a folder of the worker's own"),
    ("TZ", "UTC"),
    ("WORKER_CONFIG", "the manifest as JSON, without `env`"),
    ("WORKER_ID", "a UUID"),
    ("http_proxy", PROXY),
    ("https_proxy", PROXY),
    ("no_proxy", DIRECT),
];
const PROXY: &str = "the way out for the app, with a secret of the worker's own";
const DIRECT: &str = "127.0.0.1,localhost";

/// What [`check`] finds.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// All problems, errors first.
    pub problems: Vec<Problem>,
    /// Every unit, in the order in which it would be served.
    pub units: Vec<CheckedUnit>,
    names: HashSet<PackageName>,
}

/// A unit and what its workers would know.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedUnit {
    /// `name@version`; the folder, for one that was named by itself.
    pub id: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What it would do.
    pub worker: CheckedWorker,
    /// What it asks for.
    pub asks: Asks,
}

/// What a unit would do.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckedWorker {
    /// Its workers run with this.
    Runs {
        /// Absolute path of the module.
        entrypoint: PathBuf,
        /// Its own variables, besides [`SET_BY_SERVER`].
        env: BTreeMap<String, String>,
        /// Names of variables that were held back, sorted.
        blocked: Vec<String>,
    },
    /// It is a static app: no code of it runs.
    Static,
    /// It is disabled.
    Disabled,
    /// It does not serve; the problems say why.
    Broken,
}

impl Checked {
    /// Whether one of the units is called so.
    #[must_use]
    pub fn has_worker(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Checks manifests, entrypoints, lockfiles, collisions and what is asked for beyond
/// `grants`. Each folder is a worker root, or a unit itself. Blocks.
#[must_use]
pub fn check(dirs: &[PathBuf], grants: &Arc<Grants>) -> Checked {
    let (mut problems, mut units) = (Vec::new(), Vec::new());
    let mut roots = Vec::new();
    for dir in dirs {
        match check_unit(dir, grants) {
            Some((unit, found)) => {
                problems.extend(found);
                units.extend(unit);
            }
            None => roots.push(dir.clone()),
        }
    }
    let roots = roots.iter().map(Into::into).collect();
    let mut scanner = Scanner::new(roots, Overrides::new(), Arc::clone(grants));
    scanner.pass(&Dirty::default());
    problems.extend(scanner.problems());
    problems.extend(Registry::<()>::default().choose(&scanner).collisions);
    problems.sort_by(|a, b| (a.severity, &a.path).cmp(&(b.severity, &b.path)));
    units.extend(scanner.records().map(|record| CheckedUnit {
        id: record.unit.id.to_string(),
        dir: record.unit.dir.clone(),
        worker: worker(&record.unit.state, &record.unit.dir),
        asks: record.asks.clone(),
    }));
    let names = scanner.records().map(|record| record.unit.name.clone());
    Checked {
        names: names.collect(),
        problems,
        units,
    }
}

fn worker(state: &State, dir: &Path) -> CheckedWorker {
    match state {
        State::Disabled => CheckedWorker::Disabled,
        State::Broken(_) => CheckedWorker::Broken,
        State::Ready(ready) => match &ready.entry {
            Entry::Static(_) => CheckedWorker::Static,
            Entry::Script(entry) => CheckedWorker::Runs {
                entrypoint: dir.join(entry.as_path()),
                env: ready.env.clone(),
                blocked: ready.blocked_env.clone(),
            },
        },
    }
}

/// What a folder would be called in a worker root: `name`, `name@1.0.0` or `name/1.0.0`,
/// perhaps below a scope.
fn name_of(dir: &Path) -> Option<PackageName> {
    let mut parts = dir.iter().rev().map(|part| part.to_str());
    let mut name = parts.next()??;
    if name.parse::<Version>().is_ok() {
        name = parts.next()??;
    }
    let base = name.split_once('@').map_or(name, |(base, _)| base);
    match parts.next().flatten() {
        Some(scope) if scope.starts_with('@') => format!("{scope}/{base}").parse().ok(),
        _ => base.parse().ok(),
    }
}

/// A folder that is a unit itself, and its problems; `None` if it is none.
fn check_unit(dir: &Path, grants: &Grants) -> Option<(Option<CheckedUnit>, Vec<Problem>)> {
    let dir = std::path::absolute(dir).ok()?;
    let folder = Root::open(&dir).ok()?;
    load::Sight::take(&folder, None).ok()??;
    let called = Called::ByItself(name_of(&dir));
    match load::load(&folder, &dir, &called, Enabled::AsWritten, grants) {
        Ok(loaded) => {
            let mut problems = loaded.problems;
            if let State::Broken(broken) = &loaded.state {
                problems.push(super::scan::broken_problem(&dir, broken));
            }
            let unit = CheckedUnit {
                id: dir.display().to_string(),
                worker: worker(&loaded.state, &dir),
                dir,
                asks: loaded.asks,
            };
            Some((Some(unit), problems))
        }
        Err(error) => {
            let problem = Problem {
                message: format!("{}: {error}", dir.display()),
                path: dir,
                severity: Severity::Error,
                topic: Topic::Disk,
            };
            Some((None, vec![problem]))
        }
    }
}
