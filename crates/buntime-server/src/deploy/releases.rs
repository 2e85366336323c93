//! Releases: what there are, going back to one, and forgetting old ones.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use buntime_core::access::{Permission, Permit, Principal};
use buntime_core::{PackageName, Version};
use buntime_fs::archive::ArchiveKind;
use buntime_fs::{EntryKind, Tree};

use super::commit::{Change, Plan};
use super::history::{NoWay, Way};
use super::place::Place;
use super::spool::{name_of, on};
use super::stage::Staged;
use super::step::step;
use super::{DeployError, Deployments, Progress};
use crate::catalog::Package;
use crate::store::{NewRelease, Release};

/// Most archives that are looked at: more than there can be.
const MOST: usize = 1_000_000;

/// A release that is kept, and whether its content serves.
#[derive(Debug)]
pub(crate) struct KeptRelease {
    pub(crate) release: Release,
    /// Whether the version that it brought is installed, with its content.
    pub(crate) live: bool,
}

/// What is put in place by a rollback: version, archive's hash and format.
struct Wanted {
    version: Version,
    sha256: [u8; 32],
    kind: ArchiveKind,
}

impl Deployments {
    /// The releases of a worker that are kept, the newest first.
    pub(crate) async fn releases(
        &self,
        name: &PackageName,
    ) -> Result<Vec<KeptRelease>, DeployError> {
        let history = self.history(name).await?;
        let stand = history.stand();
        let snapshot = self.0.catalog.snapshot();
        let versions = snapshot.versions(name.as_str());
        let is_installed = |version: &Version| {
            versions.is_some_and(|versions| {
                let mut all = versions.enabled().iter().chain(versions.disabled());
                all.any(|deployment| deployment.unit().version == *version)
            })
        };
        let view = |release: &Release| KeptRelease {
            live: stand.get(&release.what.version) == Some(&release.number)
                && is_installed(&release.what.version),
            release: release.clone(),
        };
        Ok(history.releases().iter().map(view).collect())
    }

    /// Has a worker stand as it stood after the release `number`, as a new release: the
    /// versions that it had then get their content of then, those that came later are put
    /// aside. It goes on if nobody waits for it.
    ///
    /// # Errors
    /// There is no such release, or what it needs is no longer kept. All is as before.
    pub(crate) async fn roll_back(
        &self,
        permit: &Permit,
        name: &PackageName,
        number: u64,
        message: Option<Box<str>>,
    ) -> Result<Release, DeployError> {
        permit.covers(Permission::WorkersInstall, name)?;
        let (this, name) = (self.clone(), name.clone());
        let by = Arc::clone(permit.principal());
        let work = async move { this.go_back(&by, name, number, message).await };
        let done = self.0.control.spawn(work).await;
        done.map_err(|_| DeployError::Internal)?
    }

    async fn go_back(
        self,
        by: &Principal,
        name: PackageName,
        number: u64,
        message: Option<Box<str>>,
    ) -> Result<Release, DeployError> {
        let _turn = self.0.turn.lock().await;
        let history = self.history(&name).await?;
        let way = history.back_to(number).map_err(|no_way| match no_way {
            NoWay::Unknown => DeployError::NoRelease,
            NoWay::Pruned => DeployError::NotKept,
        })?;
        let mut again = way.again.clone();
        again.insert(way.to.what.version.clone());
        let back = self.switched_off(&name, again).await?;
        let wanted = wanted(&way)?;
        let release = NewRelease {
            created_at: std::time::SystemTime::now(),
            key: by.id.clone(),
            key_name: by.name.clone(),
            message,
            rollback_of: Some(number),
            beside: way.beside,
            ..way.to.what.clone()
        };
        let (later, after, this) = (way.later, history.newest(), self.clone());
        let plan = on(&self.0.control, move || {
            let changes = wanted
                .iter()
                .map(|wanted| this.restore(&release.name, wanted));
            let changes = changes.collect::<Result<Vec<_>, _>>()?;
            let is_there = |version: &Version| {
                this.0.catalog.look(|installed| {
                    let mut units = installed.units(&release.name);
                    units.any(|unit| unit.version == *version)
                })
            };
            Ok(Plan {
                changes,
                after,
                aside: later.into_iter().filter(is_there).collect(),
                back,
                release,
            })
        });
        let done = match plan.await {
            Ok(plan) => self.carry_out(plan).await,
            Err(error) => Err(error),
        };
        self.tidy_after(&name, false).await;
        done
    }

