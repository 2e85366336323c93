//! What runs apps: the pool of workers, and the catalog that says which apps there are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buntime_fs::static_files::FileCache;
use buntime_pool::{Confinement, CrashLoop, InstallConfig, InstallLimits, Pool, PoolConfig};
use buntime_sandbox::{ProcessLimits, Strength};

use super::RunError;
use super::deployer::Deployer;
use super::kept_back::KeptBack;
use super::pool_events::PoolLog;
use super::runner::Runner;
use super::state::State;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::dispatch::Served;
use crate::gateway::Gateways;
use crate::logging::Logger;
use crate::metrics::Metrics;
use crate::worker_logs::WorkerLogs;

/// Blank workers kept ready, so that a request seldom waits for Bun to start.
const BLANKS: usize = 3;
/// How long `onTerminate` may take.
const TERMINATE_GRACE: Duration = Duration::from_secs(5);
/// Memory for small static files, for the whole server.
const FILE_CACHE: usize = 8 * 1024 * 1024;

/// The pool and the catalog, and what they tell others.
pub(super) struct Apps {
    pub(super) pool: Pool,
    pub(super) catalog: Catalog<Served>,
    pub(super) metrics: Metrics,
    pub(super) logs: WorkerLogs,
    pub(super) gateways: Gateways,
    /// What confines workers.
    pub(super) sandbox: Arc<Strength>,
}

impl Apps {
    /// Starts the pool, then looks for apps.
    pub(super) async fn start(
        config: &Config,
        runner: Runner,
        state: &State,
        log: &Logger,
    ) -> Result<Self, RunError> {
        let kept_back = KeptBack::default();
        let metrics = Metrics::default();
        let logs = WorkerLogs::default();
        let events = PoolLog::new(
            log.clone(),
            kept_back.clone(),
            metrics.clone(),
            logs.clone(),
        );
        let sandbox = Arc::clone(&runner.sandbox);
        let gateways = Gateways::new(config.timeouts.head, &config.npm.registries, log);
        let pool = Pool::start(pool_config(config, runner, gateways.clone(), events))?;
        let deployer = Deployer::new(
            pool.clone(),
            Arc::new(FileCache::new(FILE_CACHE)),
            config.bodies,
            kept_back,
            metrics.clone(),
            log.clone(),
        );
        let (roots, overrides) = (config.workers.clone(), state.workers.clone());
        let grants = Arc::clone(&config.grants);
        let open = move || Catalog::open_with(&roots, overrides, grants, deployer);
        let catalog = tokio::task::spawn_blocking(open).await;
        Ok(Self {
            pool,
            catalog: catalog.map_err(io::Error::other)?,
            metrics,
            logs,
            gateways,
            sandbox,
        })
    }
}

fn pool_config(config: &Config, runner: Runner, gateways: Gateways, events: PoolLog) -> PoolConfig {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    PoolConfig {
        size: size(config.pool.size),
        ephemeral_concurrency: size(config.pool.ephemeral_concurrency),
        ephemeral_queue_limit: size(config.pool.ephemeral_queue_limit),
        blanks: BLANKS.min(size(config.pool.size)),
        bun: runner.bun.program,
        copies_bun: config.pool.copies_bun,
        runtime_dir: config.state.dir.join("run"),
        data_dir: config.state.dir.join("data"),
        bundle_dir: config.state.dir.join("bundles"),
        install: InstallConfig {
            dir: config.state.dir.join("install"),
            npmrc: config.npm.npmrc.expose().to_owned(),
            registry: config.npm.registry.clone(),
            ca_file: config.npm.ca_file.clone(),
            limits: InstallLimits::default(),
        },
        base_env: base_env(config),
        sandbox: Confinement {
            layers: runner.sandbox.layers,
            out_of_reach: out_of_reach(config),
        },
        launcher: runner.launcher,
        control: tokio::runtime::Handle::current(),
        limits: ProcessLimits::default(),
        terminate_grace: TERMINATE_GRACE,
        crash_loop: CrashLoop::default(),
        gateways: Arc::new(gateways),
        events: Arc::new(events),
    }
}

/// What no app is shown, whatever it was granted: links may have come since that was
/// looked at.
fn out_of_reach(config: &Config) -> Vec<PathBuf> {
    let roots = config.workers.iter().map(|root| &root.path);
    let places = roots
        .chain(&config.plugins.roots)
        .chain([&config.state.dir])
        .chain(&config.grants_file);
    let real = places.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    real.chain([PathBuf::from("/proc")]).collect()
}

/// What every app finds in its environment.
fn base_env(config: &Config) -> Vec<(String, String)> {
    let roots = |paths: &mut dyn Iterator<Item = &PathBuf>| {
        let paths: Vec<_> = paths.map(|path| path.to_string_lossy()).collect();
        paths.join(":")
    };
    let pairs = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("NODE_ENV", config.mode.as_str().to_owned()),
        ("RUNTIME_LOG_LEVEL", config.log.level.as_str().to_owned()),
        (
            "RUNTIME_PLUGIN_DIRS",
            roots(&mut config.plugins.roots.iter()),
        ),
        (
            "RUNTIME_WORKER_DIRS",
            roots(&mut config.workers.iter().map(|root| &root.path)),
        ),
    ];
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
