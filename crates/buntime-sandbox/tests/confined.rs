//! Bun under the layers that this machine gives.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use buntime_sandbox::{
    Attachment, Exit, Held, Launch, Launcher, Layers, Net, Policy, Process, ProcessLimits,
    Strength, probe,
};
use tempfile::TempDir;

#[path = "confined/network.rs"]
mod network;

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
        let Strength { layers, .. } = probe(&launcher, &bun(), &dir.path().join("probe")).await;
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
            held: Vec::new(),
            write_later: vec![self.path("data")],
            spawn: false,
            serves: true,
            stage: self.path("stage"),
        }
    }

    /// The levels at which the server connects for a process.
    fn brokered(&self) -> Vec<Layers> {
        let broker = |layers: Layers| Layers {
            network: false,
            broker: true,
            ..layers
        };
        let mut levels: Vec<Layers> = self.levels().into_iter().map(broker).collect();
        levels.push(Layers {
            landlock: None,
            namespaces: None,
            ..broker(self.layers)
        });
        levels
    }

    /// What this machine gives, and the same without namespaces.
    fn levels(&self) -> Vec<Layers> {
        let less = Layers {
            namespaces: None,
            network: false,
            ..self.layers
        };
        let mut levels = vec![self.layers, less];
        levels.dedup();
        levels
    }

    /// Starts Bun on a script that may use `ask()`, which waits for a line on
    /// descriptor 3, and `attempt(name, action)`, which prints what came of it.
    async fn start(&self, layers: Layers, net: Net, script: &str) -> (Process, UnixStream) {
        let policy = Policy {
            net,
            ..self.policy(layers)
        };
        self.start_under(policy, script).await
    }

    async fn start_under(&self, policy: Policy, script: &str) -> (Process, UnixStream) {
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
            policy: Some(policy),
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
async fn what_ordinary_apps_do_goes_on() {
    let world = World::new().await;
    for layers in world.levels() {
        let (process, _control) = world
            .start(
                layers,
                Net::Host,
                r#"
                await attempt("cpus", () => require("os").cpus().length > 0);
                await attempt("concurrency", () => navigator.hardwareConcurrency > 0);
                await attempt("memory", () => process.memoryUsage().rss > 0);
                await attempt("total", () => require("os").totalmem() > 0);
                await attempt("own file", () => { fs.writeFileSync("x", "1"); return fs.readFileSync("x") == "1"; });
                await attempt("rename", () => { fs.mkdirSync("d", { recursive: true }); fs.renameSync("x", "d/x"); return fs.existsSync("d/x"); });
                await attempt("worker", () => new Promise((done, fail) => {
                    const w = new Worker(URL.createObjectURL(new Blob(["postMessage(true)"])));
                    w.onmessage = e => { w.terminate(); done(e.data); }; w.onerror = e => fail(e);
                }));
                await attempt("sqlite", () => {
                    const { Database } = require("bun:sqlite");
                    const d = new Database("d.sqlite");
                    d.exec("pragma journal_mode=wal; create table if not exists t(x); insert into t values (7)");
                    return d.query("select x from t").get().x === 7;
                });
                await attempt("wasm", () => new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) instanceof WebAssembly.Module);
                await attempt("ffi", () => require("bun:ffi").dlopen("libc.so.6", { getppid: { args: [], returns: "int" } }).symbols.getppid() >= 0);
                await attempt("password", () => Bun.password.hash("x", { algorithm: "argon2id", memoryCost: 64, timeCost: 1 }).then(Boolean));
                await attempt("unix server", () => { Bun.serve({ unix: "w.sock", fetch() {} }); return fs.existsSync("w.sock"); });
                process.exit(0);
                "#,
            )
            .await;
        let (exit, text) = output(process).await;
        assert_eq!(exit, Exit::Code(0), "{layers}: {text}");
        assert_eq!(text.lines().count(), 12, "{text}");
        assert!(
            text.lines().all(|line| line.ends_with(": true")),
            "{layers}: {text}"
        );
        for left in ["d", "w.sock", "d.sqlite"] {
            let left = world.path("slot").join(left);
            let _ = fs::remove_dir_all(&left).or_else(|_| fs::remove_file(&left));
        }
    }
}

#[tokio::test]
async fn what_is_attached_is_seen_where_it_is_outside_and_no_more() {
    let world = World::new().await;
    if world.layers.namespaces.is_none() {
        return;
    }
    let (mut process, mut control) = world
        .start(
            world.layers,
            Net::Host,
            r#"
            await attempt("before", () => fs.readdirSync(DIR).sort());
            ask();
            await attempt("after", () => fs.readdirSync(DIR).sort());
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
    assert_eq!(lines.next().unwrap().unwrap(), "before: data,slot");
    let attach = [("app", false), ("data/app", true)].map(|(name, writable)| Attachment {
        path: world.path(name),
        place: None,
        is_folder: true,
        writable,
    });
    world.launcher.attach(&process, &attach).await.unwrap();
    control.write_all(b"go\n").unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let (exit, errors) = output(process).await;
    assert_eq!((exit, errors.as_str()), (Exit::Code(0), ""));
    assert_eq!(
        rest,
        [
            "after: app,data,slot",
            "library: library",
            "app write: refused EROFS",
            "app new: refused EROFS",
            "data: 1",
            "beside: app",
            "data write: refused EROFS",
            "root write: refused EROFS",
        ]
    );
    assert_eq!(fs::read_to_string(world.path("data/app/x")).unwrap(), "1");
    assert!(!world.path("app/new").exists());
}

#[tokio::test]
async fn a_process_that_is_gone_is_shown_nothing() {
    let world = World::new().await;
    if world.layers.namespaces.is_none() {
        return;
    }
    let (mut process, _control) = world
        .start(world.layers, Net::Host, "process.exit(0)")
        .await;
    process.wait().await;
    let path = world.path("app");
    let attach = [Attachment {
        path,
        place: None,
        is_folder: true,
        writable: false,
    }];
    assert!(world.launcher.attach(&process, &attach).await.is_err());
}

#[tokio::test]
async fn what_is_put_in_the_place_of_what_was_judged_is_not_given() {
    let world = World::new().await;
    for layers in world.levels() {
        let (asked, moved) = (world.path("asked"), world.path("moved"));
        for swapped in [false, true] {
            fs::create_dir(&asked).unwrap();
            let held = Held::open(&asked, &asked, true).unwrap();
            if swapped {
                fs::rename(&asked, &moved).unwrap();
                fs::create_dir(&asked).unwrap();
            }
            let (_ours, theirs) = UnixStream::pair().unwrap();
            let launch = Launch {
                program: bun(),
                args: vec!["--version".into()],
                env: Vec::new(),
                cwd: world.path("slot"),
                control: theirs.into(),
                limits: ProcessLimits::default(),
                nice: 0,
                policy: Some(Policy {
                    held: vec![held],
                    ..world.policy(layers)
                }),
            };
            let started = world.launcher.spawn(launch).await;
            assert_eq!(started.is_err(), swapped, "{layers:?}: {started:?}");
            drop(started);
            fs::remove_dir(&asked).unwrap();
        }
        fs::remove_dir(&moved).unwrap();
    }
}
