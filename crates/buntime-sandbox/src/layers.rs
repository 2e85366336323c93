//! What a child does to itself before it becomes the program.
//!
//! This is the base layer. The stronger ones (Landlock, seccomp, namespaces)
//! belong at the end of [`confine`], after the steps which need rights that
//! they take away and before exec. The rules of `child` hold here: system calls
//! only. Namespaces of users are asked for with the clone itself.

use std::convert::Infallible;
use std::io;
use std::os::fd::RawFd;

use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::child::{At, Failure};
use crate::error::Step;
use crate::launch::ProcessLimits;
use crate::plan::Plan;

/// The first number beyond the descriptors that the program gets.
const FREE: RawFd = 4;

/// Confines this process and executes the program, by `exec`, which returns only
/// an error. `descriptors` become 0 to 3.
pub(crate) fn become_program(
    plan: &Plan,
    descriptors: [RawFd; 4],
    exec: impl FnOnce() -> io::Error,
) -> Result<Infallible, Failure> {
    // SIGKILL when the thread that spawned us ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::DeathSignal)?;
    check_parent(plan.parent)?;
    confine(plan, descriptors)?;
    Err(exec()).at(Step::Exec)
}

/// The server may have died before the death signal was asked for; then we have
/// another parent by now and no signal will come.
fn check_parent(expected: u32) -> Result<(), Failure> {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if u32::try_from(parent).is_ok_and(|parent| parent == expected) {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::ESRCH)).at(Step::Parent)
}

/// Gives up everything that the program shall not have.
fn confine(plan: &Plan, descriptors: [RawFd; 4]) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Session)?;
    rustix::thread::set_no_new_privs(true).at(Step::Privileges)?;
    place_descriptors(descriptors).at(Step::Descriptors)?;
    reset_signals().at(Step::Signals)?;
    set_limits(&plan.limits).at(Step::Limits)?;
    if plan.nice != 0 {
        let inherited = rustix::process::getpriority_process(None::<Pid>).at(Step::Nice)?;
        rustix::process::setpriority_process(None::<Pid>, inherited + plan.nice).at(Step::Nice)?;
    }
    run_in_batches();
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir(plan.cwd.as_c_str()).at(Step::Directory)
}

/// Leaves exactly these, as 0 to 3.
#[expect(
    unsafe_code,
    reason = "rustix cannot place descriptors at given numbers"
)]
fn place_descriptors(descriptors: [RawFd; 4]) -> io::Result<()> {
    let mut from = descriptors;
    // SAFETY: plain system calls on numbers, in a table of descriptors that is this
    // process's own.
    let placed = unsafe {
        // Out of the way first: any of them may sit at a number that is about to be
        // overwritten.
        for number in &mut from {
            if *number < FREE {
                *number = libc::fcntl(*number, libc::F_DUPFD_CLOEXEC, FREE);
            }
        }
        from.iter()
            .zip(0..)
            .all(|(&from, to)| libc::dup2(from, to) == to)
            && libc::syscall(libc::SYS_close_range, FREE, libc::c_uint::MAX, 0) == 0
    };
    if placed {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// A program that is sent something waits for its sender's slice to end instead
/// of taking the processor at once, so that it finds several requests when it
/// wakes. Where the system refuses, programs run as others do.
#[expect(unsafe_code, reason = "rustix has no scheduling policies")]
fn run_in_batches() {
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads one integer, all that its `sched_param` is.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_BATCH,
            &raw const priority,
        );
    }
}

/// Exec keeps ignored signals and the mask; the program shall see defaults.
#[expect(unsafe_code, reason = "rustix has no signal dispositions")]
fn reset_signals() -> io::Result<()> {
    // The kernel's own action: the default handler, no flags, an empty mask.
    // The C library's call would refuse signals 32 and 33.
    let default = [0_u64; 4];
    // SAFETY: `default` is at least as large as the kernel's structure and all
    // zeros are valid in it; `none` is initialised by sigemptyset before use.
    // The handlers are this process's own, copied by the clone.
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
