//! The environment of a worker that has its app (contract section 6).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use uuid::Uuid;

use crate::config::AppSpec;
use crate::confine::make_data_dir;
use crate::error::StartFailure;
use crate::pool::Shared;

/// All variables of the worker. What the server sets wins over what the app sets.
///
/// `home` is the worker's own directory. The app's data directory is made if it is missing.
pub(crate) fn worker_env(
    shared: &Shared,
    spec: &AppSpec,
    worker: Uuid,
    home: &Path,
) -> Result<BTreeMap<String, String>, StartFailure> {
    let data = make_data_dir(shared, spec)
        .map_err(|error| StartFailure::new(format!("cannot make the data directory: {error}")))?;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut env = spec.env.clone();
    env.extend(shared.config.base_env.iter().cloned());
    env.extend(
        [
            ("APP_DIR", path(&spec.dir)),
            ("ENTRYPOINT", path(&spec.entrypoint)),
            ("WORKER_ID", worker.to_string()),
            ("WORKER_CONFIG", worker_config(spec)),
            ("HOME", path(home)),
            ("TMPDIR", path(home)),
            ("DATA_DIR", path(&data)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Ok(env)
}

/// What the manifest says, without its `env`. Durations are in seconds.
fn worker_config(spec: &AppSpec) -> String {
    let manifest = &spec.manifest;
    json!({
        "name": spec.name.as_str(),
        "version": spec.version.as_str(),
        "ttl": manifest.ttl.as_secs_f64(),
        "timeout": manifest.timeout.as_secs_f64(),
        "idleTimeout": manifest.idle_timeout.as_secs_f64(),
        "maxRequests": manifest.max_requests,
        "maxBodySize": manifest.max_body_size.map(|size| size.bytes()),
        "lowMemory": manifest.low_memory,
        "injectBase": manifest.inject_base,
    })
    .to_string()
}
