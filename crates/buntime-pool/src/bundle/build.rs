//! One run of `bun build`, in a process like a worker's, with less.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buntime_sandbox::{Exit, Launch, ProcessLimits};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use crate::config::AppSpec;
use crate::confine::{build_policy, technical_env};
use crate::lines::cut;
use crate::pool::Shared;
use crate::watch::{is_first_to_go, over};

/// Longest build.
const LIMIT: Duration = Duration::from_secs(60);
/// Largest file that a build may write, and all of them together, in bytes.
pub(super) const MOST_OUTPUT: u64 = 64 << 20;
/// Most memory of a build, in bytes: many times that of the sources, which may be more than
/// the machine has.
const MOST_MEMORY: u64 = 512 << 20;
/// What is kept of what Bun says, in bytes.
const MOST_WORDS: usize = 4 * 1024;
/// Builds wait for everything else.
const NICE: i32 = 15;

/// The options that make a bundle. Names and layout stay as they are: with bytecode
/// a smaller text starts no faster, and it could be told from the source.
const OPTIONS: [&str; 9] = [
    // The app's own settings file could run code.
    "--config=/dev/null",
    "--no-env-file",
    "--no-macros",
    "--no-install",
    "--target=bun",
    "--format=cjs",
    "--bytecode",
    "--sourcemap=linked",
    "--entry-naming=index.[ext]",
];
/// ES modules are strict, which the format of the bundle is not by itself.
const STRICT: &str = "--banner=\"use strict\";";

/// The name of what a worker loads, and of what is beside it.
pub(super) const ENTRY: &str = "index.js";
pub(super) const FILES: [&str; 3] = [ENTRY, "index.js.jsc", "index.js.map"];
const METAFILE: &str = "meta.json";

/// What a build gave, besides the files of the bundle.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) metafile: Vec<u8>,
    /// Where Bun ran.
    pub(super) cwd: PathBuf,
}

/// All that decides about a build's outcome besides the app's files.
pub(super) fn recipe(shared: &Shared) -> Vec<String> {
    let mut recipe: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
    recipe.push(STRICT.to_owned());
    recipe.push(node_env(shared).to_owned());
    recipe
}

fn node_env(shared: &Shared) -> &str {
    let base = &shared.config.base_env;
    let found = base.iter().find(|(name, _)| name == "NODE_ENV");
    found.map_or("", |(_, value)| value)
}

/// Builds the app's bundle into `out`, an empty directory.
pub(super) async fn build(
    shared: &Shared,
    spec: &AppSpec,
    out: &Path,
    strict: bool,
) -> Result<Built, String> {
    let scratch = Scratch::create(shared).map_err(|error| format!("no place to build: {error}"))?;
    let launch = launch(shared, spec, &scratch, out, strict)
        .map_err(|error| format!("cannot start Bun: {error}"))?;
    let run = timeout(LIMIT, run(shared, launch)).await;
    run.map_err(|_| format!("the build took more than {} seconds", LIMIT.as_secs()))??;
    let cwd = scratch.dir.clone();
    let out = out.to_owned();
    let collect = move || collect(&out).map(|metafile| Built { metafile, cwd });
    tokio::task::spawn_blocking(collect)
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

fn launch(
    shared: &Shared,
    spec: &AppSpec,
    scratch: &Scratch,
    out: &Path,
    strict: bool,
) -> io::Result<Launch> {
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(name);
        option.push(path);
        option
    };
    let mut args: Vec<OsString> = vec!["build".into(), spec.entrypoint.clone().into()];
    args.extend(OPTIONS.map(OsString::from));
    if strict {
        args.push(STRICT.into());
    }
    args.push(option("--outdir=", out));
    args.push(option("--metafile=", &out.join(METAFILE)));
    let mut env: Vec<(OsString, OsString)> = vec![
        ("NODE_ENV".into(), node_env(shared).into()),
        ("HOME".into(), scratch.dir.join("home").into()),
        ("TMPDIR".into(), scratch.dir.join("tmp").into()),
        ("BUN_RUNTIME_TRANSPILER_CACHE_PATH".into(), "0".into()),
        ("BUN_ENABLE_CRASH_REPORTING".into(), "0".into()),
        ("DO_NOT_TRACK".into(), "1".into()),
    ];
    env.extend(technical_env(shared.config.sandbox.layers));
    Ok(Launch {
        program: shared.program.path().to_owned(),
        args,
        env,
        cwd: scratch.dir.clone(),
        control: OwnedFd::from(File::open("/dev/null")?),
        limits: ProcessLimits {
            file_size: Some(MOST_OUTPUT),
            ..shared.config.limits
        },
        nice: NICE,
        policy: build_policy(shared, &[&spec.dir], &[&scratch.dir, out]),
    })
}

