//! The task that owns one worker's process from the moment it is up.

use std::collections::BTreeMap;
use std::future::{Pending, pending};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use buntime_sandbox::{Exit, Process};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::DropGuard;

use super::control::{self, Control, Heard, Notice};
use super::door::{Become, Door, Outcome};
use super::slot::Slot;
use super::{Instance, Order};
use crate::config::AppSpec;
use crate::confine::{Wanted, admit};
use crate::error::{Death, ExitReason, Limit, StartFailure};
use crate::forwards;
use crate::gateway::{Forward, Unserved};
use crate::lines::cut;
use crate::pool::Shared;
use crate::watch::last_look;

/// How long what is under way may take once a worker takes nothing new. A disabled or
/// removed app has its `timeout` for it.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
/// Between the end of the control channel and that of the process.
const CLOSED_GRACE: Duration = Duration::from_secs(1);
/// More than the wrapper's own grace, so that it can say that it is done.
const TERMINATE_MARGIN: Duration = Duration::from_millis(250);
/// For the last lines of a dead worker; a pipe may be held open by a stranger.
const LOG_LIMIT: Duration = Duration::from_secs(1);
/// For what a dead worker said at last on the control channel.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Garbage on the control channel until the worker is killed.
const MOST_GARBAGE: u32 = 100;
/// A message of an app, in bytes.
const LONGEST_MESSAGE: usize = 16 * 1024;
const ON_IDLE: &str = "onIdle";
const ON_TERMINATE: &str = "onTerminate";

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

    /// Has a blank load the app.
    async fn load(
        &mut self,
        assignment: &mut Assignment,
    ) -> Result<(), (StartProblem, ExitReason)> {
        let (Some(spec), Some(mut door)) = (self.instance.spec().cloned(), self.door.take()) else {
            return Err((StartProblem::Ended, ExitReason::Surplus));
        };
        let (Some(dir), Some(entry)) = (spec.dir.to_str(), assignment.entry.to_str()) else {
            return Err(failed("the path of the app is not valid UTF-8".to_owned()));
        };
        let wanted = Wanted {
            spec: &spec,
            entry: &assignment.entry,
        };
        if let Err(failure) = admit(&self.shared, &self.process, &wanted).await {
            return Err((StartProblem::Failed(failure), ExitReason::StartFailed));
        }
        let forwards = match forwards::make(&self.shared, &self.process, &spec).await {
            Ok(forwards) => forwards,
            Err(failure) => {
                return Err((StartProblem::Failed(failure), ExitReason::StartFailed));
            }
        };
        if let Some(unserved) = &self.unserved {
            assignment.env.extend(unserved.variables());
        }
        self.serve_gateway(&spec, forwards);
        let what = Become {
            dir,
            entry,
            env: &assignment.env,
        };
        let answer = door.assign(&what);
        let outcome = self.outcome(Some(answer), assignment.deadline).await?;
        self.take_outcome(outcome)?;
        *self.instance.first.lock() = door.into_std().ok();
        Ok(())
    }

    /// Lets the worker reach the server, and the outside as far as `spec` may.
    pub(super) fn serve_gateway(&mut self, spec: &AppSpec, forwards: Vec<Forward>) {
        let gateways = &self.shared.config.gateways;
        let gateway = self.unserved.take();
        let gateway = gateway.and_then(|one| one.into_gateway(forwards));
        self.gateway = gateway.map(|gateway| gateways.serve(gateway, spec));
    }

    /// Waits for a worker that loads its app by itself.
    async fn load_given(&mut self, deadline: Instant) -> Result<(), (StartProblem, ExitReason)> {
        let answer = None::<Pending<io::Result<Outcome>>>;
        let outcome = self.outcome(answer, deadline).await?;
        self.take_outcome(outcome)?;
        let socket = self
            .slot
            .take_socket()
            .map_err(|error| failed(format!("cannot take the worker's socket: {error}")))?;
        let _ = self.instance.socket.set(socket);
        Ok(())
    }

    fn take_outcome(&mut self, outcome: Outcome) -> Result<(), (StartProblem, ExitReason)> {
        match outcome {
            Outcome::Ready { hooks } => {
                self.hooks = hooks;
                Ok(())
            }
            Outcome::Failed { message, stack } => Err(failed(join(&message, &stack))),
        }
    }

    /// Waits for the app to be loaded, and for all that may come in between. A
    /// blank's outcome is its answer, any other's comes over the control channel.
    async fn outcome(
        &mut self,
        answer: Option<impl Future<Output = io::Result<Outcome>>>,
        deadline: Instant,
    ) -> Result<Outcome, (StartProblem, ExitReason)> {
        let is_given = answer.is_none();
        let mut answer = pin!(async {
            match answer {
                Some(answer) => answer.await,
                None => pending().await,
            }
        });
        loop {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                outcome = &mut answer => match outcome {
                    Ok(outcome) => return Ok(outcome),
                    Err(error) => return Err(self.no_outcome(&error).await),
                },
                () = sleep_until(deadline) => {
                    return Err((StartProblem::Timeout, ExitReason::Timeout));
                }
            };
            match event {
                Event::Exit(exit) => return Err(ended(exit)),
                Event::Heard(Heard::Notice(Notice::Ready { hooks })) if is_given => {
                    return Ok(Outcome::Ready { hooks });
                }
                Event::Heard(Heard::Notice(Notice::Failed { message, stack })) if is_given => {
                    return Ok(Outcome::Failed { message, stack });
                }
                other => match self.digest(other) {
                    // Nobody ordered that: it is the app's fault.
                    Some(Order::Kill(ExitReason::Misbehaved)) => {
                        let (problem, _) =
                            failed("the worker misbehaved while it loaded the app".to_owned());
                        return Err((problem, ExitReason::Misbehaved));
                    }
                    Some(Order::Kill(reason @ ExitReason::Killed(limit))) => {
                        return Err((StartProblem::Killed(limit), reason));
                    }
                    Some(Order::Drain(reason) | Order::Kill(reason)) => {
                        return Err((StartProblem::Ended, reason));
                    }
                    Some(Order::Run) | None => {}
                },
            }
        }
    }

    /// The connection broke: mostly because the process ended, and its end is what
    /// the app's author wants to know of.
    async fn no_outcome(&mut self, error: &io::Error) -> (StartProblem, ExitReason) {
        match timeout(LAST_WORDS, self.process.wait()).await {
            Ok(exit) => ended(exit),
            Err(_) => failed(format!("the wrapper did not answer: {error}")),
        }
    }

    /// What a dead worker had to say and nobody has read yet.
    async fn last_words(&mut self) {
        let heard = timeout(LAST_WORDS, async {
            while self.closed_at.is_none() {
                let heard = self.control.hear().await;
                // It may have become ready just when nobody wanted it any more.
                if matches!(heard, Heard::Closed | Heard::Notice(Notice::Error { .. })) {
                    self.digest(Event::Heard(heard));
                }
            }
        });
        let _ = heard.await;
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

    /// Lets requests under way finish, then asks the app to end.
    async fn drain(&mut self, reason: ExitReason) -> ExitReason {
        self.instance.close();
        let limit = match (reason, self.instance.spec()) {
            (ExitReason::Removed, Some(spec)) => spec.manifest.timeout,
            _ => DRAIN_LIMIT,
        };
        let limit = Instant::now() + limit;
        let instance = Arc::clone(&self.instance);
        while instance.in_flight() > 0 {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                () = instance.emptied.notified() => continue,
                () = sleep_until(limit) => return reason,
            };
            match self.digest(event) {
                Some(Order::Kill(reason)) => return reason,
                Some(Order::Drain(_) | Order::Run) | None => {}
            }
        }
        self.terminate(reason).await
    }

    async fn terminate(&mut self, reason: ExitReason) -> ExitReason {
        // Who has no hook has nothing to say at the end.
        if !self.hooks.iter().any(|hook| hook == ON_TERMINATE) {
            return reason;
        }
        let grace = self.shared.config.terminate_grace;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if self
            .control
            .tell(&control::Order::Terminate { grace_ms })
            .await
            .is_err()
        {
            return reason;
        }
        let limit = Instant::now() + grace + TERMINATE_MARGIN;
        loop {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                () = sleep_until(limit) => return reason,
            };
            match event {
                Event::Exit(_)
                | Event::Deaf
                | Event::Order(Order::Kill(_))
                | Event::Heard(Heard::Notice(Notice::Terminated)) => return reason,
                other => {
                    self.digest(other);
                }
            }
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

    /// The app gives this worker no more requests.
    fn leave_app(&self) {
        if let Some(app) = self.instance.owner.get().and_then(Weak::upgrade) {
            app.gone(&self.instance);
        }
    }

    /// Kills the process and clears up after it.
    async fn end(mut self, reason: ExitReason) {
        self.instance.close();
        self.leave_app();
        if let Some(spec) = self.instance.spec() {
            last_look(&self.shared, &self.instance, spec);
        }
        self.process.kill();
        self.process.wait().await;
        drop(self.gateway.take());
        let instance = Arc::clone(&self.instance);
        instance.fate.send_replace(Some(reason));
        if let Some(app) = instance.owner.get().and_then(Weak::upgrade) {
            app.parted(&instance, Some(reason));
        }
        instance.shelves.clear(instance.number());
        // The place first: who makes room must not count this one twice.
        drop(instance.take_permit());
        self.shared.unregister(&instance);
        self.last_words().await;
        let ended = timeout(LOG_LIMIT, async {
            for log in &mut self.logs {
                let _ = log.await;
            }
        });
        if ended.await.is_err() {
            self.logs.iter().for_each(JoinHandle::abort);
        }
        let app = instance.spec().map(|spec| spec.id.as_str());
        let events = &self.shared.config.events;
        events.exited(app, instance.id(), instance.pid(), reason);
        if let Some(slot) = self.shared.slot_dirs.give_back(self.slot) {
            let _ = tokio::task::spawn_blocking(move || slot.remove()).await;
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn failed(message: String) -> (StartProblem, ExitReason) {
    let failure = StartFailure { message };
    (StartProblem::Failed(failure), ExitReason::StartFailed)
}

fn ended(exit: Exit) -> (StartProblem, ExitReason) {
    let how = match exit {
        Exit::Code(code) => format!("with code {code}"),
        Exit::Signal(signal) => format!("by signal {signal}"),
    };
    failed(format!("the process ended {how} while it loaded the app"))
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
