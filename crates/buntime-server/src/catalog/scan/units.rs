//! One unit: whether it must be read again, and what becomes of what was known.

use std::path::Path;
use std::sync::Arc;

use buntime_core::{PackageName, Version};
use buntime_fs::Root;

use super::super::listing::is_settled;
use super::super::load::{self, Called, Enabled, Loaded, Sight};
use super::super::problem::{Problem, Topic};
use super::super::sources::{self, Sources};
use super::super::unit::{State, Unit};
use super::super::unit_id;
use super::{Dirty, Pass, Place, Record, Scanner, Wanted, broken_problem, runs_code};

impl Scanner {
    /// A folder that is a unit if it describes itself as one.
    pub(super) fn unit(
        &mut self,
        index: usize,
        folder: &Root,
        dir: &Path,
        place: Result<(PackageName, Version), String>,
        dirty: &Dirty,
        pass: &mut Pass,
    ) {
        let wanted = self.roots[index].only.as_deref();
        if wanted.is_some_and(|only| only != dir) {
            return;
        }
        // What it is not yet it may become.
        pass.folders.push(Wanted {
            path: dir.into(),
            inode: folder.info().inode,
            unit: Some(dir.into()),
        });
        let key = (index, dir.to_path_buf());
        let known = self.records.get(&key);
        let entry = known
            .and_then(|record| record.unit.ready())
            .map(|ready| ready.entry.path());
        let sight = match Sight::take(folder, entry) {
            Ok(Some(sight)) => sight,
            Ok(None) => return,
            Err(error) => return self.unreadable(index, dir, &error, pass),
        };
        let (name, version) = match place {
            Ok(place) => place,
            Err(error) => {
                let message = format!("{}: ignored: {error}", dir.display());
                pass.layout_problems
                    .insert(Problem::warning(Topic::Layout, dir, message));
                return;
            }
        };
        pass.seen.insert(key.clone());
        let looks_the_same = known.is_some_and(|record| record.settled && record.sight == sight);
        let is_dirty = dirty.all || dirty.units.contains(dir);
        let has_turn = self.takes_turn(pass);
        if looks_the_same && !is_dirty && !(has_turn && self.code_differs(&key, folder, pass)) {
            return;
        }
        let id = unit_id(&name, &version);
        let enabled = match self.overrides.get(&*id) {
            Some(true) => Enabled::Yes,
            Some(false) | None => Enabled::AsWritten,
        };
        let loaded = match load::load(
            folder,
            dir,
            &Called::ByPlace(&name, &version),
            enabled,
            &self.grants,
        ) {
            Ok(loaded) => loaded,
            Err(error) => return self.unreadable(index, dir, &error, pass),
        };
        let unit = Unit {
            id: id.into(),
            name,
            version,
            root: Arc::clone(&self.roots[index].path),
            dir: dir.to_path_buf(),
            source: self.roots[index].source,
            state: loaded.state.clone(),
        };
        self.keep(key, folder, unit, loaded, pass);
    }

    /// Looks at the code of a unit that looks the same otherwise.
    fn code_differs(&self, key: &Place, folder: &Root, pass: &mut Pass) -> bool {
        let Some(record) = self.records.get(key).filter(|record| record.has_code()) else {
            return false;
        };
        let Some(found) = sources::survey(folder, &key.1) else {
            return false;
        };
        pass.code_left = pass.code_left.saturating_sub(found.entries.max(1));
        found != record.sources
    }

    /// Whether it is this unit's turn to have its code looked at.
    fn takes_turn(&mut self, pass: &mut Pass) -> bool {
        let ordinal = pass.ordinal;
        pass.ordinal += 1;
        if ordinal < self.cursor || pass.code_left == 0 {
            return false;
        }
        self.cursor = ordinal + 1;
        true
    }

    fn keep(&mut self, key: Place, folder: &Root, unit: Unit, loaded: Loaded, pass: &mut Pass) {
        let dir = &unit.dir;
        let known = self.records.get(&key);
        // Taken again, now that the entry is known. What changed since the
        // first look shows as a newer time in the next pass.
        let entry = unit.ready().map(|ready| ready.entry.path());
        let sight = match Sight::take(folder, entry) {
            Ok(Some(sight)) => sight,
            Ok(None) => return,
            Err(error) => return self.unreadable(key.0, dir, &error, pass),
        };
        let sources = if runs_code(&unit) {
            // An error says nothing new.
            let before = || {
                known
                    .map(|record| record.sources.clone())
                    .unwrap_or_default()
            };
            sources::survey(folder, dir).unwrap_or_else(before)
        } else {
            Sources::default()
        };
        let same = known.is_some_and(|record| {
            record.unit.state == unit.state
                && record.sight.content() == sight.content()
                && record.sources.print == sources.print
        });
        pass.moved |= known.is_none_or(|record| record.sources.folders != sources.folders);
        let mut problems = loaded.problems;
        if let State::Broken(broken) = &unit.state {
            problems.push(broken_problem(dir, broken));
        }
        let revision = match known {
            Some(record) if same => record.revision,
            _ => {
                self.revision += 1;
                pass.changed = true;
                self.revision
            }
        };
        let settled = is_settled(sight.newest_ns());
        let record = Record {
            unit,
            revision,
            sight,
            settled,
            sources,
            problems,
            asks: loaded.asks,
        };
        self.records.insert(key, record);
    }
}
