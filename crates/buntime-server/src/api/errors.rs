//! What a client is told when something below fails that is no fault of his.

use std::time::Duration;

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
