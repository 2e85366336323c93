//! From nothing to a process, and to a blank: Bun up, wrapper loaded, no app.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use buntime_sandbox::{Held, Launch, Pace, Process};
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::control::{Control, Heard, Notice};
use super::door::Door;
use super::logs;
use super::memory::Memory;
use super::slot::Slot;
use super::supervisor::{Assignment, Birth, Supervisor};
use super::{Instance, Order, Socket};
use crate::bounds::Room;
use crate::config::AppSpec;
use crate::confine::{Wanted, hold_granted, policy, technical_env};
use crate::connections::Shelves;
use crate::error::{ExitReason, StartFailure};
use crate::events::LogStream;
use crate::gateway::Unserved;
use crate::pool::Shared;
use crate::watch::{Watched, is_first_to_go};

/// Longest start of an empty Bun; a busy machine needs tens of milliseconds.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(10);
/// Between looks at the slot of a start that failed, and how many there are.
const CLEAR_PAUSE: Duration = Duration::from_millis(10);
const CLEAR_TRIES: u32 = 20;

/// What is in every worker's environment besides the server's base: nothing of it is left
/// once the worker has its app.
const TECHNICAL: [(&str, &str); 4] = [
    // The timers that look for garbage cost idle workers a core among a hundred.
    ("BUN_GC_TIMER_DISABLE", "1"),
    // One thread to look for garbage: more wake each other longer than they help a worker that
    // has one processor.
    ("BUN_JSC_numberOfGCMarkers", "1"),
    // A cache of compiled code would be one that an app can write.
    ("BUN_RUNTIME_TRANSPILER_CACHE_PATH", "0"),
    ("DO_NOT_TRACK", "1"),
];

/// As well, for a worker that may serve many requests.
const LONG_LIVED: [(&str, &str); 1] = [
    // How much garbage an app may make before it is first looked for, in bytes. Of Bun's own
    // 8 MB the caches of a core hold less, so more is allocated from memory that is cold. Once
    // an app keeps more than this, twice what it keeps counts instead.
    ("BUN_JSC_largeHeapSize", "4194304"),
];

/// As well, for a worker that begins with its app in its environment, and so for one request:
/// less work at the start.
const SHORT_LIVED: [(&str, &str); 1] = [
    // No further thread that gives memory back.
    ("MIMALLOC_PURGE_DELAY", "-1"),
];

/// The variable that holds the app of a worker that is started for one
/// (`worker/src/protocol.ts`).
const GIVEN: &str = "BUNTIME_APP";

/// How Bun is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Normal,
    /// `lowMemory`.
    Small,
}

/// A worker without an app. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Blank {
    pub(crate) instance: Arc<Instance>,
    pub(crate) assign: oneshot::Sender<Assignment>,
}

impl Blank {
    /// Whether its process may still live.
    pub(crate) fn is_alive(&self) -> bool {
        !self.assign.is_closed() && self.instance.is_open()
    }
}

/// Starts a blank. The supervisor of the new process is spawned on the control
/// runtime, on which this must run.
/// Without namespaces it is started for the app that is `wanted`.
pub(crate) async fn boot(
    shared: &Arc<Shared>,
    flavor: Flavor,
    wanted: Option<Wanted<'_>>,
) -> Result<Blank, StartFailure> {
    let id = Uuid::new_v4();
    let slot = make_slot(shared.slot_dirs.take())?;
    let started = tokio::select! {
        started = timeout(BOOT_LIMIT, start(shared, flavor, id, &slot, wanted.as_ref())) => started,
        () = shared.stopped() => Ok(Err(StartFailure::new("the pool is stopping"))),
    };
    match started.unwrap_or_else(|_| Err(StartFailure::new("Bun did not come up in time"))) {
        Ok(up) => Ok(supervise_blank(shared, id, slot, up)),
        Err(failure) => {
            clear(slot).await;
            Err(failure)
        }
    }
}

pub(super) fn make_slot(mut slot: Slot) -> Result<Slot, StartFailure> {
    slot.make().map_err(|error| {
        StartFailure::new(format!("cannot make the worker's directory: {error}"))
    })?;
    Ok(slot)
}

