//! Files and folders that are opened once, judged, and then given to a process: what is
//! given is what was judged, whatever became of the path meanwhile.
//!
//! A mount can only be copied by who is in its namespace, so the child opens the real place
//! again. It takes what it finds there only if that is the very file or folder that is held
//! open here, whose number nothing else can have as long as it is.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

/// Opens something as a place, with which nothing can be read or written.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Which file or folder something is: its file system, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// A file or folder that is open, to be given to a process with
/// [`Policy::held`](crate::Policy::held).
#[derive(Debug, Clone)]
pub struct Held {
    path: PathBuf,
    real: PathBuf,
    identity: Identity,
    is_folder: bool,
    writable: bool,
    opened: Arc<OwnedFd>,
}

impl Held {
    /// Opens `path`, which is `root` or lies beneath it by its text; both are absolute.
    /// Links that lead to `root` are followed. Beneath it none is.
    ///
    /// # Errors
    /// `NotFound` if nothing is there, `FilesystemLoop` if there is a link beneath `root`,
    /// `Unsupported` if it is a socket, a pipe or a device, `InvalidInput` if `path` is not beneath it, and what the system answers.
    pub fn open(root: &Path, path: &Path, writable: bool) -> io::Result<Self> {
        let rest = path.strip_prefix(root);
        let rest = rest.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut opened = rustix::fs::openat(CWD, root, PLACE, Mode::empty())?;
        if !rest.as_os_str().is_empty() {
            let resolve = ResolveFlags::BENEATH | NO_LINKS;
            opened = rustix::fs::openat2(&opened, rest, PLACE, Mode::empty(), resolve)?;
            // Such a flag opens a last link itself.
            if kind(&opened)? == FileType::Symlink {
                return Err(rustix::io::Errno::LOOP.into());
            }
        }
        let kind = kind(&opened)?;
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            let why = "it is neither a file nor a folder";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let real = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
        if !real.is_absolute() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            path: path.to_owned(),
            real,
            identity: identity(&opened)?,
            is_folder: kind == FileType::Directory,
            writable,
            opened: Arc::new(opened),
        })
    }

    /// Where it is seen, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, without links: what is to be judged.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Whether it may be written.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) const fn is_folder(&self) -> bool {
        self.is_folder
    }

    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Keeps it open.
    pub(crate) fn keep(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.opened)
    }
}

/// Opens what is at `path`, if it is what `identity` says and no link leads there. Only
/// system calls. `ESTALE` if it is something else, `ELOOP` if there is a link.
pub(crate) fn open_again(path: &CStr, identity: Identity) -> io::Result<OwnedFd> {
    let found = rustix::fs::openat2(CWD, path, PLACE, Mode::empty(), NO_LINKS)?;
    if self::identity(&found)? == identity {
        Ok(found)
    } else {
        Err(rustix::io::Errno::STALE.into())
    }
}

fn identity(opened: &OwnedFd) -> io::Result<Identity> {
    let found = rustix::fs::fstat(opened)?;
    Ok(Identity(found.st_dev, found.st_ino))
}

fn kind(opened: &OwnedFd) -> io::Result<FileType> {
    let found = rustix::fs::fstat(opened)?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::view::c_string;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["out/in", "victim"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("out/file"), "").unwrap();
        (dir, root)
    }

    fn refused(root: &Path, path: &Path) -> io::ErrorKind {
        Held::open(root, path, true).unwrap_err().kind()
    }

    #[test]
    fn links_to_what_was_granted_are_followed_and_links_beneath_it_are_not() {
        let (_dir, root) = folder();
        symlink(root.join("out"), root.join("way")).unwrap();
        let through = Held::open(&root.join("way"), &root.join("way/in"), true).unwrap();
        assert_eq!(through.real(), root.join("out/in"));
        assert_eq!(through.path(), root.join("way/in"));
        let file = Held::open(&root.join("out/file"), &root.join("out/file"), false).unwrap();
        assert!(!file.is_folder() && !file.is_writable());

        let out = root.join("out");
        for to in ["../victim", "in", "/etc", "/proc/self/root"] {
            symlink(to, out.join("x")).unwrap();
            let looped = io::Error::from_raw_os_error(libc::ELOOP).kind();
            assert_eq!(refused(&out, &out.join("x")), looped, "{to}");
            assert_eq!(refused(&out, &out.join("x/y")), looped, "{to}");
            fs::remove_file(out.join("x")).unwrap();
        }
        assert_eq!(refused(&out, &out.join("x")), io::ErrorKind::NotFound);
        let elsewhere = refused(&out, &root.join("victim"));
        assert_eq!(elsewhere, io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_was_swapped_after_it_was_judged_is_not_opened_again() {
        let (_dir, root) = folder();
        let (out, inner) = (root.join("out"), root.join("out/in"));
        let held = Held::open(&out, &inner, true).unwrap();
        let real = c_string(held.real()).unwrap();
        assert!(open_again(&real, held.identity()).is_ok());
        let errno = || {
            let error = open_again(&real, held.identity()).unwrap_err();
            error.raw_os_error()
        };
        fs::rename(&inner, root.join("moved")).unwrap();
        assert_eq!(errno(), Some(libc::ENOENT));
        symlink(root.join("victim"), &inner).unwrap();
        assert_eq!(errno(), Some(libc::ELOOP));
        // Nor through a link to the very same.
        fs::remove_file(&inner).unwrap();
        symlink(root.join("moved"), &inner).unwrap();
        assert_eq!(errno(), Some(libc::ELOOP));
        fs::remove_file(&inner).unwrap();
        fs::rename(root.join("victim"), &inner).unwrap();
        assert_eq!(errno(), Some(libc::ESTALE));
    }
}
