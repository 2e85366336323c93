//! `RUNTIME_SANDBOX`: what confines workers on this machine.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

pub use buntime_sandbox::{Landlock, Layers, ProcMount, Shortfall, Strength, close_to_others};
use buntime_sandbox::{Launcher, probe};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::SandboxMode;
use crate::logging::Logger;

/// Why workers are not to be started on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The full set is asked for.
    #[error(
        "RUNTIME_SANDBOX is require, and this machine does not give the full sandbox: {missing}; \
         mend that (`buntime doctor` shows it), or write auto to run with what there is"
    )]
    NotWhole {
        /// What is missing.
        missing: String,
    },
    /// Root's apps could reach all of the machine's files, or services that do what root asks.
    #[error("{UNGUARDED}: {missing}; {WAYS_OUT}")]
    Unguarded {
        /// What is missing.
        missing: String,
    },
}

const UNGUARDED: &str =
    "the server runs as root, and this machine does not keep apps from root's files and services";
const WAYS_OUT: &str = "run it as an ordinary user, or enable user namespaces or Landlock \
     (`buntime doctor` shows what is missing), or accept that apps can do what \
     root can on this machine by RUNTIME_SANDBOX=off";

/// Whether workers may be started with what a machine gives. `is_root` tells whether the server
/// is.
fn judge(mode: SandboxMode, is_root: bool, strength: &Strength) -> Result<(), Refused> {
    let missing = || list(&strength.missing);
    match mode {
        SandboxMode::Off => Ok(()),
        SandboxMode::Require if !strength.missing.is_empty() => {
            Err(Refused::NotWhole { missing: missing() })
        }
        _ if is_root && !strength.layers.guards_root() => {
            Err(Refused::Unguarded { missing: missing() })
        }
        _ => Ok(()),
    }
}

/// What to do where a server of this process's user does not start without being told to;
/// nothing elsewhere.
#[must_use]
pub fn advice(strength: &Strength) -> Option<String> {
    let judged = judge(SandboxMode::Auto, is_root(), strength);
    judged.err().map(|_| format!("{UNGUARDED}: {WAYS_OUT}"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What confines workers, by trying what this machine gives. Says in one line what came of it.
///
/// # Errors
/// The machine gives less than `require` asks for, or the server is root and nothing guards
/// what is root's.
pub(crate) async fn settle(
    mode: SandboxMode,
    launcher: &Launcher,
    bun: &Path,
    dir: &Path,
    log: &Logger,
) -> Result<Strength, Refused> {
    if mode == SandboxMode::Off {
        log.warn(
            "sandbox",
            "Workers run without a sandbox: RUNTIME_SANDBOX is off",
            |_| {},
        );
        return Ok(Strength {
            layers: Layers::NONE,
            missing: Vec::new(),
        });
    }
    let strength = find(launcher, bun, dir).await;
    judge(mode, is_root(), &strength)?;
    let layers = strength.layers;
    let missing = list(&strength.missing);
    if missing.is_empty() {
        log.info("sandbox", "Workers run in the full sandbox", |fields| {
            fields.text("layers", layers);
        });
        return Ok(strength);
    }
    let message = if layers == Layers::NONE {
        "Workers run without a sandbox: this machine gives none"
    } else {
        "Workers run in a part of the sandbox: this machine does not give all of it"
    };
    log.warn("sandbox", message, |fields| {
        fields.text("layers", layers);
        fields.text("missing", missing);
    });
    Ok(strength)
}

/// For programs: what `buntime doctor --json` has, and `/api/health` for who has a key.
#[must_use]
pub fn describe(strength: &Strength) -> Value {
    let Strength { layers, missing } = strength;
    let missing: Vec<_> = missing
        .iter()
        .map(|missing| json!({ "what": missing.what, "why": missing.why }))
        .collect();
    json!({
        "landlock": layers.landlock.map(|Landlock(version)| version),
        "seccomp": layers.calls,
        "namespaces": layers.namespaces.is_some(),
        "ownProc": layers.namespaces == Some(ProcMount::Own),
        "network": layers.network,
        "broker": layers.broker,
        "missing": missing,
    })
}

/// What this machine gives, for who wants to look at it before there is a server.
///
/// # Errors
/// No runtime, thread or folder can be had.
pub fn examine(bun: &Path) -> io::Result<Strength> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let launcher = Launcher::start()?;
        Ok(find(&launcher, bun, &std::env::temp_dir()).await)
    })
}

/// What is missing, in one line.
#[must_use]
pub fn list(missing: &[Shortfall]) -> String {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    missing.join("; ")
}

/// Tries in a folder of its own within `dir`.
async fn find(launcher: &Launcher, bun: &Path, dir: &Path) -> Strength {
    let place = Place(dir.join(format!("sandbox-{}", Uuid::new_v4().simple())));
    // If it cannot be made, nothing runs there, and that is told.
    let _ = DirBuilder::new().mode(0o700).create(&place.0);
    probe(launcher, bun, &place.0).await
}

/// A folder that goes with this value.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Layers = Layers {
        landlock: Some(Landlock(6)),
        calls: true,
        namespaces: Some(ProcMount::Own),
        network: true,
        broker: false,
    };

    fn judged(mode: SandboxMode, is_root: bool, layers: Layers) -> &'static str {
        let missing = Shortfall {
            what: "something",
            why: String::new(),
        };
        let strength = Strength {
            layers,
            missing: (layers != FULL).then_some(missing).into_iter().collect(),
        };
        match judge(mode, is_root, &strength) {
            Ok(()) => "starts",
            Err(Refused::NotWhole { .. }) => "not whole",
            Err(Refused::Unguarded { .. }) => "unguarded",
        }
    }

    #[test]
    fn root_starts_only_where_something_guards_its_files_and_services() {
        let landlock = |version| Layers {
            landlock: Some(Landlock(version)),
            namespaces: None,
            network: false,
            broker: true,
            ..FULL
        };
        let namespaces = |network| Layers {
            namespaces: Some(ProcMount::Host),
            network,
            ..Layers::NONE
        };
        let calls = Layers {
            calls: true,
            ..Layers::NONE
        };
        let no_calls = Layers {
            calls: false,
            broker: false,
            ..landlock(6)
        };
        use SandboxMode::{Auto, Off, Require};
        for (layers, of_root) in [
            (FULL, "starts"),
            (landlock(6), "starts"),
            (landlock(3), "starts"),
            (namespaces(true), "starts"),
            (
                Layers {
                    landlock: Some(Landlock(6)),
                    ..namespaces(false)
                },
                "starts",
            ),
            // Sockets without a path, and those with one.
            (namespaces(false), "unguarded"),
            (
                Layers {
                    broker: false,
                    ..landlock(6)
                },
                "unguarded",
            ),
            // What Landlock does not look at.
            (landlock(2), "unguarded"),
            (no_calls, "unguarded"),
            (calls, "unguarded"),
            (Layers::NONE, "unguarded"),
        ] {
            assert_eq!(judged(Auto, true, layers), of_root, "{layers}");
            assert_eq!(judged(Auto, false, layers), "starts", "{layers}");
            for is_root in [true, false] {
                assert_eq!(judged(Off, is_root, layers), "starts", "{layers}");
                let whole = if layers == FULL {
                    "starts"
                } else {
                    "not whole"
                };
                assert_eq!(judged(Require, is_root, layers), whole, "{layers}");
            }
        }
    }
}
