//! Paths of the file browser, and what stands at which of their segments.

use buntime_core::{Namespace, PackageName, Version};
use buntime_fs::RelPath;

use super::FilesError;

/// Deepest folder of a unit: `@scope/name/version`.
pub(super) const UNIT_DEPTH: usize = 3;

/// Which kind of unit roots hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// Workers, with a folder for each version.
    Worker,
    /// Plugins.
    Plugin,
}

impl UnitKind {
    pub(super) fn where_to_write(self) -> &'static str {
        match self {
            Self::Worker => {
                "files are written only inside the version folder of a worker, such as \
                 name/1.0.0/, name@1.0.0/ or @scope/name/1.0.0/"
            }
            Self::Plugin => {
                "files are written only inside the folder of a plugin, such as name/ or @scope/name/"
            }
        }
    }
}

/// What stands at the end of a path, beneath a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// `@scope`.
    Scope,
    /// `name` of a worker, with folders for versions.
    Name,
    /// The folder of a unit.
    Unit,
    /// Something in a unit.
    Inside,
    /// Neither: nothing that the catalog takes for a unit.
    Stray,
}

/// Takes the text of a path apart: nothing for the list of roots, else the name of a
/// root and what follows. Slashes at either end and a dot at the end mean nothing.
pub(super) fn split(text: &str) -> Result<Option<(&str, Option<RelPath>)>, FilesError> {
    let mut text = text.trim_matches('/');
    while let Some(before) = text.strip_suffix("/.") {
        text = before.trim_end_matches('/');
    }
    if text.is_empty() || text == "." {
        return Ok(None);
    }
    let bad = |_| FilesError::BadPath("it climbs, has an empty segment, or is no path at all");
    RelPath::try_from(text).map_err(bad)?;
    Ok(Some(match text.split_once('/') {
        Some((mount, below)) => (mount, Some(below.parse().map_err(bad)?)),
        None => (text, None),
    }))
}

/// A name that a client gives to something new.
pub(super) fn new_name(text: &str) -> Result<RelPath, FilesError> {
    let name: RelPath = text.parse().map_err(|_| FilesError::BadName)?;
    if text.contains('/') || text.contains(char::is_control) || is_hidden(text) {
        return Err(FilesError::BadName);
    }
    Ok(name)
}

/// Names that are never shown: what belongs to tools, and to the server itself.
pub(super) fn is_hidden(name: &str) -> bool {
    matches!(name, ".git" | "node_modules") || is_own(name)
}

/// Names that the server keeps for itself.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(".buntime")
}

/// Whose a path is; none for what lies in no namespace, which only a key for all of
/// them reaches.
pub(super) fn scope(path: &RelPath) -> Option<Namespace> {
    let first = path.segments().next()?;
    Namespace::try_from(first).ok()
}

/// What stands at the end of a path, and how many segments its unit's folder has.
/// `is_unit` says whether a folder describes itself as a unit: without a folder for
/// its version, a worker's is told by that alone.
pub(super) fn classify(
    kind: UnitKind,
    path: &RelPath,
    is_unit: impl FnOnce(&RelPath) -> bool,
) -> (Level, Option<usize>) {
    let segments: Vec<&str> = path.segments().collect();
    let scope = segments
        .first()
        .copied()
        .filter(|first| first.starts_with('@'));
    let at = usize::from(scope.is_some());
    let Some(folder) = segments.get(at) else {
        return (Level::Scope, None);
    };
    let (base, version) = match folder.split_once('@') {
        Some((base, version)) => (base, Some(version)),
        None => (*folder, None),
    };
    let is_name = |base: &str| {
        let name = match scope {
            Some(scope) => PackageName::try_from(&*format!("{scope}/{base}")),
            None => PackageName::try_from(base),
        };
        name.is_ok_and(|name| !name.is_reserved())
    };
    let depth = match (kind, version) {
        (UnitKind::Plugin, None) if is_name(base) => Some(at + 1),
        (UnitKind::Worker, Some(version)) if is_name(base) && is_version(version) => Some(at + 1),
        (UnitKind::Worker, None) if is_name(base) => match segments.get(at + 1) {
            Some(version) if is_version(version) => Some(at + 2),
            below => {
                let folder = RelPath::try_from(&*segments[..=at].join("/"));
                match (folder.is_ok_and(|folder| is_unit(&folder)), below) {
                    (true, _) => Some(at + 1),
                    (false, None) => return (Level::Name, None),
                    (false, Some(_)) => None,
                }
            }
        },
        _ => None,
    };
    let level = match depth {
        None => Level::Stray,
        Some(depth) if depth == segments.len() => Level::Unit,
        Some(_) => Level::Inside,
    };
    (level, depth)
}

fn is_version(text: &str) -> bool {
    Version::try_from(text).is_ok()
}
