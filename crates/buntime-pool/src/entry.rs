//! Which file of an app a worker runs.

use std::path::PathBuf;

use crate::config::AppSpec;

/// The module that a worker loads. The one place that decides it: whatever is made
/// of an app ahead of time is chosen here.
pub(crate) fn entry_to_run(spec: &AppSpec) -> PathBuf {
    spec.entrypoint.clone()
}
