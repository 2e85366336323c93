//! A worker that is started for its app. What a blank does in steps, each asked for,
//! it does in one go: less work for the processor, though the request that it is for
//! waits longer (docs/decisions/0003-worker-control-channel.md).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Lease;
use super::boot::{BOOT_LIMIT, Flavor, clear, make_slot, spawn, supervisor};
use super::door::Become;
use super::slot::Slot;
use super::supervisor::{Birth, StartProblem};
use crate::app::App;
use crate::config::AppSpec;
use crate::confine::Wanted;
use crate::error::StartFailure;
use crate::gateway::Unserved;
use crate::pool::Shared;
use crate::slots::Permit;
use crate::worker_env::worker_env;

/// Longest description of an app, in bytes. A variable may have 128 KB.
const LONGEST: usize = 100 * 1024;

/// What becomes of a worker that loads its app.
pub(crate) type Answer = oneshot::Receiver<Result<(), StartProblem>>;

/// A worker that is to be started.
#[derive(Debug)]
pub(crate) struct Given {
    id: Uuid,
    slot: Slot,
    flavor: Flavor,
    entry: PathBuf,
    gateway: Unserved,
    /// The app, as the wrapper wants it.
    text: OsString,
    /// When the app must be loaded.
    deadline: Instant,
}

impl Given {
    /// A worker for `spec` that loads `entry`; `None` if only a blank can be told so
    /// much, or be found so deep in the file system.
    pub(crate) fn new(
        shared: &Shared,
        spec: &AppSpec,
        entry: &Path,
        deadline: Instant,
    ) -> Result<Option<Self>, StartFailure> {
        if !shared.slot_dirs.are_short() {
            return Ok(None);
        }
        let gateway = Unserved::open(shared.config.sandbox.layers)?;
        let id = Uuid::new_v4();
        let slot = shared.slot_dirs.take();
        let text = match describe(shared, spec, entry, id, (slot.path(), &gateway)) {
            Ok(Some(text)) => text,
            other => {
                shared.slot_dirs.give_back(slot);
                return other.map(|_| None);
            }
        };
        let flavor = if spec.manifest.low_memory {
            Flavor::Small
        } else {
            Flavor::Normal
        };
        Ok(Some(Self {
            id,
            slot,
            flavor,
            entry: entry.to_owned(),
            gateway,
            text,
            deadline,
        }))
    }
}

/// The app, as the wrapper wants it; `None` if that is too long or no text.
fn describe(
    shared: &Shared,
    spec: &AppSpec,
    entry: &Path,
    id: Uuid,
    (home, gateway): (&Path, &Unserved),
) -> Result<Option<OsString>, StartFailure> {
    let (Some(dir), Some(entry)) = (spec.dir.to_str(), entry.to_str()) else {
        return Ok(None);
    };
    let mut env = worker_env(shared, spec, id, home)?;
    env.extend(gateway.variables());
    let what = Become {
        dir,
        entry,
        env: &env,
        wait: false,
    };
    let text = serde_json::to_string(&what)
        .map_err(|error| StartFailure::new(format!("cannot describe the app: {error}")))?;
    Ok((text.len() <= LONGEST).then(|| text.into()))
}

/// Starts the worker; returns once it runs and before it has loaded the app. Its
/// supervisor is spawned on the control runtime, on which this must run.
pub(crate) async fn start_given(
    app: &Arc<App>,
    permit: Option<Permit>,
    given: Given,
) -> Result<(Lease, Answer), StartFailure> {
    let shared = app.shared();
    let slot = make_slot(given.slot)?;
    let wanted = Wanted {
        spec: app.spec(),
        entry: &given.entry,
    };
    let (flavor, for_app) = (given.flavor, (Some(&wanted), Some(given.text)));
    let started = spawn(shared, flavor, given.id, &slot, given.gateway, for_app);
    let started = tokio::select! {
        started = timeout(BOOT_LIMIT, started) => started,
        () = shared.stopped() => Ok(Err(StartFailure::new("the pool is stopping"))),
    };
    let late = |_| Err(StartFailure::new("Bun was not started in time"));
    let started = match started.unwrap_or_else(late) {
        Ok(started) => started,
        Err(failure) => {
            clear(slot).await;
            return Err(failure);
        }
    };
    let (mut supervisor, instance) = supervisor(shared, given.id, slot, started);
    supervisor.serve_gateway(app.spec(), Vec::new());
    instance.dedicate(app.spec(), app, permit);
    app.joined(&instance);
    let lease = instance.enter();
    let (reply, answer) = oneshot::channel();
    let birth = Birth::Given {
        deadline: given.deadline,
        reply,
    };
    shared.tracker.spawn(supervisor.run(birth));
    let lease = lease.ok_or_else(|| StartFailure::new("the pool is stopping"))?;
    Ok((lease, answer))
}
