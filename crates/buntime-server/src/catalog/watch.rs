//! Keeps a catalog true: the kernel tells of changes, and a pass every few seconds
//! finds what it did not tell. Where it does not tell of all there is a pass about once
//! a second.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Catalog;
use super::problem::{Problem, Topic};
use super::scan::{Dirty, Wanted, WatchList};
use super::sources;

/// Most folders watched. Each costs the kernel about a kilobyte.
const MAX_WATCHES: usize = 32_768;
/// Most changed units remembered between two passes; beyond, all are looked at.
const MAX_DIRTY: usize = 1_024;
/// Most events taken at once; the rest is there the next time.
const MAX_EVENTS: usize = 10_000;
/// Changes come in bursts: a pass starts when nothing came for this long…
const QUIET: Duration = Duration::from_millis(40);
/// …or this long after the first of them.
const PATIENCE: Duration = Duration::from_millis(250);
/// Full passes take at most this share of a core as long as the kernel tells
/// of changes…
const WATCHED_SHARE: u32 = 50;
/// …at most this one if it does not tell of all…
const UNWATCHED_SHARE: u32 = 4;
/// …and at most half of one if folders come and go all the time.
const STRUCTURE_SHARE: u32 = 1;

/// Between two passes that nothing asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweeps {
    /// Where the kernel tells of all changes: of another file system over a folder, say, it
    /// does not.
    pub(super) watched: Duration,
    /// Where it does not.
    pub(super) unwatched: Duration,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            watched: Duration::from_secs(3),
            unwatched: Duration::from_millis(900),
        }
    }
}

/// Runs passes until `stop` completes.
pub(super) async fn watch<T: Send + Sync + 'static>(
    catalog: &Catalog<T>,
    stop: impl Future<Output = ()> + Send,
) {
    let mut stop = pin!(stop);
    let mut watcher = Watcher::open(catalog, Sweeps::default());
    while watcher.look().await {
        tokio::select! {
            () = &mut stop => return,
            () = watcher.changed() => {}
        }
    }
}

/// Looks, and waits for a reason to look again.
pub(super) struct Watcher<'a, T> {
    catalog: &'a Catalog<T>,
    sweeps: Sweeps,
    watches: Option<Watches>,
    dirty: Dirty,
    pace: Pace,
}

impl<'a, T: Send + Sync + 'static> Watcher<'a, T> {
    /// The first look finds what changed since the catalog was opened.
    pub(super) fn open(catalog: &'a Catalog<T>, sweeps: Sweeps) -> Self {
        Self {
            catalog,
            sweeps,
            watches: Watches::open(catalog),
            dirty: Dirty::default(),
            pace: Pace {
                sweep: Instant::now(),
                structure: Instant::now(),
            },
        }
    }

    /// Runs passes until nothing new is found that is to be watched. False if the runtime
    /// stops.
    pub(super) async fn look(&mut self) -> bool {
        loop {
            let dirty = std::mem::take(&mut self.dirty);
            let is_full = dirty.units.is_empty() || dirty.all || dirty.structure;
            let started = Instant::now();
            let again = match pass(self.catalog.clone(), self.watches.take(), dirty).await {
                Ok((watches, again)) => {
                    self.watches = watches;
                    again
                }
                Err(error) if error.is_panic() => {
                    let message = "looking for changes failed and starts anew; this is a bug";
                    self.catalog
                        .report(&Problem::error(Topic::Disk, Path::new(""), message));
                    self.watches = Watches::open(self.catalog);
                    self.catalog.watches_lost();
                    None
                }
                // The runtime is stopping.
                Err(_) => return false,
            };
            if is_full {
                self.pace = self.pace_after(started);
            }
            match again {
                Some(again) => self.dirty = again,
                None => return true,
            }
        }
    }

    /// Waits for a reason to look. Cancel safe.
    pub(super) async fn changed(&mut self) {
        changes(self.watches.as_mut(), &mut self.dirty, &self.pace).await;
    }

    /// When there is a pass if nothing asks for one.
    #[cfg(test)]
    pub(super) fn next_sweep(&self) -> Instant {
        self.pace.sweep
    }

    fn pace_after(&self, started: Instant) -> Pace {
        let (sweep, share) = match &self.watches {
            Some(watches) if watches.is_complete => match watches.is_elsewhere {
                false if watches.is_telling => (self.sweeps.watched, WATCHED_SHARE),
                false | true => (self.sweeps.unwatched, WATCHED_SHARE),
            },
            Some(_) | None => (self.sweeps.unwatched, UNWATCHED_SHARE),
        };
        let (ended, cost) = (Instant::now(), started.elapsed());
        Pace {
            sweep: ended + sweep.max(cost * share),
            structure: ended + cost * STRUCTURE_SHARE,
        }
    }
}