    /// Unpacks what a release brought, beside the place of its version. Blocks.
    fn restore(&self, name: &PackageName, wanted: &Wanted) -> Result<Change, DeployError> {
        let package = Package {
            name: name.clone(),
            version: wanted.version.clone(),
        };
        let shared = &self.0;
        let place = shared
            .catalog
            .look(|installed| Place::find(&package, installed, &shared.roots))?;
        let archives = Tree::open(&shared.releases)?;
        let archive = archives.root().open_file(&name_of(&wanted.sha256));
        let archive = archive.map_err(|_| DeployError::NotKept)?.file;
        let told = Progress::untold();
        let (staged, found) = Staged::unpack(&place.root, &archive, wanted.kind, &told)?;
        if found != package {
            return Err(DeployError::NotKept);
        }
        staged.settle(&package, &shared.grants)?;
        Ok(Change { staged, place })
    }

    /// Forgets releases that are no longer needed, and archives that no release has.
    /// Whoever deployed is not told if that fails: the next one does it.
    pub(super) async fn tidy_after(&self, name: &PackageName, is_failure: bool) {
        match self.prune(name).await {
            Ok(false) if !is_failure => {}
            Ok(_) => {
                if let Err(error) = self.remove_orphans().await {
                    self.warn_of_leftovers(&error);
                }
            }
            Err(error) => self.warn_of_leftovers(&error),
        }
        step("tidied");
    }

    fn warn_of_leftovers(&self, error: &DeployError) {
        let message = "Old releases could not be removed";
        self.0.log.warn("deploy", message, |fields| {
            fields.error(error);
        });
    }

    /// True if releases were forgotten.
    async fn prune(&self, name: &PackageName) -> Result<bool, DeployError> {
        let gone = self.history(name).await?.to_prune(self.0.kept);
        if gone.is_empty() {
            return Ok(false);
        }
        let name = name.clone();
        let delete = self
            .0
            .store
            .run(move |database| database.delete_releases(&name, &gone));
        delete.await?;
        step("releases pruned");
        Ok(true)
    }

    async fn remove_orphans(&self) -> Result<(), DeployError> {
        let releases = self.0.store.run(|database| database.releases(None)).await?;
        // A row that cannot be read may need any of them.
        if !releases.corrupt.is_empty() {
            return Ok(());
        }
        let used: HashSet<[u8; 32]> = releases.rows.iter().map(|row| row.what.sha256).collect();
        let folder = self.0.releases.clone();
        on(&self.0.control, move || remove_orphans(&folder, &used)).await
    }
}

/// Removes the archives that are not `used`. Blocks.
pub(super) fn remove_orphans(folder: &Path, used: &HashSet<[u8; 32]>) -> Result<(), DeployError> {
    let tree = Tree::open(folder)?;
    let used: HashSet<_> = used.iter().map(name_of).collect();
    for entry in tree.root().read_dir(MOST)? {
        let name = entry.name.as_str();
        let is_archive = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_archive && entry.kind == EntryKind::File && !used.contains(&entry.name) {
            tree.remove_file(&entry.name)?;
        }
    }
    Ok(())
}

fn wanted(way: &Way<'_>) -> Result<Vec<Wanted>, DeployError> {
    let wanted = way.install.iter().map(|(version, release)| {
        let kind = ArchiveKind::of_file_name(&format!("a{}", release.what.kind));
        Ok(Wanted {
            version: version.clone(),
            sha256: release.what.sha256,
            kind: kind.ok_or(DeployError::NotKept)?,
        })
    });
    wanted.collect()
}
