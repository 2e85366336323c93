//! What a child that shares the server's memory runs on, and where its birth is noted.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

/// Bytes of stack. The copy of a filter alone takes 6 KB, the rest of a
/// start a few more, and a build without optimisations several times that. Pages that are
/// never touched cost nothing.
const STACK: usize = 256 << 10;

/// The stack of one child at a time. Whoever goes beyond it is killed: what lies below is
/// nobody's memory.
#[derive(Debug)]
pub(crate) struct Stack {
    start: NonNull<c_void>,
    /// With the guard.
    length: usize,
    birth: Arc<Birth>,
}

// SAFETY: the memory is this value's alone, as that of a `Vec`.
#[expect(unsafe_code, reason = "a pointer to memory that is its own")]
unsafe impl Send for Stack {}

impl Stack {
    #[expect(unsafe_code, reason = "memory with a guard is asked of the system")]
    fn new() -> io::Result<Self> {
        let guard = rustix::param::page_size();
        let length = STACK + guard;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: new memory, wherever the system wants it.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        let start = NonNull::new(start).filter(|start| start.as_ptr() != libc::MAP_FAILED);
        let stack = Self {
            start: start.ok_or_else(io::Error::last_os_error)?,
            length,
            birth: Arc::default(),
        };
        let usable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: all but the first page of what was just mapped, which nobody knows yet.
        match unsafe { libc::mprotect(stack.start.as_ptr().byte_add(guard), STACK, usable) } {
            0 => Ok(stack),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// One past its end, from where it grows down. Aligned to a page.
    #[expect(unsafe_code, reason = "the end of memory is found by adding")]
    pub(crate) fn top(&mut self) -> *mut c_void {
        // SAFETY: that many bytes are mapped from there.
        unsafe { self.start.as_ptr().byte_add(self.length) }
    }

    /// Where the birth of the child that runs on it is noted.
    pub(crate) fn birth(&self) -> &Birth {
        &self.birth
    }
}

impl Drop for Stack {
    #[expect(unsafe_code, reason = "the memory was mapped by hand")]
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and no child runs on it: who started one has waited.
        unsafe {
            libc::munmap(self.start.as_ptr(), self.length);
        }
    }
}

/// The stacks of children.
#[derive(Debug)]
pub(crate) struct Stacks {
    pub(crate) program: Stack,
    pub(crate) errand: Stack,
}

impl Stacks {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            program: Stack::new()?,
            errand: Stack::new()?,
        })
    }

    /// Where children will be found, for who may have to kill them.
    pub(crate) fn births(&self) -> [Arc<Birth>; 2] {
        [&self.program, &self.errand].map(|stack| Arc::clone(&stack.birth))
    }
}

/// A child that was made, as the kernel and its maker noted it. Other threads may look
/// while the maker still waits for the child.
#[derive(Debug)]
pub(crate) struct Birth {
    /// 0 until its maker knows it.
    pid: AtomicI32,
    /// A descriptor of it, there before the child runs; -1 if there is none.
    pidfd: AtomicI32,
    /// Held while the descriptor is taken away or used in its place.
    held: Mutex<()>,
}

impl Default for Birth {
    fn default() -> Self {
        Self {
            pid: AtomicI32::new(0),
            pidfd: AtomicI32::new(-1),
            held: Mutex::new(()),
        }
    }
}

impl Birth {
    fn hold(&self) -> MutexGuard<'_, ()> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the kernel writes the descriptor.
    pub(crate) fn descriptor(&self) -> *mut c_int {
        self.pidfd.as_ptr()
    }

    /// Notes the child that was made. Called in a child, perhaps.
    pub(crate) fn is(&self, pid: c_int) {
        self.pid.store(pid, Ordering::Release);
    }

    /// Notes that none was made: the kernel may have written a number already, which is
    /// nobody's. Called in a child, perhaps.
    pub(crate) fn failed(&self) {
        self.pidfd.store(-1, Ordering::Release);
    }

    /// The child, if there is one: to be called when its maker has returned or is dead. The
    /// pid is missing if its maker was killed.
    #[expect(unsafe_code, reason = "the kernel made the descriptor for us")]
    pub(crate) fn take(&self) -> Option<(Option<Pid>, OwnedFd)> {
        let _held = self.hold();
        let number = self.pidfd.swap(-1, Ordering::AcqRel);
        let pid = Pid::from_raw(self.pid.swap(0, Ordering::AcqRel));
        if number < 0 || (pid.is_none() && !is_child(number)) {
            return None;
        }
        // SAFETY: nobody else takes it, and the swap gives it once.
        Some((pid, unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// Kills the child, if there is one that nobody has taken yet.
    #[expect(unsafe_code, reason = "a descriptor that is known by its number")]
    pub(crate) fn kill(&self) {
        let _held = self.hold();
        let number = self.pidfd.load(Ordering::Acquire);
        if number >= 0 {
            // SAFETY: it stays until `take`, which waits. Before the kernel has put it in its
            // place the signal fails, and after a birth that failed as well.
            let child = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = pidfd_send_signal(child, Signal::KILL);
        }
    }
}

/// Whether a number is a descriptor of a child of ours: of a maker that was killed while it
/// made one it is not.
#[expect(unsafe_code, reason = "a descriptor that is known by its number")]
fn is_child(number: c_int) -> bool {
    // SAFETY: if it is none, the kernel says so.
    let child = unsafe { BorrowedFd::borrow_raw(number) };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(child), look).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    /// Uses more stack with each call.
    fn deep(left: usize) -> usize {
        let page = std::hint::black_box([1_u8; 4096]);
        if left == 0 {
            return page.len();
        }
        deep(left - 1) + usize::from(page[left % 4096])
    }

    #[test]
    fn a_child_that_goes_beyond_its_stack_is_killed_and_harms_nobody() {
        let mut stacks = Stacks::new().unwrap();
        let errand = |stack: &mut Stack, pages: usize| {
            child::errand(stack, 0, &|| {
                std::hint::black_box(deep(pages));
                Ok(())
            })
        };
        errand(&mut stacks.errand, 16).unwrap();
        let error = errand(&mut stacks.errand, 2 * STACK / 4096).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        errand(&mut stacks.errand, 16).unwrap();
    }
}