/// When full passes may run.
struct Pace {
    /// The next one that nothing asks for.
    sweep: Instant,
    /// Not before this, even if folders come and go.
    structure: Instant,
}

/// One pass on a blocking thread; the watches follow what it found. Returns
/// what to look at again because it was not watched before.
fn pass<T: Send + Sync + 'static>(
    catalog: Catalog<T>,
    mut watches: Option<Watches>,
    dirty: Dirty,
) -> JoinHandle<(Option<Watches>, Option<Dirty>)> {
    tokio::task::spawn_blocking(move || {
        let wanted = catalog.pass_and_wanted(&dirty);
        let mut again = None;
        if let (Some(watches), Some(wanted)) = (&mut watches, wanted) {
            again = watches.follow(wanted, &catalog);
        }
        (watches, again)
    })
}

/// Waits for a reason to run a pass: a burst of changes that has ended, or the
/// time of the sweep. Cancel safe.
async fn changes(watches: Option<&mut Watches>, dirty: &mut Dirty, pace: &Pace) {
    let Some(watches) = watches else {
        return tokio::time::sleep_until(pace.sweep).await;
    };
    let mut deadline = pace.sweep;
    let mut first = None;
    while let Ok(ready) = tokio::time::timeout_at(deadline, watches.inotify.readable()).await {
        let Ok(mut ready) = ready else {
            return tokio::time::sleep_until(pace.sweep).await;
        };
        if drain(ready.get_inner(), &watches.roles, dirty) {
            let now = Instant::now();
            let patience = *first.get_or_insert(now) + PATIENCE;
            let earliest = if dirty.structure || dirty.all {
                pace.structure
            } else {
                now
            };
            deadline = (now + QUIET).min(patience).max(earliest).min(pace.sweep);
        }
        ready.clear_ready();
    }
    // Changes of units must not put the sweep off for ever.
    dirty.structure |= Instant::now() >= pace.sweep;
}

/// The kernel's watches and what they are for.
struct Watches {
    inotify: AsyncFd<OwnedFd>,
    roles: HashMap<i32, Role>,
    by_path: HashMap<PathBuf, (i32, u64)>,
    /// Whether everything worth a watch has one.
    is_complete: bool,
    /// Whether some of it may change without this machine's kernel.
    is_elsewhere: bool,
    /// Whether a change of what has a watch is all that can happen.
    is_telling: bool,
    /// Whether it was said that this is not so.
    told: bool,
}

struct Role {
    path: PathBuf,
    unit: Option<Arc<Path>>,
}

