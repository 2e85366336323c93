mod layouts;
mod operator;
mod states;
mod told;
mod watching;

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Slots are numbered in the order in which they were made.
type Slot = usize;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    deployed: Vec<String>,
    retired: Vec<String>,
    /// What took the place of each retired one.
    next: Vec<Option<State>>,
    problems: Vec<Problem>,
}

impl CatalogEvents<Slot> for Recorder {
    fn deploy(&self, unit: &Unit) -> Slot {
        let mut record = self.0.lock();
        record.deployed.push(unit.id.to_string());
        record.deployed.len()
    }

    fn retire(&self, deployment: &Arc<Deployment<Slot>>, next: Option<&Arc<Deployment<Slot>>>) {
        let mut record = self.0.lock();
        record.retired.push(deployment.unit().id.to_string());
        record.next.push(next.map(|next| next.unit().state.clone()));
    }

    fn problem(&self, problem: &Problem) {
        self.0.lock().problems.push(problem.clone());
    }
}

/// Worker roots in a temporary folder and a catalog of them.
struct Fixture {
    temp: TempDir,
    recorder: Recorder,
    catalog: Catalog<Slot>,
}

impl Fixture {
    /// One root `apps`, filled by `fill` before it is looked at.
    fn new(fill: impl FnOnce(&Place)) -> Self {
        Self::with_roots(&["apps"], fill)
    }

    fn with_roots(roots: &[&str], fill: impl FnOnce(&Place)) -> Self {
        Self::with(roots, Overrides::new(), fill)
    }

    fn with(roots: &[&str], overrides: Overrides, fill: impl FnOnce(&Place)) -> Self {
        Self::with_grants(roots, overrides, "", fill)
    }

    fn with_grants(
        roots: &[&str],
        overrides: Overrides,
        grants: &str,
        fill: impl FnOnce(&Place),
    ) -> Self {
        let grants = Grants::parse(grants, "grants.yaml").unwrap().value;
        let temp = temp_dir();
        let roots: Vec<PathBuf> = roots.iter().map(|root| temp.path().join(root)).collect();
        for root in &roots {
            fs::create_dir_all(root).unwrap();
        }
        fill(&Place(temp.path().to_path_buf()));
        let recorder = Recorder::default();
        let catalog = Catalog::open_with(&roots, overrides, Arc::new(grants), recorder.clone());
        Self {
            temp,
            recorder,
            catalog,
        }
    }

    fn place(&self) -> Place {
        Place(self.temp.path().to_path_buf())
    }

    /// Ids of all units that take part in routing, sorted.
    fn enabled(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .catalog
            .snapshot()
            .workers()
            .flat_map(|worker| {
                worker
                    .enabled()
                    .iter()
                    .map(|found| found.unit().id.to_string())
            })
            .collect();
        ids.sort();
        ids
    }

    fn find(&self, name: &str) -> Arc<Deployment<Slot>> {
        Arc::clone(self.catalog.snapshot().resolve(name, None).unwrap())
    }

    fn state(&self, name: &str) -> State {
        self.find(name).unit().state.clone()
    }

    fn broken(&self, name: &str) -> Broken {
        match self.state(name) {
            State::Broken(broken) => broken,
            state => panic!("{name} is {state:?}"),
        }
    }

    /// The problems told since the last call.
    fn problems(&self) -> Vec<Problem> {
        std::mem::take(&mut self.recorder.0.lock().problems)
    }

    fn messages(&self) -> Vec<String> {
        self.problems()
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    fn retired(&self) -> Vec<String> {
        std::mem::take(&mut self.recorder.0.lock().retired)
    }
}

/// In memory where the machine has such a folder: thousands of folders are slow
/// to make on a busy disk.
fn temp_dir() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

/// A folder to write in.
struct Place(PathBuf);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A unit that can serve.
    fn app(&self, dir: &str) {
        self.write(&format!("{dir}/manifest.yaml"), "ttl: 60\ntimeout: 5\n");
        self.write(&format!("{dir}/index.ts"), "export default {}");
    }
}
