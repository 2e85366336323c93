//! What is kept of installs in the state directory: caches, stamps, and the
//! directories of those under way.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::{InstallPlan, PackageName};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::folder::Identity;
use super::tree;
use crate::config::InstallConfig;
use crate::leftovers;
use buntime_core::hex;

/// Changes when what is installed does: then everything is installed anew.
const FORMAT: &str = "1";
/// Largest stamp, in bytes.
const MOST_STAMP: u64 = 64 * 1024;
/// Stamps and caches looked at when the store is opened.
const MOST_ENTRIES: usize = 16 * 1024;

/// The directory of all installs.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    npmrc: String,
    ca: Option<Vec<u8>>,
    /// Largest size of all caches together, in bytes.
    capacity: u64,
    /// How many installs use each cache.
    in_use: Mutex<HashMap<String, usize>>,
}

/// That an install was done.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    dir: PathBuf,
    fingerprint: String,
    modules: Identity,
}

/// Equal for plans that install the same.
pub(super) fn fingerprint(plan: &InstallPlan) -> String {
    let mut hasher = Sha256::new();
    for text in [FORMAT, &plan.package_json, &plan.lockfile] {
        hasher.update(Sha256::digest(text));
    }
    hex(&hasher.finalize())
}

/// A file name that stands for `text`.
fn key(text: &[u8]) -> String {
    let mut key = hex(&Sha256::digest(text));
    key.truncate(32);
    key
}

fn private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

impl Store {
    /// Takes the directory, which is made if it is missing, and removes what an
    /// earlier run left unfinished and the stamps of folders that are gone.
    pub(super) fn open(config: &InstallConfig) -> io::Result<Self> {
        let ca = config.ca_file.as_ref().map(fs::read).transpose()?;
        private(&config.dir)?;
        fs::set_permissions(&config.dir, Permissions::from_mode(0o700))?;
        let dir = config.dir.canonicalize()?;
        let work = dir.join("work");
        match leftovers::remove(&work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for name in ["work", "cache", "stamps"] {
            private(&dir.join(name))?;
        }
        for entry in fs::read_dir(dir.join("stamps"))?.take(MOST_ENTRIES) {
            let path = entry?.path();
            if read_stamp(&path).is_none_or(|stamp| !stamp.dir.is_dir()) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self {
            dir,
            npmrc: config.npmrc.clone(),
            ca,
            capacity: config.limits.cache,
            in_use: Mutex::default(),
        })
    }

    /// The `node_modules` that was installed into `dir` from what has this
    /// fingerprint, if that was done.
    pub(super) fn stamp_of(&self, dir: &Path, fingerprint: &str) -> Option<Identity> {
        let stamp = read_stamp(&self.stamp_path(dir))?;
        (stamp.dir == dir && stamp.fingerprint == fingerprint).then_some(stamp.modules)
    }

    /// Notes that an install was done.
    pub(super) fn stamp(&self, dir: &Path, fingerprint: &str, modules: Identity) -> io::Result<()> {
        let stamp = Stamp {
            dir: dir.to_owned(),
            fingerprint: fingerprint.to_owned(),
            modules,
        };
        let path = self.stamp_path(dir);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&stamp)?)?;
        fs::rename(new, path)
    }

    fn stamp_path(&self, dir: &Path) -> PathBuf {
        let name = format!("{}.json", key(dir.as_os_str().as_bytes()));
        self.dir.join("stamps").join(name)
    }

    /// A directory to install in, with all that Bun reads.
    pub(super) fn work(&self, plan: &InstallPlan) -> io::Result<Work> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let work = Work {
            dir: self.dir.join("work").join(name),
            has_ca: self.ca.is_some(),
        };
        let filled = self.fill(&work, plan);
        if filled.is_err() {
            work.remove();
        }
        filled.map(|()| work)
    }

    fn fill(&self, work: &Work, plan: &InstallPlan) -> io::Result<()> {
        for dir in [work.project(), work.home(), work.tmp()] {
            private(&dir)?;
        }
        write(&work.project().join("package.json"), &plan.package_json)?;
        write(&work.project().join("bun.lock"), &plan.lockfile)?;
        write(&work.home().join(".npmrc"), &self.npmrc)?;
        if let Some(ca) = &self.ca {
            write(&work.ca(), ca)?;
        }
        Ok(())
    }

    /// The cache for apps of this name. Bun trusts what is in its cache without
    /// looking at checksums again, and the lockfile that filled it may have lied:
    /// what is shared must belong to one owner.
    pub(super) fn cache(self: &Arc<Self>, app: &PackageName) -> io::Result<CachePlace> {
        let name = key(app.as_str().as_bytes());
        let dir = self.dir.join("cache").join(&name);
        *self.in_use.lock().entry(name.clone()).or_default() += 1;
        let place = CachePlace {
            store: Arc::clone(self),
            name,
            dir,
        };
        private(&place.dir)?;
        // Its time is that of its last use.
        File::open(&place.dir)?.set_modified(SystemTime::now())?;
        Ok(place)
    }

    /// Removes the caches used longest ago until the rest fits.
    pub(super) fn evict(&self) {
        let mut caches = Vec::new();
        let mut total: u64 = 0;
        for entry in fs::read_dir(self.dir.join("cache"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let used = entry.metadata().and_then(|found| found.modified());
            let size = tree::size(&entry.path(), u64::MAX);
            total = total.saturating_add(size);
            caches.push((used.unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), size));
        }
        caches.sort();
        for (_, path, size) in caches {
            if total <= self.capacity {
                return;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let in_use = self.in_use.lock();
            // The lock is held: nobody takes it meanwhile.
            if !in_use.contains_key(&*name) && leftovers::remove(&path).is_ok() {
                total = total.saturating_sub(size);
            }
        }
    }
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_ref())
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MOST_STAMP).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Where one install runs.
#[derive(Debug)]
pub(super) struct Work {
    dir: PathBuf,
    has_ca: bool,
}

