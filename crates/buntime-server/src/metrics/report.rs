//! What somebody is told who asks: of the apps that he may see, and of the server as
//! a whole only if he may see all of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::PackageName;
use buntime_core::access::Namespaces;
use buntime_pool::{AppStatus, InstanceState, PoolStatus};

use super::Metrics;
use super::app::{Answered, AppCounters, BOUNDS, CLASSES};
use super::text::{Kind, Text};
use crate::audit::Audit;
use crate::sandbox::{Landlock, Layers};

/// What is not counted but there to be looked at.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) pool: &'a PoolStatus,
    pub(crate) audit: &'a Audit,
    /// What confines workers.
    pub(crate) sandbox: Layers,
    /// The namespaces of whoever asks. Who reaches units without one may see the
    /// server as a whole.
    pub(crate) reader: &'a Namespaces,
}

const CLASS_NAMES: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const STATES: [(InstanceState, &str); 4] = [
    (InstanceState::Starting, "starting"),
    (InstanceState::Ready, "ready"),
    (InstanceState::Busy, "busy"),
    (InstanceState::Draining, "draining"),
];

/// All series as text. Reads some files of `/proc`: not for a shard's thread.
pub(crate) fn report(metrics: &Metrics, facts: &Facts<'_>) -> String {
    let mut text = Text::default();
    let sees_all = facts.reader.contain(None);
    let mut apps: Vec<Arc<AppCounters>> = metrics.0.apps.read().values().cloned().collect();
    apps.retain(|app| facts.reader.contain(app.scope()));
    apps.sort_by(|a, b| a.id().cmp(b.id()));
    if sees_all {
        apps.push(Arc::clone(&metrics.0.others));
    }
    of_requests(&mut text, &apps);
    if sees_all {
        apps.push(Arc::clone(&metrics.0.blanks));
    }
    of_lives(&mut text, &apps);
    of_workers(&mut text, facts);
    if sees_all {
        of_server(&mut text, metrics, facts);
    }
    text.into_string()
}

fn of_requests(text: &mut Text, apps: &[Arc<AppCounters>]) {
    let counted: Vec<(&AppCounters, Answered)> = apps
        .iter()
        .filter_map(|app| Some((&**app, app.requests()?)))
        .collect();
    const REQUESTS: &str = "buntime_app_requests_total";
    text.family(
        REQUESTS,
        Kind::Counter,
        "Requests to an app by the class of their status; aborted: the client left.",
    );
    for (app, requests) in &counted {
        of_classes(text, REQUESTS, &[("app", app.id())], requests);
        if requests.aborted > 0 {
            let labels = [("app", app.id()), ("class", "aborted")];
            text.sample(REQUESTS, &labels, requests.aborted);
        }
    }
    text.family(
        "buntime_app_request_duration_seconds",
        Kind::Histogram,
        "Time from a request's head to the head of its response.",
    );
    for (app, requests) in &counted {
        of_times(text, app.id(), requests);
    }
    const CSRF: &str = "buntime_app_csrf_refusals_total";
    text.family(
        CSRF,
        Kind::Counter,
        "Requests to an app that were refused for the site they came from.",
    );
    for app in apps.iter().filter(|app| app.csrf_refusals() > 0) {
        text.sample(CSRF, &[("app", app.id())], app.csrf_refusals());
    }
}

fn of_classes(text: &mut Text, name: &str, labels: &[(&str, &str)], requests: &Answered) {
    for (class, count) in CLASS_NAMES.iter().zip(requests.by_class) {
        if count > 0 {
            text.sample(name, &[labels, &[("class", class)]].concat(), count);
        }
    }
}

fn of_times(text: &mut Text, app: &str, requests: &Answered) {
    const NAME: &str = "buntime_app_request_duration_seconds";
    let bounds = BOUNDS.map(|micros| seconds(Duration::from_micros(micros)));
    let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
    let mut so_far = 0;
    let bucket = format!("{NAME}_bucket");
    for (bound, count) in bounds.zip(requests.by_time) {
        so_far += count;
        text.sample(&bucket, &[("app", app), ("le", bound)], so_far);
    }
    let sum = seconds(Duration::from_micros(requests.micros));
    text.sample(&format!("{NAME}_sum"), &[("app", app)], sum);
    text.sample(&format!("{NAME}_count"), &[("app", app)], so_far);
}

fn of_lives(text: &mut Text, apps: &[Arc<AppCounters>]) {
    let lives: Vec<_> = apps.iter().map(|app| (app.id(), app.life())).collect();
    let mut counter = |name: &str, help: &str, count: &dyn Fn(&super::app::Life) -> u64| {
        text.family(name, Kind::Counter, help);
        for (app, life) in &lives {
            let count = count(life);
            if count > 0 {
                text.sample(name, &[("app", app)], count);
            }
        }
    };
    counter(
        "buntime_worker_starts_total",
        "Workers that began to serve an app.",
        &|life| life.starts,
    );
    counter(
        "buntime_worker_start_failures_total",
        "Workers that could not be started.",
        &|life| life.start_failures,
    );
    counter(
        "buntime_worker_crash_loops_total",
        "Pauses after too many failed starts in a row.",
        &|life| life.crash_loops,
    );
    counter(
        "buntime_worker_blocked_variables_total",
        "Sensitive variables kept back from workers, at every start.",
        &|life| life.blocked,
    );
    const START_TIME: &str = "buntime_worker_start_seconds_total";
    text.family(
        START_TIME,
        Kind::Counter,
        "Time that starts took; by the starts it is their mean.",
    );
    for (app, life) in lives.iter().filter(|(_, life)| life.starts > 0) {
        text.sample(START_TIME, &[("app", app)], seconds(life.start_time));
    }
    const EXITS: &str = "buntime_worker_exits_total";
    text.family(EXITS, Kind::Counter, "Workers that ended, by why.");
    for (app, life) in &lives {
        for (reason, count) in &life.exits {
            text.sample(EXITS, &[("app", app), ("reason", reason)], count);
        }
    }
}

