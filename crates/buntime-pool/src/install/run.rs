//! One run of `bun install`, in a process like a worker's, with less.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use buntime_sandbox::{Exit, Launch, Process, ProcessLimits};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Begun, Problem, failed, tree};
use crate::config::{AppSpec, InstallLimits};
use crate::confine::install_policy;
use crate::events::{LONGEST_LINE, LogStream, PoolEvents};
use crate::gateway::Unserved;
use crate::lines::{Lines, cut};
use crate::pool::Shared;
use crate::watch::is_first_to_go;

/// Between two looks at the size; more if a look takes long.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
const LOOK_SHARE: u32 = 10;
/// Lines of one pipe that reach the log.
const MOST_LINES: usize = 200;
/// What is kept of what Bun says, in bytes.
const MOST_WORDS: usize = 3 * 1024;
/// Installs wait for everything else.
const NICE: i32 = 10;
/// Connections and files at a time.
const OPEN_FILES: u64 = 4096;
/// Private memory, in bytes: a package may unpack to more than the machine has.
const DATA: u64 = 2 << 30;

const OPTIONS: [&str; 9] = [
    "install",
    "--frozen-lockfile",
    "--ignore-scripts",
    // There is no such file; it says that none is to be looked for.
    "--config=/dev/null",
    "--no-env-file",
    "--no-progress",
    // A file must not be one with the cache's: an app that changes it would change
    // what is installed later.
    "--backend=copyfile",
    // As it is where there are no workspaces, whatever the lockfile's age.
    "--linker=hoisted",
    // As many at once as a registry and a small machine bear.
    "--network-concurrency=24",
];

/// Runs it to its end. However it ends, no process is left.
pub(super) async fn run(
    shared: &Shared,
    spec: &AppSpec,
    job: &Begun,
    deadline: Instant,
    given_up: impl Future<Output = ()>,
) -> Result<(), Problem> {
    let mut gateway = Unserved::open(shared.config.sandbox.layers)
        .map_err(|failure| Problem::Failed(failure.message))?;
    let launch = launch(shared, job, &gateway).map_err(failed("start Bun"))?;
    let spawned = shared.config.launcher.spawn(launch).await;
    let mut process =
        spawned.map_err(|error| Problem::Failed(format!("cannot start Bun: {error}")))?;
    is_first_to_go(process.pid());
    gateway.made(process.gateway.take());
    let gateway = gateway.into_gateway(Vec::new());
    let _served = gateway.map(|gateway| shared.config.gateways.serve_install(gateway, spec));
    let pipe = |pipe: Option<OwnedFd>, stream| {
        let events = Arc::clone(&shared.config.events);
        tokio::spawn(listen(pipe, stream, spec.id.clone(), events))
    };
    let out = pipe(process.stdout.take(), LogStream::Stdout);
    let err = pipe(process.stderr.take(), LogStream::Stderr);
    let limits = shared.config.install.limits;
    let ended = watch(&mut process, job, limits, deadline, given_up).await;
    // The pipes end with the last process of the group.
    process.kill();
    process.wait().await;
    let (_, said) = tokio::join!(out, err);
    match ended? {
        Exit::Code(0) => Ok(()),
        Exit::Code(code) => Err(told(code, &said.unwrap_or_default())),
        Exit::Signal(signal) => Err(Problem::Failed(format!(
            "`bun install` was ended by signal {signal}"
        ))),
    }
}

/// What Bun says, with what to do about it.
fn told(code: i32, said: &str) -> Problem {
    let said = cut(said.trim(), MOST_WORDS);
    Problem::Failed(if said.contains("lockfile is frozen") {
        format!(
            "bun.lock does not fit package.json; run `bun install` and deploy both files: {said}"
        )
    } else {
        format!("`bun install` failed with code {code}: {said}")
    })
}

