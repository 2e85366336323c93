//! What an app says of itself: `manifest.yaml` (contract §3).

mod grants;
mod plugin;
mod reader;
mod sections;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::grants::{Ask, Caps, CoveredPath, Granted, GrantedPath, Grants, NotGranted, Verdict};
pub use self::plugin::{DEFAULT_PLUGIN_ENTRIES, Menu, PluginManifest, PluginManifestErrors};
use crate::diagnostic::{ManifestErrors, Parsed};
use crate::origin::split_host_port;
use crate::{ByteSize, Origin, PackageName, RouteGlobs, Version};

/// Largest manifest, in bytes. Larger ones are refused before they are read.
pub const MANIFEST_MAX_BYTES: usize = 256 * 1024;

/// What the entrypoint is when the manifest names none: the first of these files
/// that there is.
pub const DEFAULT_ENTRYPOINTS: [&str; 4] = ["index.html", "index.ts", "index.js", "index.mjs"];

/// A worker's manifest, all defaults filled in.
///
/// Invariants of a parsed one: `timeout` and `idle_timeout` are above zero, and if
/// `ttl` is above zero then `timeout <= idle_timeout <= ttl`. The fields are open so
/// that tests and the server can adjust a copy; more of them may come.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Manifest {
    /// The name it claims. On disk the folder decides.
    pub name: Option<PackageName>,
    /// The version it claims. On disk the folder decides.
    pub version: Option<Version>,
    /// False: this version answers 404.
    pub enabled: bool,
    /// The file that runs or, if HTML, is served: below the app's folder, without
    /// `.` and `..`. None: the first of [`DEFAULT_ENTRYPOINTS`].
    pub entrypoint: Option<String>,
    /// Sliding lifetime; zero: a fresh worker for each request.
    pub ttl: Duration,
    /// Longest wait for the first byte of a response, start included.
    pub timeout: Duration,
    /// Without a request for so long, the worker is told; an ephemeral response
    /// silent for so long is ended.
    pub idle_timeout: Duration,
    /// Requests until a worker is recycled; at least 1.
    pub max_requests: u64,
    /// Largest request body, before the server's ceiling; see
    /// [`Manifest::body_limit`].
    pub max_body_size: Option<ByteSize>,
    /// Bun's `--smol`.
    pub low_memory: bool,
    /// Whether a bundle may run instead of the source.
    pub bundle: BundleMode,
    /// Whether dependencies are installed before the first start.
    pub auto_install: bool,
    /// Whether HTML responses get a `<base href>`.
    pub inject_base: bool,
    /// Variables, not yet filtered; see [`crate::worker_env`].
    pub env: BTreeMap<String, String>,
    /// Prefixes of variables that pages see; none of them empty.
    pub env_prefix: Vec<String>,
    /// Requests that skip the plugins' onRequest hooks.
    pub public_routes: RouteGlobs,
    /// What is asked of requests that change something.
    pub csrf: CsrfPolicy,
    /// What the file browser shows.
    pub visibility: Visibility,
    /// What the app asks the sandbox to open.
    pub permissions: Permissions,
    /// What the app asks for beyond the server's defaults.
    pub limits: Limits,
    /// Calls that the server makes by itself.
    pub cron: Vec<CronJob>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            name: None,
            version: None,
            enabled: true,
            entrypoint: None,
            ttl: Duration::ZERO,
            timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_requests: 1000,
            max_body_size: None,
            low_memory: false,
            bundle: BundleMode::Auto,
            auto_install: false,
            inject_base: false,
            env: BTreeMap::new(),
            env_prefix: vec!["PUBLIC_".to_owned(), "VITE_".to_owned()],
            public_routes: RouteGlobs::default(),
            csrf: CsrfPolicy::SameOrigin,
            visibility: Visibility::Public,
            permissions: Permissions::default(),
            limits: Limits::default(),
            cron: Vec::new(),
        }
    }
}

impl Manifest {
    /// Reads a manifest. `file` is how it is called in messages.
    ///
    /// An empty file is a manifest of defaults; a key without a value is as good
    /// as absent.
    ///
    /// # Errors
    /// All that is wrong with it, together.
    pub fn parse(yaml: &str, file: &str) -> Result<Parsed<Self>, ManifestErrors> {
        reader::read(yaml, file)
    }

