//! File systems of a test's own: [`SmallDisk`], which can be full or read-only, and
//! [`FailingDisk`], of which reading fails.
//!
//! Mounting is for root. Anybody is root in a user namespace of his own, so there the test
//! of another user runs once more; but a namespace has no loop devices, without which no
//! disk fails. A machine that gives neither has the test skipped, which is told, see
//! [`skipped`].

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Advice, fadvise, statvfs};
use rustix::io::Errno;
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

/// Bytes in a block of a [`FailingDisk`].
const BLOCK: u64 = 4096;
/// And on all of it.
const SIZE: u64 = 16 << 20;

/// A file system with files that are only read, until reading them fails: ext4 on a loop
/// device with a file behind it, which can be made shorter.
#[derive(Debug)]
pub struct FailingDisk {
    dir: TempDir,
    image: File,
    /// What the image holds while nothing fails.
    whole: Vec<u8>,
    /// All of its files, in the order in which they lie there.
    files: Vec<String>,
}

impl FailingDisk {
    /// Mounts one with these files. They lie on it one after the other: where one cannot be
    /// read, those after it cannot be either. `None` where that cannot be had, which is told.
    ///
    /// # Panics
    /// If the files have no room on it.
    #[must_use]
    #[track_caller]
    pub fn mount(files: &[(&str, &[u8])]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let image = File::create_new(place("image")).unwrap();
        image.set_len(SIZE).unwrap();
        fs::create_dir(place("disk")).unwrap();
        let mut format = Command::new("mkfs.ext4");
        format.args(["-q", "-F", "-b", &BLOCK.to_string(), "-O", "^has_journal"]);
        let mut mount = Command::new("mount");
        mount.args(["-o", "ro,loop"]);
        let made = run(format.arg(place("image")))
            .map(|_| write_files(dir.path(), files))
            .and_then(|()| run(mount.arg(place("image")).arg(place("disk"))));
        if let Err(refused) = made {
            skipped(&format!("no disk that fails can be mounted: {refused}"));
            return None;
        }
        Some(Self {
            whole: fs::read(place("image")).unwrap(),
            image,
            files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
            dir,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// From now on reading fails, for `file` from about `offset` on, and for what lies
    /// behind it. A folder lies before the files that are in it.
    ///
    /// # Panics
    /// If what is there can still be read.
    pub fn fail_from(&self, file: &str, offset: u64) {
        let image = self.dir.path().join("image");
        let mut list = Command::new("debugfs");
        list.args(["-R", &format!("blocks /{file}")]).arg(&image);
        let blocks = run(&mut list).unwrap();
        let first = usize::try_from(offset / BLOCK).unwrap();
        let first: u64 = blocks.split(' ').nth(first).unwrap().parse().unwrap();
        self.image.set_len(first * BLOCK).unwrap();
        self.forget();
        let path = self.path().join(file);
        let read = if path.is_dir() {
            fs::read_dir(&path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>().map(drop))
        } else {
            fs::read(&path).map(drop)
        };
        let error = read.map_err(|error| error.raw_os_error());
        assert_eq!(error, Err(Some(Errno::IO.raw_os_error())), "{file}");
    }

    /// From now on all can be read again.
    ///
    /// # Panics
    /// If the file behind the disk cannot be written.
    pub fn heal(&self) {
        self.image.write_all_at(&self.whole, 0).unwrap();
        self.forget();
    }

    /// Has the system forget what it has read.
    fn forget(&self) {
        for file in &self.files {
            if let Ok(file) = File::open(self.path().join(file)) {
                fadvise(file, 0, None, Advice::DontNeed).unwrap();
            }
        }
        let mut device = Command::new("findmnt");
        device.args(["-n", "-o", "SOURCE"]).arg(self.path());
        let device = run(&mut device).unwrap();
        run(Command::new("blockdev").args(["--flushbufs", &device])).unwrap();
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// Writes files into an image that is mounted nowhere.
fn write_files(dir: &Path, files: &[(&str, &[u8])]) {
    let mut commands = String::new();
    let mut folders = std::collections::BTreeSet::new();
    for (number, (name, content)) in files.iter().enumerate() {
        for (end, _) in name.match_indices('/') {
            if folders.insert(&name[..end]) {
                writeln!(commands, "mkdir {}", &name[..end]).unwrap();
            }
        }
        let source = dir.join(format!("file{number}"));
        fs::write(&source, content).unwrap();
        writeln!(commands, "write {} {name}", source.display()).unwrap();
    }
    fs::write(dir.join("commands"), commands).unwrap();
    let mut write = Command::new("debugfs");
    write.arg("-w").arg("-f").arg(dir.join("commands"));
    run(write.arg(dir.join("image"))).unwrap();
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
