//! The decision over a call: who it is has been found out, and what he may do is not his
//! handler's to say.

use std::sync::Arc;

use buntime_core::access::{Grant, Permit, Principal};
use buntime_core::{Namespace, PackageName};

use super::Api;
use super::call::{Call, UNSCOPED};
use super::route::{Access, Handled, Params, Route};
use crate::failure::Failure;

/// A handler with the proof of what was decided.
pub(super) enum Allowed {
    Anybody(fn(Arc<Api>, Call) -> Handled),
    Known(
        fn(Arc<Api>, Call, Arc<Principal>) -> Handled,
        Arc<Principal>,
    ),
    Granted(fn(Arc<Api>, Call, Grant) -> Handled, Grant),
    Unit(
        fn(Arc<Api>, Call, Permit, PackageName) -> Handled,
        Permit,
        PackageName,
    ),
    Server(fn(Arc<Api>, Call, Permit) -> Handled, Permit),
}

impl Allowed {
    /// Has the handler answer.
    pub(super) fn answer(self, api: Arc<Api>, call: Call) -> Handled {
        match self {
            Self::Anybody(handler) => handler(api, call),
            Self::Known(handler, principal) => handler(api, call, principal),
            Self::Granted(handler, grant) => handler(api, call, grant),
            Self::Unit(handler, permit, unit) => handler(api, call, permit, unit),
            Self::Server(handler, permit) => handler(api, call, permit),
        }
    }
}

/// Permission and namespace: the one place that decides them (contract section 7).
///
/// # Errors
/// 401 without a key where one is needed, 403 for what the key may not, 404 where the
/// path cannot name a unit.
pub(super) fn decide(
    route: &Route,
    params: &Params,
    principal: Option<&Arc<Principal>>,
) -> Result<Allowed, Failure> {
    let known = || principal.ok_or(Failure::AUTH_REQUIRED);
    Ok(match route.access {
        Access::Public(handler) => Allowed::Anybody(handler),
        Access::AnyKey(handler) => Allowed::Known(handler, Arc::clone(known()?)),
        Access::Granted(permission, handler) => {
            Allowed::Granted(handler, known()?.grant(permission)?)
        }
        Access::Server(permission, handler) => {
            let grant = known()?.grant(permission)?;
            Allowed::Server(handler, grant.everywhere()?)
        }
        Access::Unit(permission, handler) => {
            let (permit, unit) = unit(params, &known()?.grant(permission)?)?;
            Allowed::Unit(handler, permit, unit)
        }
    })
}

/// The unit that the path names, with the permit for it. Whether there is such a
/// unit is not looked at: who may not touch it does not learn that either.
fn unit(params: &Params, grant: &Grant) -> Result<(Permit, PackageName), Failure> {
    let of_plugin = params.get("plugin");
    let (scope, name) = match of_plugin {
        Some(plugin) => match plugin.split_once('/') {
            Some((scope, name)) => (Some(scope), name),
            None => (None, plugin),
        },
        None => {
            let scope = params.get("scope").unwrap_or_default();
            let name = params.get("name").unwrap_or_default();
            ((scope != UNSCOPED).then_some(scope), name)
        }
    };
    let namespace = scope.map(Namespace::try_from).transpose();
    // What cannot be a namespace is nobody's: there is nothing to be told of it.
    let namespace = namespace.map_err(|_| super::NO_SUCH_ROUTE)?;
    let permit = grant.over(namespace.as_ref())?;
    let full = match scope {
        Some(scope) => format!("{scope}/{name}"),
        None => name.to_owned(),
    };
    let unit = PackageName::try_from(full.as_str()).map_err(|_| super::NO_SUCH_ROUTE)?;
    Ok((permit, unit))
}
