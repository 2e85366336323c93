//! What happens, in numbers (contract section 7).
//!
//! A request to an app costs two clock readings and two additions to counters that
//! its thread shares with few others (`AppCounters::answered`): no lock, nothing
//! allocated. All else is counted where a lock costs nothing, or read when somebody
//! asks. How many series there are is bounded: of `MOST_APPS` apps each has its own,
//! the others share one.

mod app;
mod report;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;

use buntime_core::PackageName;
use buntime_pool::{Pool, PoolStatus};
use parking_lot::RwLock;

pub(crate) use self::app::AppCounters;
pub(crate) use self::report::{Facts, report};
pub(crate) use self::text::CONTENT_TYPE;
use crate::edge::ConnectionCount;

/// Apps with series of their own; versions count each.
const MOST_APPS: usize = 2000;

/// What is counted. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    /// By `name@version`. What was counted outlasts a redeploy.
    apps: RwLock<HashMap<Arc<str>, Arc<AppCounters>>>,
    /// Apps beyond the bound.
    others: Arc<AppCounters>,
    /// Workers that have no app yet.
    blanks: Arc<AppCounters>,
    /// What the server answers by itself.
    own: AppCounters,
    /// Known once the server is put together.
    sources: OnceLock<(Pool, ConnectionCount)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Counted {
            apps: RwLock::default(),
            others: Arc::new(AppCounters::new("others", None)),
            blanks: Arc::new(AppCounters::new("blank", None)),
            own: AppCounters::new("", None),
            sources: OnceLock::new(),
        }))
    }
}

impl Metrics {
    /// The counters of a version that is deployed.
    pub(crate) fn deployed(&self, id: &Arc<str>, name: &PackageName) -> Arc<AppCounters> {
        let mut apps = self.0.apps.write();
        if let Some(known) = apps.get(id) {
            return Arc::clone(known);
        }
        if apps.len() >= MOST_APPS {
            // What is deployed no more makes room first.
            apps.retain(|_, counters| Arc::strong_count(counters) > 1);
        }
        if apps.len() >= MOST_APPS {
            return Arc::clone(&self.0.others);
        }
        let counters = Arc::new(AppCounters::new(id, name.scope().cloned()));
        apps.insert(Arc::clone(id), Arc::clone(&counters));
        counters
    }

    /// The counters of an app of the pool; `None` is a blank.
    pub(crate) fn of(&self, app: Option<&str>) -> Arc<AppCounters> {
        let Some(app) = app else {
            return Arc::clone(&self.0.blanks);
        };
        let known = self.0.apps.read().get(app).map(Arc::clone);
        known.unwrap_or_else(|| Arc::clone(&self.0.others))
    }

    /// What the server answers by itself: the API, health, errors.
    pub(crate) fn own(&self) -> &AppCounters {
        &self.0.own
    }

    /// Where to look when somebody asks.
    pub(crate) fn watch(&self, pool: Pool, connections: ConnectionCount) {
        // There is one of each.
        let _ = self.0.sources.set((pool, connections));
    }

    /// What the pool is doing.
    pub(crate) fn pool(&self) -> PoolStatus {
        let sources = self.0.sources.get();
        sources.map_or_else(PoolStatus::default, |(pool, _)| pool.status())
    }
}
