//! A fresh worker for each request, beside the plain way to have that: to start Bun each time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Plan, in_turns};
use crate::client::{self, Connection};
use crate::figures::{Sample, median, ratio};
use crate::report::{Goal, Report};
use crate::servers::{self, Servers};
use crate::{BenchError, Result};

/// Requests a second of an open loop.
pub(super) const RATE: u32 = 20;

/// What the ephemeral scenario asks in turn.
enum Cold {
    Ours(&'static str),
    Spawned,
}

pub(super) fn ephemeral(plan: &Plan, servers: &mut Servers, report: &mut Report) -> Result<()> {
    servers.ours.warm("/ephemeral/")?;
    servers.ours.warm("/ephemeral-hono/")?;
    let port = servers.ours.port;
    let spawner = Spawner::new()?;
    let one = |target: &Cold| match target {
        Cold::Ours(path) => answered(port, path),
        Cold::Spawned => spawner.request().ok(),
    };

    let targets = [
        Cold::Ours("/ephemeral/"),
        Cold::Ours("/ephemeral-hono/"),
        Cold::Spawned,
    ];
    let open = in_turns(plan, "ephemeral", &targets, |target, each| {
        let latencies = client::open_loop(RATE, each, || one(target));
        Ok(Sample::of_clients(&latencies, each))
    })?;
    report.section(
        "Ephemeral, 20 requests a second",
        "An open loop: requests start when they are due. Each gets a fresh worker in the full sandbox; \"spawned\" starts Bun for each request, which nothing confines. Without the sandbox: below.",
    );
    report.table(&[
        ("trivial app", &open[0]),
        ("hono app", &open[1]),
        ("spawned, trivial app", &open[2]),
    ]);
    let p50 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p50));
    report.verdict(
        "ephemeral, trivial app: p50",
        p50(&open[0]),
        " ms",
        Goal::AtMost(3.0),
    );
    report.verdict(
        "ephemeral, hono app: p50",
        p50(&open[1]),
        " ms",
        Goal::AtMost(6.0),
    );

    let targets = [Cold::Ours("/ephemeral/"), Cold::Spawned];
    let closed = in_turns(plan, "ephemeral-throughput", &targets, |target, each| {
        Ok(flat_out(each, || one(target)))
    })?;
    report.section(
        "Ephemeral, as fast as it goes",
        "Four clients that ask again as soon as they have an answer; the spawned Bun is not confined.",
    );
    report.table(&[
        ("trivial app", &closed[0]),
        ("spawned, trivial app", &closed[1]),
    ]);
    report.verdict(
        "ephemeral, all layers: req/s over spawning Bun, which nothing confines",
        ratio(&closed[0], &closed[1], |s| s.rate),
        "",
        Goal::None,
    );
    Ok(())
}

/// Asks our server once. Gives the time of the answer, if it is 200.
pub(super) fn answered(port: u16, path: &str) -> Option<Instant> {
    let status = client::once(port, "GET", path, b"").ok()?;
    (status == 200).then(Instant::now)
}

/// Four clients that ask again as soon as they have an answer.
pub(super) fn flat_out(each: Duration, one: impl Fn() -> Option<Instant> + Sync) -> Sample {
    let started = Instant::now();
    let latencies = client::closed_loop(4, each, one);
    Sample::of_clients(&latencies, started.elapsed())
}

/// Starts Bun for each request: the plain way to have ephemeral workers.
pub(super) struct Spawner {
    bun: PathBuf,
    dir: tempfile::TempDir,
    next: AtomicU64,
}

impl Spawner {
    pub(super) fn new() -> Result<Self> {
        let dir =
            tempfile::TempDir::new().map_err(|error| BenchError::Failed(error.to_string()))?;
        Ok(Self {
            bun: servers::bun()?,
            dir,
            next: AtomicU64::new(0),
        })
    }

    /// Gives the time of the answer.
    pub(super) fn request(&self) -> std::io::Result<Instant> {
        let socket = self
            .dir
            .path()
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let mut child = Command::new(&self.bun)
            .arg("bench/spawned.ts")
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()?;
        let answer = Self::ask(&socket);
        // The client need not wait for the end of the process, but it has to be paid for.
        let _ = child.kill();
        let _ = child.wait();
        let _ = std::fs::remove_file(&socket);
        answer
    }

    fn ask(socket: &Path) -> std::io::Result<Instant> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut connection = loop {
            match Connection::open_unix(socket) {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_micros(300)),
            }
        };
        connection.request("GET", "/", b"")?;
        Ok(Instant::now())
    }
}
