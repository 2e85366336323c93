//! What a process may do, as data.

use std::path::PathBuf;

use crate::held::Held;

/// The layers that confine a process. Which of them a machine has, only trying
/// tells: [`probe`](crate::probe).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Rights on files, TCP and signals, in the version that the kernel has.
    pub landlock: Option<Landlock>,
    /// The list of system calls.
    pub calls: bool,
    /// User, mount, process, IPC and host name namespaces.
    pub namespaces: Option<ProcMount>,
    /// Network namespaces; only together with the others.
    pub network: bool,
    /// Connections are made by the server, which lets a process listen once; only together
    /// with `calls`. Where there are network namespaces it is not needed.
    pub broker: bool,
}

impl Layers {
    /// Nothing beyond what every process gets.
    pub const NONE: Self = Self {
        landlock: None,
        calls: false,
        namespaces: None,
        network: false,
        broker: false,
    };

    /// Whether files that are not given to a process are out of its reach. Landlock needs help
    /// for that: it does not look at changes of modes, which the list of system calls refuses,
    /// and does not look at `truncate` before version 3.
    #[must_use]
    pub fn guards_files(&self) -> bool {
        self.namespaces.is_some() || self.calls && self.landlock >= Some(Landlock(3))
    }

    /// Whether a process whose user is root is kept from what that opens: files, and services
    /// on unix sockets that do what root asks. Sockets by path are hidden in a private root,
    /// others are known in their own network alone.
    #[must_use]
    pub fn guards_root(&self) -> bool {
        let is_apart = self.network || self.landlock >= Some(Landlock(6));
        let services = self.broker || self.namespaces.is_some() && is_apart;
        self.guards_files() && services
    }
}

/// A version of Landlock's interface, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Landlock(pub u32);

/// Where `/proc` comes from in a private root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcMount {
    /// Mounted anew: it shows the process to itself and nothing else.
    Own,
    /// Of the host's, because a new one is refused, as in many containers: what it tells
    /// of the process itself, and a few files about the machine.
    Host,
}

/// Which network a process is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Net {
    /// The host's, over which TCP connections may be made to anything.
    #[default]
    Host,
    /// The host's, over which TCP connections may be made to these ports alone,
    /// whatever the address. Landlock 4 is needed for that.
    Ports(Vec<u16>),
    /// The host's, over which TCP connections may be made to 127.0.0.1 at this port alone,
    /// and none to sockets by path. Without [`Layers::broker`] it is as `Ports`.
    Loopback {
        /// Where the server listens for it.
        port: u16,
    },
    /// One of its own in which there is nothing. Without [`Layers::network`], and with
    /// [`Layers::broker`] or Landlock 4, the host's, over which no connection may be made.
    Private,
    /// One of its own in which there is one socket that listens, made with the process:
    /// the server accepts on it ([`Process::gateway`](crate::Process::gateway)), and
    /// nothing else can be reached. [`Layers::network`] is needed for that.
    ///
    /// Landlock does not limit connections then: what else the server will let listen in
    /// there is not known at the start.
    Gateway {
        /// At 127.0.0.1; not 0. Any number will do, below 1024 too.
        port: u16,
    },
}

/// What confines a process.
#[derive(Debug, Clone)]
pub struct Policy {
    /// With which means.
    pub layers: Layers,
    /// The network.
    pub net: Net,
    /// Files and folders that may be read, absolute. The program, the system's
    /// libraries and a few files that every program wants need not be named. What
    /// is not there is left out.
    pub read: Vec<PathBuf>,
    /// Files and folders that may be written, absolute, among them the working directory.
    pub write: Vec<PathBuf>,
    /// What was opened and judged before, to be read or written as it says. If it is not
    /// there any more, or something else is, the process does not start.
    pub held: Vec<Held>,
    /// Empty folders in which [`Launcher::attach`](crate::Launcher::attach) may
    /// later show others that may be written.
    pub write_later: Vec<PathBuf>,
    /// Whether it may start programs: those of the system, and what lies in `read` or is held
    /// to be read. They
    /// are confined as it is. What it writes is never one.
    pub spawn: bool,
    /// Whether it may listen at unix sockets, as a worker does for the server; with
    /// [`Layers::broker`] once, which is to be before it runs what is not trusted.
    pub serves: bool,
    /// An empty folder on which the private root is put together, absolute. Nothing
    /// is written into it.
    pub stage: PathBuf,
}

/// A folder or file that a running process gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Where it will be seen, absolute, if not at its own path: what is there is hidden
    /// then. For a file of names as `/etc/hosts`.
    pub place: Option<PathBuf>,
    /// Whether it is a folder; if that is wrong, it is not shown. It is not looked at before,
    /// for it may lie on a file system that does not answer.
    pub is_folder: bool,
    /// Whether it may be written, for which it must lie in one of
    /// [`Policy::write_later`].
    pub writable: bool,
}
