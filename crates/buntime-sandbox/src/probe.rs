//! Which layers this machine gives: found out by starting the program under them.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::launch::{Launch, ProcessLimits};
use crate::launcher::Launcher;
use crate::policy::{Landlock, Layers, Net, Policy, ProcMount};
use crate::process::Exit;
use crate::system;

/// Longest that a program may take to start and say its word.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest for all tries together.
const LIMIT_OF_ALL: Duration = Duration::from_secs(60);
/// The version of Landlock that has all that is used: files, TCP, scopes.
const WHOLE: Landlock = Landlock(6);
/// What Bun says, and that it ends then whatever is open.
const WORD: &str = "console.log(6 * 7); process.exit(0)";
/// A port for the gateway.
const GATEWAY: u16 = 80;

/// What a machine gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strength {
    /// The strongest layers under which the program ran.
    pub layers: Layers,
    /// What is missing of the full set; empty if nothing is.
    pub missing: Vec<Shortfall>,
}

/// Something that a machine does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// What is missing.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.why)
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        if let Some(Landlock(version)) = self.landlock {
            names.push(format!("landlock {version}"));
        }
        if self.calls {
            names.push("seccomp".to_owned());
        }
        match self.namespaces {
            Some(ProcMount::Own) => names.push("namespaces".to_owned()),
            Some(ProcMount::Host) => names.push("namespaces with the host's /proc".to_owned()),
            None => {}
        }
        if self.network {
            names.push("network".to_owned());
        }
        if self.broker {
            names.push("connect broker".to_owned());
        }
        if names.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&names.join(", "))
    }
}

/// Finds out which layers this machine gives, by starting `bun` under them, the strongest
/// first. `folder` must be an empty folder that nobody else writes to.
///
/// The answer is what was tried, not what the kernel's version promises. Layers under which
/// Bun took too long are tried once more. After a minute nothing more is tried, and what is
/// missing says so.
pub async fn probe(launcher: &Launcher, bun: &Path, folder: &Path) -> Strength {
    let (stage, home) = (folder.join("stage"), folder.join("home"));
    for path in [&stage, &home] {
        // If it is not there, nothing will run, and the reason be told.
        let _ = std::fs::create_dir(path);
    }
    let version = system::landlock_version();
    let landlock = (version > 0).then_some(Landlock(version));
    let mut refusals: Vec<(Layers, String)> = Vec::new();
    let end = Instant::now() + LIMIT_OF_ALL;
    for calls in [true, false] {
        for (namespaces, network, broker) in places() {
            for landlock in [landlock, None] {
                let layers = Layers {
                    landlock,
                    calls,
                    namespaces,
                    network,
                    broker: broker && calls,
                };
                if refusals.iter().any(|(tried, _)| *tried == layers) {
                    continue;
                }
                let attempt = || attempt(launcher, bun, (&stage, &home), layers);
                match patiently(end, attempt).await {
                    Ok(()) => return judge(layers, &refusals),
                    Err(Refusal::No(why)) => refusals.push((layers, why)),
                    Err(Refusal::Late) => {
                        refusals.push((layers, LATE.to_owned()));
                        if Instant::now() >= end {
                            return too_slow(&refusals);
                        }
                    }
                }
            }
        }
    }
    judge(Layers::NONE, &refusals)
}

/// Which namespaces, whether a network among them, and whether the server connects: the
/// strongest first.
fn places() -> impl Iterator<Item = (Option<ProcMount>, bool, bool)> {
    [Some(ProcMount::Own), Some(ProcMount::Host), None]
        .into_iter()
        .flat_map(|namespaces| {
            [(true, false), (false, true), (false, false)]
                .into_iter()
                .filter(move |(network, _)| namespaces.is_some() || !network)
                .map(move |(network, broker)| (namespaces, network, broker))
        })
}

/// Why layers do not count as given.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    No(String),
    /// Bun did not answer in time, twice unless all time was over.
    Late,
}

const LATE: &str = "Bun did not answer in time: timed out";

/// Makes an attempt within its time, and another if it took too long.
async fn patiently<F: Future<Output = Result<(), String>>>(
    end: Instant,
    attempt: impl Fn() -> F,
) -> Result<(), Refusal> {
    for _ in 0..2 {
        let left = end.saturating_duration_since(Instant::now());
        if let Ok(answer) = tokio::time::timeout(LIMIT.min(left), attempt()).await {
            return answer.map_err(Refusal::No);
        }
    }
    Err(Refusal::Late)
}

/// The answer of a machine on which the time was over before anything was found.
fn too_slow(refusals: &[(Layers, String)]) -> Strength {
    let mut strength = judge(Layers::NONE, refusals);
    strength.missing.insert(
        0,
        Shortfall {
            what: "an answer in time",
            why: format!(
                "timed out: starting Bun took too long, and after {} seconds nothing weaker was \
                 tried; is the machine overloaded?",
                LIMIT_OF_ALL.as_secs()
            ),
        },
    );
    strength
}

