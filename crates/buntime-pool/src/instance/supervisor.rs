//! The task that owns one worker's process from the moment it is up.

mod ending;
mod loading;

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use buntime_sandbox::{Exit, Process};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::DropGuard;

use super::control::{self, Control, Heard, Notice};
use super::door::Door;
use super::slot::Slot;
use super::{Instance, Order};
use crate::config::AppSpec;
use crate::error::{Death, ExitReason, Limit, StartFailure};
use crate::gateway::Unserved;
use crate::lines::cut;
use crate::pool::Shared;

/// Between the end of the control channel and that of the process.
const CLOSED_GRACE: Duration = Duration::from_secs(1);
/// For what a dead worker said at last on the control channel.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Garbage on the control channel until the worker is killed.
const MOST_GARBAGE: u32 = 100;
/// A message of an app, in bytes.
const LONGEST_MESSAGE: usize = 16 * 1024;
const ON_IDLE: &str = "onIdle";

/// What makes a blank the worker of an app. The instance has been dedicated to
/// the app before.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The module to load.
    pub(crate) entry: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// When the app must be loaded.
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<(), StartProblem>>,
}

/// How a worker comes by its app.
pub(super) enum Birth {
    /// It is a blank and waits for one.
    Blank(oneshot::Receiver<Assignment>),
    /// It loads the one that it was started for.
    Given {
        deadline: Instant,
        reply: oneshot::Sender<Result<(), StartProblem>>,
    },
}

/// Why a worker did not come to serve its app.
#[derive(Clone, Debug)]
pub(crate) enum StartProblem {
    /// The app's fault.
    Failed(StartFailure),
    /// Not loaded before the deadline.
    Timeout,
    /// It used more than it may, which is the app's fault too.
    Killed(Limit),
    /// Somebody ordered its end.
    Ended,
}

/// What happened to a worker.
enum Event {
    Exit(Exit),
    Order(Order),
    Heard(Heard),
    /// The control channel has been closed for too long.
    Deaf,
}

pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) instance: Arc<Instance>,
    pub(super) process: Process,
    pub(super) control: Control,
    /// Until the worker has its app.
    pub(super) door: Option<Door>,
    /// The same.
    pub(super) unserved: Option<Unserved>,
    /// From then on until the process has ended.
    pub(super) gateway: Option<DropGuard>,
    pub(super) logs: Vec<JoinHandle<()>>,
    pub(super) slot: Slot,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) hooks: Vec<String>,
    pub(super) garbage: u32,
    pub(super) closed_at: Option<Instant>,
}

impl Supervisor {
    pub(super) async fn run(mut self, birth: Birth) {
        let reason = self.live(birth).await;
        self.end(reason).await;
    }

    /// Until the process is to be killed, or is dead.
    async fn live(&mut self, birth: Birth) -> ExitReason {
        let (loaded, reply) = match birth {
            Birth::Given { deadline, reply } => (self.load_given(deadline).await, reply),
            Birth::Blank(assignment) => match self.wait_for_app(assignment).await {
                Ok(mut assignment) => (self.load(&mut assignment).await, assignment.reply),
                Err(reason) => return reason,
            },
        };
        match loaded {
            Ok(()) => {
                let _ = self.instance.ready.set(());
                let _ = reply.send(Ok(()));
            }
            Err((problem, reason)) => {
                self.instance.close();
                let _ = reply.send(Err(problem));
                return reason;
            }
        }
        // Whoever gave it its app has set this.
        let Some(spec) = self.instance.spec().cloned() else {
            return ExitReason::Surplus;
        };
        let reason = match self.serve(&spec).await {
            Order::Kill(reason) => return reason,
            Order::Drain(reason) => reason,
            Order::Run => ExitReason::Surplus,
        };
        self.leave_app();
        self.drain(reason).await
    }

    async fn wait_for_app(
        &mut self,
        assignment: oneshot::Receiver<Assignment>,
    ) -> Result<Assignment, ExitReason> {
        let mut assignment = pin!(assignment);
        loop {
            let event = tokio::select! {
                biased;
                assignment = &mut assignment => {
                    return assignment.map_err(|_| ExitReason::Surplus);
                }
                event = self.event() => event,
            };
            if let Some(Order::Drain(reason) | Order::Kill(reason)) = self.digest(event) {
                return Err(reason);
            }
        }
    }

