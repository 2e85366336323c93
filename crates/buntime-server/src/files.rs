//! The file browser (contract section 8): what lies in the worker and plugin roots,
//! by paths that people read.
//!
//! A path is `<root>/<unit>/…`. [`FileBrowser::name`] is the one place where text
//! becomes a [`Named`] thing: a root, or a [`Place`] beneath one. A place knows whose
//! it is by its first segment, and as no link is ever followed, whatever is opened
//! beneath that segment belongs to the same namespace; what a manifest says has no
//! part in it. What changes something takes a [`Permitted`] place, which only a grant
//! over that namespace makes.
//!
//! What a unit's manifest says of its `visibility` counts for everybody: `protected`
//! units are read-only here, `internal` ones are not there.
//!
//! All functions block.

mod change;
mod download;
mod list;
mod path;
mod unit;
mod upload;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_core::access::{Denied, Grant, Permit};
use buntime_core::{Namespace, PluginBaseError};
use buntime_fs::archive::ArchiveError;
use buntime_fs::{OpenError, RelPath, WriteError};

pub(crate) use self::download::{Content, Download};
pub(crate) use self::list::Listing;
pub(crate) use self::path::UnitKind;
pub(crate) use self::upload::{FILES_MAX, Upload};
use crate::catalog::CatalogRoot;
use crate::config::{ApiPrefix, WorkerRoot, is_built_in};

/// Most paths of a batch.
const BATCH_MAX: usize = 1_000;

/// The file browsers of a server.
#[derive(Debug)]
pub(crate) struct FileBrowsers {
    pub(crate) workers: FileBrowser,
    pub(crate) plugins: FileBrowser,
}

/// The file browser over the roots of one kind of unit.
#[derive(Debug)]
pub(crate) struct FileBrowser {
    kind: UnitKind,
    mounts: Vec<Arc<Mount>>,
    /// `RUNTIME_API_PREFIX`, whose first segment no plugin may have.
    prefix: ApiPrefix,
}

/// A root, under the name that paths have for it.
#[derive(Debug)]
struct Mount {
    name: String,
    path: PathBuf,
    /// The one unit that counts, and nothing else is shown.
    only: Option<RelPath>,
}

/// What a path names.
#[derive(Debug)]
pub(crate) enum Named {
    /// The list of roots.
    Top,
    /// A root itself.
    Root(Root),
    /// Something beneath one.
    Place(Place),
}

/// A root.
#[derive(Clone, Debug)]
pub(crate) struct Root(Arc<Mount>);

/// Something beneath a root. It need not be there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    mount: Arc<Mount>,
    path: RelPath,
    scope: Option<Namespace>,
}

/// A place whose namespace the caller may change.
#[derive(Debug)]
pub(crate) struct Permitted {
    place: Place,
    _permit: Permit,
}

