//! A private root: a process sees a few folders of the system and nothing else.
//!
//! The child puts it together in its own mount namespace, before it executes
//! anything. What comes later ([`attach`]) is brought by another child of the
//! server's, which enters the same namespaces.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::error::Step;
use crate::guard;
use crate::held::{self, Held, Identity};
use crate::policy::{Attachment, Net, Policy, ProcMount};
use crate::system;
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

/// One thing to make in an empty root. Paths in it are relative.
#[derive(Debug)]
enum Node {
    Folder(CString),
    File(CString),
    Link {
        at: CString,
        to: CString,
    },
    Bind {
        source: Source,
        at: CString,
        attributes: u64,
    },
}

/// What is shown.
#[derive(Debug)]
enum Source {
    /// What is at a path.
    Path(CString),
    /// What was judged, if it still is where it was.
    Held {
        real: CString,
        identity: Identity,
        /// While it is open, nothing else has its identity.
        #[expect(dead_code, reason = "it is only to stay open")]
        opened: Arc<OwnedFd>,
    },
}

impl Node {
    /// What fails if it cannot be made.
    const fn step(&self) -> Step {
        match self {
            Self::Bind {
                source: Source::Held { .. },
                ..
            } => Step::Held,
            _ => Step::Root,
        }
    }
}

impl Source {
    fn of(held: &Held) -> io::Result<Self> {
        Ok(Self::Held {
            real: c_string(held.real())?,
            identity: held.identity(),
            opened: held.keep(),
        })
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

/// Who the server's user and group are in a new user namespace, made before the child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserMap {
    users: CString,
    groups: CString,
    /// Whether the server is root.
    is_root: bool,
}

impl UserMap {
    /// The server's user and group as `inside`, or as what they are.
    pub(crate) fn of(inside: Option<u32>) -> io::Result<Self> {
        let map = |id: u32| CString::new(format!("{} {id} 1", inside.unwrap_or(id)));
        let user = rustix::process::geteuid();
        Ok(Self {
            users: map(user.as_raw())?,
            groups: map(rustix::process::getegid().as_raw())?,
            is_root: user.is_root(),
        })
    }

    /// Applies this to the user namespace that this process came up in. Only system calls.
    pub(crate) fn write(&self) -> io::Result<()> {
        // The files in `/proc` of who is closed to others belong to root, and this child
        // shares the server's memory, to which that is bound: for as long as it takes to
        // open three files it is open. Not where the server is root.
        let was_closed = !self.is_root && guard::is_closed();
        if was_closed {
            guard::set_closed(false)?;
        }
        let opened = [
            c"/proc/self/setgroups",
            c"/proc/self/uid_map",
            c"/proc/self/gid_map",
        ]
        .map(|path| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
        });
        if was_closed {
            guard::set_closed(true)?;
        }
        let [setgroups, users, groups] = opened;
        // Whoever is no administrator must give up changing groups first.
        rustix::io::write(setgroups?, b"deny")?;
        rustix::io::write(users?, self.users.to_bytes())?;
        rustix::io::write(groups?, self.groups.to_bytes())?;
        Ok(())
    }
}

/// A list of nodes in which each comes after those that it needs.
#[derive(Default)]
struct Nodes {
    list: Vec<Node>,
    /// What there is already.
    made: Vec<PathBuf>,
    /// What came as a whole, so that nothing can be made in it; and whether it may be
    /// written.
    whole: Vec<(PathBuf, bool)>,
}

