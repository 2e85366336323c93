//! What a client is told when the file browser does not do as it asked.

use buntime_fs::archive::ArchiveError;

use crate::api::Api;
use crate::api::errors::{archive_refused, sentence};
use crate::failure::Failure;
use crate::files::{FilesError, UnitKind};

/// What was asked for: some failures are called by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Folder,
    File,
    Mkdir,
    Upload,
    Delete,
    Rename,
    Move,
}

/// Says it, and logs what only the operator can mend.
pub(super) fn failure(error: FilesError, asked: Asked, kind: UnitKind, api: &Api) -> Failure {
    let message = sentence(&error);
    let new = |status, code| Failure::new(status, code, "").saying(message);
    match error {
        FilesError::BadPath(_) => new(400, "BAD_PATH"),
        FilesError::BadName => new(400, "BAD_NAME"),
        FilesError::NoFolder if asked == Asked::File => new(404, "FILE_NOT_FOUND"),
        FilesError::NoFolder => new(404, "DIR_NOT_FOUND"),
        FilesError::NoFile => new(404, "FILE_NOT_FOUND"),
        FilesError::Exists(_) => new(409, "ALREADY_EXISTS"),
        FilesError::Target(_) => new(400, "UPLOAD_TARGET_INVALID"),
        FilesError::IsRoot => match asked {
            Asked::Delete => new(400, "CANNOT_DELETE_ROOT"),
            Asked::Rename => new(400, "CANNOT_RENAME_ROOT"),
            Asked::Move => new(400, "CANNOT_MOVE_ROOT"),
            _ => new(400, "UPLOAD_TARGET_INVALID").saying(sentence(&FilesError::Target(kind))),
        },
        FilesError::Base(_) => new(400, "INVALID_MANIFEST"),
        FilesError::Protected => new(403, "UNIT_PROTECTED"),
        FilesError::IntoItself => new(400, "CANNOT_MOVE_INTO_ITSELF"),
        FilesError::OtherFileSystem => new(400, "OTHER_FILE_SYSTEM"),
        FilesError::TooMany(_) => new(413, "TOO_MANY_ENTRIES"),
        FilesError::Denied(denied) => denied.into(),
        FilesError::Full | FilesError::Archive(ArchiveError::StorageFull(_)) => STORAGE_FULL,
        FilesError::Archive(error) => {
            archive_refused(&error).unwrap_or_else(|| unavailable(&error, api))
        }
        FilesError::System(source) => unavailable(&*source, api),
    }
}

/// Not the one that others say: of a batch, a part may have been changed.
const STORAGE_FULL: Failure = Failure::new(
    507,
    "STORAGE_FULL",
    "There is no space left on the server's disk.",
);

/// What went wrong is said to the operator alone.
fn unavailable(error: &(dyn std::error::Error + 'static), api: &Api) -> Failure {
    api.log.error("files", "The file browser failed", |fields| {
        fields.error(error);
    });
    Failure::new(
        503,
        "STORAGE_UNAVAILABLE",
        "The server's disk refused this. The server's log says why.",
    )
}
