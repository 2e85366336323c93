//! Bundles on disk, kept between runs of the server.
//!
//! One directory each, named by what decides about the bundle: the first half of the
//! name stands for Bun, the options and the entry, the second for the content of the
//! app. In it are the files of the bundle and a record, which tells the state of the
//! app's files and the hashes of the bundle's.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::build::{ENTRY, FILES, MOST_OUTPUT};
use super::inputs::{Snapshot, hash_field};
use buntime_core::hex;

/// Changes when what is kept or how it is made does.
const FORMAT: &str = "1";
const RECORD: &str = "record.json";
/// What a build under way is called.
const UNDER_WAY: &str = "new-";
/// What an entry about to be removed is called.
const LEAVING: &str = "old-";
const MOST_RECORD: u64 = 16 << 20;
/// Entries that one look into the cache reads.
const MOST_ENTRIES: usize = 16 * 1024;

/// The directory of all bundles.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    /// Largest size of all entries together, in bytes.
    capacity: u64,
    /// Entries that apps run from: they are not removed.
    in_use: Mutex<HashMap<String, Weak<Stored>>>,
}

/// A bundle that can be run.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) dir: PathBuf,
    record: Record,
}

/// What is known of a bundle.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Why an app could tell the bundle from its source, if it could.
    pub(super) observable: Option<String>,
    pub(super) snapshot: Snapshot,
    files: HashMap<String, String>,
}

impl Stored {
    /// The module to load.
    pub(super) fn entry(&self) -> PathBuf {
        self.dir.join(ENTRY)
    }

    pub(super) fn observable(&self) -> Option<&str> {
        self.record.observable.as_deref()
    }

    /// Whether it is there and made from what the app is now. Blocks for some
    /// hundred microseconds.
    pub(super) fn is_current(&self) -> bool {
        FILES.iter().all(|file| self.dir.join(file).is_file()) && self.record.snapshot.is_current()
    }
}

/// The first half of a bundle's name. `bun` tells which one makes it.
pub(super) fn slot(bun: &str, recipe: &[String], cache: &Path, entry: &Path) -> String {
    let mut hasher = Sha256::new();
    hash_field(&mut hasher, FORMAT.as_bytes());
    hash_field(&mut hasher, bun.as_bytes());
    for part in recipe {
        hash_field(&mut hasher, part.as_bytes());
    }
    // The source map names the sources relative to where it is.
    hash_field(&mut hasher, cache.as_os_str().as_bytes());
    hash_field(&mut hasher, entry.as_os_str().as_bytes());
    half(&hex(&hasher.finalize()))
}

fn half(hash: &str) -> String {
    hash.chars().take(32).collect()
}

impl Cache {
    /// Takes the directory, which is made if it is missing, and removes what an
    /// earlier run left unfinished.
    pub(super) fn open(dir: &Path, capacity: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let dir = dir.canonicalize()?;
        for entry in fs::read_dir(&dir)?.take(MOST_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            let is_left = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
            if is_left(UNDER_WAY) || is_left(LEAVING) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self {
            dir,
            capacity,
            in_use: Mutex::default(),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An empty directory to build in. It is as deep as the entry that it becomes,
    /// because the source map's paths are relative.
    pub(super) fn begin(&self) -> io::Result<UnderWay> {
        let name = uuid::Uuid::new_v4().simple();
        let dir = self.dir.join(format!("{UNDER_WAY}{name}"));
        DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(UnderWay { dir })
    }

    /// The bundle of this slot that is made from what the app is now.
    pub(super) fn find(&self, slot: &str) -> io::Result<Option<Arc<Stored>>> {
        for entry in fs::read_dir(&self.dir)?.take(MOST_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(slot)) else {
                continue;
            };
            let dir = entry.path();
            // A damaged one is as good as none; the next build replaces it.
            let Some(record) = read_record(&dir) else {
                continue;
            };
            if record.snapshot.is_current() && is_intact(&dir, &record) {
                // Its time is that of its last use.
                if let Ok(file) = File::open(&dir) {
                    let _ = file.set_modified(SystemTime::now());
                }
                return Ok(Some(self.take(name, Stored { dir, record })));
            }
        }
        Ok(None)
    }

    /// Puts what was built in its place.
    pub(super) fn place(
        &self,
        slot: &str,
        built: UnderWay,
        snapshot: Snapshot,
        observable: Option<String>,
    ) -> io::Result<Arc<Stored>> {
        let mut files = HashMap::new();
        for file in FILES {
            files.insert(file.to_owned(), hash(&built.dir.join(file))?);
        }
        let name = format!("{slot}-{}", half(&snapshot.content()));
        let record = Record {
            observable,
            snapshot,
            files,
        };
        fs::write(built.dir.join(RECORD), serde_json::to_vec(&record)?)?;
        let dir = self.dir.join(&name);
        if dir.exists() {
            // Damaged, or of the same content with other times.
            self.remove(&dir)?;
        }
        fs::rename(&built.dir, &dir)?;
        let stored = self.take(&name, Stored { dir, record });
        self.evict()?;
        Ok(stored)
    }

    fn take(&self, name: &str, stored: Stored) -> Arc<Stored> {
        let stored = Arc::new(stored);
        let mut in_use = self.in_use.lock();
        in_use.retain(|_, stored| stored.strong_count() > 0);
        in_use.insert(name.to_owned(), Arc::downgrade(&stored));
        stored
    }

    /// Removes the entries used longest ago until the rest fits.
    fn evict(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        let mut total = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_bytes().starts_with(UNDER_WAY.as_bytes()) {
                continue;
            }
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let size = size(&entry.path());
            total += size;
            entries.push((found.modified()?, name, size));
        }
        entries.sort();
        let in_use = self.in_use.lock();
        for (_, name, size) in entries {
            if total <= self.capacity {
                break;
            }
            let name = name.to_string_lossy();
            let is_used = |stored: &Weak<Stored>| stored.strong_count() > 0;
            if in_use.get(&*name).is_some_and(is_used) {
                continue;
            }
            self.remove(&self.dir.join(&*name))?;
            total = total.saturating_sub(size);
        }
        Ok(())
    }

    /// Takes an entry away at once and then removes it.
    fn remove(&self, dir: &Path) -> io::Result<()> {
        let name = uuid::Uuid::new_v4().simple();
        let leaving = self.dir.join(format!("{LEAVING}{name}"));
        fs::rename(dir, &leaving)?;
        fs::remove_dir_all(leaving)
    }
}

/// A directory that is removed unless it found its place.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) dir: PathBuf,
}

