//! What one worker may use.

use std::time::Duration;

use buntime_core::{ByteSize, Caps};

use crate::config::AppSpec;
use crate::error::Limit;

/// Most threads of one worker. Bun has about twenty, and a handful more for each
/// JavaScript worker and each processor.
const THREADS: u32 = 512;
/// The engine's own threads, which compile and collect garbage, come on top of what an
/// app computes: half as much again.
const ENGINE: f64 = 1.5;
/// Of its share of the processors, what a worker may use in the long run while it has
/// no request.
const WITHOUT_REQUEST: f64 = 0.5;
/// Shortest time over which that is looked at: warm-up is no offence.
const SHORTEST: Duration = Duration::from_secs(2);

/// How much one worker takes at a time, by the descriptors that it may have open. With none
/// left Bun accepts nobody, and asks the kernel again and again whether it still cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Requests, streams and WebSockets.
    pub(crate) requests: u32,
    /// Connections to it, idle ones included. The rest is for Bun and for what the app opens.
    pub(crate) connections: u32,
}

impl Room {
    pub(crate) fn of(open_files: u64) -> Self {
        let files = u32::try_from(open_files)
            .unwrap_or(u32::MAX)
            .clamp(8, 1 << 20);
        Self {
            requests: files / 4 * 3,
            connections: files / 8 * 7,
        }
    }
}

/// What one worker may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) memory: ByteSize,
    pub(crate) disk: ByteSize,
    pub(crate) threads: u32,
    cpu: f64,
    /// As long as a request may take.
    timeout: Duration,
}

impl Bounds {
    pub(crate) fn of(spec: &AppSpec) -> Self {
        Self::within(&spec.granted.limits, spec.manifest.timeout)
    }

    pub(crate) fn within(caps: &Caps, timeout: Duration) -> Self {
        Self {
            memory: caps.memory,
            disk: caps.disk,
            threads: THREADS,
            cpu: caps.cpu,
            timeout,
        }
    }

    /// Processors that it may use at any time.
    pub(crate) fn share(&self) -> f64 {
        self.cpu * ENGINE
    }

    /// Processors that it may use in the long run while it has no request, and seconds
    /// of processor time that it may use at once then.
    pub(crate) fn without_request(&self) -> (f64, f64) {
        let share = self.cpu * WITHOUT_REQUEST;
        (share, share * self.timeout.max(SHORTEST).as_secs_f64())
    }

    /// What it is told that computed too long.
    pub(crate) fn cpu(&self) -> Limit {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a manifest has 0 to 1024, and `as` saturates"
        )]
        Limit::Cpu((self.cpu * 1000.0).round() as u32)
    }
}
