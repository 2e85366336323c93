//! What a client is told of failures that several routes share.

use std::time::Duration;

use buntime_fs::archive::ArchiveError;
use buntime_http::RequestId;

use crate::failure::Failure;
use crate::logging::Logger;
use crate::store::StoreError;

/// 507: there is no room for what was to be written.
pub(super) const STORAGE_FULL: Failure = Failure::new(
    507,
    "STORAGE_FULL",
    "The server's disk is full. Nothing was changed.",
);

/// 503: the system gave no random numbers.
pub(super) const NO_RANDOM: Failure = Failure::new(
    503,
    "NO_RANDOM_NUMBERS",
    "The system has no random numbers. Nothing was changed.",
);

/// What is said of a store that fails; the log says why.
pub(super) fn store_failed(error: &StoreError, log: &Logger, id: &RequestId) -> Failure {
    log.error("store", "A change could not be stored", |fields| {
        fields.request_id(id).error(error);
    });
    match error {
        StoreError::Full => STORAGE_FULL,
        StoreError::Busy | StoreError::Closed => Failure::new(
            503,
            "STORE_UNAVAILABLE",
            "The server's database does not answer. Nothing was changed.",
        )
        .retry_after(Duration::from_secs(1)),
        StoreError::Failed(_) => Failure::new(
            500,
            "STORE_FAILED",
            "The server's database failed. Nothing was changed.",
        ),
    }
}

/// What is said of an archive that cannot be taken; `None` where the server's disk is to
/// blame.
pub(super) fn archive_refused(error: &ArchiveError) -> Option<Failure> {
    let (status, code) = match error {
        ArchiveError::UnsafeEntry { .. } => (400, "ARCHIVE_UNSAFE_ENTRY"),
        ArchiveError::DuplicateEntry { .. } => (400, "ARCHIVE_DUPLICATE_ENTRY"),
        ArchiveError::ReservedName { .. } => (400, "RESERVED_NAME"),
        ArchiveError::TooLarge(_) => (413, "ARCHIVE_TOO_LARGE"),
        ArchiveError::Invalid { .. } | ArchiveError::InvalidEntry { .. } => {
            (400, "INVALID_ARCHIVE")
        }
        ArchiveError::StorageFull(_) | ArchiveError::Stopped | ArchiveError::Io(_) => return None,
    };
    Some(Failure::new(status, code, "").saying(sentence(error)))
}

/// Does what blocks where that is allowed.
///
/// # Errors
/// 500: it panicked, or the server is at its end.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Failure::INTERNAL)
}

/// Longest message, in bytes: a manifest may have a hundred mistakes.
const SENTENCE_MAX: usize = 2000;

/// What an error says, with a full stop, and a capital letter unless it begins with the
/// name of a file.
pub(super) fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let (text, end) = match text.get(..text.floor_char_boundary(SENTENCE_MAX)) {
        Some(cut) if cut.len() < text.len() => (cut, "…"),
        _ => (text.as_str(), "."),
    };
    let word = text.split_whitespace().next().unwrap_or_default();
    if !word.chars().all(char::is_alphabetic) {
        return format!("{text}{end}");
    }
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}{end}", first.unwrap_or_default(), chars.as_str())
}
