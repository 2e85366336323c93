//! How a worker comes to serve its app, up to a deadline and unless somebody orders its end.

use std::future::{Pending, pending};
use std::io;
use std::pin::pin;

use buntime_sandbox::Exit;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Assignment, Event, LAST_WORDS, StartProblem, Supervisor, join};
use crate::config::AppSpec;
use crate::confine::{Wanted, admit, is_shown_later};
use crate::error::{ExitReason, StartFailure};
use crate::forwards;
use crate::gateway::Forward;
use crate::instance::Order;
use crate::instance::control::{Heard, Notice};
use crate::instance::door::{Become, Outcome};

impl Supervisor {
    /// Has a blank load the app.
    pub(super) async fn load(
        &mut self,
        assignment: &mut Assignment,
    ) -> Result<(), (StartProblem, ExitReason)> {
        let (Some(spec), Some(mut door)) = (self.instance.spec().cloned(), self.door.take()) else {
            return Err((StartProblem::Ended, ExitReason::Surplus));
        };
        let (Some(dir), Some(entry)) = (spec.dir.to_str(), assignment.entry.to_str()) else {
            return Err(failed("the path of the app is not valid UTF-8".to_owned()));
        };
        let wanted = Wanted {
            spec: &spec,
            entry: &assignment.entry,
        };
        if let Some(unserved) = &self.unserved {
            assignment.env.extend(unserved.variables());
        }
        let what = Become {
            dir,
            entry,
            env: &assignment.env,
            wait: is_shown_later(&self.shared, &spec),
        };
        // The worker begins with what needs no file of the app, while it is shown them.
        let show = async {
            let announced = door.announce(&what).await;
            admit(&self.shared, &self.process, &wanted).await?;
            let forwards = forwards::make(&self.shared, &self.process, &spec).await?;
            Ok((announced, forwards))
        };
        let (announced, forwards) = in_time(show, &mut self.orders, assignment.deadline).await?;
        self.serve_gateway(&spec, forwards);
        let answer = async { door.assign(announced?).await };
        let outcome = self.outcome(Some(answer), assignment.deadline).await?;
        self.take_outcome(outcome)?;
        *self.instance.first.lock() = door.into_std().ok();
        Ok(())
    }

    /// Lets the worker reach the server, and the outside as far as `spec` may.
    pub(in crate::instance) fn serve_gateway(&mut self, spec: &AppSpec, forwards: Vec<Forward>) {
        let gateways = &self.shared.config.gateways;
        let gateway = self.unserved.take();
        let gateway = gateway.and_then(|one| one.into_gateway(forwards));
        self.gateway = gateway.map(|gateway| gateways.serve(gateway, spec));
    }

    /// Waits for a worker that loads its app by itself.
    pub(super) async fn load_given(
        &mut self,
        deadline: Instant,
    ) -> Result<(), (StartProblem, ExitReason)> {
        let answer = None::<Pending<io::Result<Outcome>>>;
        let outcome = self.outcome(answer, deadline).await?;
        self.take_outcome(outcome)?;
        let socket = self
            .slot
            .take_socket()
            .map_err(|error| failed(format!("cannot take the worker's socket: {error}")))?;
        let _ = self.instance.socket.set(socket);
        Ok(())
    }

    fn take_outcome(&mut self, outcome: Outcome) -> Result<(), (StartProblem, ExitReason)> {
        match outcome {
            Outcome::Ready { hooks } => {
                self.hooks = hooks;
                Ok(())
            }
            Outcome::Failed { message, stack } => Err(failed(join(&message, &stack))),
        }
    }

