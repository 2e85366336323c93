//! Unpacking into a folder beside the target.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use buntime_core::Grants;
use buntime_fs::archive::{self, ArchiveKind, ArchiveLimits};
use buntime_fs::{OpenError, RelPath, Root, Staging, Tree};

use super::step::step;
use super::{DeployError, Progress, Stage};
use crate::catalog::{Package, PackageError};

/// What is unpacked in its folder among the staged ones.
pub(super) const UNPACKED: RelPath = RelPath::literal("unit");

/// A unit that was unpacked into a worker root and checked, and can be put in its place
/// by renaming it. Dropped, it is removed, which blocks.
#[derive(Debug)]
pub(super) struct Staged {
    /// The worker root.
    pub(super) root: Arc<Path>,
    /// The root's number as it stays wherever it is moved.
    pub(super) inode: u64,
    staging: Staging,
}

impl Staged {
    /// Unpacks an archive into `root` and reads what it says of itself. Blocks.
    ///
    /// # Errors
    /// The archive is refused, it is no package, or the disk is full. Nothing is left.
    pub(super) fn unpack(
        root: &Arc<Path>,
        file: &File,
        kind: ArchiveKind,
        progress: &Progress,
    ) -> Result<(Self, Package), DeployError> {
        let staged = Self::bare(root, file, kind, progress)?;
        let package = Package::read(&staged.unit()?)?;
        Ok((staged, package))
    }

    /// Unpacks an archive into `root`. Blocks.
    ///
    /// # Errors
    /// The archive is refused, or the disk is full. Nothing is left.
    pub(super) fn bare(
        root: &Arc<Path>,
        file: &File,
        kind: ArchiveKind,
        progress: &Progress,
    ) -> Result<Self, DeployError> {
        let staging = Staging::new(&Tree::open(root)?)?;
        step("staging begun");
        let inode = fill(&staging, file, kind, progress)?;
        Ok(Self {
            root: Arc::clone(root),
            inode,
            staging,
        })
    }

    /// What was unpacked.
    pub(super) fn unit(&self) -> Result<Root, OpenError> {
        self.tree().root().open_dir(&UNPACKED)
    }

    /// Looks whether what was unpacked could serve, and waits until it is on the disk.
    /// Blocks.
    pub(super) fn settle(&self, package: &Package, grants: &Grants) -> Result<(), DeployError> {
        let tree = self.tree();
        package.check(&self.unit()?, grants)?;
        step("package checked");
        tree.sync_all()?;
        step("package synced");
        Ok(())
    }

    /// The folder that holds [`UNPACKED`].
    pub(super) fn tree(&self) -> &Tree {
        self.staging.tree()
    }
}

/// Unpacks and tells the number of the folder.
fn fill(
    staging: &Staging,
    file: &File,
    kind: ArchiveKind,
    progress: &Progress,
) -> Result<u64, DeployError> {
    let into = staging.tree().create_dir(&UNPACKED)?;
    let mut told = |at: archive::Progress| {
        step("entry unpacked");
        progress.tell(Stage::Unpacking(at));
        match progress.is_given_up() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    archive::unpack(file, kind, &into, &ArchiveLimits::default(), &mut told)?;
    Ok(into.root().info().inode)
}

impl From<PackageError> for DeployError {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}
