//! What a folder holds.

use std::sync::Arc;
use std::time::Duration;

use buntime_core::access::Grant;
use buntime_fs::{EntryKind, OpenError, RelPath, Walk, WalkLimits};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::Level;
use super::unit::{Validation, shown};
use super::view::{Spot, View};
use super::{FileBrowser, FilesError, Mount, Named};
use crate::logging::Timestamp;

/// Most entries of one folder.
const ENTRIES_MAX: usize = 10_000;
/// Most entries looked at to tell the sizes of the folders of one list.
const MEASURED_MAX: usize = 50_000;
/// Deepest folder that is measured.
const DEPTH_MAX: usize = 64;

/// A folder and what is in it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FileListing")]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    path: String,
    current_visibility: &'static str,
}

/// Something in a folder.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FileEntry")]
struct Entry {
    name: String,
    path: String,
    is_directory: bool,
    /// A symbolic link: it can be removed, and is never followed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_link: bool,
    /// In bytes; of a folder all that is in it and shown, as far as it was measured.
    size: u64,
    /// Files in a folder; left out where there are too many to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    updated_at: String,
    /// Of the folder of a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_validation: Option<Validation>,
}

/// What lies in a folder, as far as somebody is shown it.
#[derive(Default)]
struct Measured {
    bytes: u64,
    files: u64,
    newest_ns: i128,
    is_whole: bool,
}

impl FileBrowser {
    /// What the caller may see of a folder.
    ///
    /// # Errors
    /// [`FilesError::NoFolder`], [`FilesError::Denied`].
    pub(crate) fn list(&self, grant: &Grant, text: &str) -> Result<Listing, FilesError> {
        let mut budget = MEASURED_MAX;
        match self.name(text)? {
            Named::Top => Ok(Listing {
                entries: self.mounts(grant, &mut budget),
                path: String::new(),
                current_visibility: "public",
            }),
            Named::Root(root) => {
                let view = self.view(&root.0)?;
                Ok(Listing {
                    entries: view.entries(None, grant, &mut budget)?,
                    path: root.0.name.clone(),
                    current_visibility: "public",
                })
            }
            Named::Place(place) => {
                grant.over(place.scope())?;
                let spot = self.spot(&place).map_err(FilesError::of_folder)?;
                let entries = spot.view.entries(Some(&spot.path), grant, &mut budget)?;
                Ok(Listing {
                    entries,
                    path: spot.shown(),
                    current_visibility: shown(spot.visibility),
                })
            }
        }
    }

    fn mounts(&self, grant: &Grant, budget: &mut usize) -> Vec<Entry> {
        let entry = |mount: &Arc<Mount>| {
            // A root that is not there at present is shown all the same.
            let measured = match self.view(mount) {
                Ok(view) => view.measure(None, grant, budget),
                Err(_) => Measured::default(),
            };
            Entry::folder(mount.name.clone(), mount.name.clone(), &measured)
        };
        self.mounts.iter().map(entry).collect()
    }
}

impl FilesError {
    /// The same, where it was a folder that was asked for.
    pub(super) fn of_folder(self) -> Self {
        match self {
            Self::NoFile => Self::NoFolder,
            error => error,
        }
    }
}

impl View {
    /// The entries of a folder, of the root itself if no path is given.
    fn entries(
        &self,
        folder: Option<&RelPath>,
        grant: &Grant,
        budget: &mut usize,
    ) -> Result<Vec<Entry>, FilesError> {
        let listed = match folder {
            None => self.tree.root().read_dir(ENTRIES_MAX),
            Some(folder) => self
                .tree
                .root()
                .open_dir(folder)
                .and_then(|folder| folder.read_dir(ENTRIES_MAX)),
        };
        let mut listed = listed.map_err(|error| FilesError::from(error).of_folder())?;
        listed.sort_by(|a, b| {
            let is_file = |kind| kind != EntryKind::Directory;
            (is_file(a.kind), &a.name).cmp(&(is_file(b.kind), &b.name))
        });
        let mut entries = Vec::new();
        for entry in listed {
            let path = match folder {
                None => Ok(entry.name),
                Some(folder) => folder.join(&entry.name),
            };
            let Ok(path) = path else { continue };
            if self.shows(grant, &path, entry.kind) {
                entries.extend(self.entry(&path, entry.kind, grant, budget));
            }
        }
        Ok(entries)
    }

