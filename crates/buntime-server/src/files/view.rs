//! A root, opened, and what of it is there for whom.

use std::sync::Arc;

use buntime_core::Visibility;
use buntime_core::access::Grant;
use buntime_fs::{EntryKind, OpenError, RelPath, Tree, Walk, WalkLimits};

use super::path::{self, Level, UNIT_DEPTH, UnitKind};
use super::unit::Facts;
use super::{FileBrowser, FilesError, Mount, Place};
use crate::catalog::load::{MANIFEST_YAML, MANIFEST_YML, PACKAGE_JSON};

/// How far a look at all units below a folder goes.
const UNITS: WalkLimits = WalkLimits {
    entries: 100_000,
    depth: UNIT_DEPTH,
};

/// A root. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) kind: UnitKind,
    pub(super) mount: Arc<Mount>,
    pub(super) tree: Arc<Tree>,
}

/// A place beneath it, and what is known of it. It need not be there.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) view: View,
    pub(super) path: RelPath,
    pub(super) level: Level,
    /// Of the unit that it lies in.
    pub(super) visibility: Visibility,
}

impl FileBrowser {
    pub(super) fn view(&self, mount: &Arc<Mount>) -> Result<View, FilesError> {
        let tree = Tree::open(&mount.path).map_err(|error| match error {
            OpenError::NotFound => FilesError::NoFolder,
            error => FilesError::System(error.into()),
        })?;
        Ok(View {
            kind: self.kind,
            mount: Arc::clone(mount),
            tree: Arc::new(tree),
        })
    }

    pub(super) fn spot(&self, place: &Place) -> Result<Spot, FilesError> {
        self.view(&place.mount)?.spot(&place.path)
    }
}

impl View {
    /// Looks at a place.
    ///
    /// # Errors
    /// [`FilesError::NoFile`] if it lies in a unit that is not shown.
    pub(super) fn spot(&self, path: &RelPath) -> Result<Spot, FilesError> {
        let (level, depth) = self.classify(path);
        let visibility = match depth {
            None => Visibility::Public,
            Some(depth) => self.facts(&first(path, depth)?)?.visibility,
        };
        if visibility == Visibility::Internal {
            return Err(FilesError::NoFile);
        }
        Ok(Spot {
            view: self.clone(),
            path: path.clone(),
            level,
            visibility,
        })
    }

    pub(super) fn classify(&self, path: &RelPath) -> (Level, Option<usize>) {
        path::classify(self.kind, path, |folder| self.is_unit(folder))
    }

    /// What the manifest in a unit's folder says; nothing if there is no such folder.
    pub(super) fn facts(&self, unit: &RelPath) -> Result<Facts, FilesError> {
        match self.tree.root().open_dir(unit) {
            Ok(folder) => Facts::read(self.kind, &folder),
            Err(OpenError::NotFound | OpenError::Link | OpenError::WrongKind { .. }) => {
                Ok(Facts::default())
            }
            Err(error) => Err(FilesError::System(error.into())),
        }
    }

    /// Whether somebody is shown an entry, whose folder he is shown.
    pub(super) fn shows(&self, grant: &Grant, path: &RelPath, kind: EntryKind) -> bool {
        if path::is_hidden(path.file_name()) || !self.mount.holds(path) {
            return false;
        }
        let depth = path.segments().count();
        if depth == 1 && !grant.sees(path::scope(path).as_ref()) {
            return false;
        }
        if kind != EntryKind::Directory || depth > UNIT_DEPTH {
            return true;
        }
        // A unit of which nothing can be known is not shown.
        let is_shown = |facts: Facts| facts.visibility != Visibility::Internal;
        self.classify(path).0 != Level::Unit || self.facts(path).is_ok_and(is_shown)
    }

    fn is_unit(&self, folder: &RelPath) -> bool {
        let Ok(folder) = self.tree.root().open_dir(folder) else {
            return false;
        };
        [MANIFEST_YAML, MANIFEST_YML, PACKAGE_JSON]
            .iter()
            .any(|name| folder.metadata(name).is_ok())
    }
}

impl Spot {
    /// Whether the file browser may change what is here, with all units below.
    pub(super) fn check_changeable(&self) -> Result<(), FilesError> {
        if self.visibility != Visibility::Public {
            return Err(FilesError::Protected);
        }
        if self.path.segments().count() >= UNIT_DEPTH {
            return Ok(());
        }
        let folder = match self.view.tree.root().open_dir(&self.path) {
            Ok(folder) => folder,
            Err(OpenError::Io(error)) => return Err(FilesError::System(error.into())),
            // A file, a link, or nothing at all.
            Err(_) => return Ok(()),
        };
        let mut walk = Walk::begin(folder, UNITS)?;
        while let Some(entry) = walk.next() {
            if entry.kind != EntryKind::Directory {
                continue;
            }
            let Ok(path) = self.path.join(&entry.path) else {
                continue;
            };
            if path.segments().count() < UNIT_DEPTH {
                walk.enter(&entry)?;
            }
            let is_unit = self.view.classify(&path).0 == Level::Unit;
            if is_unit && self.view.facts(&path)?.visibility != Visibility::Public {
                return Err(FilesError::Protected);
            }
        }
        Ok(())
    }

    /// What is here, links not followed.
    pub(super) fn kind(&self) -> Result<EntryKind, FilesError> {
        Ok(self.view.tree.root().metadata(&self.path)?.kind)
    }

    /// As clients write it.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.view.mount.name, self.path)
    }

    /// Whether files may be written at this place.
    pub(super) fn check_inside_unit(&self) -> Result<(), FilesError> {
        match self.level {
            Level::Inside | Level::Unit => Ok(()),
            Level::Scope | Level::Name | Level::Stray => Err(FilesError::Target(self.view.kind)),
        }
    }
}

/// The first segments of a path.
fn first(path: &RelPath, segments: usize) -> Result<RelPath, FilesError> {
    let first: Vec<&str> = path.segments().take(segments).collect();
    first
        .join("/")
        .parse()
        .map_err(|_| FilesError::BadPath("it is no path"))
}
