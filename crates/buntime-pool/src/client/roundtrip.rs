//! From a request to the head of its response.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_http::{
    BodyError, BodySource, HeadLimits, HeaderId, HeaderList, Method, ResponseHead, parse_response,
};
use bytes::Buf as _;
use tokio::time::Instant;

use super::body::WorkerBody;
use super::upload::{Upload, UploadError};
use super::{WorkerRequest, WorkerResponse};
use crate::connections::{Connection, Shelf};
use crate::error::ExchangeError;
use crate::instance::Lease;

/// Heads above this are no heads. The limits that apps are told of are lower and
/// applied by the edge, which cuts instead of failing.
const LIMITS: HeadLimits = HeadLimits {
    total: 256 * 1024,
    count: 2000,
    value: 128 * 1024,
    target: 0,
};
/// Responses of class 1xx before the final one.
const MOST_INFORMATIONAL: usize = 16;
/// How much is read at a time while a head is awaited.
const HEAD_READ: usize = 8 * 1024;

/// Why there is no response.
pub(crate) enum TripError {
    /// The request's body failed.
    Body(BodyError),
    /// The client went away.
    Gone,
    /// The worker owes the response's head for too long.
    Timeout,
    /// The connection ended before the first byte of a response. The body comes
    /// back if none of it is lost.
    Closed {
        /// Whether the worker may have seen the request.
        sent: bool,
        body: Option<Box<dyn BodySource>>,
    },
    /// What came is no response.
    Bad(&'static str),
}

/// A request that was begun on a connection.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    connection: Connection,
    upload: Option<Upload>,
    /// Whether the worker closed its side for our writes.
    refused: bool,
    method: Method,
    websocket: bool,
    hints: Vec<HeaderList>,
    informational: usize,
    /// How much of the input is known to hold no end of a head.
    searched: usize,
}

impl RoundTrip {
    pub(crate) fn new(
        mut connection: Connection,
        request: &WorkerRequest<'_>,
        body: Box<dyn BodySource>,
    ) -> Self {
        let output = std::mem::take(&mut connection.output);
        Self {
            connection,
            upload: Some(Upload::new(request, body, output)),
            refused: false,
            method: request.method,
            websocket: request.websocket,
            hints: Vec::new(),
            informational: 0,
            searched: 0,
        }
    }

