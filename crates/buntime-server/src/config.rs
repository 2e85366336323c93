//! The configuration: read once, from variables and flags, into validated types.
//!
//! [`VARIABLES`] declares every setting once: its name, its flag, its default, its meaning and its parser. Reading,
//! `buntime serve --help` and the reference table in `docs/configuration.md` all come from it, so they cannot differ.
//!
//! [`Config::load`] looks at everything before it gives up and returns all problems together. It creates nothing:
//! [`StateConfig::prepare`] makes the state directory, and [`Bun::find`] looks for Bun.

mod bun;
mod draft;
mod grants;
mod npm;
mod parse;
mod problem;
mod proxies;
mod reference;
mod secret;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod variables;
mod vars;

pub use bun::{Bun, BunError, BunOrigin, BunPlaces, BunVersion, OLDEST_BUN};
pub use grants::{OutOfReach, load as load_grants};
pub use problem::{ConfigErrors, Problem};
pub use proxies::TrustedProxies;
pub use reference::markdown as reference_table;
pub use secret::Secret;
pub use settings::{
    AdminOrigin, ApiConfig, ApiPrefix, BodyLimits, Config, Database, Homepage, ListenConfig,
    LogConfig, Mode, NpmConfig, PluginEnv, PluginSettings, PoolSettings, SandboxMode, StateConfig,
    Timeouts, WorkerRoot, is_built_in,
};
pub use variables::{Group, VARIABLES, Variable};
pub use vars::{Flags, ProcessVars, Vars};

use std::path::PathBuf;

pub use crate::tls::TlsPair;

/// What [`Config::load`] reads from: nothing else of the process is looked at.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The environment, or a map in tests.
    pub vars: &'a dyn Vars,
    /// What the command line said. A flag wins over its variable.
    pub flags: &'a Flags,
    /// Relative paths start here. Absolute.
    pub current_dir: PathBuf,
}

/// A configuration and what is odd about it without being wrong.
#[derive(Debug)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// For the log, at level `warn`, once the log is up.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and validates every setting.
    ///
    /// # Errors
    /// All problems at once. The caller prints them and exits with 2.
    pub fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigErrors> {
        let mut problems = Vec::new();
        let mut warnings = vars::unknown(sources.vars);
        let draft = draft::Draft::read(sources, &mut problems);
        let config = draft.finish(&mut problems, &mut warnings);
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(ConfigErrors::new(problems)),
        }
    }
}
