//! The filter, as the kernel would read it.

use libc::c_long;

use super::code::number_of;
use super::*;

const MOMENT: Moment = Moment {
    pid: 77,
    exec: [0x7f00_1234_5678, 0x7f00_1234_0000, 0x7ffe_0000_0008],
};

/// Those of an app in a private root.
const APP: Rights = Rights {
    connect: Connect::Free,
    children: Children::None,
    serves: true,
    private_root: true,
};

/// What the kernel would make of a call.
fn answer(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    answer_of(&Filter::new(APP), arch, number, arguments)
}

fn answer_of(filter: &Filter, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut program = filter.program.clone();
    for &(at, later) in &filter.later {
        program[at].k = match later {
            Later::Pid => MOMENT.pid,
            Later::ExecLow(n) => MOMENT.exec[n] as u32,
            Later::ExecHigh(n) => (MOMENT.exec[n] >> 32) as u32,
        };
    }
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    arguments.iter().for_each(|a| data.extend(a.to_le_bytes()));
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let i = program[at];
        let code = u32::from(i.code);
        at += 1;
        if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
            let k = i.k as usize;
            a = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
        } else if code == libc::BPF_RET {
            return i.k;
        } else if code == libc::BPF_ALU | libc::BPF_AND {
            a &= i.k;
        } else {
            if code == libc::BPF_JMP | libc::BPF_JA {
                at += i.k as usize;
                continue;
            }
            let holds = match code & !libc::BPF_JMP {
                libc::BPF_JEQ => a == i.k,
                libc::BPF_JGE => a >= i.k,
                libc::BPF_JSET => a & i.k != 0,
                other => panic!("instruction {other:x}"),
            };
            at += usize::from(if holds { i.jt } else { i.jf });
        }
    }
}

fn of(call: c_long, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    answer(ARCHITECTURE, u32::try_from(call).unwrap(), all)
}

#[test]
fn the_filter_fits_and_its_jumps_reach() {
    for children in [Children::None, Children::Unsignalled, Children::Free] {
        for connect in [Connect::Free, Connect::Asked] {
            for private_root in [true, false] {
                assert_fits(&Filter::new(Rights {
                    connect,
                    children,
                    serves: true,
                    private_root,
                }));
            }
        }
    }
}

fn assert_fits(filter: &Filter) {
    assert!(filter.program.len() < LONGEST, "{}", filter.program.len());
    for (at, i) in filter.program.iter().enumerate() {
        let far = match u32::from(i.code) {
            code if code == libc::BPF_JMP | libc::BPF_JA => i.k as usize,
            code if code & 7 == libc::BPF_JMP => {
                assert!(i.jt < u8::MAX && i.jf < u8::MAX, "{at}");
                usize::from(i.jt.max(i.jf))
            }
            _ => continue,
        };
        assert!(at + 1 + far < filter.program.len());
    }
}

#[test]
fn what_is_listed_is_allowed_and_nothing_else() {
    for call in 0..600 {
        let lists = [FREE, FREE_HERE, ANYWHERE, ANYWHERE_HERE];
        let sockets = [libc::SYS_connect, libc::SYS_listen];
        let listed = lists.iter().any(|list| list.contains(&call)) || sockets.contains(&call);
        let all_ones = of(call, &[u64::MAX; 6]);
        assert_eq!(all_ones == ALLOW, listed, "call {call}");
    }
    assert_eq!(of(libc::SYS_clone3, &[]), UNKNOWN);
    for call in [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_userfaultfd,
        libc::SYS_memfd_create,
        libc::SYS_execveat,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_pidfd_getfd,
    ] {
        assert_eq!(of(call, &[]), REFUSE, "call {call}");
    }
}

