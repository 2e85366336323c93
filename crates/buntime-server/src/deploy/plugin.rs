//! Plugins: unpacked and put in place as workers are, without releases.
//!
//! The exchange of the folders is the decision, so no intent is needed: whenever the
//! server dies, the old folder is there or the new one, and the next start reads that.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::Grants;
use buntime_core::access::Permit;
use buntime_fs::{RelPath, Tree, WriteError};

use super::place::{Place, PlaceState, below, look};
use super::spool::{OffThread, Spool, Spooled, on};
use super::stage::{Staged, UNPACKED};
use super::step::step;
use super::{DeployError, Deployments, Progress, Stage};
use crate::catalog::Source;
use crate::plugins::{
    InstalledPlugins, NotInstalled, NotReloaded, PluginPackage, Plugins, tell_of,
};

/// A plugin that was unpacked. Nothing was looked at yet but what is in it.
#[derive(Debug)]
pub(crate) struct UnpackedPlugin(OffThread<Fresh>);

#[derive(Debug)]
struct Fresh {
    spooled: Spooled,
    staged: Staged,
    package: PluginPackage,
}

/// A plugin's folder that has taken its place.
struct Placed {
    staged: Staged,
    place: Place,
}

impl UnpackedPlugin {
    /// What it says of itself; `None` once it was installed.
    pub(crate) fn package(&self) -> Option<&PluginPackage> {
        self.0.get().map(|fresh| &fresh.package)
    }

    /// Removes it, before the caller is answered.
    pub(crate) async fn discard(self) {
        self.0.end().await;
    }
}

impl Deployments {
    /// Unpacks an archive beside where the plugin will probably go.
    ///
    /// # Errors
    /// It is refused. Nothing is left of it.
    pub(crate) async fn unpack_plugin(
        &self,
        spool: Spool,
        plugins: &InstalledPlugins,
        progress: &Progress,
    ) -> Result<UnpackedPlugin, DeployError> {
        let spooled = spool.finish().await?;
        let root = self.0.plugin_roots.first();
        let root = Arc::clone(root.ok_or(DeployError::NoPluginRoot)?);
        let place = self.turn_to_unpack().await?;
        let prefix = plugins.prefix().clone();
        let (progress, _guard) = progress.guarded();
        let fresh = on(&self.0.control, move || {
            let _place = place;
            let staged = Staged::bare(&root, &spooled.file, spooled.kind, &progress)?;
            let package = PluginPackage::read(&staged.unit()?, &prefix)?;
            Ok(Fresh {
                spooled,
                staged,
                package,
            })
        });
        Ok(UnpackedPlugin(OffThread::new(
            fresh.await?,
            &self.0.control,
        )))
    }

    /// Puts what was unpacked in its place and swaps the set of plugins for one with it.
    /// When this returns, both is done. It goes on if nobody waits for it.
    ///
    /// # Errors
    /// It could not serve, may not take this place, or the new set cannot be loaded. All
    /// is as before.
    pub(crate) async fn install_plugin(
        &self,
        permit: Permit,
        plugins: Arc<InstalledPlugins>,
        mut unpacked: UnpackedPlugin,
        progress: &Progress,
    ) -> Result<SystemTime, DeployError> {
        let fresh = unpacked.0.take()?;
        let (this, progress) = (self.clone(), progress.clone());
        let work = async move {
            progress.tell(Stage::Checking);
            let grants = Arc::clone(&this.0.grants);
            let settling = on(&this.0.control, move || {
                settle(&fresh.staged, &fresh.package, &grants)?;
                Ok(fresh)
            });
            let fresh = settling.await?;
            progress.tell(Stage::Installing);
            let _turn = this.0.turn.lock().await;
            let placing = this.clone();
            let placed = on(&this.0.control, move || {
                placing.place_plugin(&permit, &plugins, fresh)
            });
            let placed = placed.await?;
            if placed.place.state == PlaceState::Taken {
                this.remove_later(vec![placed.staged]);
            }
            Ok(SystemTime::now())
        };
        let done = self.0.control.spawn(work).await;
        done.map_err(|_| DeployError::Internal)?
    }

    /// The rest of [`Deployments::install_plugin`]. Blocks.
    fn place_plugin(
        &self,
        permit: &Permit,
        plugins: &InstalledPlugins,
        fresh: Fresh,
    ) -> Result<Placed, DeployError> {
        let Fresh {
            spooled,
            staged,
            package,
        } = fresh;
        let workers = self.0.catalog.snapshot();
        let is_worker = |name: &str| workers.versions(name).is_some();
        let put = |installed: &Plugins| -> Result<Placed, Failed> {
            let place = find(&package, installed, &self.0.plugin_roots)?;
            let staged = if place.root == staged.root {
                staged
            } else {
                drop(staged);
                let told = Progress::untold();
                let staged = Staged::bare(&place.root, &spooled.file, spooled.kind, &told)?;
                settle(&staged, &package, &self.0.grants)?;
                staged
            };
            let placed = Placed { staged, place };
            placed.put()?;
            Ok(placed)
        };
        let take_back = |placed: Placed| {
            if let Err(error) = placed.take_back() {
                let message = "A plugin that cannot be loaded stays in its place";
                self.0.log.error("deploy", message, |fields| {
                    fields.text("plugin", &package.name).error(&error);
                });
            }
        };
        let installed = plugins.install(permit, &package, is_worker, put, take_back);
        match installed {
            Ok(placed) => {
                tell_of(&plugins.current(), &self.0.log);
                Ok(placed)
            }
            Err(Failed::Deploy(error)) => Err(error),
            Err(Failed::Plugins(error)) => Err(self.refused(error)),
        }
    }

