//! A body that the server itself makes while it is sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use buntime_http::Frame;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Body, BodyFault};

/// The end of such a body that its reader has.
#[derive(Debug)]
pub struct ByteStream {
    pieces: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

/// The end that its maker has. Dropped before [`ByteSender::finish`], it breaks the
/// response off: the client sees that something is missing.
/// Of several clones all have to be gone.
#[derive(Clone, Debug)]
pub(crate) struct ByteSender {
    pieces: mpsc::Sender<Bytes>,
    is_whole: Arc<AtomicBool>,
}

/// Nobody reads the body any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReaderGone;

impl ByteSender {
    /// A body and its maker. At most `ahead` pieces wait for the client, so its maker is
    /// as fast as the client.
    pub(crate) fn body(ahead: usize) -> (Self, Body) {
        let (sender, pieces) = mpsc::channel(ahead);
        let is_whole = Arc::new(AtomicBool::new(false));
        let stream = ByteStream {
            pieces,
            is_whole: Arc::clone(&is_whole),
        };
        let sender = Self {
            pieces: sender,
            is_whole,
        };
        (sender, Body::Stream(stream))
    }

    /// Sends the next piece once there is room for it.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) async fn send(&self, piece: Bytes) -> Result<(), ReaderGone> {
        self.pieces.send(piece).await.map_err(|_| ReaderGone)
    }

    /// Sends a piece if there is room for it now, else leaves it out.
    pub(crate) fn offer(&self, piece: Bytes) {
        let _ = self.pieces.try_send(piece);
    }

    /// Returns once nobody reads any more.
    pub(crate) async fn reader_gone(&self) {
        self.pieces.closed().await;
    }

    /// The body ends here, and is whole.
    pub(crate) fn finish(self) {
        self.is_whole.store(true, Ordering::Release);
    }
}

impl ByteStream {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyFault>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(piece) => Some(Ok(Frame::Data(piece))),
            None if self.is_whole.load(Ordering::Acquire) => None,
            None => Some(Err(BodyFault::Own(io::ErrorKind::BrokenPipe.into()))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::Waker;

    use super::*;

    async fn next(body: &mut Body) -> Option<Result<Bytes, BodyFault>> {
        Some(body.frame().await?.map(|frame| match frame {
            Frame::Data(data) => data,
            Frame::Trailers(_) => panic!("trailers"),
        }))
    }

    #[tokio::test]
    async fn the_maker_waits_for_the_reader() {
        let (sender, mut body) = ByteSender::body(1);
        sender.send("a".into()).await.unwrap();
        {
            let mut second = pin!(sender.send("b".into()));
            assert!(poll_once(second.as_mut()).is_pending());
            assert_eq!(next(&mut body).await.unwrap().unwrap(), "a");
            assert_eq!(second.await, Ok(()));
        }
        sender.finish();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "b");
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_maker_that_goes_away_breaks_the_body_off() {
        let (sender, mut body) = ByteSender::body(1);
        sender.send("a".into()).await.unwrap();
        drop(sender);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert!(next(&mut body).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn the_maker_learns_that_nobody_reads() {
        let (sender, body) = ByteSender::body(1);
        drop(body);
        sender.reader_gone().await;
        assert_eq!(sender.send("a".into()).await, Err(ReaderGone));
    }

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }
}