    /// Waits for the app to be loaded, and for all that may come in between. A
    /// blank's outcome is its answer, any other's comes over the control channel.
    async fn outcome(
        &mut self,
        answer: Option<impl Future<Output = io::Result<Outcome>>>,
        deadline: Instant,
    ) -> Result<Outcome, (StartProblem, ExitReason)> {
        let is_given = answer.is_none();
        let mut answer = pin!(async {
            match answer {
                Some(answer) => answer.await,
                None => pending().await,
            }
        });
        loop {
            let event = tokio::select! {
                biased;
                event = self.event() => event,
                outcome = &mut answer => match outcome {
                    Ok(outcome) => return Ok(outcome),
                    Err(error) => return Err(self.no_outcome(&error).await),
                },
                () = sleep_until(deadline) => {
                    return Err((StartProblem::Timeout, ExitReason::Timeout));
                }
            };
            match event {
                Event::Exit(exit) => return Err(ended(exit)),
                Event::Heard(Heard::Notice(Notice::Ready { hooks })) if is_given => {
                    return Ok(Outcome::Ready { hooks });
                }
                Event::Heard(Heard::Notice(Notice::Failed { message, stack })) if is_given => {
                    return Ok(Outcome::Failed { message, stack });
                }
                other => match self.digest(other) {
                    // Nobody ordered that: it is the app's fault.
                    Some(Order::Kill(ExitReason::Misbehaved)) => {
                        let (problem, _) =
                            failed("the worker misbehaved while it loaded the app".to_owned());
                        return Err((problem, ExitReason::Misbehaved));
                    }
                    Some(Order::Kill(reason @ ExitReason::Killed(limit))) => {
                        return Err((StartProblem::Killed(limit), reason));
                    }
                    Some(Order::Drain(reason) | Order::Kill(reason)) => {
                        return Err((StartProblem::Ended, reason));
                    }
                    Some(Order::Run) | None => {}
                },
            }
        }
    }

    /// The connection broke: mostly because the process ended, and its end is what
    /// the app's author wants to know of.
    async fn no_outcome(&mut self, error: &io::Error) -> (StartProblem, ExitReason) {
        match timeout(LAST_WORDS, self.process.wait()).await {
            Ok(exit) => ended(exit),
            Err(_) => failed(format!("the wrapper did not answer: {error}")),
        }
    }
}

/// Does a step of a start, unless that takes too long or somebody orders the worker's end.
async fn in_time<T>(
    step: impl Future<Output = Result<T, StartFailure>>,
    orders: &mut watch::Receiver<Order>,
    deadline: Instant,
) -> Result<T, (StartProblem, ExitReason)> {
    tokio::select! {
        done = step => {
            done.map_err(|failure| (StartProblem::Failed(failure), ExitReason::StartFailed))
        }
        order = orders.wait_for(|order| !matches!(order, Order::Run)) => {
            Err(match order.as_deref() {
                Ok(Order::Kill(reason @ ExitReason::Killed(limit))) => {
                    (StartProblem::Killed(*limit), *reason)
                }
                Ok(Order::Drain(reason) | Order::Kill(reason)) => (StartProblem::Ended, *reason),
                Ok(Order::Run) | Err(_) => (StartProblem::Ended, ExitReason::Surplus),
            })
        }
        () = sleep_until(deadline) => Err((StartProblem::Timeout, ExitReason::Timeout)),
    }
}

fn failed(message: String) -> (StartProblem, ExitReason) {
    let failure = StartFailure { message };
    (StartProblem::Failed(failure), ExitReason::StartFailed)
}

fn ended(exit: Exit) -> (StartProblem, ExitReason) {
    let how = match exit {
        Exit::Code(code) => format!("with code {code}"),
        Exit::Signal(signal) => format!("by signal {signal}"),
    };
    failed(format!("the process ended {how} while it loaded the app"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A step that comes to no end, with an order on its way.
    async fn stuck(order: Option<Order>, limit: Duration) -> (StartProblem, ExitReason) {
        let (orders, mut heard) = watch::channel(Order::Run);
        let deadline = Instant::now() + limit;
        let step = pending::<Result<(), StartFailure>>();
        let leave = async {
            if let Some(order) = order {
                orders.send_replace(order);
            }
        };
        let (told, ()) = tokio::join!(in_time(step, &mut heard, deadline), leave);
        told.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_ends_with_the_deadline_or_an_order() {
        let limit = Duration::from_secs(30);
        let begun = Instant::now();
        let told = stuck(Some(Order::Drain(ExitReason::Retired)), limit).await;
        assert!(matches!(told, (StartProblem::Ended, ExitReason::Retired)));
        let killed = ExitReason::Killed(crate::error::Limit::Threads(1));
        let told = stuck(Some(Order::Kill(killed)), limit).await;
        assert!(matches!(told.0, StartProblem::Killed(_)), "{told:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let told = stuck(None, limit).await;
        assert!(matches!(told, (StartProblem::Timeout, ExitReason::Timeout)));
        assert_eq!(begun.elapsed(), limit);
    }
}
