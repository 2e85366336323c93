//! What requests read: names and versions, looked up without a lock.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use buntime_core::{PackageName, VersionRange};

use super::unit::{Deployment, State};

/// Ranges remembered per worker. A range in a link is one of a few; made-up
/// ones push each other out.
const REMEMBERED_RANGES: usize = 64;
/// Slots that a range may be in: a few ranges in constant use must not push each other out.
const WAYS: usize = 4;
/// Longer texts are no range: not even hashed.
const RANGE_MAX: usize = 64;

/// All workers at one moment.
///
/// Finding a worker by name and an exact version, or its default version, is
/// one hash lookup each, however many versions there are. A range is worked
/// out once and then remembered.
#[derive(Debug)]
pub struct Snapshot<T> {
    generation: u64,
    workers: HashMap<PackageName, Arc<Versions<T>>>,
}

/// All versions of one worker.
#[derive(Debug)]
pub struct Versions<T> {
    name: PackageName,
    /// Highest first; `latest` is above all numbers, so the first is what a
    /// request without a range gets.
    enabled: Vec<Arc<Deployment<T>>>,
    disabled: Vec<Arc<Deployment<T>>>,
    by_version: HashMap<Box<str>, usize>,
    ranges: OnceLock<Box<[ArcSwapOption<Remembered>]>>,
    comparisons: AtomicU64,
}

#[derive(Debug)]
struct Remembered {
    range: Box<str>,
    picked: Option<usize>,
}

impl<T> Snapshot<T> {
    /// Takes over the [`Versions`] of `before` whose deployments are the same.
    pub(super) fn build(
        generation: u64,
        deployments: Vec<Arc<Deployment<T>>>,
        before: Option<&Self>,
    ) -> Self {
        let mut by_name: HashMap<PackageName, Vec<Arc<Deployment<T>>>> = HashMap::new();
        for deployment in deployments {
            by_name
                .entry(deployment.unit().name.clone())
                .or_default()
                .push(deployment);
        }
        let workers = by_name
            .into_iter()
            .map(|(name, deployments)| {
                let versions = Versions::new(name.clone(), deployments);
                let known = before
                    .and_then(|before| before.workers.get(&name))
                    .filter(|known| known.holds_the_same(&versions));
                (name, known.map_or_else(|| Arc::new(versions), Arc::clone))
            })
            .collect();
        Self {
            generation,
            workers,
        }
    }

    /// The deployment for `name@range`, by contract §4: without a range
    /// `latest` if present, else the highest version; `None` if none fits.
    /// Disabled versions do not take part, broken ones do: an older version
    /// never answers silently for a newer one.
    ///
    /// `name` is `shop` or `@acme/shop`, as it stands in the path; `range` is
    /// percent-decoded.
    #[must_use]
    pub fn resolve(&self, name: &str, range: Option<&str>) -> Option<&Arc<Deployment<T>>> {
        self.workers.get(name)?.resolve(range)
    }

    /// All versions of a worker.
    #[must_use]
    pub fn versions(&self, name: &str) -> Option<&Arc<Versions<T>>> {
        self.workers.get(name)
    }

    /// All workers, in no order.
    pub fn workers(&self) -> impl Iterator<Item = &Arc<Versions<T>>> {
        self.workers.values()
    }

    /// Grows by one with each change that was published.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<T> Versions<T> {
    fn new(name: PackageName, deployments: Vec<Arc<Deployment<T>>>) -> Self {
        let (mut disabled, mut enabled): (Vec<_>, Vec<_>) = deployments
            .into_iter()
            .partition(|deployment| matches!(deployment.unit().state, State::Disabled));
        for list in [&mut enabled, &mut disabled] {
            list.sort_by(|a, b| b.unit().version.cmp(&a.unit().version));
        }
        let by_version = enabled
            .iter()
            .enumerate()
            .map(|(index, deployment)| (deployment.unit().version.as_str().into(), index))
            .collect();
        Self {
            name,
            enabled,
            disabled,
            by_version,
            ranges: OnceLock::new(),
            comparisons: AtomicU64::new(0),
        }
    }

    fn holds_the_same(&self, other: &Self) -> bool {
        let same = |a: &[Arc<_>], b: &[Arc<_>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        same(&self.enabled, &other.enabled) && same(&self.disabled, &other.disabled)
    }

    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// Versions that take part in routing, highest first.
    #[must_use]
    pub fn enabled(&self) -> &[Arc<Deployment<T>>] {
        &self.enabled
    }

    /// Versions that do not, highest first.
    #[must_use]
    pub fn disabled(&self) -> &[Arc<Deployment<T>>] {
        &self.disabled
    }

    /// How often a version was compared with a range, ever: the work that grows
    /// with the number of versions.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.comparisons.load(Ordering::Relaxed)
    }

    fn resolve(&self, range: Option<&str>) -> Option<&Arc<Deployment<T>>> {
        let Some(range) = range else {
            return self.enabled.first();
        };
        if range.len() > RANGE_MAX {
            return None;
        }
        let index = match self.by_version.get(range) {
            Some(&index) => Some(index),
            None => self.pick(range),
        };
        self.enabled.get(index?)
    }

    fn pick(&self, range: &str) -> Option<usize> {
        let slots = self.ranges.get_or_init(|| {
            std::iter::repeat_with(ArcSwapOption::empty)
                .take(REMEMBERED_RANGES)
                .collect()
        });
        let hash = self.by_version.hasher().hash_one(range);
        // The remainders fit: they are below the number of slots.
        let below = |hash: u64, count: usize| usize::try_from(hash % count as u64).unwrap_or(0);
        let first = below(hash, REMEMBERED_RANGES / WAYS) * WAYS;
        let set = &slots[first..first + WAYS];
        let mut place = &set[below(hash >> 32, WAYS)];
        for slot in set {
            match &*slot.load() {
                Some(remembered) if *remembered.range == *range => return remembered.picked,
                Some(_) => {}
                None => {
                    place = slot;
                    break;
                }
            }
        }
        // Not worth a slot: no range, so there is nothing to compare either.
        let parsed = VersionRange::try_from(range).ok()?;
        let mut compared = 0;
        let picked = self.enabled.iter().position(|deployment| {
            compared += 1;
            parsed.matches(&deployment.unit().version)
        });
        self.comparisons.fetch_add(compared, Ordering::Relaxed);
        place.store(Some(Arc::new(Remembered {
            range: range.into(),
            picked,
        })));
        picked
    }
}

#[cfg(test)]
mod tests;
