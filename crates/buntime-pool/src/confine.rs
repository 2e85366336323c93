//! What confines a worker, and how one that was started without an app gets to see it.
//!
//! With namespaces a blank starts in a private root in which there is no app. Before it
//! is told which one it serves, the app's folder is shown to it, where it is outside,
//! and its data folder. Without namespaces what a process may open is settled when it
//! starts, so there are no blanks, and each worker starts for its app.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buntime_core::{CoveredPath, Granted, PackageName};
use buntime_sandbox::{Attachment, Held, Layers, Net, Policy, Process};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use crate::config::AppSpec;
use crate::error::StartFailure;
use crate::gateway::Unserved;
use crate::pool::Shared;

/// Of the runtime directory: where private roots are put together. Always empty.
pub(crate) const STAGE: &str = "stage";

/// Variables that programs in the sandbox need.
const TECHNICAL: [(&str, &str); 1] = [
    // Names are resolved over TCP, there being no UDP.
    ("RES_OPTIONS", "use-vc"),
];

/// Where certificates of the machine's are.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/usr/share/ca-certificates",
];

/// An app and the module that a worker runs of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) spec: &'a AppSpec,
    pub(crate) entry: &'a Path,
}

impl Wanted<'_> {
    /// What it reads: its folder, and the bundle that was made of it.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.spec.dir.clone()];
        let bundle = self.entry.parent();
        folders.extend(
            bundle
                .filter(|bundle| !bundle.starts_with(&self.spec.dir))
                .map(Path::to_owned),
        );
        folders
    }
}

/// Whether a worker of this app starts for it, and no blank will do: what it may open and
/// start of the machine is settled when it starts.
pub(crate) fn starts_for_app(shared: &Shared, spec: &AppSpec) -> bool {
    let layers = shared.config.sandbox.layers;
    let granted = &spec.granted;
    let is_more = granted.spawn || !granted.write.is_empty() || !granted.read.is_empty();
    layers != Layers::NONE && (!has_blanks(layers) || is_more)
}

/// Whether what a worker of this app started may still be there when the worker is gone,
/// and write where it could.
pub(crate) fn may_leave_processes(shared: &Shared, spec: &AppSpec) -> bool {
    let layers = shared.config.sandbox.layers;
    // With namespaces all of them end with the worker. With nothing at all, the next
    // worker's directory is as open to them as this one's.
    let is_bound = layers.namespaces.is_some() || layers == Layers::NONE;
    !is_bound && (spec.granted.spawn || !layers.calls)
}

/// Looks at what apps were granted that may be under way at once: one at a file system that
/// does not answer takes its thread for as long.
const MOST_LOOKS: usize = 16;

/// Opens what a worker's app was granted, and looks at where that is: a link that came later
/// must not lead to what nobody is granted. What is opened here is what the worker gets.
///
/// # Errors
/// If something leads where it must not, or cannot be opened.
pub(crate) async fn hold_granted(
    shared: &Arc<Shared>,
    wanted: Option<&Wanted<'_>>,
) -> Result<Vec<Held>, StartFailure> {
    static LOOKS: Semaphore = Semaphore::const_new(MOST_LOOKS);
    let granted = match wanted.map(|wanted| &wanted.spec.granted) {
        Some(granted) if shared.config.sandbox.layers != Layers::NONE => Arc::clone(granted),
        _ => return Ok(Vec::new()),
    };
    if granted.read.is_empty() && granted.write.is_empty() {
        return Ok(Vec::new());
    }
    let shared = Arc::clone(shared);
    let ended = || StartFailure::new("the pool is stopping");
    let place = LOOKS.acquire().await.map_err(|_| ended())?;
    let look = move || {
        let _place = place;
        open_granted(&shared, &granted)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|_| Err(ended()))
}

fn open_granted(shared: &Shared, granted: &Granted) -> Result<Vec<Held>, StartFailure> {
    let Granted { read, write, .. } = granted;
    let read = read.iter().map(|covered| (covered, false));
    let write = write.iter().map(|covered| (covered, true));
    let mut all = Vec::new();
    for (CoveredPath { root, path, .. }, writable) in read.chain(write) {
        let held = match Held::open(root, path, writable) {
            Ok(held) => held,
            // What is not there is not shown.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                return Err(StartFailure::new(format!(
                    "{} is or leads through a link, and beneath {}, which was granted, none is followed",
                    path.display(),
                    root.display()
                )));
            }
            Err(error) => {
                let path = path.display();
                return Err(StartFailure::new(format!(
                    "{path}, which was granted, cannot be opened: {error}"
                )));
            }
        };
        let real = held.real();
        let out = &shared.config.sandbox.out_of_reach;
        let meets = |place: &&PathBuf| real.starts_with(place) || place.starts_with(real);
        if let Some(place) = out.iter().find(meets) {
            return Err(StartFailure::new(format!(
                "{} leads to {}, which nobody is granted",
                path.display(),
                place.display()
            )));
        }
        all.push(held);
    }
    Ok(all)
}