    /// Why the set stays as it is; the log has what the client is not told.
    fn refused(&self, error: NotInstalled) -> DeployError {
        let loading = match error {
            NotInstalled::Denied(denied) => return denied.into(),
            NotInstalled::BaseTaken(taken) => return DeployError::PluginCollision(taken),
            NotInstalled::Reload(NotReloaded::Problems(problems)) => {
                for problem in problems {
                    self.0.log.error("plugins", &problem.message, |fields| {
                        fields.text("path", problem.path.display());
                    });
                }
                return DeployError::NotLoaded;
            }
            loading => loading,
        };
        let message = "Plugins stay as they are";
        self.0.log.error("plugins", message, |fields| {
            fields.error(&loading);
        });
        DeployError::NotLoaded
    }
}

/// What may fail while the set is held.
enum Failed {
    Deploy(DeployError),
    Plugins(NotInstalled),
}

impl From<DeployError> for Failed {
    fn from(error: DeployError) -> Self {
        Self::Deploy(error)
    }
}

impl From<NotInstalled> for Failed {
    fn from(error: NotInstalled) -> Self {
        Self::Plugins(error)
    }
}

impl Placed {
    /// Exchanges the folders in one step. Where the file system has no such step, a plugin
    /// that is there is not replaced: a crash in between would leave none, and it may be
    /// the one that keeps strangers out.
    fn put(&self) -> Result<(), DeployError> {
        self.place.make_way()?;
        let (staged, folder) = (self.staged.tree(), &self.place.folder);
        let root = Tree::open(&self.place.root)?;
        let put = match self.place.state {
            PlaceState::Free => staged.rename(&UNPACKED, &root, folder),
            PlaceState::Taken => staged.exchange(&UNPACKED, &root, folder),
        };
        put.map_err(|error| match error {
            WriteError::Exists | WriteError::NotFound => CHANGED,
            error => error.into(),
        })?;
        step("plugin swapped");
        if let Err(error) = self.place.sync() {
            // The first error is what counts.
            let _ = self.take_back();
            return Err(error.into());
        }
        step("plugin synced");
        Ok(())
    }

    fn take_back(&self) -> Result<(), WriteError> {
        let (staged, folder) = (self.staged.tree(), &self.place.folder);
        let root = Tree::open(&self.place.root)?;
        match self.place.state {
            PlaceState::Free => {
                root.rename(folder, staged, &UNPACKED)?;
                self.place.sync()?;
                if let Some(above) = folder.parent() {
                    // Others may have put something into it.
                    let _ = root.remove_empty_dir(&above);
                }
                Ok(())
            }
            PlaceState::Taken => {
                staged.exchange(&UNPACKED, &root, folder)?;
                self.place.sync()
            }
        }
    }
}

const CHANGED: DeployError =
    DeployError::PluginCollision("the plugin's folder was changed by somebody else at the moment");

/// Looks whether what was unpacked could serve, and waits until it is on the disk.
fn settle(staged: &Staged, package: &PluginPackage, grants: &Grants) -> Result<(), DeployError> {
    package.check(&staged.unit()?, grants)?;
    staged.tree().sync_all()?;
    step("plugin settled");
    Ok(())
}

/// Where the plugin of this name lies, else the folder of its name in the first root.
fn find(
    package: &PluginPackage,
    installed: &Plugins,
    roots: &[Arc<Path>],
) -> Result<Place, DeployError> {
    let installed = installed.accepted();
    let same = installed.iter().find(|plugin| plugin.name == package.name);
    let (root, folder) = match same {
        Some(plugin) if plugin.source == Source::BuiltIn => {
            let taken = "a plugin of this name belongs to the installation";
            return Err(DeployError::PluginCollision(taken));
        }
        Some(plugin) => (
            Arc::from(plugin.root.as_path()),
            below(&plugin.root, &plugin.dir)?,
        ),
        None => {
            let root = Arc::clone(roots.first().ok_or(DeployError::NoPluginRoot)?);
            let name = package.name.as_str();
            let dir = root.join(name);
            if installed.iter().any(|plugin| plugin.dir == dir) {
                let taken = "the folder of its name holds another plugin";
                return Err(DeployError::PluginCollision(taken));
            }
            // It was parsed: one plain segment, or two with a scope.
            let folder = RelPath::try_from(name).map_err(|_| DeployError::Internal)?;
            (root, folder)
        }
    };
    let state = look(&Tree::open(&root)?, &folder).map_err(|error| match error {
        DeployError::Collision(_) => {
            DeployError::PluginCollision("there is something in its place that is no folder")
        }
        error => error,
    })?;
    Ok(Place {
        root,
        folder,
        state,
    })
}
