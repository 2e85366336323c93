//! Networks for processes: each has one of its own, in which nothing is but loopback and
//! the sockets that the server put there.
//!
//! The kernel takes about two milliseconds of processor time to make a network and to
//! take it away again, so they are kept: who comes later gets one whose process is gone
//! with all that it had. What belongs to the server ends with the process too: its
//! sockets are shut down before the network is given to another.
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
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, listen, shutdown, socket_with, sockopt,
};

use crate::child::{self, Stack};
use crate::guard;
use crate::root::UserMap;
use crate::system;

/// Networks that wait for a process. More are taken away by the kernel.
const MOST_KEPT: usize = 32;
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

/// A socket that listens, non-blocking. Only system calls.
fn listening(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
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
    /// To be called once no process of the network is left.
    pub(crate) fn give_back(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Held { network, listening }) = held.take() else {
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
