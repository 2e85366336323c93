//! One start of a worker: what it runs, in a blank or a process of its own, and how that
//! came out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::fleet::Verdict;
use crate::confine::{Wanted, starts_for_app};
use crate::entry::entry_to_run;
use crate::error::{ExitReason, StartFailure};
use crate::forwards;
use crate::instance::{
    Answer, Assignment, Blank, Flavor, Given, Lease, StartProblem, boot, start_given,
};
use crate::scheduler::GroupId;
use crate::slots::Permit;
use crate::worker_env::worker_env;

/// Blanks that may turn out dead when they are given their app.
const BLANK_TRIES: usize = 3;

impl App {
    /// Starts a worker and waits until it serves the app. Keeps the count of
    /// failed starts.
    pub(super) async fn start_worker(
        self: &Arc<Self>,
        group: GroupId,
        permit: Option<Permit>,
        deadline: Instant,
    ) -> Result<Lease, Verdict> {
        let begun = Instant::now();
        let outcome = self.try_start_worker(permit, deadline).await;
        let events = &self.shared.config.events;
        let id = &self.spec.id;
        let message = match &outcome {
            Ok(lease) => {
                self.within(group, |fleet| fleet.breaker.reset());
                let instance = lease.instance();
                events.started(&self.spec, instance.id(), instance.pid(), begun.elapsed());
                return outcome;
            }
            Err(Verdict::Failed(failure)) => failure.message.as_str(),
            Err(Verdict::Timeout) => "it was not ready within its timeout",
            Err(_) => return outcome,
        };
        events.start_failed(Some(id), message);
        self.start_failed(group);
        outcome
    }

    /// Counts a failed start.
    pub(super) fn start_failed(&self, group: GroupId) {
        let failed = self.within(group, |fleet| fleet.breaker.failed(Instant::now()));
        if let Some(pause) = failed.flatten() {
            let events = &self.shared.config.events;
            events.crash_loop(&self.spec.id, pause);
        }
    }

    async fn try_start_worker(
        self: &Arc<Self>,
        mut permit: Option<Permit>,
        deadline: Instant,
    ) -> Result<Lease, Verdict> {
        for _ in 0..BLANK_TRIES {
            let entry = entry_to_run(&self.shared, &self.spec, &self.bundle);
            let entry = timeout_at(deadline, entry)
                .await
                .map_err(|_| Verdict::Timeout)?
                .map_err(Verdict::Failed)?;
            let is_bundle = entry.is_bundle();
            let entry = entry.into_path();
            let Some((lease, answer)) = self.load(entry, &mut permit, deadline).await? else {
                continue;
            };
            return match answer.await {
                Ok(Ok(())) => Ok(lease),
                // Whether it is the bundle's fault shows when the source has run.
                Ok(Err(StartProblem::Failed(_))) if is_bundle => {
                    self.bundle.give_up();
                    permit = lease.instance().take_permit();
                    continue;
                }
                Ok(Err(StartProblem::Failed(failure))) => Err(Verdict::Failed(failure)),
                Ok(Err(StartProblem::Killed(limit))) => {
                    let reason = ExitReason::Killed(limit);
                    Err(Verdict::Failed(StartFailure::new(reason.to_string())))
                }
                Ok(Err(StartProblem::Timeout)) => Err(Verdict::Timeout),
                Ok(Err(StartProblem::Ended)) | Err(_) => Err(Verdict::Retired),
            };
        }
        Err(Verdict::Failed(StartFailure::new(
            "blank workers keep dying",
        )))
    }

    /// Has some worker load `entry`. `None` if it died before it was told to; the
    /// permit is there again then.
    ///
    /// The lease is there from the beginning: if it is dropped, an ephemeral worker
    /// ends.
    async fn load(
        self: &Arc<Self>,
        entry: PathBuf,
        permit: &mut Option<Permit>,
        deadline: Instant,
    ) -> Result<Option<(Lease, Answer)>, Verdict> {
        let manifest = &self.spec.manifest;
        if manifest.is_ephemeral() {
            // While requests come faster than blanks can be started, a worker that
            // is started for its app costs less.
            let takes_blank = !manifest.low_memory && !starts_for_app(&self.shared, &self.spec);
            let ready = takes_blank
                .then(|| self.shared.blanks.take_ready(&self.shared))
                .flatten();
            if let Some(blank) = ready {
                return self.load_in(blank, entry, permit, deadline);
            }
            let given = if forwards::are_wanted(&self.shared, &self.spec) {
                None
            } else {
                Given::new(&self.shared, &self.spec, &entry, deadline).map_err(Verdict::Failed)?
            };
            if let Some(given) = given {
                let loaded = self.load_given(given, permit.take());
                return timeout_at(deadline, loaded)
                    .await
                    .map_err(|_| Verdict::Timeout)?
                    .map(Some);
            }
        }
        let blank = timeout_at(deadline, self.blank(&entry))
            .await
            .map_err(|_| Verdict::Timeout)?
            .map_err(Verdict::Failed)?;
        self.load_in(blank, entry, permit, deadline)
    }

    /// Has a blank load `entry`.
    fn load_in(
        self: &Arc<Self>,
        blank: Blank,
        entry: PathBuf,
        permit: &mut Option<Permit>,
        deadline: Instant,
    ) -> Result<Option<(Lease, Answer)>, Verdict> {
        let instance = &blank.instance;
        let Some(lease) = instance.enter() else {
            return Ok(None);
        };
        let home = instance.home();
        let env =
            worker_env(&self.shared, &self.spec, instance.id(), home).map_err(Verdict::Failed)?;
        instance.dedicate(&self.spec, self, permit.take());
        self.joined(instance);
        let (reply, answer) = oneshot::channel();
        let assignment = Assignment {
            entry,
            env,
            deadline,
            reply,
        };
        if blank.assign.send(assignment).is_err() {
            // It died as a blank; its place goes to the next one.
            self.parted(instance, None);
            *permit = instance.take_permit();
            return Ok(None);
        }
        Ok(Some((lease, answer)))
    }

    /// Starts a worker for the app: as a task of its own, because it belongs to the
    /// control runtime and must not be cut short.
    async fn load_given(
        self: &Arc<Self>,
        given: Given,
        permit: Option<Permit>,
    ) -> Result<(Lease, Answer), Verdict> {
        let app = Arc::clone(self);
        let control = &self.shared.config.control;
        let start = async move { start_given(&app, permit, given).await };
        let started = self.shared.tracker.spawn_on(start, control).await;
        started
            .map_err(|_| Verdict::Retired)?
            .map_err(Verdict::Failed)
    }

    async fn blank(self: &Arc<Self>, entry: &Path) -> Result<Blank, StartFailure> {
        let low_memory = self.spec.manifest.low_memory;
        let for_app = starts_for_app(&self.shared, &self.spec);
        if !low_memory && !for_app {
            return self.shared.blanks.take(&self.shared).await;
        }
        let flavor = if low_memory {
            Flavor::Small
        } else {
            Flavor::Normal
        };
        // Bun takes `--smol` at its start only. Started as a task of its own,
        // because it belongs to the control runtime and must not be cut short.
        let (app, entry) = (Arc::clone(self), entry.to_owned());
        let control = &self.shared.config.control;
        let start = async move {
            let wanted = for_app.then(|| Wanted {
                spec: &app.spec,
                entry: &entry,
            });
            boot(&app.shared, flavor, wanted).await
        };
        let started = self.shared.tracker.spawn_on(start, control).await;
        started.unwrap_or_else(|_| Err(StartFailure::new("the pool is stopping")))
    }
}
