//! The server's side: one thread that spawns, and what it hands back.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::gettid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::broker::Broker;
use crate::child::{self, Descriptors, Failure};
use crate::error::{AttachError, ForwardError, SpawnError, Step};
use crate::launch::Launch;
use crate::network::{self, Entrance, Lease, MOST_FORWARDS, Networks};
use crate::notify::{self, Listener};
use crate::plan::{Confinement, Plan};
use crate::policy::Attachment;
use crate::process::{Leader, Process};
use crate::root::Additions;
use crate::stack::Stacks;
use crate::watchdog::Watchdog;

/// Jobs that wait for the thread at once, also those that were given up; more wait before
/// the queue.
const QUEUE: usize = 64;

/// Longest that a job may take the thread. Most take a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often killed processes that nobody waits for are looked at.
const REAP_INTERVAL: Duration = Duration::from_millis(5);

/// Starts processes. Cheap to clone; the thread behind it ends when all clones
/// and all processes started by it are gone.
#[derive(Debug, Clone)]
pub struct Launcher {
    handle: Arc<Handle>,
}

impl Launcher {
    /// Starts the spawning thread, and one that looks after it.
    ///
    /// # Errors
    /// If the system has no thread or descriptor left to give, or no `/dev/null`.
    pub fn start() -> io::Result<Self> {
        Self::with_patience(PATIENCE)
    }

    /// The same with another limit for each job.
    fn with_patience(patience: Duration) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let stacks = Stacks::new()?;
        let worker = Arc::clone(&desk);
        let around = Around {
            null: File::open("/dev/null")?,
            server: OnceCell::new(),
            hand: socketpair(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?,
            networks: Arc::default(),
            owner: OnceCell::new(),
            watchdog: Watchdog::start(stacks.births(), patience)?,
        };
        std::thread::Builder::new()
            .name("launcher".into())
            .stack_size(256 << 10)
            .spawn(move || worker.run(&around, stacks))?;
        Ok(Self {
            handle: Arc::new(Handle {
                desk,
                places: Arc::new(Semaphore::new(QUEUE)),
            }),
        })
    }

