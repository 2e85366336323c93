//! Deployments: from an archive that somebody sends to a worker that serves, and back.
//!
//! An archive is streamed to a file beside the releases (`Spool`), unpacked beside its
//! target and read (`Deployments::unpack`), and only then, with a permit over the
//! namespace of the name that it bears, put in its place (`Deployments::install`).
//! Every archive is kept; `Deployments::roll_back` unpacks older ones by the same path.
//!
//! **Order.** Archive, staged folders and an intent that names them are on the disk
//! first. Then the release is written to the store, which is the decision. Then the
//! folders are exchanged in one step, and the catalog publishes before anybody is told.
//! A crash before the decision leaves the old worker and leftovers that the next start
//! sweeps; a crash after it is brought to its end by the next start. The reasons are in
//! `docs/decisions/0015-deployments.md`.

mod commit;
mod error;
mod history;
mod intent;
mod place;
mod plugin;
mod recover;
mod releases;
mod spool;
mod stage;
mod step;

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buntime_core::Grants;
use buntime_core::access::{Grant, Permission, Permit, Principal};
use buntime_fs::archive::{self, ArchiveKind};
use buntime_fs::{Staging, Tree};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::error::DeployError;
use self::history::History;
pub(crate) use self::plugin::UnpackedPlugin;
pub(crate) use self::recover::recover;
pub(crate) use self::releases::KeptRelease;
use self::spool::{OffThread, Spooled, on};
pub(crate) use self::spool::{PACKED_MAX, Spool};
use self::stage::Staged;
use crate::catalog::{Catalog, Package};
use crate::config::{Config, WorkerRoot, is_built_in};
use crate::dispatch::Served;
use crate::logging::Logger;
use crate::store::{NewRelease, Release, Store};

/// Uploads at a time: each may hold as much disk as an archive has.
const UPLOADS: usize = 64;
/// Those of them that keys of certain namespaces can take together: whoever reaches
/// everything still finds one.
const UPLOADS_IN_NAMESPACES: usize = 48;
/// Archives that are unpacked at a time.
const UNPACKINGS: usize = 2;
/// What a process has left behind that was killed is removed when it is as old.
const LEFTOVERS: Duration = Duration::from_secs(45);
/// Between two looks for leftovers.
const SWEEPS: Duration = Duration::from_secs(10);

/// Puts workers in their places. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Deployments(Arc<Shared>);

struct Shared {
    /// Those that may be written, in their order.
    roots: Vec<Arc<Path>>,
    /// The same for plugins.
    plugin_roots: Vec<Arc<Path>>,
    /// Archives, by their hash.
    releases: PathBuf,
    catalog: Catalog<Served>,
    store: Store,
    /// What may be asked for.
    grants: Arc<Grants>,
    control: Handle,
    /// One deployment at a time changes anything, so numbers and intents are in order.
    turn: Mutex<()>,
    uploads: Arc<Semaphore>,
    uploads_in_namespaces: Arc<Semaphore>,
    unpackings: Arc<Semaphore>,
    kept: usize,
    log: Logger,
}

impl fmt::Debug for Deployments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Deployments")
    }
}

/// A place among the uploads, for as long as this lives.
#[derive(Debug)]
pub(crate) struct UploadPlace {
    _of_all: OwnedSemaphorePermit,
    _in_namespaces: Option<OwnedSemaphorePermit>,
}

/// What an archive is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A version of a worker.
    Worker,
    /// A plugin.
    Plugin,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// So many bytes of the archive have come.
    Receiving(u64),
    /// So much of the archive is unpacked.
    Unpacking(archive::Progress),
    /// It is being checked and written to the disk.
    Checking,
    /// It takes its place.
    Installing,
}

/// Who is told how far it is, and whether anybody still waits for it.
#[derive(Clone)]
pub(crate) struct Progress {
    tell: Option<Arc<dyn Fn(Stage) + Send + Sync>>,
    given_up: CancellationToken,
}

impl Progress {
    /// Nobody is told.
    pub(crate) fn untold() -> Self {
        Self {
            tell: None,
            given_up: CancellationToken::new(),
        }
    }

    /// `tell` is told, often. It must be quick.
    pub(crate) fn to(tell: impl Fn(Stage) + Send + Sync + 'static) -> Self {
        Self {
            tell: Some(Arc::new(tell)),
            ..Self::untold()
        }
    }

