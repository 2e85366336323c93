//! Routes about workers: what there is, and what an operator does to it.

use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::access::{Grant, Permission, Permit};
use buntime_core::{PackageName, Version};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use self::view::WorkerView;
use super::Api;
use super::call::Call;
use super::errors::store_failed;
use super::json::{Done, Success, done, reply, success};
use super::route::{Access, Route};
use crate::catalog::{Deployment, State, unit_id};
use crate::dispatch::{Answers, Served};
use crate::failure::Failure;
use crate::message::Response;
use crate::removal::RemovalError;
use crate::service::Answer;
use crate::unit_states::StateError;

mod view;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/workers",
        Access::Granted(Permission::WorkersRead, |api, call, grant| {
            Box::pin(list(api, call, grant))
        }),
        "The workers that are installed, with what their processes do.",
    )
    .gives::<Vec<WorkerView<'static>>>(200),
    Route::change(
        Method::Post,
        "/workers/:scope/:name/:version/enable",
        Access::Unit(Permission::WorkersInstall, |api, call, permit, name| {
            Box::pin(enable(api, call, permit, name, true))
        }),
        "worker.enable",
        "Enables a version, whatever its manifest says.",
    )
    .gives::<Done>(200)
    .fails(&[
        (404, "WORKER_NOT_FOUND"),
        (500, "INTERNAL_ERROR"),
        (503, "STORAGE_UNAVAILABLE"),
    ]),
    Route::change(
        Method::Post,
        "/workers/:scope/:name/:version/disable",
        Access::Unit(Permission::WorkersInstall, |api, call, permit, name| {
            Box::pin(enable(api, call, permit, name, false))
        }),
        "worker.disable",
        "Disables a version: it answers 404 from the next request on.",
    )
    .gives::<Done>(200)
    .fails(&[
        (404, "WORKER_NOT_FOUND"),
        (500, "INTERNAL_ERROR"),
        (503, "STORAGE_UNAVAILABLE"),
    ]),
    Route::change(
        Method::Post,
        "/workers/:scope/:name/:version/restart",
        Access::Unit(Permission::WorkersRestart, |api, call, permit, name| {
            Box::pin(restart(api, call, permit, name))
        }),
        "worker.restart",
        "Gives every later request a new process; those under way are finished.",
    )
    .gives::<Done>(200)
    .fails(&[
        (404, "WORKER_NOT_FOUND"),
        (409, "WORKER_DISABLED"),
        (409, "WORKER_BROKEN"),
    ]),
    Route::change(
        Method::Delete,
        "/workers/:scope/:name",
        Access::Unit(Permission::WorkersRemove, |api, call, permit, name| {
            Box::pin(remove(api, call, permit, name))
        }),
        "worker.remove",
        "Removes a worker with all its versions.",
    )
    .gives::<Success<Removed>>(200)
    .fails(&[
        (403, "BUILT_IN_WORKER_REMOVE_FORBIDDEN"),
        (404, "WORKER_NOT_FOUND"),
        (500, "INTERNAL_ERROR"),
        (409, "WORKER_HOLDS_VERSIONS"),
        (503, "STORAGE_UNAVAILABLE"),
    ]),
    Route::change(
        Method::Delete,
        "/workers/:scope/:name/:version",
        Access::Unit(Permission::WorkersRemove, |api, call, permit, name| {
            Box::pin(remove(api, call, permit, name))
        }),
        "worker.remove",
        "Removes one version of a worker.",
    )
    .gives::<Success<Removed>>(200)
    .fails(&[
        (403, "BUILT_IN_WORKER_REMOVE_FORBIDDEN"),
        (404, "WORKER_NOT_FOUND"),
        (500, "INTERNAL_ERROR"),
        (409, "WORKER_HOLDS_VERSIONS"),
        (503, "STORAGE_UNAVAILABLE"),
    ]),
];

/// 404 for a worker, or a version of one, that is not there.
pub(super) const WORKER_NOT_FOUND: Failure = Failure::new(
    404,
    "WORKER_NOT_FOUND",
    "There is no such worker, or no such version of it.",
);

/// What was removed.
#[derive(Serialize, JsonSchema)]
struct Removed {
    name: String,
    versions: Vec<String>,
}

/// 503 while the server ends.
const STOPPING: Failure = Failure::new(503, "STOPPING", "The server is stopping.");

