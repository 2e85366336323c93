//! Which folders a folder holds.

use std::sync::Arc;
use std::time::SystemTime;

use buntime_fs::{EntryKind, FileInfo, OpenError, RelPath, Root};

use super::sources;

/// Most entries of a folder that holds units.
const MAX_ENTRIES: usize = 100_000;
/// A file changed within this time before it was looked at may change again
/// without its time showing it, so it is looked at once more.
const CLOCK_GRAIN_NS: i128 = 100_000_000;

/// Subfolders of a folder that holds units.
#[derive(Debug)]
pub(crate) struct Listing {
    info: FileInfo,
    settled: bool,
    pub(crate) folders: Arc<[RelPath]>,
    pub(crate) links: Arc<[RelPath]>,
}

impl Listing {
    /// Whether reading the folder again would give the same.
    pub(crate) fn holds_for(&self, folder: &Root) -> bool {
        self.settled && self.info == *folder.info()
    }

    pub(crate) fn read(folder: &Root) -> Result<Self, OpenError> {
        let (mut folders, mut links) = (Vec::new(), Vec::new());
        for entry in folder.read_dir(MAX_ENTRIES)? {
            if !sources::is_code_folder(entry.name.as_str()) {
                continue;
            }
            match entry.kind {
                EntryKind::Directory => folders.push(entry.name),
                EntryKind::Link => links.push(entry.name),
                EntryKind::File | EntryKind::Other => {}
            }
        }
        folders.sort();
        links.sort();
        let info = *folder.info();
        Ok(Self {
            info,
            settled: is_settled(info.modified_ns.max(info.changed_ns)),
            folders: folders.into(),
            links: links.into(),
        })
    }
}

/// Whether a change from now on will show in the file's time.
pub(crate) fn is_settled(changed_ns: i128) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - changed_ns > CLOCK_GRAIN_NS
}
