//! What a pool shows of itself.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::error::ExitReason;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Its process is being started or loads the app.
    Starting,
    /// It has nothing to do.
    Ready,
    /// It serves requests.
    Busy,
    /// It finishes what it has begun and takes nothing new.
    Draining,
    /// Its process is gone.
    Exited,
}

/// One worker of an app.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The worker's `WORKER_ID`.
    #[serde(serialize_with = "text")]
    pub id: Uuid,
    /// The process.
    pub pid: u32,
    /// What it is doing.
    pub state: InstanceState,
    /// Requests that it serves now.
    pub in_flight: u32,
    /// Requests that it has been given so far.
    pub requests: u64,
    /// How long it has been running.
    #[serde(rename = "ageMs", serialize_with = "millis")]
    pub age: Duration,
    /// Since a request began or ended.
    #[serde(rename = "idleMs", serialize_with = "millis")]
    pub idle: Duration,
    /// Memory that is this process's alone and would be free without it, in bytes; at
    /// most a second old. `None`: the system does not tell.
    pub memory: Option<u64>,
}

/// How the last worker ended of which there is something to say.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Why.
    pub reason: ExitReason,
    /// Since then.
    #[serde(rename = "agoMs", serialize_with = "millis")]
    pub ago: Duration,
}

/// One app.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// `name@version`.
    pub id: String,
    /// Its workers, the oldest first; those too that only finish what they have.
    pub instances: Vec<InstanceStatus>,
    /// Requests that workers have been given since the app was deployed.
    pub requests: u64,
    /// Requests that wait for a worker.
    pub queued: usize,
    /// Failed starts in a row.
    pub start_failures: u32,
    /// Until the next start is tried, when it failed too often.
    #[serde(rename = "crashLoopMs", serialize_with = "optional_millis")]
    pub crash_loop: Option<Duration>,
    /// How the last worker ended; those of ephemeral apps whose request was over do not
    /// count.
    pub last_exit: Option<LastExit>,
}

/// The whole pool.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Most workers that belong to an app.
    pub size: usize,
    /// Workers that belong to an app now.
    pub used: usize,
    /// Blanks that are ready.
    pub blanks: usize,
    /// Requests that wait for a place.
    pub queued: usize,
    /// Every app that has or had workers and was not retired, by id.
    pub apps: Vec<AppStatus>,
}

fn text<S: serde::Serializer>(value: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn millis<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

fn optional_millis<S: serde::Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => millis(value, serializer),
        None => serializer.serialize_none(),
    }
}
