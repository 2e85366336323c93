//! What a pool tells whoever logs and counts.

use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use crate::config::AppSpec;
use crate::error::ExitReason;

/// Which of a worker's pipes a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Longest line of a worker that is passed on, in bytes; what is longer is cut.
pub const LONGEST_LINE: usize = 16 * 1024;

/// Hears what happens in a pool. `app` is `name@version`; it is `None` for a
/// blank that has no app yet.
///
/// The calls come from supervision tasks: an implementation must return at once
/// and must not block.
pub trait PoolEvents: Send + Sync {
    /// A line that a worker wrote, without its line end, at most [`LONGEST_LINE`]. It
    /// may hold any bytes that are valid UTF-8, escapes too.
    fn log_line(&self, app: Option<&str>, worker: Uuid, stream: LogStream, line: &str) {
        let _ = (app, worker, stream, line);
    }

    /// So many lines of a worker were dropped because it wrote too fast.
    fn log_dropped(&self, app: Option<&str>, worker: Uuid, lines: u64) {
        let _ = (app, worker, lines);
    }

    /// A worker serves its app, `took` after the start was asked for.
    fn started(&self, app: &AppSpec, worker: Uuid, pid: u32, took: Duration) {
        let _ = (app, worker, pid, took);
    }

    /// A worker's process is gone.
    fn exited(&self, app: Option<&str>, worker: Uuid, pid: u32, reason: ExitReason) {
        let _ = (app, worker, pid, reason);
    }

    /// A worker could not be started. `message` may hold the app's paths and stacks.
    fn start_failed(&self, app: Option<&str>, message: &str) {
        let _ = (app, message);
    }

    /// An app failed to start too often and is left alone for `pause`.
    fn crash_loop(&self, app: &str, pause: Duration) {
        let _ = (app, pause);
    }

    /// An app's error that the wrapper caught. `source` is `handler`,
    /// `bad-response`, `uncaught`, `unhandled`, `onIdle` or `onTerminate`; `detail`
    /// may hold the app's paths and stacks.
    fn app_error(
        &self,
        app: &str,
        worker: Uuid,
        source: &str,
        request_id: Option<&str>,
        detail: &str,
    ) {
        let _ = (app, worker, source, request_id, detail);
    }

    /// So many packages are about to be installed for an app, from `registry` and, where
    /// its lockfile says so, from `hosts`.
    fn installing(&self, app: &str, packages: usize, registry: &str, hosts: &[&str]) {
        let _ = (app, packages, registry, hosts);
    }

    /// A line that the install of an app's packages wrote, as in [`Self::log_line`].
    fn install_line(&self, app: &str, stream: LogStream, line: &str) {
        let _ = (app, stream, line);
    }

    /// An app's packages were installed in `took`.
    fn installed(&self, app: &str, took: Duration) {
        let _ = (app, took);
    }

    /// An app's packages could not be installed; it counts as a failed start. `message`
    /// is at most 4 KB and may hold what Bun said.
    fn install_failed(&self, app: &str, took: Duration, message: &str) {
        let _ = (app, took, message);
    }

    /// From now on workers of the app start from a bundle, found or made in `took`.
    fn bundled(&self, app: &str, took: Duration) {
        let _ = (app, took);
    }

    /// Workers of the app start from its source. `demanded`: its manifest asks for a
    /// bundle. `reason` is at most 4 KB and may hold the app's paths
    /// and pieces of its source.
    fn not_bundled(&self, app: &str, demanded: bool, reason: &str) {
        let _ = (app, demanded, reason);
    }

    /// Bun made no bytecode of the wrapper: each start takes a little longer.
    fn not_compiled(&self) {}

    /// From now on workers run a copy of Bun.
    fn copied(&self, program: &Path) {
        let _ = program;
    }

    /// Workers run the operator's Bun itself. `is_of_use`: each start takes longer than it
    /// would with a copy.
    fn not_copied(&self, is_of_use: bool, reason: &str) {
        let _ = (is_of_use, reason);
    }

    /// Workers of the app reach a listed host, `host:port`, by the proxy alone.
    fn not_forwarded(&self, app: &str, host: &str, reason: &str) {
        let _ = (app, host, reason);
    }

    /// A worker sent something on the control channel that is not understood, or
    /// did something else that a worker does not do.
    fn misbehaved(&self, app: Option<&str>, worker: Uuid, what: &str) {
        let _ = (app, worker, what);
    }
}
