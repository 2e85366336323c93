//! Every setting, declared once.

use super::draft::{Base, Raw};
use super::parse;

/// A setting: a variable and its flag.
pub struct Variable {
    /// Name of the environment variable.
    pub name: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// The default, in words. Empty: none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// What is accepted, as it ends an error message.
    pub accepted: &'static str,
    /// Where it stands in the help and the reference.
    pub group: Group,
    /// Its value is never repeated.
    pub secret: bool,
    /// Parses the value and puts it into the draft. The error says what is wrong with the value.
    pub(super) read: fn(&mut Raw, &str, &Base<'_>) -> Result<(), String>,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name)
            .field("flag", &self.flag)
            .finish_non_exhaustive()
    }
}

/// Headings of the help and of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Addresses, names, certificates.
    Listening,
    /// Folders and state.
    Files,
    /// Worker processes.
    Workers,
    /// Limits and deadlines.
    Limits,
    /// Who may do what.
    Access,
    /// The log.
    Logs,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Listening => "Listening",
            Self::Files => "Files and state",
            Self::Workers => "Workers",
            Self::Limits => "Limits and deadlines",
            Self::Access => "Access",
            Self::Logs => "Logs",
        }
    }
}

const DURATION: &str =
    "write a number of seconds, or a number with ms, s, m, h, d, w or y, above zero, such as 30s";
const SIZE: &str =
    "write a number of bytes, or a number with b, kb, mb or gb, above zero, such as 10mb";
const FILE: &str = "name a readable file";
const DIRS: &str = "name existing folders, separated by `:`";
const HOST_NAME: &str = "write a host name without scheme and port, such as admin.example.org";

