//! Folders to prepare something in that then appears in one step, or to put away
//! what then disappears in one step.

use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::{EntryKind, OpenError, Tree, WriteError};
use crate::rel_path::RelPath;

/// Most leftovers looked at in one sweep.
const MAX_LEFTOVERS: usize = 10_000;
/// Attempts at a name that nobody has.
const ATTEMPTS: usize = 16;

/// An empty folder of its own at `.buntime-staging/<random>/` in a tree, so on the
/// same file system. It is locked as long as this value lives, and removed with
/// all that is in it when the value is dropped, which blocks.
///
/// A process that is killed leaves the folder, without the lock: see
/// [`Staging::sweep`].
#[derive(Debug)]
pub struct Staging {
    all: Tree,
    tree: Tree,
    name: RelPath,
}

impl Staging {
    /// The folder for all of them. Names that start with `.buntime` are the
    /// server's own: neither catalog nor file browser shows them.
    pub const FOLDER: RelPath = RelPath::literal(".buntime-staging");

    /// Makes one in `root`.
    ///
    /// # Errors
    /// `root` cannot be written.
    pub fn new(root: &Tree) -> Result<Self, WriteError> {
        let all = root.ensure_dir(&Self::FOLDER)?;
        let (name, tree) = unique(|name| all.create_dir(name))?;
        // Some network file systems have no locks; there, age alone protects it.
        let _ = lock(&tree);
        Ok(Self { all, tree, name })
    }

    /// The folder.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Removes an entry of `root` and all that is in it: it is gone from its
    /// place in one step, then taken apart in `.buntime-staging`.
    ///
    /// # Errors
    /// [`WriteError::NotFound`]. An error of the taking apart is not one: what is
    /// left is swept later.
    pub fn discard(root: &Tree, path: &RelPath) -> Result<(), WriteError> {
        let staging = Self::new(root)?;
        match root.rename(path, staging.tree(), &RelPath::literal("discarded")) {
            Err(WriteError::OtherFileSystem) => root.remove_tree(path),
            moved => moved,
        }
    }

    /// Removes what processes have left behind that were killed: folders that
    /// nobody has locked and nobody has changed for `age`. Returns how many.
    ///
    /// # Errors
    /// The folder of all of them cannot be read.
    pub fn sweep(root: &Tree, age: Duration) -> Result<usize, WriteError> {
        let all = match root.open_dir(&Self::FOLDER) {
            Err(OpenError::NotFound) => return Ok(0),
            opened => opened?,
        };
        let mut removed = 0;
        for entry in all.root().read_dir(MAX_LEFTOVERS)? {
            let Ok(info) = all.root().metadata(&entry.name) else {
                continue;
            };
            let rested = SystemTime::now().duration_since(info.modified());
            if rested.unwrap_or_default() < age {
                continue;
            }
            // Held until it is removed, so that no two sweeps meet in it.
            let held = match entry.kind {
                EntryKind::Directory => match all.open_dir(&entry.name) {
                    Ok(left) if lock(&left) => Some(left),
                    _ => continue,
                },
                _ => None,
            };
            if all.remove_tree(&entry.name).is_ok() {
                removed += 1;
            }
            drop(held);
        }
        Ok(removed)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // There is nobody to tell; a sweep finds what is left.
        let _ = self.all.remove_tree(&self.name);
    }
}

/// Whether nobody had it locked; now we have.
fn lock(tree: &Tree) -> bool {
    let operation = FlockOperation::NonBlockingLockExclusive;
    !matches!(
        rustix::fs::flock(&tree.root.directory, operation),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}

/// Makes something under a name that nobody has: `.buntime-` and 16 digits.
pub(super) fn unique<T>(
    mut make: impl FnMut(&RelPath) -> Result<T, WriteError>,
) -> Result<(RelPath, T), WriteError> {
    for _ in 1..ATTEMPTS {
        let name = random_name()?;
        match make(&name) {
            Err(WriteError::Exists) => {}
            made => return Ok((name, made?)),
        }
    }
    let name = random_name()?;
    let made = make(&name)?;
    Ok((name, made))
}

fn random_name() -> Result<RelPath, WriteError> {
    format!(".buntime-{:016x}", fastrand::u64(..))
        .parse()
        .map_err(|_| WriteError::Name)
}
