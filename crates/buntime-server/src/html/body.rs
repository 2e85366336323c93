//! A response's body with the insertion in it.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use buntime_http::{Frame, Header, HeaderList};
use bytes::Bytes;

use super::inserter::Inserter;
use crate::message::{Body, BodyFault};

/// What identifies or describes the bytes that the app sent, and so not those
/// that the client gets. A date cannot tell that the variables have changed.
const OF_OTHER_BYTES: [&[u8]; 6] = [
    b"accept-ranges",
    b"content-digest",
    b"content-md5",
    b"digest",
    b"last-modified",
    b"repr-digest",
];

/// Whether a header of the app's, or a trailer, holds for the page as the client
/// gets it.
pub(crate) fn is_true_of_page(header: &Header<'_>) -> bool {
    !OF_OTHER_BYTES
        .iter()
        .any(|name| header.name.eq_ignore_ascii_case(name))
}

/// A page on its way to the client. Pulls from the page's own body only what its
/// reader pulls, but for what has to be held back.
pub struct PageBody {
    page: Body,
    inserter: Inserter,
    /// What can be sent: at most what one chunk made.
    ready: VecDeque<Bytes>,
    trailers: Option<HeaderList>,
    ended: bool,
}

impl std::fmt::Debug for PageBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageBody")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

impl PageBody {
    /// The body of `page` as `inserter` makes it.
    pub(crate) fn new(page: Body, inserter: Inserter) -> Self {
        Self {
            page,
            inserter,
            ready: VecDeque::new(),
            trailers: None,
            ended: false,
        }
    }

    /// The next frame; `None` at the end. An error is final.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyFault>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::Data(bytes))));
            }
            if self.ended {
                return Poll::Ready(self.trailers.take().map(|list| Ok(Frame::Trailers(list))));
            }
            match ready!(self.page.poll_frame(cx)) {
                Some(Ok(Frame::Data(bytes))) => self.inserter.push(bytes, &mut self.ready),
                Some(Ok(Frame::Trailers(mut trailers))) => {
                    trailers.retain(|trailer| is_true_of_page(&trailer));
                    self.trailers = (!trailers.is_empty()).then_some(trailers);
                    self.end();
                }
                None => self.end(),
                Some(Err(fault)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(fault)));
                }
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.inserter.end(&mut self.ready);
    }
}
