//! `GET /metrics`: numbers for Prometheus (contract section 7).

use std::sync::Arc;

use buntime_core::access::{Grant, Permission};

use super::Api;
use super::errors::blocking;
use super::route::{Access, Route};
use crate::message::Response;
use crate::metrics::{self, Facts};
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[Route::get(
    "/metrics",
    Access::Granted(Permission::WorkersRead, |api, _, grant| {
        Box::pin(scrape(api, grant))
    }),
    "What happens, in numbers: the text format of Prometheus.",
)
.gives_files(&["text/plain"])];

async fn scrape(api: Arc<Api>, grant: Grant) -> Result<Response, Answer> {
    // Reads files of the system.
    let report = blocking(move || {
        let facts = Facts {
            pool: &api.metrics.pool(),
            audit: &api.audit,
            sandbox: api.sandbox.layers,
            reader: &grant.principal().rights.namespaces,
        };
        metrics::report(&api.metrics, &facts)
    });
    let mut response = Response::with_bytes(200, metrics::CONTENT_TYPE, report.await?);
    response.set(b"cache-control", b"no-store");
    Ok(response)
}
