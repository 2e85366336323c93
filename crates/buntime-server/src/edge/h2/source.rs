//! A request's body on its way from the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use buntime_http::{BodyError, BodySource, Frame, HeaderList};
use buntime_pool::Alarm;
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;

use crate::edge::Timeouts;
use crate::edge::pace::Pace;

/// A request's body as hyper gives it.
pub(super) struct H2Source {
    incoming: Incoming,
    length: Option<u64>,
    limit: u64,
    pace: Pace,
    alarm: Option<Alarm>,
    ended: bool,
}

impl H2Source {
    pub(super) fn new(incoming: Incoming, timeouts: Timeouts) -> Self {
        let length = incoming.size_hint().exact();
        Self {
            ended: incoming.is_end_stream(),
            incoming,
            length,
            limit: u64::MAX,
            pace: Pace::new(timeouts.body),
            alarm: None,
        }
    }

    fn take(&mut self, frame: http_body::Frame<Bytes>) -> Result<Option<Frame>, BodyError> {
        match frame.into_data() {
            Ok(data) => {
                self.limit = self
                    .limit
                    .checked_sub(data.len() as u64)
                    .ok_or(BodyError::TooLarge)?;
                Ok((!data.is_empty()).then_some(Frame::Data(data)))
            }
            Err(frame) => Ok(frame.into_trailers().ok().and_then(trailers)),
        }
    }
}

/// What may stand in a trailer section, by the same rule as in HTTP/1.1.
fn trailers(map: http::HeaderMap) -> Option<Frame> {
    let mut list = HeaderList::new();
    for (name, value) in &map {
        // What cannot be sent on as HTTP/1.1 is left out, as a trailer may be.
        let _ = list.push(name.as_str().as_bytes(), value.as_bytes());
    }
    list.retain(|header| buntime_http::may_trail(&header));
    (!list.is_empty()).then_some(Frame::Trailers(list))
}

impl BodySource for H2Source {
    fn content_length(&self) -> Option<u64> {
        self.length
    }

    fn is_end(&self) -> bool {
        self.ended
    }

    fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        while !self.ended {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // A frame may be empty, and is no progress then.
                    self.pace.progress(frame.data_ref().map_or(0, Bytes::len));
                    match self.take(frame) {
                        Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                        Ok(None) => {}
                        Err(error) => {
                            self.ended = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Gone)));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    let deadline = self.pace.wait();
                    let alarm = self.alarm.get_or_insert_with(|| Alarm::new(deadline));
                    ready!(alarm.poll(cx, deadline));
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // hyper drops the whole exchange when the client resets the stream.
        Poll::Pending
    }
}
