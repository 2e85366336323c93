//! `/health`, `/health/live`, `/health/ready`: what a load balancer asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::failure::Failure;
use crate::message::{Request, Response};
use crate::service::{Answer, only_reads};

/// Whether the server wants new work. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Readiness {
    /// From now on the server wants work.
    pub fn ready(&self) {
        // A stop that came first stays a stop.
        let _ = self
            .0
            .compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// From now on it does not.
    pub fn stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    /// Whether the server wants work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// Answers the health routes; `name` is what follows `/health/`.
    pub(crate) fn answer(&self, request: &Request, name: Option<&str>) -> Result<Response, Answer> {
        let (ok, status) = match name {
            None => (true, "healthy"),
            Some("live") => (true, "live"),
            Some("ready") if self.is_ready() => (true, "ready"),
            Some("ready") if self.0.load(Ordering::Acquire) == STARTING => (false, "starting"),
            Some("ready") => (false, "stopping"),
            Some(_) => return Err(Failure::NOT_FOUND.into()),
        };
        only_reads(request)?;
        let body = format!(
            r#"{{"ok":{ok},"status":"{status}","version":"{}"}}"#,
            env!("CARGO_PKG_VERSION")
        );
        let code = if ok { 200 } else { 503 };
        let mut response = Response::with_bytes(code, "application/json; charset=utf-8", body);
        response.set(b"cache-control", b"no-store");
        Ok(response)
    }
}
