//! What the launcher does to itself before it becomes the program.
//!
//! This is the base layer. The stronger ones (Landlock, seccomp, namespaces)
//! belong at the end of [`confine`], after the steps which need rights that
//! they take away and before exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::entry::{At, Failure};
use crate::error::Step;
use crate::launch::ProcessLimits;
use crate::wire::Plan;

/// Where the program finds its control channel.
const CONTROL: RawFd = 3;
/// Where the launch channel waits to be closed by exec.
const CHANNEL: RawFd = 4;

/// The launch channel: first stdin, then moved out of the program's way.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Takes over descriptor 0, as which the launcher inherits its channel.
    #[expect(
        unsafe_code,
        reason = "an inherited descriptor is known by number only"
    )]
    pub(crate) fn inherited() -> Self {
        // SAFETY: this runs first in a process that does nothing else, so
        // nobody else owns descriptor 0. If it is closed, which no server of
        // ours leaves it, its first use fails with EBADF.
        Self(unsafe { OwnedFd::from_raw_fd(0) })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Asks for SIGKILL when the thread that spawned us ends.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::DeathSignal)
}

/// The server may have died before [`die_with_parent`] took effect; then we
/// have another parent by now and no signal will come.
pub(crate) fn check_parent(expected: u64) -> Result<(), Failure> {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if u64::try_from(parent).is_ok_and(|parent| parent == expected) {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::ESRCH)).at(Step::Parent)
}

/// Gives up everything that the program shall not have.
pub(crate) fn confine(plan: &Plan, control: OwnedFd, channel: &mut Channel) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Session)?;
    rustix::thread::set_no_new_privs(true).at(Step::Privileges)?;
    place_descriptors(control, channel).at(Step::Descriptors)?;
    reset_signals().at(Step::Signals)?;
    set_limits(&plan.limits).at(Step::Limits)?;
    if plan.nice != 0 {
        rustix::process::setpriority_process(None::<Pid>, plan.nice).at(Step::Nice)?;
    }
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir(plan.cwd.as_c_str()).at(Step::Directory)
}

/// Leaves exactly: 0 `/dev/null`, 1 and 2 as they are, 3 the control channel,
/// and 4 the launch channel, which exec closes.
#[expect(
    unsafe_code,
    reason = "rustix cannot place descriptors at given numbers"
)]
fn place_descriptors(control: OwnedFd, channel: &mut Channel) -> io::Result<()> {
    let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // Out of the way first: any of them may sit at a number that we are about
    // to overwrite. The originals are closed here, by their owners; from then
    // on there are numbers only, so that nothing is closed twice.
    let clear = CHANNEL + 1;
    let (null, control) = {
        let from = (null, control);
        (
            fcntl_dupfd_cloexec(&from.0, clear)?.into_raw_fd(),
            fcntl_dupfd_cloexec(&from.1, clear)?.into_raw_fd(),
        )
    };
    let moved = fcntl_dupfd_cloexec(&channel.0, clear)?.into_raw_fd();
    // SAFETY: plain system calls on numbers. The process has one thread, and
    // the one owned descriptor left is `channel`, replaced right below without
    // closing.
    let placed = unsafe {
        libc::dup2(null, 0) == 0
            && libc::dup2(control, CONTROL) == CONTROL
            && libc::dup3(moved, CHANNEL, libc::O_CLOEXEC) == CHANNEL
            && libc::syscall(libc::SYS_close_range, CHANNEL + 1, libc::c_uint::MAX, 0) == 0
    };
    if !placed {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: descriptor 4 was made right above and has no other owner.
    let there = unsafe { OwnedFd::from_raw_fd(CHANNEL) };
    std::mem::forget(std::mem::replace(&mut channel.0, there));
    Ok(())
}

/// Exec keeps ignored signals and the mask; the program shall see defaults.
#[expect(unsafe_code, reason = "rustix has no signal dispositions")]
fn reset_signals() -> io::Result<()> {
    // The kernel's own action: the default handler, no flags, an empty mask.
    // The C library's call would refuse signals 32 and 33.
    let default = [0_u64; 4];
    // SAFETY: `default` is at least as large as the kernel's structure and all
    // zeros are valid in it; `none` is initialised by sigemptyset before use.
    // The process has one thread and no handler that it still relies on.
    unsafe {
        for signal in 1..=64 {
            let old = std::ptr::null_mut::<u64>();
            // KILL and STOP cannot be changed, nor need to be.
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, 8);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn set_limits(limits: &ProcessLimits) -> io::Result<()> {
    lower(Resource::Core, Some(0))?;
    lower(Resource::Nofile, Some(limits.open_files))?;
    lower(Resource::Fsize, limits.file_size)?;
    lower(Resource::Data, limits.data)
}

/// Sets soft and hard limit; the hard one never above what it is, which would
/// need privileges.
fn lower(resource: Resource, limit: Option<u64>) -> io::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let most = rustix::process::getrlimit(resource).maximum;
    let limit = Some(most.map_or(limit, |most| limit.min(most)));
    let new = Rlimit {
        current: limit,
        maximum: limit,
    };
    Ok(rustix::process::setrlimit(resource, new)?)
}

/// Becomes the program. Returns only if that failed.
#[expect(
    unsafe_code,
    reason = "exec with a given environment and no shell behind it"
)]
pub(crate) fn exec(plan: &Plan) -> Result<Infallible, Failure> {
    let pointers = |first: Option<&CString>, rest: &[CString]| {
        let mut list: Vec<_> = first.into_iter().chain(rest).map(|s| s.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let argv = pointers(Some(&plan.program), &plan.args);
    let envp = pointers(None, &plan.env);
    // SAFETY: all three are NUL-terminated, the lists end with a null pointer,
    // and `plan` outlives the call. Unlike execvp, execve never falls back to a
    // shell for a file that is no program.
    unsafe {
        libc::execve(plan.program.as_ptr(), argv.as_ptr(), envp.as_ptr());
    }
    Err(io::Error::last_os_error()).at(Step::Exec)
}
