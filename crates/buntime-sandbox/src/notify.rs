//! Calls that the kernel holds back until the server has answered for them: seccomp's
//! notifications (seccomp_unotify(2)).

use std::ffi::c_ulong;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// A call of another process that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    id: u64,
    /// The thread that made it.
    pub(crate) thread: u32,
    /// Which call it is.
    pub(crate) number: i32,
    pub(crate) arguments: [u64; 6],
}

/// Where such calls arrive.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// What is to be done about a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    Call,
    Nothing,
    /// Nobody is left who could make one.
    Over,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Looks without waiting.
    pub(crate) fn look(&self) -> Waiting {
        let mut look = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        let looked = rustix::event::poll(&mut look, Some(&Timespec::default()));
        let [found] = look.each_ref().map(PollFd::revents);
        if looked.is_err() {
            return Waiting::Nothing;
        }
        if found.contains(PollFlags::IN) {
            return Waiting::Call;
        }
        if found.is_empty() {
            Waiting::Nothing
        } else {
            Waiting::Over
        }
    }

    /// Takes a call that [`look`](Self::look) saw; none if its maker is gone meanwhile.
    pub(crate) fn take(&self) -> Option<Call> {
        // The kernel wants zeros.
        let mut found = libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data {
                nr: 0,
                arch: 0,
                instruction_pointer: 0,
                args: [0; 6],
            },
        };
        self.ask(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut found).ok()?;
        Some(Call {
            id: found.id,
            thread: found.pid,
            number: found.data.nr,
            arguments: found.data.args,
        })
    }

    /// Whether the call still waits, so that what was learned of its process was learned of
    /// its process and not of another with the same number.
    pub(crate) fn still_waits(&self, call: &Call) -> bool {
        let mut id = call.id;
        self.ask(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id)
            .is_ok()
    }

    /// Ends the call: 0, or this errno. That its maker is gone is no error.
    pub(crate) fn answer(&self, call: &Call, errno: i32) {
        self.end(call, -errno, 0);
    }

    /// Has the kernel do the call. What its arguments point to may have changed since they
    /// were looked at, and so may the descriptors of its process.
    pub(crate) fn let_through(&self, call: &Call) {
        const CONTINUE: u32 = 1;
        self.end(call, 0, CONTINUE);
    }

    fn end(&self, call: &Call, error: i32, flags: u32) {
        let mut answer = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error,
            flags,
        };
        let _ = self.ask(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer);
    }

    /// Puts a descriptor in the place of one that the maker of the call has.
    pub(crate) fn replace(
        &self,
        call: &Call,
        number: u32,
        by: BorrowedFd<'_>,
        closes_on_exec: bool,
    ) -> io::Result<()> {
        let flag = if closes_on_exec { libc::O_CLOEXEC } else { 0 };
        let mut request = libc::seccomp_notif_addfd {
            id: call.id,
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap_or(1),
            srcfd: by.as_raw_fd().cast_unsigned(),
            newfd: number,
            newfd_flags: flag.cast_unsigned(),
        };
        self.ask(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut request)
    }

    #[expect(unsafe_code, reason = "rustix has no notifications")]
    fn ask<T>(&self, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
        // SAFETY: each caller gives the structure that its request takes, whose size is in
        // the request's number.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Reads memory of the process that a thread is of; all of it or an error.
#[expect(unsafe_code, reason = "rustix does not read others' memory")]
pub(crate) fn read_memory(thread: u32, address: u64, into: &mut [u8]) -> io::Result<()> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(
            usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?,
        ),
        iov_len: into.len(),
    };
    let flags: c_ulong = 0;
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`, and reads the other
    // process's memory, of which it checks every page.
    let read = unsafe {
        libc::process_vm_readv(
            thread.cast_signed(),
            &raw const local,
            1,
            &raw const remote,
            1,
            flags,
        )
    };
    match usize::try_from(read) {
        Ok(read) if read == into.len() => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Sends a descriptor to the other end of a pair of sockets. Only system calls.
pub(crate) fn hand_over(to: BorrowedFd<'_>, what: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let what = [what];
    if !rights.push(SendAncillaryMessage::ScmRights(&what)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(to, &[IoSlice::new(&[0])], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The listener that a child handed over, if it did. Does not wait.
pub(crate) fn receive(from: BorrowedFd<'_>) -> Option<Listener> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut rights, flags).ok()?;
    rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(Listener),
        _ => None,
    })
}
