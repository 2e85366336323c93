//! All workers together.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::config::{AppSpec, PoolConfig};
use crate::error::StartError;
use crate::status::PoolStatus;

/// All workers together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {}

impl Pool {
    /// Prepares the runtime directory and begins to start blanks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(_config: PoolConfig) -> Result<Self, StartError> {
        Ok(Self {})
    }

    /// The app of this specification: the one there is, if it has the same
    /// specification; else a new one, and the one that had its id is retired.
    pub fn app(&self, _spec: AppSpec) -> Arc<App> {
        unimplemented!()
    }

    /// What the pool is doing.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        unimplemented!()
    }

    /// Refuses new requests, finishes those under way and ends all workers. What
    /// still runs after `deadline` is killed; no process is left when it returns.
    pub async fn shutdown(&self, _deadline: Duration) {}
}
