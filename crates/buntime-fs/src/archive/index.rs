//! What is in the archive so far, by names that no file system takes for one another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use unicode_normalization::UnicodeNormalization as _;

use super::error::Clash;
use crate::rel_path::RelPath;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

/// All files and folders so far. Each costs its own segment, not its whole path, so that
/// deep trees stay cheap.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the folder they lie in and their folded segment.
    nodes: HashMap<(u32, Box<str>), Node>,
    /// The names at the top; how many, and the last one.
    tops: usize,
    top: Option<(Box<str>, Kind)>,
}

#[derive(Debug)]
struct Node {
    id: u32,
    kind: Kind,
    /// As written, where that is not the folded segment itself.
    spelling: Option<Box<str>>,
}

/// The top of the archive.
const TOP: u32 = 0;

/// What an insertion made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    /// How many of the path's segments were not there: they are the last ones.
    pub(super) new: usize,
}

impl Index {
    /// Adds a path and the folders that lead to it. A folder may be named again, for
    /// nothing gets lost by that; a file may not.
    pub(super) fn insert(&mut self, path: &RelPath, kind: Kind) -> Result<Inserted, Clash> {
        let mut parent = TOP;
        let mut new = 0;
        let mut segments = path.segments().peekable();
        while let Some(segment) = segments.next() {
            let kind = match segments.peek() {
                Some(_) => Kind::Folder,
                None => kind,
            };
            let folded = fold(segment);
            let spelling = (folded != segment).then(|| segment.into());
            // Over 4 billion nodes no limit lets pass.
            let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX - 1) + 1;
            parent = match self.nodes.entry((parent, folded.into())) {
                Entry::Vacant(place) => {
                    if parent == TOP {
                        self.tops += 1;
                        self.top = Some((segment.into(), kind));
                    }
                    new += 1;
                    place.insert(Node { id, kind, spelling });
                    id
                }
                Entry::Occupied(node) => {
                    let node = node.get();
                    if node.spelling != spelling {
                        return Err(Clash::Lookalike);
                    }
                    match (node.kind, kind) {
                        (Kind::Folder, Kind::Folder) => node.id,
                        (Kind::File, Kind::File) => return Err(Clash::Twice),
                        _ => return Err(Clash::FileAndFolder),
                    }
                }
            };
        }
        Ok(Inserted { new })
    }

    /// The folder around everything else, if there is one.
    pub(super) fn top_folder(&self) -> Option<&str> {
        match &self.top {
            Some((name, Kind::Folder)) if self.tops == 1 => Some(name),
            _ => None,
        }
    }
}

/// The segment without what some file system ignores: letter case, and whether an accent
/// is a character of its own. Upper case first brings more together than lower case alone
/// (`ſ` and `s`, `ß` and `ss`), as case folding file systems do.
pub(super) fn fold(segment: &str) -> Cow<'_, str> {
    if segment.is_ascii() {
        return if segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
            segment.to_ascii_lowercase().into()
        } else {
            segment.into()
        };
    }
    segment
        .nfd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfd()
        .collect::<String>()
        .into()
}
