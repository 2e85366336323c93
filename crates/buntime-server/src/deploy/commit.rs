//! The deployment itself: places, decision, exchange, publication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::access::Principal;
use buntime_core::{PackageName, Version};
use buntime_fs::{Tree, WriteError};

use super::history::History;
use super::intent::{Intent, Swap};
use super::place::{Place, PlaceState};
use super::spool::{Spooled, on};
use super::stage::{Staged, UNPACKED};
use super::step::step;
use super::{DeployError, Deployments, Fresh, Progress, Stage, new_release};
use crate::catalog::{Package, unit_id};
use crate::store::{NewRelease, Release, UnitState};

/// How long a folder that was replaced stays: requests that found it before it was
/// replaced may still read from it.
const GRACE: Duration = Duration::from_secs(10);

/// A folder that is to take its place.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) staged: Staged,
    pub(super) place: Place,
}

/// All that one deployment changes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) release: NewRelease,
    /// The newest release before.
    pub(super) after: u64,
    pub(super) changes: Vec<Change>,
    /// Versions that do not serve any more.
    pub(super) aside: Vec<Version>,
    /// Versions whose being put aside ends.
    pub(super) back: Vec<Version>,
}

impl Deployments {
    /// The rest of [`Deployments::install`].
    pub(super) async fn deploy(
        self,
        by: &Principal,
        fresh: Fresh,
        message: Option<Box<str>>,
        progress: &Progress,
    ) -> Result<Release, DeployError> {
        progress.tell(Stage::Checking);
        let fresh = self.settle(fresh).await?;
        progress.tell(Stage::Installing);
        let shared = Arc::clone(&self.0);
        let _turn = shared.turn.lock().await;
        let name = fresh.package.name.clone();
        let version = &fresh.package.version;
        let history = self.history(&name).await?;
        let back = match history.has_put_aside(version) {
            true => self.switched_off(&name, [version.clone()].into()).await?,
            false => Vec::new(),
        };
        let release = new_release(&fresh.package, &history, by, message, &fresh.spooled);
        let after = history.newest();
        let this = self.clone();
        let plan = on(&self.0.control, move || {
            let Fresh {
                spooled,
                staged,
                package,
            } = fresh;
            let change = this.place(staged, &package, &spooled)?;
            spooled.keep(&Tree::open(&this.0.releases)?)?;
            Ok(Plan {
                release,
                after,
                changes: vec![change],
                aside: Vec::new(),
                back,
            })
        });
        let done = match plan.await {
            Ok(plan) => self.carry_out(plan).await,
            Err(error) => Err(error),
        };
        self.tidy_after(&name, done.is_err()).await;
        done
    }

    /// Checks what was unpacked and waits until it is on the disk.
    async fn settle(&self, fresh: Fresh) -> Result<Fresh, DeployError> {
        let grants = Arc::clone(&self.0.grants);
        on(&self.0.control, move || {
            fresh.staged.settle(&fresh.package, &grants)?;
            Ok(fresh)
        })
        .await
    }

    /// Finds the place, and unpacks once more if that is in another root than the one
    /// that was thought of first. Blocks.
    fn place(
        &self,
        staged: Staged,
        package: &Package,
        spooled: &Spooled,
    ) -> Result<Change, DeployError> {
        let shared = &self.0;
        let place = shared
            .catalog
            .look(|installed| Place::find(package, installed, &shared.roots))?;
        if place.root == staged.root {
            return Ok(Change { staged, place });
        }
        drop(staged);
        let told = Progress::untold();
        let (staged, package) = Staged::unpack(&place.root, &spooled.file, spooled.kind, &told)?;
        staged.settle(&package, &shared.grants)?;
        Ok(Change { staged, place })
    }

