//! One request from its arrival to the head of its response.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use buntime_http::BodySource;
use tokio::time::{Instant, sleep_until};

use super::fleet::{Found, News, Verdict};
use super::{App, QUEUE_RETRY};
use crate::client::{RoundTrip, TripError, WorkerRequest, WorkerResponse};
use crate::connections::{Connection, ShardConnections};
use crate::error::{ExchangeError, ExitReason, StartFailure};
use crate::instance::{Instance, Lease, Order};

/// Workers that may turn out dead before they have seen the request.
const WORKER_TRIES: usize = 3;
/// Between the end of a connection and the news that its worker died.
const FATE_WAIT: Duration = Duration::from_millis(250);
/// Lets a start report its own timeout before the request gives up.
const START_MARGIN: Duration = Duration::from_millis(100);

/// What a request waits beside.
type Body = Box<dyn BodySource>;

/// Why waiting ended without what was waited for.
enum Interrupted {
    Gone,
    Deadline,
}

/// What became of one try in one worker.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment; a box would cost each request an allocation"
)]
enum Try {
    Done(Result<WorkerResponse, ExchangeError>),
    /// The worker has not seen the request: another one may have it.
    Unseen(Body),
}

impl App {
    /// Sends a request to one of the app's workers, starting one if need be, and
    /// waits for the head of its response. Dropping the future aborts the request.
    ///
    /// The body is taken once a worker was found: after an error before that, such
    /// as [`ExchangeError::Retired`], it is still there for another try.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(
        self: &Arc<Self>,
        connections: &ShardConnections,
        request: WorkerRequest<'_>,
        body: &mut Option<Box<dyn BodySource>>,
    ) -> Result<WorkerResponse, ExchangeError> {
        let offered = body;
        let Some(mut body) = offered.take() else {
            return Err(ExchangeError::Retired);
        };
        let deadline = Instant::now() + self.spec.manifest.timeout;
        if self.spec.manifest.is_ephemeral() {
            let lease = match self.fresh_worker(&mut body, deadline).await {
                Ok(lease) => lease,
                Err(error) => {
                    *offered = Some(body);
                    return Err(error);
                }
            };
            lease.instance().count_request();
            return match self
                .attempt(lease, connections, &request, body, deadline)
                .await
            {
                Try::Done(outcome) => outcome,
                Try::Unseen(_) => Err(ExchangeError::Crashed),
            };
        }
        for _ in 0..WORKER_TRIES {
            let lease = match self.lease() {
                Some(lease) => lease,
                None => match self.wait_for_worker(&mut body, deadline).await {
                    Ok(lease) => lease,
                    Err(error) => {
                        *offered = Some(body);
                        return Err(error);
                    }
                },
            };
            if lease.instance().count_request() % self.spec.manifest.max_requests.max(1) == 0 {
                self.recycle(lease.instance());
            }
            match self
                .attempt(lease, connections, &request, body, deadline)
                .await
            {
                Try::Done(outcome) => return outcome,
                Try::Unseen(returned) => body = returned,
            }
        }
        Err(ExchangeError::Crashed)
    }

    /// A worker of a persistent app, once there is one.
    async fn wait_for_worker(
        self: &Arc<Self>,
        body: &mut Body,
        deadline: Instant,
    ) -> Result<Lease, ExchangeError> {
        loop {
            let mut receiver = match self.find()? {
                Found::Lease(lease) => return Ok(lease),
                Found::Wait(receiver) => receiver,
            };
            match wait(body, deadline, &mut receiver).await {
                Ok(Ok(News::Place(lease))) => return Ok(lease),
                Ok(Ok(News::Verdict(Verdict::LookAgain))) => {}
                Ok(Ok(News::Verdict(verdict))) => return Err(verdict.into()),
                Ok(Err(_)) => return Err(ExchangeError::Retired),
                Err(Interrupted::Gone) => return Err(ExchangeError::ClientGone),
                // Either the app is slow to start, or it has not got its turn.
                Err(Interrupted::Deadline) => {
                    let fleet = self.fleet.lock();
                    // The news comes under this lock, perhaps just now.
                    return match receiver.try_recv() {
                        Ok(News::Place(lease)) => Ok(lease),
                        Ok(News::Verdict(Verdict::LookAgain)) => Err(ExchangeError::Timeout),
                        Ok(News::Verdict(verdict)) => Err(verdict.into()),
                        Err(_) if fleet.starting > fleet.queued && !self.serves() => {
                            Err(ExchangeError::Timeout)
                        }
                        Err(_) => Err(Verdict::QueueTimeout.into()),
                    };
                }
            }
        }
    }

    /// A worker for this request alone.
    async fn fresh_worker(
        self: &Arc<Self>,
        body: &mut Body,
        deadline: Instant,
    ) -> Result<Lease, ExchangeError> {
        let (group, looping) = {
            let fleet = self.fleet.lock();
            (fleet.group, fleet.breaker.waits(Instant::now()))
        };
        if let Some(retry_after) = looping {
            return Err(ExchangeError::CrashLoop { retry_after });
        }
        match wait(body, deadline, self.packages(deadline)).await {
            Ok(packages) => packages?,
            Err(Interrupted::Gone) => return Err(ExchangeError::ClientGone),
            Err(Interrupted::Deadline) => return Err(ExchangeError::Timeout),
        }
        let slots = &self.shared.slots;
        let queue = slots.acquire(group, self.limits());
        let queue = queue.ok_or(ExchangeError::QueueFull {
            retry_after: QUEUE_RETRY,
        })?;
        let permit = match wait(body, deadline, queue).await {
            Ok(permit) => permit,
            Err(Interrupted::Gone) => return Err(ExchangeError::ClientGone),
            Err(Interrupted::Deadline) => return Err(Verdict::QueueTimeout.into()),
        };
        if self.is_retired() {
            return Err(ExchangeError::Retired);
        }
        let admitted = self.fleet.lock().breaker.try_start(Instant::now());
        admitted.map_err(|retry_after| ExchangeError::CrashLoop { retry_after })?;
        let start = self.start_worker(group, Some(permit), deadline);
        match wait(body, deadline + START_MARGIN, start).await {
            Ok(started) => Ok(started?),
            Err(Interrupted::Gone) => Err(ExchangeError::ClientGone),
            Err(Interrupted::Deadline) => Err(ExchangeError::Timeout),
        }
    }

    /// Sends the request to one worker.
    async fn attempt(
        self: &Arc<Self>,
        lease: Lease,
        connections: &ShardConnections,
        request: &WorkerRequest<'_>,
        mut body: Body,
        deadline: Instant,
    ) -> Try {
        let instance = Arc::clone(lease.instance());
        let shelf = connections.shelf();
        loop {
            let connection = match shelf.take(&instance) {
                Some(kept) => kept,
                None => {
                    match wait(&mut body, deadline, Connection::open(&instance, deadline)).await {
                        Ok(Ok(connection)) => connection,
                        Ok(Err(error)) => return unreachable_worker(&instance, error, body).await,
                        Err(Interrupted::Gone) => return Try::Done(Err(ExchangeError::ClientGone)),
                        Err(Interrupted::Deadline) => {
                            instance.order(Order::Kill(ExitReason::Timeout));
                            return Try::Done(Err(ExchangeError::Timeout));
                        }
                    }
                }
            };
            let reused = connection.reused;
            let mut trip = RoundTrip::new(connection, request, body);
            let error = match trip.head(lease.timeout(), deadline).await {
                Ok(head) => return Try::Done(trip.respond(head, lease, shelf)),
                Err(error) => error,
            };
            let (sent, returned) = match error {
                TripError::Closed { sent, body } => (sent, body),
                TripError::Timeout => {
                    instance.order(Order::Kill(ExitReason::Timeout));
                    return Try::Done(Err(ExchangeError::Timeout));
                }
                TripError::Gone => return Try::Done(Err(ExchangeError::ClientGone)),
                TripError::Body(error) => return Try::Done(Err(ExchangeError::Body(error))),
                TripError::Bad(what) => return Try::Done(Err(ExchangeError::BadResponse(what))),
            };
            // A kept connection that its worker closed meanwhile. Sent again only
            // if that cannot do anything twice.
            let repeatable = reused && (!sent || request.method.is_idempotent());
            match returned {
                Some(returned) if repeatable && !sent => body = returned,
                returned => {
                    let is_dead = instance.fate_within(FATE_WAIT).await.is_some();
                    match returned {
                        // It died between requests: another worker may have this one.
                        Some(returned) if is_dead && !sent => return Try::Unseen(returned),
                        _ if is_dead => return Try::Done(Err(ExchangeError::Crashed)),
                        Some(returned) if repeatable => body = returned,
                        _ => {
                            return Try::Done(Err(ExchangeError::BadResponse(
                                "the worker closed the connection without a response",
                            )));
                        }
                    }
                }
            }
        }
    }
}

/// There is no connection to a worker.
async fn unreachable_worker(instance: &Instance, error: io::Error, body: Body) -> Try {
    if error.kind() != io::ErrorKind::ConnectionRefused {
        // Ours to blame: no descriptor is left, say.
        let message = format!("cannot connect to the worker: {error}");
        return Try::Done(Err(ExchangeError::StartFailed(StartFailure { message })));
    }
    // It does not listen any more, so it serves nobody; if it is not dead by now,
    // it will be.
    instance.close();
    if instance.fate_within(FATE_WAIT).await.is_none() {
        instance.order(Order::Kill(ExitReason::Misbehaved));
    }
    Try::Unseen(body)
}

/// Waits, but not for a client that went away, and not past `deadline`.
async fn wait<T>(
    body: &mut Body,
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Result<T, Interrupted> {
    let mut future = pin!(future);
    let mut timer = pin!(sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if body.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Interrupted::Gone));
        }
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Interrupted::Deadline));
        }
        Poll::Pending
    })
    .await
}
