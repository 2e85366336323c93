//! Folders of units: what is in them, and what cannot be read.

use std::path::Path;
use std::sync::Arc;

use buntime_fs::{OpenError, RelPath, Root};

use super::super::files::is_passing;
use super::super::listing::Listing;
use super::super::problem::{Problem, Topic};
use super::{Pass, Scanner, Wanted};

impl Scanner {
    /// Subfolders that may hold units, sorted by name.
    pub(super) fn list(
        &mut self,
        index: usize,
        folder: &Root,
        path: &Path,
        pass: &mut Pass,
    ) -> Arc<[RelPath]> {
        // The kernel watches folders, not links.
        let root = &self.roots[index];
        let watched = root.leads_to.as_deref().filter(|_| *path == *root.path);
        pass.folders.push(Wanted {
            path: watched.unwrap_or(path).into(),
            inode: folder.info().inode,
            unit: None,
        });
        pass.listed.insert(path.into());
        let known = self.listings.get(path);
        if known.is_none_or(|known| !known.holds_for(folder)) {
            pass.moved = true;
            match Listing::read(folder) {
                Ok(listing) => {
                    self.listings.insert(path.into(), listing);
                }
                Err(error) => self.unreadable(index, path, &error, pass),
            }
        }
        let Some(listing) = self.listings.get(path) else {
            return Arc::from([]);
        };
        for link in listing.links.iter() {
            let path = path.join(link.as_path());
            let message = format!(
                "{}: is a symbolic link and not followed; put the folder itself",
                path.display()
            );
            pass.layout_problems
                .insert(Problem::warning(Topic::Layout, &path, message));
        }
        Arc::clone(&listing.folders)
    }

    pub(super) fn open(
        &self,
        index: usize,
        parent: &Root,
        folder: &RelPath,
        path: &Path,
        pass: &mut Pass,
    ) -> Option<Root> {
        match parent.open_dir(folder) {
            Ok(opened) => Some(opened),
            // Gone, or replaced by something else, since it was listed.
            Err(OpenError::NotFound | OpenError::Link | OpenError::WrongKind { .. }) => None,
            Err(error) => {
                self.unreadable(index, path, &error, pass);
                None
            }
        }
    }

    /// Says so, and leaves what was known below as it was if the error will
    /// pass.
    pub(super) fn unreadable(&self, index: usize, path: &Path, error: &OpenError, pass: &mut Pass) {
        use std::error::Error as _;

        if is_passing(error) {
            pass.unknown.push((index, path.into()));
            let listed = self
                .listings
                .keys()
                .filter(|listed| listed.starts_with(path));
            pass.listed.extend(listed.cloned());
        }
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        let message = format!("{}: {error}{cause}", path.display());
        pass.layout_problems
            .insert(Problem::error(Topic::Disk, path, message));
    }
}
