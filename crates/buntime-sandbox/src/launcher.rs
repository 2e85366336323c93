//! The server's side: one thread that spawns, and what it hands back.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::{Semaphore, oneshot};

use crate::child::{self, Descriptors, Failure, Stack};
use crate::error::{SpawnError, Step};
use crate::launch::Launch;
use crate::plan::Plan;
use crate::process::{Leader, Process};

/// Launches that wait for the thread at once; more wait before the queue.
const QUEUE: usize = 64;

/// How often killed processes that nobody waits for are looked at.
const REAP_INTERVAL: Duration = Duration::from_millis(5);

/// Starts processes. Cheap to clone; the thread behind it ends when all clones
/// and all processes started by it are gone.
#[derive(Debug, Clone)]
pub struct Launcher {
    handle: Arc<Handle>,
}

impl Launcher {
    /// Starts the spawning thread.
    ///
    /// # Errors
    /// If the system has no thread left to give, or no `/dev/null`.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let worker = Arc::clone(&desk);
        let null = File::open("/dev/null")?;
        std::thread::Builder::new()
            .name("launcher".into())
            .stack_size(256 << 10)
            .spawn(move || worker.run(&null))?;
        Ok(Self {
            handle: Arc::new(Handle {
                desk,
                places: Semaphore::new(QUEUE),
            }),
        })
    }

    /// Starts a process; returns once it executes its program. Dropping the
    /// future leaves no process behind.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, launch: Launch) -> Result<Process, SpawnError> {
        let plan = Plan::of(&launch, std::process::id()).map_err(|reason| SpawnError::Invalid {
            program: launch.program.clone(),
            reason,
        })?;
        let Launch {
            program,
            cwd,
            control,
            ..
        } = launch;
        let place = self.handle.places.acquire().await;
        let _place = place.map_err(|_| SpawnError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.handle.desk.submit(Job {
            plan,
            control,
            keep_alive: Arc::clone(&self.handle),
            reply,
        });
        match answer.await.map_err(|_| SpawnError::Stopped)? {
            Ok(Ok(process)) => Ok(process),
            Ok(Err(Failure { step, source })) => Err(SpawnError::Step {
                step,
                path: if step == Step::Directory {
                    cwd
                } else {
                    program
                },
                source,
            }),
            Err(source) => Err(SpawnError::Start { program, source }),
        }
    }
}

type Started = io::Result<Result<Process, Failure>>;

struct Job {
    plan: Plan,
    control: OwnedFd,
    keep_alive: Arc<Handle>,
    reply: oneshot::Sender<Started>,
}

/// Keeps the thread alive: held by every launcher and every process.
#[derive(Debug)]
pub(crate) struct Handle {
    desk: Arc<Desk>,
    places: Semaphore,
}

impl Handle {
    /// Leaves a killed process to the thread for reaping.
    pub(crate) fn bury(&self, leader: Leader) {
        self.desk.lock().graves.push(leader);
        self.desk.bell.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.bell.notify_one();
    }
}

/// Where the thread finds its work.
#[derive(Debug, Default)]
struct Desk {
    work: Mutex<Work>,
    bell: Condvar,
}

#[derive(Default)]
struct Work {
    /// At most `QUEUE`, by the places of the handle, and those given up.
    jobs: VecDeque<Job>,
    /// Killed and not yet reaped: never more than there were processes.
    graves: Vec<Leader>,
    closed: bool,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("jobs", &self.jobs.len())
            .field("graves", &self.graves)
            .field("closed", &self.closed)
            .finish()
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.bell.notify_one();
    }

    fn run(&self, null: &File) {
        let mut stack = Stack::new();
        while let Some(job) = self.next_job() {
            if job.reply.is_closed() {
                continue;
            }
            // An answer that nobody takes is dropped, and its process with it.
            let started = start(&mut stack, null, &job.plan, &job.control, job.keep_alive);
            let _ = job.reply.send(started);
        }
    }

    /// Waits for a job and reaps meanwhile. None once nobody can send one.
    fn next_job(&self) -> Option<Job> {
        let mut work = self.lock();
        loop {
            work.graves.retain(|leader| leader.try_reap().is_none());
            if let Some(job) = work.jobs.pop_front() {
                return Some(job);
            }
            work = match (work.graves.is_empty(), work.closed) {
                (true, true) => return None,
                (true, false) => {
                    let woken = self.bell.wait(work);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                (false, _) => {
                    let woken = self.bell.wait_timeout(work, REAP_INTERVAL);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Starts one process.
fn start(
    stack: &mut Stack,
    null: &File,
    plan: &Plan,
    control: &OwnedFd,
    handle: Arc<Handle>,
) -> Started {
    let (stdout, out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, err) = pipe_with(PipeFlags::CLOEXEC)?;
    let descriptors = Descriptors {
        stdin: null.as_fd(),
        stdout: out.as_fd(),
        stderr: err.as_fd(),
        control: control.as_fd(),
    };
    let started = child::start(stack, plan, &descriptors)?;
    Ok(started.map(|(pid, pidfd)| Process::new(Leader::new(pid, pidfd), stdout, stderr, handle)))
}
