//! What the audit log is told of a call: filled while it is handled, told before it
//! is answered.

use std::sync::Arc;

use buntime_core::PackageName;
use buntime_core::access::Principal;
use parking_lot::Mutex;

use super::route::{Params, Route};
use crate::logging::Logger;
use crate::message::{Request, Response};
use crate::service::Answer;

/// What is known of one call so far. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Note(Arc<Known>);

#[derive(Debug)]
struct Known {
    route: &'static Route,
    request_id: Box<str>,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    principal: Option<Arc<Principal>>,
    /// What the call is about: a unit, a path, a key's id.
    target: String,
    /// The unit whose namespace decides who sees the line.
    unit: Option<PackageName>,
}

impl Note {
    pub(super) fn new(route: &'static Route, request: &Request, params: &Params) -> Self {
        let target = params.iter().map(|(_, value)| value);
        Self(Arc::new(Known {
            route,
            request_id: request.id.as_str().into(),
            learned: Mutex::new(Learned {
                target: target.collect::<Vec<_>>().join("/"),
                ..Learned::default()
            }),
        }))
    }

    pub(super) fn by(&self, principal: &Arc<Principal>) {
        self.0.learned.lock().principal = Some(Arc::clone(principal));
    }

    /// Says what the call is about, where the path does not: `worker @a/x@1.0.0`.
    pub(crate) fn target(&self, target: impl Into<String>) {
        self.0.learned.lock().target = target.into();
    }

    /// Says which unit the call is about.
    pub(crate) fn unit(&self, unit: &PackageName) {
        self.0.learned.lock().unit = Some(unit.clone());
    }

    /// Tells of the call, which has come to its end.
    pub(super) fn finish(&self, log: &Logger, result: &Result<Response, Answer>) {
        if !self.0.route.changes() {
            return;
        }
        let learned = self.0.learned.lock();
        log.info("api", self.0.route.action, |fields| {
            fields.request_id(&self.0.request_id);
            if let Some(principal) = &learned.principal {
                fields.text("key", &principal.id);
            }
            fields.text("target", &learned.target);
            match result {
                Ok(response) => fields.add("status", response.status),
                Err(Answer::Failure(failure)) => fields
                    .add("status", failure.status)
                    .text("code", failure.code),
                Err(Answer::Aborted) => fields.add("aborted", true),
            };
        });
    }
}
