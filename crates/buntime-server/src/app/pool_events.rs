//! What happens in the pool, as lines of the log.

use std::time::Duration;

use buntime_pool::{ExitReason, LogStream, PoolEvents};
use uuid::Uuid;

use super::kept_back::KeptBack;
use crate::logging::Logger;
use crate::metrics::Metrics;

/// Logs what the pool tells.
pub(super) struct PoolLog {
    log: Logger,
    kept_back: KeptBack,
    metrics: Metrics,
}

impl PoolLog {
    pub(super) fn new(log: Logger, kept_back: KeptBack, metrics: Metrics) -> Self {
        Self {
            log,
            kept_back,
            metrics,
        }
    }
}

/// The name under which a worker's lines stand.
fn name(app: Option<&str>) -> &str {
    app.unwrap_or("blank")
}

impl PoolEvents for PoolLog {
    fn log_line(&self, app: Option<&str>, worker: Uuid, stream: LogStream, line: &str) {
        let say = |fields: &mut crate::logging::Fields| {
            fields.text("worker", worker);
        };
        let context = name(app);
        match stream {
            LogStream::Stdout => self.log.info(context, line, say),
            LogStream::Stderr => self.log.warn(context, line, say),
        }
    }

    fn log_dropped(&self, app: Option<&str>, worker: Uuid, lines: u64) {
        self.log.warn(
            name(app),
            "Log lines dropped: the app writes too fast",
            |fields| {
                fields.text("worker", worker).add("dropped", lines);
            },
        );
    }

    fn started(&self, app: &str, worker: Uuid, pid: u32, took: Duration) {
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
                .add("ms", took.as_secs_f64() * 1e3);
        });
    }

    fn exited(&self, app: Option<&str>, worker: Uuid, pid: u32, reason: ExitReason) {
        self.metrics.of(app).exited(reason);
        let level = match reason {
            ExitReason::Crashed(_) | ExitReason::Misbehaved | ExitReason::Timeout => {
                crate::logging::Level::Warn
            }
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
        self.log
            .error("pool", "Worker could not be started", |fields| {
                fields.text("app", name(app)).text("reason", message);
            });
    }

    fn crash_loop(&self, app: &str, pause: Duration) {
        self.metrics.of(Some(app)).crash_loop();
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
        let say = |fields: &mut crate::logging::Fields| {
            fields.text("app", app);
        };
        match stream {
            LogStream::Stdout => self.log.info("install", line, say),
            LogStream::Stderr => self.log.warn("install", line, say),
        }
    }

    fn installed(&self, app: &str, took: Duration) {
        self.log.info("install", "Packages installed", |fields| {
            fields.text("app", app).add("ms", took.as_secs_f64() * 1e3);
        });
    }

    fn install_failed(&self, app: &str, took: Duration, message: &str) {
        self.log
            .error("install", "Packages could not be installed", |fields| {
                fields.text("app", app).text("reason", message);
                fields.add("ms", took.as_secs_f64() * 1e3);
            });
    }

    fn bundled(&self, app: &str, took: Duration) {
        self.log.debug("pool", "Starts from a bundle", |fields| {
            fields.text("app", app).add("ms", took.as_secs_f64() * 1e3);
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

    fn not_compiled(&self) {
        self.log
            .warn("pool", "Wrapper has no bytecode, starts are slower", |_| {});
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