    /// Starts a process; returns once it executes its program, which must be within ten
    /// seconds of the start's turn. Dropping the future leaves no process behind.
    ///
    /// Which paths of the policy are there, and are folders, is looked at by who calls: what
    /// lies on a file system that may not answer is to be [`Held`](crate::Held).
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, launch: Launch) -> Result<Process, SpawnError> {
        let mut plan = Plan::of(&launch).map_err(|reason| SpawnError::Invalid {
            program: launch.program.clone(),
            reason,
        })?;
        if let Some(policy) = &launch.policy {
            let made = Confinement::of(policy, &launch.program);
            plan.confinement = made.map_err(|source| SpawnError::Policy {
                program: launch.program.clone(),
                source,
            })?;
        }
        let allowed = plan.confinement.broker;
        let Launch {
            program,
            cwd,
            control,
            ..
        } = launch;
        let place = self.handle.place().await.ok_or(SpawnError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.handle.desk.submit(
            place,
            Job::Start {
                plan: Box::new(plan),
                control,
                keep_alive: Arc::clone(&self.handle),
                reply,
            },
        );
        match answer.await.map_err(|_| SpawnError::Stopped)? {
            Ok(Ok((mut process, listener))) => {
                let serves = allowed.map_or(Ok(()), |allowed| {
                    let listener = listener.ok_or(io::ErrorKind::NotFound)?;
                    process.broker = Some(Broker::start(listener, allowed)?);
                    Ok(())
                });
                match serves {
                    Ok(()) => Ok(process),
                    Err(source) => Err(SpawnError::Start { program, source }),
                }
            }
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

    /// Shows a process that runs in a private root more files, at the paths that they
    /// have outside. To be done before the process runs what is not trusted.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn attach(
        &self,
        process: &Process,
        attachments: &[Attachment],
    ) -> Result<(), AttachError> {
        let additions = Additions::of(attachments)?;
        let process = process.pidfd()?;
        let place = self.handle.place().await.ok_or(AttachError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.handle.desk.submit(
            place,
            Job::Attach {
                additions,
                process,
                reply,
            },
        );
        Ok(answer.await.map_err(|_| AttachError::Stopped)??)
    }

    /// Has the server listen at `addresses` in the network of a process, besides the
    /// gateway: for raw TCP, which the process connects there and the server carries on to
    /// where it belongs. The answer has the sockets in the order of the addresses,
    /// non-blocking and close-on-exec.
    ///
    /// Any address will do, IPv4 or IPv6, and any port that is not 0, for all addresses lead
    /// to the process's own network: 127.64.0.1 and so on for hosts that are known by name,
    /// with a file of names for the process ([`Attachment::place`] as `/etc/hosts`), and for
    /// hosts that are known by address that very address. All or none are made. They are
    /// shut down with the process, as [`Process::gateway`] is. To be called after the start,
    /// before the process runs what shall connect.
    ///
    /// # Errors
    /// See [`ForwardError`].
    pub async fn forward(
        &self,
        process: &Process,
        addresses: &[SocketAddr],
    ) -> Result<Vec<OwnedFd>, ForwardError> {
        if addresses.len() > MOST_FORWARDS || addresses.iter().any(|address| address.port() == 0) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let lease = process.lease().ok_or(ForwardError::NoNetwork)?;
        let place = self.handle.place().await.ok_or(ForwardError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.handle.desk.submit(
            place,
            Job::Forward {
                addresses: addresses.to_vec(),
                lease,
                reply,
            },
        );
        Ok(answer.await.map_err(|_| ForwardError::Stopped)??)
    }
}

/// A process, and where its calls arrive that the server answers.
type Started = io::Result<Result<(Process, Option<Listener>), Failure>>;

enum Job {
    Start {
        plan: Box<Plan>,
        control: OwnedFd,
        keep_alive: Arc<Handle>,
        reply: oneshot::Sender<Started>,
    },
    Attach {
        additions: Additions,
        process: OwnedFd,
        reply: oneshot::Sender<io::Result<()>>,
    },
    Forward {
        addresses: Vec<SocketAddr>,
        lease: Arc<Lease>,
        reply: oneshot::Sender<io::Result<Vec<OwnedFd>>>,
    },
}

impl Job {
    /// Whether nobody wants its outcome any more.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Start { reply, .. } => reply.is_closed(),
            Self::Attach { reply, .. } => reply.is_closed(),
            Self::Forward { reply, .. } => reply.is_closed(),
        }
    }
}

/// Keeps the thread alive: held by every launcher and every process.
#[derive(Debug)]
pub(crate) struct Handle {
    desk: Arc<Desk>,
    places: Arc<Semaphore>,
}

impl Handle {
    /// A place in the queue; none if the thread is gone.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

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

/// What every child needs.
#[derive(Debug)]
struct Around {
    null: File,
    /// The thread that starts children, once it runs.
    server: OnceCell<OwnedFd>,
    /// Over which children hand listeners to the server.
    hand: (OwnedFd, OwnedFd),
    networks: Arc<Networks>,
    /// The user namespace that networks belong to, once there is one.
    owner: OnceCell<OwnedFd>,
    watchdog: Watchdog,
}

impl Around {
    /// This thread. Before Linux 6.9 there are descriptors of processes only, which can be
    /// read when the last thread has ended.
    fn server(&self) -> io::Result<&OwnedFd> {
        // `PIDFD_THREAD`: the value of O_EXCL.
        const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
        if let Some(server) = self.server.get() {
            return Ok(server);
        }
        let found = match pidfd_open(gettid(), THREAD) {
            Err(Errno::INVAL) => pidfd_open(getpid(), PidfdFlags::empty()),
            found => found,
        };
        let found = found?;
        Ok(self.server.get_or_init(|| found))
    }

    fn owner(&self, stacks: &mut Stacks) -> io::Result<&OwnedFd> {
        if let Some(owner) = self.owner.get() {
            return Ok(owner);
        }
        let made = network::owner(&mut stacks.errand)?;
        Ok(self.owner.get_or_init(|| made))
    }

    /// A way into a network of its own for the next process, for one that sees it a new one.
    fn entrance(&self, stacks: &mut Stacks, port: u16, sees_it: bool) -> io::Result<Entrance<'_>> {
        let owner = self.owner(stacks)?;
        let kept = if sees_it { None } else { self.networks.take() };
        Ok(Entrance::new(owner.as_fd(), kept, port))
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
    /// At most `QUEUE`, for each holds a place.
    jobs: VecDeque<(OwnedSemaphorePermit, Job)>,
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

    fn submit(&self, place: OwnedSemaphorePermit, job: Job) {
        self.lock().jobs.push_back((place, job));
        self.bell.notify_one();
    }

    fn run(&self, around: &Around, mut stacks: Stacks) {
        while let Some((_place, job)) = self.next_job() {
            if job.is_given_up() {
                continue;
            }
            match job {
                Job::Start {
                    plan,
                    control,
                    keep_alive,
                    reply,
                } => {
                    // An answer that nobody takes is dropped, and its process with it.
                    let started = around
                        .watchdog
                        .during(|| start(&mut stacks, around, &plan, &control, keep_alive));
                    let _ = reply.send(started);
                }
                Job::Attach {
                    additions,
                    process,
                    reply,
                } => {
                    let done = around.watchdog.during(|| {
                        child::errand(&mut stacks.errand, 0, &|| additions.attach(process.as_fd()))
                    });
                    let _ = reply.send(done);
                }
                Job::Forward {
                    addresses,
                    lease,
                    reply,
                } => {
                    let made = around.watchdog.during(|| {
                        let owner = around.owner(&mut stacks)?;
                        lease.forward(&mut stacks.errand, owner.as_fd(), &addresses)
                    });
                    let _ = reply.send(made);
                }
            }
        }
    }

    /// Waits for a job and reaps meanwhile. None once nobody can send one.
    fn next_job(&self) -> Option<(OwnedSemaphorePermit, Job)> {
        let mut work = self.lock();
        loop {
            work.graves.retain_mut(|leader| leader.try_reap().is_none());
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
    stacks: &mut Stacks,
    around: &Around,
    plan: &Plan,
    control: &OwnedFd,
    handle: Arc<Handle>,
) -> Started {
    let (stdout, out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, err) = pipe_with(PipeFlags::CLOEXEC)?;
    let descriptors = Descriptors {
        stdin: around.null.as_fd(),
        stdout: out.as_fd(),
        stderr: err.as_fd(),
        control: control.as_fd(),
        server: around.server()?.as_fd(),
        hand: around.hand.1.as_fd(),
    };
    let entrance = match plan
        .confinement
        .gateway
        .map(|port| around.entrance(stacks, port, plan.confinement.sees_network))
    {
        Some(Err(source)) => {
            let step = Step::Network;
            return Ok(Err(Failure { step, source }));
        }
        Some(Ok(entrance)) => Some(entrance),
        None => None,
    };
    let started = child::start(stacks, plan, &descriptors, entrance.as_ref());
    // Also of a child that failed afterwards, or the next would be taken for its process.
    let listener = notify::receive(around.hand.0.as_fd());
    let (pid, pidfd) = match started? {
        Ok(started) => started,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut leader = Leader::new(pid, pidfd);
    let mut gateway = None;
    let passed = entrance.map(|entrance| entrance.passed(&around.networks));
    let passed = passed.transpose().map(|passed| {
        if let Some((socket, lease)) = passed {
            leader.lease(lease);
            gateway = Some(socket);
        }
    });
    // Whose network is lost is killed as it is dropped.
    let process = Process::new(leader, stdout, stderr, gateway, handle);
    passed.map(|()| Ok((process, listener)))
}

#[cfg(test)]
mod tests;
