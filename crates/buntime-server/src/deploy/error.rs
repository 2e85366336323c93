//! Why something was not deployed.

use buntime_core::access::Denied;
use buntime_fs::archive::ArchiveError;
use buntime_fs::{OpenError, WriteError};
use thiserror::Error;

use crate::catalog::PackageError;
use crate::store::StoreError;

/// Why something was not deployed. All is as it was before.
#[derive(Debug, Error)]
pub enum DeployError {
    /// Every worker root belongs to the installation.
    #[error("there is no worker root that may be written")]
    NoRoot,
    /// Every plugin root belongs to the installation, or there is none.
    #[error("there is no plugin root that may be written")]
    NoPluginRoot,
    /// The archive itself is over `PACKED_MAX`.
    #[error("the archive is larger than 100 MB")]
    Packed,
    /// The archive is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was in it is no package.
    #[error(transparent)]
    Package(PackageError),
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its place is taken; the text reads on after `name@version`.
    #[error("it {0}")]
    Collision(&'static str),
    /// A plugin's place, name or base is taken.
    #[error("{0}")]
    PluginCollision(&'static str),
    /// With it the set of plugins could not be loaded.
    #[error("with this plugin the plugins cannot be loaded, so they stay as they were")]
    NotLoaded,
    /// Somebody else changed the folder at the same moment.
    #[error("its folder was changed by somebody else at the same moment")]
    Changed,
    /// There is no release of this number.
    #[error("there is no such release, or it is no longer kept")]
    NoRelease,
    /// The archive of a release that is needed is no longer kept.
    #[error("what the worker was made of then is no longer kept")]
    NotKept,
    /// Others are being received.
    #[error("too many uploads at a time")]
    Busy,
    /// The store of releases failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder could not be written.
    #[error("a folder could not be written")]
    Disk(#[source] WriteError),
    /// The server is stopping, or this is a bug.
    #[error("the deployment was interrupted")]
    Internal,
}

impl From<WriteError> for DeployError {
    fn from(error: WriteError) -> Self {
        Self::Disk(error)
    }
}

impl From<OpenError> for DeployError {
    fn from(error: OpenError) -> Self {
        Self::Disk(error.into())
    }
}
