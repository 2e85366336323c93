//! From texts to a [`Config`]: first each setting by itself, then all together.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buntime_core::{ByteSize, Grants};

use super::grants::{self, OutOfReach};
use super::npm;
use super::problem::Problem;
use super::settings::{
    AdminOrigin, ApiConfig, ApiPrefix, BodyLimits, Config, Database, Homepage, ListenConfig,
    LogConfig, Mode, PluginEnv, PluginSettings, PoolSettings, SandboxMode, StateConfig, Timeouts,
    WorkerRoot, is_built_in,
};
use super::variables::{VARIABLES, Variable};
use super::{Secret, Sources, TrustedProxies};
use crate::logging::{Format, Level};
use crate::tls::{self, TlsFiles, TlsPair};

/// What relative paths are relative to.
#[derive(Debug)]
pub(super) struct Base<'a>(&'a Path);

impl Base<'_> {
    /// An existing, readable file.
    pub(super) fn file(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(text);
        let file =
            std::fs::File::open(&path).map_err(|error| format!("cannot be read: {error}"))?;
        let metadata = file
            .metadata()
            .map_err(|error| format!("cannot be read: {error}"))?;
        if metadata.is_file() {
            Ok(path)
        } else {
            Err("is not a file".to_owned())
        }
    }

    /// Existing folders, separated by colons. Links are resolved, so that one folder has one name.
    pub(super) fn dirs(&self, text: &str) -> Result<Vec<PathBuf>, String> {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut wrong: Vec<String> = Vec::new();
        for part in text.split(':').filter(|part| !part.is_empty()) {
            match self.dir(part) {
                Ok(path) if found.contains(&path) => {
                    wrong.push(format!("{part:?} is listed twice"))
                }
                Ok(path) => found.push(path),
                Err(reason) => wrong.push(format!("{part:?} {reason}")),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join(", "));
        }
        if found.is_empty() {
            Err("names no folder".to_owned())
        } else {
            Ok(found)
        }
    }

    fn dir(&self, text: &str) -> Result<PathBuf, String> {
        let path = self
            .0
            .join(text)
            .canonicalize()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "does not exist".to_owned(),
                _ => format!("cannot be opened: {error}"),
            })?;
        if !path.is_dir() {
            return Err("is not a folder".to_owned());
        }
        std::fs::read_dir(&path).map_err(|error| format!("cannot be listed: {error}"))?;
        Ok(path)
    }

    /// A folder that may not exist yet. What exists of its path is resolved.
    pub(super) fn new_dir(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(text);
        if path
            .components()
            .any(|part| matches!(part, Component::ParentDir))
            && !path.exists()
        {
            return Err("has `..` in it and does not exist".to_owned());
        }
        for ancestor in path.ancestors() {
            let Ok(real) = ancestor.canonicalize() else {
                continue;
            };
            if !real.is_dir() {
                return Err(format!("{} is not a folder", ancestor.display()));
            }
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            // `join("")` would add a slash at the end.
            return Ok(if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            });
        }
        Err("has no existing folder above it".to_owned())
    }
}

/// Each setting by itself: `None` is unset, or wrong and already reported.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) mode: Option<Mode>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) api_prefix: Option<ApiPrefix>,
    pub(super) homepage: Option<Homepage>,
    pub(super) worker_dirs: Option<Vec<PathBuf>>,
    pub(super) plugin_dirs: Option<Vec<PathBuf>>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) database: Option<Database>,
    pub(super) releases_kept: Option<u32>,
    pub(super) bun: Option<PathBuf>,
    pub(super) bun_copy: Option<bool>,
    pub(super) pool_size: Option<u32>,
    pub(super) ephemeral_concurrency: Option<u32>,
    pub(super) ephemeral_queue_limit: Option<u32>,
    pub(super) sandbox: Option<SandboxMode>,
    pub(super) npm_registry: Option<Secret>,
    pub(super) npm_ca_file: Option<PathBuf>,
    pub(super) body_default: Option<ByteSize>,
    pub(super) body_max: Option<ByteSize>,
    pub(super) head_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_connections: Option<u32>,
    pub(super) shards: Option<usize>,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) root_key: Option<Secret>,
    pub(super) trusted_proxies: Option<TrustedProxies>,
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) admin_host: Option<String>,
    pub(super) admin_port: Option<u16>,
    pub(super) session_ttl: Option<Duration>,
    pub(super) grants: Option<PathBuf>,
    pub(super) plugin_env: Option<PluginEnv>,
    pub(super) log_level: Option<Level>,
    pub(super) log_format: Option<Format>,
}