    /// The same for work on another thread, which is given up when the guard is dropped.
    fn guarded(&self) -> (Self, DropGuard) {
        let given_up = self.given_up.child_token();
        let guard = given_up.clone().drop_guard();
        let tell = self.tell.clone();
        (Self { tell, given_up }, guard)
    }

    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        self.given_up.is_cancelled()
    }

    pub(crate) fn tell(&self, stage: Stage) {
        if let Some(tell) = &self.tell {
            tell(stage);
        }
    }
}

/// An archive that was unpacked. Nothing was looked at yet but what is in it.
#[derive(Debug)]
pub(crate) struct Unpacked(OffThread<Fresh>);

#[derive(Debug)]
struct Fresh {
    spooled: Spooled,
    staged: Staged,
    package: Package,
}

impl Unpacked {
    /// What it says of itself; `None` once it was installed.
    pub(crate) fn package(&self) -> Option<&Package> {
        self.0.get().map(|fresh| &fresh.package)
    }

    /// Removes it, before the caller is answered.
    pub(crate) async fn discard(self) {
        self.0.end().await;
    }
}

/// Where releases are kept.
pub(crate) fn releases_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("releases")
}

/// The worker roots that may be written and in which everything counts.
fn writable(roots: &[WorkerRoot]) -> Vec<Arc<Path>> {
    let roots = roots.iter().filter(|root| root.only.is_none());
    roots
        .filter(|root| !is_built_in(&root.path))
        .map(|root| Arc::from(root.path.as_path()))
        .collect()
}

/// The plugin roots that may be written.
fn writable_for_plugins(roots: &[PathBuf]) -> Vec<Arc<Path>> {
    let roots = roots.iter().filter(|root| !is_built_in(root));
    roots.map(|root| Arc::from(root.as_path())).collect()
}

impl Deployments {
    /// Call it in the runtime that is to do the work, after [`recover`].
    pub(crate) fn new(
        config: &Config,
        catalog: Catalog<Served>,
        store: Store,
        log: Logger,
    ) -> Self {
        Self(Arc::new(Shared {
            roots: writable(&config.workers),
            plugin_roots: writable_for_plugins(&config.plugins.roots),
            releases: releases_folder(&config.state.dir),
            catalog,
            store,
            grants: Arc::clone(&config.grants),
            control: Handle::current(),
            turn: Mutex::new(()),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            uploads_in_namespaces: Arc::new(Semaphore::new(UPLOADS_IN_NAMESPACES)),
            unpackings: Arc::new(Semaphore::new(UNPACKINGS)),
            kept: usize::try_from(config.state.releases_kept).unwrap_or(usize::MAX),
            log,
        }))
    }

    /// Without a root to write to.
    #[cfg(test)]
    pub(crate) fn for_tests(catalog: Catalog<Served>, log: Logger) -> Self {
        use std::sync::LazyLock;
        static RUNTIME: LazyLock<tokio::runtime::Runtime> =
            LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
        Self(Arc::new(Shared {
            roots: Vec::new(),
            plugin_roots: Vec::new(),
            releases: PathBuf::new(),
            catalog,
            store: Store::in_memory(),
            grants: Arc::default(),
            control: RUNTIME.handle().clone(),
            turn: Mutex::new(()),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            uploads_in_namespaces: Arc::new(Semaphore::new(UPLOADS_IN_NAMESPACES)),
            unpackings: Arc::new(Semaphore::new(UNPACKINGS)),
            kept: 1,
            log,
        }))
    }

    /// Begins to receive an archive.
    ///
    /// # Errors
    /// There is no root for it, too many others are being received, or the disk is full.
    pub(crate) async fn receive(
        &self,
        target: Target,
        grant: &Grant,
        kind: ArchiveKind,
    ) -> Result<Spool, DeployError> {
        match target {
            Target::Worker if self.0.roots.is_empty() => return Err(DeployError::NoRoot),
            Target::Plugin if self.0.plugin_roots.is_empty() => {
                return Err(DeployError::NoPluginRoot);
            }
            Target::Worker | Target::Plugin => {}
        }
        let place = self.upload_place(grant)?;
        Spool::begin(&self.0.releases, kind, place, &self.0.control).await
    }