    /// Until the worker is to end.
    async fn serve(&mut self, spec: &AppSpec) -> Order {
        let manifest = &spec.manifest;
        let idle_limit =
            (!manifest.is_ephemeral()).then_some((manifest.idle_timeout, manifest.ttl));
        let mut told_idle_at = None;
        loop {
            let wake = idle_limit.map(|(idle, ttl)| {
                let last = self.instance.last_used();
                let next = if told_idle_at == Some(last) {
                    ttl
                } else {
                    idle.min(ttl)
                };
                // With a request inside, the limits begin anew when it leaves.
                let from = if self.instance.in_flight() > 0 {
                    Instant::now()
                } else {
                    last
                };
                from + next
            });
            let event = tokio::select! {
                biased;
                event = self.event() => Some(event),
                () = sleep_until_some(wake) => None,
            };
            if let Some(event) = event {
                match self.digest(event) {
                    Some(order @ (Order::Drain(_) | Order::Kill(_))) => return order,
                    Some(Order::Run) | None => {}
                }
                continue;
            }
            let last = self.instance.last_used();
            let idle = last.elapsed();
            if idle >= manifest.ttl {
                if self.instance.close_if_idle() {
                    return Order::Drain(ExitReason::IdleTtl);
                }
            } else if idle >= manifest.idle_timeout
                && self.instance.in_flight() == 0
                && told_idle_at != Some(last)
            {
                told_idle_at = Some(last);
                self.tell_idle().await;
            }
        }
    }

    async fn tell_idle(&mut self) {
        if self.hooks.iter().any(|hook| hook == ON_IDLE) {
            // A worker that hears nothing any more is noticed when it must answer.
            let _ = self.control.tell(&control::Order::Idle).await;
        }
    }

    /// The next thing that happens to the worker. Nothing is lost if the future is
    /// dropped.
    async fn event(&mut self) -> Event {
        let deaf = self.closed_at.map(|at| at + CLOSED_GRACE);
        tokio::select! {
            biased;
            changed = self.orders.changed() => match changed {
                Ok(()) => Event::Order(*self.orders.borrow_and_update()),
                Err(_) => Event::Order(Order::Kill(ExitReason::Surplus)),
            },
            exit = self.process.wait() => Event::Exit(exit),
            heard = self.control.hear() => Event::Heard(heard),
            () = sleep_until_some(deaf) => Event::Deaf,
        }
    }

    /// What an event means to a worker at any time.
    fn digest(&mut self, event: Event) -> Option<Order> {
        match event {
            Event::Order(order) => Some(order),
            Event::Exit(exit) => Some(Order::Kill(ExitReason::Crashed(death(exit)))),
            Event::Deaf => Some(Order::Kill(ExitReason::Misbehaved)),
            Event::Heard(Heard::Closed) => {
                self.closed_at = Some(Instant::now());
                None
            }
            Event::Heard(Heard::Notice(Notice::Error {
                source,
                request_id,
                message,
                stack,
            })) => {
                let detail = join(&message, &stack);
                let request_id = request_id.as_deref().map(|id| cut(id, 128));
                if let Some(spec) = self.instance.spec() {
                    let id = self.instance.id();
                    let events = &self.shared.config.events;
                    events.app_error(&spec.id, id, cut(&source, 32), request_id, &detail);
                }
                None
            }
            Event::Heard(Heard::Notice(_) | Heard::Garbage) => {
                self.garbage += 1;
                let kill = self.garbage >= MOST_GARBAGE;
                if self.garbage == 1 || kill {
                    let what = if kill {
                        "too much garbage on the control channel: killed"
                    } else {
                        "garbage on the control channel"
                    };
                    let app = self.instance.spec().map(|spec| spec.id.as_str());
                    let events = &self.shared.config.events;
                    events.misbehaved(app, self.instance.id(), what);
                }
                kill.then_some(Order::Kill(ExitReason::Misbehaved))
            }
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn death(exit: Exit) -> Death {
    match exit {
        Exit::Code(code) => Death::Code(code),
        Exit::Signal(signal) => Death::Signal(signal),
    }
}

/// A message and its stack, which mostly begins with the message.
fn join(message: &str, stack: &str) -> String {
    let whole = if stack.contains(message) {
        stack.to_owned()
    } else if stack.is_empty() {
        message.to_owned()
    } else {
        format!("{message}\n{stack}")
    };
    cut(&whole, LONGEST_MESSAGE).to_owned()
}
