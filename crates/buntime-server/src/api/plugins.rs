//! Routes about plugins.

use std::sync::Arc;

use buntime_core::access::{Grant, Permission, Permit, Principal};
use buntime_core::{Menu, PackageName};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;

use super::Api;
use super::call::Call;
use super::errors::{blocking, store_failed};
use super::json::{Done, Success, done, reply, success};
use super::route::{Access, Route};
use crate::catalog::Source;
use crate::failure::Failure;
use crate::files::FileBrowser;
use crate::message::Response;
use crate::plugins::{NotReloaded, NotRemoved, NotSet, Plugin, tell_of};
use crate::service::Answer;
use crate::store::UnitState;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/plugins",
        Access::Granted(Permission::PluginsRead, |api, call, grant| {
            Box::pin(list(api, call, grant))
        }),
        "The plugins that are installed.",
    )
    .gives::<Vec<PluginView<'static>>>(200),
    Route::get(
        "/plugins/loaded",
        Access::AnyKey(|api, call, principal| Box::pin(loaded(api, call, principal))),
        "The plugins that are enabled, with what they add to the panel's menu.",
    )
    .gives::<Vec<LoadedView<'static>>>(200),
    Route::change(
        Method::Post,
        "/plugins/reload",
        Access::Server(Permission::PluginsInstall, |api, call, permit| {
            Box::pin(reload(api, call, permit))
        }),
        "plugin.reload",
        "Reads all plugins again and swaps the whole set, or leaves it as it is.",
    )
    .gives::<Success<Reloaded>>(200)
    .fails(&[(409, "PLUGIN_RELOAD_FAILED"), (500, "INTERNAL_ERROR")]),
    Route::change(
        Method::Post,
        "/plugins/:plugin/enable",
        Access::Unit(Permission::PluginsInstall, |api, call, permit, name| {
            Box::pin(enable(api, call, permit, name, true))
        }),
        "plugin.enable",
        "Enables a plugin, whatever its manifest says.",
    )
    .gives::<Done>(200)
    .fails(&[
        (404, "PLUGIN_NOT_FOUND"),
        (409, "PLUGIN_RELOAD_FAILED"),
        (507, "STORAGE_FULL"),
        (503, "STORE_UNAVAILABLE"),
        (500, "STORE_FAILED"),
        (500, "INTERNAL_ERROR"),
    ]),
    Route::change(
        Method::Post,
        "/plugins/:plugin/disable",
        Access::Unit(Permission::PluginsInstall, |api, call, permit, name| {
            Box::pin(enable(api, call, permit, name, false))
        }),
        "plugin.disable",
        "Disables a plugin, whatever its manifest says.",
    )
    .gives::<Done>(200)
    .fails(&[
        (404, "PLUGIN_NOT_FOUND"),
        (409, "PLUGIN_RELOAD_FAILED"),
        (507, "STORAGE_FULL"),
        (503, "STORE_UNAVAILABLE"),
        (500, "STORE_FAILED"),
        (500, "INTERNAL_ERROR"),
    ]),
    Route::change(
        Method::Delete,
        "/plugins/:plugin",
        Access::Unit(Permission::PluginsRemove, |api, call, permit, name| {
            Box::pin(remove(api, call, permit, name))
        }),
        "plugin.remove",
        "Removes a plugin; its name is URL-encoded.",
    )
    .gives::<Done>(200)
    .fails(&[
        (403, "BUILT_IN_PLUGIN_REMOVE_FORBIDDEN"),
        (404, "PLUGIN_NOT_FOUND"),
        (500, "INTERNAL_ERROR"),
        (500, "STORE_FAILED"),
        (503, "STORAGE_UNAVAILABLE"),
        (503, "STORE_UNAVAILABLE"),
        (507, "STORAGE_FULL"),
    ]),
];

/// A plugin as lists show it.
#[derive(Serialize, JsonSchema)]
struct PluginView<'a> {
    #[schemars(with = "String")]
    name: &'a PackageName,
    /// As in the file browser.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    source: &'static str,
    removable: bool,
    enabled: bool,
}

/// An enabled plugin.
#[derive(Serialize, JsonSchema)]
struct LoadedView<'a> {
    #[schemars(with = "String")]
    name: &'a PackageName,
    base: Option<&'a str>,
    #[schemars(with = "Vec<String>")]
    dependencies: &'a [PackageName],
    #[serde(rename = "optionalDependencies")]
    #[schemars(with = "Vec<String>")]
    optional_dependencies: &'a [PackageName],
    menus: Vec<MenuView<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct MenuView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    path: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<MenuView<'a>>,
}

/// How many plugins there are after a reload.
#[derive(Serialize, JsonSchema)]
struct Reloaded {
    plugins: usize,
}

async fn list(api: Arc<Api>, _: Call, grant: Grant) -> Result<Response, Answer> {
    let plugins = api.plugins.current();
    let seen = plugins.accepted().iter();
    let seen = seen.filter(|plugin| grant.sees(plugin.name.scope()));
    let views: Vec<_> = seen
        .map(|plugin| PluginView::of(plugin, &api.files.plugins))
        .collect();
    Ok(reply(200, &views))
}

async fn loaded(api: Arc<Api>, _: Call, principal: Arc<Principal>) -> Result<Response, Answer> {
    let plugins = api.plugins.current();
    let seen = plugins.accepted().iter();
    let seen = seen.filter(|plugin| plugin.manifest.enabled && principal.sees(plugin.name.scope()));
    let views: Vec<_> = seen.map(LoadedView::of).collect();
    Ok(reply(200, &views))
}

