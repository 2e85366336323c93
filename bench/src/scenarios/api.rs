//! The API: what a key costs, and how long a long list takes.

use std::fs;
use std::time::Instant;

use tempfile::TempDir;

use super::{Plan, check_interrupt, in_turns, measure_processes};
use crate::client::Connection;
use crate::figures::{Latencies, ratio};
use crate::report::{Goal, Report};
use crate::servers::{Ours, ROOT_KEY, Servers, System};
use crate::wrk::Load;
use crate::{BenchError, Context as _, Result};

/// A small route that needs a key, beside one that needs none.
pub(super) fn small_route(plan: &Plan, servers: &Servers, report: &mut Report) -> Result<()> {
    let port = servers.ours.port;
    let key = make_key(port)?;
    let load = |path: &str, header| Load {
        url: format!("http://127.0.0.1:{port}/api/{path}"),
        connections: 50,
        script: None,
        header,
        argument: None,
    };
    let targets = [
        load("plugins/loaded", Some(format!("X-API-Key: {key}"))),
        load("health", None),
    ];
    let processes = servers.processes(System::Ours, "");
    let all = in_turns(plan, "api", &targets, |load, each| {
        measure_processes(&processes, load, each)
    })?;
    report.section(
        "A small route of the API",
        "GET with a key in a header, and the health route, which needs none; 50 connections.",
    );
    report.table(&[("with a key", &all[0]), ("health", &all[1])]);
    report.verdict(
        "API with a key: req/s over the health route",
        ratio(&all[0], &all[1], |sample| sample.rate),
        "",
        Goal::AtLeast(0.5),
    );
    Ok(())
}

/// The list of a thousand workers.
pub(super) fn long_list(plan: &Plan, report: &mut Report) -> Result<()> {
    const WORKERS: usize = 1000;
    let root = TempDir::new().context(|| "no temporary folder".to_owned())?;
    for i in 0..WORKERS {
        let dir = root.path().join(format!("app-{i:04}/1.0.0"));
        let made = fs::create_dir_all(&dir)
            .and_then(|()| fs::write(dir.join("manifest.yaml"), "ttl: 1h\n"))
            .and_then(|()| fs::write(dir.join("index.ts"), "export default {};\n"));
        made.context(|| dir.display().to_string())?;
    }
    let ours = Ours::start("bench-list", &[root.path()])?;
    let key = format!("x-api-key: {ROOT_KEY}\r\n");
    let mut connection =
        Connection::open(ours.port).context(|| "cannot connect to the server".to_owned())?;
    let mut list = || {
        let mut body = Vec::new();
        let status = connection.ask("GET", "/api/workers", &key, b"", &mut body);
        let status = status.context(|| "GET /api/workers".to_owned())?;
        let names = body
            .windows(9)
            .filter(|bytes| *bytes == b"\"name\":\"a")
            .count();
        match (status, names) {
            (200, WORKERS) => Ok(()),
            _ => Err(BenchError::Failed(format!(
                "the list has status {status} and {names} workers"
            ))),
        }
    };
    list()?;
    let mut times = Latencies::default();
    for _ in 0..plan.rounds * 20 {
        check_interrupt()?;
        let begun = Instant::now();
        list()?;
        times.add(Some(begun.elapsed()));
    }
    let times = Latencies::merge([times]);
    report.section(
        "The list of 1,000 workers",
        &format!("One client, {} times.", times.count()),
    );
    report.verdict(
        "list of 1,000 workers: p50",
        times.percentile(0.5),
        " ms",
        Goal::AtMost(10.0),
    );
    Ok(())
}

/// A key of its own: the root key takes another way.
fn make_key(port: u16) -> Result<String> {
    let mut body = Vec::new();
    let headers = format!("x-api-key: {ROOT_KEY}\r\ncontent-type: application/json\r\n");
    let asked = br#"{"name":"bench","role":"viewer"}"#;
    Connection::open(port)
        .and_then(|mut connection| connection.ask("POST", "/api/keys", &headers, asked, &mut body))
        .context(|| "POST /api/keys".to_owned())?;
    let text = String::from_utf8_lossy(&body);
    let key = text
        .split_once("\"key\":\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    match key {
        Some((key, _)) => Ok(key.to_owned()),
        None => Err(BenchError::Failed(format!("no key could be made: {text}"))),
    }
}
