//! The Bun that workers run: a copy of the operator's, laid out for quick starts.
//!
//! A start touches thousands of pages of Bun's file, and what each costs depends on how
//! the kernel holds that file: in pieces as large as those in which it came in. Package
//! managers write small ones, and so does the first run after a boot read them; a start
//! then takes a quarter more of the processor. So the server makes a copy in large pieces,
//! in the background. Whatever goes wrong, workers run the operator's file.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use buntime_sandbox::Launch;
use rustix::fs::{Advice, StatVfsMountFlags};
use tokio::time::timeout;

use crate::bundle::run_build;
use crate::confine::build_policy;
use crate::leftovers;
use crate::pool::Shared;

/// The folder of the runtime directory that holds the copy.
const FOLDER: &str = "bun";
const NAME: &str = "bun";
/// What is not whole yet.
const PART: &str = "part";
/// What is read and written at once: no file system holds larger pieces.
const PIECE: usize = 2 << 20;
/// The file systems that hold files in large pieces, or stand in front of one that does:
/// ext4, XFS, Btrfs, overlayfs (`linux/magic.h`). On any other a copy is of no use.
const LARGE: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630];
/// The copy takes at most this share of what is free: one part in so many.
const SHARE: u64 = 10;
/// Longest that trying the copy may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The program that workers run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The operator's.
    given: PathBuf,
    copy: OnceLock<PathBuf>,
}

impl Program {
    pub(crate) fn new(given: PathBuf) -> Self {
        Self {
            given,
            copy: OnceLock::new(),
        }
    }

    /// What a process that starts now runs.
    pub(crate) fn path(&self) -> &Path {
        self.copy.get().unwrap_or(&self.given)
    }
}

/// Makes the copy, or makes the one of an earlier run ready.
pub(crate) async fn copy(shared: Arc<Shared>) {
    let begun = Arc::clone(&shared);
    let made = tokio::task::spawn_blocking(move || {
        let dir = begun.slots_dir.with_file_name(FOLDER);
        lay_out(&begun.program.given, &dir, &|| begun.is_stopping())
    });
    let made = tokio::select! {
        made = made => made.map_err(io::Error::other).and_then(|made| made),
        () = shared.stopped() => return,
    };
    let tried = match made {
        Ok(path) => tried(&shared, path).await,
        Err(error) => Err(error.to_string()),
    };
    match tried {
        Ok(path) => {
            let copy = shared.program.copy.get_or_init(|| path);
            shared.config.events.copied(copy);
        }
        Err(reason) => shared.config.events.not_copied(&reason),
    }
}

/// Where the copy of `given` is. `dir` is of this server alone, and nothing in it runs.
fn lay_out(given: &Path, dir: &Path, is_over: &dyn Fn() -> bool) -> io::Result<PathBuf> {
    let source = File::open(given)?;
    let found = source.metadata()?;
    let place = dir.join(identity(&found));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    is_of_use(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path() != place {
            leftovers::remove(&entry.path()).or_else(|_| fs::remove_file(entry.path()))?;
        }
    }
    let copy = place.join(NAME);
    match fs::symlink_metadata(&copy) {
        Ok(there) if there.is_file() && there.len() == found.len() => gather(&copy, is_over)?,
        _ => {
            fits(dir, found.len())?;
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&place)?;
            write(source, &place, is_over)?;
            let now = fs::metadata(given)?;
            if identity(&now) != identity(&found) {
                return Err(io::Error::other("it changes while it is copied"));
            }
            fs::rename(place.join(PART), &copy)?;
        }
    }
    Ok(copy)
}

/// Tells one version of a file from all others.
fn identity(found: &Metadata) -> String {
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    format!(
        "{:x}-{:x}-{:x}-{seconds}.{nanoseconds}",
        found.dev(),
        found.ino(),
        found.len()
    )
}

/// Whether a copy in `dir` is of use and can run.
fn is_of_use(dir: &Path) -> io::Result<()> {
    let kind = u32::try_from(rustix::fs::statfs(dir)?.f_type).unwrap_or_default();
    if !LARGE.contains(&kind) {
        return Err(io::Error::other(
            "the state dir's file system does not hold files in large pieces",
        ));
    }
    let flags = rustix::fs::statvfs(dir)?.f_flag;
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        return Err(io::Error::other("the state dir's file system is `noexec`"));
    }
    Ok(())
}

/// Whether there is room for a copy of this size.
fn fits(dir: &Path, size: u64) -> io::Result<()> {
    let system = rustix::fs::statvfs(dir)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if free / SHARE < size {
        return Err(io::Error::other("too little is free in the state dir"));
    }
    Ok(())
}

/// Writes a new copy, which is whole on the disk then.
fn write(mut source: File, place: &Path, is_over: &dyn Fn() -> bool) -> io::Result<()> {
    let part = place.join(PART);
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut copy = options
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(&part)?;
    let mut piece = vec![0; PIECE];
    loop {
        // A whole piece each time, whatever the system gives at once.
        let read = fill(&mut source, &mut piece)?;
        match piece.get(..read) {
            Some(full) if read > 0 && !is_over() => copy.write_all(full)?,
            _ => break,
        }
    }
    if is_over() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    copy.sync_all()
}

fn fill(source: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = piece.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read(rest)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Has the kernel let go of a copy that nobody runs, and read it again in large pieces:
/// what was read page by page meanwhile lies in small ones.
fn gather(copy: &Path, is_over: &dyn Fn() -> bool) -> io::Result<()> {
    let mut copy = File::open(copy)?;
    rustix::fs::fadvise(&copy, 0, None, Advice::DontNeed)?;
    let mut piece = vec![0; PIECE];
    while copy.read(&mut piece)? > 0 {
        if is_over() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// Gives the copy if it runs as workers would run it: a security module may refuse it.
async fn tried(shared: &Shared, copy: PathBuf) -> Result<PathBuf, String> {
    let told = |error: io::Error| error.to_string();
    let launch = Launch {
        program: copy.clone(),
        args: vec!["--version".into()],
        env: vec![(OsString::from("DO_NOT_TRACK"), "1".into())],
        cwd: "/".into(),
        control: OwnedFd::from(File::open("/dev/null").map_err(told)?),
        limits: shared.config.limits,
        nice: 0,
        policy: build_policy(shared, &[], &[]),
    };
    match timeout(LIMIT, run_build(shared, launch)).await {
        Ok(Ok(())) => Ok(copy),
        Ok(Err(said)) => Err(format!("the copy does not run: {said}")),
        Err(_) => Err("the copy does not run in time".to_owned()),
    }
}

#[cfg(test)]
mod tests;
