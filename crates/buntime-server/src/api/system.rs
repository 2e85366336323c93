//! Routes about the server itself.

use std::sync::Arc;

use schemars::JsonSchema;

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
    )
    .gives::<Health>(200),
    Route::get(
        "/health/live",
        Access::Public(|api, call| Box::pin(health(api, call, Some("live")))),
        "Whether the server is alive.",
    )
    .gives::<Health>(200),
    Route::get(
        "/health/ready",
        Access::Public(|api, call| Box::pin(health(api, call, Some("ready")))),
        "Whether the server wants requests: not while it starts, stops or lacks something (503).",
    )
    .gives::<Health>(200)
    .fails(&[(503, "NOT_READY")]),
];

/// How the server is.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for the shape of what is written by hand")]
struct Health {
    ok: bool,
    /// `healthy`, `live`, `ready`, `starting`, `stopping` or `impaired`.
    status: String,
    version: String,
}

async fn health(api: Arc<Api>, call: Call, probe: Option<&str>) -> Result<Response, Answer> {
    api.readiness.answer(&call.request, probe)
}
