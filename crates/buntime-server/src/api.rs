//! The API (contract section 7): which routes there are, who may call each, and
//! what stands between a request and its handler.
//!
//! A [`Route`](route::Route) declares its path, its permission and its handler in one
//! place. What a handler is given is what it has the right to: one that changes
//! something is handed a `Permit`, and there is no other way to get one. A handler is
//! four moves: read the request, get the permit, call one function, say the result.
//!
//! The order of a call is that of [`Api::answer`]: who it is, the audit log begun, what
//! he may ([`decision`]), the handler, the audit log finished ([`note`]).

mod audit;
mod call;
mod decision;
mod docs;
mod errors;
mod files;
mod json;
mod keys;
mod logs;
mod metrics;
mod multipart;
mod note;
mod openapi;
mod plugin_upload;
mod plugins;
mod progress;
mod query;
mod releases;
mod route;
mod routes;
mod session;
mod system;
mod upload;
mod view;
mod workers;

use std::net::IpAddr;
use std::sync::Arc;

use buntime_core::access::{Denied, Principal};
use buntime_http::{CanonicalPath, Method};

pub(crate) use self::call::Call;
pub(crate) use self::note::Note;
pub(crate) use self::openapi::Description;
use self::route::{Access, Found};
use crate::access::Access as Keys;
use crate::audit::Audit;
use crate::catalog::Catalog;
use crate::deploy::Deployments;
use crate::dispatch::Served;
use crate::failure::Failure;
use crate::files::FileBrowsers;
use crate::health::Readiness;
use crate::logging::Logger;
use crate::message::{Request, Response};
use crate::metrics::Metrics;
use crate::plugins::InstalledPlugins;
use crate::sandbox::Strength;
use crate::service::Answer;
use crate::store::Store;
use crate::unit_states::UnitStates;
use crate::worker_logs::WorkerLogs;

/// What handlers work with. One for the whole server.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) audit: Audit,
    pub(crate) description: Description,
    pub(crate) metrics: Metrics,
    pub(crate) access: Keys,
    pub(crate) catalog: Catalog<Served>,
    pub(crate) deployments: Deployments,
    pub(crate) plugins: Arc<InstalledPlugins>,
    pub(crate) store: Store,
    pub(crate) files: FileBrowsers,
    pub(crate) readiness: Readiness,
    pub(crate) sandbox: Arc<Strength>,
    pub(crate) units: UnitStates,
    pub(crate) worker_logs: WorkerLogs,
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
    /// namespace, handler. `address` is the client's. What is changed or refused leaves
    /// its line in the audit log before the answer is given.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        asked: Asked,
        request: Request,
        address: IpAddr,
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
                self.authenticate(&request, address)?;
                return Err(Failure::method_not_allowed(allow).into());
            }
            Found::Nothing => {
                self.authenticate(&request, address)?;
                return Err(NO_SUCH_ROUTE.into());
            }
        };
        let principal = match route.access {
            Access::Public(_) => None,
            _ => Some(self.authenticate(&request, address)?),
        };
        let note = Note::new(route, &request, &params, request.peer.caller(address));
        if let Some(principal) = &principal {
            note.by(principal);
            if route.changes() {
                note.begin(&self.audit).await.map_err(note::not_begun)?;
            }
        }
        let result = match decision::decide(route, &params, principal.as_ref()) {
            Ok(allowed) => {
                let call = Call::new(request, params, note.clone(), address);
                allowed.answer(Arc::clone(self), call).await
            }
            Err(failure) => Err(failure.into()),
        };
        if note.ends_later() {
            return result;
        }
        let outcome = note::outcome(&result, |response| response.status);
        note.log(&self.log, outcome);
        let told = note.finish(&self.audit, outcome).await;
        told.map_err(note::not_told)?;
        result
    }

    fn authenticate(&self, request: &Request, address: IpAddr) -> Result<Arc<Principal>, Failure> {
        let principal = self.access.authenticate(request, address);
        principal.ok_or_else(|| {
            let caller = request.peer.caller(address);
            self.audit
                .refuse_stranger(&caller, Failure::AUTH_REQUIRED.code);
            Failure::AUTH_REQUIRED
        })
    }
}

/// 404 for who has a key, and so may know which routes there are.
const NO_SUCH_ROUTE: Failure = Failure::new(
    404,
    "NOT_FOUND",
    "The API has no such route; /docs below its prefix lists them. A worker is \
     /workers/@scope/name, or /workers/_/name if it has no scope.",
);

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
