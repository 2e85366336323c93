//! Removing workers: gone from the disk and from routing when the call returns, while
//! requests under way are finished.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use buntime_core::access::{Denied, Permission, Permit};
use buntime_core::{PackageName, Version};
use buntime_fs::{OpenError, RelPath, Staging, Tree, WriteError};

use crate::catalog::{Catalog, Installed, Source, Unit};

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemovalError {
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such worker, or no such version of it.
    #[error("no such worker")]
    NotFound,
    /// A folder of it lies in a built-in root.
    #[error("built-in workers cannot be removed")]
    BuiltIn,
    /// Its folder holds the folders of other versions.
    #[error("its folder holds other versions")]
    HoldsOthers,
    /// A root cannot be opened.
    #[error("a worker folder cannot be opened")]
    Open(#[from] OpenError),
    /// The disk does not let it go.
    #[error("a worker's folder cannot be removed")]
    Write(#[from] WriteError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Removes one version of a worker, or all of it, in every root. Returns the versions that
/// there were. Either all of the folders go or none. Blocks.
pub(crate) fn remove<T: Send + Sync + 'static>(
    catalog: &Catalog<T>,
    permit: &Permit,
    name: &PackageName,
    version: Option<&Version>,
) -> Result<Vec<Version>, RemovalError> {
    permit.covers(Permission::WorkersRemove, name)?;
    let (outcome, staged) = catalog.change(|installed| {
        let mut staged = Staged::default();
        let outcome = put_away(installed, name, version, &mut staged);
        if outcome.is_err() {
            staged.put_back();
        }
        (outcome, staged)
    });
    // Only now, as this may take long: nobody finds it any more.
    drop(staged);
    outcome
}

fn put_away(
    installed: &Installed<'_>,
    name: &PackageName,
    version: Option<&Version>,
    staged: &mut Staged,
) -> Result<Vec<Version>, RemovalError> {
    let all: Vec<&Unit> = installed.units(name).collect();
    let is_meant = |unit: &&Unit| version.is_none_or(|version| unit.version == *version);
    let (meant, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_meant);
    if meant.is_empty() {
        return Err(RemovalError::NotFound);
    }
    if meant.iter().any(|unit| unit.source == Source::BuiltIn) {
        return Err(RemovalError::BuiltIn);
    }
    let holds =
        |outer: &Unit, inner: &Unit| outer.dir != inner.dir && inner.dir.starts_with(&outer.dir);
    if meant
        .iter()
        .any(|unit| others.iter().any(|other| holds(unit, other)))
    {
        return Err(RemovalError::HoldsOthers);
    }
    for unit in &meant {
        // `name/` is a version itself, and `name/1.0.0/` goes with it.
        if !meant.iter().any(|other| holds(other, unit)) {
            staged.take(unit)?;
        }
    }
    let mut versions: Vec<_> = meant.iter().map(|unit| unit.version.clone()).collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.dedup();
    Ok(versions)
}

/// Folders that were taken from their places and are removed with this value.
#[derive(Default)]
struct Staged {
    roots: BTreeMap<Arc<Path>, (Tree, Staging)>,
    taken: Vec<(Arc<Path>, RelPath, RelPath)>,
}

impl Staged {
    fn take(&mut self, unit: &Unit) -> Result<(), RemovalError> {
        let place = unit
            .dir
            .strip_prefix(&unit.root)
            .ok()
            .and_then(Path::to_str);
        let place = place.and_then(|path| RelPath::try_from(path).ok());
        let place = place.ok_or(RemovalError::NotFound)?;
        if !self.roots.contains_key(&unit.root) {
            let tree = Tree::open(&unit.root)?;
            let staging = Staging::new(&tree)?;
            self.roots.insert(Arc::clone(&unit.root), (tree, staging));
        }
        let Some((tree, staging)) = self.roots.get(&unit.root) else {
            return Err(RemovalError::NotFound);
        };
        let name = RelPath::try_from(format!("unit-{}", self.taken.len()).as_str());
        let name = name.map_err(|_| WriteError::Name)?;
        match tree.rename(&place, staging.tree(), &name) {
            // Somebody was faster.
            Err(WriteError::NotFound) => return Ok(()),
            renamed => renamed?,
        }
        self.taken
            .push((Arc::clone(&unit.root), place.clone(), name));
        settle(tree, &place)
    }

    /// Puts all back in its place; what cannot go back is removed after all.
    fn put_back(&mut self) {
        for (root, place, name) in self.taken.drain(..).rev() {
            if let Some((tree, staging)) = self.roots.get(&root) {
                if let Some(parent) = place.parent() {
                    let _ = tree.ensure_dir(&parent);
                }
                let _ = staging.tree().rename(&name, tree, &place);
            }
        }
    }
}

/// Removes the folders around `place` that are empty now, and makes what was done durable.
fn settle(tree: &Tree, place: &RelPath) -> Result<(), RemovalError> {
    let mut next = place.parent();
    while let Some(folder) = next {
        match tree.remove_empty_dir(&folder) {
            Ok(()) => next = folder.parent(),
            Err(_) => return Ok(tree.open_dir(&folder)?.sync()?),
        }
    }
    Ok(tree.sync()?)
}

#[cfg(test)]
mod tests;
