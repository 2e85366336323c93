//! One version of one app and its workers.

use std::sync::Arc;

use buntime_http::BodySource;

use crate::client::{WorkerRequest, WorkerResponse};
use crate::config::AppSpec;
use crate::connections::ShardConnections;
use crate::error::ExchangeError;
use crate::status::AppStatus;

/// One version of one app and its workers.
#[derive(Debug)]
pub struct App {
    spec: Arc<AppSpec>,
}

impl App {
    /// What the app was made from.
    #[must_use]
    pub fn spec(&self) -> &Arc<AppSpec> {
        &self.spec
    }

    /// Sends a request to one of the app's workers, starting one if need be, and
    /// waits for the head of its response.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(
        self: &Arc<Self>,
        _connections: &ShardConnections,
        _request: WorkerRequest<'_>,
        _body: Box<dyn BodySource>,
    ) -> Result<WorkerResponse, ExchangeError> {
        Err(ExchangeError::Retired)
    }

    /// The app was replaced or removed: requests under way are finished, new ones
    /// refused, then its workers end.
    pub fn retire(&self) {}

    /// The app's files changed: its workers are replaced, and a crash loop is
    /// forgotten.
    pub fn files_changed(&self) {}

    /// What the app is doing.
    #[must_use]
    pub fn status(&self) -> AppStatus {
        AppStatus {
            id: self.spec.id.clone(),
            instances: Vec::new(),
            queued: 0,
            start_failures: 0,
            crash_loop: None,
        }
    }
}
