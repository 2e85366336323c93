//! Routes about the server itself.

use std::sync::Arc;

use super::Api;
use super::call::Call;
use super::route::{Access, Route};
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/health",
        Access::Public(|api, call| Box::pin(health(api, call, None))),
        "Whether the server runs.",
    ),
    Route::get(
        "/health/live",
        Access::Public(|api, call| Box::pin(health(api, call, Some("live")))),
        "Whether the server is alive.",
    ),
    Route::get(
        "/health/ready",
        Access::Public(|api, call| Box::pin(health(api, call, Some("ready")))),
        "Whether the server wants requests: not while it starts or stops.",
    ),
];

async fn health(api: Arc<Api>, call: Call, probe: Option<&str>) -> Result<Response, Answer> {
    api.readiness.answer(&call.request, probe)
}
