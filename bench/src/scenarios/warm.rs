//! Loads on workers that run, and on a static app, with each system in turn.

use super::{Plan, in_one_round, measure_processes};
use crate::Result;
use crate::figures::ratio;
use crate::report::{Goal, Report};
use crate::servers::{SYSTEMS, Servers, System};
use crate::wrk::Load;

/// A load that several systems take in turn.
struct Warm {
    name: &'static str,
    title: &'static str,
    note: &'static str,
    app: &'static str,
    path: &'static str,
    connections: u32,
    script: Option<&'static str>,
}

const WARM: [Warm; 6] = [
    Warm {
        name: "noop",
        title: "Warm no-op",
        note: "GET of two bytes, 50 connections.",
        app: "noop",
        path: "",
        connections: 50,
        script: None,
    },
    Warm {
        name: "crowd",
        title: "Warm no-op, 400 connections",
        note: "The same with 400 connections.",
        app: "noop",
        path: "",
        connections: 400,
        script: None,
    },
    Warm {
        name: "echo",
        title: "1 KB echo",
        note: "POST of 1 KB that comes back, 50 connections.",
        app: "echo",
        path: "",
        connections: 50,
        script: Some("bench/wrk/echo.lua"),
    },
    Warm {
        name: "wait",
        title: "50 ms handler",
        note: "A handler that waits for 50 ms, 200 connections.",
        app: "wait",
        path: "",
        connections: 200,
        script: None,
    },
    Warm {
        name: "download",
        title: "1 MB download",
        note: "GET of 1 MB from the app's memory, 20 connections.",
        app: "download",
        path: "",
        connections: 20,
        script: None,
    },
    Warm {
        name: "static",
        title: "Static file",
        note: "GET of 16 KB, 50 connections; nginx serves it from disk itself, Bun by `Bun.file`.",
        app: "static",
        path: "site-0a1b2c3d4e.css",
        connections: 50,
        script: None,
    },
];

pub(super) fn all(plan: &Plan, servers: &Servers, report: &mut Report) -> Result<()> {
    for warm in WARM.iter().filter(|warm| plan.wants(warm.name)) {
        one(plan, servers, warm, report)?;
    }
    Ok(())
}

fn one(plan: &Plan, servers: &Servers, warm: &Warm, report: &mut Report) -> Result<()> {
    let mut all = SYSTEMS.map(|_| Vec::new());
    for round in 0..plan.rounds {
        // Where a process happens to lie in memory makes it some percent faster or slower for
        // as long as it lives: the first round is of those that stay, each further of others.
        let others = (round > 0).then(Servers::start).transpose()?;
        let these = others.as_ref().unwrap_or(servers);
        let samples = in_one_round(plan, round, warm.name, &SYSTEMS, |&system, each| {
            let load = Load {
                url: these.url(system, warm.app, warm.path),
                connections: warm.connections,
                script: warm.script.map(str::to_owned),
                header: None,
                argument: None,
            };
            measure_processes(&these.processes(system, warm.app), &load, each)
        })?;
        for (all, sample) in all.iter_mut().zip(samples) {
            all.push(sample);
        }
    }
    let of = |system| {
        &all[SYSTEMS
            .iter()
            .position(|&other| other == system)
            .unwrap_or(0)]
    };
    report.section(warm.title, warm.note);
    report.table(&SYSTEMS.map(|system| (system.label(), of(system).as_slice())));
    let others = [System::Nginx, System::Bun].map(|other| (other.label(), of(other).as_slice()));
    report.ratios(System::Ours.label(), of(System::Ours), &others);

    let nginx = ratio(of(System::Ours), of(System::Nginx), |s| s.rate);
    let slowest = ratio(of(System::Ours), of(System::Nginx), |s| s.p99);
    let goal = match warm.name {
        "noop" | "echo" => Goal::AtLeast(1.0),
        "download" => Goal::AtLeast(1.5),
        "static" => Goal::AtLeast(0.7),
        _ => Goal::None,
    };
    report.verdict(format!("{}: req/s over nginx", warm.title), nginx, "", goal);
    let goal = if matches!(warm.name, "noop" | "echo") {
        Goal::AtMost(1.0)
    } else {
        Goal::None
    };
    report.verdict(format!("{}: p99 over nginx", warm.title), slowest, "", goal);
    let goal = if warm.name == "wait" {
        Goal::AtLeast(0.98)
    } else {
        Goal::None
    };
    let bare = ratio(of(System::Ours), of(System::Bun), |s| s.rate);
    report.verdict(
        format!("{}: req/s over bare Bun", warm.title),
        bare,
        "",
        goal,
    );
    Ok(())
}
