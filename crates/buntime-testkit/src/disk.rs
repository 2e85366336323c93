//! A file system of a test's own, which can be full or read-only.
//!
//! Mounting is for root. Anybody is root in a user namespace of his own, so there the test
//! of another user runs once more. A machine that gives neither has the test skipped, which
//! is told, see [`skipped`].

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount_remount};
use tempfile::TempDir;

use crate::skipped;

/// Set where a test runs once more, as one who may mount.
const ONCE_MORE: &str = "BUNTIME_TEST_MAY_MOUNT";

/// A small file system, in memory.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one of these options, like `size=8m,nr_inodes=2000`. To be the first that a
    /// test does: `None` means that it is done, for it has run where it may mount, or that
    /// there is no such place, which is told.
    ///
    /// # Panics
    /// If the test failed where it may mount.
    #[must_use]
    #[track_caller]
    pub fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounting = || {
            let mut command = Command::new("mount");
            command.args(["-t", "tmpfs", "-o", options, "buntime-test"]);
            command.arg(dir.path());
            command
        };
        let refused = match run(&mut mounting()) {
            Ok(_) => return Some(Self(dir)),
            Err(refused) => refused,
        };
        assert!(std::env::var_os(ONCE_MORE).is_none(), "{refused}");
        let mut probe = as_root_of_a_namespace("mount");
        match run(probe.args(mounting().get_args())) {
            Ok(_) => test_once_more(),
            Err(also) => skipped(&format!("this user may not mount: {refused}; {also}")),
        }
        None
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Bytes in use.
    ///
    /// # Panics
    /// If the system does not tell.
    #[must_use]
    pub fn used(&self) -> u64 {
        let stat = statvfs(self.path()).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    /// From now on it is read and not written.
    ///
    /// # Panics
    /// If the system refuses, as it does while a file is open to be written.
    pub fn make_read_only(&self) {
        // Not by `mount`, which repeats the disk's owner: a namespace may not know him.
        mount_remount(self.path(), MountFlags::RDONLY, "").unwrap();
    }

    /// From now on it is written again.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn make_writable(&self) {
        mount_remount(self.path(), MountFlags::empty(), "").unwrap();
    }

    /// Leaves not a byte, nor a place for another file.
    ///
    /// # Panics
    /// If there is no room to begin with.
    pub fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        let mut number = 0;
        while File::create(self.path().join(format!("filler{number}"))).is_ok() && number < 20_000 {
            number += 1;
        }
    }

    /// Takes away what [`SmallDisk::fill`] has put there.
    ///
    /// # Panics
    /// If it cannot.
    pub fn clear(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("filler") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

fn unmount(path: &Path) {
    // At once for whoever looks, and for whoever still reads when he is done.
    let _ = Command::new("umount").arg("-l").arg(path).status();
}

/// Runs the test that is running as root of a user namespace, with mounts of its own.
///
/// # Panics
/// If it fails there.
#[track_caller]
fn test_once_more() {
    let test = std::thread::current();
    let test = test.name().expect("a test's thread has its name");
    let tests = std::env::current_exe().unwrap();
    let mut command = as_root_of_a_namespace(tests);
    command.args(["--exact", test, "--nocapture"]);
    let output = command.env(ONCE_MORE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let passed = output.status.success() && said.contains(" 1 passed");
    assert!(passed, "in a user namespace:\n{said}");
}

fn as_root_of_a_namespace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "-m"]).arg(program);
    command
}

/// Runs a program to its good end; gives what it wrote, or why not.
fn run(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        other => Err(format!("{command:?}: {other:?}")),
    }
}
