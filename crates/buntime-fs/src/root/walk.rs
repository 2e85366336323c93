//! Walking over all that lies beneath a directory.

use std::vec;

use super::{DirEntry, EntryKind, OpenError, OpenFile, Root};
use crate::rel_path::RelPath;

/// How far a [`Walk`] goes.
#[derive(Clone, Copy, Debug)]
pub struct WalkLimits {
    /// Most entries looked at.
    pub entries: usize,
    /// Deepest folder entered; the start is 0. A walk keeps one handle open for
    /// each level.
    pub depth: usize,
}

/// A walk, depth first, entries of a folder in the order of their names. Only the
/// folders that the caller enters are looked into, and no link is followed.
///
/// What vanishes meanwhile is passed over. Blocks.
#[derive(Debug)]
pub struct Walk {
    levels: Vec<Level>,
    limits: WalkLimits,
    left: usize,
}

#[derive(Debug)]
struct Level {
    folder: Root,
    path: Option<RelPath>,
    entries: vec::IntoIter<DirEntry>,
}

/// Something that a [`Walk`] came by.
#[derive(Clone, Debug)]
pub struct WalkEntry {
    /// From the start of the walk.
    pub path: RelPath,
    /// What it was when its folder was read.
    pub kind: EntryKind,
}

impl Walk {
    /// Begins in `folder`.
    ///
    /// # Errors
    /// It cannot be read, or holds more entries than the limit.
    pub fn begin(folder: Root, limits: WalkLimits) -> Result<Self, OpenError> {
        let mut walk = Self {
            levels: Vec::new(),
            limits,
            left: limits.entries,
        };
        walk.push(folder, None)?;
        Ok(walk)
    }

    /// Goes on inside a folder that [`Iterator::next`] has just returned. One that is
    /// too deep, not readable, gone, or no folder any more is passed over: false.
    ///
    /// # Errors
    /// [`OpenError::TooManyEntries`] once all folders together hold more entries
    /// than the limit.
    pub fn enter(&mut self, entry: &WalkEntry) -> Result<bool, OpenError> {
        if self.levels.len() > self.limits.depth {
            return Ok(false);
        }
        let Some(level) = self.levels.last() else {
            return Ok(false);
        };
        let Ok(folder) = level.folder.open_dir(&entry.path.split_last().1) else {
            return Ok(false);
        };
        match self.push(folder, Some(entry.path.clone())) {
            Ok(()) => Ok(true),
            Err(OpenError::TooManyEntries { .. }) => Err(OpenError::TooManyEntries {
                limit: self.limits.entries,
            }),
            Err(_) => Ok(false),
        }
    }

    /// The folder in which the entry lies that [`Iterator::next`] has just returned.
    #[must_use]
    pub fn folder(&self) -> Option<&Root> {
        self.levels.last().map(|level| &level.folder)
    }

    /// Opens a file that [`Iterator::next`] has just returned.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_file(&self, entry: &WalkEntry) -> Result<OpenFile, OpenError> {
        let folder = self.folder().ok_or(OpenError::NotFound)?;
        folder.open_file(&entry.path.split_last().1)
    }

    fn push(&mut self, folder: Root, path: Option<RelPath>) -> Result<(), OpenError> {
        let mut entries = folder.read_dir(self.left)?;
        self.left -= entries.len();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.levels.push(Level {
            folder,
            path,
            entries: entries.into_iter(),
        });
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = WalkEntry;

    /// The next entry. Paths too long or too deep for a [`RelPath`] are passed over.
    fn next(&mut self) -> Option<WalkEntry> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let path = match &level.path {
                Some(above) => above.join(&entry.name),
                None => Ok(entry.name),
            };
            if let Ok(path) = path {
                return Some(WalkEntry {
                    path,
                    kind: entry.kind,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let temp = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        fs::create_dir(temp.path().join("skipped")).unwrap();
        for file in ["a/1", "a/b/2", "skipped/3", "z"] {
            fs::write(temp.path().join(file), file).unwrap();
        }
        symlink("/etc", temp.path().join("a/link")).unwrap();
        temp
    }

    fn seen(limits: WalkLimits) -> Result<Vec<String>, OpenError> {
        let temp = folder();
        let mut walk = Walk::begin(Root::open(temp.path()).unwrap(), limits)?;
        let mut seen = Vec::new();
        while let Some(entry) = walk.next() {
            seen.push(entry.path.to_string());
            match entry.kind {
                EntryKind::File => {
                    let content = std::io::read_to_string(walk.open_file(&entry)?.file).unwrap();
                    assert_eq!(content, entry.path.as_str());
                }
                EntryKind::Directory if entry.path.as_str() != "skipped" => {
                    walk.enter(&entry)?;
                }
                EntryKind::Link => assert!(!walk.enter(&entry)?, "a link was followed"),
                _ => {}
            }
        }
        Ok(seen)
    }

    #[test]
    fn walks_in_order_where_it_is_sent_and_along_no_link() {
        let limits = WalkLimits {
            entries: 7,
            depth: 2,
        };
        let all = ["a", "a/1", "a/b", "a/b/2", "a/link", "skipped", "z"];
        assert_eq!(seen(limits).unwrap(), all);
        let shallow = WalkLimits { depth: 1, ..limits };
        let without = ["a", "a/1", "a/b", "a/link", "skipped", "z"];
        assert_eq!(seen(shallow).unwrap(), without);
        let few = WalkLimits {
            entries: 6,
            ..limits
        };
        assert!(matches!(
            seen(few),
            Err(OpenError::TooManyEntries { limit: 6 })
        ));
    }

    #[test]
    fn what_vanishes_is_passed_over() {
        let temp = folder();
        let limits = WalkLimits {
            entries: 100,
            depth: 10,
        };
        let mut walk = Walk::begin(Root::open(temp.path()).unwrap(), limits).unwrap();
        let entry = walk.next().unwrap();
        fs::remove_dir_all(temp.path().join("a")).unwrap();
        symlink("/etc", temp.path().join("a")).unwrap();
        assert!(!walk.enter(&entry).unwrap());
        assert_eq!(walk.next().unwrap().path.as_str(), "skipped");
    }
}
