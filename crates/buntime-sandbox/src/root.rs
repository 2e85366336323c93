//! A private root: a process sees a few folders of the system and nothing else.
//!
//! The child puts it together in its own mount namespace, before it executes
//! anything. What comes later ([`Additions`]) is brought by another child of the
//! server's, which enters the same namespaces.

mod additions;
mod nodes;

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

pub(crate) use self::additions::Additions;
use self::nodes::{Node, Nodes, Source};
use crate::error::Step;
use crate::held;
use crate::policy::{Net, Policy, ProcMount};
use crate::system;
use crate::user_map::UserMap;
use crate::view::{self, c_string};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// What may be read: libraries of apps among it, which are mapped as programs are.
const READ: u64 = RDONLY | NOSUID | NODEV;
/// What a process writes is not to be run.
const WRITE: u64 = NOSUID | NODEV | NOEXEC;

/// Where a process looks for itself.
const OWN_PROC: &str = "/proc/self";
/// The user and group that a process is in its own eyes.
const SELF: u32 = 1000;
const FOLDER: Mode = Mode::from_raw_mode(0o755);
const FILE: Mode = Mode::from_raw_mode(0o644);

/// The namespaces of a process with a private root, for clone. A network with a gateway
/// is not among them: it is there before.
pub(crate) fn namespaces(policy: &Policy) -> libc::c_int {
    let common = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    match policy.net {
        Net::Private if policy.layers.network => common | libc::CLONE_NEWNET,
        _ => common,
    }
}

/// How the root is put together, made before the child.
#[derive(Debug)]
pub(crate) struct Root {
    stage: CString,
    nodes: Vec<Node>,
    proc: ProcMount,
    /// Whether what `/proc` tells of the network is hidden. Not from who starts programs:
    /// each of them has a folder of its own there.
    hides_network: bool,
    user: UserMap,
    /// Whether nothing is to be shown later.
    is_whole: bool,
}

impl Root {
    pub(crate) fn of(policy: &Policy, proc: ProcMount, program: &Path) -> io::Result<Self> {
        let mut nodes = Nodes::default();
        let programs = view::PROGRAMS.iter().filter(|_| policy.spawn);
        for folder in view::LIBRARIES.iter().chain(programs) {
            let folder = Path::new(folder);
            match fs::read_link(folder) {
                Ok(to) => nodes.link(folder, &to)?,
                Err(_) => nodes.bind(folder, READ)?,
            }
        }
        for file in view::COMMON_FILES {
            nodes.bind(file.as_ref(), READ)?;
        }
        for device in view::DEVICES {
            // Of a read-only mount a device may still be written, if its mode lets it.
            nodes.bind(device.as_ref(), RDONLY | NOSUID | NOEXEC)?;
        }
        nodes.bind(program, READ)?;
        if let Some(interpreter) = view::interpreter(program)? {
            nodes.bind(&interpreter, READ)?;
        }
        for path in &policy.read {
            nodes.bind(path, READ)?;
        }
        for path in &policy.write {
            nodes.bind(path, WRITE)?;
        }
        for held in &policy.held {
            nodes.hold(held)?;
        }
        for path in &policy.write_later {
            nodes.folder(path)?;
        }
        nodes.folder("/proc".as_ref())?;
        if proc == ProcMount::Host {
            nodes.folder(OWN_PROC.as_ref())?;
            for file in view::MACHINE {
                nodes.bind(file.as_ref(), READ | NOEXEC)?;
            }
        }
        Ok(Self {
            stage: c_string(&policy.stage)?,
            nodes: nodes.list,
            proc,
            hides_network: !policy.spawn,
            user: UserMap::of(Some(SELF))?,
            is_whole: policy.write_later.is_empty(),
        })
    }

    /// Puts the root together and makes it that of this process. Only system calls.
    pub(crate) fn enter(&self) -> Result<(), (Step, io::Error)> {
        self.user.write().map_err(|error| (Step::User, error))?;
        UserMap::bound_watchers();
        let root = self.build()?;
        self.mount_proc(root.as_fd())
            .map_err(|error| (Step::Proc, error))?;
        turn_into(root.as_fd()).map_err(|error| (Step::Root, error))?;
        if self.is_whole {
            system::mount_setattr(&root, RDONLY, 0, 0).map_err(|error| (Step::Root, error))?;
        }
        Ok(())
    }

