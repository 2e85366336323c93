//! Networks for processes: each has one of its own, in which nothing is but loopback and
//! the sockets that the server put there.
//!
//! The kernel takes about two milliseconds of processor time to make a network and to
//! take it away again, so they are kept: who comes later gets one whose process is gone
//! with all that it had. What belongs to the server ends with the process too: its
//! sockets are shut down before the network is given to another. What the network has counted
//! stays, so a process does not see it ([`Root`](crate::root::Root)), or gets a new one.
//!
//! All networks belong to one user namespace, which no process is in. Each process has
//! one of its own below that, so none has rights over any network.

use std::ffi::CStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, bind, listen, recv,
    send, shutdown, socket_with, sockopt,
};

use crate::child;
use crate::guard;
use crate::stack::Stack;
use crate::system;
use crate::user_map::UserMap;

/// Networks that wait for a process. More are taken away by the kernel.
const MOST_KEPT: usize = 32;
/// Most sockets that the server adds to a network at once.
pub(crate) const MOST_FORWARDS: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Networks that are kept, ready for the next process.
#[derive(Debug, Default)]
pub(crate) struct Networks(Mutex<Vec<OwnedFd>>);

impl Networks {
    fn lock(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody is in.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        self.lock().pop()
    }
}

/// A descriptor that a child makes in the server's table, for it shares that.
#[derive(Debug)]
pub(crate) struct Made(AtomicI32);

impl Made {
    pub(crate) fn new() -> Self {
        Self(AtomicI32::new(-1))
    }

    /// Called in the child.
    fn put(&self, made: OwnedFd) {
        self.0.store(made.into_raw_fd(), Ordering::Release);
    }

    #[expect(unsafe_code, reason = "a number came from a child")]
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        let number = self.0.swap(-1, Ordering::AcqRel);
        // SAFETY: `put` gave the number away for this, and the swap gives it once.
        (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.take();
    }
}

/// Makes the user namespace that networks belong to. It is gone once no descriptor of it
/// and no network is left.
pub(crate) fn owner(stack: &mut Stack) -> io::Result<OwnedFd> {
    let user = UserMap::of(None)?;
    let made = Made::new();
    let flags = libc::CLONE_FILES | libc::CLONE_NEWUSER;
    guard::keep(|| {
        child::errand(stack, flags, &|| {
            user.write()?;
            made.put(own_namespace(c"/proc/self/ns/user")?);
            Ok(())
        })
    })?;
    made.take().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn own_namespace(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// The way of one process into a network.
#[derive(Debug)]
pub(crate) struct Entrance<'a> {
    /// Whom networks belong to.
    owner: BorrowedFd<'a>,
    /// If none was kept, one is made.
    kept: Option<OwnedFd>,
    made: Made,
    port: u16,
    gateway: Made,
}

impl<'a> Entrance<'a> {
    pub(crate) fn new(owner: BorrowedFd<'a>, kept: Option<OwnedFd>, port: u16) -> Self {
        Self {
            owner,
            kept,
            made: Made::new(),
            port,
            gateway: Made::new(),
        }
    }

    /// Enters the network and opens the gateway. Only system calls.
    pub(crate) fn pass(&self) -> io::Result<()> {
        system::enter(self.owner, libc::CLONE_NEWUSER)?;
        match &self.kept {
            Some(network) => system::enter(network, libc::CLONE_NEWNET)?,
            None => {
                system::leave(libc::CLONE_NEWNET)?;
                system::loopback_up()?;
                bound_buffers();
                all_is_local()?;
                self.made.put(own_namespace(c"/proc/self/ns/net")?);
            }
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        self.gateway.put(listening(&address)?);
        Ok(())
    }

    /// What the process got, once it runs: the gateway, and the network for as long as
    /// the process is there.
    pub(crate) fn passed(self, networks: &Arc<Networks>) -> io::Result<(OwnedFd, Lease)> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let gateway = self.gateway.take().ok_or_else(missing)?;
        let network = self.kept.or_else(|| self.made.take()).ok_or_else(missing)?;
        let held = Held {
            network,
            listening: vec![gateway.try_clone()?],
        };
        let lease = Lease {
            held: Mutex::new(Some(held)),
            networks: Arc::clone(networks),
        };
        Ok((gateway, lease))
    }
}

/// The most that the kernel holds for one connection of this network, which no figure of a
/// process tells. Its other end is on this machine. Where `/proc/sys` is read-only, as in a
/// container, it is what it is for the machine. Only system calls.
fn bound_buffers() {
    const BUFFERS: [(&CStr, &[u8]); 2] = [
        (c"/proc/sys/net/ipv4/tcp_wmem", b"4096 16384 262144"),
        (c"/proc/sys/net/ipv4/tcp_rmem", b"4096 131072 1048576"),
    ];
    for (path, sizes) in BUFFERS {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            let _ = rustix::io::write(file, sizes);
        }
    }
}

