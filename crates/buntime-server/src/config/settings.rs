//! The validated settings, one struct for each concern.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::{ByteSize, Grants, HostPort, PackageName, VersionRange};

use super::{Secret, TrustedProxies};
use crate::logging::{Format, Level};
use crate::tls::TlsPair;

/// The whole configuration. Nothing is read from the environment after it exists.
#[derive(Debug, Clone)]
pub struct Config {
    /// `NODE_ENV`: decides defaults, and how much an error says.
    pub mode: Mode,
    /// Where clients connect.
    pub listen: ListenConfig,
    /// Roots of the workers, in the order given. Never empty.
    pub workers: Vec<WorkerRoot>,
    /// Roots of the plugins and what they may see.
    pub plugins: PluginSettings,
    /// What survives a restart.
    pub state: StateConfig,
    /// The API and the operator's panel.
    pub api: ApiConfig,
    /// Worker processes.
    pub pool: PoolSettings,
    /// Deadlines of the edge and of the stop.
    pub timeouts: Timeouts,
    /// Request bodies.
    pub bodies: BodyLimits,
    /// Whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// How much of the sandbox must be there.
    pub sandbox: SandboxMode,
    /// What the operator grants to which unit. Nothing of it leads to the state directory, the
    /// roots or `/proc`.
    pub grants: Arc<Grants>,
    /// The file that says so, if there is one (`RUNTIME_GRANTS`).
    pub grants_file: Option<PathBuf>,
    /// App that answers `/` and what nothing else answers.
    pub homepage: Option<Homepage>,
    /// For auto-install.
    pub npm: NpmConfig,
    /// The server's own log.
    pub log: LogConfig,
}

/// `NODE_ENV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A developer's machine. The default.
    Development,
    /// Real users.
    Production,
    /// Like production, smaller.
    Staging,
    /// Automated tests.
    Test,
}

impl Mode {
    /// As written in `NODE_ENV`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Test => "test",
        }
    }

    /// Default of `RUNTIME_POOL_SIZE`.
    pub(super) fn pool_size(self) -> u32 {
        match self {
            Self::Development => 10,
            Self::Production => 500,
            Self::Staging => 50,
            Self::Test => 5,
        }
    }

    /// Whether the defaults are those of a server that a machine watches, not a person at a terminal.
    pub(super) fn is_deployed(self) -> bool {
        matches!(self, Self::Production | Self::Staging)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `HOST`, `PORT`, `RUNTIME_TLS_*`, `RUNTIME_MAX_CONNECTIONS`, `RUNTIME_SHARDS`.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Address to bind.
    pub host: IpAddr,
    /// Port to bind. 0: the system picks a free one, the start message says which.
    pub port: u16,
    /// HTTPS on the same port.
    pub tls: Option<TlsPair>,
    /// Most client connections at a time. At least 1.
    pub max_connections: u32,
    /// Threads that serve connections. At least 1.
    pub shards: usize,
}

/// Whether a worker or plugin root belongs to the installation: its own name starts
/// with a dot. What lies there is listed as built-in and is read-only.
#[must_use]
pub fn is_built_in(root: &Path) -> bool {
    root.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// One entry of `RUNTIME_WORKER_DIRS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRoot {
    /// Absolute, without links, a directory when it was read.
    pub path: PathBuf,
    /// The path below it of the one unit that counts, such as `@scope/name`. `None`: all. `buntime dev` serves a
    /// single app so.
    pub only: Option<PathBuf>,
}

/// `RUNTIME_PLUGIN_*`.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// Absolute, built-in ones (name starts with a dot) first. May be empty.
    pub roots: Vec<PathBuf>,
    /// What uploaded plugins may interpolate.
    pub env: PluginEnv,
}

/// `RUNTIME_PLUGIN_ENV`: which variables an uploaded plugin may interpolate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginEnv(pub(super) BTreeMap<PackageName, Vec<String>>);

impl PluginEnv {
    /// Whether `plugin` may see `variable`.
    #[must_use]
    pub fn allows(&self, plugin: &PackageName, variable: &str) -> bool {
        self.0
            .get(plugin)
            .is_some_and(|names| names.iter().any(|name| name == variable))
    }
}

