//! Files that come in: kept out of sight until all of them are there, then put in
//! their places.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;

use buntime_core::Visibility;
use buntime_fs::archive::{ArchiveKind, ArchiveLimits, unpack};
use buntime_fs::{
    EntryKind, FileMode, OpenError, RelPath, Staging, Tree, Walk, WalkLimits, WriteError,
};

use super::change::in_the_way;
use super::path::{UnitKind, is_own};
use super::unit::{check_base, is_manifest};
use super::view::{Spot, View};
use super::{FileBrowser, FilesError, Named, Permitted};

/// Most files of one upload, those in archives among them.
pub(crate) const FILES_MAX: usize = 20_000;
const LIMITS: WalkLimits = WalkLimits {
    entries: 3 * FILES_MAX,
    depth: 128,
};

/// Files that have come in. Dropped, it leaves nothing behind; that blocks.
#[derive(Debug)]
pub(crate) struct Upload {
    staging: Staging,
    files: Vec<Incoming>,
}

#[derive(Debug)]
struct Incoming {
    staged: RelPath,
    /// What the client calls it.
    name: String,
}

/// What lies in the staging folder, by the place where it shall lie.
type Places = BTreeMap<RelPath, RelPath>;

impl FileBrowser {
    /// Begins an upload. `text` says where to, as far as that is known yet: files are
    /// kept on the file system of that root, else of the first.
    ///
    /// # Errors
    /// There is no such root, or it cannot be written.
    pub(crate) fn begin_upload(&self, text: Option<&str>) -> Result<Upload, FilesError> {
        let mount = match text.map(|text| self.name(text)).transpose()? {
            Some(Named::Place(place)) => place.mount,
            Some(Named::Root(root)) => root.0,
            Some(Named::Top) | None => Arc::clone(self.mounts.first().ok_or(FilesError::NoFolder)?),
        };
        let staging = Staging::new(&self.view(&mount)?.tree)?;
        Ok(Upload {
            staging,
            files: Vec::new(),
        })
    }

    /// Puts the files in their places below a folder of a unit, which is made if it is
    /// not there. `paths` says where each file goes; without, each goes by its name. A
    /// `.zip` is unpacked. All places are looked at before anything is changed.
    ///
    /// # Errors
    /// [`FilesError::BadPath`], [`FilesError::Target`], [`FilesError::Exists`] where a
    /// folder has a file's name, [`FilesError::Archive`].
    pub(crate) fn finish_upload(
        &self,
        target: &Permitted,
        upload: Upload,
        paths: &[String],
    ) -> Result<usize, FilesError> {
        let spot = self.spot(&target.place).map_err(FilesError::of_folder)?;
        spot.check_inside_unit()?;
        let places = upload.places(paths)?;
        check(&spot, &places)?;
        if self.kind == UnitKind::Plugin {
            for (place, staged) in &places {
                if is_manifest(place) {
                    check_base(upload.staging.tree().root(), staged, &self.prefix)?;
                }
            }
        }
        let folder = spot.view.tree.ensure_dir(&spot.path).map_err(in_the_way)?;
        for (place, staged) in &places {
            if let Some(parent) = place.parent() {
                folder.ensure_dir(&parent).map_err(in_the_way)?;
            }
            upload.staging.tree().replace(staged, &folder, place)?;
        }
        spot.view.tree.sync_all()?;
        Ok(places.len())
    }

    /// Whether files may be put into this folder at all: asked as soon as it is known
    /// which it is.
    ///
    /// # Errors
    /// As [`FileBrowser::finish_upload`].
    pub(crate) fn check_upload(&self, target: &Permitted) -> Result<(), FilesError> {
        let spot = self.spot(&target.place).map_err(FilesError::of_folder)?;
        spot.check_inside_unit()?;
        if spot.visibility != Visibility::Public {
            return Err(FilesError::Protected);
        }
        match spot.kind() {
            Ok(EntryKind::Directory) | Err(FilesError::NoFile) => Ok(()),
            Ok(_) => Err(FilesError::NoFolder),
            Err(error) => Err(error),
        }
    }
}

impl Upload {
    /// A file to write what comes next into.
    ///
    /// # Errors
    /// [`FilesError::TooMany`], or the disk is full.
    pub(crate) fn file(&mut self, name: String) -> Result<File, FilesError> {
        if self.files.len() == FILES_MAX {
            return Err(FilesError::TooMany(FILES_MAX));
        }
        let staged = numbered("f", self.files.len())?;
        let file = self.staging.tree().create_file(&staged, FileMode::Plain)?;
        self.files.push(Incoming { staged, name });
        Ok(file)
    }

