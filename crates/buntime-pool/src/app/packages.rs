//! An app's packages, where it asks for their installation.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::fleet::Verdict;
use crate::error::StartFailure;
use crate::install::{Choice, Outcome, Problem, has_modules, install};

impl App {
    /// Returns once the app's packages are there. If they are not, they are installed,
    /// which goes on when whoever waits for it has gone.
    pub(super) async fn packages(self: &Arc<Self>, deadline: Instant) -> Result<(), Verdict> {
        let mut choice = self.install.choose();
        if matches!(choice, Choice::Look) {
            let spec = Arc::clone(&self.spec);
            let control = &self.shared.config.control;
            let look = control.spawn_blocking(move || has_modules(&spec)).await;
            self.install.looked(look.unwrap_or(true));
            choice = self.install.choose();
        }
        let mut outcome = match choice {
            // Somebody else has looked and found them, a moment ago or just now.
            Choice::Ready | Choice::Look => return Ok(()),
            Choice::Begin(sender, receiver) => {
                self.begin_install(sender);
                receiver
            }
            Choice::Wait(receiver) => receiver,
        };
        let limits = self.limits();
        let most = limits.concurrency.saturating_add(limits.queue);
        let _waiting = self.install.wait(most).ok_or(Verdict::QueueFull)?;
        let ended = timeout_at(deadline, outcome.wait_for(Option::is_some)).await;
        let ended = ended.map_err(|_| Verdict::Timeout)?;
        match ended.as_deref() {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(failure))) => Err(Verdict::Failed(failure.clone())),
            Ok(None) | Err(_) => Err(Verdict::Retired),
        }
    }

    fn begin_install(self: &Arc<Self>, sender: watch::Sender<Outcome>) {
        let app = Arc::clone(self);
        let task = async move {
            let begun = Instant::now();
            let outcome = match install(&app.shared, &app.spec, &app.install).await {
                Ok(()) => Ok(()),
                Err(Problem::Failed(message)) => {
                    let events = &app.shared.config.events;
                    events.install_failed(&app.spec.id, begun.elapsed(), &message);
                    app.start_failed(app.group());
                    Err(StartFailure::new(message))
                }
                // Dropping the sender tells it.
                Err(Problem::GivenUp) => return,
            };
            sender.send_replace(Some(outcome));
        };
        let control = &self.shared.config.control;
        self.shared.tracker.spawn_on(task, control);
    }
}
