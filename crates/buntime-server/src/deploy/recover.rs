//! What a start makes of a deployment that was cut off.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buntime_fs::{EntryKind, RelPath, Staging, Tree, WriteError};

use super::commit::{is_in_place, note};
use super::intent::{Intent, Swap};
use super::place::{PlaceState, look};
use super::releases::remove_orphans;
use super::spool::on;
use super::stage::UNPACKED;
use super::step::step;
use super::{DeployError, make_releases, releases_folder, sweep, writable, writable_for_plugins};
use crate::config::WorkerRoot;
use crate::logging::Logger;
use crate::store::Store;

/// Most staged folders that are looked at.
const MOST: usize = 10_000;

/// Brings a deployment that was decided to its end, forgets one that was not, and removes
/// what is left of both. Before anything is served, and before the operator's word on
/// units is read from the store.
///
/// # Errors
/// The state directory or the store failed. A worker root that fails is told to the log.
pub(crate) async fn recover(
    roots: &[WorkerRoot],
    plugin_roots: &[PathBuf],
    state_dir: &Path,
    store: &Store,
    log: &Logger,
) -> Result<(), DeployError> {
    let folder = releases_folder(state_dir);
    make_releases(&folder).map_err(WriteError::from)?;
    let control = tokio::runtime::Handle::current();
    let opened = folder.clone();
    let intent = on(&control, move || Ok(Intent::read(&Tree::open(&opened)?)?)).await?;
    if let Some(intent) = intent {
        finish(intent, store, log).await?;
    }
    step("recovered");
    let releases = store.run(|database| database.releases(None)).await?;
    let used = releases.rows.iter().map(|row| row.what.sha256);
    let used: Option<HashSet<_>> = releases.corrupt.is_empty().then(|| used.collect());
    let mut roots = writable(roots);
    roots.extend(writable_for_plugins(plugin_roots));
    on(&control, move || {
        Intent::forget(&Tree::open(&folder)?)?;
        let folders = roots.iter().map(|root| root.to_path_buf());
        let folders: Vec<_> = folders.chain([folder.clone()]).collect();
        // Nobody else uses this state directory. Another server may share a worker root:
        // what it has staged is locked.
        sweep(&folders, Duration::ZERO);
        match used {
            Some(used) => remove_orphans(&folder, &used),
            None => Ok(()),
        }
    })
    .await
}

/// Does what was intended, if it was decided.
async fn finish(intent: Intent, store: &Store, log: &Logger) -> Result<(), DeployError> {
    let name = intent.name.clone();
    let releases = store
        .run(move |database| database.releases(Some(&name)))
        .await?;
    let newest = releases.rows.iter().map(|release| release.number).max();
    let Some(number) = newest.filter(|number| *number > intent.after) else {
        return Ok(());
    };
    let control = tokio::runtime::Handle::current();
    let swaps = intent.swaps.clone();
    let (done, failed) = on(&control, move || {
        let mut failed = Vec::new();
        let mut done = 0;
        for swap in &swaps {
            match bring_forward(swap) {
                Ok(()) => done += 1,
                Err(error) => failed.push(error),
            }
            step("brought forward");
        }
        Ok((done, failed))
    })
    .await?;
    for error in &failed {
        log.error(
            "deploy",
            "A deployment that was cut off could not be finished",
            |fields| {
                fields.text("worker", &intent.name).error(error);
            },
        );
    }
    let name = intent.name.clone();
    if done == 0 && !failed.is_empty() {
        // It did not come about: its folders were removed before its release.
        let delete = store.run(move |database| database.delete_releases(&name, &[number]));
        return Ok(delete.await?);
    }
    log.info(
        "deploy",
        "Finished a deployment that was cut off",
        |fields| {
            fields.text("worker", &intent.name);
            fields.add("release", number);
        },
    );
    let noted = store.run(move |database| note(database, &name, &intent.aside, &intent.back));
    Ok(noted.await?)
}

/// Puts a staged folder in its place if it is not there yet. Blocks.
fn bring_forward(swap: &Swap) -> Result<(), DeployError> {
    let root = Tree::open(&swap.root)?;
    if is_in_place(&root, &swap.folder, swap.inode) {
        return Ok(());
    }
    let staged = staged(&root, swap.inode)?;
    match look(&root, &swap.folder)? {
        PlaceState::Free => root.rename(&staged, &root, &swap.folder)?,
        PlaceState::Taken => match root.exchange(&staged, &root, &swap.folder) {
            Err(WriteError::Unsupported) => {
                Staging::discard(&root, &swap.folder)?;
                root.rename(&staged, &root, &swap.folder)?;
            }
            exchanged => exchanged?,
        },
    }
    if let Some(above) = swap.folder.parent() {
        root.open_dir(&above)?.sync()?;
    }
    Ok(root.sync()?)
}

/// The staged folder of this number.
fn staged(root: &Tree, inode: u64) -> Result<RelPath, DeployError> {
    let all = root.open_dir(&Staging::FOLDER)?;
    for entry in all.root().read_dir(MOST)? {
        let Ok(path) = entry.name.join(&UNPACKED) else {
            continue;
        };
        let found = all.root().metadata(&path);
        if found.is_ok_and(|info| info.inode == inode && info.kind == EntryKind::Directory) {
            return Staging::FOLDER
                .join(&path)
                .map_err(|_| DeployError::Internal);
        }
    }
    Err(DeployError::Disk(WriteError::NotFound))
}
