//! What a server knows from its last run.

use std::io;

use super::RunError;
use crate::access::{Access, AccessConfig};
use crate::config::Config;
use crate::deploy::recover;
use crate::logging::Logger;
use crate::store::{StateLock, Store};
use crate::{catalog, plugins};

/// The store, and what is kept of it in memory.
pub(super) struct State {
    pub(super) store: Store,
    /// Who may come in.
    pub(super) access: Access,
    /// What the operator has said of workers.
    pub(super) workers: catalog::Overrides,
    /// What the operator has said of plugins.
    pub(super) plugins: plugins::Overrides,
    /// Keeps other servers away from the directory.
    pub(super) lock: StateLock,
}

impl State {
    /// Takes the state directory, opens its store and reads it.
    pub(super) async fn open(config: &Config, log: &Logger) -> Result<Self, RunError> {
        if let Some(warning) = config.state.prepare().map_err(RunError::State)? {
            log.warn("config", warning, |_| {});
        }
        let lock = StateLock::take(&config.state.dir)?;
        let dir = config.state.dir.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(&dir))
            .await
            .map_err(io::Error::other)??;
        // Deployments change what is read below.
        let (workers, plugins) = (&config.workers, &config.plugins.roots);
        recover(workers, plugins, &config.state.dir, &store, log).await?;
        let access = AccessConfig {
            state_dir: &config.state.dir,
            root_key: config.state.root_key.as_ref(),
            session_ttl: config.api.session_ttl,
        };
        let access = Access::load(access, store.clone(), log.clone()).await?;
        let states = store.run(|database| database.unit_states()).await?;
        for corrupt in &states.corrupt {
            log.error("store", corrupt, |_| {});
        }
        let (mut workers, mut plugins) = (catalog::Overrides::new(), plugins::Overrides::new());
        for state in states.rows {
            match state.version {
                Some(version) => {
                    workers.insert(catalog::unit_id(&state.name, &version), state.enabled);
                }
                None => {
                    plugins.insert(state.name, state.enabled);
                }
            }
        }
        Ok(Self {
            store,
            access,
            workers,
            plugins,
            lock,
        })
    }
}