impl Nodes {
    /// Makes a folder and all on the way to it, so that the path can be followed as it is
    /// written, up and down.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut so_far = PathBuf::from("/");
        for part in path.components() {
            match part {
                Component::ParentDir => {
                    so_far.pop();
                }
                Component::Normal(part) => {
                    so_far.push(part);
                    if !self.made.contains(&so_far) && !self.is_whole(&so_far) {
                        self.list.push(Node::Folder(relative(&so_far)?));
                        self.made.push(so_far.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, to: &Path) -> io::Result<()> {
        let at = relative(path)?;
        let to = c_string(to)?;
        self.list.push(Node::Link { at, to });
        self.whole.push((path.to_owned(), false));
        Ok(())
    }

    /// Shows what is at `path` there. What is not there is left out.
    fn bind(&mut self, path: &Path, attributes: u64) -> io::Result<()> {
        let Ok(found) = fs::metadata(path) else {
            return Ok(());
        };
        let source = Source::Path(c_string(path)?);
        self.show(source, found.is_dir(), path, attributes)
    }

    /// Shows what is held where it is to be seen.
    fn hold(&mut self, held: &Held) -> io::Result<()> {
        let attributes = if held.is_writable() { WRITE } else { READ };
        self.show(Source::of(held)?, held.is_folder(), held.path(), attributes)
    }

    fn show(
        &mut self,
        source: Source,
        is_folder: bool,
        seen: &Path,
        attributes: u64,
    ) -> io::Result<()> {
        let place = straight(seen);
        let writable = attributes & RDONLY == 0;
        let within = self.whole.iter().rev();
        let mut within = within.filter(|(whole, _)| place.starts_with(whole));
        // Something in it may be written even if the whole may not: it is there already.
        let is_there = match within.next() {
            Some((whole, in_whole)) if !writable || *in_whole || *whole == place => return Ok(()),
            within => within.is_some(),
        };
        if !is_there && is_folder {
            self.folder(seen)?;
        } else if !is_there {
            self.folder(seen.parent().unwrap_or(Path::new("/")))?;
            self.list.push(Node::File(relative(&place)?));
        }
        self.list.push(Node::Bind {
            source,
            at: relative(&place)?,
            attributes,
        });
        self.whole.push((place, writable));
        Ok(())
    }

    fn is_whole(&self, path: &Path) -> bool {
        self.whole.iter().any(|(whole, _)| path.starts_with(whole))
    }
}

/// A path without steps up, in a tree without links.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            Component::Normal(part) => straight.push(part),
            _ => {}
        }
    }
    straight
}

/// A path without its first slash.
fn relative(path: &Path) -> io::Result<CString> {
    let bytes = path.as_os_str().as_bytes();
    Ok(CString::new(bytes.strip_prefix(b"/").unwrap_or(bytes))?)
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

/// What a running process is to be shown, made before the child that does it.
#[derive(Debug)]
pub(crate) struct Additions {
    /// Folders to make, relative to the root.
    folders: Vec<CString>,
    files: Vec<CString>,
    /// Source, place in the root, attributes.
    trees: Vec<(Source, CString, u64)>,
}

/// Most things that are shown at once.
pub(crate) const MOST_ADDITIONS: usize = 16;

impl Additions {
    pub(crate) fn of(attachments: &[Attachment]) -> io::Result<Self> {
        if attachments.len() > MOST_ADDITIONS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut nodes = Nodes::default();
        let mut trees = Vec::new();
        for attachment in attachments {
            let Attachment {
                path,
                place,
                is_folder,
                writable,
            } = attachment;
            let attributes = if *writable { WRITE } else { READ };
            let source = Source::Path(c_string(path)?);
            nodes.show(
                source,
                *is_folder,
                place.as_ref().unwrap_or(path),
                attributes,
            )?;
        }
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for node in nodes.list {
            match node {
                Node::Folder(at) => folders.push(at),
                Node::File(at) => files.push(at),
                Node::Bind {
                    source,
                    at,
                    attributes,
                } => trees.push((source, at, attributes)),
                Node::Link { .. } => {}
            }
        }
        Ok(Self {
            folders,
            files,
            trees,
        })
    }

    /// Shows them to `process`. Only system calls; this process can do nothing else
    /// afterwards.
    pub(crate) fn attach(&self, process: BorrowedFd<'_>) -> io::Result<()> {
        // In the namespace of the other's user, with a copy of the mounts that the
        // server sees: from there a tree can be taken along.
        system::enter(process, libc::CLONE_NEWUSER)?;
        system::leave(libc::CLONE_NEWNS)?;
        let mut taken: [Option<OwnedFd>; MOST_ADDITIONS] = Default::default();
        for (place, (source, _, attributes)) in taken.iter_mut().zip(&self.trees) {
            *place = Some(copy(source, *attributes)?);
        }
        system::enter(process, libc::CLONE_NEWNS)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
        // Nothing of the app's runs there yet.
        system::mount_setattr(&root, 0, RDONLY, 0)?;
        for folder in &self.folders {
            match rustix::fs::mkdirat(&root, folder.as_c_str(), FOLDER) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
        }
        for file in &self.files {
            // One that is hidden may be read-only.
            let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&root, file.as_c_str(), flags, FILE)?;
        }
        for (tree, (_, at, _)) in taken.iter().zip(&self.trees) {
            if let Some(tree) = tree {
                show(tree, root.as_fd(), at)?;
            }
        }
        system::mount_setattr(&root, RDONLY, 0, 0)
    }
}
