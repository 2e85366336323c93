//! The start of a child that shares the server's memory until it executes its
//! program, as `posix_spawn` does it: nothing is copied, whatever the server's size.
//!
//! Between clone and exec the child may be killed at any instruction, and the
//! server must not notice. So it allocates nothing, takes no lock, drops nothing
//! that owns something of the server's, and only makes system calls.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::error::Step;
use crate::guard;
use crate::layers::{self, Numbers};
use crate::network::Entrance;
use crate::plan::Plan;
use crate::stack::{Birth, Stack, Stacks};

/// A step that failed, and what the system answered.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

/// Names the step in which an error happened.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step,
            source: error.into(),
        })
    }
}

/// What the program finds as descriptors 0 to 3.
#[derive(Debug)]
pub(crate) struct Descriptors<'a> {
    pub(crate) stdin: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    pub(crate) control: BorrowedFd<'a>,
    /// Of the launcher's thread; the program does not get it.
    pub(crate) server: BorrowedFd<'a>,
    /// Where a listener is handed over; the program does not get it.
    pub(crate) hand: BorrowedFd<'a>,
}

/// What the child is given. It stays in the server's thread, which waits.
struct Brief<'a> {
    plan: &'a Plan,
    numbers: Numbers,
    server: BorrowedFd<'a>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// 0 unless a step failed.
    step: AtomicU8,
    errno: AtomicI32,
}

impl<'a> Brief<'a> {
    fn new(plan: &'a Plan, descriptors: &Descriptors<'a>) -> Self {
        Self {
            plan,
            numbers: Numbers {
                given: [
                    descriptors.stdin.as_raw_fd(),
                    descriptors.stdout.as_raw_fd(),
                    descriptors.stderr.as_raw_fd(),
                    descriptors.control.as_raw_fd(),
                ],
                hand: descriptors.hand.as_raw_fd(),
            },
            server: descriptors.server,
            argv: pointers(&plan.args),
            envp: pointers(&plan.env),
            step: AtomicU8::new(0),
            errno: AtomicI32::new(0),
        }
    }

    fn fail(&self, failure: &Failure) {
        let errno = failure.source.raw_os_error().unwrap_or(libc::EIO);
        self.errno.store(errno, Ordering::Release);
        self.step.store(failure.step as u8, Ordering::Release);
    }

    fn failure(&self) -> Option<Failure> {
        let step = Step::from_byte(self.step.load(Ordering::Acquire))?;
        let source = io::Error::from_raw_os_error(self.errno.load(Ordering::Acquire));
        Some(Failure { step, source })
    }
}

/// Starts a child and returns when it executes the program: its pid and a
/// descriptor of it. The inner error is a step's, and no child is left then.
///
/// A child that is to be in a network of its own is made by another, which goes there
/// first, so that the program has no rights over the network.
pub(crate) fn start(
    stacks: &mut Stacks,
    plan: &Plan,
    descriptors: &Descriptors<'_>,
    entrance: Option<&Entrance<'_>>,
) -> io::Result<Result<(Pid, OwnedFd), Failure>> {
    guard::keep(|| make(stacks, plan, descriptors, entrance))
}

#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
fn make(
    stacks: &mut Stacks,
    plan: &Plan,
    descriptors: &Descriptors<'_>,
    entrance: Option<&Entrance<'_>>,
) -> io::Result<Result<(Pid, OwnedFd), Failure>> {
    let brief = Brief::new(plan, descriptors);
    let argument: *const Brief<'_> = &raw const brief;
    let Stacks { program, errand } = stacks;
    let (top, birth) = (program.top(), program.birth());
    let clone = |more: c_int| {
        let flags = plan.confinement.namespaces | more;
        // SAFETY: `brief` and what it borrows live until the child has executed its
        // program or is reaped, which is waited for below, and `child` keeps to the rules
        // at the top of this file. The stack is nobody else's.
        unsafe { self::clone(top, flags, child, argument.cast_mut().cast(), birth) }
    };
    let made = match entrance {
        None => with_signals_blocked(|| clone(0)),
        Some(entrance) => self::errand(errand, libc::CLONE_FILES, &|| match entrance
            .pass()
            .at(Step::Network)
        {
            Ok(()) => clone(libc::CLONE_PARENT),
            Err(failure) => {
                brief.fail(&failure);
                Ok(())
            }
        }),
    };
    let born = birth.take();
    match (made, brief.failure(), born) {
        (Ok(()), None, Some((Some(pid), pidfd))) => Ok(Ok((pid, pidfd))),
        (made, failure, born) => {
            if let Some((_, pidfd)) = born {
                // Whoever waited for it may have been killed: it must be gone before its
                // brief is.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                reap(&pidfd);
            }
            made?;
            failure
                .map(Err)
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}

/// Waits for a child that ends by itself, now, and that nobody else knows of.
fn reap(child: &OwnedFd) {
    while matches!(
        waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED),
        Err(rustix::io::Errno::INTR)
    ) {}
}

/// Starts a child in new namespaces (`flags`) that runs `function`; returns when it executes
/// a program or ends. All signals must be blocked: a handler of the server's must not run in
/// the child, for it would act on the server's memory.
///
/// # Safety
/// `top` must be the end of a stack that nobody uses until then, `argument` what `function`
/// wants, and `function` must keep to the rules at the top of this file. This may return
/// early if the caller itself is killed.
#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
unsafe fn clone(
    top: *mut c_void,
    flags: c_int,
    function: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
    birth: &Birth,
) -> io::Result<()> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | flags;
    // SAFETY: the stack is large enough and aligned; the rest is the caller's promise. The
    // atomic is where CLONE_PIDFD wants to write.
    let pid = unsafe { libc::clone(function, top, flags, argument, birth.descriptor()) };
    if pid < 0 {
        let error = io::Error::last_os_error();
        birth.failed();
        return Err(error);
    }
    birth.is(pid);
    Ok(())
}

