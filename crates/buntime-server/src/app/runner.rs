//! What workers are started with.

use std::io;
use std::sync::Arc;

use buntime_sandbox::{Launcher, Strength};

use super::RunError;
use crate::config::{Bun, BunPlaces, Config};
use crate::logging::Logger;
use crate::sandbox;

/// Bun, who starts it, and what it is kept from.
pub(super) struct Runner {
    pub(super) bun: Bun,
    pub(super) launcher: Launcher,
    pub(super) sandbox: Arc<Strength>,
}

impl Runner {
    /// Finds out what there is on this machine.
    pub(super) async fn find(config: &Config, log: &Logger) -> Result<Self, RunError> {
        let configured = config.pool.bun.clone();
        let find = move || Bun::find(configured.as_deref(), &BunPlaces::of_process());
        let found = tokio::task::spawn_blocking(find).await;
        let (bun, passed_over) = found.map_err(io::Error::other)??;
        for problem in passed_over {
            log.warn("config", problem, |_| {});
        }
        let launcher = Launcher::start()?;
        let (wanted, state_dir) = (config.sandbox, &config.state.dir);
        let sandbox = sandbox::settle(wanted, &launcher, &bun.program, state_dir, log).await?;
        Ok(Self {
            bun,
            launcher,
            sandbox: Arc::new(sandbox),
        })
    }
}
