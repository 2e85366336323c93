//! What a pool and its apps are made from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::{Granted, Manifest, PackageName, Version};
use buntime_sandbox::{Launcher, ProcessLimits};

use crate::confine::Confinement;
use crate::events::PoolEvents;
use crate::gateway::Gateways;

/// Everything a pool needs from outside.
#[derive(Clone)]
pub struct PoolConfig {
    /// Most workers that belong to an app. Blanks come on top, and for the moment
    /// in which a worker replaces another one of its app there is one more.
    pub size: usize,
    /// Most ephemeral workers of one app at a time.
    pub ephemeral_concurrency: usize,
    /// Most requests of one ephemeral app that wait for a worker.
    pub ephemeral_queue_limit: usize,
    /// Blank workers kept ready.
    pub blanks: usize,
    /// The Bun binary.
    pub bun: PathBuf,
    /// Whether workers run a copy of it, kept in `runtime_dir`, where that starts faster.
    pub copies_bun: bool,
    /// Where the slots of running workers are, one directory each. Created 0700;
    /// what an earlier run left in it is removed at start.
    pub runtime_dir: PathBuf,
    /// Where the apps' data is kept, one directory for each app name.
    pub data_dir: PathBuf,
    /// Where bundles are kept between runs. Created 0700; no two pools may share it.
    pub bundle_dir: PathBuf,
    /// How packages are installed before an app's first start.
    pub install: InstallConfig,
    /// Variables that every worker gets: the technical minimum, `NODE_ENV`, the
    /// `RUNTIME_*` ones. The pool adds what differs from worker to worker.
    pub base_env: Vec<(String, String)>,
    /// Starts the processes.
    pub launcher: Launcher,
    /// The runtime that supervision runs on. It must outlive the pool.
    pub control: tokio::runtime::Handle,
    /// What confines each worker process.
    pub sandbox: Confinement,
    /// Limits of each worker process that the system enforces.
    pub limits: ProcessLimits,
    /// How long `onTerminate` may take before the worker is killed.
    pub terminate_grace: Duration,
    /// When an app that cannot start is left alone.
    pub crash_loop: CrashLoop,
    /// Who serves what workers connect to.
    pub gateways: Arc<dyn Gateways>,
    /// Who hears what happens.
    pub events: Arc<dyn PoolEvents>,
}

impl std::fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolConfig")
            .field("size", &self.size)
            .field("bun", &self.bun)
            .field("runtime_dir", &self.runtime_dir)
            .finish_non_exhaustive()
    }
}

/// How packages are installed.
#[derive(Clone)]
pub struct InstallConfig {
    /// Where caches and stamps are kept between runs. Created 0700; no two pools may
    /// share it.
    pub dir: PathBuf,
    /// The operator's settings in the form of an `.npmrc`, for Bun alone: it may hold
    /// passwords.
    pub npmrc: String,
    /// The registry that this means, without a password, for logs.
    pub registry: String,
    /// Certificates (PEM) of the registry.
    pub ca_file: Option<PathBuf>,
    /// What one install may take.
    pub limits: InstallLimits,
}

impl std::fmt::Debug for InstallConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstallConfig")
            .field("dir", &self.dir)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// What one install may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallLimits {
    /// All of it, in time.
    pub time: Duration,
    /// What is installed, in bytes.
    pub packages: u64,
    /// What is kept for later installs, in bytes, of all apps together.
    pub cache: u64,
}

impl Default for InstallLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5 * 60),
            packages: 1 << 30,
            cache: 2 << 30,
        }
    }
}

/// When an app that cannot start is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashLoop {
    /// Failed starts in a row until then.
    pub failures: u32,
    /// The first pause; it doubles with each further failure.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for CrashLoop {
    fn default() -> Self {
        Self {
            failures: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// One version of one app, as the catalog found it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppSpec {
    /// `name@version`.
    pub id: String,
    /// The app's name.
    pub name: PackageName,
    /// The app's version.
    pub version: Version,
    /// The app's folder, absolute.
    pub dir: PathBuf,
    /// The module that runs, absolute and inside `dir`.
    pub entrypoint: PathBuf,
    /// The app's manifest.
    pub manifest: Arc<Manifest>,
    /// What it may do, whatever its manifest asks for.
    pub granted: Arc<Granted>,
    /// The app's own variables, already filtered.
    pub env: BTreeMap<String, String>,
}