/// Why the file browser does not do as it is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// The path is malformed, or climbs.
    #[error("this is no path of the file browser: {0}")]
    BadPath(&'static str),
    /// The name cannot be one.
    #[error("this is no name for a file or folder")]
    BadName,
    /// No such folder, or none that is shown.
    #[error("no such folder")]
    NoFolder,
    /// No such file or folder, or none that is shown.
    #[error("no such file or folder")]
    NoFile,
    /// Something has this name already.
    #[error("\"{0}\" exists already")]
    Exists(String),
    /// Not inside the folder of a unit.
    #[error("{}", .0.where_to_write())]
    Target(UnitKind),
    /// A root is not changed.
    #[error("a root cannot be changed")]
    IsRoot,
    /// `visibility: protected`.
    #[error("this unit is protected: the file browser does not change it")]
    Protected,
    /// A folder would be moved into itself.
    #[error("a folder cannot be moved into itself")]
    IntoItself,
    /// A plugin's manifest with which no server starts.
    #[error("manifest.yaml: base: {0}")]
    Base(#[source] PluginBaseError),
    /// The two ends of a move lie on different file systems.
    #[error("the two ends lie on different file systems")]
    OtherFileSystem,
    /// More than is taken at a time.
    #[error("there are more than {0} entries")]
    TooMany(usize),
    /// Not with this key.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A dropped archive is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk, or the quota, is full.
    #[error("there is no space left on the disk")]
    Full,
    /// The system refused.
    #[error("the disk or the system failed")]
    System(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl FileBrowsers {
    /// Over the roots of workers and of plugins.
    pub(crate) fn new(workers: &[WorkerRoot], plugins: &[PathBuf], prefix: &ApiPrefix) -> Self {
        Self {
            workers: FileBrowser::new(UnitKind::Worker, workers, prefix),
            plugins: FileBrowser::new(UnitKind::Plugin, plugins, prefix),
        }
    }
}

impl FileBrowser {
    /// Over these roots, without the built-in ones.
    fn new<R>(kind: UnitKind, roots: impl IntoIterator<Item = R>, prefix: &ApiPrefix) -> Self
    where
        R: Into<CatalogRoot>,
    {
        let mut mounts: Vec<Arc<Mount>> = Vec::new();
        for root in roots {
            let CatalogRoot { path, only } = root.into();
            let path = std::path::absolute(&path).unwrap_or(path);
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| !is_built_in(&path)) else {
                continue;
            };
            let is_free = |name: &str| mounts.iter().all(|mount| mount.name != name);
            let numbered = (2..).map(|number| format!("{name}-{number}"));
            let name = std::iter::once(name.to_owned())
                .chain(numbered)
                .find(|name| is_free(name));
            let only = only.map(|only| RelPath::try_from(only.to_str().unwrap_or_default()));
            match (name, only.transpose()) {
                (Some(name), Ok(only)) => mounts.push(Arc::new(Mount { name, path, only })),
                // What cannot be named is not shown.
                _ => continue,
            }
        }
        Self {
            kind,
            mounts,
            prefix: prefix.clone(),
        }
    }

    /// What a path names. Nothing is opened.
    ///
    /// # Errors
    /// [`FilesError::BadPath`]; [`FilesError::NoFolder`] where there is no such root or
    /// where the path leads into what is never shown.
    pub(crate) fn name(&self, text: &str) -> Result<Named, FilesError> {
        let Some((mount, path)) = path::split(text)? else {
            return Ok(Named::Top);
        };
        let found = self.mounts.iter().find(|known| known.name == mount);
        let mount = Arc::clone(found.ok_or(FilesError::NoFolder)?);
        let Some(path) = path else {
            return Ok(Named::Root(Root(mount)));
        };
        if path.segments().any(path::is_hidden) || !mount.holds(&path) {
            return Err(FilesError::NoFolder);
        }
        let scope = path::scope(&path);
        Ok(Named::Place(Place { mount, path, scope }))
    }

    /// What the path of a folder beneath a root is, as [`FileBrowser::name`] reads it.
    /// What lies in a built-in root, which is not shown, is named in the same way.
    pub(crate) fn path_of(&self, root: &Path, folder: &Path) -> String {
        let path = std::path::absolute(root);
        let mount = self
            .mounts
            .iter()
            .find(|mount| path.as_ref().is_ok_and(|path| mount.path == *path));
        let name = match mount {
            Some(mount) => mount.name.as_str().into(),
            None => root.file_name().unwrap_or_default().to_string_lossy(),
        };
        let below = folder.strip_prefix(root).unwrap_or(folder);
        format!("{name}/{}", below.display())
    }

    /// A place to be changed.
    ///
    /// # Errors
    /// As [`FileBrowser::name`]; [`FilesError::IsRoot`]; [`FilesError::Denied`].
    pub(crate) fn permit(&self, grant: &Grant, text: &str) -> Result<Permitted, FilesError> {
        match self.name(text)? {
            Named::Top | Named::Root(_) => Err(FilesError::IsRoot),
            Named::Place(place) => Permitted::new(place, grant),
        }
    }

    /// The places of a batch: all or none.
    ///
    /// # Errors
    /// As [`FileBrowser::permit`], or there are too many.
    pub(crate) fn permit_all(
        &self,
        grant: &Grant,
        texts: &[String],
    ) -> Result<Vec<Permitted>, FilesError> {
        check_batch(texts.len())?;
        texts.iter().map(|text| self.permit(grant, text)).collect()
    }
}

/// Whether so many paths are taken at a time.
///
/// # Errors
/// There are none, or too many.
pub(crate) fn check_batch(paths: usize) -> Result<(), FilesError> {
    match paths {
        0 => Err(FilesError::BadPath("a batch names at least one path")),
        1..=BATCH_MAX => Ok(()),
        _ => Err(FilesError::TooMany(BATCH_MAX)),
    }
}

impl Mount {
    /// Whether anything of this path is shown, as far as the root says.
    fn holds(&self, path: &RelPath) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| path.segments().zip(only.segments()).all(|(a, b)| a == b))
    }
}

impl Place {
    /// Whose it is; none for what lies in no namespace.
    pub(crate) fn scope(&self) -> Option<&Namespace> {
        self.scope.as_ref()
    }
}

impl Permitted {
    fn new(place: Place, grant: &Grant) -> Result<Self, FilesError> {
        let permit = grant.over(place.scope())?;
        Ok(Self {
            place,
            _permit: permit,
        })
    }
}

impl From<OpenError> for FilesError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound | OpenError::Link | OpenError::WrongKind { .. } => Self::NoFile,
            OpenError::TooManyEntries { limit } => Self::TooMany(limit),
            error => Self::System(error.into()),
        }
    }
}

impl From<WriteError> for FilesError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotFound
            | WriteError::Link
            | WriteError::NotADirectory
            | WriteError::IsADirectory => Self::NoFile,
            WriteError::Exists => Self::Exists("this".to_owned()),
            WriteError::IntoItself => Self::IntoItself,
            WriteError::Full => Self::Full,
            WriteError::Name => Self::BadName,
            WriteError::OtherFileSystem => Self::OtherFileSystem,
            WriteError::TooManyEntries { limit } => Self::TooMany(limit),
            WriteError::Busy
            | WriteError::ReadOnly
            | WriteError::Denied
            | WriteError::Unsupported
            | WriteError::Io(_) => Self::System(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
