//! The systems that are compared, as they run: ours, nginx before Bun, Bun alone.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{Running, descendants, stopping};
use crate::{BenchError, Context as _, Result, client};

/// Apps that run behind all three.
const PROXIED: [&str; 5] = ["noop", "echo", "wait", "download", "events"];

/// The root key of every server of ours here.
pub(crate) const ROOT_KEY: &str = "root-key-of-the-benchmark";

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(client::loopback(0)).context(|| "no free port".to_owned())?;
    Ok(listener
        .local_addr()
        .context(|| "no free port".to_owned())?
        .port())
}

/// The Bun that the project pins.
pub(crate) fn bun() -> Result<PathBuf> {
    let path = std::env::var_os("RUNTIME_BUN").map_or_else(
        || PathBuf::from("worker/node_modules/.bin/bun"),
        PathBuf::from,
    );
    fs::canonicalize(&path).context(|| format!("no Bun at {} (make bun)", path.display()))
}

/// Asks until the answer is 200.
fn wait_for(port: u16, path: &str, running: &mut Running) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client::once(port, "GET", path, b"");
        match answer {
            Ok(200) => return Ok(()),
            _ if stopping() => return Err(BenchError::Failed("interrupted".to_owned())),
            _ if running.ended() => {
                return Err(BenchError::Failed(format!(
                    "the server for {path} ended at once"
                )));
            }
            _ if Instant::now() > deadline => {
                return Err(BenchError::Failed(format!(
                    "no 200 from port {port}{path}, the last answer: {answer:?}"
                )));
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Waits until a server has its `copy` of Bun, which takes disk and processor for a
/// moment after its start. Where it makes none this waits in vain, and not for long.
fn wait_for_copy(copy: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !copy.exists() && Instant::now() < deadline && !stopping() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is tried once, and bytecode is made of the wrapper.
    std::thread::sleep(Duration::from_millis(500));
}

/// Our server.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) port: u16,
    running: Running,
    // Removed after the server has ended: fields drop in this order.
    _state: TempDir,
}

impl Ours {
    /// Serves `roots` as it would in production. Logs go to `bench/out/NAME.log`.
    pub(crate) fn start(name: &str, roots: &[&Path]) -> Result<Self> {
        Self::start_with(name, roots, &[])
    }

    /// The same with more environment variables, given as names and values.
    pub(crate) fn start_with(
        name: &str,
        roots: &[&Path],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let port = free_port()?;
        let state = TempDir::new().context(|| "no temporary folder".to_owned())?;
        fs::create_dir_all("bench/out").context(|| "cannot make bench/out".to_owned())?;
        let log = format!("bench/out/{name}.log");
        let stdout = fs::File::create(&log).context(|| log.clone())?;
        let stderr = stdout.try_clone().context(|| log.clone())?;
        let roots =
            std::env::join_paths(roots).map_err(|error| BenchError::Failed(error.to_string()))?;
        let mut running = Running::start(
            Command::new("target/release/buntime")
                .arg("serve")
                .env("NODE_ENV", "production")
                .env("HOST", "127.0.0.1")
                .env("PORT", port.to_string())
                .env("RUNTIME_WORKER_DIRS", roots)
                .env("RUNTIME_STATE_DIR", state.path().join("state"))
                .env("RUNTIME_BUN", bun()?)
                .env("RUNTIME_ROOT_KEY", ROOT_KEY)
                .envs(variables.iter().copied())
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(stderr),
        )?;
        wait_for(port, "/health/ready", &mut running)?;
        wait_for_copy(&state.path().join("state/run/bun/bun"));
        Ok(Self {
            port,
            running,
            _state: state,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Waits until an app answers.
    pub(crate) fn warm(&mut self, path: &str) -> Result<()> {
        wait_for(self.port, path, &mut self.running)
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.running.ended()
    }
}

/// nginx and, behind it, one Bun for each app.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) port: u16,
    running: Running,
    behind: Vec<(String, Running)>,
    _dir: TempDir,
}

impl Nginx {
    /// Serves each app under its name; the code is that of an app in `bench/apps`.
    pub(crate) fn start(apps: &[(String, &str)]) -> Result<Self> {
        let port = free_port()?;
        let dir = TempDir::new().context(|| "no temporary folder".to_owned())?;
        let mut behind = Vec::new();
        for (name, code) in apps {
            let socket = dir.path().join(name);
            let running = bare(code, &format!("unix:{}", socket.display()))?;
            behind.push((name.clone(), running));
        }
        let conf = dir.path().join("nginx.conf");
        fs::write(&conf, config(dir.path(), port, apps)?).context(|| "nginx.conf".to_owned())?;
        let mut running = Running::start(
            Command::new("nginx")
                .arg("-c")
                .arg(&conf)
                .arg("-p")
                .arg(dir.path())
                .args(["-e", "stderr"])
                .stdin(Stdio::null()),
        )?;
        for (app, _) in apps {
            wait_for(port, &format!("/{app}/"), &mut running)?;
        }
        Ok(Self {
            port,
            running,
            behind,
            _dir: dir,
        })
    }

    /// nginx's own, and the Bun of each app of these names.
    pub(crate) fn processes(&self, wanted: impl Fn(&str) -> bool) -> (Vec<u32>, Vec<u32>) {
        let master = self.running.pid();
        let mut front = descendants(master);
        front.push(master);
        let behind = self.behind.iter().filter(|(name, _)| wanted(name));
        (front, behind.map(|(_, bun)| bun.pid()).collect())
    }
}

fn config(dir: &Path, port: u16, apps: &[(String, &str)]) -> Result<String> {
    let template =
        fs::read_to_string("bench/nginx.conf").context(|| "bench/nginx.conf".to_owned())?;
    let mut upstreams = String::new();
    let mut locations = String::new();
    for (app, _) in apps {
        upstreams += &format!(
            "    upstream {app} {{ server unix:{}; keepalive 256; keepalive_requests 1000000000; }}\n",
            dir.join(app).display()
        );
        locations += &format!("        location /{app}/ {{ proxy_pass http://{app}/; }}\n");
    }
    let assets =
        fs::canonicalize("bench/apps/static").context(|| "bench/apps/static".to_owned())?;
    // As root nginx would drop to a user who cannot read the temporary folder.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    Ok(template
        .replace("@USER@", user)
        .replace("@DIR@", &dir.display().to_string())
        .replace("@PORT@", &port.to_string())
        .replace("@STATIC@", &assets.display().to_string())
        .replace("@UPSTREAMS@", &upstreams)
        .replace("@LOCATIONS@", &locations))
}

fn bare(app: &str, listen: &str) -> Result<Running> {
    bare_module(&format!("bench/apps/{app}/index.ts"), listen)
}

fn bare_module(module: &str, listen: &str) -> Result<Running> {
    let path = fs::canonicalize(module).context(|| module.to_owned())?;
    Running::start(
        Command::new(bun()?)
            .arg("bench/bare.ts")
            .arg(path)
            .arg(listen)
            .stdin(Stdio::null()),
    )
}

/// Which of the systems a load goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Ours,
    Nginx,
    Bun,
}

pub(crate) const SYSTEMS: [System; 3] = [System::Ours, System::Nginx, System::Bun];

impl System {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "buntime",
            Self::Nginx => "nginx",
            Self::Bun => "bare Bun",
        }
    }
}