impl Watches {
    fn open<T: Send + Sync + 'static>(catalog: &Catalog<T>) -> Option<Self> {
        match Self::inotify() {
            Ok(inotify) => Some(Self {
                inotify,
                roles: HashMap::new(),
                by_path: HashMap::new(),
                is_complete: false,
                is_elsewhere: false,
                is_telling: false,
                told: false,
            }),
            Err(error) => {
                let message = format!(
                    "cannot watch for changes, they are looked for once a second: {error}; \
                     fs.inotify.max_user_instances may be too low"
                );
                catalog.report(&Problem::warning(Topic::Disk, Path::new(""), message));
                None
            }
        }
    }

    #[expect(
        deprecated,
        reason = "the warning is about types that name another descriptor each time; an OwnedFd does not, and the replacement is unsafe code"
    )]
    fn inotify() -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
    }

    /// Watches these folders and no others. Returns what to look at again: a
    /// change between the look and the watch was not told.
    fn follow<T: Send + Sync + 'static>(
        &mut self,
        wanted: WatchList,
        catalog: &Catalog<T>,
    ) -> Option<Dirty> {
        let mut before = std::mem::take(&mut self.by_path);
        let mut new = Vec::new();
        let mut paths = HashSet::new();
        self.is_telling = wanted.is_telling;
        for wanted in wanted.folders {
            // A folder that is a unit and holds units is named as a unit first.
            if !paths.insert(wanted.path.clone()) {
                continue;
            }
            match before.remove(&wanted.path) {
                Some((id, inode)) if inode == wanted.inode => {
                    self.by_path.insert(wanted.path, (id, inode));
                }
                known => {
                    if let Some((id, _)) = known {
                        self.remove(id, &wanted.path);
                    }
                    new.push(wanted);
                }
            }
        }
        for (path, (id, _)) in before {
            self.remove(id, &path);
        }
        let mut dirty = Dirty::default();
        let mut added = false;
        self.is_complete = true;
        for wanted in new {
            if self.by_path.len() >= MAX_WATCHES || !self.add(&wanted) {
                self.is_complete = false;
                break;
            }
            added = true;
            note(&mut dirty, wanted.unit.as_deref());
        }
        if !self.is_complete && !self.told {
            self.told = true;
            let message = format!(
                "{} folders are watched for changes, the rest is looked at in turn, which takes \
                 longer; the limits are {MAX_WATCHES} and fs.inotify.max_user_watches",
                self.by_path.len()
            );
            catalog.report(&Problem::warning(Topic::Disk, Path::new(""), message));
        }
        added.then_some(dirty)
    }

    /// False if the kernel takes no more. A folder that is gone is no matter:
    /// the next pass knows.
    fn add(&mut self, wanted: &Wanted) -> bool {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.inotify, wanted.path.as_path(), flags) {
            Ok(id) => {
                let role = Role {
                    path: wanted.path.clone(),
                    unit: wanted.unit.clone(),
                };
                self.roles.insert(id, role);
                self.is_elsewhere |= is_elsewhere(&wanted.path);
                self.by_path.insert(wanted.path.clone(), (id, wanted.inode));
                true
            }
            Err(Errno::NOSPC | Errno::NOMEM) => false,
            Err(_) => true,
        }
    }

    fn remove(&mut self, id: i32, path: &Path) {
        // A renamed folder keeps its number: it may be in use under its new path.
        if self.roles.get(&id).is_some_and(|role| role.path == path) {
            self.roles.remove(&id);
            // Fails if the folder is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, id);
        }
    }
}

/// Whether others change a folder too, of which this machine's kernel does not tell:
/// those of other machines, and of a virtual machine's host.
fn is_elsewhere(folder: &Path) -> bool {
    /// statfs(2): 9p, Ceph, CIFS, FUSE, NFS, SMB 2.
    const SHARED: [u32; 6] = [
        0x0102_1997,
        0x00c3_6400,
        0xff53_4d42,
        0x6573_5546,
        0x6969,
        0xfe53_4d42,
    ];
    // The type is 32 bits long, whatever the field is.
    #[expect(clippy::cast_possible_truncation, reason = "so it is compared")]
    #[expect(clippy::cast_sign_loss, reason = "so it is compared")]
    rustix::fs::statfs(folder).is_ok_and(|found| SHARED.contains(&(found.f_type as u32)))
}

/// Takes all that the kernel has to tell. True if any of it matters.
fn drain(inotify: &OwnedFd, roles: &HashMap<i32, Role>, dirty: &mut Dirty) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut matters = false;
    for _ in 0..MAX_EVENTS {
        let Ok(event) = reader.next() else { break };
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            dirty.all = true;
            matters = true;
            continue;
        }
        let Some(role) = roles.get(&event.wd()) else {
            continue;
        };
        let name = event
            .file_name()
            .map(|name| name.to_str().unwrap_or_default());
        if !is_of_interest(role, event.events(), name) {
            continue;
        }
        matters = true;
        note(dirty, role.unit.as_deref());
        // It may be a version, or the unit itself that went.
        let folder = ReadFlags::ISDIR | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
        dirty.structure |= event.events().intersects(folder);
    }
    matters
}

fn note(dirty: &mut Dirty, unit: Option<&Path>) {
    match unit {
        Some(unit) if dirty.units.len() < MAX_DIRTY => {
            dirty.units.insert(unit.into());
        }
        Some(_) => dirty.all = true,
        None => dirty.structure = true,
    }
}

