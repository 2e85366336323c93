//! Bun under the layers that this machine gives.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use buntime_sandbox::{
    Attachment, Exit, Launch, Launcher, Layers, Net, Policy, Process, ProcessLimits, Strength,
    probe,
};
use tempfile::TempDir;

fn bun() -> PathBuf {
    let pinned = "../../worker/node_modules/.bin/bun";
    std::env::var_os("RUNTIME_BUN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(pinned),
        PathBuf::from,
    )
}

/// Folders of one worker, and secrets beside them.
struct World {
    dir: TempDir,
    launcher: Launcher,
    layers: Layers,
}

impl World {
    async fn new() -> Self {
        let launcher = Launcher::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["probe", "stage", "slot", "data", "data/app", "app", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("app/lib.js"), "module.exports = 'library'").unwrap();
        fs::write(dir.path().join("other/secret"), "canary").unwrap();
        let Strength { layers, missing } =
            probe(&launcher, &bun(), &dir.path().join("probe")).await;
        eprintln!("layers: {layers}; missing: {missing:?}");
        Self {
            dir,
            launcher,
            layers,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn policy(&self, layers: Layers) -> Policy {
        Policy {
            layers,
            net: Net::Host,
            read: Vec::new(),
            write: vec![self.path("slot")],
            write_later: vec![self.path("data")],
            stage: self.path("stage"),
        }
    }

    /// Starts Bun on a script that may use `ask()`, which waits for a line on
    /// descriptor 3, and `attempt(name, action)`, which prints what came of it.
    async fn start(&self, layers: Layers, script: &str) -> (Process, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let dir = self.dir.path().display();
        let prelude = format!(
            r#"
            const fs = require("fs"), DIR = "{dir}";
            const ask = () => {{ const b = Buffer.alloc(1); do fs.readSync(3, b); while (b[0] !== 10); }};
            const attempt = async (name, action) => {{
                let result;
                try {{ result = String(await action()); }} catch (e) {{ result = "refused " + (e.code ?? e.message); }}
                console.log(name + ": " + result);
            }};
            "#
        );
        let launch = Launch {
            program: bun(),
            args: ["--config=/dev/null", "-e"]
                .map(Into::into)
                .into_iter()
                .chain([format!("{prelude}\n{script}").into()])
                .collect(),
            env: vec![
                ("HOME".into(), self.path("slot").into()),
                ("DO_NOT_TRACK".into(), "1".into()),
                ("BUN_RUNTIME_TRANSPILER_CACHE_PATH".into(), "0".into()),
            ],
            cwd: self.path("slot"),
            control: theirs.into(),
            limits: ProcessLimits::default(),
            nice: 0,
            policy: Some(self.policy(layers)),
        };
        (self.launcher.spawn(launch).await.unwrap(), ours)
    }
}

async fn output(mut process: Process) -> (Exit, String) {
    let pipes = [process.stdout.take(), process.stderr.take()];
    let text = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        for pipe in pipes.into_iter().flatten() {
            File::from(pipe).read_to_string(&mut text).unwrap();
        }
        text
    });
    let exit = process.wait().await;
    (exit, text.await.unwrap())
}

#[tokio::test]
async fn bun_runs_under_what_this_machine_gives() {
    let world = World::new().await;
    let (process, _control) = world
        .start(
            world.layers,
            r#"
            console.log("pid", process.pid, process.cwd());
            await attempt("cpus", () => require("os").cpus().length > 0);
            await attempt("concurrency", () => navigator.hardwareConcurrency > 0);
            await attempt("memory", () => process.memoryUsage().rss > 0);
            await attempt("total", () => require("os").totalmem() > 0);
            await attempt("host", () => require("os").hostname());
            await attempt("user", () => require("os").userInfo().username);
            await attempt("root", () => fs.readdirSync("/").sort());
            await attempt("own file", () => { fs.writeFileSync("x", "1"); return fs.readFileSync("x"); });
            await attempt("secret", () => fs.readFileSync(DIR + "/other/secret"));
            await attempt("passwd", () => fs.readFileSync("/etc/passwd"));
            await attempt("root write", () => fs.mkdirSync("/new"));
            await attempt("proc 2", () => fs.readdirSync("/proc").filter(n => +n > 0).length);
            await attempt("spawn", () => Bun.spawnSync([process.execPath, "--version"]).stdout);
            await attempt("worker", () => new Promise((done, fail) => {
                const w = new Worker(URL.createObjectURL(new Blob(["postMessage(1)"])));
                w.onmessage = e => { w.terminate(); done(e.data); }; w.onerror = e => fail(e);
            }));
            await attempt("sqlite", () => {
                const { Database } = require("bun:sqlite");
                const d = new Database("d.sqlite"); d.exec("pragma journal_mode=wal; create table t(x); insert into t values (7)");
                return d.query("select x from t").get().x;
            });
            await attempt("tcp listen", () => Bun.serve({ port: 0, hostname: "127.0.0.1", fetch() {} }).port > 0);
            await attempt("unix listen", () => { Bun.serve({ unix: "w.sock", fetch() {} }); return fs.existsSync("w.sock"); });
            process.exit(0);
            "#,
        )
        .await;
    let (exit, text) = output(process).await;
    eprintln!("{exit:?}\n{text}");
    assert_eq!(exit, Exit::Code(0));
}

#[tokio::test]
async fn what_is_attached_is_seen_where_it_is_outside() {
    let world = World::new().await;
    if world.layers.namespaces.is_none() {
        eprintln!("skipped: no namespaces here");
        return;
    }
    let (mut process, mut control) = world
        .start(
            world.layers,
            r#"
            await attempt("before", () => fs.readdirSync(DIR).sort());
            ask();
            await attempt("library", () => require(DIR + "/app/lib.js"));
            await attempt("app write", () => fs.writeFileSync(DIR + "/app/lib.js", ""));
            await attempt("app new", () => fs.writeFileSync(DIR + "/app/new", ""));
            await attempt("data", () => { fs.writeFileSync(DIR + "/data/app/x", "1"); return fs.readFileSync(DIR + "/data/app/x"); });
            await attempt("beside", () => fs.readdirSync(DIR + "/data"));
            await attempt("data write", () => fs.writeFileSync(DIR + "/data/y", "1"));
            await attempt("root write", () => fs.mkdirSync("/new"));
            process.exit(0);
            "#,
        )
        .await;
    let mut lines = BufReader::new(File::from(process.stdout.take().unwrap())).lines();
    let first = lines.next().unwrap().unwrap();
    eprintln!("{first}");
    let begun = std::time::Instant::now();
    let attach = [("app", false), ("data/app", true)].map(|(name, writable)| Attachment {
        path: world.path(name),
        writable,
    });
    world.launcher.attach(&process, &attach).await.unwrap();
    eprintln!("attached in {:?}", begun.elapsed());
    control.write_all(b"go\n").unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let (exit, errors) = output(process).await;
    eprintln!("{exit:?} {rest:#?} {errors}");
    assert_eq!(fs::read_to_string(world.path("data/app/x")).unwrap(), "1");
    assert!(!world.path("app/new").exists());
}