/// `RUNTIME_STATE_DIR`, `RUNTIME_DATABASE_URL`, `RUNTIME_RELEASES_KEPT`, `RUNTIME_ROOT_KEY`.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// Absolute. Made by [`StateConfig::prepare`].
    pub dir: PathBuf,
    /// Where the data lives.
    pub database: Database,
    /// Releases of each worker that stay beside those that are live. At least 1.
    pub releases_kept: u32,
    /// The operator's key. `None`: one is generated on first start.
    pub root_key: Option<Secret>,
}

/// `RUNTIME_DATABASE_URL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file in the state directory.
    Embedded,
}

/// `RUNTIME_API_PREFIX`, `RUNTIME_ALLOWED_HOSTS`, `RUNTIME_ADMIN_*`, `RUNTIME_CPANEL_SESSION_TTL`.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Stands before `/api`.
    pub prefix: ApiPrefix,
    /// Host names (lower case, no port) under which login works. `None`: IP addresses and localhost.
    pub allowed_hosts: Option<Vec<String>>,
    /// Where the API and the panel are to be found.
    pub admin: AdminOrigin,
    /// Life of a panel session. Not zero.
    pub session_ttl: Duration,
}

/// `RUNTIME_API_PREFIX`: empty, or a path such as `/_`, with a leading slash, without a trailing one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiPrefix(pub(super) String);

impl ApiPrefix {
    /// Empty, or with a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first segment with the slash, which is the server's own: `/_` of `/_/admin`.
    #[must_use]
    pub fn first_segment(&self) -> Option<&str> {
        let rest = self.0.strip_prefix('/')?;
        let length = rest.find('/').unwrap_or(rest.len());
        self.0.get(..=length)
    }
}

impl FromStr for ApiPrefix {
    type Err = String;

    /// What is wrong with a text that is not empty reads on after it.
    fn from_str(text: &str) -> Result<Self, String> {
        super::parse::api_prefix(text)
    }
}

/// `RUNTIME_ADMIN_HOST`, `RUNTIME_ADMIN_PORT`. With neither, the API answers under every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminOrigin {
    /// Lower case, no port.
    pub host: Option<String>,
    /// A second port to listen on, other than `PORT`. 0: the system picks a free one, the start message says which.
    pub port: Option<u16>,
}

/// `RUNTIME_POOL_SIZE`, `RUNTIME_EPHEMERAL_*`, `RUNTIME_BUN`, `RUNTIME_BUN_COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Most live workers. At least 1.
    pub size: u32,
    /// Ephemeral workers of one app at a time. At least 1, at most `size`.
    pub ephemeral_concurrency: u32,
    /// Requests that may wait for an ephemeral worker, for each app. 0: none waits.
    pub ephemeral_queue_limit: u32,
    /// The Bun that the operator named. Absolute. `None`: see [`super::Bun::find`].
    pub bun: Option<PathBuf>,
    /// Whether workers run a copy of it where that starts faster.
    pub copies_bun: bool,
}

/// Deadlines. All are above zero but `shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Without progress in a request body.
    pub body: Duration,
    /// Without progress while writing a response.
    pub write: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// From the signal to the end of draining. Zero: at once.
    pub shutdown: Duration,
}

/// `BODY_SIZE_DEFAULT` ≤ `BODY_SIZE_MAX`, both above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// For apps that say nothing.
    pub default: ByteSize,
    /// What no app may exceed.
    pub max: ByteSize,
}

/// `RUNTIME_SANDBOX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxMode {
    /// All that the machine allows; the log says what is missing.
    Auto,
    /// The full set, or no start.
    Require,
    /// None.
    Off,
}

/// `RUNTIME_HOMEPAGE`: `name` or `name@range`.
#[derive(Debug, Clone)]
pub struct Homepage {
    /// The app.
    pub name: PackageName,
    /// Which of its versions. `None`: as in a URL without a range.
    pub range: Option<VersionRange>,
}

/// `RUNTIME_NPM_*`, else npm's own configuration.
#[derive(Debug, Clone)]
pub struct NpmConfig {
    /// Registries and credentials in the form of an `.npmrc`.
    pub npmrc: Secret,
    /// The registry of packages without a scope, without a password.
    pub registry: String,
    /// Where all of these registries are.
    pub registries: Vec<HostPort>,
    /// A PEM file. It can be read.
    pub ca_file: Option<PathBuf>,
}

/// `RUNTIME_LOG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines below it are not made.
    pub level: Level,
    /// Shape of a line.
    pub format: Format,
}
