//! The app's folder: read, and changed in one place only.
//!
//! The folder may belong to somebody who means no good. It is opened once, and all
//! that is done in it is done beneath that descriptor and follows no link.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use buntime_core::{InstallPlan, InstallPlanError, PackageJson};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, mkdirat,
    openat, renameat, renameat_with, statat, syncfs,
};
use rustix::io::Errno;

use super::{Problem, failed, tree};
use crate::leftovers;

/// What is installed.
pub(super) const MODULES: &str = "node_modules";
/// What a copy under way is called. The catalog does not look at such names.
const UNDER_WAY: &str = ".buntime-install-";
/// The old `node_modules` beside it, on the way out.
const REPLACED: &str = "replaced";

/// Device and inode: which directory it is.
pub(super) type Identity = (u64, u64);

/// An app's folder, open.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    dir: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            dir: open_dir(CWD, path)?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other servers from installing here; false if one does. It is kept as
    /// long as this value, and ends with the process.
    pub(super) fn try_lock(&self) -> bool {
        // Some network file systems have no locks; then nothing is to be waited for.
        flock(&self.dir, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
    }

    /// Removes what an install left that was cut short. Must be locked.
    pub(super) fn clear(&self) {
        let Ok(entries) = Dir::read_from(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_bytes()
                .starts_with(UNDER_WAY.as_bytes())
                && let Ok(name) = entry.file_name().to_str()
            {
                // The next install tries again.
                let _ = leftovers::remove(&self.path.join(name));
            }
        }
    }

    /// What is to be installed.
    pub(super) fn plan(&self) -> Result<Result<Option<InstallPlan>, InstallPlanError>, Problem> {
        let package = self.read("package.json", PackageJson::MAX_BYTES)?;
        let lock = self.read("bun.lock", InstallPlan::MAX_LOCKFILE_BYTES)?;
        Ok(
            match InstallPlan::new(package.as_deref(), lock.as_deref()) {
                Err(InstallPlanError::Missing) if self.has_old_lockfile() => {
                    Err(InstallPlanError::OldLockfile)
                }
                plan => plan,
            },
        )
    }

    fn has_old_lockfile(&self) -> bool {
        statat(&self.dir, "bun.lockb", AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// A text file of the app's; `None` if there is none.
    fn read(&self, name: &str, limit: usize) -> Result<Option<String>, Problem> {
        let refused = |why: &str| Problem::Failed(format!("{name} {why}"));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(refused("is a symbolic link; deploy the file itself"));
            }
            Err(error) => return Err(refused(&format!("cannot be read: {error}"))),
        };
        let found = fstat(&file).map_err(|error| refused(&error.to_string()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(refused("is no file"));
        }
        let mut text = String::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        File::from(file)
            .take(most)
            .read_to_string(&mut text)
            .map_err(|error| refused(&format!("cannot be read: {error}")))?;
        Ok(Some(text))
    }

    /// Which `node_modules` there is.
    pub(super) fn modules(&self) -> Option<Identity> {
        identity(&self.dir)
    }

    /// Tells early, and clearly, that nothing can be installed here.
    pub(super) fn expect_writable(&self) -> Result<(), Problem> {
        let name = self.new_name();
        let made = mkdirat(&self.dir, name.as_str(), Mode::RWXU)
            .and_then(|()| rustix::fs::unlinkat(&self.dir, name.as_str(), AtFlags::REMOVEDIR));
        match made {
            Ok(()) => Ok(()),
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Err(Problem::Failed(format!(
                "cannot install into {}, which the server may not write; make it writable, or run \
                 `bun install --frozen-lockfile` there before you deploy and take autoInstall out",
                self.path.display()
            ))),
            Err(error) => Err(failed("install into the app's folder")(error.into())),
        }
    }

    /// Takes `node_modules` over from `project`, an install that is complete. The
    /// app has the old one or the new one, at no time a mix. The old one is left in
    /// `project` or for [`Folder::clear`].
    pub(super) fn place(&self, project: &Path) -> io::Result<Identity> {
        let project = open_dir(CWD, project)?;
        if identity(&project).is_none() {
            // Nothing of it was for this machine.
            mkdirat(&project, MODULES, Mode::RWXU)?;
        }
        match self.swap(&project) {
            Err(Errno::XDEV) => {
                let name = self.new_name();
                mkdirat(&self.dir, name.as_str(), Mode::RWXU)?;
                let near = open_dir(&self.dir, name.as_str())?;
                tree::copy(&project, &near, MODULES)?;
                match self.swap(&near) {
                    // A layer of a container image, which can be removed and not moved.
                    Err(Errno::XDEV) => {
                        leftovers::remove(&self.path.join(MODULES))?;
                        renameat(&near, MODULES, &self.dir, MODULES)?;
                    }
                    swapped => swapped?,
                }
            }
            swapped => swapped?,
        }
        // A stamp must not outlive what it stands for when the power fails.
        syncfs(&self.dir)?;
        let modules = self.modules();
        modules.ok_or_else(|| io::Error::other("node_modules has vanished"))
    }

    /// Swaps the two directories' `node_modules`.
    fn swap(&self, other: &OwnedFd) -> rustix::io::Result<()> {
        let exchange = RenameFlags::EXCHANGE;
        match renameat_with(other, MODULES, &self.dir, MODULES, exchange) {
            Ok(()) => Ok(()),
            Err(Errno::XDEV) => Err(Errno::XDEV),
            // There is none yet, or the file system cannot exchange.
            Err(_) => {
                match renameat(&self.dir, MODULES, other, REPLACED) {
                    Err(Errno::NOENT) => {}
                    moved => moved?,
                }
                renameat(other, MODULES, &self.dir, MODULES)
            }
        }
    }

    fn new_name(&self) -> String {
        format!("{UNDER_WAY}{}", uuid::Uuid::new_v4().simple())
    }
}

fn open_dir(parent: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, path, flags, Mode::empty())?)
}