    fn build(&self) -> Result<OwnedFd, (Step, io::Error)> {
        let folder = self.stage().map_err(|error| (Step::Root, error))?;
        for node in &self.nodes {
            make(folder.as_fd(), node).map_err(|error| (node.step(), error))?;
        }
        Ok(folder)
    }

    fn stage(&self) -> io::Result<OwnedFd> {
        let folder = new_file_system(
            c"tmpfs",
            &[(c"size", c"64k"), (c"nr_inodes", c"2k"), (c"mode", c"755")],
        )?;
        rustix::mount::move_mount(
            &folder,
            c"",
            CWD,
            self.stage.as_c_str(),
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )?;
        Ok(folder)
    }

    fn mount_proc(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        // Until something is shown there, this is an empty folder of the private root.
        let (at, hidden) = match self.proc {
            ProcMount::Own => (c"proc", [c"proc/1/net", c"proc/1/task"]),
            ProcMount::Host => (c"proc/self", [c"proc/self/net", c"proc/self/task"]),
        };
        let empty = if self.hides_network {
            [Some(empty(root, at)?), Some(empty(root, at)?)]
        } else {
            [None, None]
        };
        let proc = match self.proc {
            ProcMount::Own => new_file_system(c"proc", &[(c"subset", c"pid")])?,
            // Followed here, the link leads to what the host's tells of this process.
            ProcMount::Host => copy_path(c"/proc/self/.", READ | NOEXEC)?,
        };
        show(&proc, root, at)?;
        // Each thread has a folder that tells of the network, too.
        for (empty, hidden) in empty.into_iter().flatten().zip(hidden) {
            show(empty, root, hidden)?;
        }
        Ok(())
    }
}

fn make(root: BorrowedFd<'_>, node: &Node) -> io::Result<()> {
    match node {
        Node::Folder(at) => match rustix::fs::mkdirat(root, at.as_c_str(), FOLDER) {
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ => Ok(()),
        },
        Node::File(at) => {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(root, at.as_c_str(), flags, FILE)?;
            Ok(())
        }
        Node::Link { at, to } => Ok(rustix::fs::symlinkat(to.as_c_str(), root, at.as_c_str())?),
        Node::Bind {
            source,
            at,
            attributes,
        } => match source {
            Source::Path(_) => show(copy(source, *attributes)?, root, at),
            Source::Held { .. } => {
                let tree = copy(source, *attributes)?;
                // It may be seen in a folder that others write: no link leads elsewhere.
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let at = rustix::fs::openat2(root, at.as_c_str(), flags, Mode::empty(), resolve)?;
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                    | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                Ok(rustix::mount::move_mount(tree, c"", at, c"", flags)?)
            }
        },
    }
}

/// A file system of its own, not yet to be seen anywhere.
fn new_file_system(kind: &CStr, options: &[(&CStr, &CStr)]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(rustix::mount::fsmount(context.as_fd(), flags, attributes)?)
}

/// All that is mounted in what is copied comes along.
const COPY: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_RECURSIVE);

/// What is at `path`, to be shown elsewhere.
fn copy_path(path: &CStr, attributes: u64) -> io::Result<OwnedFd> {
    let tree = rustix::mount::open_tree(CWD, path, COPY)?;
    system::mount_setattr(&tree, attributes, 0, libc::AT_RECURSIVE)?;
    Ok(tree)
}

/// What `source` is, to be shown elsewhere.
fn copy(source: &Source, attributes: u64) -> io::Result<OwnedFd> {
    match source {
        Source::Path(path) => copy_path(path, attributes),
        Source::Held { real, identity, .. } => {
            let found = held::open_again(real, *identity)?;
            let tree =
                rustix::mount::open_tree(found, c"", COPY.union(OpenTreeFlags::AT_EMPTY_PATH))?;
            system::mount_setattr(&tree, attributes, 0, libc::AT_RECURSIVE)?;
            Ok(tree)
        }
    }
}

/// A folder without what is mounted in it, to be shown elsewhere, read-only.
fn empty(root: BorrowedFd<'_>, at: &CStr) -> io::Result<OwnedFd> {
    let alone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(root, at, alone)?;
    system::mount_setattr(&tree, READ | NOEXEC, 0, 0)?;
    Ok(tree)
}

fn show(tree: impl AsFd, root: BorrowedFd<'_>, at: &CStr) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, c"", root, at, flags)?)
}

/// Makes `root` the root of this process and lets go of the old one.
fn turn_into(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // The old root ends up on top of the new one, and goes.
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}
