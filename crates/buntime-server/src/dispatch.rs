//! From a request whose app is known to that app's answer.

pub(crate) mod page;
pub(crate) mod site;
pub(crate) mod worker;

use std::sync::Arc;

use buntime_fs::static_files::StaticSite;
use buntime_pool::App;

use crate::metrics::AppCounters;

/// What the server keeps for a deployment. Made once, when the catalog finds it.
#[derive(Debug)]
pub struct Served {
    /// What answers.
    pub answers: Answers,
    /// What is counted of it.
    pub(crate) counters: Arc<AppCounters>,
}

/// What answers for a deployment.
#[derive(Debug)]
pub enum Answers {
    /// Files, sent by the server itself.
    Site(StaticSite),
    /// A worker that runs code.
    App(Arc<App>),
    /// Nothing: the unit's state says why.
    Nothing,
}

/// Where in the path an app's base ends: `/app` of `/app/x` ends at 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// Offset in the raw path.
    pub(crate) end: usize,
}
