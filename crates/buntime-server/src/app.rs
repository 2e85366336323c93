//! The composition root: builds the server from its configuration, runs it, and
//! takes it down in order.

mod deployer;
mod kept_back;
mod pool_events;
mod state;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buntime_fs::static_files::FileCache;
use buntime_pool::{Confinement, CrashLoop, InstallConfig, InstallLimits, Pool, PoolConfig};
use buntime_sandbox::{Launcher, Layers, Net, ProcessLimits};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::deployer::Deployer;
use self::kept_back::KeptBack;
use self::pool_events::PoolLog;
use self::state::State;
use crate::access::AccessError;
use crate::api::{Api, Description};
use crate::audit::{self, Audit};
use crate::catalog::Catalog;
use crate::config::{Bun, BunError, BunPlaces, Config, Problem};
use crate::deploy::{DeployError, Deployments};
use crate::edge::{self, Edge, EdgeSettings, REQUEST_HEAD_LIMITS};
use crate::files::FileBrowsers;
use crate::gate::Gate;
use crate::health::Readiness;
use crate::logging::Logger;
use crate::message::{Listener, Scheme};
use crate::metrics::Metrics;
use crate::plugins::{self, BadBases, InstalledPlugins, Plugins};
use crate::sandbox::{self, NotWhole};
use crate::service::Service;
use crate::shutdown::Shutdown;
use crate::store::{LockError, OpenError, StateLock, StoreError};
use crate::tls::Tls;
use crate::unit_states::UnitStates;
use crate::worker_logs::WorkerLogs;

