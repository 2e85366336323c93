//! Which file of an app a worker runs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::bundle::AppBundle;
use crate::config::AppSpec;
use crate::pool::Shared;

/// The module that a worker loads.
#[derive(Debug)]
pub(crate) enum EntryToRun {
    /// The app's own.
    Source(PathBuf),
    /// One that was made of it.
    Bundle(PathBuf),
}

impl EntryToRun {
    pub(crate) fn is_bundle(&self) -> bool {
        matches!(self, Self::Bundle(_))
    }

    pub(crate) fn into_path(self) -> PathBuf {
        match self {
            Self::Source(path) | Self::Bundle(path) => path,
        }
    }
}

/// The one place that decides what a worker loads.
pub(crate) async fn entry_to_run(
    shared: &Arc<Shared>,
    spec: &Arc<AppSpec>,
    bundle: &Arc<AppBundle>,
) -> EntryToRun {
    match bundle.entry(shared, spec).await {
        Some(path) => EntryToRun::Bundle(path),
        None => EntryToRun::Source(spec.entrypoint.clone()),
    }
}
