//! The last lines of each worker, for the API: what its processes wrote, and what
//! became of them.
//!
//! **Theory of operation.** A ring of lines for each worker's name, all behind one lock
//! that is held for moments: writing is pushing a line. Who follows has a place in the
//! ring and no queue of its own; one that is too slow finds that the ring has gone on,
//! and is told how many lines it has missed. So nothing that reads can hold up an app.
//!
//! **Bounds.** A worker has at most [`LINES_MAX`] lines and [`BYTES_MAX`] bytes, all
//! together have [`TOTAL_MAX`]: beyond, the rings that were written to longest ago are
//! emptied.

mod line;
mod ring;

use std::collections::HashMap;
use std::sync::Arc;

use buntime_core::access::KeyId;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::line::{Line, Stream};
use self::ring::Ring;
pub(crate) use self::ring::{Batch, Cursor};

/// Most lines of one worker.
pub(crate) const LINES_MAX: usize = 1000;
/// Most bytes of one worker.
const BYTES_MAX: usize = 256 * 1024;
/// Most bytes of all together.
const TOTAL_MAX: usize = 8 * 1024 * 1024;

/// Most followers at a time, and most of them with one key.
const FOLLOWERS_MAX: usize = 64;
const FOLLOWERS_OF_KEY: usize = 16;

/// The last lines of all workers. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerLogs {
    rings: Arc<Mutex<Rings>>,
    followers: Arc<Mutex<HashMap<KeyId, usize>>>,
}

#[derive(Debug, Default)]
struct Rings {
    by_name: HashMap<Box<str>, Ring>,
    bytes: usize,
    /// Grows with each line: what was written when.
    clock: u64,
}

impl WorkerLogs {
    /// Adds a line of the worker `app`, which is `name@version`.
    pub(crate) fn add(&self, app: &str, line: Line) {
        // A scope begins with `@` too, a version has none.
        let (name, version) = app.rsplit_once('@').unwrap_or((app, ""));
        let rings = &mut *self.rings.lock();
        rings.clock += 1;
        let now = rings.clock;
        let ring = rings.of(name);
        let before = ring.bytes();
        ring.push(version, line, now);
        let after = ring.bytes();
        rings.bytes = rings.bytes + after - before;
        if rings.bytes > TOTAL_MAX {
            rings.make_room();
        }
    }

    /// The last `count` lines of a worker, and where to go on.
    pub(crate) fn tail(&self, name: &str, version: Option<&str>, count: usize) -> Batch {
        let rings = self.rings.lock();
        let ring = rings.by_name.get(name);
        ring.map_or_else(Batch::default, |ring| ring.tail(version, count))
    }

    /// Where a follower stands that begins with the last `count` lines, or goes on after
    /// the line `after` that it has seen, if that is one of ours.
    pub(crate) fn follow(&self, name: &str, after: Option<Cursor>, count: usize) -> Follower {
        let rings = &mut *self.rings.lock();
        let ring = rings.of(name);
        let next = after.and_then(|after| ring.after(after));
        Follower {
            logs: self.clone(),
            name: name.into(),
            next: next.unwrap_or_else(|| ring.start_of_last(count)),
            news: ring.news(),
        }
    }

    /// A place for one more follower, if there is one for this key. Dropping it gives it
    /// back.
    pub(crate) fn admit(&self, key: &KeyId) -> Option<Place> {
        let mut followers = self.followers.lock();
        let all: usize = followers.values().sum();
        let own = followers.get(key).copied().unwrap_or(0);
        if all >= FOLLOWERS_MAX || own >= FOLLOWERS_OF_KEY {
            return None;
        }
        followers.insert(key.clone(), own + 1);
        Some(Place {
            followers: Arc::clone(&self.followers),
            key: key.clone(),
        })
    }
}

/// A follower's place among all of them.
#[derive(Debug)]
pub(crate) struct Place {
    followers: Arc<Mutex<HashMap<KeyId, usize>>>,
    key: KeyId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut followers = self.followers.lock();
        match followers.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                followers.remove(&self.key);
            }
        }
    }
}

/// A place in the lines of one worker.
#[derive(Debug)]
pub(crate) struct Follower {
    logs: WorkerLogs,
    name: Box<str>,
    next: Cursor,
    news: watch::Receiver<u64>,
}

impl Follower {
    /// What has come since the last time: some lines, about `bytes` of them.
    pub(crate) fn take(&mut self, version: Option<&str>, bytes: usize) -> Batch {
        let rings = &mut *self.logs.rings.lock();
        let ring = rings.of(&self.name);
        let batch = ring.read(self.next, version, bytes);
        self.next = batch.next;
        batch
    }

    /// Returns once something has come since [`Follower::take`] found nothing more.
    pub(crate) async fn changed(&mut self) {
        // A ring that is followed is not thrown away, so that there is a sender.
        let seen = self.next.sequence();
        let _ = self.news.wait_for(|next| *next > seen).await;
    }
}

impl Rings {
    fn of(&mut self, name: &str) -> &mut Ring {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), Ring::new());
        }
        self.by_name.entry(name.into()).or_insert_with(Ring::new)
    }

    /// Empties rings, the one first that was written to longest ago, and a few more than
    /// needed, so that not each line has to look for one.
    fn make_room(&mut self) {
        let mut ages: Vec<_> = self
            .by_name
            .iter()
            .map(|(name, ring)| (ring.written(), name))
            .collect();
        ages.sort_unstable();
        let names: Vec<Box<str>> = ages.into_iter().map(|(_, name)| name.clone()).collect();
        for name in names {
            if self.bytes <= TOTAL_MAX / 8 * 7 {
                return;
            }
            let Some(ring) = self.by_name.get_mut(&name) else {
                continue;
            };
            self.bytes -= ring.bytes();
            ring.clear();
            if !ring.is_followed() {
                self.by_name.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