#[test]
fn only_connect_and_listen_differ_where_the_server_is_asked() {
    let [free, asked] =
        [Connect::Free, Connect::Asked].map(|connect| Filter::new(Rights { connect, ..APP }));
    assert!(asked.program.len() < LONGEST, "{}", asked.program.len());
    // What handing the listener over takes is gone before the program runs.
    let closing = Filter {
        program: asked.closing.clone(),
        ..Filter::empty()
    };
    for call in 0..600 {
        for arguments in [[0; 6], [1; 6], [1, 0, 0, 0, 0, 0], [u64::MAX; 6]] {
            let [free, asked, closing] = [&free, &asked, &closing]
                .map(|filter| answer_of(filter, ARCHITECTURE, call, arguments));
            let asked = if closing == ALLOW { asked } else { closing };
            if [libc::SYS_connect, libc::SYS_listen]
                .map(number_of)
                .contains(&call)
            {
                assert_eq!((free, asked), (ALLOW, ASK));
            } else {
                assert_eq!(free, asked, "call {call}");
            }
        }
    }
}

#[test]
fn what_landlock_does_not_look_at_is_refused_where_files_of_others_can_be_named() {
    let filter = Filter::new(Rights {
        private_root: false,
        ..APP
    });
    for call in 0..600 {
        let is_such = ANYWHERE.contains(&call) || ANYWHERE_HERE.contains(&call);
        for arguments in [[0; 6], [1; 6], [u64::MAX; 6]] {
            let number = number_of(call);
            let expected = match is_such {
                true => REFUSE,
                false => answer(ARCHITECTURE, number, arguments),
            };
            let found = answer_of(&filter, ARCHITECTURE, number, arguments);
            assert_eq!(found, expected, "call {call}");
        }
    }
}

#[test]
fn other_ways_to_call_are_refused() {
    let read = u32::try_from(libc::SYS_read).unwrap();
    assert_eq!(answer(ARCHITECTURE, read, [0; 6]), ALLOW);
    // 32-bit code, and x32.
    assert_eq!(answer(0x4000_0003, read, [0; 6]), REFUSE);
    assert_eq!(answer(ARCHITECTURE, OTHER_NUMBERS | read, [0; 6]), REFUSE);
}

#[test]
fn arguments_decide() {
    let inet = |kind: i32, protocol: i32| {
        let (kind, protocol) = (kind as u64, protocol as u64);
        of(libc::SYS_socket, &[libc::AF_INET6 as u64, kind, protocol])
    };
    assert_eq!(inet(libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0), ALLOW);
    assert_eq!(inet(libc::SOCK_STREAM, libc::IPPROTO_TCP), ALLOW);
    assert_eq!(inet(libc::SOCK_STREAM, libc::IPPROTO_MPTCP), REFUSE);
    assert_eq!(inet(libc::SOCK_DGRAM, 0), REFUSE);
    assert_eq!(inet(libc::SOCK_RAW, 0), REFUSE);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let unix = |kind: i32| of(call, &[libc::AF_UNIX as u64, kind as u64]);
        assert_eq!(unix(libc::SOCK_STREAM | libc::SOCK_CLOEXEC), ALLOW);
        assert_eq!(unix(libc::SOCK_SEQPACKET), ALLOW);
        assert_eq!(unix(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK), REFUSE);
    }
    assert_eq!(of(libc::SYS_socket, &[libc::AF_NETLINK as u64, 3]), REFUSE);
    assert_eq!(of(libc::SYS_sendto, &[1, 2, 3, 0x4000, 0, 0]), ALLOW);
    assert_eq!(
        of(libc::SYS_sendto, &[1, 2, 3, 0x4000, 1 << 40, 16]),
        REFUSE
    );
    assert_eq!(of(libc::SYS_sendto, &[1, 2, 3, 0x2000_0000]), REFUSE);
    assert_eq!(of(libc::SYS_sendmsg, &[1, 2, 0x2000_4000]), REFUSE);
    assert_eq!(of(libc::SYS_clone, &[0x003d_0f00]), ALLOW);
    assert_eq!(of(libc::SYS_clone, &[0x11]), REFUSE);
    assert_eq!(of(libc::SYS_clone, &[0x013d_0f00 | 0x1000_0000]), REFUSE);
    assert_eq!(of(libc::SYS_kill, &[77, 9]), ALLOW);
    assert_eq!(of(libc::SYS_kill, &[0, 9]), REFUSE);
    assert_eq!(of(libc::SYS_kill, &[u64::MAX, 9]), REFUSE);
    let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;
    let shared = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as u64;
    assert_eq!(of(libc::SYS_mmap, &[0, 1, 3, private]), ALLOW);
    assert_eq!(
        of(libc::SYS_mmap, &[0, 1, 3, libc::MAP_SHARED as u64]),
        ALLOW
    );
    assert_eq!(of(libc::SYS_mmap, &[0, 1, 3, shared]), REFUSE);
    assert_eq!(of(libc::SYS_prlimit64, &[0]), ALLOW);
    assert_eq!(of(libc::SYS_prlimit64, &[1]), REFUSE);
}