/// Has all addresses lead to this network itself: the server may then listen at any of
/// them, and what it does not listen at refuses at once. Only system calls.
fn all_is_local() -> io::Result<()> {
    const INET: u8 = 2;
    const INET6: u8 = 10;
    default_route(INET)?;
    // It may be turned off. Then nothing can be reached by it.
    let _ = default_route(INET6);
    Ok(())
}

/// `ip route add local default dev lo` for one family of addresses: see rtnetlink(7).
fn default_route(family: u8) -> io::Result<()> {
    const LENGTH: u8 = 36;
    const NEW_ROUTE: u8 = 24;
    /// Request, with an answer; create.
    const FLAGS: [u8; 2] = 0x405_u16.to_ne_bytes();
    const TABLE_LOCAL: u8 = 255;
    const BY_HAND: u8 = 4;
    const HOST: u8 = 254;
    const LOCAL: u8 = 2;
    const INTERFACE: u8 = 4;
    // Loopback is the first interface of every network.
    const LOOPBACK: u8 = 1;
    let short = |value: u8| u16::from(value).to_ne_bytes();
    let long = |value: u8| u32::from(value).to_ne_bytes();
    let mut message = [0_u8; LENGTH as usize];
    let parts: [(usize, &[u8]); 7] = [
        (0, &long(LENGTH)),
        (4, &short(NEW_ROUTE)),
        (6, &FLAGS),
        (16, &[family, 0, 0, 0, TABLE_LOCAL, BY_HAND, HOST, LOCAL]),
        (28, &short(8)),
        (30, &short(INTERFACE)),
        (32, &long(LOOPBACK)),
    ];
    for (at, part) in parts {
        for (to, from) in message.iter_mut().skip(at).zip(part) {
            *to = *from;
        }
    }
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &message, SendFlags::empty())?;
    // The kernel has done it by now, and says how it went: a header, then the errno.
    let mut answer = [0_u8; 64];
    recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    let errno = answer.get(16..).and_then(|rest| rest.first_chunk::<4>());
    match errno.map_or(-libc::EPROTO, |errno| i32::from_ne_bytes(*errno)) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// A socket that listens, non-blocking. Only system calls.
fn listening(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        // At an address that no interface has, and at that alone.
        sockopt::set_ipv6_freebind(&socket, true)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Connections of an earlier process may still be about to end.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A network for as long as its process is there.
#[derive(Debug)]
pub(crate) struct Lease {
    /// None once it was given back.
    held: Mutex<Option<Held>>,
    networks: Arc<Networks>,
}

#[derive(Debug)]
struct Held {
    network: OwnedFd,
    /// The server's sockets in it. Others hold them too, for longer perhaps.
    listening: Vec<OwnedFd>,
}

impl Lease {
    /// Has the server listen at more addresses in it.
    pub(crate) fn forward(
        &self,
        stack: &mut Stack,
        owner: BorrowedFd<'_>,
        addresses: &[SocketAddr],
    ) -> io::Result<Vec<OwnedFd>> {
        // Held until it is done, so that the network cannot be given to another meanwhile.
        let mut held = self.lock();
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let held = held.as_mut().ok_or_else(gone)?;
        let made: Vec<Made> = addresses.iter().map(|_| Made::new()).collect();
        child::errand(stack, libc::CLONE_FILES, &|| {
            system::enter(owner, libc::CLONE_NEWUSER)?;
            system::enter(&held.network, libc::CLONE_NEWNET)?;
            for (made, address) in made.iter().zip(addresses) {
                made.put(listening(address)?);
            }
            Ok(())
        })?;
        let sockets: Vec<OwnedFd> = made.iter().filter_map(Made::take).collect();
        let copies: io::Result<Vec<OwnedFd>> = sockets.iter().map(OwnedFd::try_clone).collect();
        held.listening.extend(copies?);
        Ok(sockets)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called once no process of the network is left.
    pub(crate) fn give_back(&self) {
        let Some(Held { network, listening }) = self.lock().take() else {
            return;
        };
        // Nobody who comes later may find what was meant for this process, and what this
        // process left in a queue must not be taken for another's.
        let all_shut = listening
            .iter()
            .all(|socket| shutdown(socket.as_fd(), Shutdown::Read).is_ok());
        let mut kept = self.networks.lock();
        if all_shut && kept.len() < MOST_KEPT {
            kept.push(network);
        }
    }
}
