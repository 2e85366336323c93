//! Connections for a process that is in the host's network: the server makes each for it,
//! to the one address that is allowed, and puts the connected socket in the place of the
//! process's own.
//!
//! Landlock knows ports only, whatever the address, and sockets by path not at all. Here
//! the server decides about an address that it copied: what the process writes there
//! afterwards changes nothing, for it is the server that connects.
//!
//! It also counts who listens. A worker listens once, at a socket by path, before any code of
//! its app runs. A TCP socket that was bound to nothing would listen at all addresses of this
//! machine then, which Landlock does not see.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::notify::{Call, Listener, Waiting, read_memory};

/// Longest that a process waits for a connection on a socket that waits. The other end is
/// the server's own.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// The largest address that is looked at; the kernel takes none that is longer.
const LONGEST: usize = 128;

/// To where a process may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// At 127.0.0.1; none is nowhere.
    pub(crate) port: Option<u16>,
}

/// Answers for a process until that is gone, or until this value is.
///
/// Putting a socket in the place of another waits for the thread that called: one that is
/// stopped or gets no processor time holds up who answers. So each process has a thread of
/// its own, and nobody else waits for it.
#[derive(Debug)]
pub(crate) struct Broker {
    /// The thread looks at the other end.
    _end: OwnedFd,
}

impl Broker {
    /// Starts to answer.
    ///
    /// # Errors
    /// The system has no thread or descriptor left to give.
    pub(crate) fn start(listener: Listener, allowed: Allowed) -> io::Result<Self> {
        let (over, end) = pipe_with(PipeFlags::CLOEXEC)?;
        std::thread::Builder::new()
            .name("broker".into())
            .stack_size(128 << 10)
            .spawn(move || run(&listener, &over, allowed))?;
        Ok(Self { _end: end })
    }
}

fn run(listener: &Listener, over: &OwnedFd, allowed: Allowed) {
    // The filter asks for those who serve alone.
    let mut may_listen = true;
    loop {
        let mut look = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(over, PollFlags::IN),
        ];
        match poll(&mut look, None) {
            Ok(_) if !look[1].revents().is_empty() => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        match listener.look() {
            Waiting::Call => {
                let Some(call) = listener.take() else {
                    continue;
                };
                if i64::from(call.number) != libc::SYS_listen {
                    let errno = match serve(listener, &call, allowed) {
                        Ok(()) => 0,
                        Err(errno) => errno.raw_os_error(),
                    };
                    listener.answer(&call, errno);
                } else if std::mem::take(&mut may_listen) {
                    listener.let_through(&call);
                } else {
                    listener.answer(&call, libc::EPERM);
                }
            }
            Waiting::Nothing => {}
            Waiting::Over => return,
        }
    }
}

/// Does a `connect` for who called. What it answers is the call's result.
fn serve(listener: &Listener, call: &Call, allowed: Allowed) -> Result<(), Errno> {
    let [number, place, length, ..] = call.arguments;
    // The kernel looks at the lower halves: both are of type int.
    #[expect(clippy::cast_possible_truncation, reason = "the half that is wanted")]
    let (number, length) = (number as u32, length as u32 as usize);
    let mut bytes = [0; LONGEST];
    let bytes = bytes.get_mut(..length).ok_or(Errno::INVAL)?;
    read_memory(call.thread, place, bytes).map_err(|_| Errno::FAULT)?;
    let address = parse(bytes).filter(|address| allowed.has(address));
    let address = address.ok_or(Errno::ACCESS)?;
    let flags = flags_of(call.thread, number).ok_or(Errno::BADF)?;
    if !listener.still_waits(call) {
        return Err(Errno::INTR);
    }
    let (socket, outcome) = connected(&address, flags.contains(OFlags::NONBLOCK))?;
    let closes = flags.contains(OFlags::CLOEXEC);
    listener
        .replace(call, number, socket.as_fd(), closes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    outcome
}

/// A socket that is connected, or, if it is not to wait, about to be.
fn connected(
    address: &SocketAddr,
    is_nonblocking: bool,
) -> Result<(OwnedFd, Result<(), Errno>), Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) if is_nonblocking => return Ok((socket, Err(Errno::INPROGRESS))),
        Err(Errno::INPROGRESS) => completed(&socket)?,
        Err(error) => return Err(error),
    }
    if !is_nonblocking {
        let flags = fcntl_getfl(&socket)?;
        fcntl_setfl(&socket, flags - OFlags::NONBLOCK)?;
    }
    Ok((socket, Ok(())))
}

/// Waits for a connection.
fn completed(socket: &OwnedFd) -> Result<(), Errno> {
    let mut look = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut look, Some(&PATIENCE))? {
        0 => Err(Errno::TIMEDOUT),
        _ => sockopt::socket_error(socket)?,
    }
}

/// The flags of a descriptor of another process; none if it has no such descriptor.
fn flags_of(thread: u32, number: u32) -> Option<OFlags> {
    // They stand in the first lines. What follows may be long.
    let file = File::open(format!("/proc/{thread}/fdinfo/{number}")).ok()?;
    let mut text = String::new();
    file.take(256).read_to_string(&mut text).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(OFlags::from_bits_retain(flags))
}

impl Allowed {
    fn has(self, address: &SocketAddr) -> bool {
        let is_loopback = match address {
            SocketAddr::V4(address) => *address.ip() == Ipv4Addr::LOCALHOST,
            SocketAddr::V6(address) => *address.ip() == Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
        };
        is_loopback && Some(address.port()) == self.port
    }
}

/// An address of IPv4 or IPv6 as the kernel takes it; none if it is of another kind.
fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    const INET: u16 = libc::AF_INET as u16;
    const INET6: u16 = libc::AF_INET6 as u16;
    let port = || Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk::<2>()?));
    match u16::from_ne_bytes(*bytes.first_chunk::<2>()?) {
        INET if bytes.len() >= size_of::<libc::sockaddr_in>() => {
            let address = Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?);
            Some((address, port()?).into())
        }
        INET6 if bytes.len() >= size_of::<libc::sockaddr_in6>() => {
            let address = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
            Some(SocketAddrV6::new(address, port()?, 0, 0).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(address: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(address);
        bytes.extend([0; 8]);
        bytes
    }

    fn inet6(address: &str, port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn one_address_is_allowed() {
        let may = |bytes: &[u8]| {
            let allowed = Allowed { port: Some(8000) };
            parse(bytes).is_some_and(|address| allowed.has(&address))
        };
        assert!(may(&inet([127, 0, 0, 1], 8000)));
        assert!(may(&inet6("::ffff:127.0.0.1", 8000)));
        for refused in [
            inet([127, 0, 0, 1], 8001),
            inet([127, 0, 0, 2], 8000),
            inet([0, 0, 0, 0], 8000),
            inet([10, 0, 0, 1], 8000),
            inet6("::1", 8000),
            inet6("::", 8000),
            inet6("::127.0.0.1", 8000),
            inet6("::ffff:127.0.0.1", 8001),
            inet6("64:ff9b::127.0.0.1", 8000),
            inet([127, 0, 0, 1], 8000)[..15].to_vec(),
            inet6("::ffff:127.0.0.1", 8000)[..27].to_vec(),
            Vec::new(),
            vec![0],
            vec![0; 128],
            b"\x01\0/run/x.sock".to_vec(),
        ] {
            assert!(!may(&refused), "{refused:?}");
        }
        let nowhere = Allowed { port: None };
        assert!(!nowhere.has(&([127, 0, 0, 1], 0).into()));
    }
}