/// Until the process has ended; dropping the future kills it.
pub(crate) async fn run(shared: &Shared, launch: Launch) -> Result<(), String> {
    let launcher = &shared.config.launcher;
    let spawned = launcher.spawn(launch).await;
    let mut process = spawned.map_err(|error| format!("cannot start Bun: {error}"))?;
    is_first_to_go(process.pid());
    let pid = process.pid();
    let (out, err) = (process.stdout.take(), process.stderr.take());
    let bounded = async {
        tokio::select! {
            exit = process.wait() => Ok(exit),
            () = over(pid, MOST_MEMORY) => {
                // The pipes end with it.
                process.kill();
                process.wait().await;
                let most = MOST_MEMORY >> 20;
                Err(format!("Bun took more than {most} MB of memory"))
            }
        }
    };
    let (_, said, exit) = tokio::join!(listen(out), listen(err), bounded);
    match exit? {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) => Err(cut(said.trim(), MOST_WORDS).to_owned()),
        Exit::Signal(signal) => Err(format!("Bun was ended by signal {signal}")),
    }
}

/// Reads a pipe to its end and keeps the beginning.
async fn listen(pipe: Option<OwnedFd>) -> String {
    let mut kept = Vec::new();
    if let Some(Ok(mut pipe)) = pipe.map(Receiver::from_owned_fd) {
        let mut part = [0; 1024];
        while let Ok(read @ 1..) = pipe.read(&mut part).await {
            let room = MOST_WORDS.saturating_sub(kept.len()).min(read);
            kept.extend_from_slice(part.get(..room).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Checks that the build made the files of a bundle and no others, and takes the
/// metafile out.
fn collect(out: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("cannot read what was built: {error}");
    let mut size = 0;
    let mut found = 0;
    for entry in fs::read_dir(out).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name();
        let is_known = name == METAFILE || FILES.iter().any(|&file| name == file);
        let meta = entry.metadata().map_err(told)?;
        if !is_known || !meta.is_file() {
            return Err(format!("it consists of more than code: {}", name.display()));
        }
        size += meta.len();
        found += 1;
    }
    if found != FILES.len() + 1 {
        return Err("the build made no bytecode".to_owned());
    }
    if size > MOST_OUTPUT {
        return Err(format!("it is larger than {} MB", MOST_OUTPUT >> 20));
    }
    let path = out.join(METAFILE);
    let mut metafile = Vec::new();
    let file = File::open(&path).map_err(told)?;
    file.take(MOST_OUTPUT)
        .read_to_end(&mut metafile)
        .map_err(told)?;
    fs::remove_file(path).map_err(told)?;
    Ok(metafile)
}

/// The working directory, home and temporary files of a build.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn create(shared: &Shared) -> io::Result<Self> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let mut private = DirBuilder::new();
        private.mode(0o700);
        let dir = shared.slots_dir.join(name);
        private.create(&dir)?;
        let scratch = Self { dir };
        private.create(scratch.dir.join("home"))?;
        private.create(scratch.dir.join("tmp"))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover is removed at the next start of the server.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
