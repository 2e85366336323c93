//! How much memory a worker has, measured when somebody asks, and not too often.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::watch::usage;

/// How old a figure may be: a list of many workers that is asked for all the time must
/// cost next to nothing.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What was measured last.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// 0: never, or the system did not tell.
    bytes: AtomicU64,
    /// Nanoseconds since the worker was born; 0: never.
    at: AtomicU64,
}

impl Memory {
    /// Bytes that are the process's own.
    pub(super) fn of(&self, pid: u32, born: Instant) -> Option<u64> {
        let age = u64::try_from(born.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1);
        let at = self.at.load(Ordering::Relaxed);
        if at == 0 || Duration::from_nanos(age.saturating_sub(at)) > GOOD_FOR {
            self.bytes.store(
                usage(pid).map_or(0, |usage| usage.memory),
                Ordering::Relaxed,
            );
            self.at.store(age, Ordering::Relaxed);
        }
        Some(self.bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_one_that_is_gone_has_none() {
        let memory = Memory::default();
        let own = memory.of(std::process::id(), Instant::now());
        assert!(own.is_some_and(|bytes| bytes > 100_000), "{own:?}");
        // Number 0 is no process.
        assert_eq!(Memory::default().of(0, Instant::now()), None);
    }
}
