//! What leaves on a connection, followed frame by frame. hyper sends a client away with a reason
//! only for what it has noticed by itself; for what we notice, the last frame is ours.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

const HEAD: usize = 9;
/// GOAWAY of 8 bytes on stream 0. Any stream may have been acted on (RFC 9113 section 6.8).
const GOAWAY: [u8; HEAD + 4] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff];
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// The writing half, which knows where frames end.
pub(super) struct Frames<W> {
    io: W,
    /// Bytes of the next frame's head that have left.
    head: usize,
    /// As much of the next frame's length as they tell.
    length: usize,
    /// Bytes of a frame that are to follow its head.
    rest: usize,
}

impl<W: AsyncWrite + Unpin> Frames<W> {
    pub(super) fn new(io: W) -> Self {
        Self {
            io,
            head: 0,
            length: 0,
            rest: 0,
        }
    }

    /// Tells the client that it is too much, and reads on until it has closed: an answer to what
    /// it still sends would take our frame away from it. Where a frame is cut nothing can be told.
    pub(super) async fn send_away(&mut self, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
        if self.head > 0 || self.rest > 0 {
            return Ok(());
        }
        let frame = [&GOAWAY[..], &ENHANCE_YOUR_CALM].concat();
        self.io.write_all(&frame).await?;
        self.io.shutdown().await?;
        tokio::io::copy(&mut read, &mut tokio::io::sink()).await?;
        Ok(())
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        loop {
            let within = self.rest.min(bytes.len());
            self.rest -= within;
            let Some((byte, behind)) = bytes.get(within..).and_then(<[u8]>::split_first) else {
                return;
            };
            if self.head < 3 {
                self.length = self.length << 8 | usize::from(*byte);
            }
            self.head += 1;
            if self.head == HEAD {
                self.rest = std::mem::take(&mut self.length);
                self.head = 0;
            }
            bytes = behind;
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Frames<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.follow(bytes.get(..written).unwrap_or(bytes));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, pieces))?;
        let mut left = written;
        for piece in pieces {
            let taken = piece.get(..left).unwrap_or(piece);
            self.follow(taken);
            left -= taken.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes a call, of all pieces.
    struct Taking(usize, Vec<u8>);

    impl AsyncWrite for Taking {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = self.0.min(bytes.len());
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            self.poll_write(cx, &bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// SETTINGS without a payload, DATA with one that looks like heads, and a long one.
    fn stream() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        let mut ends = vec![0, bytes.len()];
        bytes.extend([0, 0, 18, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0, 0, 9, 0, 0, 0, 0, 0, 1].repeat(2));
        ends.push(bytes.len());
        bytes.extend([0, 1, 1, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0; 257]);
        ends.push(bytes.len());
        (bytes, ends)
    }

    #[tokio::test]
    async fn the_last_frame_stands_behind_a_whole_one_or_nowhere() {
        let (bytes, ends) = stream();
        for at in 0..=bytes.len() {
            for step in [1, 5, 9, 100, 1000] {
                let mut frames = Frames::new(Taking(step, Vec::new()));
                let (one, other) = bytes[..at].split_at(at / 3);
                let mut pieces = [IoSlice::new(one), IoSlice::new(other)];
                let mut pieces = &mut pieces[..];
                while pieces.iter().any(|piece| !piece.is_empty()) {
                    let written = frames.write_vectored(pieces).await.unwrap();
                    IoSlice::advance_slices(&mut pieces, written);
                }
                frames.send_away(&b"more"[..]).await.unwrap();
                let mut expected = bytes[..at].to_vec();
                if ends.contains(&at) {
                    expected.extend(GOAWAY);
                    expected.extend(ENHANCE_YOUR_CALM);
                }
                assert_eq!(frames.io.1, expected, "cut at {at}, in steps of {step}");
            }
        }
    }
}
