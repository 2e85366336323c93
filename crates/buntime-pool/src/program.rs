//! The Bun that workers run: a copy of the operator's, laid out for quick starts.
//!
//! A start touches thousands of pages of Bun's file, and what each costs depends on how
//! the kernel holds that file: in pieces as large as those in which it came in. Package
//! managers write small ones, and so does the first run after a boot read them; a start
//! then takes a quarter more of the processor. So the server makes a copy in large pieces,
//! in the background. Whatever goes wrong, before or later, workers run the operator's file.

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
use rustix::process::Resource;
use tokio::time::timeout;

use crate::bundle::run_build;
use crate::confine::build_policy;
use crate::leftovers;
use crate::pool::Shared;

/// The folder of the runtime directory that holds the copy, and nothing else.
const FOLDER: &str = "bun";
const NAME: &str = "bun";
/// What is not whole yet.
const PART: &str = "part";
/// What is read and written at once: the largest pieces that are of use on x86-64.
const PIECE: usize = 2 << 20;
/// The file systems that hold files in large pieces, or stand in front of one that does:
/// ext4, XFS, Btrfs, overlayfs (`linux/magic.h`). On any other a copy is of no use.
const LARGE: [u32; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630];
/// So many times the size of a copy must be free.
const ROOM: u64 = 10;
/// Longest that trying the copy may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The program that workers run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The operator's.
    given: PathBuf,
    copy: OnceLock<Copy>,
}

#[derive(Debug)]
struct Copy {
    path: PathBuf,
    /// The file that it is a copy of, which may be another by now.
    of: String,
}

impl Program {
    pub(crate) fn new(given: PathBuf) -> Self {
        Self {
            given,
            copy: OnceLock::new(),
        }
    }

    /// The copy, unless somebody has taken it away.
    fn copy(&self) -> Option<&Copy> {
        self.copy.get().filter(|copy| copy.path.exists())
    }

    /// What a process that starts now runs.
    pub(crate) fn path(&self) -> &Path {
        self.copy().map_or(&self.given, |copy| &copy.path)
    }

    /// Tells that program from others, for what is kept of its work.
    ///
    /// # Errors
    /// There is no copy, and the operator's file cannot be looked at.
    pub(crate) fn identity(&self) -> io::Result<String> {
        match self.copy() {
            Some(copy) => Ok(copy.of.clone()),
            None => Ok(identity(&fs::metadata(&self.given)?)),
        }
    }
}

/// Makes the copy, or makes that of an earlier run ready. Removes it if it is not wanted or
/// cannot be used.
pub(crate) async fn prepare(shared: Arc<Shared>) {
    let made = tokio::select! {
        // What a stop breaks off has not failed, and a good copy stays.
        biased;
        () = shared.stopped() => return,
        made = make(&shared) => made,
    };
    let events = &shared.config.events;
    match made {
        Ok(Some(copy)) => {
            let copy = shared.program.copy.get_or_init(|| copy);
            events.copied(&copy.path);
            return;
        }
        Ok(None) => {}
        Err(error) => {
            let is_of_use = error.kind() != io::ErrorKind::Unsupported;
            events.not_copied(is_of_use, &error.to_string());
        }
    }
    let dir = folder(&shared);
    // Nothing is there, if it never was.
    let _ = tokio::task::spawn_blocking(move || leftovers::remove(&dir)).await;
}

fn folder(shared: &Shared) -> PathBuf {
    shared.slots_dir.with_file_name(FOLDER)
}

/// A copy that runs; `None` if none is wanted.
async fn make(shared: &Arc<Shared>) -> io::Result<Option<Copy>> {
    if !shared.config.copies_bun {
        return Ok(None);
    }
    let pool = Arc::clone(shared);
    let laid_out = tokio::task::spawn_blocking(move || {
        let is_over = || pool.is_stopping();
        lay_out(&pool.program.given, &folder(&pool), &is_over)
    });
    let copy = laid_out.await.map_err(io::Error::other)??;
    try_out(shared, &copy.path).await?;
    Ok(Some(copy))
}

