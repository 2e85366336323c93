//! What runs inside Bun before the app does, as files.
//!
//! It is there as text at once, and soon as bytecode of the Bun that is here, which
//! saves each start the work of compiling it. Whatever goes wrong, the text runs.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use buntime_sandbox::Launch;
use tokio::time::timeout;

use crate::bundle::run_build;
use crate::confine::build_policy;
use crate::pool::Shared;

/// A CommonJS script.
const TEXT: &str = include_str!("../../../worker/dist/wrapper.js");
/// The app that a blank rehearses with, which it looks for beside the wrapper.
const REHEARSAL: &str = include_str!("../../../worker/dist/rehearsal.ts");
/// Tells Bun that the script needs no transpiler, in Bun's own words.
const OPENING: &str =
    "// @bun @bun-cjs\n(function(exports, require, module, __filename, __dirname) {";
const CLOSING: &str = "})\n";
const NAME: &str = "wrapper.js";
const BYTECODE: &str = "wrapper.js.jsc";
pub(crate) const REHEARSAL_NAME: &str = "rehearsal.ts";
/// Longest that making the bytecode may take.
const LIMIT: Duration = Duration::from_secs(30);
/// It waits for everything else.
const NICE: i32 = 10;

/// The wrapper's files.
#[derive(Debug)]
pub(crate) struct Wrapper {
    text: PathBuf,
    /// Where the bytecode is made.
    workshop: PathBuf,
    compiled: OnceLock<PathBuf>,
}

impl Wrapper {
    /// Writes the text into the runtime directory.
    pub(crate) fn write(dir: &Path) -> io::Result<Self> {
        // A worker reads the folder, in which nothing else must be.
        let text = dir.join("text");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&text)?;
        fs::write(text.join(REHEARSAL_NAME), REHEARSAL)?;
        let text = text.join(NAME);
        fs::write(&text, format!("{OPENING}{TEXT}{CLOSING}"))?;
        let workshop = dir.join("wrapper");
        match fs::remove_dir_all(&workshop) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            text,
            workshop,
            compiled: OnceLock::new(),
        })
    }

    /// What a worker that starts now loads.
    pub(crate) fn path(&self) -> &Path {
        self.compiled.get().unwrap_or(&self.text)
    }
}

/// Makes the bytecode.
pub(crate) async fn compile(shared: Arc<Shared>) {
    let made = tokio::select! {
        made = timeout(LIMIT, make(&shared)) => made.unwrap_or(None),
        () = shared.stopped() => return,
    };
    match made {
        Some(path) => {
            let _ = shared.wrapper.compiled.set(path);
        }
        None => shared.config.events.not_compiled(),
    }
}

async fn make(shared: &Shared) -> Option<PathBuf> {
    let workshop = &shared.wrapper.workshop;
    let launch = prepare(shared, workshop).ok()?;
    run_build(shared, launch).await.ok()?;
    let out = workshop.join("out");
    fs::write(out.join(REHEARSAL_NAME), REHEARSAL).ok()?;
    let is_file = |name| fs::metadata(out.join(name)).is_ok_and(|found| found.is_file());
    (is_file(NAME) && is_file(BYTECODE)).then(|| out.join(NAME))
}

fn prepare(shared: &Shared, workshop: &Path) -> io::Result<Launch> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    private.create(workshop)?;
    private.create(workshop.join("out"))?;
    let source = workshop.join(NAME);
    fs::write(&source, TEXT)?;
    let mut args: Vec<OsString> = vec!["build".into(), source.into()];
    args.extend(
        [
            "--config=/dev/null",
            "--no-env-file",
            "--no-macros",
            "--no-install",
            "--target=bun",
            "--format=cjs",
            "--bytecode",
            "--outdir=out",
        ]
        .map(OsString::from),
    );
    Ok(Launch {
        program: shared.program.path().to_owned(),
        args,
        env: vec![
            ("HOME".into(), workshop.into()),
            ("TMPDIR".into(), workshop.into()),
            ("BUN_RUNTIME_TRANSPILER_CACHE_PATH".into(), "0".into()),
            ("DO_NOT_TRACK".into(), "1".into()),
        ],
        cwd: workshop.to_owned(),
        control: OwnedFd::from(File::open("/dev/null")?),
        limits: shared.config.limits,
        nice: NICE,
        policy: build_policy(shared, &[], &[workshop]),
    })
}
