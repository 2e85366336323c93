//! Making, removing, renaming and moving.

use std::collections::HashSet;

use buntime_core::access::Grant;
use buntime_fs::{EntryKind, OpenError, RelPath, Staging, WriteError};

use super::path::{Level, UnitKind, new_name};
use super::unit::{check_base, is_manifest};
use super::view::Spot;
use super::{FileBrowser, FilesError, Named, Permitted, Place};

impl FileBrowser {
    /// Makes a folder, with those on the way to it.
    ///
    /// # Errors
    /// [`FilesError::Exists`], [`FilesError::Target`] and others.
    pub(crate) fn make_folder(&self, folder: &Permitted) -> Result<(), FilesError> {
        let spot = self.spot(&folder.place)?;
        spot.check_inside_unit()?;
        spot.check_changeable()?;
        new_name(spot.path.file_name())?;
        let parent = match spot.path.parent() {
            Some(parent) => spot.view.tree.ensure_dir(&parent).map_err(in_the_way)?,
            None => spot.view.tree.try_clone()?,
        };
        match parent.create_dir(&spot.path.split_last().1) {
            Err(WriteError::Exists) => Err(FilesError::Exists(spot.shown())),
            made => {
                made?;
                Ok(parent.sync()?)
            }
        }
    }

    /// Removes files, links and folders with all that is in them. All are looked at
    /// before the first is removed.
    ///
    /// # Errors
    /// [`FilesError::NoFile`] if one of them is not there, [`FilesError::Protected`].
    pub(crate) fn remove(&self, all: &[Permitted]) -> Result<(), FilesError> {
        let spots = self.changeable(all)?;
        for spot in &spots {
            match Staging::discard(&spot.view.tree, &spot.path) {
                // It lay in one that was removed before.
                Err(WriteError::NotFound) if spots.len() > 1 => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Gives an entry another name, in the same folder.
    ///
    /// # Errors
    /// [`FilesError::BadName`]; [`FilesError::Target`] where it would no longer be
    /// what it is, such as a version that is none.
    pub(crate) fn rename(
        &self,
        grant: &Grant,
        entry: &Permitted,
        name: &str,
    ) -> Result<(), FilesError> {
        let name = new_name(name)?;
        let spot = self.spot(&entry.place)?;
        let to = match spot.path.parent() {
            Some(parent) => parent.join(&name).map_err(|_| FilesError::BadName)?,
            None => name,
        };
        let to = Permitted::new(entry.place.beside(to), grant)?;
        spot.kind()?;
        spot.check_changeable()?;
        let target = self.spot(&to.place)?;
        target.check_changeable()?;
        // A worker's folder without a version is told by what is in it: where nothing
        // is yet, its name is like any other.
        let is_same =
            spot.level == target.level || (spot.level, target.level) == (Level::Unit, Level::Name);
        if !is_same || spot.level == Level::Stray {
            return Err(FilesError::Target(self.kind));
        }
        self.check_manifest(&spot, &target)?;
        move_to(&spot, &target)
    }

    /// Moves entries into a folder. One alone may get another name: its target is
    /// then what is not there yet. All are looked at before the first is moved.
    ///
    /// # Errors
    /// [`FilesError::Exists`] if something there has such a name already.
    pub(crate) fn move_into(
        &self,
        grant: &Grant,
        all: &[Permitted],
        target: &str,
    ) -> Result<(), FilesError> {
        let target = match self.name(target)? {
            Named::Place(place) => Permitted::new(place, grant)?,
            Named::Top | Named::Root(_) => return Err(FilesError::Target(self.kind)),
        };
        let spots = self.changeable(all)?;
        let goal = self.spot(&target.place).map_err(FilesError::of_folder)?;
        goal.check_inside_unit()?;
        let goals = match (&*spots, goal.is_folder()) {
            ([one], false) => {
                goal.check_new()?;
                new_name(goal.path.file_name())?;
                vec![(one, goal)]
            }
            (_, false) => return Err(FilesError::NoFolder),
            (spots, true) => spots
                .iter()
                .map(|spot| Ok((spot, goal.below(spot.path.file_name())?)))
                .collect::<Result<Vec<_>, FilesError>>()?,
        };
        let mut names = HashSet::new();
        for (_, goal) in &goals {
            goal.check_inside_unit()?;
            goal.check_changeable()?;
            if !names.insert(&goal.path) || goal.kind().is_ok() {
                return Err(FilesError::Exists(goal.shown()));
            }
        }
        for (from, to) in &goals {
            self.check_manifest(from, to)?;
        }
        goals.iter().try_for_each(|(from, to)| move_to(from, to))
    }

    /// What becomes a plugin's manifest must be one that servers start with.
    fn check_manifest(&self, from: &Spot, to: &Spot) -> Result<(), FilesError> {
        if self.kind == UnitKind::Plugin && is_manifest(&to.path) {
            check_base(from.view.tree.root(), &from.path, &self.prefix)?;
        }
        Ok(())
    }

    /// Places that are there and may be changed.
    fn changeable(&self, all: &[Permitted]) -> Result<Vec<Spot>, FilesError> {
        let mut spots = Vec::with_capacity(all.len());
        for permitted in all {
            let spot = self.spot(&permitted.place)?;
            spot.kind()?;
            spot.check_changeable()?;
            spots.push(spot);
        }
        Ok(spots)
    }
}

impl Place {
    fn beside(&self, path: RelPath) -> Self {
        Self {
            mount: self.mount.clone(),
            scope: super::path::scope(&path),
            path,
        }
    }
}

impl Spot {
    /// Something in this folder.
    fn below(&self, name: &str) -> Result<Self, FilesError> {
        let name = RelPath::try_from(name).map_err(|_| FilesError::BadName)?;
        let path = self.path.join(&name);
        self.view
            .spot(&path.map_err(|_| FilesError::BadPath("it is too long"))?)
    }

    /// Nothing may be here, but the folder that it will lie in.
    fn check_new(&self) -> Result<(), FilesError> {
        match self.view.tree.root().metadata(&self.path) {
            Ok(_) => return Err(FilesError::Exists(self.shown())),
            Err(OpenError::NotFound) => {}
            Err(error) => return Err(FilesError::from(error).of_folder()),
        }
        let parent = self.path.parent().ok_or(FilesError::NoFolder)?;
        match self.view.tree.root().metadata(&parent)?.kind {
            EntryKind::Directory => Ok(()),
            _ => Err(FilesError::NoFolder),
        }
    }
}

fn move_to(from: &Spot, to: &Spot) -> Result<(), FilesError> {
    let moved = from.view.tree.rename(&from.path, &to.view.tree, &to.path);
    match moved {
        Err(WriteError::Exists) => Err(FilesError::Exists(to.shown())),
        moved => {
            moved?;
            for spot in [from, to] {
                spot.sync_parent()?;
            }
            Ok(())
        }
    }
}

impl Spot {
    /// Waits until the disk knows what names there are beside this one.
    fn sync_parent(&self) -> Result<(), FilesError> {
        let tree = &self.view.tree;
        let synced = match self.path.parent() {
            None => tree.sync(),
            Some(parent) => match tree.open_dir(&parent) {
                Ok(parent) => parent.sync(),
                // Somebody else has removed it since.
                Err(OpenError::NotFound) => Ok(()),
                Err(error) => Err(error.into()),
            },
        };
        Ok(synced?)
    }
}

/// Of making the folders on the way to something.
pub(super) fn in_the_way(error: WriteError) -> FilesError {
    match error {
        WriteError::NotADirectory | WriteError::Link => FilesError::NoFolder,
        error => FilesError::from(error).of_folder(),
    }
}
