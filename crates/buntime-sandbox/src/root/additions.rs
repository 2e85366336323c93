//! What a process with a private root is shown later.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::nodes::{Node, Nodes, Source};
use super::{FILE, FOLDER, RDONLY, READ, WRITE, copy, show};
use crate::policy::Attachment;
use crate::system;
use crate::view::c_string;

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