async fn list(api: Arc<Api>, _: Call, grant: Grant) -> Result<Response, Answer> {
    let snapshot = api.catalog.snapshot().clone();
    let workers = snapshot.workers();
    let mut seen: Vec<_> = workers
        .filter(|worker| grant.sees(worker.name().scope()))
        .collect();
    seen.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    // Whose processes a server runs beside a key's own is nothing to the key: numbers of
    // processes tell how many there are.
    let shows_pids = grant.sees(None);
    let now = SystemTime::now();
    let views: Vec<_> = seen
        .into_iter()
        .map(|worker| WorkerView::of(worker, &api.files.workers, shows_pids, now))
        .collect();
    Ok(reply(200, &views))
}

async fn enable(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
    wanted: bool,
) -> Result<Response, Answer> {
    let version = version_in_path(&call)?.ok_or(WORKER_NOT_FOUND)?;
    call.note.target(unit_id(&name, &version));
    find(&api, &name, &version)?;
    let set = api
        .units
        .set(&permit, name.clone(), version.clone(), wanted)
        .await;
    match set {
        Ok(()) => Ok(done()),
        Err(StateError::Denied(denied)) => Err(denied.into()),
        Err(StateError::Store(error)) => {
            Err(store_failed(&error, &api.log, &call.request.id).into())
        }
        Err(StateError::Unreadable) => {
            // Removed by hand in this moment, or its disk fails.
            find(&api, &name, &version)?;
            let message = "The worker's files cannot be read now. The server's log says why.";
            Err(Failure::new(503, "STORAGE_UNAVAILABLE", message).into())
        }
        Err(StateError::Stopping) => Err(STOPPING.into()),
    }
}

async fn restart(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
) -> Result<Response, Answer> {
    permit.covers(Permission::WorkersRestart, &name)?;
    let version = version_in_path(&call)?.ok_or(WORKER_NOT_FOUND)?;
    call.note.target(unit_id(&name, &version));
    let deployment = find(&api, &name, &version)?;
    match (&deployment.slot().answers, &deployment.unit().state) {
        (Answers::App(app), _) => app.restart(),
        // The server itself serves it: there is no process.
        (Answers::Site(_), _) => {}
        (Answers::Nothing, State::Disabled) => {
            return Err(Failure::new(409, "WORKER_DISABLED", "This version is disabled.").into());
        }
        (Answers::Nothing, State::Broken(_) | State::Ready(_)) => {
            return Err(Failure::new(
                409,
                "WORKER_BROKEN",
                "This version cannot be served. The server's log says why.",
            )
            .into());
        }
    }
    Ok(done())
}

async fn remove(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
) -> Result<Response, Answer> {
    let version = version_in_path(&call)?;
    if let Some(version) = &version {
        call.note.target(unit_id(&name, version));
    }
    match api.units.remove(permit, name.clone(), version).await {
        Ok(removed) => {
            let versions = removed.iter().map(Version::to_string).collect();
            let name = name.to_string();
            Ok(success(200, Removed { name, versions }))
        }
        Err(error) => Err(not_removed(&api, &call, &error)),
    }
}

fn not_removed(api: &Api, call: &Call, error: &RemovalError) -> Answer {
    let failure = match error {
        RemovalError::Denied(denied) => return (*denied).into(),
        RemovalError::NotFound => return WORKER_NOT_FOUND.into(),
        RemovalError::BuiltIn => Failure::new(
            403,
            "BUILT_IN_WORKER_REMOVE_FORBIDDEN",
            "This worker belongs to the installation. It can be disabled, not removed.",
        ),
        RemovalError::HoldsOthers => Failure::new(
            409,
            "WORKER_HOLDS_VERSIONS",
            "The folder of this version holds other versions. Remove those first, or the whole worker.",
        ),
        RemovalError::Stopping => STOPPING,
        RemovalError::Open(_) | RemovalError::Write(_) => {
            api.log
                .error("api", "A worker cannot be removed", |fields| {
                    fields.request_id(call.request.id.as_str());
                    fields.error(error);
                });
            Failure::new(
                503,
                "STORAGE_UNAVAILABLE",
                "The worker's files cannot be removed. The server's log says why.",
            )
        }
    };
    failure.into()
}

/// The version in the path, if there is one.
fn version_in_path(call: &Call) -> Result<Option<Version>, Failure> {
    let version = call.params.get("version").map(Version::try_from);
    // What cannot be a version is none that is there.
    version.transpose().map_err(|_| WORKER_NOT_FOUND)
}

/// The unit of exactly this version.
fn find(
    api: &Api,
    name: &PackageName,
    version: &Version,
) -> Result<Arc<Deployment<Served>>, Failure> {
    let snapshot = api.catalog.snapshot();
    let versions = snapshot.versions(name.as_str()).ok_or(WORKER_NOT_FOUND)?;
    let mut all = versions.enabled().iter().chain(versions.disabled());
    let found = all.find(|deployment| deployment.unit().version == *version);
    found.cloned().ok_or(WORKER_NOT_FOUND)
}
