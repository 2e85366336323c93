//! seccomp: which system calls, and with which arguments.
//!
//! The program is made before the child. A few values are known only then: where
//! they stand is remembered, and the child fills them into its own copy.

mod code;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use libc::sock_filter;

use self::code::{ARCH, Later, NUMBER, Test, statement};
use crate::calls::{ANYWHERE, ANYWHERE_HERE, FREE, FREE_HERE, SPAWN, SPAWN_HERE};
use crate::notify::hand_over;
use crate::system;

/// Most instructions, for the child's copy.
const LONGEST: usize = 768;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
/// Numbers from here on are another way to call on x86-64 (x32).
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// `MSG_FASTOPEN` connects while it sends.
const FASTOPEN: u32 = 0x2000_0000;
/// Namespaces, and children that are no threads.
const THREAD: u32 = libc::CLONE_THREAD.cast_unsigned();
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned()
    | 0x80;

const UNIX: u32 = libc::AF_UNIX.cast_unsigned();
/// Sockets that are no use before they are connected.
const CONNECTED: &[u32] = &[
    libc::SOCK_STREAM.cast_unsigned(),
    libc::SOCK_SEQPACKET.cast_unsigned(),
];

/// What is known only when the process is about to execute its program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Its process id in its own eyes.
    pub(crate) pid: u32,
    /// Where program, arguments and environment of its exec are: who does not know
    /// these numbers cannot execute anything.
    pub(crate) exec: [u64; 3],
}

/// Which children a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    /// Threads alone.
    None,
    /// Programs of its choice, and no signals to anybody but itself.
    Unsignalled,
    /// Programs of its choice.
    Free,
}

/// The filter.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    program: Vec<sock_filter>,
    later: Vec<(usize, Later)>,
    /// Takes away what handing the listener over needs; empty if that is nothing.
    closing: Vec<sock_filter>,
}

/// What becomes of `connect` and `listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connect {
    /// They are allowed.
    Free,
    /// The server does the one, and decides about the other.
    Asked,
}

/// What a filter lets through beyond what all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) connect: Connect,
    pub(crate) children: Children,
    /// Unix sockets, and to listen.
    pub(crate) serves: bool,
    /// Whether the process sees nothing but what was given to it.
    pub(crate) private_root: bool,
}

impl Filter {
    fn empty() -> Self {
        Self {
            program: Vec::with_capacity(LONGEST),
            later: Vec::new(),
            closing: Vec::new(),
        }
    }

    pub(crate) fn new(rights: Rights) -> Self {
        let Rights {
            connect,
            children,
            serves,
            private_root,
        } = rights;
        let mut filter = Self::empty();
        filter.load(ARCH);
        filter.unless_equal(ARCHITECTURE, REFUSE);
        filter.load(NUMBER);
        filter.at_least(OTHER_NUMBERS, REFUSE);
        let anywhere = ANYWHERE.iter().chain(ANYWHERE_HERE);
        let anywhere = anywhere.filter(|_| private_root);
        let free = FREE.iter().chain(FREE_HERE).chain(anywhere);
        filter.allow_all(free);
        let answer = match connect {
            Connect::Free => ALLOW,
            Connect::Asked => ASK,
        };
        filter.on(libc::SYS_connect, answer);
        if serves {
            filter.on(libc::SYS_listen, answer);
            filter.unix_sockets();
        }
        // The caller falls back to clone, whose flags can be looked at.
        filter.on(libc::SYS_clone3, UNKNOWN);
        filter.arguments();
        filter.processes(children);
        if connect == Connect::Asked && children == Children::None {
            filter.hand_over_once();
        }
        filter.end(REFUSE);
        filter
    }

    /// Allows messages and one more filter, which forbids both.
    fn hand_over_once(&mut self) {
        const NO_FLAGS: &[u32] = &[0];
        self.on(libc::SYS_sendmsg, ALLOW);
        self.when(
            libc::SYS_seccomp,
            &[
                (0, Test::OneOf(&[libc::SECCOMP_SET_MODE_FILTER])),
                (1, Test::OneOf(NO_FLAGS)),
            ],
        );
        let mut closing = Self::empty();
        closing.load(NUMBER);
        closing.on(libc::SYS_sendmsg, REFUSE);
        closing.on(libc::SYS_seccomp, REFUSE);
        closing.end(ALLOW);
        self.closing = closing.program;
    }

