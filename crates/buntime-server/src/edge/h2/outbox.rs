//! What a connection has taken from workers and not yet sent, and for how long.
//!
//! hyper takes a piece of every stream's body, whether or not the client has room
//! for it. A client that opens all streams and no window would so make the server
//! hold a piece of each. Here every piece is counted from the moment it is taken
//! until it has left or is dropped, and when a connection or the shard has enough
//! of them, its streams wait: their workers are not read meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::edge::pace::Pace;

/// What a connection may always have unsent, however much others have.
const FLOOR: usize = 64 * 1024;
/// At this much unsent no stream of the connection is asked for more. The piece
/// that reaches it may go beyond by its length.
const CEILING: usize = 512 * 1024;
/// What a piece counts at least, however short: it may be all that is used of the
/// buffer that it was read into.
const PIECE_MIN: usize = 16 * 1024;
/// What the connections of the whole server may have unsent above their floors,
/// and the least of it that a shard gets.
const SERVER_MAX: usize = 64 * 1024 * 1024;
const SHARD_MIN: usize = 4 * 1024 * 1024;

/// A shard's part of what the server may have unsent.
#[derive(Debug)]
pub(in crate::edge) struct UnsentLimit {
    unsent: AtomicUsize,
    max: usize,
}

impl UnsentLimit {
    /// The part of one shard among so many.
    pub(in crate::edge) fn for_one_of(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            unsent: AtomicUsize::new(0),
            max: (SERVER_MAX / shards.max(1)).max(SHARD_MIN),
        })
    }

    fn is_reached(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) >= self.max
    }
}

/// One connection's unsent data, and which of its streams wait for it to go.
pub(super) struct Outbox {
    state: Mutex<State>,
    grace: Duration,
    shard: Arc<UnsentLimit>,
}

struct State {
    unsent: usize,
    /// Streams that have to wait for room, the first to be woken in front. Only
    /// such as live: to wake another one would be to wake none.
    waiting: VecDeque<(u64, Waker)>,
    /// The number of the next stream.
    next: u64,
    open: Vec<Weak<Stream>>,
    streams: usize,
    idle_since: Instant,
}

impl Outbox {
    /// `grace` is how long a stream's client may take nothing.
    pub(super) fn new(grace: Duration, shard: Arc<UnsentLimit>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                unsent: 0,
                waiting: VecDeque::new(),
                next: 0,
                open: Vec::new(),
                streams: 0,
                idle_since: Instant::now(),
            }),
            grace,
            shard,
        })
    }

    /// A stream begins. It lasts until its handle and all that it owes are gone.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Stream> {
        let mut state = self.state.lock();
        let stream = Arc::new(Stream {
            number: state.next,
            outbox: Arc::clone(self),
            unsent: Mutex::new(Unsent {
                bytes: 0,
                pace: Pace::new(self.grace),
            }),
        });
        state.next += 1;
        state.streams += 1;
        if state.open.len() > 2 * state.streams {
            state.open.retain(|stream| stream.strong_count() > 0);
        }
        state.open.push(Arc::downgrade(&stream));
        stream
    }

    /// Whether the client takes some stream's data too slowly or not at all.
    pub(super) fn is_stalled(&self) -> bool {
        // Upgraded outside the lock: the last handle of a stream takes it.
        let open: Vec<_> = self.state.lock().open.clone();
        open.iter()
            .filter_map(Weak::upgrade)
            .any(|stream| stream.unsent.lock().pace.is_over())
    }

    /// Whether there was no stream for this long.
    pub(super) fn is_idle(&self, limit: Duration) -> bool {
        let state = self.state.lock();
        state.streams == 0 && state.idle_since.elapsed() > limit
    }

    fn has_room(&self, state: &State) -> bool {
        state.unsent < FLOOR || state.unsent < CEILING && !self.shard.is_reached()
    }

    /// Wakes the next stream if there is room for it.
    fn wake_next(&self) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() || !self.has_room(&state) {
            return;
        }
        let next = state.waiting.pop_front();
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// One stream of a connection.
pub(super) struct Stream {
    number: u64,
    outbox: Arc<Outbox>,
    unsent: Mutex<Unsent>,
}

struct Unsent {
    bytes: usize,
    /// Runs while there are unsent bytes: a quiet worker costs the client nothing.
    pace: Pace,
}

