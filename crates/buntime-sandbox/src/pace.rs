//! How much processor time a running process takes, and how to hold it back.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use crate::process::Process;

/// A second hold on a process, for whoever watches what it uses.
#[derive(Debug)]
pub struct Pace {
    pid: u32,
    pidfd: OwnedFd,
}

impl Process {
    /// Takes hold of the process to watch it.
    ///
    /// # Errors
    /// It was reaped, or there is no descriptor left.
    pub fn pace(&self) -> io::Result<Pace> {
        Ok(Pace {
            pid: self.pid(),
            pidfd: self.pidfd()?,
        })
    }
}

impl Pace {
    /// Processor time of all its threads so far; `None` if it is gone. After it was
    /// reaped it may be that of a stranger.
    #[must_use]
    #[expect(unsafe_code, reason = "rustix has no clocks of other processes")]
    pub fn processor_time(&self) -> Option<Duration> {
        // The kernel's name for the clock of a process's threads together: the number,
        // inverted, above three bits that say which clock it is.
        const SCHEDULED: libc::clockid_t = 2;
        let pid = libc::clockid_t::try_from(self.pid).ok()?;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes one `timespec`.
        let done = unsafe { libc::clock_gettime((!pid << 3) | SCHEDULED, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        let nanos = u32::try_from(time.tv_nsec).ok()?;
        (done == 0).then(|| Duration::new(seconds, nanos))
    }

    /// Stops it where it stands (SIGSTOP), also as the first process of a namespace.
    pub fn stop(&self) {
        // It fails only if the process is dead already, which is fine.
        let _ = pidfd_send_signal(&self.pidfd, Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
    }
}