/// Everything that the warm scenarios ask, running side by side.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) ours: Ours,
    nginx: Nginx,
    bare: Vec<(&'static str, u16, Running)>,
    _apps: TempDir,
}

impl Servers {
    pub(crate) fn start() -> Result<Self> {
        let apps = copies("noop", "app", 20)?;
        let mut ours = Ours::start("bench", &[Path::new("bench/apps"), apps.path()])?;
        let mut bare_ones = Vec::new();
        for app in PROXIED {
            let port = free_port()?;
            let mut running = bare(app, &format!("tcp:{port}"))?;
            wait_for(port, "/", &mut running)?;
            bare_ones.push((app, port, running));
            ours.warm(&format!("/{app}/"))?;
        }
        for i in 0..20 {
            ours.warm(&format!("/app-{i:02}/"))?;
        }
        let port = free_port()?;
        let mut files = bare_module("bench/files.ts", &format!("tcp:{port}"))?;
        wait_for(port, "/index.html", &mut files)?;
        bare_ones.push(("static", port, files));
        Ok(Self {
            ours,
            nginx: Nginx::start(&PROXIED.map(|app| (app.to_owned(), app)))?,
            bare: bare_ones,
            _apps: apps,
        })
    }

    /// The port, and the path there, of `path` below `/app/` with this system.
    pub(crate) fn place(&self, system: System, app: &str, path: &str) -> (u16, String) {
        let port = match system {
            System::Ours => self.ours.port,
            System::Nginx => self.nginx.port,
            System::Bun => {
                let bare = self.bare.iter().find(|(name, ..)| *name == app);
                return (bare.map_or(0, |(_, port, _)| *port), format!("/{path}"));
            }
        };
        (port, format!("/{app}/{path}"))
    }

    /// The URL of [`place`](Self::place).
    pub(crate) fn url(&self, system: System, app: &str, path: &str) -> String {
        let (port, path) = self.place(system, app, path);
        format!("http://127.0.0.1:{port}{path}")
    }

    /// The processes whose CPU time a request costs: of the front, and of Bun.
    pub(crate) fn processes(&self, system: System, app: &str) -> (Vec<u32>, Vec<u32>) {
        match system {
            // Its files the server serves itself.
            System::Ours if app == "static" => (vec![self.ours.pid()], Vec::new()),
            System::Ours => (vec![self.ours.pid()], descendants(self.ours.pid())),
            System::Nginx => self.nginx.processes(|name| name == app),
            System::Bun => (
                Vec::new(),
                self.bare
                    .iter()
                    .filter(|(name, ..)| *name == app)
                    .map(|(.., bun)| bun.pid())
                    .collect(),
            ),
        }
    }
}

/// A worker root with `count` copies of an app of `bench/apps`, named `prefix-00` and so on.
pub(crate) fn copies(app: &str, prefix: &str, count: usize) -> Result<TempDir> {
    let root = TempDir::new().context(|| "no temporary folder".to_owned())?;
    for i in 0..count {
        let name = format!("{prefix}-{i:02}");
        let to = root.path().join(&name);
        fs::create_dir(&to).context(|| name.clone())?;
        for file in ["index.ts", "manifest.yaml"] {
            let text = fs::read_to_string(format!("bench/apps/{app}/{file}"))
                .context(|| file.to_owned())?;
            let text = text.replace(&format!("name: {app}"), &format!("name: {name}"));
            fs::write(to.join(file), text).context(|| name.clone())?;
        }
    }
    Ok(root)
}