impl Stream {
    /// Ready when a piece of this stream's body may be taken.
    ///
    /// Of several that wait one is woken at a time. Each that was passes on what
    /// is left, by [`Stream::owe`], [`Stream::pass_room_on`] or [`Stream::leave`],
    /// so that room never lies idle beside a stream that waits.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.outbox.state.lock();
        if self.outbox.has_room(&state) {
            return Poll::Ready(());
        }
        let mut waiting = state.waiting.iter_mut();
        match waiting.find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => {
                let waker = cx.waker().clone();
                state.waiting.push_back((self.number, waker));
            }
        }
        Poll::Pending
    }

    /// Lets the next stream look at the room that this one leaves.
    pub(super) fn pass_room_on(&self) {
        self.outbox.wake_next();
    }

    /// Nothing more of this stream's body will be taken.
    pub(super) fn leave(&self) {
        let mut state = self.outbox.state.lock();
        state.waiting.retain(|(number, _)| *number != self.number);
        drop(state);
        self.outbox.wake_next();
    }

    /// Counts a piece of this stream's body until it has left or is dropped.
    pub(super) fn owe(self: &Arc<Self>, data: Bytes) -> Owed {
        let size = data.len().max(PIECE_MIN);
        self.outbox.state.lock().unsent += size;
        self.outbox.shard.unsent.fetch_add(size, Ordering::Relaxed);
        {
            let mut unsent = self.unsent.lock();
            unsent.bytes += data.len();
            if unsent.bytes > 0 {
                unsent.pace.wait();
            }
        }
        self.outbox.wake_next();
        Owed {
            stream: Arc::clone(self),
            data,
            size,
        }
    }

    fn sent(&self, bytes: usize) {
        let mut unsent = self.unsent.lock();
        unsent.bytes = unsent.bytes.saturating_sub(bytes);
        unsent.pace.progress(bytes);
        if unsent.bytes > 0 {
            unsent.pace.wait();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        state.streams -= 1;
        state.idle_since = Instant::now();
    }
}

/// A piece of a body that hyper holds.
pub(super) struct Owed {
    stream: Arc<Stream>,
    data: Bytes,
    /// What it holds in memory until it is dropped, however little is left to send.
    size: usize,
}

impl Buf for Owed {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.stream.sent(count);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let outbox = &self.stream.outbox;
        outbox.state.lock().unsent -= self.size;
        outbox.shard.unsent.fetch_sub(self.size, Ordering::Relaxed);
        if !self.data.is_empty() {
            self.stream.sent(self.data.len());
        }
        outbox.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Wake;

    use tokio::sync::mpsc;
    use tokio::task::JoinSet;
    use tokio::time::{advance, timeout};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn outbox() -> Arc<Outbox> {
        Outbox::new(GRACE, UnsentLimit::for_one_of(1))
    }

