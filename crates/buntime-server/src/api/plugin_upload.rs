//! Archives that become plugins.

use std::sync::Arc;

use buntime_core::access::{Grant, Permission, Permit};
use buntime_http::{Method, RequestId};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::call::Call;
use super::json::Success;
use super::openapi::Param;
use super::progress;
use super::route::{Access, Route};
use super::upload::{Become, archives_fail, failure_of, receive, upload};
use super::view;
use crate::deploy::{Progress, Target, UnpackedPlugin};
use crate::failure::Failure;
use crate::plugins::PluginPackage;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[Route::change(
    Method::Post,
    "/plugins/upload",
    Access::Granted(Permission::PluginsInstall, |api, call, grant| {
        Box::pin(upload::<Plugins>(api, call, grant))
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
.gives_also(&[progress::TYPE])
.fails(archives_fail!(
    (400, "INVALID_PLUGIN_BASE"),
    (400, "NO_PLUGIN_DIRS"),
    (409, "PLUGIN_COLLISION"),
    (409, "PLUGIN_RELOAD_FAILED"),
))];

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

/// Archives that become plugins.
struct Plugins;

/// A plugin that may be installed.
struct Ready {
    unpacked: UnpackedPlugin,
    package: PluginPackage,
    permit: Permit,
}

impl Become for Plugins {
    type Ready = Ready;
    type Done = Deployed;

    async fn prepare(
        api: &Api,
        mut call: Call,
        grant: &Grant,
        progress: &Progress,
    ) -> Result<Ready, Answer> {
        let (spool, _) = receive(api, &mut call, Target::Plugin, grant, progress).await?;
        let Call { request, note, .. } = call;
        let id = request.id.clone();
        // From here on the connection looks whether its client is still there.
        drop(request);
        let unpacked = api.deployments.unpack_plugin(spool, &api.plugins, progress);
        let unpacked = unpacked.await;
        let unpacked = unpacked.map_err(|error| failure_of(&error, api, &id))?;
        let package = unpacked.package().cloned().ok_or(Failure::INTERNAL)?;
        note.target(&package.name);
        note.unit(&package.name);
        // Whether there is such a plugin is not looked at before.
        match grant.over(package.name.scope()) {
            Ok(permit) => Ok(Ready {
                unpacked,
                package,
                permit,
            }),
            Err(denied) => {
                unpacked.discard().await;
                Err(denied.into())
            }
        }
    }

    async fn install(
        api: &Api,
        request_id: &RequestId,
        ready: Ready,
        progress: &Progress,
    ) -> Result<Deployed, Answer> {
        let Ready {
            unpacked,
            package,
            permit,
        } = ready;
        let plugins = Arc::clone(&api.plugins);
        let installed = api
            .deployments
            .install_plugin(permit, plugins, unpacked, progress);
        let failed = |error| failure_of(&error, api, request_id);
        let installed_at = installed.await.map_err(failed)?;
        let plugin = DeployedPlugin {
            name: package.name.to_string(),
            version: package.version.map(|version| version.to_string()),
            base: package.base.map(|base| base.as_str().to_owned()),
            installed_at: view::time(installed_at),
        };
        Ok(Deployed { plugin })
    }
}
