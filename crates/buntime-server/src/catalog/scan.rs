//! From worker roots to units, reading again only what changed.

mod folders;
mod units;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_core::{Grants, PackageName, Version};
use buntime_fs::{RelPath, Root};

use super::asks::Asks;
use super::listing::Listing;
use super::load::Sight;
use super::problem::{Problem, Topic};
use super::sources::Sources;
use super::unit::{Broken, Entry, Source, State, Unit};
use super::{CatalogRoot, Overrides};

/// Entries of code looked at in one pass beyond what is known to have changed.
/// About a millisecond; with many units a pass covers some and the next others.
const CODE_BUDGET: usize = 250;

/// Why a pass is made. The default: to look at everything that shows from
/// outside, and at some units' code in turn.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// A folder came or went.
    pub(super) structure: bool,
    /// Read every unit's code.
    pub(super) all: bool,
    /// Folders of units in which a file of interest changed.
    pub(super) units: HashSet<PathBuf>,
}

/// A folder worth a watch.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    /// The unit that the folder belongs to; none for a folder of units.
    pub(super) unit: Option<Arc<Path>>,
}

/// The folders worth a watch, the most important first.
#[derive(Clone, Debug)]
pub(super) struct WatchList {
    pub(super) folders: Vec<Wanted>,
    /// Whether they tell of all that happens. Nobody tells of a root that is made, and of a
    /// link on the way to one that leads elsewhere from now on.
    pub(super) is_telling: bool,
}

/// What a pass found out.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Whether any unit appeared, changed or went.
    pub(super) changed: bool,
    /// Whether the folders worth a watch may be others than before.
    pub(super) moved: bool,
    layout_problems: BTreeSet<Problem>,
    folders: Vec<Wanted>,
    seen: HashSet<Place>,
    listed: HashSet<PathBuf>,
    /// Below these, nothing could be found out: what was there stays.
    unknown: Vec<Place>,
    code_left: usize,
    ordinal: usize,
}

/// Number of the root and the folder: the order in which units take precedence.
type Place = (usize, PathBuf);

/// Knows what was found last time.
#[derive(Debug)]
pub(super) struct Scanner {
    roots: Vec<ScannedRoot>,
    listings: HashMap<PathBuf, Listing>,
    records: BTreeMap<Place, Record>,
    /// Folders that hold units, and the units' own, as of the last full pass.
    folders: Vec<Wanted>,
    layout_problems: BTreeSet<Problem>,
    /// By `name@version`: whether the operator has said that it is enabled, whatever its
    /// manifest says.
    overrides: Overrides,
    grants: Arc<Grants>,
    /// Where the looking at unchanged code goes on.
    cursor: usize,
    revision: u64,
}

/// A worker root as it is scanned.
#[derive(Debug)]
struct ScannedRoot {
    path: Arc<Path>,
    /// The same without links, as of the last full pass. `None`: there is no such folder.
    leads_to: Option<PathBuf>,
    source: Source,
    /// The one unit folder that counts, absolute. `None`: all of them.
    only: Option<PathBuf>,
}

/// A unit and what it was made from.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) unit: Unit,
    /// Another number, other content.
    pub(super) revision: u64,
    sight: Sight,
    settled: bool,
    sources: Sources,
    problems: Vec<Problem>,
    /// What it asks for, and what becomes of it.
    pub(super) asks: Asks,
}

impl Scanner {
    /// `roots` as configured; relative ones count from the current folder.
    pub(super) fn new(roots: Vec<CatalogRoot>, overrides: Overrides, grants: Arc<Grants>) -> Self {
        let roots = roots
            .into_iter()
            .map(|CatalogRoot { path: root, only }| {
                let root = std::path::absolute(&root).unwrap_or(root);
                ScannedRoot {
                    // A single folder is a developer's own, and not the server's to change.
                    source: match only {
                        Some(_) => Source::BuiltIn,
                        None => Source::of_root(&root),
                    },
                    only: only.map(|only| root.join(only)),
                    leads_to: None,
                    path: Arc::from(root),
                }
            })
            .collect();
        Self {
            roots,
            listings: HashMap::new(),
            records: BTreeMap::new(),
            folders: Vec::new(),
            layout_problems: BTreeSet::new(),
            overrides,
            grants,
            cursor: 0,
            revision: 0,
        }
    }