    /// Does what is planned, or nothing of it. The caller has the turn.
    pub(super) async fn carry_out(&self, plan: Plan) -> Result<Release, DeployError> {
        let this = self.clone();
        let plan = on(&self.0.control, move || {
            this.prepare(&plan)?;
            Ok(plan)
        })
        .await?;
        step("intent written");
        let new = plan.release.clone();
        let insert = self
            .0
            .store
            .run(move |database| database.insert_release(&new));
        let release = match insert.await {
            Ok(release) => release,
            Err(error) => {
                self.forget_intent().await;
                return Err(error.into());
            }
        };
        step("release decided");
        let (name, number) = (release.what.name.clone(), release.number);
        let (aside, back) = (plan.aside.clone(), plan.back.clone());
        let this = self.clone();
        let swapped = on(&self.0.control, move || this.publish(plan)).await;
        let replaced = match swapped {
            Ok(replaced) => replaced,
            Err(error) => {
                self.take_back(name, number).await;
                return Err(error);
            }
        };
        step("published");
        match self.note_words(&name, aside, back).await {
            Ok(()) => {
                step("states noted");
                self.forget_intent().await;
                step("intent forgotten");
            }
            // It stands in the intent, and the next start notes it.
            Err(error) => self.0.log.error(
                "deploy",
                "Which versions serve could not be noted",
                |fields| {
                    fields.error(&error);
                },
            ),
        }
        self.remove_later(replaced);
        Ok(release)
    }

    /// The release of a deployment that did not come about is forgotten.
    async fn take_back(&self, name: PackageName, number: u64) {
        let delete = self
            .0
            .store
            .run(move |database| database.delete_releases(&name, &[number]));
        match delete.await {
            Ok(()) => self.forget_intent().await,
            // The intent stays: the next start finds nothing to put in place, and
            // forgets the release.
            Err(error) => self
                .0
                .log
                .error("deploy", "A release that failed is kept", |fields| {
                    fields.error(&error);
                }),
        }
    }

    /// Writes down what is about to be done. Blocks.
    fn prepare(&self, plan: &Plan) -> Result<(), DeployError> {
        for change in &plan.changes {
            change.place.make_way()?;
        }
        step("way made");
        let swaps = plan.changes.iter().map(|change| Swap {
            root: change.place.root.to_path_buf(),
            folder: change.place.folder.clone(),
            inode: change.staged.inode,
        });
        let intent = Intent {
            name: plan.release.name.clone(),
            after: plan.after,
            swaps: swaps.collect(),
            aside: plan.aside.clone(),
            back: plan.back.clone(),
        };
        Ok(intent.write(&Tree::open(&self.0.releases)?)?)
    }

    /// Exchanges the folders and publishes: one step for whoever sends requests. Gives
    /// what was replaced. Blocks.
    fn publish(&self, plan: Plan) -> Result<Vec<Staged>, DeployError> {
        let name = &plan.release.name;
        let off = plan
            .aside
            .iter()
            .map(|version| (unit_id(name, version), Some(false)));
        let back = plan
            .back
            .iter()
            .map(|version| (unit_id(name, version), None));
        let words: Vec<_> = off.chain(back).collect();
        self.0
            .catalog
            .change_with(&words, || swap_all(&plan.changes))?;
        let replaced = plan
            .changes
            .into_iter()
            .filter(|change| change.place.state == PlaceState::Taken);
        Ok(replaced.map(|change| change.staged).collect())
    }

    /// Keeps the operator's word as the deployment changed it.
    async fn note_words(
        &self,
        name: &PackageName,
        aside: Vec<Version>,
        back: Vec<Version>,
    ) -> Result<(), DeployError> {
        if aside.is_empty() && back.is_empty() {
            return Ok(());
        }
        let name = name.clone();
        let note = self
            .0
            .store
            .run(move |database| note(database, &name, &aside, &back));
        Ok(note.await?)
    }

    /// Of these versions, those that somebody has switched off.
    pub(super) async fn switched_off(
        &self,
        name: &PackageName,
        versions: BTreeSet<Version>,
    ) -> Result<Vec<Version>, DeployError> {
        let states = self.0.store.run(|database| database.unit_states()).await?;
        let off = states
            .rows
            .into_iter()
            .filter(|state| state.name == *name && !state.enabled);
        let off = off.filter_map(|state| state.version);
        Ok(off.filter(|version| versions.contains(version)).collect())
    }

    pub(super) async fn history(&self, name: &PackageName) -> Result<History, DeployError> {
        let name = name.clone();
        let releases = self
            .0
            .store
            .run(move |database| database.releases(Some(&name)));
        Ok(History::new(releases.await?.rows))
    }