/// Has a copy of `given` in `dir`, in which nothing runs.
fn lay_out(given: &Path, dir: &Path, is_over: &dyn Fn() -> bool) -> io::Result<Copy> {
    let of = identity(&fs::metadata(given)?);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    is_of_use(dir)?;
    let (path, part) = (dir.join(NAME), dir.join(PART));
    remove_if_there(&part)?;
    if !is_same(given, &path, is_over)? {
        // Its room is the new one's.
        remove_if_there(&path)?;
        fits(dir, fs::metadata(given)?.len())?;
        write(given, &part, is_over).inspect_err(|_| {
            // A full disk must not stay so.
            let _ = remove_if_there(&part);
        })?;
        fs::rename(&part, &path)?;
    }
    if identity(&fs::metadata(given)?) != of {
        return Err(io::Error::other("Bun changes while it is copied"));
    }
    Ok(Copy { path, of })
}

/// Tells one version of a file from others: by where it is, its size, and when it was written.
fn identity(found: &Metadata) -> String {
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    format!(
        "{:x}-{:x}-{:x}-{seconds}.{nanoseconds}",
        found.dev(),
        found.ino(),
        found.len()
    )
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Whether a copy in `dir` is of use and can run.
fn is_of_use(dir: &Path) -> io::Result<()> {
    let kind = u32::try_from(rustix::fs::statfs(dir)?.f_type).unwrap_or_default();
    if !LARGE.contains(&kind) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
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
    if free / ROOM < size {
        return Err(io::Error::other("too little is free in the state dir"));
    }
    // One byte too many would end the server.
    let longest = rustix::process::getrlimit(Resource::Fsize).current;
    if longest.is_some_and(|longest| longest < size) {
        return Err(io::Error::other("the server may not write files so large"));
    }
    Ok(())
}

/// Writes a new copy, which is whole on the disk then.
fn write(given: &Path, part: &Path, is_over: &dyn Fn() -> bool) -> io::Result<()> {
    let mut source = File::open(given)?;
    let mut options = OpenOptions::new();
    let mut copy = options
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(part)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = fill(&mut source, &mut piece, is_over)?;
        match piece.get(..read) {
            Some(full) if read > 0 => copy.write_all(full)?,
            _ => return copy.sync_all(),
        }
    }
}

/// Whether the copy of an earlier run is one of `given`. The kernel lets go of it first and
/// reads it again in large pieces: what was read page by page meanwhile lies in small ones.
fn is_same(given: &Path, copy: &Path, is_over: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut source = File::open(given)?;
    let mut copy = match File::open(copy) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if copy.metadata()?.len() != source.metadata()?.len() {
        return Ok(false);
    }
    rustix::fs::fadvise(&copy, 0, None, Advice::DontNeed)?;
    let (mut wanted, mut found) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = fill(&mut source, &mut wanted, is_over)?;
        if fill(&mut copy, &mut found, is_over)? != read || wanted.get(..read) != found.get(..read)
        {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads a whole piece, whatever the system gives at once; less at the end of the file.
fn fill(file: &mut File, piece: &mut [u8], is_over: &dyn Fn() -> bool) -> io::Result<usize> {
    if is_over() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let mut read = 0;
    while let Some(rest) = piece.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Runs the copy once as builds are run: a security module may refuse it.
async fn try_out(shared: &Shared, copy: &Path) -> io::Result<()> {
    let launch = Launch {
        program: copy.to_owned(),
        args: vec!["--version".into()],
        env: vec![(OsString::from("DO_NOT_TRACK"), "1".into())],
        cwd: "/".into(),
        control: OwnedFd::from(File::open("/dev/null")?),
        limits: shared.config.limits,
        nice: 0,
        policy: build_policy(shared, &[], &[]),
    };
    match timeout(LIMIT, run_build(shared, launch)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(said)) => Err(io::Error::other(format!("the copy does not run: {said}"))),
        Err(_) => Err(io::Error::other("the copy does not run in time")),
    }
}

#[cfg(test)]
mod tests;