/// Blank workers kept ready, so that a request seldom waits for Bun to start.
const BLANKS: usize = 3;
/// How long `onTerminate` may take.
const TERMINATE_GRACE: Duration = Duration::from_secs(5);
/// How long stopping the workers may take once requests are done.
const WORKERS_STOP: Duration = Duration::from_secs(6);
/// How long the last write of what keys were last used may take.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Memory for small static files, for the whole server.
const FILE_CACHE: usize = 8 * 1024 * 1024;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("{0}")]
    State(Problem),
    /// Another server uses the state directory.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The database is not there, not whole, or not ours.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What the operator has said of units cannot be read.
    #[error("the database cannot be read: {0}")]
    Units(#[from] StoreError),
    /// There is no root key, or the keys cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A deployment that was cut off could not be brought to its end.
    #[error("cannot look after deployments in the state directory: {0}")]
    Deployments(#[from] DeployError),
    /// No usable Bun.
    #[error(transparent)]
    Bun(#[from] BunError),
    /// The machine gives less than the full sandbox, which is asked for.
    #[error(transparent)]
    Sandbox(#[from] NotWhole),
    /// A plugin's base is reserved or malformed. Reads as the lines to print.
    #[error(transparent)]
    Plugins(#[from] BadBases),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; set HOST and PORT, or RUNTIME_ADMIN_PORT, to a free address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pool cannot be started.
    #[error("cannot start the worker pool: {0}")]
    Pool(#[from] buntime_pool::StartError),
    /// The system refused a thread, a signal handler or a descriptor.
    #[error("the system refused what the server needs: {0}")]
    System(#[from] io::Error),
}

impl RunError {
    /// Whether the configuration is to blame (exit code 2), not the moment.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::State(_) | Self::Bun(_) | Self::Plugins(_) | Self::Sandbox(_)
        )
    }
}

/// Runs the server until it is told to stop by a signal.
///
/// # Errors
/// When it could not be started. Once it serves, it does not fail.
pub fn run(config: Config, logger: Logger) -> Result<(), RunError> {
    let shutdown = Shutdown::new(config.timeouts.shutdown);
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()?;
    let result = control.block_on(async {
        let signals = shutdown.on_signals()?;
        let server = Server::start(config, logger).await?;
        tokio::spawn(signals);
        shutdown.reached(crate::shutdown::Phase::Draining).await;
        server.stop(&shutdown).await;
        Ok(())
    });
    // Blocking reads of a hung disk must not hold the exit.
    control.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A running server.
struct Server {
    log: Logger,
    edge: Edge,
    pool: Pool,
    readiness: Readiness,
    watching: CancellationToken,
    audit: Audit,
    /// Writes what keys were last used, once more at the end.
    keeping: JoinHandle<()>,
    _state_lock: StateLock,
}

impl Server {
    /// Builds everything, then begins to serve. Must run in the control runtime.
    async fn start(config: Config, log: Logger) -> Result<Self, RunError> {
        raise_descriptor_limit(&log);
        // Before anything is written: a base that no server may have stops the start.
        let mut plugins = read_plugins(&config, plugins::Overrides::new()).await?;
        if let Some(warning) = config.state.prepare().map_err(RunError::State)? {
            log.warn("config", warning, |_| {});
        }
        let state_lock = StateLock::take(&config.state.dir)?;
        let state = State::open(&config, &log).await?;
        let access = state.access;
        if !state.plugins.is_empty() {
            plugins = read_plugins(&config, state.plugins.clone()).await?;
        }
        let (bun, passed_over) = find_bun(&config).await?;
        for problem in passed_over {
            log.warn("config", problem, |_| {});
        }
        let launcher = Launcher::start()?;
        let state_dir = &config.state.dir;
        let layers =
            sandbox::settle(config.sandbox, &launcher, &bun.program, state_dir, &log).await?;
        // All are bound before anything is started, so that a taken port costs
        // nothing; neither is accepted on before everything is there.
        let public = listen(SocketAddr::new(config.listen.host, config.listen.port))?;
        let admin = config.api.admin.port;
        let admin = admin
            .map(|port| listen(SocketAddr::new(config.listen.host, port)))
            .transpose()?;
        let for_workers = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let api_url = format!("http://{}", for_workers.local_addr()?);

        let kept_back = KeptBack::default();
        let metrics = Metrics::default();
        let worker_logs = WorkerLogs::default();
        let events = PoolLog::new(
            log.clone(),
            kept_back.clone(),
            metrics.clone(),
            worker_logs.clone(),
        );
        let pool = Pool::start(pool_config(
            &config,
            &bun,
            &api_url,
            (launcher, layers),
            events,
        ))?;
        let files = Arc::new(FileCache::new(FILE_CACHE));
        let deployer = Deployer::new(
            pool.clone(),
            files,
            config.bodies,
            kept_back,
            metrics.clone(),
            log.clone(),
        );
        let roots = config.workers.clone();
        let catalog = tokio::task::spawn_blocking(move || {
            Catalog::open_with(&roots, state.workers, deployer)
        })
        .await
        .map_err(io::Error::other)?;
        let deployments =
            Deployments::new(&config, catalog.clone(), state.store.clone(), log.clone());
        plugins.refuse_shadows(|name| catalog.snapshot().versions(name).is_some());
        plugins::tell_of(&plugins, &log);
        let plugins = InstalledPlugins::new(
            plugins,
            state.plugins,
            config.plugins.roots.clone(),
            config.api.prefix.clone(),
        );

        let readiness = Readiness::default();
        let audit = Audit::open(&config.state.dir, audit::Limits::default(), log.clone())?;
        let api = Arc::new(Api {
            audit: audit.clone(),
            description: Description::new(&format!("{}/api", config.api.prefix.as_str())),
            metrics: metrics.clone(),
            access: access.clone(),
            catalog: catalog.clone(),
            deployments: deployments.clone(),
            plugins,
            units: UnitStates::new(state.store.clone(), catalog.clone(), log.clone()),
            store: state.store.clone(),
            files: FileBrowsers::new(&config.workers, &config.plugins.roots),
            readiness: readiness.clone(),
            worker_logs,
            log: log.clone(),
        });
        let service = Arc::new(Service {
            api,
            catalog: catalog.clone(),
            readiness: readiness.clone(),
            proxies: config.trusted_proxies.clone(),
            gate: Gate::new(&config.api),
            bodies: config.bodies,
            api_prefix: config.api.prefix.clone(),
            homepage: config.homepage.clone(),
            log: log.clone(),
        });
        let watching = CancellationToken::new();
        tokio::spawn(
            readiness.clone().watch(
                state.store,
                config
                    .workers
                    .iter()
                    .map(|root| root.path.clone())
                    .collect(),
                log.clone(),
                watching.clone(),
            ),
        );
        let keeping = tokio::spawn(access.keep(watching.clone()));
        tokio::spawn(deployments.sweep(watching.clone()));
        let tls = config.listen.tls.clone().map(|pair| {
            let tls = Arc::new(Tls::new(&pair));
            let (watched, log, stop) = (Arc::clone(&tls), log.clone(), watching.clone());
            tokio::spawn(async move { watched.watch(pair, log, stop).await });
            tls
        });
        let edge = Edge::start(edge_settings(&config), tls.as_ref(), &service)?;
        metrics.watch(pool.clone(), edge.connection_count());
        let stop_watching = watching.clone();
        tokio::spawn(async move {
            catalog.watch(stop_watching.cancelled_owned()).await;
        });
        edge.accept_on(for_workers, Listener::Workers)?;
        let scheme = if tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        if let Some(admin) = admin {
            let address = edge.accept_on(admin, Listener::Admin)?;
            let message = format_args!("API and panel on {}://{address}", scheme.as_str());
            log.info("server", message, |_| {});
        }
        let address = edge.accept_on(public, Listener::Public)?;
        readiness.ready();
        log.info(
            "server",
            format_args!("Listening on {}://{address}", scheme.as_str()),
            |fields| {
                fields.text("version", env!("CARGO_PKG_VERSION"));
                fields.text("bun", bun.version);
                fields.text("mode", config.mode);
            },
        );
        Ok(Self {
            log,
            edge,
            pool,
            readiness,
            watching,
            audit,
            keeping,
            _state_lock: state_lock,
        })
    }

    /// Fails readiness, stops accepting, drains, stops the workers: each step
    /// bounded, all of it cut short by a second signal.
    async fn stop(self, shutdown: &Shutdown) {
        self.readiness.stopping();
        self.log.info("server", "Stopping", |_| {});
        self.watching.cancel();
        let deadline = shutdown.deadline().unwrap_or_else(Instant::now);
        let drained = unless_at_once(shutdown, self.edge.stop(deadline)).await;
        if drained != Some(true) {
            self.log
                .warn("server", "Requests were cut off by the stop", |_| {});
        }
        shutdown.stop_workers();
        if unless_at_once(shutdown, self.pool.shutdown(WORKERS_STOP))
            .await
            .is_none()
        {
            self.pool.shutdown(Duration::ZERO).await;
        }
        // A hung disk must not hold the exit.
        let _ = tokio::time::timeout(LAST_WRITE, self.keeping).await;
        // What strangers were refused since the last minute is not told yet.
        if self.audit.flush().await.is_err() {
            self.log
                .error("audit", "Lines of the audit log are lost", |_| {});
        }
        self.log.info("server", "Stopped", |_| {});
    }
}

/// Waits for `work`, or for the second signal.
async fn unless_at_once<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = shutdown.reached(crate::shutdown::Phase::AtOnce) => None,
    }
}

/// Each connection and each worker costs descriptors; the soft limit is often
/// 1,024 for no reason but history.
fn raise_descriptor_limit(log: &Logger) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        log.warn(
            "server",
            "The limit of open files could not be raised",
            |fields| {
                fields.add("limit", limit.current);
            },
        );
    }
}

async fn read_plugins(config: &Config, overrides: plugins::Overrides) -> Result<Plugins, RunError> {
    let (roots, prefix) = (config.plugins.roots.clone(), config.api.prefix.clone());
    tokio::task::spawn_blocking(move || Plugins::read(&roots, &prefix, &overrides))
        .await
        .map_err(io::Error::other)?
        .map_err(RunError::from)
}

async fn find_bun(config: &Config) -> Result<(Bun, Vec<Problem>), RunError> {
    let configured = config.pool.bun.clone();
    tokio::task::spawn_blocking(move || Bun::find(configured.as_deref(), &BunPlaces::of_process()))
        .await
        .map_err(io::Error::other)?
        .map_err(RunError::from)
}

fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    use socket2::{Domain, Protocol, Socket, Type};
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart need not wait for connections of the last run to be forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        io::Result::Ok(TcpListener::from(socket))
    };
    bind().map_err(|source| RunError::Listen { address, source })
}

