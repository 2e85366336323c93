//! A worker as lists show it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buntime_core::PackageName;
use buntime_pool::{AppStatus, ExitReason, InstanceState, InstanceStatus};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::view::time;
use crate::catalog::{Broken, Deployment, Source, State, Unit, Versions};
use crate::dispatch::{Answers, Served};
use crate::files::FileBrowser;

/// A worker with all its versions.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkerView<'a> {
    #[schemars(with = "String")]
    name: &'a PackageName,
    /// Of the version that answers when none is asked for, as in the file browser.
    path: String,
    source: &'static str,
    removable: bool,
    /// All of them, the highest first.
    versions: Vec<&'a str>,
    /// Those of them that answer 404.
    disabled_versions: Vec<&'a str>,
    /// Those of them that answer with an error, whatever is asked of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broken_versions: Vec<BrokenView<'a>>,
    live: LiveView<'a>,
}

/// A version that does not serve. The log says why.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BrokenView<'a> {
    version: &'a str,
    /// As in its answers.
    code: &'static str,
    /// What it asks for and is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_granted: Vec<String>,
}

/// What its processes do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LiveView<'a> {
    status: Status,
    instances: Vec<InstanceView<'a>>,
    requests: u64,
    queued: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    crash_loop: Option<CrashLoopView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_exit: Option<LastExitView<'a>>,
}

/// What can be said of a worker in a word: of the version that answers when none is asked
/// for.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "WorkerStatus")]
enum Status {
    /// Every version is disabled.
    Disabled,
    /// Its manifest or its entrypoint cannot be used.
    Broken,
    /// Its files are served by the server itself.
    Static,
    /// It failed to start too often and is left alone for a while.
    CrashLoop,
    /// Its first process is being started.
    Starting,
    /// It has a process.
    Running,
    /// It has none, until a request comes.
    Idle,
}

/// One process.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InstanceView<'a> {
    version: &'a str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// `starting`, `ready`, `busy`, `draining` or `exited`.
    #[schemars(with = "String")]
    state: InstanceState,
    in_flight: u32,
    requests: u64,
    started_at: String,
    idle_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CrashLoopView {
    failures: u32,
    retry_after_ms: u64,
}

#[derive(Serialize, JsonSchema)]
struct LastExitView<'a> {
    version: &'a str,
    #[schemars(with = "String")]
    reason: ExitReason,
    at: String,
    #[serde(skip)]
    ago: Duration,
}

impl<'a> WorkerView<'a> {
    pub(super) fn of(
        worker: &'a Versions<Served>,
        files: &FileBrowser,
        shows_pids: bool,
        now: SystemTime,
    ) -> Self {
        let mut all: Vec<&Unit> = worker
            .enabled()
            .iter()
            .chain(worker.disabled())
            .map(|deployment| deployment.unit())
            .collect();
        let path = all.first().map(|unit| files.path_of(&unit.root, &unit.dir));
        all.sort_by(|a, b| b.version.cmp(&a.version));
        let is_built_in = all.iter().any(|unit| unit.source == Source::BuiltIn);
        let source = if is_built_in {
            Source::BuiltIn
        } else {
            Source::Uploaded
        };
        Self {
            name: worker.name(),
            path: path.unwrap_or_default(),
            source: source.as_str(),
            removable: !is_built_in,
            versions: all.iter().map(|unit| unit.version.as_str()).collect(),
            disabled_versions: worker
                .disabled()
                .iter()
                .map(|deployment| deployment.unit().version.as_str())
                .collect(),
            broken_versions: all.iter().copied().filter_map(BrokenView::of).collect(),
            live: LiveView::of(worker.enabled(), shows_pids, now),
        }
    }
}

impl<'a> BrokenView<'a> {
    fn of(unit: &'a Unit) -> Option<Self> {
        let State::Broken(broken) = &unit.state else {
            return None;
        };
        let not_granted = match broken {
            Broken::NotGranted(all) => all.iter().map(ToString::to_string).collect(),
            Broken::Manifest(_) | Broken::EntrypointEscapes | Broken::Entrypoint(_) => Vec::new(),
        };
        Some(Self {
            version: unit.version.as_str(),
            code: broken.code(),
            not_granted,
        })
    }
}

impl<'a> LiveView<'a> {
    fn of(versions: &'a [Arc<Deployment<Served>>], shows_pids: bool, now: SystemTime) -> Self {
        let mut live = Self {
            status: Status::Disabled,
            instances: Vec::new(),
            requests: 0,
            queued: 0,
            crash_loop: None,
            last_exit: None,
        };
        for (index, deployment) in versions.iter().enumerate() {
            let unit = deployment.unit();
            let status = match &deployment.slot().answers {
                Answers::App(app) => live.add(unit, &app.status(), shows_pids, now),
                Answers::Site(_) => Status::Static,
                Answers::Nothing if matches!(unit.state, State::Disabled) => Status::Disabled,
                Answers::Nothing => Status::Broken,
            };
            // The first is the one that answers when no version is asked for.
            if index == 0 {
                live.status = status;
            }
        }
        live
    }

    fn add(
        &mut self,
        unit: &'a Unit,
        status: &AppStatus,
        shows_pids: bool,
        now: SystemTime,
    ) -> Status {
        let version = unit.version.as_str();
        let ago = |ago: Duration| now.checked_sub(ago).unwrap_or(now);
        let view = |instance: &InstanceStatus| InstanceView {
            version,
            id: instance.id.to_string(),
            pid: shows_pids.then_some(instance.pid),
            state: instance.state,
            in_flight: instance.in_flight,
            requests: instance.requests,
            started_at: time(ago(instance.age)),
            idle_ms: millis(instance.idle),
            memory_bytes: instance.memory,
        };
        self.instances.extend(status.instances.iter().map(view));
        self.requests += status.requests;
        self.queued += status.queued;
        if let Some(pause) = status.crash_loop
            && self.crash_loop.is_none()
        {
            self.crash_loop = Some(CrashLoopView {
                failures: status.start_failures,
                retry_after_ms: millis(pause),
            });
        }
        if let Some(exit) = status.last_exit
            && self
                .last_exit
                .as_ref()
                .is_none_or(|known| exit.ago < known.ago)
        {
            self.last_exit = Some(LastExitView {
                version,
                reason: exit.reason,
                at: time(ago(exit.ago)),
                ago: exit.ago,
            });
        }
        Status::of(status)
    }
}

impl Status {
    fn of(app: &AppStatus) -> Self {
        let has = |wanted: &[InstanceState]| {
            let mut instances = app.instances.iter();
            instances.any(|instance| wanted.contains(&instance.state))
        };
        match () {
            () if app.crash_loop.is_some() => Self::CrashLoop,
            () if has(&[InstanceState::Ready, InstanceState::Busy]) => Self::Running,
            () if has(&[InstanceState::Starting]) => Self::Starting,
            () => Self::Idle,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
