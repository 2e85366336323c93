//! A process that was started, until it is reaped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::broker::Broker;
use crate::launcher::Handle;
use crate::network::Lease;

/// How often to look at a process that cannot be watched.
const UNWATCHED_INTERVAL: Duration = Duration::from_millis(20);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited by itself with this code; -1 if the code was lost because
    /// something else in this server reaped the process.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// The leader of a process group, alive or not yet reaped.
#[derive(Debug)]
pub(crate) struct Leader {
    pid: Pid,
    pidfd: OwnedFd,
    /// Its network, until it is reaped.
    lease: Option<Arc<Lease>>,
}

impl Leader {
    /// Takes hold of a child that nobody has waited for yet.
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        let lease = None;
        Self { pid, pidfd, lease }
    }

    /// Notes the network that it is in.
    pub(crate) fn lease(&mut self, lease: Lease) {
        self.lease = Some(Arc::new(lease));
    }

    fn signal(&self, signal: Signal) {
        // It fails only if the process is dead already, which is fine.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Kills the leader and its group. The leader is unreaped for as long as
    /// this value lives outside of a reaped `Process`, so the group's number
    /// cannot have passed to somebody else.
    fn kill(&self) {
        self.signal(Signal::KILL);
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// Reaps the leader if it is dead, and whatever its group left running
    /// dies first: afterwards the group's number is no longer ours to use.
    pub(crate) fn try_reap(&mut self) -> Option<Exit> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let id = || WaitId::PidFd(self.pidfd.as_fd());
        match waitid(id(), look | WaitIdOptions::NOWAIT) {
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::INTR) => return None,
            Err(_) => return Some(Exit::Code(-1)),
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let Ok(Some(status)) = waitid(id(), look) else {
            return Some(Exit::Code(-1));
        };
        // Who has a network is the first of its process namespace, and the others in
        // that are dead and reaped before it can be.
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Code(-1),
        })
    }
}

/// A running process and its output. Dropping it kills the process with its
/// group; the launcher's thread reaps it then.
pub struct Process {
    pid: u32,
    /// Invariant: present exactly until the process is reaped.
    leader: Option<Leader>,
    exit: Exit,
    handle: Arc<Handle>,
    /// Who answers for its connections, if the server makes them. Gone when it is reaped.
    pub(crate) broker: Option<Broker>,
    /// What it writes to its standard output; take it to read it.
    pub stdout: Option<OwnedFd>,
    /// What it writes to its standard error; take it to read it.
    pub stderr: Option<OwnedFd>,
    /// The socket that listens in its network, for [`Net::Gateway`](crate::Net::Gateway),
    /// non-blocking; take it to accept on it. It is shut down when the process is reaped:
    /// accepting fails from then on. Connections that were accepted go on until they are
    /// closed.
    pub gateway: Option<OwnedFd>,
}

impl Process {
    pub(crate) fn new(
        leader: Leader,
        stdout: OwnedFd,
        stderr: OwnedFd,
        gateway: Option<OwnedFd>,
        handle: Arc<Handle>,
    ) -> Self {
        Self {
            pid: leader.pid.as_raw_nonzero().get().unsigned_abs(),
            leader: Some(leader),
            exit: Exit::Code(-1),
            handle,
            broker: None,
            stdout: Some(stdout),
            stderr: Some(stderr),
            gateway,
        }
    }

    /// Its process id, also the id of its group. For people and
    /// logs: after the process is reaped it may belong to another.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor of its own for the process.
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        self.leader.as_ref().ok_or_else(gone)?.pidfd.try_clone()
    }

    /// The network that it is in, if that is its own.
    pub(crate) fn lease(&self) -> Option<Arc<Lease>> {
        self.leader.as_ref()?.lease.clone()
    }

    /// Kills the process and its whole group, at once. Does nothing once it is
    /// reaped.
    pub fn kill(&self) {
        if let Some(leader) = &self.leader {
            leader.kill();
        }
    }

    /// Asks the process, not its group, to end (SIGTERM).
    pub fn terminate(&self) {
        if let Some(leader) = &self.leader {
            leader.signal(Signal::TERM);
        }
    }

    /// Waits until the process has ended, reaps it and kills what is left of
    /// its group. May be dropped and called again; later calls return the same
    /// answer. Call it within a tokio runtime with I/O and time enabled.
    pub async fn wait(&mut self) -> Exit {
        while let Some(leader) = &mut self.leader {
            if let Some(exit) = leader.try_reap() {
                self.exit = exit;
                self.leader = None;
                self.broker = None;
                break;
            }
            leader.ended().await;
        }
        self.exit
    }
}

impl Leader {
    /// Returns when the process has ended, or perhaps earlier.
    #[expect(
        unsafe_code,
        reason = "registering a descriptor is a promise to keep it open"
    )]
    async fn ended(&self) {
        // SAFETY: a borrowed descriptor is one number for as long as it is
        // borrowed, and the borrow keeps it open beyond the registration.
        let watch =
            unsafe { AsyncFd::register_with_interest(self.pidfd.as_fd(), Interest::READABLE) };
        match watch {
            Ok(watch) => drop(watch.readable().await),
            // The system has no watch to give (a limit of epoll): look again.
            Err(_) => tokio::time::sleep(UNWATCHED_INTERVAL).await,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.take() {
            leader.kill();
            self.handle.bury(leader);
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .field("reaped", &self.leader.is_none())
            .finish_non_exhaustive()
    }
}
