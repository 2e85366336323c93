//! A response on its way to the client: its head, and its body as hyper pulls it.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use buntime_http::{Frame, HeaderId, HeaderList, Method, RequestId};

use super::ResetStream;
use super::outbox::{Owed, Stream};
use crate::edge::shard::Shard;
use crate::message::{Body, BodyFault, BodyLength, Response};

pub(super) fn respond(
    shard: &Shard,
    response: Response,
    id: &RequestId,
    method: Method,
    stream: Arc<Stream>,
) -> Result<hyper::Response<H2Body>, ResetStream> {
    let mut builder = hyper::Response::builder().status(response.status);
    let mut dated = false;
    for header in response.headers.iter() {
        if matches!(
            header.id,
            HeaderId::Connection
                | HeaderId::ContentLength
                | HeaderId::KeepAlive
                | HeaderId::TransferEncoding
                | HeaderId::Upgrade
                | HeaderId::XRequestId
        ) {
            continue;
        }
        dated |= header.id == HeaderId::Date;
        builder = builder.header(header.name, header.value);
    }
    if !dated {
        builder = builder.header("date", shard.date().now().as_slice());
    }
    builder = builder.header("x-request-id", id.as_str());
    let bodiless = matches!(response.status, 204 | 304) || method == Method::Head;
    if let (BodyLength::Exact(length), false) =
        (response.length, matches!(response.status, 204 | 304))
    {
        builder = builder.header("content-length", length);
    }
    let endless = response.is_event_stream();
    builder
        .body(H2Body {
            body: if bodiless { Body::Empty } else { response.body },
            left: match response.length {
                BodyLength::Exact(length) if !bodiless => Some(length),
                _ => None,
            },
            stream,
            drain: endless.then(|| Box::pin(shard.drain().clone().cancelled_owned())),
        })
        .map_err(|_| ResetStream)
}

/// A response's body as hyper pulls it.
pub(super) struct H2Body {
    body: Body,
    /// What is still to come, where the length was announced.
    left: Option<u64>,
    stream: Arc<Stream>,
    drain: Option<Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>>,
}

impl Drop for H2Body {
    fn drop(&mut self) {
        self.stream.leave();
    }
}

impl http_body::Body for H2Body {
    type Data = Owed;
    type Error = H2BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Owed>, H2BodyError>>> {
        ready!(self.stream.poll_room(cx));
        let frame = match self.body.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                // Room that this stream has no use for now is another one's.
                self.stream.pass_room_on();
                let drain = self.drain.as_mut();
                if drain.is_some_and(|drain| drain.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(None);
                }
                return Poll::Pending;
            }
        };
        Poll::Ready(match frame {
            Some(Ok(Frame::Data(data))) => {
                if let Some(left) = &mut self.left {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(H2BodyError::Length)));
                    };
                    *left = rest;
                }
                Some(Ok(http_body::Frame::data(self.stream.owe(data))))
            }
            Some(Ok(Frame::Trailers(trailers))) => {
                Some(Ok(http_body::Frame::trailers(header_map(&trailers))))
            }
            Some(Err(fault)) => Some(Err(H2BodyError::Fault(fault))),
            None if self.left.is_some_and(|left| left > 0) => Some(Err(H2BodyError::Length)),
            None => None,
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (&self.body, self.left) {
            (Body::Empty, _) => http_body::SizeHint::with_exact(0),
            (_, Some(left)) => http_body::SizeHint::with_exact(left),
            _ => http_body::SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.body, Body::Empty)
    }
}

/// Why a response's stream was reset.
#[derive(Debug, thiserror::Error)]
pub(super) enum H2BodyError {
    #[error(transparent)]
    Fault(BodyFault),
    #[error("the body is not as long as announced")]
    Length,
}

fn header_map(trailers: &HeaderList) -> http::HeaderMap {
    let mut map = http::HeaderMap::new();
    for header in trailers.iter() {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(header.name),
            http::HeaderValue::from_bytes(header.value),
        ) {
            map.append(name, value);
        }
    }
    map
}