/// Whether an event can change what is installed. An app that writes its data
/// into its own folder must cost nothing here.
fn is_of_interest(role: &Role, events: ReadFlags, name: Option<&str>) -> bool {
    let Some(name) = name else {
        return events.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
    };
    if events.contains(ReadFlags::ISDIR) {
        return sources::is_code_folder(name);
    }
    match &role.unit {
        None => false,
        Some(_) => {
            sources::is_code(name)
                || matches!(
                    name,
                    "manifest.yaml" | "manifest.yml" | "package.json" | ".env"
                )
                || name.ends_with(".html")
                || may_be_link(events, name) && is_link(&role.path.join(name))
        }
    }
}

/// A link is made with its name, and never written to.
fn may_be_link(events: ReadFlags, name: &str) -> bool {
    events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) && sources::is_code_folder(name)
}

/// Whether this is a link, which may stand for a folder of code.
fn is_link(path: &Path) -> bool {
    rustix::fs::lstat(path)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Long enough for any machine.
    const LONG: Duration = Duration::from_secs(20);

    fn wanted(path: &Path, unit: Option<&Path>) -> Wanted {
        let inode = buntime_fs::Root::open(path).unwrap().info().inode;
        Wanted {
            path: path.into(),
            inode,
            unit: unit.map(Arc::from),
        }
    }

    fn list(folders: Vec<Wanted>) -> WatchList {
        WatchList {
            folders,
            is_telling: true,
        }
    }

    struct Silent;

    impl super::super::CatalogEvents<()> for Silent {
        fn deploy(&self, _: &super::super::Unit) {}
        fn retire(
            &self,
            _: &Arc<super::super::Deployment<()>>,
            _: Option<&Arc<super::super::Deployment<()>>>,
        ) {
        }
        fn problem(&self, problem: &Problem) {
            panic!("{problem}");
        }
    }

    #[tokio::test]
    async fn the_kernel_tells_what_matters_and_only_that_ends_the_wait() {
        let temp = tempfile::TempDir::new().unwrap();
        let unit = temp.path().join("app");
        fs::create_dir(&unit).unwrap();
        let catalog = Catalog::open(Vec::<super::super::CatalogRoot>::new(), Silent);
        let mut watches = Watches::open(&catalog).unwrap();
        let both = list(vec![wanted(temp.path(), None), wanted(&unit, Some(&unit))]);
        let again = watches.follow(both.clone(), &catalog).unwrap();
        assert!(again.units.contains(&unit));
        // Nothing new to watch, nothing to look at again.
        assert!(watches.follow(both, &catalog).is_none());

        // Noise before, the change after: what ends the wait is the change.
        fs::write(unit.join("data.db"), "").unwrap();
        fs::write(temp.path().join("notes.txt"), "").unwrap();
        let mut dirty = Dirty::default();
        assert!(!drain(
            watches.inotify.get_ref(),
            &watches.roles,
            &mut dirty
        ));
        assert!(dirty.units.is_empty());
        fs::write(unit.join("index.ts"), "").unwrap();
        let pace = Pace {
            sweep: Instant::now() + LONG,
            structure: Instant::now() + LONG,
        };
        changes(Some(&mut watches), &mut dirty, &pace).await;
        assert!(Instant::now() < pace.sweep);
        assert!(!dirty.structure);
        assert!(dirty.units.contains(&unit));

        // A folder that is no longer wanted is silent.
        watches.follow(list(vec![wanted(temp.path(), None)]), &catalog);
        fs::write(unit.join("index.ts"), "again").unwrap();
        assert!(!drain(
            watches.inotify.get_ref(),
            &watches.roles,
            &mut Dirty::default()
        ));
        fs::create_dir(temp.path().join("new")).unwrap();
        assert!(drain(
            watches.inotify.get_ref(),
            &watches.roles,
            &mut Dirty::default()
        ));
    }

    #[test]
    fn many_changed_units_are_all_units() {
        let mut dirty = Dirty::default();
        for number in 0..=MAX_DIRTY {
            note(&mut dirty, Some(Path::new(&number.to_string())));
        }
        assert!(dirty.all);
        assert_eq!(dirty.units.len(), MAX_DIRTY);
    }
}