fn edge_settings(config: &Config) -> EdgeSettings {
    EdgeSettings {
        head: REQUEST_HEAD_LIMITS,
        timeouts: edge::Timeouts {
            head: config.timeouts.head,
            body: config.timeouts.body,
            write: config.timeouts.write,
            idle: config.timeouts.idle,
        },
        max_connections: usize::try_from(config.listen.max_connections).unwrap_or(usize::MAX),
        shards: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

fn pool_config(
    config: &Config,
    bun: &Bun,
    api_url: &str,
    (launcher, layers): (Launcher, Layers),
    events: PoolLog,
) -> PoolConfig {
    let roots = |paths: &mut dyn Iterator<Item = &PathBuf>| {
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(":")
    };
    let worker_dirs = roots(&mut config.workers.iter().map(|root| &root.path));
    let plugin_dirs = roots(&mut config.plugins.roots.iter());
    let base_env = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("NODE_ENV", config.mode.as_str()),
        ("RUNTIME_API_URL", api_url),
        ("RUNTIME_LOG_LEVEL", config.log.level.as_str()),
        ("RUNTIME_PLUGIN_DIRS", &plugin_dirs),
        ("RUNTIME_WORKER_DIRS", &worker_dirs),
    ];
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    PoolConfig {
        size: size(config.pool.size),
        ephemeral_concurrency: size(config.pool.ephemeral_concurrency),
        ephemeral_queue_limit: size(config.pool.ephemeral_queue_limit),
        blanks: BLANKS.min(size(config.pool.size)),
        bun: bun.program.clone(),
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
        base_env: base_env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        sandbox: Confinement {
            layers,
            net: Net::Host,
        },
        launcher,
        control: tokio::runtime::Handle::current(),
        limits: ProcessLimits::default(),
        terminate_grace: TERMINATE_GRACE,
        crash_loop: CrashLoop::default(),
        events: Arc::new(events),
    }
}
