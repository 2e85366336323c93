//! What apps keep on the disk: when to look, and what comes of it.
//!
//! A folder is walked when its app has written so much since the last walk that it may
//! be over its limit, and now and then while the app is active at all, for not every
//! way of filling a disk is told by the system. One walk goes on at a time, and after
//! each there is a rest of many times as long: however many files there are, walks cost
//! a small part of one processor.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::PackageName;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::tree;
use crate::bounds::Bounds;
use crate::config::AppSpec;
use crate::confine::data_dir;
use crate::error::{ExitReason, Limit};
use crate::instance::{Instance, Order};
use crate::pool::Shared;

/// Between walks for an active app that writes little.
const ROUND: Duration = Duration::from_secs(10);
/// A rest is so many times as long as the walk before it.
const REST: u32 = 10;
/// An app of which nothing was heard for so long is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// Part of the limit by which a folder that is over it may grow.
const LITTLE: u64 = 16;

/// What is known of the apps' folders.
#[derive(Debug, Default)]
pub(crate) struct Disks(Mutex<HashMap<PackageName, Known>>);

#[derive(Debug)]
struct Known {
    limit: u64,
    /// Found by the last walk that has come to its end.
    size: Option<u64>,
    walked: Option<Instant>,
    /// Bytes written since then, and whether anything was done at all.
    pending: u64,
    active: bool,
    heard: Instant,
}

impl Known {
    /// How urgent a walk is; `None` if it is not due.
    fn urgency(&self, now: Instant) -> Option<u64> {
        let room = self.limit.saturating_sub(self.size.unwrap_or(0));
        let round = self.walked.is_none_or(|walked| now >= walked + ROUND);
        if self.pending > 0 && self.pending >= room / 2 {
            Some(self.pending)
        } else {
            (self.active && round).then_some(0)
        }
    }
}

impl Disks {
    /// What an app's folder was found to hold last; `None` if nobody has looked yet.
    pub(super) fn size(&self, spec: &AppSpec) -> Option<u64> {
        self.0.lock().get(&spec.name)?.size
    }

    /// An app has written so many bytes more.
    pub(super) fn wrote(&self, spec: &AppSpec, bounds: &Bounds, bytes: u64, now: Instant) {
        let mut apps = self.0.lock();
        let known = apps.entry(spec.name.clone()).or_insert_with(|| Known {
            limit: 0,
            size: None,
            walked: None,
            pending: 0,
            active: false,
            heard: now,
        });
        known.limit = bounds.disk.bytes();
        known.pending = known.pending.saturating_add(bytes);
        known.active = true;
        known.heard = now;
    }

    /// The app whose folder is to be walked next.
    fn next(&self, now: Instant) -> Option<PackageName> {
        let mut apps = self.0.lock();
        apps.retain(|_, known| now < known.heard + FORGET);
        let due = apps
            .iter()
            .filter_map(|(name, known)| Some((known.urgency(now)?, name)));
        let name = due.max_by_key(|(urgency, _)| *urgency)?.1.clone();
        if let Some(known) = apps.get_mut(&name) {
            // What is written from now on may be missed by this walk.
            (known.pending, known.active) = (0, false);
            known.walked = Some(now);
        }
        Some(name)
    }

    fn found(&self, walk: &Walk) {
        if let Some(known) = self.0.lock().get_mut(&walk.app) {
            known.size = walk.data.or(known.size);
        }
    }
}

/// One worker in a walk.
#[derive(Debug)]
struct Place {
    worker: Arc<Instance>,
    home: PathBuf,
    /// What it alone takes up.
    own: Option<u64>,
}

/// One walk.
#[derive(Debug)]
pub(super) struct Walk {
    app: PackageName,
    /// `None`: nobody could look.
    data: Option<u64>,
    places: Vec<Place>,
    took: Duration,
}

/// Walks, one after the other.
#[derive(Debug, Default)]
pub(super) struct Walker {
    walking: Option<JoinHandle<Walk>>,
    rest_until: Option<Instant>,
}

impl Walker {
    /// Begins the next walk if it is time, and ends workers by what the last one found.
    pub(super) async fn step(&mut self, shared: &Shared, workers: &[Arc<Instance>], now: Instant) {
        if let Some(walking) = self.walking.take_if(|walking| walking.is_finished())
            && let Ok(walk) = walking.await
        {
            self.rest_until = Some(now + walk.took * REST);
            shared.disks.found(&walk);
            judge(&walk);
        }
        if self.walking.is_some() || self.rest_until.is_some_and(|until| now < until) {
            return;
        }
        let Some(app) = shared.disks.next(now) else {
            return;
        };
        let its = |worker: &&Arc<Instance>| worker.spec().is_some_and(|spec| spec.name == app);
        let places: Vec<Place> = workers
            .iter()
            .filter(its)
            .map(|worker| Place {
                worker: Arc::clone(worker),
                home: worker.home().to_owned(),
                own: None,
            })
            .collect();
        let data = data_dir(shared, &app);
        self.walking = Some(tokio::task::spawn_blocking(|| walk(app, data, places)));
    }
}

fn walk(app: PackageName, data: PathBuf, mut places: Vec<Place>) -> Walk {
    let begun = Instant::now();
    // Beyond what anybody may have, it does not matter how much it is.
    let limits = places.iter().filter_map(|place| place.worker.bounds());
    let most = limits.map(|bounds| bounds.disk.bytes()).max();
    let most = most.unwrap_or(u64::MAX).saturating_mul(2);
    let folder = data;
    let data = tree::size(&folder, most);
    for place in &mut places {
        let nameless = tree::nameless(place.worker.pid(), &[&place.home, &folder]);
        let home = tree::size(&place.home, most);
        place.own = home.map(|home| home.saturating_add(nameless));
    }
    Walk {
        app,
        data,
        places,
        took: begun.elapsed(),
    }
}

/// Ends the workers that have too much. Who found too much when it began may run, to
/// clear up, as long as it does not become more; but nobody with twice the limit.
fn judge(walk: &Walk) {
    let Some(data) = walk.data else {
        return;
    };
    for place in &walk.places {
        let Some(bounds) = place.worker.bounds() else {
            continue;
        };
        let limit = bounds.disk.bytes();
        let worker = &place.worker;
        let found = worker.watched.found_on_disk(worker.pid(), data);
        // A little goes back and forth in any database.
        let allowed = found.saturating_add(limit / LITTLE);
        let allowed = allowed.clamp(limit, limit.saturating_mul(2));
        let room = limit.checked_sub(data).unwrap_or(limit);
        if data > allowed || place.own.is_some_and(|own| own > room) {
            let reason = ExitReason::Killed(Limit::Disk(bounds.disk));
            worker.order(Order::Kill(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(size: u64, pending: u64, walked: Option<Instant>) -> Known {
        Known {
            limit: 100,
            size: Some(size),
            walked,
            pending,
            active: true,
            heard: Instant::now(),
        }
    }

    #[test]
    fn a_walk_is_due_when_what_was_written_may_be_too_much() {
        let now = Instant::now();
        let just = Some(now);
        assert_eq!(known(0, 49, just).urgency(now), None);
        assert_eq!(known(0, 50, just).urgency(now), Some(50));
        assert_eq!(known(98, 1, just).urgency(now), Some(1));
        assert_eq!(known(500, 0, just).urgency(now), None);
        assert_eq!(known(0, 0, just).urgency(now + ROUND), Some(0));
        assert_eq!(known(0, 0, None).urgency(now), Some(0));
        let mut idle = known(0, 0, just);
        idle.active = false;
        assert_eq!(idle.urgency(now + ROUND), None);
    }
}