    fn has_room(stream: &Stream) -> bool {
        stream
            .poll_room(&Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn a_connection_waits_at_its_ceiling_and_never_below_its_floor() {
        let outbox = outbox();
        let (one, other) = (outbox.begin(), outbox.begin());
        let mut owed = Vec::new();
        while has_room(&one) {
            owed.push(one.owe(Bytes::from_static(&[0; 1000])));
        }
        // Short pieces count as what they may pin.
        assert_eq!(owed.len(), CEILING / PIECE_MIN);
        assert!(!has_room(&other), "the ceiling is the connection's");
        owed.pop();
        assert!(has_room(&other));
        // The shard has enough: what is left is the floor.
        let shard = Arc::new(UnsentLimit {
            unsent: AtomicUsize::new(1),
            max: 0,
        });
        let outbox = Outbox::new(GRACE, Arc::clone(&shard));
        let stream = outbox.begin();
        let piece = Bytes::from(vec![0; FLOOR - 1]);
        let first = stream.owe(piece);
        assert!(has_room(&stream));
        let second = stream.owe(Bytes::from_static(b"x"));
        assert!(!has_room(&stream));
        drop((first, second));
        assert_eq!(shard.unsent.load(Ordering::Relaxed), 1, "all is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn only_bytes_that_wait_for_the_client_cost_it_time() {
        let outbox = outbox();
        let stream = outbox.begin();
        advance(GRACE * 2).await;
        assert!(!outbox.is_stalled(), "nothing waits");
        let mut owed = stream.owe(Bytes::from(vec![0; 20_000]));
        advance(GRACE - Duration::from_secs(1)).await;
        assert!(!outbox.is_stalled());
        owed.advance(10_000);
        advance(GRACE - Duration::from_secs(1)).await;
        assert!(!outbox.is_stalled(), "it was taken in time");
        advance(Duration::from_secs(2)).await;
        assert!(outbox.is_stalled());
        owed.advance(10_000);
        advance(GRACE * 2).await;
        assert!(!outbox.is_stalled(), "all of it was taken");
        drop(stream);
        assert!(!outbox.is_idle(Duration::ZERO), "a piece is left");
        drop(owed);
        advance(Duration::from_secs(1)).await;
        assert!(outbox.is_idle(Duration::ZERO));
        assert_eq!(outbox.state.lock().unsent, 0);
    }

    /// Notes that a stream was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_woken_and_takes_nothing_wakes_the_next() {
        let outbox = outbox();
        let streams: Vec<_> = (0..5).map(|_| outbox.begin()).collect();
        let woken: Vec<_> = streams.iter().map(|_| Arc::new(Woken::default())).collect();
        let so_far = || -> Vec<usize> {
            let counts = woken.iter().map(|woken| woken.0.load(Ordering::Relaxed));
            counts.collect()
        };
        let all = outbox.begin().owe(Bytes::from(vec![0; CEILING]));
        for (stream, woken) in streams.iter().zip(&woken) {
            let waker = Waker::from(Arc::clone(woken));
            for _ in 0..3 {
                assert!(stream.poll_room(&Context::from_waker(&waker)).is_pending());
            }
        }
        // One that ends while it waits takes no turn.
        streams[1].leave();
        assert_eq!(so_far(), [0; 5]);
        drop(all);
        assert_eq!(so_far(), [1, 0, 0, 0, 0]);
        streams[0].pass_room_on();
        assert_eq!(so_far(), [1, 0, 1, 0, 0]);
        streams[2].leave();
        assert_eq!(so_far(), [1, 0, 1, 1, 0]);
        let _owed = streams[3].owe(Bytes::from_static(b"x"));
        assert_eq!(so_far(), [1, 0, 1, 1, 1]);
        streams[4].pass_room_on();
        assert_eq!(so_far(), [1, 0, 1, 1, 1], "nobody waits any more");
    }

    /// Room must never lie idle beside a stream that waits, whichever of them end.
    #[tokio::test(start_paused = true)]
    async fn no_stream_is_forgotten() {
        for seed in 0..200 {
            fastrand::seed(seed);
            let outbox = outbox();
            let (client, mut taken) = mpsc::channel(1000);
            let mut streams = JoinSet::new();
            for _ in 0..100 {
                let (stream, client) = (outbox.begin(), client.clone());
                streams.spawn(async move {
                    for _ in 0..fastrand::usize(..8) {
                        let room = poll_fn(|cx| stream.poll_room(cx));
                        // A client may reset a stream while it waits.
                        let patience = Duration::from_millis(fastrand::u64(1..1000));
                        if fastrand::u8(..8) > 0 {
                            room.await;
                        } else if timeout(patience, room).await.is_err() {
                            break;
                        }
                        // A worker may have nothing for the room that there is.
                        if fastrand::u8(..4) == 0 {
                            stream.pass_room_on();
                            tokio::task::yield_now().await;
                            continue;
                        }
                        let piece = Bytes::from(vec![0; fastrand::usize(1..200_000)]);
                        let _ = client.send(stream.owe(piece)).await;
                    }
                    stream.leave();
                });
            }
            drop(client);
            let sending = tokio::spawn(async move {
                let mut held = VecDeque::new();
                while let Some(piece) = taken.recv().await {
                    held.push_back(piece);
                    if fastrand::bool() {
                        tokio::task::yield_now().await;
                        held.pop_front();
                    } else if held.len() > 3 {
                        held.clear();
                    }
                    if taken.is_empty() {
                        held.clear();
                    }
                }
            });
            let all = timeout(Duration::from_secs(10), streams.join_all()).await;
            assert!(all.is_ok(), "a stream waits for ever with seed {seed}");
            let _ = sending.await;
            assert_eq!(outbox.state.lock().unsent, 0);
        }
    }
}