impl UnderWay {
    /// The text of the bundle.
    pub(super) fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        let file = File::open(self.dir.join(ENTRY))?;
        file.take(MOST_OUTPUT).read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Renamed by now if all went well; else removed at the next start at the latest.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn read_record(dir: &Path) -> Option<Record> {
    let mut text = Vec::new();
    let file = File::open(dir.join(RECORD)).ok()?;
    file.take(MOST_RECORD).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn is_intact(dir: &Path, record: &Record) -> bool {
    FILES.iter().all(|&file| {
        let now = hash(&dir.join(file)).ok();
        now.is_some() && now.as_ref() == record.files.get(file)
    })
}

fn hash(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MOST_OUTPUT + 1)
        .read_to_end(&mut content)?;
    Ok(hex(&Sha256::digest(&content)))
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|found| found.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        cache: Cache,
    }

    impl Fixture {
        fn new(capacity: u64) -> Self {
            let dir = tempfile::TempDir::new().unwrap();
            fs::write(dir.path().join("index.ts"), "1").unwrap();
            let cache = Cache::open(&dir.path().join("bundles"), capacity).unwrap();
            Self { dir, cache }
        }

        fn place(&self, slot: &str) -> Arc<Stored> {
            let built = self.cache.begin().unwrap();
            for file in FILES {
                fs::write(built.dir.join(file), [b'x'; 10_000]).unwrap();
            }
            let root = self.dir.path().canonicalize().unwrap();
            let (snapshot, _) = Snapshot::take(&root, &[root.join("index.ts")]).unwrap();
            self.cache.place(slot, built, snapshot, None).unwrap()
        }

        fn used_at(&self, stored: &Stored, seconds: u64) {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::open(&stored.dir).unwrap().set_modified(time).unwrap();
        }

        fn has(&self, slot: &str) -> bool {
            self.cache.find(slot).unwrap().is_some()
        }
    }

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let fixture = Fixture::new(100_000);
        for (slot, time) in [("a", 3), ("b", 1), ("c", 2)] {
            let stored = fixture.place(slot);
            fixture.used_at(&stored, time);
        }
        let kept = fixture.cache.find("b").unwrap().unwrap();
        fixture.used_at(&kept, 1);
        fixture.place("d");
        assert!(kept.is_current(), "one in use was removed");
        assert!(!fixture.has("c") && fixture.has("a") && fixture.has("d"));
    }

    #[test]
    fn an_entry_is_replaced_by_one_of_the_same_name() {
        let fixture = Fixture::new(u64::MAX);
        let first = fixture.place("a");
        let second = fixture.place("a");
        assert_eq!(first.dir, second.dir);
        assert!(second.is_current());
        let names = fs::read_dir(fixture.cache.dir()).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn what_an_earlier_run_left_is_removed() {
        let fixture = Fixture::new(u64::MAX);
        let built = fixture.cache.begin().unwrap();
        std::mem::forget(built);
        Cache::open(fixture.cache.dir(), 1).unwrap();
        assert_eq!(fs::read_dir(fixture.cache.dir()).unwrap().count(), 0);
    }
}
