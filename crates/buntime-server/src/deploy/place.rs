//! Where a unit goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_fs::{EntryKind, OpenError, RelPath, Tree, WriteError};

use super::DeployError;
use crate::catalog::{Installed, Package, Source, Unit};

/// The folder of a unit, there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The worker root.
    pub(super) root: Arc<Path>,
    /// Below it.
    pub(super) folder: RelPath,
    pub(super) state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceState {
    /// Nothing is there.
    Free,
    /// A folder is there, which is to be replaced.
    Taken,
}

impl Place {
    /// Finds the place: that of the same name and version, else the first of `roots`,
    /// which are those that may be written. Blocks.
    ///
    /// # Errors
    /// What is there may not be replaced.
    pub(super) fn find(
        package: &Package,
        installed: &Installed<'_>,
        roots: &[Arc<Path>],
    ) -> Result<Self, DeployError> {
        let units: Vec<&Unit> = installed.units(&package.name).collect();
        let mut same = units.iter().filter(|unit| unit.version == package.version);
        let (root, folder) = match (same.next(), same.next()) {
            (None, _) => {
                let root = roots.first().ok_or(DeployError::NoRoot)?;
                let folder = new_folder(package, &units, root)?;
                (Arc::clone(root), folder)
            }
            (Some(_), Some(_)) => {
                return Err(DeployError::Collision("is installed in two folders"));
            }
            (Some(unit), None) if unit.source == Source::BuiltIn => {
                return Err(DeployError::Collision("belongs to the installation"));
            }
            (Some(unit), None) => {
                let inside =
                    |other: &&Unit| other.dir != unit.dir && other.dir.starts_with(&unit.dir);
                if units.iter().any(inside) {
                    return Err(DeployError::Collision(
                        "lies in a folder that holds other versions too",
                    ));
                }
                (Arc::clone(&unit.root), below(&unit.root, &unit.dir)?)
            }
        };
        let state = look(&Tree::open(&root)?, &folder)?;
        Ok(Self {
            root,
            folder,
            state,
        })
    }

    /// Makes the folders above it. Blocks.
    pub(super) fn make_way(&self) -> Result<(), WriteError> {
        let tree = Tree::open(&self.root)?;
        if let Some(above) = self.folder.parent() {
            tree.ensure_dir(&above)?;
        }
        Ok(())
    }

    /// Waits until the names of the folder and those above it are on the disk. Blocks.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        let tree = Tree::open(&self.root)?;
        tree.sync()?;
        let mut above = self.folder.parent();
        while let Some(folder) = above {
            tree.open_dir(&folder)?.sync()?;
            above = folder.parent();
        }
        Ok(())
    }
}

/// `name/version`, or `name@version` where `name` is a unit itself and would hold it.
fn new_folder(package: &Package, units: &[&Unit], root: &Path) -> Result<RelPath, DeployError> {
    let (name, version) = (package.name.as_str(), package.version.as_str());
    let bare: PathBuf = root.join(name);
    let is_bare = units.iter().any(|unit| unit.dir == bare);
    let separator = if is_bare { '@' } else { '/' };
    // Both were parsed: each is one plain segment, the name two with a scope.
    RelPath::try_from(format!("{name}{separator}{version}").as_str())
        .map_err(|_| DeployError::Internal)
}

pub(super) fn below(root: &Path, dir: &Path) -> Result<RelPath, DeployError> {
    let below = dir.strip_prefix(root).ok().and_then(Path::to_str);
    let below = below.ok_or(DeployError::Internal)?;
    RelPath::try_from(below).map_err(|_| DeployError::Internal)
}

/// What is at a folder's place.
pub(super) fn look(root: &Tree, folder: &RelPath) -> Result<PlaceState, DeployError> {
    match root.root().metadata(folder) {
        Err(OpenError::NotFound) => Ok(PlaceState::Free),
        Ok(info) if info.kind == EntryKind::Directory => Ok(PlaceState::Taken),
        Ok(_) | Err(OpenError::Link) => Err(DeployError::Collision(
            "would lie where there is something that is no folder",
        )),
        Err(error) => Err(WriteError::from(error).into()),
    }
}