impl Work {
    /// Where Bun runs.
    pub(super) fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The certificates of the registry, if there are any but the usual.
    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        self.has_ca.then(|| self.ca())
    }

    /// All of it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes it; a leftover goes at the next start of the server.
    pub(super) fn remove(&self) {
        let _ = leftovers::remove(&self.dir);
    }
}

/// A cache that an install uses, and which is not removed meanwhile.
#[derive(Debug)]
pub(super) struct CachePlace {
    store: Arc<Store>,
    name: String,
    pub(super) dir: PathBuf,
}

impl Drop for CachePlace {
    fn drop(&mut self) {
        let mut in_use = self.store.in_use.lock();
        if let Some(users) = in_use.get_mut(&self.name) {
            *users -= 1;
            if *users == 0 {
                in_use.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::InstallLimits;

    fn store(home: &Path, cache: u64) -> Arc<Store> {
        let config = InstallConfig {
            dir: home.join("install"),
            npmrc: "registry=http://u:p@localhost/\n".to_owned(),
            registry: "http://localhost/".to_owned(),
            ca_file: None,
            limits: InstallLimits {
                cache,
                ..InstallLimits::default()
            },
        };
        Arc::new(Store::open(&config).unwrap())
    }

    #[test]
    fn stamps_stand_for_one_folder_one_content_and_one_node_modules() {
        let home = tempfile::tempdir().unwrap();
        let app = home.path().join("app");
        fs::create_dir(&app).unwrap();
        let first = store(home.path(), 0);
        first.stamp(&app, "print", (1, 2)).unwrap();
        let again = store(home.path(), 0);
        assert_eq!(again.stamp_of(&app, "print"), Some((1, 2)));
        assert_eq!(again.stamp_of(&app, "other"), None);
        assert_eq!(again.stamp_of(home.path(), "print"), None);
        fs::remove_dir(&app).unwrap();
        let later = store(home.path(), 0);
        assert_eq!(later.stamp_of(&app, "print"), None);
    }

    #[test]
    fn caches_belong_to_one_name_and_the_oldest_leave() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path(), 25_000);
        let name = |text: &str| text.parse::<PackageName>().unwrap();
        let mut dirs = Vec::new();
        for (app, age) in [("a", 300), ("b", 200), ("@a/b", 100)] {
            let place = store.cache(&name(app)).unwrap();
            fs::write(place.dir.join("package"), [0; 10_000]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age);
            File::open(&place.dir).unwrap().set_modified(used).unwrap();
            dirs.push(place.dir.clone());
        }
        assert!(dirs[0] != dirs[1] && dirs[1] != dirs[2]);
        // One in use stays, even the oldest.
        let used = File::open(&dirs[0]).unwrap().metadata().unwrap().modified();
        let place = store.cache(&name("a")).unwrap();
        File::open(&place.dir)
            .unwrap()
            .set_modified(used.unwrap())
            .unwrap();
        store.evict();
        let there: Vec<bool> = dirs.iter().map(|dir| dir.exists()).collect();
        assert_eq!(there, [true, false, true]);
    }

    #[test]
    fn what_is_secret_is_for_the_server_alone_and_leftovers_go() {
        let home = tempfile::tempdir().unwrap();
        let first = store(home.path(), 0);
        let package = r#"{"dependencies": {"a": "1"}}"#;
        let lock = r#"{"workspaces": {"": {"dependencies": {"a": "1"}}}, "packages": {}}"#;
        let plan = InstallPlan::new(Some(package), Some(lock))
            .unwrap()
            .unwrap();
        let work = first.work(&plan).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&work.home().join(".npmrc")), 0o600);
        assert_eq!(mode(&first.dir), 0o700);
        store(home.path(), 0);
        assert!(!work.dir().exists());
    }
}