/// All settings, in the order of the reference.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: "HOST",
        flag: "host",
        value: "ADDRESS",
        default: "127.0.0.1",
        meaning: "Address to listen on; 0.0.0.0 in containers",
        accepted: "write an IP address or `localhost`",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.host, parse::host(text)),
    },
    Variable {
        name: "PORT",
        flag: "port",
        value: "PORT",
        default: "8000",
        meaning: "Port to listen on; 0 takes a free one",
        accepted: "write a port from 0 to 65535",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.port, parse::number(text, 0, u16::MAX)),
    },
    Variable {
        name: "NODE_ENV",
        flag: "node-env",
        value: "MODE",
        default: "development",
        meaning: "development, production, staging or test: sets the defaults of other settings",
        accepted: "write development, production, staging or test",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.mode, parse::mode(text)),
    },
    Variable {
        name: "RUNTIME_TLS_CERT",
        flag: "tls-cert",
        value: "FILE",
        default: "",
        meaning: "Certificate chain (PEM): HTTPS on the same port; needs RUNTIME_TLS_KEY",
        accepted: FILE,
        group: Group::Listening,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.tls_cert, base.file(text)),
    },
    Variable {
        name: "RUNTIME_TLS_KEY",
        flag: "tls-key",
        value: "FILE",
        default: "",
        meaning: "Private key (PEM) of the certificate",
        accepted: FILE,
        group: Group::Listening,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.tls_key, base.file(text)),
    },
    Variable {
        name: "RUNTIME_SHARDS",
        flag: "shards",
        value: "N",
        default: "one for each core",
        meaning: "Threads that serve connections; fewer leave more of the processor to apps",
        accepted: "write a whole number from 1 to 256",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.shards, parse::number(text, 1, 256)),
    },
    Variable {
        name: "RUNTIME_API_PREFIX",
        flag: "api-prefix",
        value: "PATH",
        default: "",
        meaning: "/_ moves the API to /_/api; reserved paths stay reserved at the root",
        accepted: "write a plain path such as /_, without a slash at its end",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.api_prefix, parse::api_prefix(text)),
    },
    Variable {
        name: "RUNTIME_HOMEPAGE",
        flag: "homepage",
        value: "APP",
        default: "",
        meaning: "App that answers / and what nothing else answers",
        accepted: "write the name of an app, or name@range",
        group: Group::Listening,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.homepage, parse::homepage(text)),
    },
    Variable {
        name: "RUNTIME_WORKER_DIRS",
        flag: "worker-dirs",
        value: "DIR:DIR",
        default: "required",
        meaning: "Worker roots; one whose own name starts with a dot is built-in: listed as such, read-only",
        accepted: DIRS,
        group: Group::Files,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.worker_dirs, base.dirs(text)),
    },
    Variable {
        name: "RUNTIME_PLUGIN_DIRS",
        flag: "plugin-dirs",
        value: "DIR:DIR",
        default: "./plugins if present",
        meaning: "Plugin roots, built-in ones first",
        accepted: DIRS,
        group: Group::Files,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.plugin_dirs, base.dirs(text)),
    },
    Variable {
        name: "RUNTIME_STATE_DIR",
        flag: "state-dir",
        value: "DIR",
        default: "./.buntime",
        meaning: "Database, sessions, secrets; created with mode 0700",
        accepted: "name a folder, or a place where one can be made",
        group: Group::Files,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.state_dir, base.new_dir(text)),
    },
    Variable {
        name: "RUNTIME_DATABASE_URL",
        flag: "database-url",
        value: "URL",
        default: "a file in the state dir",
        meaning: "postgres://… when several servers share state; not built in yet",
        accepted: "leave it unset: the data goes to a file in the state dir",
        group: Group::Files,
        secret: true,
        read: |raw, text, _| parse::set(&mut raw.database, parse::database(text)),
    },
    Variable {
        name: "RUNTIME_RELEASES_KEPT",
        flag: "releases-kept",
        value: "N",
        default: "10",
        meaning: "Releases kept of each worker, to roll back to; what is live is always kept",
        accepted: "write a whole number from 1 to 1000",
        group: Group::Files,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.releases_kept, parse::number(text, 1, 1000)),
    },
    Variable {
        name: "RUNTIME_BUN",
        flag: "bun",
        value: "FILE",
        default: "found on PATH, else the project's pinned one",
        meaning: "The Bun binary",
        accepted: "name the bun executable",
        group: Group::Workers,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.bun, base.file(text)),
    },
    Variable {
        name: "RUNTIME_BUN_COPY",
        flag: "bun-copy",
        value: "MODE",
        default: "auto",
        meaning: "auto has workers run a copy of Bun in the state dir where that starts faster; off",
        accepted: "write auto or off",
        group: Group::Workers,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.bun_copy, parse::auto_or_off(text)),
    },
    Variable {
        name: "RUNTIME_POOL_SIZE",
        flag: "pool-size",
        value: "N",
        default: "10 in development, 50 in staging, 500 in production, 5 in test",
        meaning: "Most live workers; the least recently used is retired first",
        accepted: "write a whole number from 1 to 100000",
        group: Group::Workers,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.pool_size, parse::number(text, 1, 100_000)),
    },
    Variable {
        name: "RUNTIME_EPHEMERAL_CONCURRENCY",
        flag: "ephemeral-concurrency",
        value: "N",
        default: "2",
        meaning: "Workers with ttl 0 that run at a time, for each app; all stay within the pool size",
        accepted: "write a whole number from 1 to 100000",
        group: Group::Workers,
        secret: false,
        read: |raw, text, _| {
            parse::set(
                &mut raw.ephemeral_concurrency,
                parse::number(text, 1, 100_000),
            )
        },
    },
    Variable {
        name: "RUNTIME_EPHEMERAL_QUEUE_LIMIT",
        flag: "ephemeral-queue-limit",
        value: "N",
        default: "100",
        meaning: "Requests that may wait for a worker with ttl 0, for each app",
        accepted: "write a whole number from 0 to 100000",
        group: Group::Workers,
        secret: false,
        read: |raw, text, _| {
            parse::set(
                &mut raw.ephemeral_queue_limit,
                parse::number(text, 0, 100_000),
            )
        },
    },
    Variable {
        name: "RUNTIME_SANDBOX",
        flag: "sandbox",
        value: "MODE",
        default: "auto",
        meaning: "auto enforces all that the machine allows, logs the rest, and does not start as root where files or services of root's are open; require refuses to start short of all of it; off",
        accepted: "write auto, require or off",
        group: Group::Workers,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.sandbox, parse::sandbox(text)),
    },
    Variable {
        name: "RUNTIME_NPM_REGISTRY",
        flag: "npm-registry",
        value: "URL",
        default: "npm's own configuration",
        meaning: "Package registry for auto-install",
        accepted: "write an http or https URL",
        group: Group::Workers,
        secret: true,
        read: |raw, text, _| parse::set(&mut raw.npm_registry, parse::registry(text)),
    },
    Variable {
        name: "RUNTIME_NPM_CAFILE",
        flag: "npm-cafile",
        value: "FILE",
        default: "npm's own configuration",
        meaning: "Certificates (PEM) for the package registry",
        accepted: FILE,
        group: Group::Workers,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.npm_ca_file, base.file(text)),
    },
    Variable {
        name: "BODY_SIZE_DEFAULT",
        flag: "body-size-default",
        value: "SIZE",
        default: "10mb",
        meaning: "Largest request body of an app whose manifest names none",
        accepted: SIZE,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.body_default, parse::size(text)),
    },
    Variable {
        name: "BODY_SIZE_MAX",
        flag: "body-size-max",
        value: "SIZE",
        default: "100mb",
        meaning: "Largest request body of any app",
        accepted: SIZE,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.body_max, parse::size(text)),
    },
    Variable {
        name: "RUNTIME_HEAD_TIMEOUT",
        flag: "head-timeout",
        value: "TIME",
        default: "10s",
        meaning: "A request's head must be complete in this time",
        accepted: DURATION,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.head_timeout, parse::duration(text)),
    },
    Variable {
        name: "RUNTIME_BODY_TIMEOUT",
        flag: "body-timeout",
        value: "TIME",
        default: "30s",
        meaning: "Longest time without progress in a request body",
        accepted: DURATION,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.body_timeout, parse::duration(text)),
    },
    Variable {
        name: "RUNTIME_WRITE_TIMEOUT",
        flag: "write-timeout",
        value: "TIME",
        default: "30s",
        meaning: "Longest time without progress while a client takes its response",
        accepted: DURATION,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.write_timeout, parse::duration(text)),
    },
    Variable {
        name: "RUNTIME_IDLE_TIMEOUT",
        flag: "idle-timeout",
        value: "TIME",
        default: "75s",
        meaning: "Life of a connection without a request",
        accepted: DURATION,
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.idle_timeout, parse::duration(text)),
    },
    Variable {
        name: "RUNTIME_MAX_CONNECTIONS",
        flag: "max-connections",
        value: "N",
        default: "10000",
        meaning: "Most client connections at a time",
        accepted: "write a whole number from 1 to 1000000",
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| {
            parse::set(&mut raw.max_connections, parse::number(text, 1, 1_000_000))
        },
    },
    Variable {
        name: "RUNTIME_SHUTDOWN_TIMEOUT",
        flag: "shutdown-timeout",
        value: "TIME",
        default: "30s",
        meaning: "Time that requests under way have when the server stops; 0 for none",
        accepted: "write a number of seconds, or a number with ms, s, m, h, d, w or y, such as 30s",
        group: Group::Limits,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.shutdown_timeout, parse::duration_or_zero(text)),
    },
    Variable {
        name: "RUNTIME_ROOT_KEY",
        flag: "root-key",
        value: "KEY",
        default: "generated on first start",
        meaning: "Operator key, full access; prefer the variable, as other users may see flags",
        accepted: "write up to 256 visible ASCII characters without spaces",
        group: Group::Access,
        secret: true,
        read: |raw, text, _| parse::set(&mut raw.root_key, parse::root_key(text)),
    },
    Variable {
        name: "RUNTIME_TRUSTED_PROXIES",
        flag: "trusted-proxies",
        value: "CIDR,CIDR",
        default: "127.0.0.0/8,::1/128",
        meaning: "Whose X-Forwarded-* and Forwarded headers count; from others they are dropped; `none` for nobody's",
        accepted: "write addresses or CIDRs such as 10.0.0.0/8, separated by commas, or `none`",
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.trusted_proxies, parse::proxies(text)),
    },
    Variable {
        name: "RUNTIME_ALLOWED_HOSTS",
        flag: "allowed-hosts",
        value: "HOST,HOST",
        default: "IP addresses and localhost",
        meaning: "Host names under which login and the session cookie are accepted",
        accepted: "write host names without scheme and port, separated by commas",
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.allowed_hosts, parse::host_names(text)),
    },
    Variable {
        name: "RUNTIME_ADMIN_HOST",
        flag: "admin-host",
        value: "HOST",
        default: "everywhere",
        meaning: "API and cpanel only under this host name, and no app there, so that none shares their origin",
        accepted: HOST_NAME,
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.admin_host, parse::host_name(text)),
    },
    Variable {
        name: "RUNTIME_ADMIN_PORT",
        flag: "admin-port",
        value: "PORT",
        default: "everywhere",
        meaning: "A second port: API and cpanel only there, so that no app shares their origin; 0 takes a free one",
        accepted: "write a port from 0 to 65535, other than PORT",
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.admin_port, parse::number(text, 0, u16::MAX)),
    },
    Variable {
        name: "RUNTIME_CPANEL_SESSION_TTL",
        flag: "cpanel-session-ttl",
        value: "TIME",
        default: "24h",
        meaning: "Life of a cpanel session",
        accepted: DURATION,
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.session_ttl, parse::duration(text)),
    },
    Variable {
        name: "RUNTIME_GRANTS",
        flag: "grants",
        value: "FILE",
        default: "",
        meaning: "YAML file: what the operator grants to which app or plugin beyond the defaults",
        accepted: FILE,
        group: Group::Access,
        secret: false,
        read: |raw, text, base| parse::set(&mut raw.grants, base.file(text)),
    },
    Variable {
        name: "RUNTIME_PLUGIN_ENV",
        flag: "plugin-env",
        value: "NAME:VAR,VAR;…",
        default: "",
        meaning: "Which variables an uploaded plugin may interpolate",
        accepted: "write plugin:VAR,VAR and separate plugins by `;`, such as @acme/auth:AUTH_URL,AUTH_REALM; no RUNTIME_*",
        group: Group::Access,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.plugin_env, parse::plugin_env(text)),
    },
    Variable {
        name: "RUNTIME_LOG_LEVEL",
        flag: "log-level",
        value: "LEVEL",
        default: "info in production and staging, else debug",
        meaning: "debug, info, warn or error: less is not logged",
        accepted: "write debug, info, warn or error",
        group: Group::Logs,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.log_level, parse::log_level(text)),
    },
    Variable {
        name: "RUNTIME_LOG_FORMAT",
        flag: "log-format",
        value: "FORMAT",
        default: "json in production and staging, else pretty",
        meaning: "json: one object a line; pretty: for people",
        accepted: "write json or pretty",
        group: Group::Logs,
        secret: false,
        read: |raw, text, _| parse::set(&mut raw.log_format, parse::log_format(text)),
    },
];
