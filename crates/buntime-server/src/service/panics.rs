//! A bug of our own, met by one request: it gets an answer, and the connection lives on.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::message::Request;

/// What the future comes to; `None` if it panics, of which the panic hook has told. It is
/// not polled again then, and no lock of ours stays locked by a panic.
pub(super) fn caught<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
}

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
