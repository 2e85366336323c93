//! The API (contract section 7): which routes there are, who may call each, and
//! what stands between a request and its handler.
//!
//! A [`Route`](route::Route) declares its path, its permission and its handler in one
//! place. What a handler is given is what it has the right to: one that changes
//! something is handed a `Permit`, and there is no other way to get one. A handler is
//! four moves: read the request, get the permit, call one function, say the result.

mod call;
mod json;
mod multipart;
mod note;
mod plugins;
mod query;
mod route;
mod routes;
mod system;

use std::sync::Arc;

use buntime_core::access::{Denied, Principal};
use buntime_http::{CanonicalPath, Method};

pub(crate) use self::call::Call;
pub(crate) use self::note::Note;
use self::route::{Access, Found, Handled, Route};
use crate::access::Access as Keys;
use crate::catalog::Catalog;
use crate::dispatch::Served;
use crate::failure::Failure;
use crate::health::Readiness;
use crate::logging::Logger;
use crate::message::{Request, Response};
use crate::plugins::InstalledPlugins;
use crate::service::Answer;

/// What handlers work with. One for the whole server.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) access: Keys,
    pub(crate) catalog: Catalog<Served>,
    pub(crate) plugins: InstalledPlugins,
    pub(crate) readiness: Readiness,
    pub(crate) log: Logger,
}

/// What a request to the API asks for, known before anybody asks who it is.
#[derive(Debug)]
pub(crate) struct Asked {
    found: Found,
    login: bool,
}

impl Asked {
    /// Whether this is the request that turns a key into a session.
    pub(crate) fn is_login(&self) -> bool {
        self.login
    }
}

impl Api {
    /// Finds the route; `base` is where the path goes on below the API's own.
    ///
    /// # Errors
    /// 400 for paths that could be read in two ways.
    pub(crate) fn find(request: &Request, base: usize) -> Result<Asked, Failure> {
        let path: &CanonicalPath = request.target.path();
        let segments = route::segments(path, base)?;
        let login = request.method == Method::Post && route::is(&segments, "/admin/session");
        let found = route::find(routes::all(), request.method, &segments)?;
        Ok(Asked { found, login })
    }

    /// Answers a request that has passed host and CSRF: authentication, permission,
    /// namespace, handler.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        asked: Asked,
        request: Request,
    ) -> Result<Response, Answer> {
        let (route, params) = match asked.found {
            Found::Route(route, params) => (route, params),
            Found::OtherMethod {
                public: true,
                allow,
            } => {
                return Err(Failure::method_not_allowed(allow).into());
            }
            // Who has no key learns nothing of which routes there are.
            Found::OtherMethod {
                public: false,
                allow,
            } => {
                self.authenticate(&request)?;
                return Err(Failure::method_not_allowed(allow).into());
            }
            Found::Nothing => {
                self.authenticate(&request)?;
                return Err(Failure::NOT_FOUND.into());
            }
        };
        let principal = match route.access {
            Access::Public(_) => None,
            _ => Some(self.authenticate(&request)),
        };
        let note = Note::new(route, &request, &params);
        let call = Call::new(request, params, note.clone());
        let principal = principal.transpose();
        let result = match principal {
            Ok(principal) => {
                if let Some(principal) = &principal {
                    note.by(principal);
                }
                self.handle(route, call, principal).await
            }
            Err(failure) => Err(failure.into()),
        };
        note.finish(&self.log, &result);
        result
    }

    /// Permission and namespace, then the handler.
    fn handle(
        self: &Arc<Self>,
        route: &'static Route,
        call: Call,
        principal: Option<Arc<Principal>>,
    ) -> Handled {
        let refuse = |failure: Failure| -> Handled { Box::pin(async { Err(failure.into()) }) };
        let api = Arc::clone(self);
        let Some(principal) = principal else {
            return match route.access {
                Access::Public(handler) => handler(api, call),
                _ => refuse(Failure::AUTH_REQUIRED),
            };
        };
        let grant = |permission| principal.grant(permission).map_err(Failure::from);
        match route.access {
            Access::Public(handler) => handler(api, call),
            Access::AnyKey(handler) => handler(api, call, principal),
            Access::Granted(permission, handler) => match grant(permission) {
                Ok(grant) => handler(api, call, grant),
                Err(failure) => refuse(failure),
            },
            Access::Server(permission, handler) => {
                match grant(permission).and_then(|grant| Ok(grant.everywhere()?)) {
                    Ok(permit) => handler(api, call, permit),
                    Err(failure) => refuse(failure),
                }
            }
            Access::Unit(permission, handler) => {
                let permit = grant(permission).and_then(|grant| call.unit(&grant));
                match permit {
                    Ok((permit, unit)) => handler(api, call, permit, unit),
                    Err(failure) => refuse(failure),
                }
            }
        }
    }

    fn authenticate(&self, request: &Request) -> Result<Arc<Principal>, Failure> {
        self.access
            .authenticate(&request.headers)
            .ok_or(Failure::AUTH_REQUIRED)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Permission(permission) => Self::new(
                403,
                "PERMISSION_DENIED",
                "This key does not have the permission.",
            )
            .saying(format!(
                "This key does not have the permission {permission}."
            )),
            Denied::Namespace => Self::new(
                403,
                "NAMESPACE_DENIED",
                "This is outside the namespaces of this key.",
            ),
        }
    }
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        Self::Failure(denied.into())
    }
}

#[cfg(test)]
mod tests;
