//! Removing what a worker has left behind.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often a directory is read again that is not empty after all. A file system
/// may pass entries over while others are removed.
const PASSES: usize = 8;

/// Removes a directory with all that is in it. Links are removed, not followed.
///
/// Whoever filled it chose how deep it is, so neither the stack nor the number of
/// open files may grow with that, as they do in the standard library: directories
/// are moved to the top before they are emptied.
///
/// # Errors
/// What the system says. What could be removed until then is gone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let top = open(CWD, path)?;
    let mut mover = Mover {
        top: &top,
        // Nobody can have put something else there.
        prefix: uuid::Uuid::new_v4().simple().to_string(),
        count: 0,
        waiting: Vec::new(),
    };
    mover.empty(&top)?;
    while let Some(name) = mover.waiting.pop() {
        let directory = open(&top, name.as_c_str())?;
        until_empty(
            || mover.empty(&directory),
            || rustix::fs::unlinkat(&top, name.as_c_str(), AtFlags::REMOVEDIR),
        )?;
    }
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?;
    Ok(())
}

fn until_empty(
    mut empty: impl FnMut() -> io::Result<()>,
    remove: impl Fn() -> Result<(), Errno>,
) -> io::Result<()> {
    for _ in 1..PASSES {
        empty()?;
        match remove() {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return Ok(done?),
        }
    }
    Ok(remove()?)
}

/// Takes directories to the top.
struct Mover<'a> {
    top: &'a OwnedFd,
    prefix: String,
    count: u64,
    /// Directories in the top, still to be emptied.
    waiting: Vec<CString>,
}

impl Mover<'_> {
    /// Removes what a directory holds, except for directories, which are moved.
    fn empty(&mut self, directory: &OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => self.take(directory, name)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, from: &OwnedFd, name: &CStr) -> io::Result<()> {
        let place = CString::new(format!("{}-{}", self.prefix, self.count))?;
        self.count += 1;
        match rustix::fs::renameat(from, name, self.top, place.as_c_str()) {
            // A directory that nobody may write into cannot be moved either.
            Err(Errno::ACCESS | Errno::PERM) => {
                drop(open(from, name)?);
                rustix::fs::renameat(from, name, self.top, place.as_c_str())?;
            }
            moved => moved?,
        }
        self.waiting.push(place);
        Ok(())
    }
}

/// Opens a directory, whatever its mode is, so that it can be emptied.
fn open(parent: impl AsFd, name: impl Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(&parent, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let locked = rustix::fs::openat(&parent, name, flags | OFlags::PATH, Mode::empty())?;
            let itself = format!("/proc/self/fd/{}", locked.as_raw_fd());
            rustix::fs::chmod(itself, Mode::RWXU)?;
            rustix::fs::openat(&parent, name, flags | OFlags::RDONLY, Mode::empty())?
        }
        opened => opened?,
    };
    // Of no use to others, and if it fails the next call says so.
    let _ = rustix::fs::fchmod(&opened, Mode::RWXU);
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_tree_of_any_depth_goes_on_a_small_stack() {
        let home = tempfile::tempdir().unwrap();
        let (tree, new) = (home.path().join("tree"), home.path().join("new"));
        fs::create_dir(&tree).unwrap();
        for level in 0..20_000 {
            fs::create_dir(&new).unwrap();
            fs::rename(&tree, new.join("d")).unwrap();
            if level % 1000 == 0 {
                fs::write(new.join("file"), "x").unwrap();
            }
            fs::rename(&new, &tree).unwrap();
        }
        let small = std::thread::Builder::new().stack_size(128 * 1024);
        let path = tree.clone();
        small
            .spawn(move || remove(&path))
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_what_they_lead_to_stays() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        fs::create_dir_all(outside.join("folder")).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink(outside.join("file"), tree.join("link")).unwrap();
        symlink("nowhere", tree.join("a/b/dangling")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("file").exists() && outside.join("folder").exists());
        // Nor is one followed that stands in the place of the tree itself.
        symlink(&outside, &tree).unwrap();
        assert!(remove(&tree).is_err());
        assert!(outside.join("file").exists());
    }

    #[test]
    fn directories_that_may_not_be_read_or_written_go_too() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        for (path, mode) in [("a/b/c", 0o000), ("a/b", 0o500), ("a", 0o000)] {
            fs::set_permissions(tree.join(path), Permissions::from_mode(mode)).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }
}
