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

/// The full set is asked for, and this machine does not give it.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUNTIME_SANDBOX is require, and this machine does not give the full sandbox: {missing}; \
     mend that (`buntime doctor` shows it), or write auto to run with what there is"
)]
pub struct NotWhole {
    missing: String,
}

/// What confines workers, by trying what this machine gives. Says in one line what came of it.
///
/// # Errors
/// The machine gives less than `require` asks for.
pub(crate) async fn settle(
    mode: SandboxMode,
    launcher: &Launcher,
    bun: &Path,
    dir: &Path,
    log: &Logger,
) -> Result<Strength, NotWhole> {
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
    let layers = strength.layers;
    let missing = list(&strength.missing);
    if missing.is_empty() {
        log.info("sandbox", "Workers run in the full sandbox", |fields| {
            fields.text("layers", layers);
        });
        return Ok(strength);
    }
    if mode == SandboxMode::Require {
        return Err(NotWhole { missing });
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
