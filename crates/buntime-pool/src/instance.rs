//! One worker: what others see of it. Its process belongs to one task, the
//! supervisor; everybody else holds an [`Instance`] and leaves orders.

mod boot;
mod control;
mod door;
mod given;
mod logs;
mod memory;
mod slot;
mod supervisor;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use boot::{Blank, Flavor, boot};
pub(crate) use given::{Answer, Given, start_given};
pub(crate) use slot::SlotDirs;
pub(crate) use supervisor::{Assignment, StartProblem};

use crate::app::App;
use crate::bounds::{Bounds, Room};
use crate::config::AppSpec;
use crate::connections::{Counted, Shelf, Shelves};
use crate::error::ExitReason;
use crate::slots::Permit;
use crate::status::{InstanceState, InstanceStatus};
use crate::watch::Watched;

/// Set in the gate when nobody may enter any more. More than a worker has room for.
const CLOSED: u32 = 1 << 31;

/// What the supervisor is to do with its process. Orders only ever escalate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Serve.
    Run,
    /// Take nothing new, finish, end.
    Drain(ExitReason),
    /// End at once.
    Kill(ExitReason),
}

/// A worker's socket, opened as a path: its name is gone, so only who has this
/// descriptor can connect.
#[derive(Debug)]
struct Socket {
    _descriptor: OwnedFd,
    path: String,
}

/// A worker whose process runs.
#[derive(Debug)]
pub(crate) struct Instance {
    id: Uuid,
    /// Names the worker within this server; never used twice.
    number: u64,
    pid: u32,
    home: PathBuf,
    born: Instant,
    /// Set before the worker is ready.
    socket: OnceLock<Socket>,
    /// The connection over which the worker got its app, for the first request.
    first: Mutex<Option<StdUnixStream>>,
    /// Requests inside, and whether the gate is closed. One word, so that nobody
    /// can enter between "is it open" and "I am in".
    gate: AtomicU32,
    room: Room,
    requests: AtomicU64,
    memory: memory::Memory,
    /// What it may use; set with its app.
    bounds: OnceLock<Bounds>,
    pub(crate) watched: Watched,
    /// When a request last began or ended, in nanoseconds since `born`.
    touched: AtomicU64,
    ready: OnceLock<()>,
    order: watch::Sender<Order>,
    fate: watch::Sender<Option<ExitReason>>,
    /// Told when the last request has left a closed gate.
    emptied: Notify,
    shelves: Shelves,
    /// Set once, when the blank is given its app.
    app: Arc<OnceLock<Arc<AppSpec>>>,
    owner: OnceLock<Weak<App>>,
    permit: Mutex<Option<Permit>>,
}

impl Instance {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where to connect to: no path in the file system, so of any depth. Empty
    /// before the worker is ready.
    pub(crate) fn socket_path(&self) -> &str {
        self.socket.get().map_or("", |socket| &socket.path)
    }

    /// A connection that is open already; there is at most one.
    pub(crate) fn take_first(&self) -> Option<StdUnixStream> {
        self.first.lock().take()
    }

