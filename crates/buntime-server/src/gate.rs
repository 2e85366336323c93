//! What a request must pass before anybody answers it (contract sections 2, 5
//! and 7). In this order: its id and its canonical path, which the edge has
//! settled; its host; CSRF; then authentication.
//!
//! Every check is a decision over a small value that is made of the request once,
//! so that it can be tried with all there is.

mod csrf;
mod host;
pub(crate) mod session;

use buntime_core::CsrfPolicy;
use buntime_http::{Method, RequestId};

use self::csrf::{Asked, Policy};
pub(crate) use self::host::host_by_proxy;
use self::host::{Host, HostName};
use crate::config::ApiConfig;
use crate::failure::Failure;
use crate::logging::Logger;
use crate::message::{Listener, Request};

/// Where the API is to be found and under which names sessions count. One for the
/// whole server.
#[derive(Debug)]
pub(crate) struct Gate {
    /// `RUNTIME_ADMIN_HOST`.
    admin_host: Option<HostName>,
    /// Whether `RUNTIME_ADMIN_PORT` is set.
    has_admin_port: bool,
    /// `RUNTIME_ALLOWED_HOSTS`.
    allowed_hosts: Option<Vec<HostName>>,
}

/// Which part of the server a request can reach: with an admin host or an admin
/// port, the API has an origin of its own, which no app shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// There is no such origin: everything is everywhere.
    All,
    /// The admin origin: the API and the panel.
    Admin,
    /// Any other: the apps.
    Apps,
    /// What workers have: both, but no session, for apps share this origin too.
    Workers,
}

impl Reach {
    /// Whether apps answer.
    pub(crate) fn has_apps(self) -> bool {
        self != Self::Admin
    }
}

impl Gate {
    pub(crate) fn new(api: &ApiConfig) -> Self {
        let named = |name: &String| HostName::parse(name);
        Self {
            admin_host: api.admin.host.as_ref().map(named),
            has_admin_port: api.admin.port.is_some(),
            allowed_hosts: api
                .allowed_hosts
                .as_ref()
                .map(|names| names.iter().map(named).collect()),
        }
    }

    /// What `request` can reach by the way it came.
    pub(crate) fn reach(&self, request: &Request) -> Reach {
        if self.admin_host.is_none() && !self.has_admin_port {
            return Reach::All;
        }
        match &request.peer.listener {
            Listener::Worker(_) => Reach::Workers,
            Listener::Admin => Reach::Admin,
            Listener::Public => match &self.admin_host {
                Some(admin) if Host::of(request).name().as_ref() == Some(admin) => Reach::Admin,
                _ => Reach::Apps,
            },
        }
    }

    /// Lets a request through to the API, or not. `login`: it turns a key into a session.
    ///
    /// # Errors
    /// 404 where the API is not to be found, 421 where a session or a login comes
    /// under a foreign name, 403 by CSRF.
    pub(crate) fn check_api(
        &self,
        request: &Request,
        reach: Reach,
        login: bool,
        log: &Logger,
    ) -> Result<(), Failure> {
        // A credential in a header decides alone: the cookie beside it is not looked at.
        let by_cookie =
            session::is_in(&request.headers) && !session::has_credential(&request.headers);
        let concerns_session = login || by_cookie;
        match reach {
            Reach::Apps => return Err(Failure::NOT_FOUND),
            Reach::Workers if concerns_session => return Err(Failure::NOT_FOUND),
            Reach::All | Reach::Admin | Reach::Workers => {}
        }
        if concerns_session {
            self.check_host(request, log)?;
        }
        match StateChange::of(request) {
            Some(change) => change.check(Policy::Api, None, log),
            None => Ok(()),
        }
    }

    fn check_host(&self, request: &Request, log: &Logger) -> Result<(), Failure> {
        let host = Host::of(request);
        if self.allows(&host) {
            return Ok(());
        }
        log.warn("gate", "Session refused under this host name", |fields| {
            fields.request_id(&request.id);
            fields.text("method", request.method);
            fields.text("path", request.target.path());
            fields.text("host", &host);
        });
        Err(HOST_NOT_ALLOWED)
    }

    /// Whether login and the session cookie are accepted under this name. A page
    /// that made its own name point here (DNS rebinding) has another one.
    fn allows(&self, host: &Host) -> bool {
        let Some(name) = host.name() else {
            return false;
        };
        // Who names an admin host wants to log in there.
        self.admin_host.as_ref() == Some(&name)
            || match &self.allowed_hosts {
                Some(allowed) => allowed.contains(&name),
                None => name.is_this_machine_or_address(),
            }
    }
}

/// A request that may change something, with what its check says when it refuses.
/// Nothing of this kind reaches an app or the API without [`StateChange::check`].
#[derive(Debug)]
pub(crate) struct StateChange {
    asked: Asked,
    id: RequestId,
    method: Method,
    path: Box<str>,
}

impl StateChange {
    /// `None` if the request changes nothing: GET, HEAD, OPTIONS.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let asked = Asked::of(request)?;
        Some(Self {
            asked,
            id: request.id.clone(),
            method: request.method,
            path: request.target.path().as_str().into(),
        })
    }

    /// Holds the request to what the app `app` asks for.
    ///
    /// # Errors
    /// 403; the log says why.
    pub(crate) fn check_app(
        &self,
        policy: &CsrfPolicy,
        app: &str,
        log: &Logger,
    ) -> Result<(), Failure> {
        self.check(Policy::App(policy), Some(app), log)
    }

    fn check(&self, policy: Policy<'_>, app: Option<&str>, log: &Logger) -> Result<(), Failure> {
        let Err(refusal) = csrf::check(&self.asked, policy) else {
            return Ok(());
        };
        log.warn("csrf", "CSRF check failed", |fields| {
            fields.request_id(&self.id);
            fields.text("method", self.method);
            fields.text("path", &self.path);
            fields.text("origin", &self.asked.origin);
            fields.text("host", &self.asked.host);
            fields.text("reason", refusal);
            if let Some(app) = app {
                fields.text("app", app);
            }
        });
        Err(refusal.failure())
    }
}

const HOST_NOT_ALLOWED: Failure = Failure::new(
    421,
    "HOST_NOT_ALLOWED",
    "Sessions are not accepted under this host name; RUNTIME_ALLOWED_HOSTS has those that are.",
);

#[cfg(test)]
mod tests;