    /// Sends the request and waits for the final head.
    ///
    /// `patience` is how long the worker may owe something; `deadline` is where it
    /// ends if the client owes nothing meanwhile. Time in which the client's body
    /// is awaited does not count: the edge has a deadline for that.
    pub(crate) async fn head(
        &mut self,
        patience: Duration,
        deadline: Instant,
    ) -> Result<ResponseHead, TripError> {
        let mut deadline = deadline;
        let mut client_owed = false;
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = self.poll_head(cx) {
                return Poll::Ready(outcome);
            }
            let owes = self.upload.as_ref().is_some_and(Upload::waits_for_client);
            if client_owed && !owes {
                deadline = Instant::now() + patience;
            }
            client_owed = owes;
            while self.connection.alarm.poll(cx, deadline).is_ready() {
                if !owes {
                    return Poll::Ready(Err(TripError::Timeout));
                }
                deadline = Instant::now() + patience;
            }
            Poll::Pending
        })
        .await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, TripError>> {
        if let Some(upload) = &mut self.upload
            && !self.refused
        {
            match upload.poll_send(cx, &mut self.connection.stream) {
                Poll::Ready(Err(UploadError::Body(BodyError::Gone))) => {
                    return Poll::Ready(Err(TripError::Gone));
                }
                Poll::Ready(Err(UploadError::Body(error))) => {
                    return Poll::Ready(Err(TripError::Body(error)));
                }
                // It may have answered before it closed: read on.
                Poll::Ready(Err(UploadError::Refused)) => self.refused = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            match self.connection.poll_fill(cx, HEAD_READ) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed(false))),
                Poll::Ready(Err(error)) if is_reset(&error) => {
                    // A unix socket says this, and not that it has ended, only if
                    // something was still unread when the other side closed it.
                    return Poll::Ready(Err(self.closed(true)));
                }
                Poll::Ready(Err(_)) => {
                    return Poll::Ready(Err(TripError::Bad("the connection failed")));
                }
                Poll::Ready(Ok(_)) => {
                    if let Some(outcome) = self.take_heads().transpose() {
                        return Poll::Ready(outcome);
                    }
                }
            }
        }
        if let Some(upload) = &mut self.upload
            && upload.poll_gone(cx).is_ready()
        {
            return Poll::Ready(Err(TripError::Gone));
        }
        Poll::Pending
    }

    fn closed(&mut self, unread: bool) -> TripError {
        if !self.connection.input.is_empty() || self.informational > 0 {
            return TripError::Bad("the response ended within its head");
        }
        let upload = self.upload.take();
        let sent = upload.as_ref().is_some_and(Upload::sent_any);
        // Without a body, what was unread is the end of the head: nobody acted on it.
        let seen = sent && !(unread && upload.as_ref().is_some_and(Upload::is_repeatable));
        TripError::Closed {
            sent: seen,
            body: upload
                .filter(Upload::is_repeatable)
                .map(|upload| upload.into_parts().0),
        }
    }

    /// Takes heads out of the input until the final one.
    fn take_heads(&mut self) -> Result<Option<ResponseHead>, TripError> {
        loop {
            let input = &self.connection.input;
            // Parsing starts over each time, so a head that comes byte by byte is
            // only parsed when its end has come, or at once to refuse garbage.
            let whole = || {
                let from = self.searched.saturating_sub(3);
                let new = input.get(from..).unwrap_or_default();
                new.windows(4).any(|at| at == b"\r\n\r\n")
            };
            if self.searched > 0 && input.len() < LIMITS.total && !whole() {
                self.searched = input.len();
                return Ok(None);
            }
            let parsed = parse_response(input, &LIMITS, self.method)
                .map_err(|_| TripError::Bad("the head of the response is malformed"))?;
            let Some((head, length)) = parsed else {
                self.searched = input.len();
                return Ok(None);
            };
            self.connection.input.advance(length);
            self.searched = 0;
            match head.status {
                101 if self.websocket => return Ok(Some(head)),
                101 => return Err(TripError::Bad("it switches protocols unasked")),
                100..=199 => {
                    self.informational += 1;
                    if self.informational > MOST_INFORMATIONAL {
                        return Err(TripError::Bad("too many informational responses"));
                    }
                    if head.status == 103 {
                        self.hints.push(head.headers);
                    }
                }
                _ => return Ok(Some(head)),
            }
        }
    }

    /// What the caller gets once the head is there.
    pub(crate) fn respond(
        self,
        mut head: ResponseHead,
        lease: Lease,
        shelf: &Arc<Shelf>,
    ) -> Result<WorkerResponse, ExchangeError> {
        if head.headers.contains(HeaderId::XBuntime) {
            match head.headers.get_named(b"x-buntime-failure") {
                Some(b"threw") => return Err(ExchangeError::Threw),
                Some(_) => {
                    let what = "the app's handler answered with no valid response";
                    return Err(ExchangeError::BadResponse(what));
                }
                None => {}
            }
            head.headers.remove(HeaderId::XBuntime);
        }
        let mut connection = self.connection;
        let reusable = head.keep_alive && !self.refused;
        let upload = match self.upload {
            Some(upload) if upload.is_done() => {
                connection.output = upload.into_parts().1;
                None
            }
            // What is left to send would reach nobody.
            Some(_) if self.refused => None,
            other => other,
        };
        let body = WorkerBody::new(
            connection,
            lease,
            Arc::clone(shelf),
            &head,
            upload,
            reusable,
        );
        Ok(WorkerResponse {
            head,
            early_hints: self.hints,
            body,
        })
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
