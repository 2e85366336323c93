//! What the sandbox costs: the same server with it and without, side by side.

use std::path::Path;
use std::time::Duration;

use super::cold::{RATE, Spawner, answered, flat_out};
use super::{Plan, in_one_round, in_turns, measure_processes};
use crate::client;
use crate::figures::{Sample, median, ratio};
use crate::process::{descendants, pss};
use crate::report::{Goal, Report};
use crate::servers::Ours;
use crate::wrk::Load;
use crate::{BenchError, Result};

/// Loads that persistent workers take: the app, a script of wrk's, the title.
const WARM: [(&str, Option<&str>, &str); 2] = [
    ("noop", None, "Sandbox, warm no-op"),
    ("echo", Some("bench/wrk/echo.lua"), "Sandbox, 1 KB echo"),
];

/// A server with all layers and one with none.
fn pair() -> Result<[Ours; 2]> {
    let start = |name: &str, sandbox: &str| {
        let variables = [("RUNTIME_SANDBOX", sandbox)];
        Ours::start_with(name, &[Path::new("bench/apps")], &variables)
    };
    Ok([
        // Where a layer is missing there is no full sandbox to measure.
        start("bench-sandbox", "require")?,
        start("bench-no-sandbox", "off")?,
    ])
}

pub(super) fn beside_none(plan: &Plan, report: &mut Report) -> Result<()> {
    let servers = pair()?;
    let blank = blank_memory(&servers[0])?;
    drop(servers);
    warm(plan, report)?;
    let mut servers = pair()?;
    for server in &mut servers {
        server.warm("/ephemeral/")?;
    }
    cold(plan, &servers, report)?;
    cold_throughput(plan, &servers, report)?;
    report.verdict("Sandbox: a blank, PSS", blank, " MB", Goal::AtMost(20.0));
    Ok(())
}

fn warm(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut of_apps = WARM.map(|_| [Vec::new(), Vec::new()]);
    // As for the other warm loads: a process is some percent faster or slower all its life.
    for round in 0..plan.rounds {
        let mut servers = pair()?;
        for ((app, script, _), all) in WARM.iter().zip(&mut of_apps) {
            for server in &mut servers {
                server.warm(&format!("/{app}/"))?;
            }
            let name = format!("sandbox-{app}");
            let samples = in_one_round(plan, round, &name, &servers, |server, each| {
                let load = Load {
                    url: format!("http://127.0.0.1:{}/{app}/", server.port),
                    connections: 50,
                    script: script.map(str::to_owned),
                    header: None,
                    argument: None,
                };
                let processes = (vec![server.pid()], descendants(server.pid()));
                measure_processes(&processes, &load, each)
            })?;
            for (all, sample) in all.iter_mut().zip(samples) {
                all.push(sample);
            }
        }
    }
    for ((_, _, title), [all_layers, none]) in WARM.iter().zip(&of_apps) {
        report.section(
            title,
            "50 connections, one worker; with all layers and with none, new servers every round.",
        );
        report.table(&[("all layers", all_layers), ("none", none)]);
        report.verdict(
            format!("{title}: req/s over none"),
            ratio(all_layers, none, |sample| sample.rate),
            "",
            Goal::AtLeast(0.97),
        );
    }
    Ok(())
}

fn cold(plan: &Plan, servers: &[Ours; 2], report: &mut Report) -> Result<()> {
    let all = in_turns(plan, "sandbox-ephemeral", servers, |server, each| {
        let one = || answered(server.port, "/ephemeral/");
        let latencies = client::open_loop(RATE, each, one);
        Ok(Sample::of_clients(&latencies, each))
    })?;
    report.section(
        "Sandbox, ephemeral, 20 requests a second",
        "An open loop, the trivial app; with all layers and with none.",
    );
    report.table(&[("all layers", &all[0]), ("none", &all[1])]);
    report.verdict(
        "Sandbox, ephemeral: p50 over none",
        ratio(&all[0], &all[1], |sample| sample.p50),
        "",
        Goal::AtMost(1.5),
    );
    report.verdict(
        "No sandbox, ephemeral: p50",
        median(all[1].iter().map(|sample| sample.p50)),
        " ms",
        Goal::None,
    );
    Ok(())
}

/// What each of the two can do at most, beside starting Bun for each request, which confines
/// nothing.
fn cold_throughput(plan: &Plan, servers: &[Ours; 2], report: &mut Report) -> Result<()> {
    let [all_layers, none] = servers;
    let spawner = Spawner::new()?;
    let targets = [Some(all_layers), Some(none), None];
    let all = in_turns(plan, "sandbox-throughput", &targets, |target, each| {
        Ok(flat_out(each, || match target {
            Some(server) => answered(server.port, "/ephemeral/"),
            None => spawner.request().ok(),
        }))
    })?;
    report.section(
        "Sandbox, ephemeral, as fast as it goes",
        "Four clients; with all layers, with none, and Bun started for each request.",
    );
    report.table(&[
        ("all layers", &all[0]),
        ("none", &all[1]),
        ("spawned", &all[2]),
    ]);
    let rate = |a: usize, b: usize| ratio(&all[a], &all[b], |sample| sample.rate);
    report.verdict(
        "Sandbox, ephemeral: req/s over none",
        rate(0, 1),
        "",
        Goal::None,
    );
    // Neither confines anything. Ours runs its copy of Bun, the other the file as it is: that is
    // a part of the ratio.
    report.verdict(
        "ephemeral, no sandbox: req/s over spawning Bun, which nothing confines",
        rate(1, 2),
        "",
        Goal::AtLeast(1.0),
    );
    Ok(())
}

/// The median of blanks before any app was asked for, in MB.
fn blank_memory(server: &Ours) -> Result<f64> {
    let mut before = Vec::new();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(200));
        let blanks: Vec<_> = descendants(server.pid())
            .into_iter()
            .filter_map(pss)
            .collect();
        // They have started when they take no more.
        if !blanks.is_empty() && blanks == before {
            return Ok(median(blanks.iter().map(|&kib| kib as f64 / 1024.0)));
        }
        before = blanks;
    }
    Err(BenchError::Failed(
        "no blank worker comes to rest".to_owned(),
    ))
}
