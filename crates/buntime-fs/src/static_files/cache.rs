//! What was found on disk, kept for a short time.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use super::find::Finding;

/// Up to this age a finding is used without a thought.
const FRESH: Duration = Duration::from_millis(500);
/// Up to this age it is used while somebody looks again.
const AGEING: Duration = Duration::from_secs(1);

const SHARDS: usize = 16;
/// Counted for an entry beside its content.
const ENTRY_COST: usize = 512;

/// Small files and findings of all sites, bounded in memory.
///
/// Reads take a shared lock on one of sixteen parts. When a part is full, the
/// entries that nobody asked for since the last time go first, so a flood of
/// made-up paths pushes out itself.
pub struct FileCache {
    parts: [RwLock<Part>; SHARDS],
    part_capacity: usize,
    hasher: RandomState,
}

#[derive(Default)]
struct Part {
    /// Keyed by the hash of site and path; entries check that they are meant.
    entries: HashMap<u64, Arc<Entry>, BuildHasherDefault<AlreadyHashed>>,
    bytes: usize,
}

/// What an entry is found by.
#[derive(Clone, Copy, Hash)]
pub(super) struct Key<'a> {
    pub(super) site: u64,
    /// As sent, without its leading slash.
    pub(super) path: &'a [u8],
}

/// A finding and when the look at the disk that made it began.
pub(super) struct Entry {
    pub(super) finding: Finding,
    looked_at: Instant,
    refreshing: AtomicBool,
    used: AtomicBool,
    site: u64,
    path: Box<[u8]>,
}

/// Whether an entry may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    Ageing,
    Stale,
}

impl Entry {
    pub(super) fn new(key: &Key<'_>, finding: Finding, looked_at: Instant) -> Self {
        Self {
            finding,
            looked_at,
            refreshing: AtomicBool::new(false),
            used: AtomicBool::new(false),
            site: key.site,
            path: key.path.into(),
        }
    }

    pub(super) fn freshness(&self, now: Instant) -> Freshness {
        match now.saturating_duration_since(self.looked_at) {
            age if age < FRESH => Freshness::Fresh,
            age if age < AGEING => Freshness::Ageing,
            _ => Freshness::Stale,
        }
    }

    /// True for the one caller that is to look again.
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    fn is_for(&self, key: &Key<'_>) -> bool {
        self.site == key.site && *self.path == *key.path
    }

    fn cost(&self) -> usize {
        ENTRY_COST + self.path.len() + self.finding.cost()
    }
}

impl FileCache {
    /// A cache of at most `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            parts: std::array::from_fn(|_| RwLock::default()),
            part_capacity: capacity / SHARDS,
            hasher: RandomState::new(),
        }
    }

    /// Bytes held now, as the bound counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.read().bytes).sum()
    }

    pub(super) fn get(&self, key: &Key<'_>) -> Option<Arc<Entry>> {
        let hash = self.hasher.hash_one(key);
        let part = self.part(hash).read();
        let entry = part.entries.get(&hash).filter(|entry| entry.is_for(key))?;
        // Written only when it changes: a hot entry's line stays shared.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(entry))
    }

    pub(super) fn insert(&self, entry: Entry) {
        let cost = entry.cost();
        if cost > self.part_capacity {
            return;
        }
        let hash = self.hasher.hash_one(Key {
            site: entry.site,
            path: &entry.path,
        });
        let mut part = self.part(hash).write();
        part.bytes += cost;
        if let Some(old) = part.entries.insert(hash, Arc::new(entry)) {
            part.bytes -= old.cost();
        }
        if part.bytes > self.part_capacity {
            part.shrink(self.part_capacity / 8 * 7);
        }
    }

    /// Drops everything of one site.
    pub(super) fn forget(&self, site: u64) {
        for part in &self.parts {
            part.write().retain(|entry| entry.site != site);
        }
    }

    fn part(&self, hash: u64) -> &RwLock<Part> {
        // The table below uses the other end of the hash.
        &self.parts[(hash >> 60) as usize % SHARDS]
    }
}

impl Part {
    /// Two rounds: first what was not used since the last time, then anything.
    fn shrink(&mut self, target: usize) {
        let mut excess = self.bytes.saturating_sub(target);
        for spare_used in [true, false] {
            self.retain(|entry| {
                if excess == 0 || (spare_used && entry.used.swap(false, Ordering::Relaxed)) {
                    return true;
                }
                excess = excess.saturating_sub(entry.cost());
                false
            });
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let mut freed = 0;
        self.entries.retain(|_, entry| {
            let kept = keep(entry);
            if !kept {
                freed += entry.cost();
            }
            kept
        });
        self.bytes -= freed;
    }
}

impl fmt::Debug for FileCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FileCache")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The key of the table is a hash with a random seed already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(site: u64, path: &str) -> Entry {
        Entry::new(
            &Key {
                site,
                path: path.as_bytes(),
            },
            Finding::Missing,
            Instant::now(),
        )
    }

    fn has(cache: &FileCache, site: u64, path: &str) -> bool {
        cache
            .get(&Key {
                site,
                path: path.as_bytes(),
            })
            .is_some()
    }

    #[tokio::test]
    async fn stays_within_its_bound_and_keeps_what_is_used() {
        let cache = FileCache::new(SHARDS * 64 * 1024);
        cache.insert(missing(0, "hot"));
        for number in 0..20_000 {
            cache.insert(missing(0, &format!("flood/{number}")));
            assert!(has(&cache, 0, "hot"), "after {number}");
            assert!(cache.bytes() <= SHARDS * 64 * 1024);
        }
    }

    #[tokio::test]
    async fn forgets_one_site_only() {
        let cache = FileCache::new(1 << 20);
        cache.insert(missing(1, "a"));
        cache.insert(missing(2, "a"));
        cache.insert(missing(2, "a"));
        cache.forget(1);
        assert!(!has(&cache, 1, "a"));
        assert!(has(&cache, 2, "a"));
        cache.forget(2);
        assert_eq!(cache.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn ages() {
        let entry = missing(0, "a");
        assert_eq!(entry.freshness(Instant::now()), Freshness::Fresh);
        tokio::time::advance(FRESH).await;
        assert_eq!(entry.freshness(Instant::now()), Freshness::Ageing);
        assert!(entry.begin_refresh());
        assert!(!entry.begin_refresh());
        tokio::time::advance(FRESH).await;
        assert_eq!(entry.freshness(Instant::now()), Freshness::Stale);
    }
}
