//! Archives that become plugins.

use std::sync::Arc;

use buntime_core::access::{Grant, Permission};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::call::Call;
use super::json::{Success, success};
use super::openapi::Param;
use super::route::{Access, Route};
use super::upload::{deploy_failed, receive};
use super::view;
use crate::deploy::{Progress, Target};
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[Route::change(
    Method::Post,
    "/plugins/upload",
    Access::Granted(Permission::PluginsInstall, |api, call, grant| {
        Box::pin(upload(api, call, grant))
    }),
    "plugin.upload",
    "Installs the plugin in an archive, or replaces it, and swaps the whole set.",
)
.takes_form(&[Param::new(
    "file",
    "The archive: .tgz, .tar.gz or .zip, at most 100 MB.",
)
.required()])
.gives::<Success<Deployed>>(200)
.fails(&[
    (400, "NO_FILE_PROVIDED"),
    (400, "INVALID_FILE_TYPE"),
    (400, "INVALID_MULTIPART_FORM"),
    (400, "INVALID_ARCHIVE"),
    (400, "ARCHIVE_UNSAFE_ENTRY"),
    (400, "ARCHIVE_DUPLICATE_ENTRY"),
    (413, "ARCHIVE_TOO_LARGE"),
    (400, "INVALID_MANIFEST"),
    (400, "INVALID_PACKAGE_NAME"),
    (400, "INVALID_PACKAGE_VERSION"),
    (400, "INVALID_PLUGIN_BASE"),
    (400, "RESERVED_NAME"),
    (400, "NAME_MISMATCH"),
    (400, "ENTRYPOINT_ESCAPES"),
    (400, "NO_PLUGIN_DIRS"),
    (403, "NAMESPACE_DENIED"),
    (403, "PERMISSION_NOT_GRANTED"),
    (408, "REQUEST_TIMEOUT"),
    (409, "PLUGIN_COLLISION"),
    (409, "PLUGIN_RELOAD_FAILED"),
    (500, "INTERNAL_ERROR"),
    (503, "STORAGE_UNAVAILABLE"),
    (503, "TOO_MANY_UPLOADS"),
    (507, "STORAGE_FULL"),
])];

/// What a deployment is answered with.
#[derive(Serialize, JsonSchema)]
struct Deployed {
    plugin: DeployedPlugin,
}

/// The plugin that is in place.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DeployedPlugin {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    installed_at: String,
}

async fn upload(api: Arc<Api>, mut call: Call, grant: Grant) -> Result<Response, Answer> {
    let (spool, _) = receive(&api, &mut call, Target::Plugin, &grant, &Progress::untold()).await?;
    let unpacked = api.deployments.unpack_plugin(spool, &api.plugins).await;
    let unpacked = unpacked.map_err(|error| deploy_failed(&error, &api, &call))?;
    let package = unpacked.package().cloned().ok_or(Failure::INTERNAL)?;
    call.note.target(&package.name);
    call.note.unit(&package.name);
    // Whether there is such a plugin is not looked at before.
    let permit = match grant.over(package.name.scope()) {
        Ok(permit) => permit,
        Err(denied) => {
            unpacked.discard().await;
            return Err(denied.into());
        }
    };
    let plugins = Arc::clone(&api.plugins);
    let installed = api.deployments.install_plugin(permit, plugins, unpacked);
    match installed.await {
        Ok(installed_at) => {
            let plugin = DeployedPlugin {
                name: package.name.to_string(),
                version: package.version.map(|version| version.to_string()),
                base: package.base.map(|base| base.as_str().to_owned()),
                installed_at: view::time(installed_at),
            };
            Ok(success(200, Deployed { plugin }))
        }
        Err(error) => Err(deploy_failed(&error, &api, &call).into()),
    }
}