async fn attempt(
    launcher: &Launcher,
    bun: &Path,
    (stage, home): (&Path, &Path),
    layers: Layers,
) -> Result<(), String> {
    if layers == Layers::NONE {
        return Ok(());
    }
    // If there is one place that it is to reach, it must reach that. Nobody needs to accept
    // it there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let (net, script) = match (layers.network, layers.broker) {
        (true, _) => (Net::Gateway { port: GATEWAY }, connect(GATEWAY) + WORD),
        (false, true) => (Net::Loopback { port }, connect(port) + WORD),
        (false, false) => (Net::Host, WORD.to_owned()),
    };
    let control = File::open("/dev/null").map_err(|error| error.to_string())?;
    let launch = Launch {
        program: bun.to_owned(),
        args: ["--config=/dev/null", "--no-install", "-e", &script]
            .map(Into::into)
            .into(),
        env: vec![
            ("HOME".into(), home.into()),
            ("DO_NOT_TRACK".into(), "1".into()),
        ],
        cwd: home.to_owned(),
        control: OwnedFd::from(control),
        limits: ProcessLimits::default(),
        nice: 0,
        policy: Some(Policy {
            layers,
            net,
            read: Vec::new(),
            write: vec![home.to_owned()],
            held: Vec::new(),
            write_later: Vec::new(),
            spawn: false,
            serves: false,
            stage: stage.to_owned(),
        }),
    };
    let mut process = launcher.spawn(launch).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })?;
    let word = process.stdout.take();
    let said = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let read = word.map(|pipe| File::from(pipe).take(100).read_to_string(&mut text));
        read.map(|_| text)
    });
    // Who gives up drops the process, which ends it.
    let exit = process.wait().await;
    drop(process);
    let said = said.await.ok().flatten().unwrap_or_default();
    if exit == Exit::Code(0) && said.trim() == "42" {
        return Ok(());
    }
    Err(format!("Bun did not run: {exit:?}"))
}

fn connect(port: u16) -> String {
    format!(
        "await Bun.connect({{ hostname: '127.0.0.1', port: {port}, socket: {{ data() {{}} }} }});"
    )
}

/// What is missing, and the first reason that was found for it.
fn judge(layers: Layers, refusals: &[(Layers, String)]) -> Strength {
    let why = |lacks: &dyn Fn(&Layers) -> bool| {
        let found = refusals
            .iter()
            .find(|(tried, _)| !tried.network && !tried.broker && lacks(tried));
        found.map_or_else(String::new, |(_, why)| why.clone())
    };
    let mut missing = Vec::new();
    let mut lacks = |what, why| missing.push(Shortfall { what, why });
    match layers.landlock {
        None => {
            let none = system::landlock_version() == 0;
            lacks(
                "Landlock",
                if none {
                    "this kernel has none, or it is turned off".to_owned()
                } else {
                    why(&|tried| tried.landlock.is_some())
                },
            );
        }
        Some(found) if found < WHOLE => lacks(
            "the whole of Landlock",
            format!("version {} of {} is here", found.0, WHOLE.0),
        ),
        Some(_) => {}
    }
    if !layers.calls {
        lacks("seccomp", why(&|tried| tried.calls));
    }
    match layers.namespaces {
        None => lacks("namespaces", why(&|tried| tried.namespaces.is_some())),
        Some(ProcMount::Host) => lacks(
            "a /proc of its own",
            why(&|tried| tried.namespaces == Some(ProcMount::Own)),
        ),
        Some(ProcMount::Own) => {}
    }
    if !layers.guards_files() {
        let (what, why) = match layers.landlock {
            None => (
                "any guard of files",
                "apps can read and write whatever the server's user can",
            ),
            Some(_) => (
                "a whole guard of files",
                "apps can change the modes of files that are the server's user's, or empty them",
            ),
        };
        lacks(what, why.to_owned());
    }
    if !layers.network {
        let found = refusals.iter().find(|(tried, _)| {
            tried.network && (layers.namespaces.is_none() || tried.namespaces == layers.namespaces)
        });
        lacks(
            "networks of their own",
            found.map_or_else(String::new, |(_, why)| why.clone()),
        );
        if !layers.broker {
            let alike = |tried: &Layers| tried.broker && tried.namespaces == layers.namespaces;
            let found = refusals.iter().find(|(tried, _)| alike(tried));
            lacks(
                "the connect broker",
                found.map_or_else(String::new, |(_, why)| why.clone()),
            );
        }
    }
    Strength { layers, missing }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_tried_once_more_and_told_apart() {
        let tries = Cell::new(0);
        let end = Instant::now() + LIMIT_OF_ALL;
        let slow_at_first = async || {
            tries.set(tries.get() + 1);
            if tries.get() == 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        assert_eq!(patiently(end, slow_at_first).await, Ok(()));
        assert_eq!(tries.take(), 2);
        let never = async || {
            tries.set(tries.get() + 1);
            std::future::pending().await
        };
        assert_eq!(patiently(end, never).await, Err(Refusal::Late));
        assert_eq!(tries.take(), 2);
        let refused = async || Err("no".to_owned());
        let no = Refusal::No("no".to_owned());
        assert_eq!(patiently(end, refused).await, Err(no));
    }

    #[test]
    fn a_machine_that_is_too_slow_is_told_so() {
        let tried = Layers {
            calls: true,
            ..Layers::NONE
        };
        let strength = too_slow(&[(tried, LATE.to_owned())]);
        assert_eq!(strength.layers, Layers::NONE);
        assert!(strength.missing[0].why.contains("timed out"));
    }
}