/// A parsed setting's text and where it came from.
struct Given {
    setting: String,
    text: String,
}

/// The settings after parsing, before they meet each other.
pub(super) struct Draft<'a> {
    raw: Raw,
    sources: &'a Sources<'a>,
}

impl<'a> Draft<'a> {
    /// Parses every setting, reporting each that is wrong.
    pub(super) fn read(sources: &'a Sources<'a>, problems: &mut Vec<Problem>) -> Self {
        let mut raw = Raw::default();
        let base = Base(&sources.current_dir);
        for variable in VARIABLES {
            match given(sources, variable) {
                Ok(None) => {}
                Ok(Some(Given { setting, text })) => {
                    if let Err(message) = (variable.read)(&mut raw, &text, &base) {
                        let problem = Problem::new(setting, message, variable.accepted);
                        problems.push(if variable.secret {
                            problem
                        } else {
                            problem.with_value(&text)
                        });
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        Self { raw, sources }
    }

    /// Fills in the defaults and checks what concerns several settings.
    pub(super) fn finish(
        self,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Option<Config> {
        let mode = self.raw.mode.unwrap_or(Mode::Development);
        let workers = self.workers(problems);
        let state_dir = self.state_dir(&workers, problems);
        let tls = self.tls(problems);
        let bodies = self.bodies(problems);
        let grants = self.grants(&workers, state_dir.as_deref(), problems, warnings);
        self.admin_port(problems);
        self.weak_key(mode, problems, warnings);
        self.shared_origin(mode, warnings);
        self.not_built_yet(warnings);
        let raw = self.raw;
        let pool_size = raw.pool_size.unwrap_or_else(|| mode.pool_size());
        Some(Config {
            mode,
            listen: ListenConfig {
                host: raw.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                port: raw.port.unwrap_or(8000),
                tls,
                max_connections: raw.max_connections.unwrap_or(10_000),
                shards: raw.shards.unwrap_or_else(cores),
            },
            workers,
            plugins: PluginSettings {
                roots: plugin_roots(raw.plugin_dirs, &self.sources.current_dir),
                env: raw.plugin_env.unwrap_or_default(),
            },
            state: StateConfig {
                dir: state_dir?,
                database: raw.database.unwrap_or(Database::Embedded),
                releases_kept: raw.releases_kept.unwrap_or(10),
                root_key: raw.root_key,
            },
            api: ApiConfig {
                prefix: raw.api_prefix.unwrap_or_default(),
                allowed_hosts: raw.allowed_hosts,
                admin: AdminOrigin {
                    host: raw.admin_host,
                    port: raw.admin_port,
                },
                session_ttl: raw.session_ttl.unwrap_or(Duration::from_secs(24 * 60 * 60)),
            },
            pool: PoolSettings {
                size: pool_size,
                ephemeral_concurrency: raw.ephemeral_concurrency.unwrap_or(2).min(pool_size),
                ephemeral_queue_limit: raw.ephemeral_queue_limit.unwrap_or(100),
                bun: raw.bun,
                copies_bun: raw.bun_copy.unwrap_or(true),
            },
            timeouts: Timeouts {
                head: raw.head_timeout.unwrap_or(Duration::from_secs(10)),
                body: raw.body_timeout.unwrap_or(Duration::from_secs(30)),
                write: raw.write_timeout.unwrap_or(Duration::from_secs(30)),
                idle: raw.idle_timeout.unwrap_or(Duration::from_secs(75)),
                shutdown: raw.shutdown_timeout.unwrap_or(Duration::from_secs(30)),
            },
            bodies,
            trusted_proxies: raw.trusted_proxies.unwrap_or_else(TrustedProxies::loopback),
            sandbox: raw.sandbox.unwrap_or(SandboxMode::Auto),
            grants,
            grants_file: raw.grants,
            homepage: raw.homepage,
            npm: npm::load(
                raw.npm_registry,
                raw.npm_ca_file,
                self.sources.vars,
                warnings,
            ),
            log: LogConfig {
                level: raw.log_level.unwrap_or(if mode.is_deployed() {
                    Level::Info
                } else {
                    Level::Debug
                }),
                format: raw.log_format.unwrap_or(if mode.is_deployed() {
                    Format::Json
                } else {
                    Format::Pretty
                }),
            },
        })
    }

    /// The name under which the user set the variable.
    fn setting(&self, name: &'static str) -> String {
        match VARIABLES.iter().find(|variable| variable.name == name) {
            Some(variable) if self.sources.flags.get(name).is_some() => {
                format!("--{}", variable.flag)
            }
            _ => name.to_owned(),
        }
    }

    fn is_given(&self, name: &str) -> bool {
        VARIABLES
            .iter()
            .find(|variable| variable.name == name)
            .is_some_and(|variable| !matches!(given(self.sources, variable), Ok(None)))
    }

    fn workers(&self, problems: &mut Vec<Problem>) -> Vec<WorkerRoot> {
        if !self.is_given("RUNTIME_WORKER_DIRS") {
            problems.push(Problem::new(
                "RUNTIME_WORKER_DIRS",
                "is required and not set",
                "set it, or --worker-dirs, to the folders that hold the apps, separated by `:`",
            ));
        }
        self.raw
            .worker_dirs
            .iter()
            .flatten()
            .map(|path| WorkerRoot {
                path: path.clone(),
                only: None,
            })
            .collect()
    }

    /// The state directory must be out of reach of apps: it may lie beside them in a root, under a name that starts
    /// with a dot and so cannot be an app, but not in an app, and no root may lie in it.
    fn state_dir(&self, workers: &[WorkerRoot], problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let dir = match &self.raw.state_dir {
            Some(dir) => dir.clone(),
            None if self.is_given("RUNTIME_STATE_DIR") => return None,
            None => match Base(&self.sources.current_dir).new_dir(".buntime") {
                Ok(dir) => dir,
                Err(message) => {
                    let problem = Problem::new(
                        "RUNTIME_STATE_DIR",
                        message,
                        "name a folder that can be made",
                    );
                    problems.push(problem.with_value("./.buntime"));
                    return None;
                }
            },
        };
        let plugins = self.raw.plugin_dirs.iter().flatten();
        for root in workers.iter().map(|root| &root.path).chain(plugins) {
            let exposed = root.starts_with(&dir)
                || dir
                    .strip_prefix(root)
                    .is_ok_and(|below| !below.as_os_str().as_encoded_bytes().starts_with(b"."));
            if exposed {
                let problem = Problem::new(
                    self.setting("RUNTIME_STATE_DIR"),
                    format!("shares its place with the root {}", root.display()),
                    "keep secrets away from apps: name a folder outside all worker and plugin roots",
                );
                problems.push(problem.with_value(&dir.to_string_lossy()));
            }
        }
        Some(dir)
    }

    fn tls(&self, problems: &mut Vec<Problem>) -> Option<TlsPair> {
        let (cert, key) = ("RUNTIME_TLS_CERT", "RUNTIME_TLS_KEY");
        match (self.is_given(cert), self.is_given(key)) {
            (true, false) => problems.push(Problem::new(
                self.setting(cert),
                "a certificate without its key",
                "set RUNTIME_TLS_KEY too, or neither",
            )),
            (false, true) => problems.push(Problem::new(
                self.setting(key),
                "a key without its certificate",
                "set RUNTIME_TLS_CERT too, or neither",
            )),
            _ => {}
        }
        let files = TlsFiles {
            cert: self.raw.tls_cert.clone()?,
            key: self.raw.tls_key.clone()?,
        };
        let faults = match tls::load(&files) {
            Ok(pair) => return Some(pair),
            Err(faults) => faults,
        };
        for (part, fault) in faults {
            let (name, file, accepted) = match part {
                tls::Part::Cert => (cert, &files.cert, "name a certificate chain (PEM)"),
                tls::Part::Key => (
                    key,
                    &files.key,
                    "name the private key (PEM) of the certificate",
                ),
            };
            let problem = Problem::new(self.setting(name), fault.to_string(), accepted);
            problems.push(problem.with_value(&file.to_string_lossy()));
        }
        None
    }

    /// What the operator grants; all that is wrong with the file, if it cannot be used.
    fn grants(
        &self,
        workers: &[WorkerRoot],
        state_dir: Option<&Path>,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Arc<Grants> {
        let Some(file) = &self.raw.grants else {
            return Arc::default();
        };
        let setting = self.setting("RUNTIME_GRANTS");
        let problem = |text| Problem::new(setting.clone(), text, "");
        let out_of_reach = OutOfReach {
            state_dir,
            workers: workers.iter().map(|root| root.path.as_path()).collect(),
            plugins: &plugin_roots(self.raw.plugin_dirs.clone(), &self.sources.current_dir),
            file,
        };
        match grants::load(file) {
            Ok(parsed) => {
                warnings.extend(parsed.warnings.iter().map(ToString::to_string).map(problem));
                problems.extend(out_of_reach.of(&parsed.value).into_iter().map(problem));
                Arc::new(parsed.value)
            }
            Err(errors) => {
                problems.extend(errors.into_iter().map(problem));
                Arc::default()
            }
        }
    }

    fn bodies(&self, problems: &mut Vec<Problem>) -> BodyLimits {
        let max = self.raw.body_max.unwrap_or(ByteSize::from_bytes(100 << 20));
        // The ceiling alone may be lowered below the usual default: the default follows.
        let default = self
            .raw
            .body_default
            .unwrap_or_else(|| ByteSize::from_bytes(10 << 20).min(max));
        if default > max {
            let problem = Problem::new(
                self.setting("BODY_SIZE_DEFAULT"),
                format!("is above BODY_SIZE_MAX, which is {max}"),
                "lower it or raise BODY_SIZE_MAX",
            );
            problems.push(problem.with_value(&default.to_string()));
        }
        BodyLimits { default, max }
    }

    fn admin_port(&self, problems: &mut Vec<Problem>) {
        let Some(port) = self.raw.admin_port else {
            return;
        };
        // Two free ports are two.
        if port != 0 && port == self.raw.port.unwrap_or(8000) {
            let problem = Problem::new(
                self.setting("RUNTIME_ADMIN_PORT"),
                "is the port of the apps",
                "write another port than PORT, or use RUNTIME_ADMIN_HOST",
            );
            problems.push(problem.with_value(&port.to_string()));
        }
    }

    /// Of settings that have no effect yet, who sets them is told.
    fn not_built_yet(&self, warnings: &mut Vec<Problem>) {
        if self.raw.plugin_env.is_some() {
            warnings.push(Problem::new(
                self.setting("RUNTIME_PLUGIN_ENV"),
                "has no effect: plugins do not run in this version",
                "unset it until a version has them",
            ));
        }
    }

    /// An app's page that an operator opens can do with the API what the operator can, if both have one origin.
    fn shared_origin(&self, mode: Mode, warnings: &mut Vec<Problem>) {
        if mode == Mode::Production
            && self.raw.admin_host.is_none()
            && self.raw.admin_port.is_none()
        {
            warnings.push(Problem::new(
                "RUNTIME_ADMIN_HOST",
                "is not set, so the pages of apps share the origin of the API and the panel",
                "set it, or RUNTIME_ADMIN_PORT, to give the API an origin of its own",
            ));
        }
    }

    /// Guessing a key in a header is slowed by nothing but its length.
    fn weak_key(&self, mode: Mode, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
        let key = self.raw.root_key.as_ref();
        if key.is_none_or(|key| key.expose().len() >= ROOT_KEY_SHORTEST) {
            return;
        }
        let problem = Problem::new(
            self.setting("RUNTIME_ROOT_KEY"),
            "is short enough to be guessed",
            "use at least 16 random characters, or unset it and have one generated",
        );
        if mode.is_deployed() {
            problems.push(problem);
        } else {
            warnings.push(problem);
        }
    }
}

/// Shortest root key that staging and production accept, in characters.
const ROOT_KEY_SHORTEST: usize = 16;

/// The text of a setting: its flag, else its variable. An empty text is unset, so that a flag can take a variable back.
fn given(sources: &Sources<'_>, variable: &Variable) -> Result<Option<Given>, Problem> {
    let (setting, text) = match sources.flags.get(variable.name) {
        Some(text) => (format!("--{}", variable.flag), text.clone()),
        None => match sources.vars.get(variable.name) {
            Some(text) => (variable.name.to_owned(), text),
            None => return Ok(None),
        },
    };
    match text.into_string() {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(Given { setting, text })),
        Err(_) => Err(Problem::new(
            setting,
            "is not valid UTF-8",
            variable.accepted,
        )),
    }
}

/// As many as this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn plugin_roots(named: Option<Vec<PathBuf>>, current_dir: &Path) -> Vec<PathBuf> {
    let mut roots = named.unwrap_or_else(|| Base(current_dir).dir("plugins").into_iter().collect());
    roots.sort_by_key(|root| !is_built_in(root));
    roots
}
