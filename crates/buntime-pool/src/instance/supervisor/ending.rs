//! How a worker ends: it finishes what is under way, is asked to go, and goes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Event, LAST_WORDS, Supervisor};
use crate::confine::may_leave_processes;
use crate::error::ExitReason;
use crate::instance::Order;
use crate::instance::control::{self, Heard, Notice};
use crate::watch::last_look;

/// How long what is under way may take once a worker takes nothing new. A disabled or
/// removed app has its `timeout` for it.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
/// More than the wrapper's own grace, so that it can say that it is done.
const TERMINATE_MARGIN: Duration = Duration::from_millis(250);
/// For the last lines of a dead worker; a pipe may be held open by a stranger.
const LOG_LIMIT: Duration = Duration::from_secs(1);
const ON_TERMINATE: &str = "onTerminate";

impl Supervisor {
    /// Lets requests under way finish, then asks the app to end.
    pub(super) async fn drain(&mut self, reason: ExitReason) -> ExitReason {
        self.instance.close();
        let limit = match (reason, self.instance.spec()) {
            (ExitReason::Removed, Some(spec)) => spec.manifest.timeout,
            _ => DRAIN_LIMIT,
        };
        let limit = Instant::now() + limit;
        let instance = Arc::clone(&self.instance);
        while instance.in_flight() > 0 {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                () = instance.emptied.notified() => continue,
                () = sleep_until(limit) => return reason,
            };
            match self.digest(event) {
                Some(Order::Kill(reason)) => return reason,
                Some(Order::Drain(_) | Order::Run) | None => {}
            }
        }
        self.terminate(reason).await
    }

    async fn terminate(&mut self, reason: ExitReason) -> ExitReason {
        // Who has no hook has nothing to say at the end.
        if !self.hooks.iter().any(|hook| hook == ON_TERMINATE) {
            return reason;
        }
        let grace = self.shared.config.terminate_grace;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if self
            .control
            .tell(&control::Order::Terminate { grace_ms })
            .await
            .is_err()
        {
            return reason;
        }
        let limit = Instant::now() + grace + TERMINATE_MARGIN;
        loop {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                () = sleep_until(limit) => return reason,
            };
            match event {
                Event::Exit(_)
                | Event::Deaf
                | Event::Order(Order::Kill(_))
                | Event::Heard(Heard::Notice(Notice::Terminated)) => return reason,
                other => {
                    self.digest(other);
                }
            }
        }
    }

    /// The app gives this worker no more requests.
    pub(super) fn leave_app(&self) {
        if let Some(app) = self.instance.owner.get().and_then(Weak::upgrade) {
            app.gone(&self.instance);
        }
    }

    /// Kills the process and clears up after it.
    pub(super) async fn end(mut self, reason: ExitReason) {
        self.instance.close();
        self.leave_app();
        if let Some(spec) = self.instance.spec() {
            last_look(&self.shared, &self.instance, spec);
        }
        self.process.kill();
        self.process.wait().await;
        drop(self.gateway.take());
        let instance = Arc::clone(&self.instance);
        instance.fate.send_replace(Some(reason));
        if let Some(app) = instance.owner.get().and_then(Weak::upgrade) {
            app.parted(&instance, Some(reason));
        }
        instance.shelves.clear(instance.number());
        // The place first: who makes room must not count this one twice.
        drop(instance.take_permit());
        self.shared.unregister(&instance);
        self.last_words().await;
        let ended = timeout(LOG_LIMIT, async {
            for log in &mut self.logs {
                let _ = log.await;
            }
        });
        if ended.await.is_err() {
            self.logs.iter().for_each(JoinHandle::abort);
        }
        let app = instance.spec().map(|spec| spec.id.as_str());
        let events = &self.shared.config.events;
        events.exited(app, instance.id(), instance.pid(), reason);
        let survivors = instance
            .spec()
            .is_some_and(|spec| may_leave_processes(&self.shared, spec));
        let slot = if survivors {
            Some(self.slot)
        } else {
            self.shared.slot_dirs.give_back(self.slot)
        };
        if let Some(slot) = slot {
            let _ = tokio::task::spawn_blocking(move || slot.remove()).await;
        }
    }

    /// What a dead worker had to say and nobody has read yet.
    async fn last_words(&mut self) {
        let heard = timeout(LAST_WORDS, async {
            while self.closed_at.is_none() {
                let heard = self.control.hear().await;
                // It may have become ready just when nobody wanted it any more.
                if matches!(heard, Heard::Closed | Heard::Notice(Notice::Error { .. })) {
                    self.digest(Event::Heard(heard));
                }
            }
        });
        let _ = heard.await;
    }
}