/// Removes the slot of a start that failed. A process that was killed this moment may
/// still be binding its socket there.
pub(super) async fn clear(slot: Slot) {
    let path = slot.path().to_owned();
    let slot = Arc::new(slot);
    for _ in 0..CLEAR_TRIES {
        let slot = Arc::clone(&slot);
        let _ = tokio::task::spawn_blocking(move || slot.remove()).await;
        if !path.exists() {
            return;
        }
        sleep(CLEAR_PAUSE).await;
    }
}

/// A process that was started, and what hangs on it.
pub(super) struct Started {
    pub(super) process: Process,
    pace: Pace,
    control: Control,
    logs: Vec<JoinHandle<()>>,
    app: Arc<OnceLock<Arc<AppSpec>>>,
    gateway: Unserved,
}

/// A blank that answers.
struct Up {
    started: Started,
    socket: Socket,
    door: Door,
}

async fn start(
    shared: &Arc<Shared>,
    flavor: Flavor,
    id: Uuid,
    slot: &Slot,
    wanted: Option<&Wanted<'_>>,
) -> Result<Up, StartFailure> {
    let gateway = Unserved::open(shared.config.sandbox.layers)?;
    let mut started = spawn(shared, flavor, id, slot, gateway, (wanted, None)).await?;
    wait_until_up(&mut started.process, &mut started.control).await?;
    let taken = slot.take_socket();
    let socket = taken
        .map_err(|error| StartFailure::new(format!("cannot take the worker's socket: {error}")))?;
    // Somebody waits for a worker that is started for its app, or is of a kind that is not kept.
    let is_awaited = wanted.is_some() || flavor == Flavor::Small;
    let mut door = Door::open(&socket.path)
        .await
        .map_err(|error| StartFailure::new(format!("the worker is not reached: {error}")))?;
    if !is_awaited {
        let rehearsed = door.rehearse().await;
        rehearsed
            .map_err(|error| StartFailure::new(format!("the blank cannot rehearse: {error}")))?;
    }
    Ok(Up {
        started,
        socket,
        door,
    })
}

/// What a worker may read from the beginning, and the app that it is given.
type ForApp<'a> = (Option<&'a Wanted<'a>>, Option<OsString>);

/// Starts Bun with the wrapper, for an app or blank.
pub(super) async fn spawn(
    shared: &Arc<Shared>,
    flavor: Flavor,
    id: Uuid,
    slot: &Slot,
    mut gateway: Unserved,
    for_app: ForApp<'_>,
) -> Result<Started, StartFailure> {
    let channel = |error| StartFailure::new(format!("cannot make the control channel: {error}"));
    let (ours, theirs) = StdUnixStream::pair().map_err(channel)?;
    ours.set_nonblocking(true).map_err(channel)?;
    let control = Control::new(UnixStream::from_std(ours).map_err(channel)?);
    let held = hold_granted(shared, for_app.0).await?;
    let theirs = theirs.into();
    let launch = launch(shared, flavor, slot, &gateway, for_app, theirs, held);
    let program = launch.program.clone();
    let mut process = shared
        .config
        .launcher
        .spawn(launch)
        .await
        .map_err(|error| {
            StartFailure::new(format!(
                "cannot start {}: {}",
                program.display(),
                chain(&error)
            ))
        })?;
    gateway.made(process.gateway.take());
    is_first_to_go(process.pid());
    // Nothing of what it uses would be limited without.
    let pace = process
        .pace()
        .map_err(|error| StartFailure::new(format!("cannot watch the worker: {error}")))?;
    let app = Arc::new(OnceLock::new());
    let output = Arc::new(logs::Output::new(Arc::clone(&app)));
    let pipes = [
        (process.stdout.take(), LogStream::Stdout),
        (process.stderr.take(), LogStream::Stderr),
    ];
    let logs = pipes
        .into_iter()
        .filter_map(|(pipe, stream)| Some((pipe?, stream)))
        .map(|(pipe, stream)| {
            let events = Arc::clone(&shared.config.events);
            shared
                .tracker
                .spawn(logs::pump(pipe, stream, id, Arc::clone(&output), events))
        })
        .collect();
    Ok(Started {
        process,
        pace,
        control,
        logs,
        app,
        gateway,
    })
}