    fn arguments(&mut self) {
        use Test::{Masked, Null, OneOf, PidOrNull, Without};
        const INET: &[u32] = &[
            libc::AF_INET.cast_unsigned(),
            libc::AF_INET6.cast_unsigned(),
        ];
        const STREAM: &[u32] = &[libc::SOCK_STREAM.cast_unsigned()];
        const TCP: &[u32] = &[0, libc::IPPROTO_TCP.cast_unsigned()];
        const IOCTLS: &[u32] = &[
            0x5421, // FIONBIO
            0x541B, // FIONREAD
            0x5451, // FIOCLEX
            0x5450, // FIONCLEX
            0x5401, // TCGETS
            0x5413, // TIOCGWINSZ
        ];
        const PRCTLS: &[u32] = &[
            libc::PR_SET_NAME.cast_unsigned(),
            libc::PR_GET_NAME.cast_unsigned(),
            libc::PR_GET_DUMPABLE.cast_unsigned(),
            libc::PR_GET_SECCOMP.cast_unsigned(),
            libc::PR_GET_NO_NEW_PRIVS.cast_unsigned(),
            libc::PR_SET_VMA.cast_unsigned(),
            libc::PR_CAPBSET_READ.cast_unsigned(),
        ];
        // Memory of its own, and files; not memory to share with nobody, which stays when
        // it is mapped no more, and no figure of the process tells of it.
        const ANONYMOUS: u32 = libc::MAP_ANONYMOUS.cast_unsigned();
        const KINDS: &[u32] = &[
            libc::MAP_SHARED.cast_unsigned(),
            libc::MAP_PRIVATE.cast_unsigned(),
            libc::MAP_SHARED_VALIDATE.cast_unsigned(),
            libc::MAP_PRIVATE.cast_unsigned() | ANONYMOUS,
        ];
        self.when(libc::SYS_mmap, &[(3, Masked(0xf | ANONYMOUS, KINDS))]);
        self.when(libc::SYS_sendto, &[(3, Without(FASTOPEN)), (4, Null)]);
        // TCP. No datagrams: where each goes cannot be looked at.
        self.when(
            libc::SYS_socket,
            &[(0, OneOf(INET)), (1, Masked(0xf, STREAM)), (2, OneOf(TCP))],
        );
        self.when(
            libc::SYS_socketpair,
            &[(0, OneOf(&[UNIX])), (1, Masked(0xf, CONNECTED))],
        );
        self.when(libc::SYS_prlimit64, &[(0, PidOrNull)]);
        self.when(libc::SYS_ioctl, &[(1, OneOf(IOCTLS))]);
        self.descriptors();
        self.options();
        self.when(libc::SYS_prctl, &[(0, OneOf(PRCTLS))]);
    }

    /// Options of sockets. None that makes the kernel hold more for one: no figure of the
    /// process tells of that.
    fn options(&mut self) {
        const LEVEL_SOCKET: &[u32] = &[libc::SOL_SOCKET.cast_unsigned()];
        const OF_SOCKETS: &[u32] = &[
            libc::SO_REUSEADDR.cast_unsigned(),
            libc::SO_KEEPALIVE.cast_unsigned(),
            libc::SO_LINGER.cast_unsigned(),
            libc::SO_REUSEPORT.cast_unsigned(),
            libc::SO_RCVTIMEO.cast_unsigned(),
            libc::SO_SNDTIMEO.cast_unsigned(),
        ];
        const LEVEL_TCP: &[u32] = &[libc::IPPROTO_TCP.cast_unsigned()];
        const OF_TCP: &[u32] = &[
            libc::TCP_NODELAY.cast_unsigned(),
            libc::TCP_CORK.cast_unsigned(),
            libc::TCP_KEEPIDLE.cast_unsigned(),
            libc::TCP_KEEPINTVL.cast_unsigned(),
            libc::TCP_KEEPCNT.cast_unsigned(),
            libc::TCP_DEFER_ACCEPT.cast_unsigned(),
            libc::TCP_QUICKACK.cast_unsigned(),
            libc::TCP_USER_TIMEOUT.cast_unsigned(),
            libc::TCP_NOTSENT_LOWAT.cast_unsigned(),
        ];
        const LEVEL_IPV6: &[u32] = &[libc::IPPROTO_IPV6.cast_unsigned()];
        const OF_IPV6: &[u32] = &[libc::IPV6_V6ONLY.cast_unsigned()];
        for (level, names) in [
            (LEVEL_SOCKET, OF_SOCKETS),
            (LEVEL_TCP, OF_TCP),
            (LEVEL_IPV6, OF_IPV6),
        ] {
            let tests = [(1, Test::OneOf(level)), (2, Test::OneOf(names))];
            self.when(libc::SYS_setsockopt, &tests);
        }
    }

