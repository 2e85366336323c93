//! A place at which a test has a request panic, to see what the server makes of it.

use crate::message::Request;

/// Panics, if the environment names this path: `BUNTIME_PANIC_AT=/panics`. Without the
/// feature `failpoints`, which only tests have, this is nothing.
#[cfg(feature = "failpoints")]
pub(super) fn panic_if_told(request: &Request) {
    use std::sync::LazyLock;

    static PANICS_AT: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("BUNTIME_PANIC_AT").ok());
    let path = request.target.path().as_str();
    assert!(
        PANICS_AT.as_deref() != Some(path),
        "a test has this request panic"
    );
}

#[cfg(not(feature = "failpoints"))]
pub(super) fn panic_if_told(_request: &Request) {}
