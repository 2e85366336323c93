//! The composition root: builds the server from its configuration, runs it, and
//! takes it down in order.

mod apps;
mod deployer;
mod kept_back;
mod listeners;
mod pool_events;
mod runner;
mod state;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use buntime_pool::Pool;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::apps::Apps;
use self::listeners::Listeners;
use self::runner::Runner;
use self::state::State;
use crate::access::AccessError;
use crate::api::{Api, Description};
use crate::audit::{self, Audit};
use crate::catalog::Catalog;
use crate::config::{BunError, Config, Problem};
use crate::deploy::{DeployError, Deployments};
use crate::dispatch::Served;
use crate::edge::{self, Edge, EdgeSettings, REQUEST_HEAD_LIMITS};
use crate::files::FileBrowsers;
use crate::gate::Gate;
use crate::health::Readiness;
use crate::logging::Logger;
use crate::message::Scheme;
use crate::plugins::{self, BadBases, InstalledPlugins, Plugins};
use crate::sandbox::Refused;
use crate::service::Service;
use crate::shutdown::Shutdown;
use crate::store::{LockError, OpenError, StateLock, StoreError};
use crate::tls::Tls;
use crate::unit_states::UnitStates;

/// How long stopping the workers may take once requests are done.
const WORKERS_STOP: Duration = Duration::from_secs(6);
/// How long the last write of what keys were last used may take.
const LAST_WRITE: Duration = Duration::from_secs(2);

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
    /// The machine gives less of the sandbox than is asked for, or than root needs.
    #[error(transparent)]
    Sandbox(#[from] Refused),
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
    /// Ends what goes on beside the requests.
    stopping: CancellationToken,
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
        read_plugins(&config, &plugins::Overrides::new()).await?;
        let state = State::open(&config, &log).await?;
        let plugins = read_plugins(&config, &state.plugins).await?;
        let runner = Runner::find(&config, &log).await?;
        let bun = runner.bun.version;
        // All are bound before anything is started, so that a taken port costs
        // nothing; none is accepted on before everything is there.
        let listeners = Listeners::bind(&config)?;
        let apps = Apps::start(&config, runner, &state, &log).await?;
        let plugins = install_plugins(plugins, &state, &config, &apps.catalog, &log);
        let audit = Audit::open(&config.state.dir, audit::Limits::default(), log.clone())?;
        let api = Arc::new(api(&config, &state, &apps, plugins, &audit, &log));
        let service = Arc::new(service(&config, Arc::clone(&api)));

        let stopping = CancellationToken::new();
        let keeping = start_tasks(&config, &api, &stopping);
        let tls = start_tls(&config, &log, &stopping);
        let edge = Edge::start(edge_settings(&config), tls.as_ref(), &service)?;
        apps.gateways.lead_to(edge.intake());
        apps.metrics
            .watch(apps.pool.clone(), edge.connection_count());
        let scheme = match tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        };
        let address = listeners.accept(&edge, scheme, &log)?;
        api.readiness.ready();
        log.info(
            "server",
            format_args!("Listening on {}://{address}", scheme.as_str()),
            |fields| {
                fields.text("version", env!("CARGO_PKG_VERSION"));
                fields.text("bun", bun);
                fields.text("mode", config.mode);
            },
        );
        Ok(Self {
            log,
            edge,
            pool: apps.pool,
            readiness: api.readiness.clone(),
            stopping,
            audit,
            keeping,
            _state_lock: state.lock,
        })
    }

    /// Fails readiness, stops accepting, drains, stops the workers: each step
    /// bounded, all of it cut short by a second signal.
    async fn stop(self, shutdown: &Shutdown) {
        self.readiness.stopping();
        self.log.info("server", "Stopping", |_| {});
        self.stopping.cancel();
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

async fn read_plugins(
    config: &Config,
    overrides: &plugins::Overrides,
) -> Result<Plugins, RunError> {
    let (roots, prefix) = (config.plugins.roots.clone(), config.api.prefix.clone());
    let (overrides, grants) = (overrides.clone(), Arc::clone(&config.grants));
    let read = move || Plugins::read(&roots, &prefix, &overrides, &grants);
    let read = tokio::task::spawn_blocking(read).await;
    Ok(read.map_err(io::Error::other)??)
}

/// Those of the plugins that may be there beside these workers.
fn install_plugins(
    mut plugins: Plugins,
    state: &State,
    config: &Config,
    catalog: &Catalog<Served>,
    log: &Logger,
) -> InstalledPlugins {
    plugins.refuse_shadows(&Plugins::default(), |name| {
        catalog.snapshot().versions(name).is_some()
    });
    plugins::tell_of(&plugins, log);
    let (roots, prefix) = (config.plugins.roots.clone(), config.api.prefix.clone());
    let grants = Arc::clone(&config.grants);
    InstalledPlugins::new(plugins, state.plugins.clone(), roots, prefix, grants)
}

fn api(
    config: &Config,
    state: &State,
    apps: &Apps,
    plugins: InstalledPlugins,
    audit: &Audit,
    log: &Logger,
) -> Api {
    let (store, catalog) = (&state.store, &apps.catalog);
    Api {
        audit: audit.clone(),
        description: Description::new(&format!("{}/api", config.api.prefix.as_str())),
        metrics: apps.metrics.clone(),
        access: state.access.clone(),
        catalog: catalog.clone(),
        deployments: Deployments::new(config, catalog.clone(), store.clone(), log.clone()),
        plugins: Arc::new(plugins),
        units: UnitStates::new(store.clone(), catalog.clone(), log.clone()),
        store: store.clone(),
        files: FileBrowsers::new(&config.workers, &config.plugins.roots, &config.api.prefix),
        readiness: Readiness::default(),
        sandbox: Arc::clone(&apps.sandbox),
        worker_logs: apps.logs.clone(),
        log: log.clone(),
    }
}

fn service(config: &Config, api: Arc<Api>) -> Service {
    Service {
        catalog: api.catalog.clone(),
        readiness: api.readiness.clone(),
        proxies: config.trusted_proxies.clone(),
        gate: Gate::new(&config.api),
        bodies: config.bodies,
        api_prefix: config.api.prefix.clone(),
        homepage: config.homepage.clone(),
        log: api.log.clone(),
        api,
    }
}

/// What goes on beside the requests, until `stopping`. Returns the one task that has
/// something to finish then.
fn start_tasks(config: &Config, api: &Api, stopping: &CancellationToken) -> JoinHandle<()> {
    let roots = config
        .workers
        .iter()
        .map(|root| root.path.clone())
        .collect();
    let (store, log) = (api.store.clone(), api.log.clone());
    let health = api.readiness.clone();
    tokio::spawn(health.watch(store, roots, log, stopping.clone()));
    tokio::spawn(api.deployments.clone().sweep(stopping.clone()));
    let (catalog, stopped) = (api.catalog.clone(), stopping.clone().cancelled_owned());
    tokio::spawn(async move { catalog.watch(stopped).await });
    tokio::spawn(api.access.clone().keep(stopping.clone()))
}

/// The certificate, if there is one, looked at until `stopping`.
fn start_tls(config: &Config, log: &Logger, stopping: &CancellationToken) -> Option<Arc<Tls>> {
    let pair = config.listen.tls.clone()?;
    let tls = Arc::new(Tls::new(&pair));
    let (watched, log, stopping) = (Arc::clone(&tls), log.clone(), stopping.clone());
    tokio::spawn(async move { watched.watch(pair, log, stopping).await });
    Some(tls)
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
        shards: config.listen.shards,
    }
}
