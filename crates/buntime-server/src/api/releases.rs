//! Releases of workers, and the way back to one.

use std::sync::Arc;

use buntime_core::access::{Permission, Permit};
use buntime_core::{PackageName, hex};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::call::Call;
use super::json::{Body, Fields, Success, reply, success};
use super::route::{Access, Route};
use super::upload::{Deployed, MESSAGE_MAX, PLUGIN_HAS_PATH, deploy_failed};
use super::view;
use super::workers::WORKER_NOT_FOUND;
use crate::deploy::KeptRelease;
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/workers/:scope/:name/releases",
        Access::Unit(Permission::WorkersRead, |api, call, _, name| {
            Box::pin(list(api, call, name))
        }),
        "The releases of a worker that are kept, the newest first.",
    )
    .gives::<Vec<ReleaseView<'static>>>(200)
    .fails(&[
        (404, "WORKER_NOT_FOUND"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
    ]),
    Route::change(
        Method::Post,
        "/workers/:scope/:name/rollback",
        Access::Unit(Permission::WorkersInstall, |api, call, permit, name| {
            Box::pin(roll_back(api, call, permit, name))
        }),
        "worker.rollback",
        "Has a worker serve what it served after the release `release`, as a new release.",
    )
    .takes::<RollbackBody>()
    .gives::<Success<Deployed>>(200)
    .fails(&[
        (403, "PERMISSION_NOT_GRANTED"),
        (404, "RELEASE_NOT_FOUND"),
        (409, "RELEASE_NOT_KEPT"),
        (409, "WORKER_COLLISION"),
        (500, "INTERNAL_ERROR"),
        (500, "STORE_FAILED"),
        (503, "STORAGE_UNAVAILABLE"),
        (503, "STORE_UNAVAILABLE"),
        (507, "STORAGE_FULL"),
    ]),
];

/// A release as lists show it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReleaseView<'a> {
    number: u64,
    version: &'a str,
    created_at: String,
    by: By<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// Of the archive, in hexadecimal digits.
    sha256: String,
    /// Of the archive, in bytes.
    size: u64,
    /// Whether this is what its version serves.
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_of: Option<u64>,
}

/// The key that deployed. It may be gone.
#[derive(Serialize, JsonSchema)]
struct By<'a> {
    id: &'a str,
    name: &'a str,
}

/// What a rollback is told.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RollbackBody {
    /// The number of the release to go back to.
    release: u64,
    /// Why, at most 1000 bytes.
    message: Option<String>,
}

impl Body for RollbackBody {
    fn read(fields: &mut Fields) -> Result<Self, Failure> {
        Ok(Self {
            release: fields.number("release")?,
            message: fields.text_if_any("message")?,
        })
    }
}

async fn list(api: Arc<Api>, call: Call, name: PackageName) -> Result<Response, Answer> {
    let releases = api.deployments.releases(&name).await;
    let releases = releases.map_err(|error| deploy_failed(&error, &api, &call))?;
    if releases.is_empty() && api.catalog.snapshot().versions(name.as_str()).is_none() {
        return Err(WORKER_NOT_FOUND.into());
    }
    let views: Vec<_> = releases.iter().map(view_of).collect();
    Ok(reply(200, &views))
}

fn view_of(kept: &KeptRelease) -> ReleaseView<'_> {
    let what = &kept.release.what;
    ReleaseView {
        number: kept.release.number,
        version: what.version.as_str(),
        created_at: view::time(what.created_at),
        by: By {
            id: what.key.as_str(),
            name: &what.key_name,
        },
        message: what.message.as_deref(),
        sha256: hex(&what.sha256),
        size: what.size,
        live: kept.live,
        rollback_of: what.rollback_of,
    }
}

async fn roll_back(
    api: Arc<Api>,
    mut call: Call,
    permit: Permit,
    name: PackageName,
) -> Result<Response, Answer> {
    let RollbackBody { release, message } = call.json().await?;
    let message = message.filter(|message| !message.is_empty());
    if message
        .as_ref()
        .is_some_and(|message| message.len() > MESSAGE_MAX)
    {
        return Err(Failure::new(400, "VALIDATION_ERROR", "`message` is over 1000 bytes.").into());
    }
    call.note.target(format!("{name} release {release}"));
    // A plugin may have come since the release, and would be refused from now on.
    if api.plugins.current().have_path(&name) {
        return Err(PLUGIN_HAS_PATH.into());
    }
    let message = message.map(Into::into);
    let back = api.deployments.roll_back(&permit, &name, release, message);
    match back.await {
        Ok(release) => Ok(success(200, Deployed::of(&release))),
        Err(error) => Err(deploy_failed(&error, &api, &call).into()),
    }
}
