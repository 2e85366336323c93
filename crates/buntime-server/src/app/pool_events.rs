//! What happens in the pool, as lines of the log.

use std::path::Path;
use std::time::Duration;

use buntime_pool::{AppSpec, ExitReason, LogStream, PoolEvents};
use uuid::Uuid;

use super::kept_back::KeptBack;
use crate::logging::Logger;
use crate::metrics::Metrics;
use crate::worker_logs::{Line, Stream, WorkerLogs};

/// Logs what the pool tells.
pub(super) struct PoolLog {
    log: Logger,
    kept_back: KeptBack,
    metrics: Metrics,
    worker_logs: WorkerLogs,
}

impl PoolLog {
    pub(super) fn new(
        log: Logger,
        kept_back: KeptBack,
        metrics: Metrics,
        worker_logs: WorkerLogs,
    ) -> Self {
        Self {
            log,
            kept_back,
            metrics,
            worker_logs,
        }
    }

    /// Tells a worker's own log what became of it.
    fn note(&self, app: &str, worker: Option<Uuid>, text: impl std::fmt::Display) {
        let line = Line::new(Stream::Server, text.to_string());
        let line = match worker {
            Some(worker) => line.of(worker),
            None => line,
        };
        self.worker_logs.add(app, line);
    }
}

fn of_pipe(pipe: LogStream) -> Stream {
    match pipe {
        LogStream::Stdout => Stream::Stdout,
        LogStream::Stderr => Stream::Stderr,
    }
}

/// The name under which a worker's lines stand.
fn name(app: Option<&str>) -> &str {
    app.unwrap_or("blank")
}

/// With as many digits as matter.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 1e2
}

impl PoolEvents for PoolLog {
    fn log_line(&self, app: Option<&str>, worker: Uuid, stream: LogStream, line: &str) {
        let say = |fields: &mut crate::logging::Fields| {
            fields.text("worker", worker);
        };
        if let Some(app) = app {
            let line = Line::new(of_pipe(stream), line);
            self.worker_logs.add(app, line.of(worker));
        }
        let context = name(app);
        match stream {
            LogStream::Stdout => self.log.info(context, line, say),
            LogStream::Stderr => self.log.warn(context, line, say),
        }
    }

    fn log_dropped(&self, app: Option<&str>, worker: Uuid, lines: u64) {
        if let Some(app) = app {
            let text = format!("{lines} lines dropped: the app writes too fast");
            self.note(app, Some(worker), text);
        }
        self.log.warn(
            name(app),
            "Log lines dropped: the app writes too fast",
            |fields| {
                fields.text("worker", worker).add("dropped", lines);
            },
        );
    }

    fn started(&self, app: &AppSpec, worker: Uuid, pid: u32, took: Duration) {
        // A worker for one request is no news: its log is for what it writes.
        if !app.manifest.is_ephemeral() {
            let text = format!("worker started in {} ms", took.as_millis());
            self.note(&app.id, Some(worker), text);
        }
        let app = app.id.as_str();
        let blocked = self.kept_back.of(app);
        let count = blocked.as_ref().map_or(0, |names| names.len());
        self.metrics.of(Some(app)).started(took, count);
        if let Some(names) = blocked {
            self.log
                .warn("pool", "Blocked sensitive env vars from worker", |fields| {
                    fields.add("blocked", &names[..]);
                    fields.text("app", app).text("worker", worker);
                });
        }
        self.log.debug("pool", "Worker started", |fields| {
            fields
                .text("app", app)
                .text("worker", worker)
                .add("pid", pid)
                .add("ms", milliseconds(took));
        });
    }

    fn exited(&self, app: Option<&str>, worker: Uuid, pid: u32, reason: ExitReason) {
        self.metrics.of(app).exited(reason);
        if let Some(app) = app.filter(|_| reason != ExitReason::EphemeralDone) {
            self.note(app, Some(worker), format_args!("worker ended: {reason}"));
        }
        let level = match reason {
            ExitReason::Crashed(_)
            | ExitReason::Misbehaved
            | ExitReason::Timeout
            | ExitReason::Killed(_) => crate::logging::Level::Warn,
            _ => crate::logging::Level::Debug,
        };
        self.log.log(level, "pool", "Worker ended", |fields| {
            fields
                .text("app", name(app))
                .text("worker", worker)
                .add("pid", pid)
                .text("reason", reason);
        });
    }