    async fn forget_intent(&self) {
        let releases = self.0.releases.clone();
        let forgotten = on(&self.0.control, move || {
            Ok(Intent::forget(&Tree::open(&releases)?)?)
        });
        // The next start would do what is done already, or nothing.
        if let Err(error) = forgotten.await {
            self.0
                .log
                .warn("deploy", "An intent could not be removed", |fields| {
                    fields.error(&error);
                });
        }
    }

    /// The folders that were replaced go when nobody reads from them any more.
    pub(super) fn remove_later(&self, replaced: Vec<Staged>) {
        let control = self.0.control.clone();
        self.0.control.spawn(async move {
            tokio::time::sleep(GRACE).await;
            let _ = on(&control, move || {
                drop(replaced);
                Ok(())
            })
            .await;
        });
    }
}

/// Keeps the operator's word as a deployment changed it. Can be done again.
pub(super) fn note(
    database: &mut dyn crate::store::Database,
    name: &PackageName,
    aside: &[Version],
    back: &[Version],
) -> Result<(), crate::store::StoreError> {
    for version in aside {
        database.set_unit_state(&UnitState {
            name: name.clone(),
            version: Some(version.clone()),
            enabled: false,
        })?;
    }
    for version in back {
        database.forget_unit_states(name, Some(version))?;
    }
    Ok(())
}

/// Exchanges all folders, or none.
fn swap_all(changes: &[Change]) -> Result<(), DeployError> {
    for (at, change) in changes.iter().enumerate() {
        if let Err(error) = swap(change).and_then(|()| Ok(change.place.sync()?)) {
            for done in changes.iter().take(at + 1).rev() {
                // The first error is what counts; a folder that does not come back is
                // brought forward by the next start, for the intent stands.
                let _ = swap_back(done);
            }
            return Err(error);
        }
        step("swapped");
    }
    Ok(())
}

fn swap(change: &Change) -> Result<(), DeployError> {
    let Change { staged, place } = change;
    let root = Tree::open(&place.root)?;
    let swapped = match place.state {
        PlaceState::Free => staged.tree().rename(&UNPACKED, &root, &place.folder),
        PlaceState::Taken => exchange(staged.tree(), &root, place),
    };
    swapped.map_err(|error| match error {
        WriteError::Exists | WriteError::NotFound => DeployError::Changed,
        error => error.into(),
    })
}

fn exchange(staged: &Tree, root: &Tree, place: &Place) -> Result<(), WriteError> {
    match staged.exchange(&UNPACKED, root, &place.folder) {
        Err(WriteError::Unsupported) => {
            // Without the exchange there is a moment without the folder. The old one
            // stands aside in the staging folder, the new one takes its place.
            root.rename(&place.folder, staged, &OLD)?;
            staged.rename(&UNPACKED, root, &place.folder)
        }
        exchanged => exchanged,
    }
}

/// What was replaced, where the file system cannot exchange.
const OLD: buntime_fs::RelPath = buntime_fs::RelPath::literal("old");

/// Whether the staged folder is in its place.
pub(super) fn is_in_place(root: &Tree, folder: &buntime_fs::RelPath, inode: u64) -> bool {
    let found = root.root().metadata(folder);
    found.is_ok_and(|info| info.inode == inode)
}

fn swap_back(change: &Change) -> Result<(), DeployError> {
    let Change { staged, place } = change;
    let root = Tree::open(&place.root)?;
    if !is_in_place(&root, &place.folder, staged.inode) {
        return Ok(());
    }
    match place.state {
        PlaceState::Free => root.rename(&place.folder, staged.tree(), &UNPACKED)?,
        PlaceState::Taken => match staged.tree().exchange(&UNPACKED, &root, &place.folder) {
            Err(WriteError::Unsupported | WriteError::NotFound) => {
                root.rename(&place.folder, staged.tree(), &UNPACKED)?;
                staged.tree().rename(&OLD, &root, &place.folder)?;
            }
            exchanged => exchanged?,
        },
    }
    Ok(change.place.sync()?)
}
