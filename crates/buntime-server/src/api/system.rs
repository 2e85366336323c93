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
    .gives_the_same(503, "It is `starting`, `stopping` or `impaired`."),
];

/// How the server is.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for the shape of what is written by hand")]
struct Health {
    ok: bool,
    /// `healthy`, `live`, `ready`, `starting`, `stopping` or `impaired`.
    status: String,
    version: String,
    /// What confines workers, for who has a key.
    #[schemars(default)]
    sandbox: Option<Sandbox>,
}

/// What confines workers.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for the shape of what is written by hand")]
#[schemars(rename_all = "camelCase")]
struct Sandbox {
    /// The version of Landlock.
    landlock: Option<u32>,
    seccomp: bool,
    namespaces: bool,
    /// Whether each worker has a `/proc` of its own.
    own_proc: bool,
    /// Whether each worker has a network of its own.
    network: bool,
    /// Whether connections can be made by a broker, where there is no such network.
    broker: bool,
    /// What this machine does not give of the full set.
    missing: Vec<Missing>,
}

/// A part of the sandbox that there is not.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for the shape of what is written by hand")]
struct Missing {
    what: String,
    why: String,
}

async fn health(api: Arc<Api>, call: Call, probe: Option<&str>) -> Result<Response, Answer> {
    let knows = api.access.authenticate(&call.request, call.address);
    let sandbox = knows.map(|_| &*api.sandbox);
    api.readiness.answer(&call.request, probe, sandbox)
}
