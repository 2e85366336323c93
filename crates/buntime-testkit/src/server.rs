//! The real server, run for one test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::log::{Lines, LogLine};
use crate::process::{self, ProcessId};
use crate::wire::{Connection, Response};
use crate::{PATIENCE, real_bun};

/// What a server is started with.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    binary: PathBuf,
    dir: TempDir,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl Builder {
    /// Sets a variable; one set twice has the last value, an empty one is taken out.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.env.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds an argument after `serve`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Writes an app, as [`TestServer::app`] does, before the server starts.
    pub fn app(self, folder: &str, manifest: &str, files: &[(&str, &str)]) -> Self {
        write_app(self.dir.path(), folder, manifest, files);
        self
    }

    /// The folder that holds the worker root `apps` and the state dir `state`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(self) -> TestServer {
        let mut child = Command::new(&self.binary)
            .arg("serve")
            .args(&self.args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        let (stdout, out_thread) = Lines::collect(child.stdout.take().unwrap());
        let (stderr, err_thread) = Lines::collect(child.stderr.take().unwrap());
        let address = stdout.wait(PATIENCE, listens_on);
        let Some(addr) = address else {
            let _ = child.kill();
            let status = child.wait();
            panic!(
                "the server did not begin to listen ({status:?}):\n{}\n{}",
                stdout.all().join("\n"),
                stderr.all().join("\n")
            );
        };
        TestServer {
            child,
            addr,
            dir: self.dir,
            stdout,
            stderr,
            threads: vec![out_thread, err_thread],
            ended: None,
            checked: true,
            is_json: self
                .env
                .contains(&("RUNTIME_LOG_FORMAT".into(), "json".into())),
        }
    }
}

/// The address in the line that tells it, whatever the log's format.
fn listens_on(line: &str) -> Option<SocketAddr> {
    let (_, url) = line.split_once("Listening on ")?;
    let address = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))?;
    address.split([' ', '"']).next()?.parse().ok()
}

/// A running server. Dropping it stops it with SIGTERM and asserts that it ends
/// with exit code 0, in time, leaving no process.
#[derive(Debug)]
pub struct TestServer {
    child: Child,
    addr: SocketAddr,
    dir: TempDir,
    stdout: Lines,
    stderr: Lines,
    threads: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
    checked: bool,
    /// Whether its log is to be read by [`LogLine`].
    is_json: bool,
}

impl TestServer {
    /// What it takes to start a server; `binary` is `env!("CARGO_BIN_EXE_buntime")`.
    ///
    /// # Panics
    /// If there is no Bun or no place for temporary files.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        let dir = tempfile::Builder::new()
            .prefix("buntime-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(dir.path().join("apps")).unwrap();
        let builder = Builder {
            binary: binary.into(),
            dir,
            env: Vec::new(),
            args: Vec::new(),
        };
        let path = |name: &str| builder.dir.path().join(name).to_str().unwrap().to_owned();
        let (apps, state) = (path("apps"), path("state"));
        builder
            .env("PORT", "0")
            .env("HOST", "127.0.0.1")
            .env("RUNTIME_WORKER_DIRS", &apps)
            .env("RUNTIME_STATE_DIR", &state)
            .env("RUNTIME_LOG_FORMAT", "json")
            .env("RUNTIME_LOG_LEVEL", "debug")
            .env("RUNTIME_BUN", real_bun().to_str().unwrap())
            // More than one, however small the machine.
            .env("RUNTIME_SHARDS", "2")
            // A hundred megabytes for each test.
            .env("RUNTIME_BUN_COPY", "off")
    }

    /// The public address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that holds the worker root `apps` and the state dir `state`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes an app, replacing one in the same folder, and waits until the
    /// server knows it. `folder` is `name@version` or `@scope/name@version`; an
    /// empty manifest writes none.
    ///
    /// # Panics
    /// If the server does not find it in time.
    pub fn app(&self, folder: &str, manifest: &str, files: &[(&str, &str)]) {
        write_app(self.dir.path(), folder, manifest, files);
        // Without the last slash the server answers for a known app, without running it.
        self.wait_until(&format!("/{folder} is served"), || {
            self.connect()
                .request("HEAD", &format!("/{folder}"), &[], b"")
                .status
                == 308
        });
    }