fn launch(
    shared: &Shared,
    flavor: Flavor,
    slot: &Slot,
    gateway: &Unserved,
    (wanted, given): ForApp<'_>,
    control: OwnedFd,
    held: Vec<Held>,
) -> Launch {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let base = shared.config.base_env.iter();
    env.extend(base.map(|(name, value)| (name.into(), value.into())));
    env.extend(TECHNICAL.map(|(name, value)| (name.into(), value.into())));
    env.extend(technical_env(shared.config.sandbox.layers));
    env.push(("HOME".into(), slot.path().into()));
    env.push(("TMPDIR".into(), slot.path().into()));
    let for_its_life = match given {
        Some(_) => &SHORT_LIVED[..],
        None => &LONG_LIVED[..],
    };
    env.extend(
        for_its_life
            .iter()
            .map(|&(name, value)| (name.into(), value.into())),
    );
    env.extend(given.map(|given| (GIVEN.into(), given)));
    let mut args: Vec<OsString> = Vec::new();
    if flavor == Flavor::Small {
        args.push("--smol".into());
    }
    args.extend(
        [
            // No file of settings, no variables from files, no packages fetched at run time.
            "--config=/dev/null",
            "--no-env-file",
            "--no-install",
            // Bun's own limit is 16 KB, and it would answer 431. The edge allows 64 KB, and
            // the server adds a little.
            "--max-http-header-size=131072",
        ]
        .map(OsString::from),
    );
    // Read once: it changes when the bytecode is there.
    let wrapper = shared.wrapper.path();
    args.push(wrapper.into());
    Launch {
        program: shared.program.path().to_owned(),
        args,
        env,
        cwd: slot.path().to_owned(),
        control,
        limits: shared.config.limits,
        nice: 0,
        policy: policy(shared, wrapper, slot.path(), gateway, wanted, held),
    }
}

async fn wait_until_up(process: &mut Process, control: &mut Control) -> Result<(), StartFailure> {
    tokio::select! {
        biased;
        heard = control.hear() => match heard {
            Heard::Notice(Notice::Up) => Ok(()),
            Heard::Closed => {
                let exit = process.wait().await;
                Err(StartFailure::new(format!("Bun ended before it was up: {exit:?}")))
            }
            _ => Err(StartFailure::new("the wrapper does not speak the control protocol")),
        },
        exit = process.wait() => Err(StartFailure::new(format!("Bun ended before it was up: {exit:?}"))),
    }
}

fn supervise_blank(shared: &Arc<Shared>, id: Uuid, slot: Slot, up: Up) -> Blank {
    let (supervisor, instance) = supervisor(shared, id, slot, up.started);
    let _ = instance.socket.set(up.socket);
    let (assign, assignment) = oneshot::channel();
    let supervisor = Supervisor {
        door: Some(up.door),
        ..supervisor
    };
    shared
        .tracker
        .spawn(supervisor.run(Birth::Blank(assignment)));
    Blank { instance, assign }
}

/// What is to own the process, not yet running, and what others see of it.
pub(super) fn supervisor(
    shared: &Arc<Shared>,
    id: Uuid,
    slot: Slot,
    started: Started,
) -> (Supervisor, Arc<Instance>) {
    let (order, orders) = watch::channel(Order::Run);
    let instance = Arc::new(Instance {
        id,
        number: shared.next_number(),
        pid: started.process.pid(),
        home: slot.path().to_owned(),
        born: Instant::now(),
        socket: OnceLock::new(),
        first: Mutex::new(None),
        gate: AtomicU32::new(0),
        room: Room::of(shared.config.limits.open_files),
        requests: AtomicU64::new(0),
        memory: Memory::default(),
        bounds: OnceLock::new(),
        watched: Watched::new(started.pace),
        touched: AtomicU64::new(0),
        ready: OnceLock::new(),
        order,
        fate: watch::Sender::new(None::<ExitReason>),
        emptied: Notify::new(),
        shelves: Shelves::new(),
        app: started.app,
        owner: OnceLock::new(),
        permit: Mutex::new(None),
    });
    shared.register(&instance);
    let supervisor = Supervisor {
        shared: Arc::clone(shared),
        instance: Arc::clone(&instance),
        process: started.process,
        control: started.control,
        door: None,
        unserved: Some(started.gateway),
        gateway: None,
        logs: started.logs,
        slot,
        orders,
        hooks: Vec::new(),
        garbage: 0,
        closed_at: None,
    };
    (supervisor, instance)
}

/// An error with its sources, for logs.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