/// Whether workers can be started before it is known what they serve.
pub(crate) fn has_blanks(layers: Layers) -> bool {
    layers.landlock.is_none() || layers.namespaces.is_some()
}

/// The variables that a confined worker needs at its start.
pub(crate) fn technical_env(layers: Layers) -> impl Iterator<Item = (OsString, OsString)> {
    let needed = if layers.calls { &TECHNICAL[..] } else { &[] };
    needed
        .iter()
        .map(|&(name, value)| (name.into(), value.into()))
}

/// What confines a worker that loads `wrapper` and whose directory is `slot`; `None` if
/// nothing does. Without `wanted` it is a blank. `held` is what the app was granted.
pub(crate) fn policy(
    shared: &Shared,
    wrapper: &Path,
    slot: &Path,
    gateway: &Unserved,
    wanted: Option<&Wanted<'_>>,
    held: Vec<Held>,
) -> Option<Policy> {
    let config = &shared.config;
    let layers = config.sandbox.layers;
    if layers == Layers::NONE {
        return None;
    }
    // All of its folder, which Bun looks into.
    let mut read: Vec<PathBuf> = wrapper.parent().map(Path::to_owned).into_iter().collect();
    let mut write = vec![slot.to_owned()];
    let mut write_later = Vec::new();
    let mut spawn = false;
    match wanted {
        Some(wanted) => {
            read.extend(wanted.folders());
            // If it cannot be made, the assignment will say so.
            write.extend(make_data_dir(shared, wanted.spec));
            spawn = wanted.spec.granted.spawn;
        }
        None => write_later.push(config.data_dir.clone()),
    }
    Some(Policy {
        layers,
        net: gateway.net(layers),
        read,
        write,
        held,
        write_later,
        spawn,
        serves: true,
        stage: shared.slots_dir.with_file_name(STAGE),
    })
}

/// What confines a build: it reads some folders, writes others, and has no network.
pub(crate) fn build_policy(shared: &Shared, read: &[&Path], write: &[&Path]) -> Option<Policy> {
    tool_policy(shared, Net::Private, read, write)
}

/// What confines an install: it writes `folders`, its working directory and its cache, and
/// connects to its gateway. Nothing of an app's is there.
pub(crate) fn install_policy(
    shared: &Shared,
    folders: [&Path; 2],
    gateway: &Unserved,
) -> Option<Policy> {
    let net = gateway.net(shared.config.sandbox.layers);
    tool_policy(shared, net, &CERTIFICATES.map(Path::new), &folders)
}

/// What confines a run of Bun's own tools.
fn tool_policy(shared: &Shared, net: Net, read: &[&Path], write: &[&Path]) -> Option<Policy> {
    let paths = |paths: &[&Path]| paths.iter().map(|&path| path.to_owned()).collect();
    let layers = shared.config.sandbox.layers;
    (layers != Layers::NONE).then(|| Policy {
        layers,
        net,
        read: paths(read),
        write: paths(write),
        held: Vec::new(),
        write_later: Vec::new(),
        spawn: false,
        serves: false,
        stage: shared.slots_dir.with_file_name(STAGE),
    })
}

/// Whether a worker for this app begins without its files.
pub(crate) fn is_shown_later(shared: &Shared, spec: &AppSpec) -> bool {
    shared.config.sandbox.layers.namespaces.is_some() && !starts_for_app(shared, spec)
}

/// Shows a blank its app.
pub(crate) async fn admit(
    shared: &Shared,
    process: &Process,
    wanted: &Wanted<'_>,
) -> Result<(), StartFailure> {
    if !is_shown_later(shared, wanted.spec) {
        return Ok(());
    }
    let mut shown: Vec<Attachment> = wanted
        .folders()
        .into_iter()
        .map(|path| Attachment {
            path,
            place: None,
            is_folder: true,
            writable: false,
        })
        .collect();
    shown.push(Attachment {
        path: data_dir(shared, &wanted.spec.name),
        place: None,
        is_folder: true,
        writable: true,
    });
    let attached = shared.config.launcher.attach(process, &shown).await;
    attached.map_err(|error| StartFailure::new(error.to_string()))
}

/// An app's own folder for what it keeps.
pub(crate) fn data_dir(shared: &Shared, app: &PackageName) -> PathBuf {
    shared.config.data_dir.join(app.as_str())
}

/// Makes that folder if it is missing.
pub(crate) fn make_data_dir(shared: &Shared, spec: &AppSpec) -> io::Result<PathBuf> {
    let data = data_dir(shared, &spec.name);
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700).create(&data)?;
    Ok(data)
}

/// What is enforced on workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// With which means; [`Layers::NONE`] is no sandbox.
    pub layers: Layers,
    /// What nobody is granted, real paths: the server's state, other units.
    pub out_of_reach: Vec<PathBuf>,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            layers: Layers::NONE,
            out_of_reach: Vec::new(),
        }
    }
}
