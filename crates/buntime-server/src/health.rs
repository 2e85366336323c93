//! `/health`, `/health/live`, `/health/ready`: what a load balancer asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use buntime_fs::{OpenError, Root};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::logging::Logger;
use crate::message::{Request, Response};
use crate::sandbox::{self, Strength};
use crate::service::{Answer, only_reads};
use crate::store::Store;

/// Whether the server wants new work. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    phase: AtomicU8,
    /// Whether what every request may need is out of order.
    impaired: AtomicBool,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

/// Time between two looks at what the server depends on.
const LOOK: Duration = Duration::from_secs(2);

impl Readiness {
    /// From now on the server wants work.
    pub fn ready(&self) {
        // A stop that came first stays a stop.
        let _ = self
            .0
            .phase
            .compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// From now on it does not.
    pub fn stopping(&self) {
        self.0.phase.store(STOPPING, Ordering::Release);
    }

    /// Whether the server wants work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == READY && !self.0.impaired.load(Ordering::Acquire)
    }

    /// Looks, until `stop`, whether the store answers and the worker roots can be
    /// read: a load balancer had better ask somebody else while they do not.
    pub(crate) async fn watch(
        self,
        store: Store,
        roots: Vec<PathBuf>,
        log: Logger,
        stop: CancellationToken,
    ) {
        let mut last = None;
        while timeout(LOOK, stop.cancelled()).await.is_err() {
            let trouble = trouble(&store, &roots).await;
            self.0.impaired.store(trouble.is_some(), Ordering::Release);
            match &trouble {
                Some(what) if last != trouble => log.error("health", "Not ready", |fields| {
                    fields.text("reason", what);
                }),
                None if last.is_some() => log.info("health", "Ready again", |_| {}),
                Some(_) | None => {}
            }
            last = trouble;
        }
    }

    /// Answers the health routes; `name` is what follows `/health/`. `sandbox` is what
    /// confines workers, for who may know.
    pub(crate) fn answer(
        &self,
        request: &Request,
        name: Option<&str>,
        sandbox: Option<&Strength>,
    ) -> Result<Response, Answer> {
        let (ok, status) = match name {
            None => (true, "healthy"),
            Some("live") => (true, "live"),
            Some("ready") if self.is_ready() => (true, "ready"),
            Some("ready") => match self.0.phase.load(Ordering::Acquire) {
                STARTING => (false, "starting"),
                STOPPING => (false, "stopping"),
                _ => (false, "impaired"),
            },
            Some(_) => return Err(Failure::NOT_FOUND.into()),
        };
        only_reads(request)?;
        let sandbox = sandbox.map_or_else(String::new, |sandbox| {
            format!(r#","sandbox":{}"#, sandbox::describe(sandbox))
        });
        let body = format!(
            r#"{{"ok":{ok},"status":"{status}","version":"{}"{sandbox}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        let code = if ok { 200 } else { 503 };
        let mut response = Response::with_bytes(code, "application/json; charset=utf-8", body);
        response.set(b"cache-control", b"no-store");
        Ok(response)
    }
}

/// What of all that the server depends on does not work.
async fn trouble(store: &Store, roots: &[PathBuf]) -> Option<String> {
    if let Err(error) = store.run(|database| database.ping()).await {
        return Some(error.to_string());
    }
    let roots = roots.to_vec();
    let looked = tokio::task::spawn_blocking(move || {
        let unreadable = |root: &PathBuf| {
            // A folder that is known is opened without its disk; a look into it needs that.
            match Root::open(root).and_then(|folder| folder.read_dir(1)) {
                Ok(_) | Err(OpenError::TooManyEntries { .. }) => None,
                Err(error) => Some(format!("{}: {error}", root.display())),
            }
        };
        roots.iter().find_map(unreadable)
    });
    looked
        .await
        .unwrap_or_else(|_| Some("the system refused a thread".to_owned()))
}
