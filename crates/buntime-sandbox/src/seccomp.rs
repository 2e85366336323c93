//! seccomp: which system calls, and with which arguments.
//!
//! The program is made before the child. A few values are known only then: where
//! they stand is remembered, and the child fills them into its own copy.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use libc::{c_long, sock_filter};

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

/// Where the kernel puts what a filter sees (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

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

/// A value that the child fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Pid,
    /// The lower or the higher half of one of the numbers.
    ExecLow(usize),
    ExecHigh(usize),
}

/// A test of one argument. All 32 bits of its lower half are looked at, as the kernel
/// does where an `int` is meant.
#[derive(Debug, Clone, Copy)]
enum Test {
    OneOf(&'static [u32]),
    /// None of these bits.
    Without(u32),
    /// All of these bits.
    With(u32),
    /// One of these when only these bits count.
    Masked(u32, &'static [u32]),
    /// A null pointer.
    Null,
    Pid,
    PidOrNull,
    Exec(usize),
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
    pub(crate) fn new(rights: Rights) -> Self {
        let Rights {
            connect,
            children,
            serves,
            private_root,
        } = rights;
        let mut filter = Self {
            program: Vec::with_capacity(LONGEST),
            later: Vec::new(),
        };
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
        filter.end(REFUSE);
        filter
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
        self.when(libc::SYS_sendmsg, &[(2, Without(FASTOPEN))]);
        self.when(libc::SYS_sendmmsg, &[(3, Without(FASTOPEN))]);
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
        self.when(libc::SYS_prctl, &[(0, OneOf(PRCTLS))]);
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
            Some(hand) => hand_over(hand, system::seccomp_listen(copy)?.as_fd()),
        }
    }

    fn push(&mut self, instruction: sock_filter) {
        self.program.push(instruction);
    }

    fn load(&mut self, at: u32) {
        self.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at));
    }

    fn end(&mut self, answer: u32) {
        self.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }

    /// Answers this if what was loaded is another value.
    fn unless_equal(&mut self, value: u32, answer: u32) {
        self.push(jump(libc::BPF_JEQ, value, 1, 0));
        self.end(answer);
    }

    fn at_least(&mut self, value: u32, answer: u32) {
        self.push(jump(libc::BPF_JGE, value, 0, 1));
        self.end(answer);
    }

    /// Answers this for a call of this number. The number is loaded before and after.
    fn on(&mut self, number: c_long, answer: u32) {
        self.push(jump(libc::BPF_JEQ, number_of(number), 0, 1));
        self.end(answer);
    }

    /// Allows calls of these numbers, found by halving: the kernel asks about every
    /// number when the filter is set, and at each call whose arguments count. The number
    /// is loaded before and after.
    fn allow_all<'a>(&mut self, numbers: impl Iterator<Item = &'a c_long>) {
        let mut numbers: Vec<u32> = numbers.map(|&number| number_of(number)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // From which number on which answer holds.
        let mut answers = vec![(0, false)];
        for number in numbers {
            match answers.last_mut() {
                Some(last) if last.0 == number => last.1 = true,
                _ => answers.push((number, true)),
            }
            answers.push((number + 1, false));
        }
        answers.dedup_by_key(|answer| answer.1);
        let mut undecided = Vec::new();
        self.halve(&answers, &mut undecided);
        for at in undecided {
            let distance = self.program.len() - at - 1;
            if let Some(instruction) = self.program.get_mut(at) {
                instruction.k = u32::try_from(distance).unwrap_or(u32::MAX);
            }
        }
    }

    /// Finds the answer for the number among `answers`; jumps to what comes later if it is
    /// not allowed, in places that are noted.
    fn halve(&mut self, answers: &[(u32, bool)], undecided: &mut Vec<usize>) {
        let (below, above) = answers.split_at(answers.len() / 2);
        let (Some(middle), false) = (above.first(), below.is_empty()) else {
            match above {
                [(_, true)] => self.end(ALLOW),
                _ => {
                    undecided.push(self.program.len());
                    self.push(jump(libc::BPF_JA, 0, 0, 0));
                }
            }
            return;
        };
        let at = self.program.len();
        self.push(jump(libc::BPF_JGE, middle.0, 0, 0));
        self.halve(below, undecided);
        let distance = u8::try_from(self.program.len() - at - 1).unwrap_or(u8::MAX);
        if let Some(instruction) = self.program.get_mut(at) {
            instruction.jt = distance;
        }
        self.halve(above, undecided);
    }

    /// Allows a call of this number when all tests say so. The number is loaded
    /// before and after.
    fn when(&mut self, number: c_long, tests: &[(u32, Test)]) {
        let first = self.program.len();
        self.push(jump(libc::BPF_JEQ, number_of(number), 0, 0));
        // Jumps to the end of this rule, filled in once it is known.
        let mut fail_true = Vec::new();
        let mut fail_false = vec![first];
        for &(argument, test) in tests {
            self.test(argument, test, &mut fail_true, &mut fail_false);
        }
        self.end(ALLOW);
        let end = self.program.len();
        for (list, when_true) in [(fail_true, true), (fail_false, false)] {
            for at in list {
                let distance = u8::try_from(end - at - 1).unwrap_or(u8::MAX);
                if let Some(instruction) = self.program.get_mut(at) {
                    if when_true {
                        instruction.jt = distance;
                    } else {
                        instruction.jf = distance;
                    }
                }
            }
        }
        self.load(NUMBER);
    }

    fn test(
        &mut self,
        argument: u32,
        test: Test,
        fail_true: &mut Vec<usize>,
        fail_false: &mut Vec<usize>,
    ) {
        let (low, high) = (ARGUMENTS + 8 * argument, ARGUMENTS + 8 * argument + 4);
        self.load(low);
        match test {
            Test::OneOf(values) => self.one_of(values, fail_false),
            Test::Masked(mask, values) => {
                self.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
                self.one_of(values, fail_false);
            }
            Test::Without(bits) => {
                fail_true.push(self.program.len());
                self.push(jump(libc::BPF_JSET, bits, 0, 0));
            }
            Test::With(bits) => {
                self.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits));
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, bits, 0, 0));
            }
            Test::Null => {
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, 0, 0, 0));
                self.load(high);
                fail_false.push(self.program.len());
                self.push(jump(libc::BPF_JEQ, 0, 0, 0));
            }
            Test::Pid => self.filled_in(Later::Pid, fail_false),
            Test::PidOrNull => {
                self.push(jump(libc::BPF_JEQ, 0, 1, 0));
                self.filled_in(Later::Pid, fail_false);
            }
            Test::Exec(number) => {
                self.filled_in(Later::ExecLow(number), fail_false);
                self.load(high);
                self.filled_in(Later::ExecHigh(number), fail_false);
            }
        }
    }

    /// Goes on if what is loaded is one of these.
    fn one_of(&mut self, values: &[u32], fail_false: &mut Vec<usize>) {
        for (at, &value) in values.iter().enumerate() {
            let left = u8::try_from(values.len() - at - 1).unwrap_or(u8::MAX);
            if left == 0 {
                fail_false.push(self.program.len());
            }
            self.push(jump(libc::BPF_JEQ, value, left, 0));
        }
    }

    fn filled_in(&mut self, later: Later, fail_false: &mut Vec<usize>) {
        self.later.push((self.program.len(), later));
        fail_false.push(self.program.len());
        self.push(jump(libc::BPF_JEQ, 0, 0, 0));
    }
}

fn number_of(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn statement(code: u32, k: u32) -> sock_filter {
    jump_or_not(code, k, 0, 0)
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    jump_or_not(libc::BPF_JMP | condition | libc::BPF_K, k, jt, jf)
}

fn jump_or_not(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests;