    /// Takes a place for a request, unless the gate is closed or there is none. In one
    /// order with [`App::left`]: who finds no place is seen by the next one who leaves.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Lease> {
        let most = self.room.requests;
        self.gate
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |inside| {
                (inside < most).then_some(inside + 1)
            })
            .ok()?;
        self.touch();
        Some(Lease {
            instance: Arc::clone(self),
        })
    }

    fn leave(&self) {
        if self.gate.fetch_sub(1, Ordering::SeqCst) == CLOSED | 1 {
            self.emptied.notify_one();
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        if self.gate.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED == 0 {
            self.emptied.notify_one();
        }
    }

    /// Closes the gate if nobody is inside; false if somebody is.
    pub(crate) fn close_if_idle(&self) -> bool {
        self.gate
            .compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Requests inside.
    pub(crate) fn in_flight(&self) -> u32 {
        self.gate.load(Ordering::Acquire) & !CLOSED
    }

    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Ordering::Acquire) & CLOSED == 0
    }

    /// Counts a request; says which one it is, from 1.
    pub(crate) fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Requests that it has been given.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.touched.store(now, Ordering::Relaxed);
    }

    /// Since when no request has begun or ended.
    pub(crate) fn last_used(&self) -> Instant {
        self.born + Duration::from_nanos(self.touched.load(Ordering::Relaxed))
    }

    /// Leaves an order for the supervisor. A weaker one than there is is ignored.
    pub(crate) fn order(&self, order: Order) {
        if !matches!(order, Order::Run) {
            self.close();
        }
        self.order.send_if_modified(|current| {
            let stronger = match (*current, order) {
                (_, Order::Run) | (Order::Kill(_), _) => false,
                (Order::Run, _) | (Order::Drain(_), Order::Kill(_)) => true,
                (Order::Drain(_), Order::Drain(_)) => false,
            };
            if stronger {
                *current = order;
            }
            stronger
        });
    }

    /// Why the process ended, as soon as it has; `None` if it lives on for `wait`.
    pub(crate) async fn fate_within(&self, wait: Duration) -> Option<ExitReason> {
        let mut fate = self.fate.subscribe();
        let found = tokio::time::timeout(wait, fate.wait_for(Option::is_some)).await;
        found.ok().and_then(Result::ok).and_then(|fate| *fate)
    }

    /// Remembers that a shelf holds connections to this worker; false if it is gone.
    pub(crate) fn remember(&self, shelf: &Arc<Shelf>) -> bool {
        self.shelves.remember(shelf)
    }

    /// Counts a connection that is about to be opened. Idle ones go where it would be one
    /// too many.
    pub(crate) fn count_connection(&self) -> Counted {
        self.shelves.count(self.number, self.room.connections)
    }

    /// What the worker serves; `None` for a blank.
    pub(crate) fn spec(&self) -> Option<&Arc<AppSpec>> {
        self.app.get()
    }

    /// What it may use; `None` for a blank.
    pub(crate) fn bounds(&self) -> Option<&Bounds> {
        self.bounds.get()
    }

    /// Whether it serves its app by now.
    pub(crate) fn is_loaded(&self) -> bool {
        self.ready.get().is_some()
    }

    /// Gives the worker its app.
    pub(crate) fn dedicate(&self, spec: &Arc<AppSpec>, owner: &Arc<App>, permit: Option<Permit>) {
        self.watched.begin(spec, owner.shared());
        let _ = self.bounds.set(Bounds::of(spec));
        let _ = self.app.set(Arc::clone(spec));
        let _ = self.owner.set(Arc::downgrade(owner));
        *self.permit.lock() = permit;
    }

    /// Takes the worker's place in the pool, for the worker that replaces it.
    pub(crate) fn take_permit(&self) -> Option<Permit> {
        self.permit.lock().take()
    }

    /// Gives the worker a place in the pool.
    pub(crate) fn give_permit(&self, permit: Permit) {
        let surplus = self.permit.lock().replace(permit);
        drop(surplus);
    }

    /// Whether it serves an app and has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_loaded() && self.gate.load(Ordering::Acquire) == 0
    }

    /// Its own directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn state(&self) -> InstanceState {
        if self.fate.borrow().is_some() {
            InstanceState::Exited
        } else if !self.is_open() {
            InstanceState::Draining
        } else if !self.is_loaded() {
            InstanceState::Starting
        } else if self.in_flight() > 0 {
            InstanceState::Busy
        } else {
            InstanceState::Ready
        }
    }

    pub(crate) fn status(&self) -> InstanceStatus {
        InstanceStatus {
            id: self.id,
            pid: self.pid,
            state: self.state(),
            in_flight: self.in_flight(),
            requests: self.requests(),
            age: self.born.elapsed(),
            idle: self.last_used().elapsed(),
            memory: self.memory.of(self.pid, self.born),
        }
    }
}

/// A request's place in a worker; dropping it gives it back. The worker of an
/// ephemeral app ends with it.
#[derive(Debug)]
pub(crate) struct Lease {
    instance: Arc<Instance>,
}

impl Lease {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// How long the worker may owe the first byte of a response.
    pub(crate) fn timeout(&self) -> Duration {
        self.instance
            .spec()
            .map_or(Duration::ZERO, |spec| spec.manifest.timeout)
    }

    /// How long a response's body may be silent, if that is bounded.
    pub(crate) fn longest_silence(&self) -> Option<Duration> {
        let manifest = &self.instance.spec()?.manifest;
        manifest.is_ephemeral().then_some(manifest.idle_timeout)
    }

    fn is_ephemeral(&self) -> bool {
        self.instance
            .spec()
            .is_some_and(|spec| spec.manifest.is_ephemeral())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.instance.touch();
        self.instance.leave();
        if self.is_ephemeral() {
            self.instance.order(Order::Kill(ExitReason::EphemeralDone));
        } else if let Some(app) = self.instance.owner.get().and_then(Weak::upgrade) {
            app.left(&self.instance);
        }
    }
}