fn launch(shared: &Shared, job: &Begun, gateway: &Unserved) -> io::Result<Launch> {
    let option = |name: &str, path: PathBuf| {
        let mut option = OsString::from(name);
        option.push(path);
        option
    };
    let mut args: Vec<OsString> = OPTIONS.map(OsString::from).into();
    args.push(option("--cache-dir=", job.cache.dir.clone()));
    if let Some(ca) = job.work.ca_file() {
        args.push(option("--cafile=", ca));
    }
    // Nothing of the server's: what Bun knows, a registry may be told. Without a
    // PATH it finds no program to run.
    let mut env: Vec<(OsString, OsString)> = vec![
        ("HOME".into(), job.work.home().into()),
        ("TMPDIR".into(), job.work.tmp().into()),
        ("BUN_TMPDIR".into(), job.work.tmp().into()),
        ("LANG".into(), "C.UTF-8".into()),
        ("BUN_RUNTIME_TRANSPILER_CACHE_PATH".into(), "0".into()),
        ("BUN_ENABLE_CRASH_REPORTING".into(), "0".into()),
        ("DO_NOT_TRACK".into(), "1".into()),
    ];
    let proxies = gateway.proxies();
    env.extend(proxies.map(|(name, value)| (name.into(), value.into())));
    let folders = [job.work.dir(), job.cache.dir.as_path()];
    Ok(Launch {
        program: shared.program.path().to_owned(),
        args,
        env,
        cwd: job.work.project(),
        control: OwnedFd::from(File::open("/dev/null")?),
        limits: ProcessLimits {
            open_files: OPEN_FILES,
            file_size: Some(shared.config.install.limits.packages),
            data: Some(DATA),
        },
        nice: NICE,
        policy: install_policy(shared, folders, gateway),
    })
}

/// Until it has ended or takes too much.
async fn watch(
    process: &mut Process,
    job: &Begun,
    limits: InstallLimits,
    deadline: Instant,
    given_up: impl Future<Output = ()>,
) -> Result<Exit, Problem> {
    let over = async {
        loop {
            let begun = Instant::now();
            if let Some(problem) = measure(job, limits).await {
                return problem;
            }
            sleep(LOOK_PAUSE.max(begun.elapsed() * LOOK_SHARE)).await;
        }
    };
    let exit = tokio::select! {
        exit = process.wait() => exit,
        problem = over => return Err(problem),
        () = sleep_until(deadline) => {
            let limit = limits.time.as_secs_f64();
            return Err(Problem::Failed(format!("it took more than {limit} seconds")));
        }
        () = given_up => return Err(Problem::GivenUp),
    };
    // It may have grown after the last look.
    match measure(job, limits).await {
        Some(problem) => Err(problem),
        None => Ok(exit),
    }
}

async fn measure(job: &Begun, limits: InstallLimits) -> Option<Problem> {
    let trees = [
        (job.work.dir().to_owned(), limits.packages, "node_modules"),
        (job.cache.dir.clone(), limits.cache, "the cache"),
    ];
    let measured = tokio::task::spawn_blocking(move || {
        trees.into_iter().find_map(|(path, most, what)| {
            (tree::size(&path, most) > most)
                .then(|| Problem::Failed(format!("{what} takes more than {} MB", most >> 20)))
        })
    });
    measured.await.unwrap_or(None)
}

/// Passes the lines of a pipe on until it ends, and keeps the beginning.
async fn listen(
    pipe: Option<OwnedFd>,
    stream: LogStream,
    app: String,
    events: Arc<dyn PoolEvents>,
) -> String {
    let mut lines = Lines::new(LONGEST_LINE);
    let mut kept = String::new();
    let mut count = 0_usize;
    let mut pass = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        count += 1;
        if count <= MOST_LINES {
            events.install_line(&app, stream, line);
        }
        if kept.len() < MOST_WORDS {
            kept.push_str(line);
            kept.push('\n');
        }
    };
    if let Some(Ok(mut pipe)) = pipe.map(Receiver::from_owned_fd) {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut part).await {
            lines.push(part.get(..read).unwrap_or_default(), &mut pass);
        }
    }
    lines.finish(&mut pass);
    if let Some(more @ 1..) = count.checked_sub(MOST_LINES) {
        events.install_line(&app, stream, &format!("… and {more} more lines"));
    }
    kept
}