    /// Where everything goes, archives unpacked.
    fn places(&self, paths: &[String]) -> Result<Places, FilesError> {
        if !paths.is_empty() && paths.len() != self.files.len() {
            return Err(FilesError::BadPath(
                "there must be as many `paths` as `files`",
            ));
        }
        let mut places = Places::new();
        for (number, file) in self.files.iter().enumerate() {
            let path = place(paths.get(number).unwrap_or(&file.name))?;
            if ArchiveKind::of_file_name(path.file_name()) == Some(ArchiveKind::Zip) {
                self.unpack(number, &file.staged, path.parent(), &mut places)?;
            } else {
                add(&mut places, path, file.staged.clone())?;
            }
        }
        Ok(places)
    }

    fn unpack(
        &self,
        number: usize,
        archive: &RelPath,
        into: Option<RelPath>,
        places: &mut Places,
    ) -> Result<(), FilesError> {
        let tree = self.staging.tree();
        let name = numbered("z", number)?;
        let folder = tree.create_dir(&name)?;
        let archive = tree.root().open_file(archive)?.file;
        let limits = ArchiveLimits::default();
        let mut go_on = |_| ControlFlow::Continue(());
        unpack(&archive, ArchiveKind::Zip, &folder, &limits, &mut go_on)?;
        let mut walk = Walk::begin(folder.root().try_clone()?, LIMITS)?;
        while let Some(entry) = walk.next() {
            if entry.kind == EntryKind::Directory {
                walk.enter(&entry)?;
                continue;
            }
            let long = |_| FilesError::BadPath("a path in the archive is too long");
            let target = match &into {
                Some(into) => into.join(&entry.path).map_err(long)?,
                None => entry.path.clone(),
            };
            let staged = name.join(&entry.path).map_err(long)?;
            add(places, place(target.as_str())?, staged)?;
        }
        Ok(())
    }
}

/// Looks at every place before anything is changed.
fn check(spot: &Spot, places: &Places) -> Result<(), FilesError> {
    let View { tree, .. } = &spot.view;
    let mut checked = HashSet::new();
    for place in places.keys() {
        let path = spot.path.join(place);
        let path = path.map_err(|_| FilesError::BadPath("it is too long"))?;
        // The unit that a file lies in is told by its folder.
        let folder = path.parent().unwrap_or_else(|| path.clone());
        if checked.insert(folder.clone()) {
            let target = spot.view.spot(&path).map_err(FilesError::of_folder)?;
            target.check_inside_unit()?;
            if target.visibility != Visibility::Public {
                return Err(FilesError::Protected);
            }
            check_folders(tree, &folder)?;
        }
        if tree
            .root()
            .metadata(&path)
            .is_ok_and(|info| info.kind == EntryKind::Directory)
        {
            return Err(FilesError::Exists(format!(
                "{}/{path}",
                spot.view.mount.name
            )));
        }
        // A file cannot be a folder of another too.
        let mut above = place.parent();
        while let Some(folder) = above {
            if places.contains_key(&folder) {
                return Err(FilesError::BadPath("one path is a file and a folder"));
            }
            above = folder.parent();
        }
    }
    Ok(())
}

/// What is on the way to a folder must be folders, as far as there is anything.
fn check_folders(tree: &Tree, folder: &RelPath) -> Result<(), FilesError> {
    let mut at = Some(folder.clone());
    while let Some(folder) = at {
        match tree.root().open_dir(&folder) {
            Ok(_) => return Ok(()),
            Err(OpenError::NotFound) if tree.root().metadata(&folder).is_ok() => {
                return Err(FilesError::NoFolder);
            }
            Err(OpenError::NotFound) => at = folder.parent(),
            Err(error) => return Err(in_the_way(WriteError::from(error))),
        }
    }
    Ok(())
}

fn add(places: &mut Places, place: RelPath, staged: RelPath) -> Result<(), FilesError> {
    if places.len() == FILES_MAX {
        return Err(FilesError::TooMany(FILES_MAX));
    }
    match places.insert(place, staged) {
        None => Ok(()),
        Some(_) => Err(FilesError::BadPath("two files have the same path")),
    }
}

/// Where a client wants a file, below the folder of the upload.
fn place(text: &str) -> Result<RelPath, FilesError> {
    let bad = FilesError::BadPath("a file's path climbs, is empty, or is none at all");
    match text.parse::<RelPath>() {
        Ok(path) if !text.contains(char::is_control) && !path.segments().any(is_own) => Ok(path),
        _ => Err(bad),
    }
}

fn numbered(letter: &str, number: usize) -> Result<RelPath, FilesError> {
    format!("{letter}{number}")
        .parse()
        .map_err(|_| FilesError::BadName)
}
