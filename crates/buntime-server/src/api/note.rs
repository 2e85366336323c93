//! What the audit log is told of a call: filled while it is handled, told before it
//! is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use buntime_core::access::{Namespaces, Principal};
use buntime_core::{Namespace, PackageName};
use parking_lot::Mutex;

use super::Api;
use super::call::UNSCOPED;
use super::route::{Access, Params, Route};
use crate::audit::{self, Actor, Audit, AuditUnavailable, Outcome, Pending, Target};
use crate::failure::Failure;
use crate::logging::Logger;
use crate::message::{Caller, Request};
use crate::service::Answer;

/// What is known of one call so far. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Note(Arc<Known>);

#[derive(Debug)]
struct Known {
    route: &'static Route,
    request_id: Box<str>,
    method: &'static str,
    path: Box<str>,
    from: Caller,
    learned: Mutex<Learned>,
    /// What the audit log knows to be under way: however it ends, it leaves a line.
    /// `None` before it begins and once the line is made.
    pending: Mutex<Option<Pending>>,
    /// Whether it ends after the call was answered.
    ends_later: AtomicBool,
}

impl Drop for Known {
    /// The client went away, or the handler panicked.
    fn drop(&mut self) {
        if let Some(pending) = self.pending.get_mut() {
            pending.about(std::mem::take(&mut self.learned.get_mut().target));
        }
    }
}

#[derive(Debug, Default)]
struct Learned {
    principal: Option<Arc<Principal>>,
    target: Target,
}

impl Note {
    pub(super) fn new(
        route: &'static Route,
        request: &Request,
        params: &Params,
        from: Caller,
    ) -> Self {
        let named = params.iter().map(|(_, value)| value);
        let mut target = Target::named(&named.collect::<Vec<_>>().join("/"));
        match route.access {
            Access::Server(..) => target.add_server(),
            Access::Unit(..) => add_scope_in_path(&mut target, params),
            Access::Public(_) | Access::AnyKey(_) | Access::Granted(..) => {}
        }
        Self(Arc::new(Known {
            route,
            request_id: request.id.as_str().into(),
            method: request.method.as_str(),
            path: request.target.path().as_str().into(),
            from,
            learned: Mutex::new(Learned {
                principal: None,
                target,
            }),
            pending: Mutex::new(None),
            ends_later: AtomicBool::new(false),
        }))
    }

    /// Says whose key it is. The router knows, save for a login.
    pub(crate) fn by(&self, principal: &Arc<Principal>) {
        self.0.learned.lock().principal = Some(Arc::clone(principal));
    }

    /// Says what the call is about, where the path does not: `@a/x@1.0.0`, the paths of
    /// a batch. No secret.
    pub(crate) fn target(&self, target: impl AsRef<str>) {
        self.0.learned.lock().target.rename(target.as_ref());
    }

    /// Says which paths the call is about: all of them, or as many as fit with the hash of
    /// all.
    pub(crate) fn targets(&self, paths: &[String]) {
        self.0.learned.lock().target.rename_all(paths);
    }

    /// Says which unit the call is about, before it is asked whether the caller may
    /// touch it. Of several units each is said.
    pub(crate) fn unit(&self, unit: &PackageName) {
        self.scope(unit.scope());
    }

    /// As [`Note::unit`], where only the namespace is known.
    pub(crate) fn scope(&self, scope: Option<&Namespace>) {
        self.0.learned.lock().target.add_scope(scope);
    }

    /// Says that the call is about a key that reaches these.
    pub(crate) fn reach(&self, namespaces: &Namespaces) {
        self.0.learned.lock().target.add_reach(namespaces);
    }

    /// Before a route that changes something is handled for somebody who is known.
    pub(super) async fn begin(&self, audit: &Audit) -> Result<(), AuditUnavailable> {
        let pending = audit.begin(self.call()).await?;
        *self.0.pending.lock() = Some(pending);
        Ok(())
    }

    /// Says that the call goes on after its answer has begun: whoever says so tells of
    /// its end, by [`Later::end`].
    pub(super) fn later(&self) -> Later {
        self.0.ends_later.store(true, Ordering::Relaxed);
        Later(self.clone())
    }

    /// Whether somebody else tells of the end.
    pub(super) fn ends_later(&self) -> bool {
        self.0.ends_later.load(Ordering::Relaxed)
    }

