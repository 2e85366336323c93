//! What is measured, and in which order.

mod api;
mod cold;
mod events;
mod sandbox;
mod upload;
mod warm;

use std::time::Duration;

use crate::figures::{Sample, median, ratio};
use crate::process::{cpu, descendants, private, pss, stopping};
use crate::report::{Goal, Report};
use crate::servers::{self, Nginx, Ours, Servers, System};
use crate::wrk::{self, Load};
use crate::{BenchError, Result};

/// How long and how often.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    rounds: usize,
    each: Duration,
    /// Names of scenarios; empty: all.
    only: Vec<String>,
    full: bool,
}

impl Plan {
    /// `BENCH_QUICK=1`, or `BENCH_ROUNDS` and `BENCH_SECONDS`; `BENCH_ONLY=noop,static`.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| {
            std::env::var(name)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let quick = number("BENCH_QUICK") == Some(1);
        let only: Vec<String> = std::env::var("BENCH_ONLY")
            .map(|names| {
                names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect()
            })
            .unwrap_or_default();
        Self {
            rounds: number("BENCH_ROUNDS").unwrap_or(if quick { 2 } else { 5 }) as usize,
            each: Duration::from_secs(number("BENCH_SECONDS").unwrap_or(if quick { 1 } else { 5 })),
            full: !quick && only.is_empty(),
            only,
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

pub(crate) fn run(plan: &Plan) -> Result<()> {
    let mut report = Report::default();
    let mut servers = Servers::start()?;
    warm::all(plan, &servers, &mut report)?;
    if plan.wants("events") {
        events::first_byte(plan, &servers, &mut report)?;
    }
    if plan.wants("apps") {
        many_apps(plan, &servers, &mut report)?;
    }
    if plan.wants("api") {
        api::small_route(plan, &servers, &mut report)?;
    }
    if plan.wants("ephemeral") {
        cold::ephemeral(plan, &mut servers, &mut report)?;
    }
    let server = pss(servers.ours.pid()).map_or(f64::NAN, |kib| kib as f64 / 1024.0);
    report.verdict(
        "server after the run, PSS",
        server,
        " MB",
        Goal::AtMost(30.0),
    );
    drop(servers);
    if plan.wants("sandbox") {
        sandbox::beside_none(plan, &mut report)?;
    }
    if plan.wants("list") {
        api::long_list(plan, &mut report)?;
    }
    if plan.wants("upload") {
        upload::beside_tar(plan, &mut report)?;
    }
    if plan.wants("memory") {
        idle_workers(plan, &mut report)?;
    }
    let how = format!(
        "{} rounds of {} s for each system and scenario.",
        plan.rounds,
        plan.each.as_secs()
    );
    report.finish(&how, plan.full)
}

fn check_interrupt() -> Result<()> {
    if stopping() {
        Err(BenchError::Failed("interrupted".to_owned()))
    } else {
        Ok(())
    }
}

/// Every round asks each in turn and begins with another one. A short one before them is thrown away.
fn in_turns<T>(
    plan: &Plan,
    name: &str,
    targets: &[T],
    measure: impl Fn(&T, Duration) -> Result<Sample>,
) -> Result<Vec<Vec<Sample>>> {
    let mut all = vec![Vec::new(); targets.len()];
    try_out(plan, targets, &measure)?;
    for round in 0..plan.rounds {
        let samples = one_round(plan, round, name, targets, &measure)?;
        for (all, sample) in all.iter_mut().zip(samples) {
            all.push(sample);
        }
    }
    Ok(all)
}

/// One round of [`in_turns`] by itself; a sample of each target.
fn in_one_round<T>(
    plan: &Plan,
    round: usize,
    name: &str,
    targets: &[T],
    measure: impl Fn(&T, Duration) -> Result<Sample>,
) -> Result<Vec<Sample>> {
    try_out(plan, targets, &measure)?;
    one_round(plan, round, name, targets, &measure)
}

fn try_out<T>(
    plan: &Plan,
    targets: &[T],
    measure: impl Fn(&T, Duration) -> Result<Sample>,
) -> Result<()> {
    for target in targets {
        measure(target, plan.each.min(Duration::from_secs(1)))?;
    }
    Ok(())
}

fn one_round<T>(
    plan: &Plan,
    round: usize,
    name: &str,
    targets: &[T],
    measure: impl Fn(&T, Duration) -> Result<Sample>,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for step in 0..targets.len() {
        check_interrupt()?;
        let at = (round + step) % targets.len();
        let sample = measure(&targets[at], plan.each)?;
        println!(
            "{name} round {} of {}, target {}: {:.0} req/s, p50 {:.2} ms, p99 {:.2} ms",
            round + 1,
            plan.rounds,
            at + 1,
            sample.rate,
            sample.p50,
            sample.p99
        );
        samples.push((at, sample));
    }
    samples.sort_by_key(|(at, _)| *at);
    Ok(samples.into_iter().map(|(_, sample)| sample).collect())
}

/// Loads one system and looks at its processes: those of the front and those of Bun.
fn measure_processes(
    (front, bun): &(Vec<u32>, Vec<u32>),
    load: &Load,
    each: Duration,
) -> Result<Sample> {
    let before: Vec<Duration> = front.iter().chain(bun).map(|&pid| cpu(pid)).collect();
    let seen = wrk::run(load, each)?;
    let (front_before, bun_before) = before.split_at(front.len());
    let taken = |pids: &[u32], before: &[Duration]| -> Vec<Duration> {
        let now = pids.iter().map(|&pid| cpu(pid));
        now.zip(before)
            .map(|(now, before)| now.saturating_sub(*before))
            .collect()
    };
    let (front_taken, bun_taken) = (taken(front, front_before), taken(bun, bun_before));
    let all = |taken: &[Duration]| taken.iter().sum::<Duration>();
    let per_request =
        |taken: &[Duration]| all(taken).as_secs_f64() * 1e6 / seen.requests.max(1) as f64;
    // Of a server's workers only those that took part count. Blanks did not.
    let worked = bun
        .iter()
        .zip(&bun_taken)
        .filter(|(_, taken)| **taken > all(&bun_taken) / 100)
        .map(|(&pid, _)| pid);
    Ok(Sample {
        rate: seen.rate,
        p50: seen.p50,
        p99: seen.p99,
        front: per_request(&front_taken),
        bun: per_request(&bun_taken),
        front_memory: megabytes(front.iter().copied(), pss),
        bun_memory: megabytes(worked, private),
        failed: seen.failed,
    })
}

fn megabytes(pids: impl Iterator<Item = u32>, of: fn(u32) -> Option<u64>) -> f64 {
    pids.filter_map(of).sum::<u64>() as f64 / 1024.0
}

fn total_cpu(pids: &[u32]) -> Duration {
    pids.iter().map(|&pid| cpu(pid)).sum()
}

fn many_apps(plan: &Plan, servers: &Servers, report: &mut Report) -> Result<()> {
    const APPS: usize = 20;
    let nginx = Nginx::start(&std::array::from_fn::<_, APPS, _>(|i| {
        (format!("app-{i:02}"), "noop")
    }))?;
    // The same script for all: making requests in a script costs wrk time.
    let load = |port, apps| Load {
        url: format!("http://127.0.0.1:{port}/app-00/"),
        connections: 50,
        script: Some("bench/wrk/apps.lua".to_owned()),
        header: None,
        argument: Some(apps),
    };
    let targets = [
        (
            load(servers.ours.port, "20"),
            servers.processes(System::Ours, ""),
        ),
        (
            load(servers.ours.port, "1"),
            servers.processes(System::Ours, ""),
        ),
        (load(nginx.port, "20"), nginx.processes(|_| true)),
        (
            load(nginx.port, "1"),
            nginx.processes(|name| name == "app-00"),
        ),
    ];
    let all = in_turns(plan, "apps", &targets, |(load, processes), each| {
        measure_processes(processes, load, each)
    })?;
    report.section(
        "20 apps in turn",
        "The no-op app twenty times, asked in turn, and one of them alone; 50 connections.",
    );
    report.table(&[
        ("twenty apps", &all[0]),
        ("one app", &all[1]),
        ("twenty apps, nginx", &all[2]),
        ("one app, nginx", &all[3]),
    ]);
    let rate = |a: usize, b: usize| ratio(&all[a], &all[b], |sample| sample.rate);
    for (what, value, goal) in [
        (
            "20 apps in turn: req/s over one app",
            rate(0, 1),
            Goal::AtLeast(0.8),
        ),
        ("20 apps in turn: the same of nginx", rate(2, 3), Goal::None),
        ("20 apps in turn: req/s over nginx", rate(0, 2), Goal::None),
    ] {
        report.verdict(what, value, "", goal);
    }
    Ok(())
}

/// A hundred workers that have answered once and then rest.
fn idle_workers(plan: &Plan, report: &mut Report) -> Result<()> {
    const WORKERS: usize = 100;
    let apps = servers::copies("noop", "idle", WORKERS)?;
    let mut ours = Ours::start("bench-idle", &[apps.path()])?;
    for i in 0..WORKERS {
        ours.warm(&format!("/idle-{i:02}/"))?;
    }
    let rest = if plan.full { 20 } else { 5 };
    // The last collection of garbage after the work is not what resting costs.
    std::thread::sleep(Duration::from_secs(rest));
    let all = || {
        let mut pids = descendants(ours.pid());
        pids.push(ours.pid());
        total_cpu(&pids)
    };
    let before = all();
    std::thread::sleep(Duration::from_secs(rest));
    check_interrupt()?;
    let busy = all().saturating_sub(before).as_secs_f64() / rest as f64 * 100.0;
    let workers = descendants(ours.pid());
    let each = median(
        workers
            .iter()
            .filter_map(|&pid| pss(pid))
            .map(|kib| kib as f64 / 1024.0),
    );
    let server = pss(ours.pid()).map_or(f64::NAN, |kib| kib as f64 / 1024.0);
    report.section(
        "100 idle workers",
        &format!(
            "{} worker processes, blanks among them. A worker's PSS is the median; the server has {server:.1} MB.",
            workers.len()
        ),
    );
    report.verdict("a trivial worker, PSS", each, " MB", Goal::AtMost(3.0));
    report.verdict(
        "100 idle workers and the server, CPU",
        busy,
        " % of a core",
        Goal::AtMost(1.0),
    );
    Ok(())
}