    /// Notes what the operator says of a unit; `None`: the manifest counts. Returns what to
    /// look at for that to take effect.
    pub(super) fn set_override(&mut self, id: &str, enabled: Option<bool>) -> Dirty {
        match enabled {
            Some(enabled) => self.overrides.insert(id.to_owned(), enabled),
            None => self.overrides.remove(id),
        };
        let units = self.records().filter(|record| *record.unit.id == *id);
        Dirty {
            units: units.map(|record| record.unit.dir.clone()).collect(),
            ..Dirty::default()
        }
    }

    /// The unit as it is to be served: disabled if the operator says so.
    pub(super) fn effective<'a>(&self, record: &'a Record) -> Cow<'a, Unit> {
        let is_off = self.overrides.get(&*record.unit.id) == Some(&false);
        if !is_off || matches!(record.unit.state, State::Disabled) {
            return Cow::Borrowed(&record.unit);
        }
        Cow::Owned(Unit {
            state: State::Disabled,
            ..record.unit.clone()
        })
    }

    /// All units, those that take precedence first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The folders worth a watch.
    pub(super) fn wanted(&self) -> WatchList {
        let mut folders = self.folders.clone();
        let code = self.records.values().flat_map(|record| {
            let unit: Arc<Path> = record.unit.dir.as_path().into();
            record
                .sources
                .folders
                .iter()
                .map(move |(path, inode)| Wanted {
                    path: path.clone(),
                    inode: *inode,
                    unit: Some(Arc::clone(&unit)),
                })
        });
        folders.extend(code);
        let mut roots = self.roots.iter();
        WatchList {
            folders,
            is_telling: roots.all(|root| root.leads_to.as_deref() == Some(&*root.path)),
        }
    }

    /// What is wrong, as of the last pass.
    pub(super) fn problems(&self) -> BTreeSet<Problem> {
        let of_units = self.records.values().flat_map(|record| &record.problems);
        self.layout_problems
            .iter()
            .chain(of_units)
            .cloned()
            .collect()
    }

    /// Looks at what changed, or at everything. Blocks.
    pub(super) fn pass(&mut self, dirty: &Dirty) -> Pass {
        let is_partial = !dirty.units.is_empty() && !dirty.all && !dirty.structure;
        let mut partial = Pass::default();
        if is_partial && self.partial_pass(dirty, &mut partial).is_some() {
            return partial;
        }
        let mut pass = self.full_pass(dirty);
        // Units that were looked at before it turned out that this does not do.
        pass.changed |= partial.changed;
        pass.moved |= partial.moved;
        pass
    }

    /// Looks at the dirty units only, however many others there are. `None` if
    /// that does not do, because one of them is new or gone.
    fn partial_pass(&mut self, dirty: &Dirty, pass: &mut Pass) -> Option<()> {
        for dir in &dirty.units {
            let roots = 0..self.roots.len();
            let key = roots
                .map(|index| (index, dir.clone()))
                .find(|key| self.records.contains_key(key))?;
            let root = Root::open(&self.roots[key.0].path).ok()?;
            let below = dir.strip_prefix(&self.roots[key.0].path).ok()?;
            let folder = root
                .open_dir(&RelPath::try_from(below.to_str()?).ok()?)
                .ok()?;
            let unit = &self.records.get(&key)?.unit;
            let place = Ok((unit.name.clone(), unit.version.clone()));
            self.unit(key.0, &folder, dir, place, dirty, pass);
            if !pass.seen.contains(&key) || !pass.unknown.is_empty() {
                return None;
            }
        }
        Some(())
    }

    fn full_pass(&mut self, dirty: &Dirty) -> Pass {
        let mut pass = Pass {
            code_left: CODE_BUDGET,
            ..Pass::default()
        };
        let mut known = HashSet::new();
        for index in 0..self.roots.len() {
            let path = Arc::clone(&self.roots[index].path);
            let leads_to = path.canonicalize().ok();
            pass.moved |= self.roots[index].leads_to != leads_to;
            self.roots[index].leads_to = leads_to;
            match Root::open(&path) {
                // The same folder twice would collide with itself throughout.
                Ok(root) if !known.insert((root.info().device, root.info().inode)) => {
                    let message =
                        format!("{}: is listed twice; this one is ignored", path.display());
                    pass.layout_problems
                        .insert(Problem::warning(Topic::Layout, &path, message));
                }
                Ok(root) => self.root(index, &root, &path, dirty, &mut pass),
                Err(error) => self.unreadable(index, &path, &error, &mut pass),
            }
        }
        // The walk got through before the budget was spent: begin anew.
        if pass.code_left > 0 {
            self.cursor = 0;
        }
        let before = self.records.len();
        self.records.retain(|place, _| {
            pass.seen.contains(place)
                || pass
                    .unknown
                    .iter()
                    .any(|(root, path)| *root == place.0 && place.1.starts_with(path))
        });
        pass.changed |= self.records.len() != before;
        pass.moved |= pass.changed;
        self.listings.retain(|path, _| pass.listed.contains(path));
        self.folders = std::mem::take(&mut pass.folders);
        self.layout_problems = std::mem::take(&mut pass.layout_problems);
        pass
    }

    fn root(&mut self, index: usize, root: &Root, path: &Path, dirty: &Dirty, pass: &mut Pass) {
        for child in self.list(index, root, path, pass).iter() {
            let child_path = path.join(child.as_path());
            if !child.as_str().starts_with('@') {
                self.named(index, root, &child_path, (None, child), dirty, pass);
                continue;
            }
            let Some(scope) = self.open(index, root, child, &child_path, pass) else {
                continue;
            };
            for grandchild in self.list(index, &scope, &child_path, pass).iter() {
                let path = child_path.join(grandchild.as_path());
                self.named(
                    index,
                    &scope,
                    &path,
                    (Some(child.as_str()), grandchild),
                    dirty,
                    pass,
                );
            }
        }
    }

    /// A folder `name` or `name@version`.
    fn named(
        &mut self,
        index: usize,
        parent: &Root,
        path: &Path,
        (scope, folder): (Option<&str>, &RelPath),
        dirty: &Dirty,
        pass: &mut Pass,
    ) {
        let Some(opened) = self.open(index, parent, folder, path, pass) else {
            return;
        };
        let (base, version) = match folder.as_str().split_once('@') {
            Some((base, version)) => (base, Some(version)),
            None => (folder.as_str(), None),
        };
        let name = match scope {
            Some(scope) => format!("{scope}/{base}"),
            None => base.to_owned(),
        };
        let name = PackageName::try_from(name.as_str())
            .map_err(|error| error.to_string())
            .and_then(|name| match name.is_reserved() {
                true => Err("this name is reserved for the server".to_owned()),
                false => Ok(name),
            });
        if let Some(version) = version {
            let parsed = Version::try_from(version).map_err(|error| error.to_string());
            let place = name.and_then(|name| Ok((name, parsed?)));
            self.unit(index, &opened, path, place, dirty, pass);
            return;
        }
        let bare = name.clone().map(|name| (name, Version::Latest));
        self.unit(index, &opened, path, bare, dirty, pass);
        for child in self.list(index, &opened, path, pass).iter() {
            let Ok(version) = Version::try_from(child.as_str()) else {
                continue;
            };
            let path = path.join(child.as_path());
            let Some(opened) = self.open(index, &opened, child, &path, pass) else {
                continue;
            };
            let place = name.clone().map(|name| (name, version));
            self.unit(index, &opened, &path, place, dirty, pass);
        }
    }
}

impl Record {
    fn has_code(&self) -> bool {
        runs_code(&self.unit)
    }
}

fn runs_code(unit: &Unit) -> bool {
    unit.ready()
        .is_some_and(|ready| matches!(ready.entry, Entry::Script(_)))
}

pub(super) fn broken_problem(dir: &Path, broken: &Broken) -> Problem {
    match broken {
        // Each line names its file already.
        Broken::Manifest(text) => Problem::error(Topic::Manifest, dir, &**text),
        Broken::Entrypoint(_) | Broken::EntrypointEscapes => {
            let message = format!("{}: {broken}", dir.display());
            Problem::error(Topic::Entrypoint, dir, message)
        }
        Broken::NotGranted(_) => {
            let message = format!("{}: {broken}", dir.display());
            Problem::error(Topic::Permission, dir, message)
        }
    }
}
