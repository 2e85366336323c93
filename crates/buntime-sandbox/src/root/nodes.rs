//! What is to be made in an empty root, and in which order.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{RDONLY, READ, WRITE};
use crate::error::Step;
use crate::held::{Held, Identity};
use crate::view::c_string;

/// One thing to make in an empty root. Paths in it are relative.
#[derive(Debug)]
pub(super) enum Node {
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
pub(super) enum Source {
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
    pub(super) const fn step(&self) -> Step {
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

/// A list of nodes in which each comes after those that it needs.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) list: Vec<Node>,
    /// What there is already.
    made: Vec<PathBuf>,
    /// What came as a whole, so that nothing can be made in it; and whether it may be
    /// written.
    whole: Vec<(PathBuf, bool)>,
}

impl Nodes {
    /// Makes a folder and all on the way to it, so that the path can be followed as it is
    /// written, up and down.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
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

    pub(super) fn link(&mut self, path: &Path, to: &Path) -> io::Result<()> {
        let at = relative(path)?;
        let to = c_string(to)?;
        self.list.push(Node::Link { at, to });
        self.whole.push((path.to_owned(), false));
        Ok(())
    }

    /// Shows what is at `path` there. What is not there is left out.
    pub(super) fn bind(&mut self, path: &Path, attributes: u64) -> io::Result<()> {
        let Ok(found) = fs::metadata(path) else {
            return Ok(());
        };
        let source = Source::Path(c_string(path)?);
        self.show(source, found.is_dir(), path, attributes)
    }

    /// Shows what is held where it is to be seen.
    pub(super) fn hold(&mut self, held: &Held) -> io::Result<()> {
        let attributes = if held.is_writable() { WRITE } else { READ };
        self.show(Source::of(held)?, held.is_folder(), held.path(), attributes)
    }

    pub(super) fn show(
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
