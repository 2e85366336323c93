//! The start of a child that shares the server's memory until it executes its
//! program, as `posix_spawn` does it: nothing is copied, whatever the server's size.
//!
//! Between clone and exec the child may be killed at any instruction, and the
//! server must not notice. So it allocates nothing, takes no lock, drops nothing
//! that owns something of the server's, and only makes system calls.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::Step;
use crate::guard;
use crate::layers;
use crate::plan::Plan;
use crate::root::Additions;

/// Bytes of stack; a child needs a few hundred.
const STACK: usize = 64 << 10;

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
    /// Of the server's process; the program does not get it.
    pub(crate) server: BorrowedFd<'a>,
}

/// The stack of one child at a time.
#[derive(Debug)]
pub(crate) struct Stack(Vec<u128>);

impl Stack {
    pub(crate) fn new() -> Self {
        Self(vec![0; STACK / size_of::<u128>()])
    }

    /// One past its end, from where it grows down. Aligned to 16 bytes.
    fn top(&mut self) -> *mut c_void {
        self.0.as_mut_ptr_range().end.cast()
    }
}

/// What the child is given. It stays in the server's thread, which waits.
struct Brief<'a> {
    plan: &'a Plan,
    numbers: [RawFd; 4],
    server: BorrowedFd<'a>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// 0 unless a step failed.
    step: AtomicU8,
    errno: AtomicI32,
}

/// Starts a child and returns when it executes the program: its pid and a
/// descriptor of it. The inner error is a step's, and no child is left then.
#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
pub(crate) fn start(
    stack: &mut Stack,
    plan: &Plan,
    descriptors: &Descriptors<'_>,
) -> io::Result<Result<(Pid, OwnedFd), Failure>> {
    let brief = Brief {
        plan,
        numbers: [
            descriptors.stdin.as_raw_fd(),
            descriptors.stdout.as_raw_fd(),
            descriptors.stderr.as_raw_fd(),
            descriptors.control.as_raw_fd(),
        ],
        server: descriptors.server,
        argv: pointers(&plan.args),
        envp: pointers(&plan.env),
        step: AtomicU8::new(0),
        errno: AtomicI32::new(0),
    };
    let was_closed = guard::is_closed();
    let argument: *const Brief<'_> = &raw const brief;
    // SAFETY: `brief` and what it borrows live until the call returns, and `child`
    // keeps to the rules at the top of this file.
    let cloned = unsafe {
        clone(
            stack,
            plan.confinement.namespaces,
            child,
            argument.cast_mut().cast(),
        )
    };
    if was_closed {
        // A child that was killed may have left it open (`Root::enter`).
        guard::set_closed(true)?;
    }
    let (pid, pidfd) = cloned?;
    match Step::from_byte(brief.step.load(Ordering::Acquire)) {
        None => Ok(Ok((pid, pidfd))),
        Some(step) => {
            reap(&pidfd);
            let source = io::Error::from_raw_os_error(brief.errno.load(Ordering::Acquire));
            Ok(Err(Failure { step, source }))
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

/// Starts a child in new `namespaces` that runs `function`; returns when it executes a
/// program or ends.
///
/// # Safety
/// `argument` must be what `function` wants until then, and `function` must keep to
/// the rules at the top of this file.
#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
unsafe fn clone(
    stack: &mut Stack,
    namespaces: c_int,
    function: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> io::Result<(Pid, OwnedFd)> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // A handler of the server's must not run in the child: it would act on the
    // server's memory.
    let mask = block_signals()?;
    // SAFETY: the stack is large enough, aligned, and nobody else's until the call
    // returns, which CLONE_VFORK delays until the child has executed its program or
    // ended; the rest is the caller's promise. `pidfd` is where CLONE_PIDFD wants to
    // write.
    let pid = unsafe {
        libc::clone(
            function,
            stack.top(),
            flags | namespaces,
            argument,
            &raw mut pidfd,
        )
    };
    let cloned = io::Error::last_os_error();
    restore_signals(&mask);
    let pid = Pid::from_raw(pid.max(0)).ok_or(cloned)?;
    // SAFETY: the kernel made this descriptor for us right above.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// What a child is given that shows `process` more files.
struct Errand<'a> {
    additions: &'a Additions,
    process: BorrowedFd<'a>,
    /// 0 if all went well.
    errno: AtomicI32,
}

/// Shows a running process more files, by a child that enters its namespaces.
#[expect(unsafe_code, reason = "a child that shares memory is made by hand")]
pub(crate) fn attach(
    stack: &mut Stack,
    additions: &Additions,
    process: BorrowedFd<'_>,
) -> io::Result<()> {
    let errand = Errand {
        additions,
        process,
        // Unless it says otherwise it was killed.
        errno: AtomicI32::new(libc::EIO),
    };
    let argument: *const Errand<'_> = &raw const errand;
    // SAFETY: `errand` lives until the call returns, and `on_errand` keeps to the rules.
    let (_, child) = unsafe { clone(stack, 0, on_errand, argument.cast_mut().cast()) }?;
    reap(&child);
    match errand.errno.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// What runs in such a child.
#[expect(unsafe_code, reason = "the argument of a clone is untyped")]
extern "C" fn on_errand(argument: *mut c_void) -> c_int {
    // SAFETY: `attach` gives an `Errand` that outlives the child's use of it.
    let errand = unsafe { &*argument.cast::<Errand<'_>>() };
    let errno = match errand.additions.attach(errand.process) {
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
    let errno = failure.source.raw_os_error().unwrap_or(libc::EIO);
    brief.errno.store(errno, Ordering::Release);
    brief.step.store(failure.step as u8, Ordering::Release);
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