    /// Tells of a call that has come to its end, if there is something to tell.
    ///
    /// # Errors
    /// The line of something that may have been changed could not be written.
    pub(super) async fn finish(
        &self,
        audit: &Audit,
        outcome: Option<Outcome>,
    ) -> Result<(), AuditUnavailable> {
        // Nobody is there to be answered: what was begun says so when it is dropped.
        let Some(outcome) = outcome else {
            return Ok(());
        };
        let pending = self.0.pending.lock().take();
        if let Some(mut pending) = pending {
            pending.about(self.0.learned.lock().target.clone());
            return pending.finish(outcome).await;
        }
        let changes = self.0.route.changes();
        if !changes && !is_refusal(outcome.status) {
            return Ok(());
        }
        if self.0.learned.lock().principal.is_none() {
            audit.refuse_stranger(&self.0.from, outcome.code.unwrap_or("NO_SESSION"));
            return Ok(());
        }
        let target = self.0.learned.lock().target.clone();
        let written = audit.record(self.call(), target, outcome).await;
        // Reading goes on without the log, and so do its refusals.
        if changes { written } else { Ok(()) }
    }

    /// A line of the server's own log for what was changed.
    pub(super) fn log(&self, log: &Logger, outcome: Option<Outcome>) {
        if !self.0.route.changes() {
            return;
        }
        let learned = self.0.learned.lock();
        log.info("api", self.0.route.action, |fields| {
            fields.request_id(&self.0.request_id);
            if let Some(principal) = &learned.principal {
                fields.text("key", &principal.id);
            }
            fields.text("target", learned.target.name());
            match outcome {
                Some(outcome) => fields.add("status", outcome.status),
                None => fields.add("aborted", true),
            };
            if let Some(code) = outcome.and_then(|outcome| outcome.code) {
                fields.text("code", code);
            }
        });
    }

    fn call(&self) -> audit::Call {
        let known = &self.0;
        let principal = known.learned.lock().principal.clone();
        let action = match known.route.action {
            "" => "api.read",
            action => action,
        };
        audit::Call {
            request_id: known.request_id.clone(),
            actor: principal.as_deref().map(Actor::from),
            from: known.from.clone(),
            method: known.method,
            path: known.path.clone(),
            action,
        }
    }
}

/// A call that ends after its answer has begun.
#[derive(Debug)]
pub(super) struct Later(Note);

impl Later {
    /// Tells how it has ended, before the client is told; 200 where it is a success.
    ///
    /// # Errors
    /// What it ended with, or that its line could not be written.
    pub(super) async fn end<T>(self, api: &Api, result: Result<T, Answer>) -> Result<T, Answer> {
        let outcome = outcome(&result, |_| 200);
        self.0.log(&api.log, outcome);
        self.0.finish(&api.audit, outcome).await.map_err(not_told)?;
        result
    }
}

/// How a call ends; `None`: nobody is there to be answered.
pub(super) fn outcome<T>(
    result: &Result<T, Answer>,
    status: impl FnOnce(&T) -> u16,
) -> Option<Outcome> {
    match result {
        Ok(done) => Some(Outcome {
            status: status(done),
            code: None,
        }),
        Err(Answer::Failure(failure)) => Some(Outcome {
            status: failure.status,
            code: Some(failure.code),
        }),
        Err(Answer::Aborted) => None,
    }
}

/// Whether a reading call that ends so was refused.
fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403 | 421 | 429)
}

/// What a call is answered that may not begin.
pub(super) fn not_begun(_: AuditUnavailable) -> Failure {
    UNAVAILABLE.saying("The audit log cannot be written: nothing was changed.".to_owned())
}

/// What a call is answered whose end could not be written.
pub(super) fn not_told(_: AuditUnavailable) -> Failure {
    UNAVAILABLE
        .saying("The audit log cannot be written: it is not told what was changed.".to_owned())
}

const UNAVAILABLE: Failure =
    Failure::new(503, "AUDIT_UNAVAILABLE", "The audit log cannot be written.");

/// Of a route over a unit the path says the namespace, also where there is no permit
/// for it.
fn add_scope_in_path(target: &mut Target, params: &Params) {
    let scope = match params.get("plugin") {
        Some(plugin) => plugin.split_once('/').map(|(scope, _)| scope),
        None => params.get("scope").filter(|scope| *scope != UNSCOPED),
    };
    match scope.map(Namespace::try_from) {
        None => target.add_scope(None),
        Some(Ok(scope)) => target.add_scope(Some(&scope)),
        // What can be no namespace is in none.
        Some(Err(_)) => {}
    }
}