fn with_signals_blocked<T>(action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mask = block_signals()?;
    let done = action();
    restore_signals(&mask);
    done
}

/// What a child is given that does something else than to become a program.
struct Errand<'a> {
    work: &'a dyn Fn() -> io::Result<()>,
    /// 0 if all went well.
    errno: AtomicI32,
}

/// Has a child do `work`, which must keep to the rules at the top of this file. With
/// `CLONE_FILES` in `flags` the descriptors that it makes are the server's.
#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
pub(crate) fn errand(
    stack: &mut Stack,
    flags: c_int,
    work: &dyn Fn() -> io::Result<()>,
) -> io::Result<()> {
    let errand = Errand {
        work,
        // Unless it says otherwise it was killed.
        errno: AtomicI32::new(libc::EIO),
    };
    let argument: *const Errand<'_> = &raw const errand;
    let (top, birth) = (stack.top(), stack.birth());
    with_signals_blocked(|| {
        let argument = argument.cast_mut().cast();
        // SAFETY: `errand` lives until the call returns, and `on_errand` keeps to the rules.
        unsafe { clone(top, flags, on_errand, argument, birth) }
    })?;
    if let Some((_, child)) = birth.take() {
        reap(&child);
    }
    match errand.errno.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// What runs in such a child.
#[expect(unsafe_code, reason = "the argument of a clone is untyped")]
extern "C" fn on_errand(argument: *mut c_void) -> c_int {
    // SAFETY: `errand` gives an `Errand` that outlives the child's use of it.
    let errand = unsafe { &*argument.cast::<Errand<'_>>() };
    let errno = match (errand.work)() {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    errand.errno.store(errno, Ordering::Release);
    // SAFETY: it ends the child without running anything of the server's.
    unsafe { libc::_exit(0) }
}

/// The list that exec takes.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let texts = texts.iter().map(|text| text.as_ptr());
    texts.chain([ptr::null()]).collect()
}

/// What runs in the child.
#[expect(unsafe_code, reason = "the argument of a clone is untyped")]
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `start` gives a `Brief` that outlives the child's use of it.
    let brief = unsafe { &*argument.cast::<Brief<'_>>() };
    let places = [
        brief.plan.program.as_ptr().addr() as u64,
        brief.argv.as_ptr().addr() as u64,
        brief.envp.as_ptr().addr() as u64,
    ];
    let Err(failure) =
        layers::become_program(brief.plan, brief.numbers, brief.server, places, || {
            exec(brief);
            io::Error::last_os_error()
        });
    brief.fail(&failure);
    // SAFETY: it ends the child without running anything of the server's.
    unsafe { libc::_exit(127) }
}

/// Becomes the program. Returns only if that failed.
#[expect(
    unsafe_code,
    reason = "exec with a given environment and no shell behind it"
)]
fn exec(brief: &Brief<'_>) {
    // SAFETY: all three are NUL-terminated, the lists end with a null pointer, and
    // the texts outlive the call. Unlike execvp, execve never falls back to a shell
    // for a file that is no program.
    unsafe {
        libc::execve(
            brief.plan.program.as_ptr(),
            brief.argv.as_ptr(),
            brief.envp.as_ptr(),
        );
    }
}

/// Blocks all signals of this thread; returns what was blocked before.
#[expect(unsafe_code, reason = "rustix has no signal masks")]
fn block_signals() -> io::Result<libc::sigset_t> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises `all`, and pthread_sigmask `before` if it
    // succeeds, which is checked.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

#[expect(unsafe_code, reason = "rustix has no signal masks")]
fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: both pointers are valid or null. It cannot fail with a mask that was
    // in force before.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut());
    }
}