async fn reload(api: Arc<Api>, _: Call, permit: Permit) -> Result<Response, Answer> {
    let reading = Arc::clone(&api);
    let reloaded = blocking(move || {
        let snapshot = reading.catalog.snapshot();
        let workers = |name: &str| snapshot.versions(name).is_some();
        reading.plugins.reload(workers)
    });
    match reloaded.await? {
        Ok(plugins) => {
            tell_of(&plugins, &api.log);
            let plugins = plugins.accepted().len();
            Ok(success(200, Reloaded { plugins }))
        }
        Err(error) => {
            api.log
                .error("plugins", "Plugins stay as they are", |fields| {
                    fields.error(&error);
                });
            Err(not_reloaded(&error, &api, permit.principal()).into())
        }
    }
}

async fn enable(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
    enabled: bool,
) -> Result<Response, Answer> {
    let principal = Arc::clone(permit.principal());
    let (setting, runtime) = (Arc::clone(&api), Handle::current());
    let set = blocking(move || {
        let snapshot = setting.catalog.snapshot();
        let workers = |name: &str| snapshot.versions(name).is_some();
        let store = setting.store.clone();
        let keep = |state: UnitState| {
            runtime.block_on(store.run(move |database| database.set_unit_state(&state)))
        };
        setting
            .plugins
            .set_enabled(&permit, &name, enabled, workers, keep)
    });
    match set.await? {
        Ok(()) => Ok(done()),
        Err(NotSet::NotFound) => Err(PLUGIN_NOT_FOUND.into()),
        Err(NotSet::Denied(denied)) => Err(denied.into()),
        Err(NotSet::Reload(error)) => Err(not_reloaded(&error, &api, &principal).into()),
        Err(NotSet::Store(error)) => Err(store_failed(&error, &api.log, &call.request.id).into()),
    }
}

async fn remove(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
) -> Result<Response, Answer> {
    let (removing, unit) = (Arc::clone(&api), name.clone());
    let removed = blocking(move || removing.plugins.remove(&permit, &unit));
    match removed.await? {
        Ok(()) => {
            let forgotten = api
                .store
                .run(move |database| database.forget_plugin_state(&name));
            match forgotten.await {
                Ok(()) => Ok(done()),
                Err(error) => Err(store_failed(&error, &api.log, &call.request.id).into()),
            }
        }
        Err(error) => Err(not_removed(error, &api).into()),
    }
}

fn not_removed(error: NotRemoved, api: &Api) -> Failure {
    match error {
        NotRemoved::NotFound => PLUGIN_NOT_FOUND,
        NotRemoved::BuiltIn => Failure::new(
            403,
            "BUILT_IN_PLUGIN_REMOVE_FORBIDDEN",
            "Built-in plugins cannot be removed.",
        ),
        NotRemoved::Denied(denied) => denied.into(),
        NotRemoved::Open(_) | NotRemoved::Write(_) => {
            api.log.error("plugins", "A plugin stays", |fields| {
                fields.error(&error);
            });
            Failure::new(
                503,
                "STORAGE_UNAVAILABLE",
                "The plugin's folder cannot be removed. The server's log says why.",
            )
        }
    }
}

const PLUGIN_NOT_FOUND: Failure = Failure::new(404, "PLUGIN_NOT_FOUND", "There is no such plugin.");

/// Says what is wrong with the plugins that the caller may see; the log has it all.
fn not_reloaded(error: &NotReloaded, api: &Api, principal: &Principal) -> Failure {
    let failure = Failure::new(
        409,
        "PLUGIN_RELOAD_FAILED",
        "Not all plugins can be loaded. The server's log says why.",
    );
    let sees_all = principal.sees(None);
    match error {
        NotReloaded::Bases(bases) => {
            api.log
                .error("plugins", "Plugins have bad bases", |fields| {
                    fields.error(error);
                });
            let sees = |plugin: &str| {
                let name = PackageName::try_from(plugin);
                sees_all || name.is_ok_and(|name| principal.sees(name.scope()))
            };
            match bases.of(sees) {
                Some(seen) => failure.saying(seen.to_string()),
                None => failure,
            }
        }
        NotReloaded::Problems(problems) => {
            for problem in problems {
                api.log.error("plugins", &problem.message, |fields| {
                    fields.text("path", problem.path.display());
                });
            }
            match sees_all {
                true => failure.saying(format!("{error}. The server's log says why.")),
                false => failure,
            }
        }
    }
}

impl<'a> PluginView<'a> {
    fn of(plugin: &'a Plugin, files: &FileBrowser) -> Self {
        Self {
            name: &plugin.name,
            path: files.path_of(&plugin.root, &plugin.dir),
            base: plugin.manifest.base.as_ref().map(|base| base.as_str()),
            source: plugin.source.as_str(),
            removable: plugin.source != Source::BuiltIn,
            enabled: plugin.manifest.enabled,
        }
    }
}

impl<'a> LoadedView<'a> {
    fn of(plugin: &'a Plugin) -> Self {
        let manifest = &plugin.manifest;
        Self {
            name: &plugin.name,
            base: manifest.base.as_ref().map(|base| base.as_str()),
            dependencies: &manifest.dependencies,
            optional_dependencies: &manifest.optional_dependencies,
            menus: manifest.menus.iter().map(MenuView::of).collect(),
        }
    }
}

impl<'a> MenuView<'a> {
    fn of(menu: &'a Menu) -> Self {
        Self {
            icon: menu.icon.as_deref(),
            path: &menu.path,
            title: &menu.title,
            items: menu.items.iter().map(Self::of).collect(),
        }
    }
}