    /// Flags and locks. Who owns a descriptor, and which signal that one gets, is not a
    /// process's to say: the kernel would send the signal in its name, to whom it may not
    /// send any.
    fn descriptors(&mut self) {
        const SET_FLAGS: &[u32] = &[libc::F_SETFL.cast_unsigned()];
        const ASYNC: u32 = libc::O_ASYNC.cast_unsigned();
        const COMMANDS: &[u32] = &[
            libc::F_DUPFD.cast_unsigned(),
            libc::F_DUPFD_CLOEXEC.cast_unsigned(),
            libc::F_GETFD.cast_unsigned(),
            libc::F_SETFD.cast_unsigned(),
            libc::F_GETFL.cast_unsigned(),
            libc::F_GETLK.cast_unsigned(),
            libc::F_SETLK.cast_unsigned(),
            libc::F_SETLKW.cast_unsigned(),
            libc::F_OFD_GETLK.cast_unsigned(),
            libc::F_OFD_SETLK.cast_unsigned(),
            libc::F_OFD_SETLKW.cast_unsigned(),
            libc::F_GETPIPE_SZ.cast_unsigned(),
            libc::F_GET_SEALS.cast_unsigned(),
        ];
        self.when(libc::SYS_fcntl, &[(1, Test::OneOf(COMMANDS))]);
        self.when(
            libc::SYS_fcntl,
            &[(1, Test::OneOf(SET_FLAGS)), (2, Test::Without(ASYNC))],
        );
    }

    fn unix_sockets(&mut self) {
        self.when(
            libc::SYS_socket,
            &[(0, Test::OneOf(&[UNIX])), (1, Test::Masked(0xf, CONNECTED))],
        );
    }

    fn processes(&mut self, children: Children) {
        use Test::{Exec, Pid, With, Without};
        if children == Children::Free {
            for number in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_open] {
                self.on(number, ALLOW);
            }
        } else {
            self.when(libc::SYS_kill, &[(0, Pid)]);
            self.when(libc::SYS_tgkill, &[(0, Pid)]);
        }
        if children == Children::None {
            self.when(
                libc::SYS_clone,
                &[(0, With(THREAD)), (0, Without(NAMESPACES))],
            );
            self.when(
                libc::SYS_execve,
                &[(0, Exec(0)), (1, Exec(1)), (2, Exec(2))],
            );
            return;
        }
        for &number in SPAWN.iter().chain(SPAWN_HERE) {
            self.on(number, ALLOW);
        }
        // Messages may carry descriptors. What is on its way is in nobody's table, and what
        // is counted by tables can be hidden so; who has children passes some to them.
        self.when(libc::SYS_sendmsg, &[(2, Without(FASTOPEN))]);
        self.when(libc::SYS_sendmmsg, &[(3, Without(FASTOPEN))]);
        self.when(libc::SYS_clone, &[(0, Without(NAMESPACES))]);
    }

    /// Has the filter decide about this process from now on; `hand` is where to hand the
    /// listener over if the server is asked. Only system calls.
    pub(crate) fn enforce(&self, moment: Moment, hand: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut copy = [statement(0, 0); LONGEST];
        let copy = copy
            .get_mut(..self.program.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        copy.copy_from_slice(&self.program);
        for &(at, later) in &self.later {
            let half = |number: usize| moment.exec.get(number).copied().unwrap_or_default();
            #[expect(clippy::cast_possible_truncation, reason = "the half that is wanted")]
            let value = match later {
                Later::Pid => moment.pid,
                Later::ExecLow(number) => half(number) as u32,
                Later::ExecHigh(number) => (half(number) >> 32) as u32,
            };
            if let Some(instruction) = copy.get_mut(at) {
                instruction.k = value;
            }
        }
        match hand {
            None => system::seccomp_enforce(copy),
            Some(hand) => {
                hand_over(hand, system::seccomp_listen(copy)?.as_fd())?;
                match self.closing.as_slice() {
                    [] => Ok(()),
                    closing => system::seccomp_enforce(closing),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
