//! When a key was last used, noted without a lock that anybody waits for.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::store::LastUse;

/// The last use of a key.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// The second of the last use: many requests in it cost one comparison each.
    second: AtomicU64,
    last: Mutex<Option<LastUse>>,
    /// Whether it was not written yet.
    is_news: AtomicBool,
}

impl Usage {
    pub(super) fn since(last: Option<LastUse>) -> Self {
        Self {
            last: Mutex::new(last),
            ..Self::default()
        }
    }

    pub(super) fn note(&self, at: SystemTime, from: IpAddr) {
        let second = at
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.second.load(Ordering::Relaxed) == second {
            return;
        }
        // Somebody else is noting the same second.
        if let Some(mut last) = self.last.try_lock() {
            *last = Some(LastUse { at, from });
            self.second.store(second, Ordering::Relaxed);
            self.is_news.store(true, Ordering::Release);
        }
    }

    pub(super) fn last(&self) -> Option<LastUse> {
        *self.last.lock()
    }

    /// The last use, if it was not taken before.
    pub(super) fn take_news(&self) -> Option<LastUse> {
        self.is_news
            .swap(false, Ordering::AcqRel)
            .then(|| self.last())
            .flatten()
    }
}
