//! What the releases of one worker say about how it stands, and how it stood.

use std::collections::BTreeSet;

use buntime_core::Version;

use crate::store::{Release, Stand};

/// The releases of one worker that are kept, the newest first.
#[derive(Debug)]
pub(super) struct History(Vec<Release>);

/// What is to be done so that a worker stands as it stood after a release.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way<'a> {
    /// The release.
    pub(super) to: &'a Release,
    /// Versions and the releases whose content they get.
    pub(super) install: Vec<(Version, &'a Release)>,
    /// Versions that were released later.
    pub(super) later: BTreeSet<Version>,
    /// Versions that stood then and do not stand now.
    pub(super) again: BTreeSet<Version>,
    /// How the other versions will stand.
    pub(super) beside: Stand,
}

/// Why there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoWay {
    /// There is no such release.
    Unknown,
    /// The content of another version, as it was then, is no longer kept.
    Pruned,
}

impl History {
    /// `releases` are those of one worker, in any order.
    pub(super) fn new(mut releases: Vec<Release>) -> Self {
        releases.sort_by_key(|release| std::cmp::Reverse(release.number));
        Self(releases)
    }

    /// The newest first.
    pub(super) fn releases(&self) -> &[Release] {
        &self.0
    }

    /// The number of the newest release; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.0.first().map_or(0, |release| release.number)
    }

    /// Which release each version stands at.
    pub(super) fn stand(&self) -> Stand {
        self.0.first().map_or_else(Stand::new, stand_after)
    }

    /// How the versions beside `version` stand when it is released.
    pub(super) fn beside(&self, version: &Version) -> Stand {
        let mut stand = self.stand();
        stand.remove(version);
        stand
    }

    /// Whether a rollback has put this version aside.
    pub(super) fn has_put_aside(&self, version: &Version) -> bool {
        let is_known = self
            .0
            .iter()
            .any(|release| release.what.version == *version);
        is_known && !self.stand().contains_key(version)
    }

    /// The way back to the release `number`.
    pub(super) fn back_to(&self, number: u64) -> Result<Way<'_>, NoWay> {
        let to = self.get(number).ok_or(NoWay::Unknown)?;
        let (now, then) = (self.stand(), stand_after(to));
        let mut install = Vec::new();
        for (version, number) in &then {
            let release = self.get(*number).ok_or(NoWay::Pruned)?;
            let stands = now.get(version).and_then(|number| self.get(*number));
            let differs = stands.is_none_or(|now| now.what.sha256 != release.what.sha256);
            // The one that was named is put there anew whatever happened to it since.
            if differs || *version == to.what.version {
                install.push((version.clone(), release));
            }
        }
        let released = self.0.iter().map(|release| &release.what.version);
        let later = released.chain(now.keys());
        let later = later.filter(|version| !then.contains_key(version)).cloned();
        let again = then.keys().filter(|version| !now.contains_key(version));
        Ok(Way {
            to,
            install,
            later: later.collect(),
            again: again.cloned().collect(),
            beside: to.what.beside.clone(),
        })
    }

    /// The releases that are no longer needed if `kept` are to be kept: what the kept
    /// ones stand on stays.
    pub(super) fn to_prune(&self, kept: usize) -> Vec<u64> {
        let newest = self.0.iter().take(kept.max(1));
        let needed: BTreeSet<u64> = newest
            .flat_map(|release| stand_after(release).into_values())
            .collect();
        let numbers = self.0.iter().skip(kept.max(1));
        numbers
            .map(|release| release.number)
            .filter(|number| !needed.contains(number))
            .collect()
    }

    fn get(&self, number: u64) -> Option<&Release> {
        self.0.iter().find(|release| release.number == number)
    }
}

fn stand_after(release: &Release) -> Stand {
    let mut stand = release.what.beside.clone();
    stand.insert(release.what.version.clone(), release.number);
    stand
}

#[cfg(test)]
mod tests;