    /// One entry; `None` if it has gone meanwhile.
    fn entry(
        &self,
        path: &RelPath,
        kind: EntryKind,
        grant: &Grant,
        budget: &mut usize,
    ) -> Option<Entry> {
        let name = path.file_name().to_owned();
        let shown_path = format!("{}/{path}", self.mount.name);
        if kind == EntryKind::Directory {
            let measured = self.measure(Some(path), grant, budget);
            let mut entry = Entry::folder(name, shown_path, &measured);
            if self.classify(path).0 == Level::Unit
                && let Ok(facts) = self.facts(path)
            {
                entry.visibility = Some(shown(facts.visibility));
                entry.config_validation = facts.validation;
            }
            return Some(entry);
        }
        let info = match self.tree.root().metadata(path) {
            Ok(info) => Some(info),
            Err(OpenError::NotFound) => return None,
            // It is there, whatever is wrong with it.
            Err(_) => None,
        };
        Some(Entry {
            name,
            path: shown_path,
            is_directory: false,
            is_link: kind == EntryKind::Link,
            size: info.map_or(0, |info| info.size),
            files: None,
            updated_at: instant(info.map_or(0, |info| info.modified_ns)),
            visibility: None,
            config_validation: None,
        })
    }

    /// Adds up what lies in a folder and is shown. Nothing else counts, so that no
    /// number tells of what others have.
    fn measure(&self, folder: Option<&RelPath>, grant: &Grant, budget: &mut usize) -> Measured {
        let mut measured = Measured::default();
        let root = match folder {
            None => self.tree.root().try_clone(),
            Some(folder) => self.tree.root().open_dir(folder),
        };
        let limits = WalkLimits {
            entries: *budget,
            depth: DEPTH_MAX,
        };
        let Ok(root) = root else { return measured };
        if folder.is_some() {
            measured.newest_ns = root.info().modified_ns;
        }
        let Ok(mut walk) = Walk::begin(root, limits) else {
            return measured;
        };
        measured.is_whole = true;
        while let Some(entry) = walk.next() {
            *budget = budget.saturating_sub(1);
            let path = match folder {
                None => Ok(entry.path.clone()),
                Some(folder) => folder.join(&entry.path),
            };
            let Ok(path) = path else { continue };
            if !self.shows(grant, &path, entry.kind) {
                continue;
            }
            let info = walk
                .folder()
                .and_then(|folder| folder.metadata(&entry.path.split_last().1).ok());
            measured.newest_ns = info
                .map_or(0, |info| info.modified_ns)
                .max(measured.newest_ns);
            match entry.kind {
                EntryKind::Directory => match walk.enter(&entry) {
                    Ok(_) => {}
                    Err(_) => {
                        measured.is_whole = false;
                        break;
                    }
                },
                EntryKind::File => {
                    measured.files += 1;
                    measured.bytes += info.map_or(0, |info| info.size);
                }
                EntryKind::Link | EntryKind::Other => {}
            }
        }
        measured
    }
}

impl Entry {
    fn folder(name: String, path: String, measured: &Measured) -> Self {
        Self {
            name,
            path,
            is_directory: true,
            is_link: false,
            size: measured.bytes,
            files: measured.is_whole.then_some(measured.files),
            updated_at: instant(measured.newest_ns),
            visibility: None,
            config_validation: None,
        }
    }
}

impl Spot {
    /// Whether there is a folder here.
    pub(super) fn is_folder(&self) -> bool {
        self.kind().is_ok_and(|kind| kind == EntryKind::Directory)
    }
}

fn instant(since_1970_ns: i128) -> String {
    let since = u64::try_from(since_1970_ns.max(0)).unwrap_or(0);
    Timestamp::after_epoch(Duration::from_nanos(since))
        .full()
        .to_string()
}