#[test]
fn descriptors_are_locked_and_signal_nobody() {
    let fcntl =
        |command: i32, argument: i32| of(libc::SYS_fcntl, &[3, command as u64, argument as u64]);
    for command in [libc::F_GETFL, libc::F_SETLK, libc::F_DUPFD_CLOEXEC] {
        assert_eq!(fcntl(command, -1), ALLOW, "{command}");
    }
    assert_eq!(fcntl(libc::F_SETFL, libc::O_NONBLOCK), ALLOW);
    assert_eq!(
        fcntl(libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC),
        REFUSE
    );
    // F_SETOWN, F_SETSIG, F_SETOWN_EX.
    for command in [8, 10, 15, libc::F_SETLEASE, libc::F_NOTIFY] {
        assert_eq!(fcntl(command, 0), REFUSE, "{command}");
    }
    // FIOSETOWN, SIOCSPGRP, FIOASYNC.
    for request in [0x8901, 0x8902, 0x5452] {
        assert_eq!(of(libc::SYS_ioctl, &[3, request]), REFUSE);
    }
}

#[test]
fn only_the_one_exec_is_allowed() {
    assert_eq!(of(libc::SYS_execve, &MOMENT.exec), ALLOW);
    for wrong in 0..3 {
        for bit in [0, 33] {
            let mut exec = MOMENT.exec;
            exec[wrong] ^= 1 << bit;
            assert_eq!(of(libc::SYS_execve, &exec), REFUSE);
        }
    }
}

#[test]
fn with_children_programs_are_started_and_namespaces_are_not_made() {
    for children in [Children::Unsignalled, Children::Free] {
        let filter = Filter::new(Rights { children, ..APP });
        let of = |call: c_long, arguments: [u64; 6]| {
            answer_of(
                &filter,
                ARCHITECTURE,
                u32::try_from(call).unwrap(),
                arguments,
            )
        };
        assert_eq!(of(libc::SYS_execve, [1; 6]), ALLOW);
        assert_eq!(of(libc::SYS_clone, [0x11, 0, 0, 0, 0, 0]), ALLOW);
        let signal = if children == Children::Free {
            ALLOW
        } else {
            REFUSE
        };
        assert_eq!(of(libc::SYS_kill, [1; 6]), signal);
        assert_eq!(of(libc::SYS_kill, [77, 9, 0, 0, 0, 0]), ALLOW);
        for flags in [0x1000_0011_u64, 0x4000_0011, 0x0002_0011] {
            assert_eq!(of(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]), REFUSE);
        }
        for call in [
            libc::SYS_ptrace,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_unshare,
            libc::SYS_setsid,
            libc::SYS_pidfd_getfd,
        ] {
            assert_eq!(of(call, [0; 6]), REFUSE, "call {call}");
        }
    }
}

#[test]
fn who_serves_nobody_has_no_unix_sockets_and_does_not_listen() {
    for connect in [Connect::Free, Connect::Asked] {
        let filter = Filter::new(Rights {
            connect,
            serves: false,
            ..APP
        });
        let of = |call: c_long, arguments: [i32; 3]| {
            let [a, b, c] = arguments.map(|number| number as u64);
            answer_of(&filter, ARCHITECTURE, number_of(call), [a, b, c, 0, 0, 0])
        };
        assert_eq!(of(libc::SYS_listen, [3, 1, 0]), REFUSE);
        let unix = [libc::AF_UNIX, libc::SOCK_STREAM, 0];
        assert_eq!(of(libc::SYS_socket, unix), REFUSE);
        assert_eq!(of(libc::SYS_socketpair, unix), ALLOW);
        let tcp = [libc::AF_INET, libc::SOCK_STREAM, 0];
        assert_eq!(of(libc::SYS_socket, tcp), ALLOW);
    }
}
