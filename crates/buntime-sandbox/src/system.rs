//! System calls that `rustix` does not have. None of them allocates.

use std::ffi::{c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use libc::{c_long, sock_filter};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[expect(unsafe_code, reason = "the kernel made the descriptor for us")]
fn descriptor(result: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: it is new, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets and clears attributes (`MOUNT_ATTR_…`) of a mount; with `AT_RECURSIVE` in `how`
/// also of all below it.
#[expect(unsafe_code, reason = "rustix has no mount_setattr")]
pub(crate) fn mount_setattr(at: impl AsFd, set: u64, clear: u64, how: c_int) -> io::Result<()> {
    let attr = MountAttr {
        set,
        clear,
        propagation: 0,
        userns: 0,
    };
    // SAFETY: the kernel reads the empty path and as many bytes of `attr` as said.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | how,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Gives up all capabilities, and what could bring them back at an exec.
#[expect(unsafe_code, reason = "rustix drops them one by one")]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    const VERSION_3: u32 = 0x2008_0522;
    // As a program of root's is given all: not even that, and never again.
    let locked = libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED
        | libc::SECBIT_NO_SETUID_FIXUP
        | libc::SECBIT_NO_SETUID_FIXUP_LOCKED;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    // Two halves of effective, permitted, inheritable.
    let none = [0_u32; 6];
    // SAFETY: prctl takes numbers here; capset reads a header and two halves.
    unsafe {
        // Both need a capability that an ordinary user does not have, and then there is
        // nothing to give up.
        for capability in 0..64 {
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        libc::prctl(libc::PR_SET_SECUREBITS, locked, 0, 0, 0);
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        );
        check(libc::syscall(
            libc::SYS_capset,
            &raw const header,
            none.as_ptr(),
        ))?;
    }
    Ok(())
}

/// Enters namespaces of a process.
#[expect(unsafe_code, reason = "rustix asks for one namespace at a time only")]
pub(crate) fn enter(process: impl AsFd, namespaces: c_int) -> io::Result<()> {
    // SAFETY: plain numbers; who calls shares no state with other threads that the
    // kernel would take away from them.
    check(c_long::from(unsafe {
        libc::setns(process.as_fd().as_raw_fd(), namespaces)
    }))?;
    Ok(())
}

/// Takes copies of namespaces for this process.
#[expect(unsafe_code, reason = "rustix calls it unsafe")]
pub(crate) fn leave(namespaces: c_int) -> io::Result<()> {
    // SAFETY: a plain number; see `enter`.
    check(c_long::from(unsafe { libc::unshare(namespaces) }))?;
    Ok(())
}

/// Turns this network's loopback on, which has its addresses then.
#[expect(unsafe_code, reason = "rustix has no interfaces")]
pub(crate) fn loopback_up() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    // SAFETY: zeros are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads the request.
    check(c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    }))?;
    Ok(())
}

/// Gives the controlling terminal up, if this process has one and the machine a name for
/// it. That of others stays.
#[expect(unsafe_code, reason = "rustix has no terminals here")]
pub(crate) fn leave_terminal() {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(terminal) = rustix::fs::open(c"/dev/tty", flags, Mode::empty()) else {
        return;
    };
    // SAFETY: the call takes a number and nothing else. A process that leads no session
    // loses its terminal and changes nothing for others.
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
}

/// The version of Landlock's interface; 0 if there is none.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_version() -> u32 {
    const VERSION: c_uint = 1;
    // SAFETY: with this flag the kernel reads nothing.
    let found = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    u32::try_from(found).unwrap_or(0)
}

/// `struct landlock_ruleset_attr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct RulesetAttr {
    pub(crate) fs: u64,
    pub(crate) net: u64,
    pub(crate) scoped: u64,
}

/// A new ruleset. `size` is how much of `attr` this kernel knows.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_ruleset(attr: &RulesetAttr, size: usize) -> io::Result<OwnedFd> {
    let size = size.min(size_of::<RulesetAttr>());
    let attr: *const RulesetAttr = attr;
    // SAFETY: the kernel reads `size` bytes, which are there.
    descriptor(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attr, size, 0_u32) })
}

/// Allows `access` beneath `parent`.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_allow(ruleset: impl AsFd, parent: impl AsFd, access: u64) -> io::Result<()> {
    const PATH_BENEATH: c_uint = 1;
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    let rule = PathBeneath {
        access,
        parent: parent.as_fd().as_raw_fd(),
    };
    // SAFETY: the kernel reads the structure of that kind of rule.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_fd().as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    })?;
    Ok(())
}

/// Allows `access` to a TCP port.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_allow_port(ruleset: impl AsFd, port: u16, access: u64) -> io::Result<()> {
    const NET_PORT: c_uint = 2;
    #[repr(C)]
    struct NetPort {
        access: u64,
        port: u64,
    }
    let rule = NetPort {
        access,
        port: port.into(),
    };
    // SAFETY: the kernel reads the structure of that kind of rule.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_fd().as_raw_fd(),
            NET_PORT,
            &raw const rule,
            0_u32,
        )
    })?;
    Ok(())
}

/// Puts this process under a ruleset, for good.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_enforce(ruleset: impl AsFd) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            ruleset.as_fd().as_raw_fd(),
            0_u32,
        )
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "rustix has no seccomp filters")]
fn seccomp(program: &[sock_filter], flags: c_ulong) -> io::Result<c_long> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    let mode: c_ulong = libc::SECCOMP_SET_MODE_FILTER.into();
    // SAFETY: the kernel reads the program, whose length is said.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })
}

/// Has a filter decide about each system call of this process, for good.
pub(crate) fn seccomp_enforce(program: &[sock_filter]) -> io::Result<()> {
    seccomp(program, 0).map(drop)
}

/// The same for a filter that asks the server about some calls: who has the descriptor
/// answers.
pub(crate) fn seccomp_listen(program: &[sock_filter]) -> io::Result<OwnedFd> {
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A call that the server has taken is not to be interrupted by signals that the
    // process lives through. Linux before 5.19 does not know that: the call is made once
    // more then.
    let steady = listen | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let made = match seccomp(program, steady) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => seccomp(program, listen),
        answer => answer,
    };
    descriptor(made?)
}
