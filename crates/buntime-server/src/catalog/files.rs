//! Files of units, opened below the unit's folder: what workers and plugins have
//! in common.

use std::io;

use buntime_fs::{EntryKind, OpenError, RelPath, Root};

use super::unit::Entry;

/// Why a file of a unit is not read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The system failed, which says nothing about the file.
    Passing(OpenError),
    /// It is not what it should be; the text reads on after the file's name.
    Refused(String),
}

/// Why a file cannot be an entrypoint.
#[derive(Debug)]
pub(crate) enum BadEntry {
    /// The system failed, which says nothing about the file.
    Passing(OpenError),
    /// It lies outside of the unit's folder.
    Escapes,
    /// It is not what it should be; the text reads on after the file's name.
    Unusable(String),
}

/// Whether an error says nothing about the folder: too many open files, a disk
/// that fails. A unit is not taken away for it.
pub(crate) fn is_passing(error: &OpenError) -> bool {
    matches!(error, OpenError::Io(source) if source.kind() != io::ErrorKind::PermissionDenied)
}

/// A text of the unit; `None` if there is no such file.
pub(crate) fn read_text(
    folder: &Root,
    name: &RelPath,
    limit: usize,
) -> Result<Option<String>, Unreadable> {
    let refused = |why: &str| Err(Unreadable::Refused(why.to_owned()));
    match folder.read(name, limit) {
        Ok((_, info)) if info.is_foreign_link(folder.info()) => {
            refused("a hard link to another user's file")
        }
        Ok((content, _)) => match String::from_utf8(content) {
            Ok(text) => Ok(Some(text)),
            Err(_) => refused("is no UTF-8 text"),
        },
        Err(OpenError::NotFound) => Ok(None),
        Err(error) if is_passing(&error) => Err(Unreadable::Passing(error)),
        Err(OpenError::Link) => refused("is a symbolic link; put the file itself"),
        Err(OpenError::Io(source)) => refused(&format!("cannot be read: {source}")),
        Err(error) => refused(&error.to_string()),
    }
}

/// The entry that a file makes; `None` if there is no such file.
///
/// A module may be reached through links that stay in the folder: Bun follows
/// them too. A page may not.
pub(crate) fn find_entry(folder: &Root, path: &RelPath) -> Result<Option<Entry>, BadEntry> {
    let unusable = |why: &str| Err(BadEntry::Unusable(why.to_owned()));
    let info = match folder.resolve(path) {
        Ok(info) => info,
        Err(OpenError::NotFound) => return Ok(None),
        Err(OpenError::Link) => return Err(BadEntry::Escapes),
        Err(error) if is_passing(&error) => return Err(BadEntry::Passing(error)),
        Err(error) => return unusable(&format!("cannot be opened: {error}")),
    };
    if info.kind != EntryKind::File {
        return unusable("is no regular file");
    }
    if info.is_foreign_link(folder.info()) {
        return Err(BadEntry::Escapes);
    }
    let is_page = path.file_name().to_ascii_lowercase().ends_with(".html");
    if !is_page {
        return Ok(Some(Entry::Script(path.clone())));
    }
    match folder.metadata(path) {
        Ok(info) if info.kind == EntryKind::File => Ok(Some(Entry::Static(path.clone()))),
        _ => unusable("is reached through a symbolic link; static files are served without links"),
    }
}
