//! What a child does to itself before it becomes the program.
//!
//! The order matters: the private root comes first, while what it is made of can be
//! seen, and the list of system calls last, for it takes away what the others need.
//! Namespaces are asked for with the clone itself. The rules of `child` hold here:
//! system calls only.

use std::convert::Infallible;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::child::{At, Failure};
use crate::error::Step;
use crate::launch::ProcessLimits;
use crate::plan::Plan;
use crate::seccomp::Moment;
use crate::system;

/// Descriptors of the server's that a child uses, by their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    /// They become 0 to 3 of the program.
    pub(crate) given: [RawFd; 4],
    /// Where a listener is handed over. The program does not get it.
    pub(crate) hand: RawFd,
}

/// The number that `hand` has until the program is executed.
const HAND: RawFd = 4;
/// The first number beyond.
const FREE: RawFd = 5;

/// Confines this process and executes the program, by `exec`, which returns only
/// an error. `server` is a descriptor of the server's
/// process, and `places` is where exec finds program, arguments and environment.
pub(crate) fn become_program(
    plan: &Plan,
    numbers: Numbers,
    server: BorrowedFd<'_>,
    places: [u64; 3],
    exec: impl FnOnce() -> io::Error,
) -> Result<Infallible, Failure> {
    // SIGKILL when the thread that spawned us ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::DeathSignal)?;
    check_server(server).at(Step::Parent)?;
    let confinement = &plan.confinement;
    // A group to be killed as one, which no terminal sends signals to. Not a session:
    // schedulers that share the processors among sessions would give each worker as much
    // as the whole server, which then answers late (docs/decisions/0016-sandbox.md).
    rustix::process::setpgid(None, None).at(Step::Group)?;
    system::leave_terminal();
    rustix::thread::set_no_new_privs(true).at(Step::Privileges)?;
    if let Some(root) = &confinement.root {
        // Another host's name tells nothing.
        rustix::system::sethostname(b"worker").at(Step::Root)?;
        root.enter()
            .map_err(|(step, source)| Failure { step, source })?;
    }
    confine(plan, numbers)?;
    if confinement.is_there {
        system::drop_capabilities().at(Step::Capabilities)?;
    }
    if let Some(rules) = &confinement.rules {
        rules.enforce().at(Step::Landlock)?;
    }
    if let Some(filter) = &confinement.filter {
        let moment = Moment {
            pid: rustix::process::getpid()
                .as_raw_nonzero()
                .get()
                .cast_unsigned(),
            exec: places,
        };
        let hand = confinement.broker.map(|_| hand());
        filter.enforce(moment, hand).at(Step::Calls)?;
    }
    // Not before the listener is handed over: whoever sends a descriptor is measured, by
    // this limit, against all that processes of its user have on their way. Apps could keep
    // others from starting.
    lower(Resource::Nofile, Some(plan.limits.open_files)).at(Step::Limits)?;
    Err(exec()).at(Step::Exec)
}

/// The launcher's thread may have died before the death signal was asked for, and then no
/// signal will come. A process of another namespace cannot see its parent's number,
/// but a descriptor of a thread can be read once that has ended.
fn check_server(server: BorrowedFd<'_>) -> io::Result<()> {
    let mut look = [PollFd::from_borrowed_fd(server, PollFlags::IN)];
    match rustix::event::poll(&mut look, Some(&Timespec::default()))? {
        0 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Gives up everything that the program shall not have.
fn confine(plan: &Plan, numbers: Numbers) -> Result<(), Failure> {
    place_descriptors(numbers).at(Step::Descriptors)?;
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

/// Leaves exactly these, as 0 to 3 and `HAND`.
#[expect(
    unsafe_code,
    reason = "rustix cannot place descriptors at given numbers"
)]
fn place_descriptors(numbers: Numbers) -> io::Result<()> {
    let Numbers {
        given: [stdin, stdout, stderr, control],
        hand,
    } = numbers;
    let mut from = [stdin, stdout, stderr, control, hand];
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
        from.iter().zip(0..).all(|(&from, to)| {
            let flags = if to == HAND { libc::O_CLOEXEC } else { 0 };
            libc::dup3(from, to, flags) == to
        }) && libc::syscall(libc::SYS_close_range, FREE, libc::c_uint::MAX, 0) == 0
    };
    if placed {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Where a listener is handed over.
#[expect(unsafe_code, reason = "it is known by its number")]
fn hand() -> BorrowedFd<'static> {
    // SAFETY: `place_descriptors` put it there, and it stays until the exec.
    unsafe { BorrowedFd::borrow_raw(HAND) }
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

/// All but that of open files.
fn set_limits(limits: &ProcessLimits) -> io::Result<()> {
    lower(Resource::Core, Some(0))?;
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