fn of_workers(text: &mut Text, facts: &Facts<'_>) {
    let seen = facts.pool.apps.iter();
    let apps: Vec<&AppStatus> = seen.filter(|app| is_seen(app, facts)).collect();
    const WORKERS: &str = "buntime_workers";
    text.family(WORKERS, Kind::Gauge, "Workers by what they do.");
    for app in &apps {
        for (state, name) in STATES {
            let in_state = app.instances.iter();
            let count = in_state.filter(|worker| worker.state == state).count();
            if count > 0 {
                text.sample(WORKERS, &[("app", &app.id), ("state", name)], count);
            }
        }
    }
    if facts.reader.contain(None) {
        let labels = [("app", "blank"), ("state", "ready")];
        text.sample(WORKERS, &labels, facts.pool.blanks);
    }
    const MEMORY: &str = "buntime_worker_memory_bytes";
    text.family(
        MEMORY,
        Kind::Gauge,
        "Memory of an app's workers, without what they share with files.",
    );
    for app in &apps {
        let memory = app.instances.iter().filter_map(|worker| worker.memory);
        if !app.instances.is_empty() {
            text.sample(MEMORY, &[("app", &app.id)], memory.sum::<u64>());
        }
    }
    const QUEUED: &str = "buntime_queued_requests";
    text.family(QUEUED, Kind::Gauge, "Requests that wait for a worker.");
    for app in &apps {
        text.sample(QUEUED, &[("app", &app.id)], app.queued);
    }
}

fn is_seen(app: &AppStatus, facts: &Facts<'_>) -> bool {
    // `name@version`, where the name may begin with an @ of its own.
    let name = app.id.rsplit_once('@').map(|(name, _)| name);
    match name.map(PackageName::try_from) {
        Some(Ok(name)) => facts.reader.contain(name.scope()),
        Some(Err(_)) | None => facts.reader.contain(None),
    }
}

fn of_server(text: &mut Text, metrics: &Metrics, facts: &Facts<'_>) {
    let mut gauge = |name: &str, help: &str, value: String| {
        text.family(name, Kind::Gauge, help);
        text.sample(name, &[], value);
    };
    let pool = facts.pool;
    gauge(
        "buntime_pool_size",
        "Most workers that belong to an app.",
        pool.size.to_string(),
    );
    gauge(
        "buntime_pool_used",
        "Workers that belong to an app.",
        pool.used.to_string(),
    );
    if let Some((_, connections)) = metrics.0.sources.get() {
        gauge(
            "buntime_connections",
            "Connections of clients.",
            connections.now().to_string(),
        );
    }
    gauge(
        "buntime_audit_available",
        "1 while the audit log can be written.",
        u8::from(facts.audit.is_available()).to_string(),
    );
    for (name, help, file, line) in [
        (
            "process_resident_memory_bytes",
            "Memory of the server itself.",
            "/proc/self/smaps_rollup",
            "Rss:",
        ),
        (
            "process_proportional_memory_bytes",
            "The same, where shared pages count by how many share them.",
            "/proc/self/smaps_rollup",
            "Pss:",
        ),
    ] {
        if let Some(kilobytes) = number_after(file, line) {
            gauge(name, help, (kilobytes * 1024).to_string());
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge(
            "process_open_fds",
            "Descriptors that the server has open.",
            open.count().to_string(),
        );
    }
    const LAYER: &str = "buntime_sandbox_layer";
    text.family(
        LAYER,
        Kind::Gauge,
        "What confines workers: 0 is not there, else 1, or Landlock's version.",
    );
    let layers = facts.sandbox;
    let landlock = layers.landlock.map_or(0, |Landlock(version)| version);
    for (layer, value) in [
        ("landlock", landlock),
        ("seccomp", u32::from(layers.calls)),
        ("namespaces", u32::from(layers.namespaces.is_some())),
        ("network", u32::from(layers.network)),
        ("broker", u32::from(layers.broker)),
    ] {
        text.sample(LAYER, &[("layer", layer)], value);
    }
    text.family(
        "buntime_build_info",
        Kind::Gauge,
        "The version of the server; always 1.",
    );
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.sample("buntime_build_info", &version, 1);
    of_refusals(text, metrics, facts);
}

fn of_refusals(text: &mut Text, metrics: &Metrics, facts: &Facts<'_>) {
    const OWN: &str = "buntime_own_requests_total";
    text.family(
        OWN,
        Kind::Counter,
        "Requests that the server answered by itself, by the class of their status.",
    );
    of_classes(
        text,
        OWN,
        &[],
        &metrics.own().requests().unwrap_or_default(),
    );
    const REFUSALS: &str = "buntime_refusals_total";
    text.family(
        REFUSALS,
        Kind::Counter,
        "Requests to the API of somebody without a valid key that were refused, by code.",
    );
    for (code, count) in facts.audit.refusals() {
        text.sample(REFUSALS, &[("code", code)], count);
    }
    const FAILURES: &str = "buntime_audit_failures_total";
    text.family(
        FAILURES,
        Kind::Counter,
        "Calls that were refused because the audit log could not be written.",
    );
    text.sample(FAILURES, &[], facts.audit.failures());
}

/// The number on the line that begins so.
fn number_after(file: &str, line: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|found| found.strip_prefix(line))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// As Prometheus has times.
fn seconds(time: Duration) -> String {
    let text = format!("{:.6}", time.as_secs_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