    /// A place among the uploads, of archives or of files, for as long as one lasts.
    ///
    /// # Errors
    /// [`DeployError::Busy`] if all are taken.
    pub(crate) fn upload_place(&self, grant: &Grant) -> Result<UploadPlace, DeployError> {
        let take = |places: &Arc<Semaphore>| {
            let place = Arc::clone(places).try_acquire_owned();
            place.map_err(|_| DeployError::Busy)
        };
        Ok(UploadPlace {
            _in_namespaces: match grant.sees(None) {
                true => None,
                false => Some(take(&self.0.uploads_in_namespaces)?),
            },
            _of_all: take(&self.0.uploads)?,
        })
    }

    /// A place among those who unpack. It is for the work itself to hold: that goes on
    /// when nobody waits for it any more.
    async fn turn_to_unpack(&self) -> Result<OwnedSemaphorePermit, DeployError> {
        let place = Arc::clone(&self.0.unpackings).acquire_owned().await;
        place.map_err(|_| DeployError::Internal)
    }

    /// Unpacks an archive beside where it will probably go.
    ///
    /// # Errors
    /// It is refused. Nothing is left of it.
    pub(crate) async fn unpack(
        &self,
        spool: Spool,
        progress: &Progress,
    ) -> Result<Unpacked, DeployError> {
        let spooled = spool.finish().await?;
        let root = Arc::clone(self.0.roots.first().ok_or(DeployError::NoRoot)?);
        let place = self.turn_to_unpack().await?;
        let (progress, _guard) = progress.guarded();
        let fresh = on(&self.0.control, move || {
            let _place = place;
            let (staged, package) = Staged::unpack(&root, &spooled.file, spooled.kind, &progress)?;
            Ok(Fresh {
                spooled,
                staged,
                package,
            })
        });
        Ok(Unpacked(OffThread::new(fresh.await?, &self.0.control)))
    }

    /// Puts what was unpacked in its place, as a new release. When this returns, it is on
    /// the disk and the next request is served by it. It goes on if nobody waits for it.
    ///
    /// # Errors
    /// It could not serve, or may not take this place. All is as before.
    pub(crate) async fn install(
        &self,
        permit: &Permit,
        mut unpacked: Unpacked,
        message: Option<Box<str>>,
        progress: &Progress,
    ) -> Result<Release, DeployError> {
        let package = unpacked.package().ok_or(DeployError::Internal)?;
        permit.covers(Permission::WorkersInstall, &package.name)?;
        let fresh = unpacked.0.take()?;
        let by = Arc::clone(permit.principal());
        let (this, progress) = (self.clone(), progress.clone());
        let work = async move { this.deploy(&by, fresh, message, &progress).await };
        let done = self.0.control.spawn(work).await;
        done.map_err(|_| DeployError::Internal)?
    }

    /// Removes again and again what killed processes have left behind, until `stop`.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEPS) => {}
            }
            let folders = self.0.roots.iter().chain(&self.0.plugin_roots);
            let folders = folders.map(|root| root.to_path_buf());
            let folders: Vec<_> = folders.chain([self.0.releases.clone()]).collect();
            let _ = on(&self.0.control, move || {
                sweep(&folders, LEFTOVERS);
                Ok(())
            })
            .await;
        }
    }
}

/// Removes leftovers of this age from the staging folders below `folders`. Blocks.
fn sweep(folders: &[PathBuf], age: Duration) {
    for folder in folders {
        // What cannot be removed now is tried again the next time.
        if let Ok(tree) = Tree::open(folder) {
            let _ = Staging::sweep(&tree, age);
        }
    }
}

/// Makes the folder of releases, for nobody else to read: an archive may hold secrets.
fn make_releases(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn new_release(
    package: &Package,
    history: &History,
    by: &Principal,
    message: Option<Box<str>>,
    spooled: &Spooled,
) -> NewRelease {
    NewRelease {
        name: package.name.clone(),
        version: package.version.clone(),
        created_at: std::time::SystemTime::now(),
        key: by.id.clone(),
        key_name: by.name.clone(),
        message,
        sha256: spooled.sha256,
        size: spooled.size,
        kind: spooled.kind.extension().into(),
        rollback_of: None,
        beside: history.beside(&package.version),
    }
}