    fn start_failed(&self, app: Option<&str>, message: &str) {
        self.metrics.of(app).start_failed();
        if let Some(app) = app {
            self.note(
                app,
                None,
                format_args!("worker could not be started: {message}"),
            );
        }
        self.log
            .error("pool", "Worker could not be started", |fields| {
                fields.text("app", name(app)).text("reason", message);
            });
    }

    fn crash_loop(&self, app: &str, pause: Duration) {
        self.metrics.of(Some(app)).crash_loop();
        let pause_s = pause.as_secs();
        let text = format!("failed to start too often; the next try is in {pause_s} s");
        self.note(app, None, text);
        self.log
            .error("pool", "Worker failed to start too often", |fields| {
                fields.text("app", app).add("pauseSeconds", pause.as_secs());
            });
    }

    fn app_error(
        &self,
        app: &str,
        worker: Uuid,
        source: &str,
        request_id: Option<&str>,
        detail: &str,
    ) {
        let line = Line::new(Stream::Error, detail);
        self.worker_logs
            .add(app, line.of(worker).during(request_id));
        self.log.error(app, detail, |fields| {
            fields.text("source", source).text("worker", worker);
            if let Some(id) = request_id {
                fields.request_id(id);
            }
        });
    }

    fn installing(&self, app: &str, packages: usize, registry: &str, hosts: &[&str]) {
        self.log.info("install", "Installing packages", |fields| {
            fields.text("app", app).add("packages", packages);
            fields.text("registry", registry);
            if !hosts.is_empty() {
                fields.add("hosts", hosts);
            }
        });
    }

    fn install_line(&self, app: &str, stream: LogStream, line: &str) {
        self.worker_logs.add(app, Line::new(Stream::Install, line));
        let say = |fields: &mut crate::logging::Fields| {
            fields.text("app", app);
        };
        match stream {
            LogStream::Stdout => self.log.info("install", line, say),
            LogStream::Stderr => self.log.warn("install", line, say),
        }
    }

    fn installed(&self, app: &str, took: Duration) {
        let text = format!("packages installed in {} ms", took.as_millis());
        self.note(app, None, text);
        self.log.info("install", "Packages installed", |fields| {
            fields.text("app", app).add("ms", milliseconds(took));
        });
    }

    fn install_failed(&self, app: &str, took: Duration, message: &str) {
        let text = format!("packages could not be installed: {message}");
        self.note(app, None, text);
        self.log
            .error("install", "Packages could not be installed", |fields| {
                fields.text("app", app).text("reason", message);
                fields.add("ms", milliseconds(took));
            });
    }

    fn bundled(&self, app: &str, took: Duration) {
        self.log.debug("pool", "Starts from a bundle", |fields| {
            fields.text("app", app).add("ms", milliseconds(took));
        });
    }

    fn not_bundled(&self, app: &str, demanded: bool, reason: &str) {
        let level = if demanded {
            crate::logging::Level::Warn
        } else {
            crate::logging::Level::Debug
        };
        self.log.log(level, "pool", "Starts from source", |fields| {
            fields.text("app", app).text("reason", reason);
        });
    }

    fn not_forwarded(&self, app: &str, host: &str, reason: &str) {
        self.log
            .warn("pool", "Listed host only by the proxy", |fields| {
                fields.text("app", app).text("host", host);
                fields.text("reason", reason);
            });
    }

    fn not_compiled(&self) {
        self.log
            .warn("pool", "Wrapper has no bytecode, starts are slower", |_| {});
    }

    fn copied(&self, program: &Path) {
        self.log
            .debug("pool", "Workers run a copy of Bun", |fields| {
                fields.text("program", program.display());
            });
    }

    fn not_copied(&self, is_of_use: bool, reason: &str) {
        let level = if is_of_use {
            crate::logging::Level::Warn
        } else {
            crate::logging::Level::Debug
        };
        self.log.log(
            level,
            "pool",
            "Workers run Bun itself, not a copy",
            |fields| {
                fields.text("reason", reason);
            },
        );
    }

    fn misbehaved(&self, app: Option<&str>, worker: Uuid, what: &str) {
        self.log.warn("pool", "Worker misbehaves", |fields| {
            fields
                .text("app", name(app))
                .text("worker", worker)
                .text("what", what);
        });
    }
}
