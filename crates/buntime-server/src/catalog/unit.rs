//! One installed version of a worker, as found on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_core::{Granted, Manifest, NotGranted, PackageName, Version};
use buntime_fs::RelPath;

use crate::config::is_built_in;
use crate::html::PageSettings;

/// A version of a worker in a folder.
#[derive(Clone, Debug)]
pub struct Unit {
    /// `name@version`.
    pub id: Arc<str>,
    /// From the folder, whatever the manifest says.
    pub name: PackageName,
    /// From the folder, whatever the manifest says.
    pub version: Version,
    /// The worker root it was found in, absolute.
    pub root: Arc<Path>,
    /// Its own folder, absolute. It was no symbolic link when it was found.
    pub dir: PathBuf,
    /// Who put it there.
    pub source: Source,
    /// What can be done with it.
    pub state: State,
}

/// Where a unit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its root's own name starts with a dot: it belongs to the installation
    /// and is read-only.
    BuiltIn,
    /// Deployed, or placed by hand.
    Uploaded,
}

impl Source {
    /// As the API says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Uploaded => "uploaded",
        }
    }

    /// Of what lies in this root.
    #[must_use]
    pub fn of_root(root: &Path) -> Self {
        if is_built_in(root) {
            Self::BuiltIn
        } else {
            Self::Uploaded
        }
    }
}

/// What can be done with a unit.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It serves requests.
    Ready(Ready),
    /// Its manifest says `enabled: false`: as if it were not there.
    Disabled,
    /// It takes part in routing and answers with an error.
    Broken(Broken),
}

/// What is needed to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// The manifest, all defaults filled in.
    pub manifest: Arc<Manifest>,
    /// What it may do: the sandbox, the way out and the limits follow this, not the manifest.
    pub granted: Arc<Granted>,
    /// What answers.
    pub entry: Entry,
    /// `env` and `.env`, filtered.
    pub env: BTreeMap<String, String>,
    /// Names that the filter took out, for the warning at a worker's start.
    pub blocked_env: Vec<String>,
    /// What goes into its pages, if anything does.
    pub pages: Option<PageSettings>,
}

/// What answers the requests of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A page: the server sends files, no code runs. The site is the folder
    /// of the page.
    Static(RelPath),
    /// A module that Bun runs.
    Script(RelPath),
}

impl Entry {
    /// The file, below the unit's folder.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Static(path) | Self::Script(path) => path,
        }
    }
}

/// Why a unit does not serve.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// Manifest, package.json or `.env` cannot be used; the text says where and
    /// why, one problem a line. (`INVALID_MANIFEST`)
    Manifest(Arc<str>),
    /// The entrypoint lies outside of the folder. (`WORKER_START_FAILED`)
    EntrypointEscapes,
    /// No usable entrypoint; the text says which was looked for.
    /// (`WORKER_START_FAILED`)
    Entrypoint(Arc<str>),
    /// It asks for what the operator has not granted. (`PERMISSION_NOT_GRANTED`)
    NotGranted(Arc<[NotGranted]>),
}

impl Broken {
    /// The code of the API for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "INVALID_MANIFEST",
            Self::EntrypointEscapes | Self::Entrypoint(_) => "WORKER_START_FAILED",
            Self::NotGranted(_) => "PERMISSION_NOT_GRANTED",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(text) | Self::Entrypoint(text) => formatter.write_str(text),
            Self::EntrypointEscapes => {
                formatter.write_str("Security: Entrypoint escapes app directory")
            }
            Self::NotGranted(all) => write!(
                formatter,
                "disabled: it asks for what it is not granted: {}; grant it in RUNTIME_GRANTS, or ask for less",
                NotGranted::list(all)
            ),
        }
    }
}

impl Unit {
    /// What is needed to serve, if it can.
    #[must_use]
    pub fn ready(&self) -> Option<&Ready> {
        match &self.state {
            State::Ready(ready) => Some(ready),
            State::Disabled | State::Broken(_) => None,
        }
    }

    /// Absolute path of the entrypoint, if there is one.
    #[must_use]
    pub fn entrypoint(&self) -> Option<PathBuf> {
        self.ready()
            .map(|ready| self.dir.join(ready.entry.path().as_path()))
    }
}

/// A unit as it is served, with what the server keeps for it.
///
/// A deployment never changes. When the files of its unit do, another takes
/// its place and this one is retired.
#[derive(Debug)]
pub struct Deployment<T> {
    unit: Unit,
    revision: u64,
    slot: T,
}

impl<T> Deployment<T> {
    pub(super) fn new(unit: Unit, revision: u64, slot: T) -> Self {
        Self {
            unit,
            revision,
            slot,
        }
    }

    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// What [`CatalogEvents::deploy`](super::CatalogEvents::deploy) made for it.
    #[must_use]
    pub fn slot(&self) -> &T {
        &self.slot
    }

    /// Grows with every change of any unit's files; equal means the same files.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