fn identity(dir: &OwnedFd) -> Option<Identity> {
    let found = statat(dir, MODULES, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
    is_dir.then_some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Fixture {
        home: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("app")).unwrap();
            fs::create_dir_all(home.path().join("project/node_modules/a")).unwrap();
            fs::write(home.path().join("project/node_modules/a/index.js"), "new").unwrap();
            Self { home }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.home.path().join(name)
        }

        fn place(&self) -> io::Result<Identity> {
            let folder = Folder::open(&self.path("app")).unwrap();
            folder.place(&self.path("project"))
        }

        fn installed(&self) -> String {
            fs::read_to_string(self.path("app/node_modules/a/index.js")).unwrap()
        }
    }

    #[test]
    fn node_modules_is_taken_over_whatever_was_there() {
        let fixture = Fixture::new();
        let first = fixture.place().unwrap();
        assert_eq!(fixture.installed(), "new");
        assert!(!fixture.path("project/node_modules").exists());

        fs::create_dir_all(fixture.path("project/node_modules/a")).unwrap();
        fs::write(fixture.path("project/node_modules/a/index.js"), "newer").unwrap();
        assert_ne!(fixture.place().unwrap(), first);
        assert_eq!(fixture.installed(), "newer");
        assert!(
            fixture.path("project/node_modules/a").exists(),
            "the old one"
        );
    }

    #[test]
    fn a_link_in_its_place_is_replaced_and_not_followed() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path("other")).unwrap();
        symlink(fixture.path("other"), fixture.path("app/node_modules")).unwrap();
        fixture.place().unwrap();
        assert_eq!(fixture.installed(), "new");
        assert!(
            fs::read_dir(fixture.path("other"))
                .unwrap()
                .next()
                .is_none()
        );
        let found = fs::symlink_metadata(fixture.path("app/node_modules")).unwrap();
        assert!(found.is_dir());
    }

    #[test]
    fn files_that_are_links_or_pipes_are_not_read() {
        let fixture = Fixture::new();
        let folder = Folder::open(&fixture.path("app")).unwrap();
        fs::write(fixture.path("secret"), "{\"dependencies\":{\"a\":\"1\"}}").unwrap();
        symlink(fixture.path("secret"), fixture.path("app/package.json")).unwrap();
        assert!(
            matches!(folder.plan(), Err(Problem::Failed(why)) if why.contains("symbolic link"))
        );
        fs::remove_file(fixture.path("app/package.json")).unwrap();
        let pipe = std::ffi::CString::new(fixture.path("app/package.json").to_str().unwrap());
        rustix::fs::mknodat(CWD, pipe.unwrap(), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(folder.plan(), Err(Problem::Failed(why)) if why.contains("no file")));
    }

    #[test]
    fn one_server_at_a_time_and_leftovers_go() {
        let fixture = Fixture::new();
        let first = Folder::open(&fixture.path("app")).unwrap();
        let second = Folder::open(&fixture.path("app")).unwrap();
        assert!(first.try_lock() && !second.try_lock());
        drop(first);
        assert!(second.try_lock());
        let left = fixture.path("app").join(format!("{UNDER_WAY}x"));
        fs::create_dir_all(left.join("node_modules/a")).unwrap();
        fs::write(fixture.path("app/.env"), "A=1").unwrap();
        second.clear();
        assert!(!left.exists() && fixture.path("app/.env").exists());
        second.expect_writable().unwrap();
        assert_eq!(fs::read_dir(fixture.path("app")).unwrap().count(), 1);
    }
}