    /// Waits until `condition` holds, asking again and again.
    ///
    /// # Panics
    /// If it does not hold within [`PATIENCE`].
    pub fn wait_until(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            self.holds_soon(condition),
            "still not: {what}; the log:\n{}",
            self.stdout.all().join("\n")
        );
    }

    /// Asks again and again until `condition` holds; false if it does not within
    /// [`PATIENCE`].
    pub fn holds_soon(&self, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// A new connection.
    ///
    /// # Panics
    /// If the server does not take it.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.addr)
    }

    /// A new connection over TLS.
    ///
    /// # Panics
    /// If the server does not take it, or the handshake fails.
    #[must_use]
    pub fn connect_tls(&self, client: &Arc<rustls::ClientConfig>) -> Connection {
        Connection::open_tls(self.addr, client)
            .unwrap_or_else(|error| panic!("the handshake failed: {error}"))
    }

    /// A GET on a connection of its own.
    ///
    /// # Panics
    /// If there is no well-formed response.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.connect().get(target)
    }

    /// All lines of the log until now.
    ///
    /// # Panics
    /// If one of them is malformed.
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.stdout
            .all()
            .iter()
            .map(|line| LogLine::parse(line))
            .collect()
    }

    /// All that was written to stdout and stderr, as it stands.
    #[must_use]
    pub fn output(&self) -> String {
        let mut lines = self.stdout.all();
        lines.extend(self.stderr.all());
        lines.join("\n")
    }

    /// Waits for a line of the log, from the beginning on.
    ///
    /// # Panics
    /// If none comes within [`PATIENCE`], or a malformed one does.
    pub fn wait_for_log(&self, is_it: impl FnMut(&LogLine) -> bool) -> LogLine {
        self.wait_for_log_about("", is_it)
    }

    /// As [`TestServer::wait_for_log`], among the lines that hold `word`. Others are not parsed:
    /// to be asked a thousand times, of a log that grows.
    ///
    /// # Panics
    /// If none comes within [`PATIENCE`], or a malformed one does.
    pub fn wait_for_log_about(
        &self,
        word: &str,
        mut is_it: impl FnMut(&LogLine) -> bool,
    ) -> LogLine {
        self.stdout
            .wait(PATIENCE, |line| {
                let line = line.contains(word).then(|| LogLine::parse(line))?;
                is_it(&line).then_some(line)
            })
            .unwrap_or_else(|| panic!("no such line in the log:\n{}", self.stdout.all().join("\n")))
    }

    /// Waits for a line of the log as it stands: for those that are no JSON.
    ///
    /// # Panics
    /// If none comes within [`PATIENCE`].
    pub fn wait_for_line(&self, mut is_it: impl FnMut(&str) -> bool) -> String {
        self.stdout
            .wait(PATIENCE, |line| is_it(line).then(|| line.to_owned()))
            .unwrap_or_else(|| panic!("no such line in the log:\n{}", self.stdout.all().join("\n")))
    }

    /// Sends a signal to the server alone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Asks the server to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills the server and waits until it and its workers are gone.
    ///
    /// # Panics
    /// If a worker survives.
    pub fn kill(&mut self) {
        self.checked = false;
        let family = process::descendants(self.child.id());
        self.signal(Signal::KILL);
        self.wait_exit(PATIENCE);
        self.assert_nothing_left(&family);
    }

    /// Dropping the server no longer asserts how it ended. It still must not
    /// leave a process behind.
    pub fn allow_any_exit(&mut self) {
        self.checked = false;
    }

    /// Waits until the server has ended.
    ///
    /// # Panics
    /// If it has not within `patience`; it is killed then.
    pub fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.ended = Some(status);
                return status;
            }
            if Instant::now() > deadline {
                self.ended = Some({
                    let _ = self.child.kill();
                    self.child.wait().unwrap()
                });
                panic!(
                    "the server did not end within {patience:?}:\n{}",
                    self.stdout.all().join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The processes of this server but itself: launcher and workers.
    #[must_use]
    pub fn family(&self) -> Vec<ProcessId> {
        process::descendants(self.child.id())
    }

    /// Asserts that neither `family` nor any other process of this server runs.
    fn assert_nothing_left(&self, family: &[ProcessId]) {
        let mut suspects = family.to_vec();
        suspects.extend(process::with_environment_of(self.dir.path().as_os_str()));
        let left = process::wait_gone(&suspects, Duration::from_secs(5));
        for id in &left {
            let pid = i32::try_from(id.pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        let names: Vec<String> = left
            .iter()
            .map(|id| format!("{} {}", id.pid, id.command()))
            .collect();
        assert!(
            left.is_empty(),
            "the server left processes behind: {names:#?}"
        );
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // One failure is enough; but nothing may be left of it.
            let family = process::descendants(self.child.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
            for id in process::wait_gone(&family, Duration::from_secs(5)) {
                let pid = i32::try_from(id.pid).ok().and_then(Pid::from_raw);
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            return;
        }
        if self.ended.is_none() {
            let family = process::descendants(self.child.id());
            self.terminate();
            self.wait_exit(Duration::from_secs(60));
            self.assert_nothing_left(&family);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if self.checked {
            let status = self.ended;
            assert_eq!(
                status.and_then(|status| status.code()),
                Some(0),
                "the server ended badly: {status:?}\n{}",
                self.output()
            );
            assert!(
                self.stderr.all().is_empty(),
                "the server wrote to stderr:\n{}",
                self.stderr.all().join("\n")
            );
            for line in self.stdout.all() {
                if !self.is_json {
                    assert!(!line.contains(" [panic] "), "a thread panicked: {line}");
                    continue;
                }
                let line = LogLine::parse(&line);
                assert_ne!(line.text("context"), "panic", "a thread panicked: {line:?}");
            }
        }
    }
}

/// Writes an app beside the worker root and moves it in, so that the server
/// never sees half of it.
fn write_app(dir: &Path, folder: &str, manifest: &str, files: &[(&str, &str)]) {
    let staging = dir.join("staging");
    let _ = fs::remove_dir_all(&staging);
    fs::create_dir(&staging).unwrap();
    if !manifest.is_empty() {
        fs::write(staging.join("manifest.yaml"), manifest).unwrap();
    }
    for (name, text) in files {
        let path = staging.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let target = dir.join("apps").join(folder);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    if target.exists() {
        let old = dir.join("replaced");
        let _ = fs::remove_dir_all(&old);
        fs::rename(&target, &old).unwrap();
    }
    fs::rename(&staging, &target).unwrap();
}