    /// Whether each request gets a fresh worker.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.ttl.is_zero()
    }

    /// The largest request body that the app gets: what it asks for, else the
    /// server's `default` (`BODY_SIZE_DEFAULT`), never above the server's `ceiling`
    /// (`BODY_SIZE_MAX`).
    #[must_use]
    pub fn body_limit(&self, default: ByteSize, ceiling: ByteSize) -> BodyLimit {
        BodyLimit {
            bytes: self.max_body_size.unwrap_or(default).min(ceiling),
            capped_from: self.max_body_size.filter(|&asked| asked > ceiling),
        }
    }
}

/// A body limit under the server's ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyLimit {
    /// What counts.
    pub bytes: ByteSize,
    /// What the manifest asked for, if that was too much: worth a warning.
    pub capped_from: Option<ByteSize>,
}

/// `bundle`: whether the server may run a bundle made of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BundleMode {
    /// Only where nothing observable changes.
    #[default]
    Auto,
    /// `true`.
    Always,
    /// `false`.
    Never,
}

/// `csrf`: what is asked of POST, PUT, PATCH, DELETE and upgrades (contract §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CsrfPolicy {
    /// A browser's cross-site request is refused.
    #[default]
    SameOrigin,
    /// The API's rule: an `Origin` must be there and equal the host.
    Strict,
    /// Nothing.
    Off,
    /// As `SameOrigin`, and these origins pass too.
    TrustedOrigins(Vec<Origin>),
}

/// `visibility` in the file browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Shown.
    #[default]
    Public,
    /// Read-only.
    Protected,
    /// Hidden.
    Internal,
}

/// `permissions`: what the app asks for; the operator grants (contract §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Permissions {
    /// Paths to read besides the app's own folder.
    pub read: Vec<String>,
    /// Paths to write besides the app's data folder.
    pub write: Vec<String>,
    /// Whether the app may start programs.
    pub spawn: bool,
    /// Which addresses it may reach.
    pub net: NetPermission,
}

/// `permissions.net`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetPermission {
    /// Any address but loopback, private, link-local and metadata ones.
    #[default]
    Public,
    /// No address.
    None,
    /// These alone.
    Hosts(Vec<HostPort>),
}

/// `host:port`: a name or an address (IPv6 in brackets), in lower case, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// What the authority of a URL names, `host` or `host:port`. `None` if it is anything
    /// else, user information too.
    #[must_use]
    pub fn of_authority(text: &str, default_port: u16) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (host, port) = split_host_port(&lower)?;
        Some(Self {
            host: host.to_owned(),
            port: match port {
                Some(port) => port.parse().ok()?,
                None => default_port,
            },
        })
    }

    /// The host, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, above zero.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `limits`; what is absent is the server's default.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Memory of one worker process.
    pub memory: Option<ByteSize>,
    /// Processors, as in `0.5` or `2`; above zero and finite.
    pub cpu: Option<f64>,
    /// What its data directory may hold.
    pub disk: Option<ByteSize>,
    /// Standard output and errors that are kept, each second.
    pub output: Option<ByteSize>,
    /// How many worker processes may serve the app at once.
    pub instances: Instances,
}

/// `limits.instances`: `N` or `1..N`.
///
/// Invariant: 1 <= min <= max <= 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instances {
    min: u32,
    max: u32,
}

impl Instances {
    /// Most instances of one app.
    pub const LIMIT: u32 = 1024;

    /// From `min` to `max` instances; `None` unless `1 <= min <= max <= 1024`.
    #[must_use]
    pub fn new(min: u32, max: u32) -> Option<Self> {
        (1 <= min && min <= max && max <= Self::LIMIT).then_some(Self { min, max })
    }

    /// Instances kept while the app is awake.
    #[must_use]
    pub fn min(self) -> u32 {
        self.min
    }

    /// Instances when all are busy.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

/// One entry of `cron`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CronJob {
    /// Five or six fields or an `@name`. Its form is checked here, its meaning by
    /// whoever runs it.
    pub schedule: String,
    /// The path below the app, with a slash first.
    pub endpoint: String,
    /// In upper case.
    pub method: String,
}

#[cfg(test)]
mod tests;
