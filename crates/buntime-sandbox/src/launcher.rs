//! The server's side: one thread that spawns, and what it hands back.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot};

use crate::entry;
use crate::error::{SpawnError, Step};
use crate::launch::Launch;
use crate::process::{Leader, Process};
use crate::wire;

/// How long a launcher may take from spawn to exec. Typical is 3 ms; only a
/// machine that is out of everything needs more than a second.
const EXEC_DEADLINE: Duration = Duration::from_secs(10);

/// Launches that wait for the thread at once; more wait before the queue.
const QUEUE: usize = 64;

/// How often killed processes that nobody waits for are looked at.
const REAP_INTERVAL: Duration = Duration::from_millis(5);

/// Does the launch and never returns if this process was started as a
/// launcher; else returns at once. Call it first in `main`, before threads or
/// a runtime exist.
pub fn main_if_launcher() {
    let argv0 = std::env::args_os().next();
    if entry::is_launcher(argv0.as_deref()) {
        entry::run();
    }
}

/// How to launch.
#[derive(Debug, Clone)]
pub struct LauncherConfig {
    /// A program whose `main` calls [`main_if_launcher`].
    pub launcher_program: PathBuf,
}

impl Default for LauncherConfig {
    /// This very program, also if its file was replaced meanwhile.
    fn default() -> Self {
        Self {
            launcher_program: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// Starts processes. Cheap to clone; the thread behind it ends when all clones
/// and all processes started by it are gone.
#[derive(Debug, Clone)]
pub struct Launcher {
    handle: Arc<Handle>,
    program: Arc<Path>,
}

impl Launcher {
    /// Starts the spawning thread.
    ///
    /// # Errors
    /// If the system has no thread left to give.
    pub fn start(config: LauncherConfig) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let worker = Arc::clone(&desk);
        std::thread::Builder::new()
            .name("launcher".into())
            .stack_size(256 << 10)
            .spawn(move || worker.run())?;
        Ok(Self {
            handle: Arc::new(Handle {
                desk,
                places: Semaphore::new(QUEUE),
            }),
            program: config.launcher_program.into(),
        })
    }

    /// Starts a process; returns once it executes its program. Dropping the
    /// future leaves no process behind.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, launch: Launch) -> Result<Process, SpawnError> {
        let description =
            wire::encode(&launch, std::process::id()).map_err(|reason| SpawnError::Invalid {
                program: launch.program.clone(),
                reason,
            })?;
        let Launch {
            program,
            cwd,
            control,
            ..
        } = launch;
        let started = self.start_launcher(control).await?;
        let hear = converse(started.channel, &description);
        match tokio::time::timeout(EXEC_DEADLINE, hear).await {
            Err(_) => Err(SpawnError::Timeout { program }),
            Ok(Err(source)) => Err(SpawnError::Channel { program, source }),
            Ok(Ok(Outcome::Executed)) => Ok(started.process),
            Ok(Ok(Outcome::Failed(step, source))) => Err(SpawnError::Step {
                step,
                path: if step == Step::Directory {
                    cwd
                } else {
                    program
                },
                source,
            }),
            Ok(Ok(Outcome::Silent)) => Err(SpawnError::LauncherDied { program }),
        }
    }

    async fn start_launcher(&self, control: OwnedFd) -> Result<Started, SpawnError> {
        let stopped = |_| SpawnError::Stopped;
        let _place = self
            .handle
            .places
            .acquire()
            .await
            .map_err(|_| SpawnError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.handle.desk.submit(Job {
            launcher: Arc::clone(&self.program),
            control,
            keep_alive: Arc::clone(&self.handle),
            reply,
        });
        let started = answer.await.map_err(stopped)?;
        started.map_err(|source| SpawnError::Launcher {
            launcher: self.program.to_path_buf(),
            source,
        })
    }
}

/// What the launcher said, and then closed the channel.
enum Outcome {
    Executed,
    Failed(Step, io::Error),
    Silent,
}

/// Sends the description and hears how it went.
async fn converse(channel: UnixStream, description: &[u8]) -> io::Result<Outcome> {
    channel.set_nonblocking(true)?;
    let mut channel = tokio::net::UnixStream::from_std(channel)?;
    // A launcher that fails early stops reading; what it has to say counts.
    let _ = channel.write_all(description).await;
    let mut report = Vec::new();
    if let Err(error) = channel.take(16).read_to_end(&mut report).await
        && error.kind() != io::ErrorKind::ConnectionReset
    {
        return Err(error);
    }
    Ok(match report.as_slice() {
        [entry::MARK] => Outcome::Executed,
        [entry::MARK, failure @ ..] | failure => match failed(failure) {
            Some((step, source)) => Outcome::Failed(step, source),
            None => Outcome::Silent,
        },
    })
}

fn failed(report: &[u8]) -> Option<(Step, io::Error)> {
    let (step, errno) = report.split_first()?;
    let errno = i32::from_le_bytes(errno.try_into().ok()?);
    let source = match errno {
        0 => io::Error::from(io::ErrorKind::InvalidData),
        errno => io::Error::from_raw_os_error(errno),
    };
    Some((Step::from_byte(*step)?, source))
}

/// A launcher that runs, and the channel on which it waits.
struct Started {
    process: Process,
    channel: UnixStream,
}

struct Job {
    launcher: Arc<Path>,
    control: OwnedFd,
    keep_alive: Arc<Handle>,
    reply: oneshot::Sender<io::Result<Started>>,
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

    fn run(&self) {
        while let Some(job) = self.next_job() {
            if job.reply.is_closed() {
                continue;
            }
            // An answer that nobody takes is dropped, and its process with it.
            let _ = job
                .reply
                .send(start(&job.launcher, job.control, job.keep_alive));
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

/// Spawns one launcher and gives it its control descriptor.
fn start(launcher: &Path, control: OwnedFd, handle: Arc<Handle>) -> io::Result<Started> {
    let (channel, theirs) = UnixStream::pair()?;
    send_control(&channel, control)?;
    // Without a hook before exec this is posix_spawn. The command holds
    // `theirs` and must go, or the channel would never end.
    let mut child = {
        let mut command = Command::new(launcher);
        command
            .arg0(OsStr::new(entry::NAME))
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn()?
    };
    let leader = match Leader::of(&child) {
        Ok(leader) => leader,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    Ok(Started {
        process: Process::new(leader, stdout, stderr, handle),
        channel,
    })
}

fn send_control(channel: &UnixStream, control: OwnedFd) -> io::Result<()> {
    let descriptors = [control.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        channel,
        &[IoSlice::new(b"C")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
