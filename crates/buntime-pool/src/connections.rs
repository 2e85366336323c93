//! Kept connections to workers, one set for each shard.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::instance::Instance;

/// Idle connections kept to one worker by all shards. With fewer than are in use at a time,
/// bursts open and close the rest for each request, which costs both sides half as much again.
/// A worker may have 1,024 descriptors open, and needs some for itself.
const IDLE_LIMIT: usize = 512;
/// Idle connections kept by one shard to all workers that have one already.
const SHARD_LIMIT: usize = 4096;
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps that an idle connection outlives. An open connection keeps timers in
/// Bun running, which wake a worker that rests.
const KEPT_SWEEPS: u64 = 2;
/// A kept connection's read buffer beyond this size is given up.
const KEPT_BUFFER: usize = 16 * 1024;
/// What a connection reads into at first.
const FIRST_BUFFER: usize = 8 * 1024;
/// Pause between tries while the worker's backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

/// The idle connections that one shard's runtime keeps to workers. Make one for
/// each runtime and use it there only.
#[derive(Debug)]
pub struct ShardConnections {
    shelf: Arc<Shelf>,
}

impl ShardConnections {
    /// An empty set, for one of so many shards.
    #[must_use]
    pub fn for_one_of(shards: usize) -> Self {
        let of_one = (IDLE_LIMIT / shards.max(1)).max(1);
        Self {
            shelf: Arc::new(Shelf {
                idle: Mutex::new(Idle::within(of_one, SHARD_LIMIT)),
            }),
        }
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }
}

/// Idle connections by worker. A worker's entry goes when the worker does.
#[derive(Debug)]
pub(crate) struct Shelf {
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Idle {
    /// Most that are kept to one worker, and to all together.
    limits: (usize, usize),
    /// The connection put back last is the last one.
    by_worker: HashMap<u64, Vec<Connection>>,
    /// Those of all workers.
    count: usize,
    /// Counts sweeps: a clock that costs a request nothing.
    sweeps: u64,
    is_swept: bool,
}

impl Idle {
    fn within(of_one: usize, of_all: usize) -> Self {
        Self {
            limits: (of_one, of_all),
            by_worker: HashMap::new(),
            count: 0,
            sweeps: 0,
            is_swept: false,
        }
    }

    fn take(&mut self, worker: u64) -> Option<Connection> {
        let kept = self.by_worker.get_mut(&worker)?.pop()?;
        self.count -= 1;
        Some(kept)
    }

    /// Keeps a connection, or gives it back if there are enough. Besides: whether the worker
    /// has had none so far.
    fn put(&mut self, worker: u64, mut connection: Connection) -> (bool, Option<Connection>) {
        connection.put_at = self.sweeps;
        let (of_one, of_all) = self.limits;
        let has_room = self.count < of_all;
        let is_new = match self.by_worker.get_mut(&worker) {
            Some(kept) if has_room && kept.len() < of_one => {
                kept.push(connection);
                false
            }
            Some(_) => return (false, Some(connection)),
            None => {
                self.by_worker.insert(worker, vec![connection]);
                true
            }
        };
        self.count += 1;
        (is_new, None)
    }

    /// All connections to a worker. Its entry stays: it knows this shelf.
    fn drain(&mut self, worker: u64) -> Vec<Connection> {
        let gone = self.by_worker.get_mut(&worker).map(std::mem::take);
        let gone = gone.unwrap_or_default();
        self.count -= gone.len();
        gone
    }

    fn forget(&mut self, worker: u64) -> Option<Vec<Connection>> {
        let gone = self.by_worker.remove(&worker)?;
        self.count -= gone.len();
        Some(gone)
    }
}

impl Shelf {
    /// A kept connection, the one used last first: it is the warmest. One that
    /// was closed meanwhile, or on which something came unasked, is given up.
    pub(crate) fn take(&self, instance: &Instance) -> Option<Connection> {
        loop {
            let kept = self.idle.lock().take(instance.number())?;
            if kept.is_quiet() {
                return Some(kept);
            }
        }
    }

    /// Keeps a connection on which nothing is outstanding.
    pub(crate) fn put(self: &Arc<Self>, instance: &Instance, mut connection: Connection) {
        if connection.input.capacity() > KEPT_BUFFER {
            connection.input = BytesMut::new();
        }
        connection.reused = true;
        let (is_new, surplus, is_swept) = {
            let mut idle = self.idle.lock();
            let (is_new, surplus) = idle.put(instance.number(), connection);
            (is_new, surplus, std::mem::replace(&mut idle.is_swept, true))
        };
        // Closing takes time: not under the lock.
        drop(surplus);
        if !is_swept {
            self.start_sweeping();
        }
        // Afterwards: the worker may have gone meanwhile, and then has already
        // cleared the shelves that it knew of.
        if is_new && !instance.remember(self) {
            self.forget(instance.number());
        }
    }

    /// Closes every connection to a worker that is gone.
    pub(crate) fn forget(&self, instance: u64) {
        let gone = self.idle.lock().forget(instance);
        // Closed when the lock is open again, as above.
        drop(gone);
    }

    /// Closes every idle connection to a worker that goes on.
    fn close_idle(&self, instance: u64) {
        let gone = self.idle.lock().drain(instance);
        // Closed when the lock is open again, as above.
        drop(gone);
    }

    /// Sweeps until nothing is left to sweep.
    fn start_sweeping(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            // The runtime is ending, and with it all connections.
            return;
        };
        let shelf = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(shelf) = shelf.upgrade() else { return };
                if !shelf.sweep() {
                    return;
                }
            }
        });
    }

    /// Closes what has been idle for long. False if nothing is left.
    fn sweep(&self) -> bool {
        let mut gone = Vec::new();
        let mut idle = self.idle.lock();
        idle.sweeps += 1;
        let now = idle.sweeps;
        let mut is_any_left = false;
        // Entries stay: their workers know this shelf and clear it.
        for kept in idle.by_worker.values_mut() {
            let old = kept.partition_point(|connection| connection.put_at + KEPT_SWEEPS < now);
            gone.extend(kept.drain(..old));
            is_any_left |= !kept.is_empty();
        }
        idle.count -= gone.len();
        idle.is_swept = is_any_left;
        // Closing takes time: not under the lock.
        drop(idle);
        drop(gone);
        is_any_left
    }
}

/// One of the open connections to a worker; dropping it says that it is closed.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The shelves that hold connections to one worker.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    /// `None` once the worker is gone.
    known: Mutex<Option<Vec<Weak<Shelf>>>>,
    /// Connections to the worker, those in use included.
    open: Arc<AtomicU32>,
}

impl Shelves {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::new(Some(Vec::new())),
            open: Arc::default(),
        }
    }

    /// Counts one more connection. What is idle on any shard goes if there were more than
    /// `most`.
    pub(crate) fn count(&self, instance: u64, most: u32) -> Counted {
        if self.open.fetch_add(1, Ordering::Relaxed) >= most {
            let known = self.known.lock().clone().unwrap_or_default();
            for shelf in known.iter().filter_map(Weak::upgrade) {
                shelf.close_idle(instance);
            }
        }
        Counted(Arc::clone(&self.open))
    }

    /// False if the worker is gone, so that nobody would clear the shelf.
    pub(crate) fn remember(&self, shelf: &Arc<Shelf>) -> bool {
        match self.known.lock().as_mut() {
            Some(known) => {
                known.push(Arc::downgrade(shelf));
                true
            }
            None => false,
        }
    }

    /// The worker is gone: clears every shelf.
    pub(crate) fn clear(&self, instance: u64) {
        let known = self.known.lock().take().unwrap_or_default();
        for shelf in known.iter().filter_map(Weak::upgrade) {
            shelf.forget(instance);
        }
    }
}

/// A connection to a worker with its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    /// What was read and not yet used. Empty between requests.
    pub(crate) input: BytesMut,
    /// A buffer for requests to be written into.
    pub(crate) output: Vec<u8>,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
    /// The sweep after which it was put on its shelf.
    put_at: u64,
    /// Watches over what the worker owes.
    pub(crate) alarm: Alarm,
    _counted: Counted,
}

impl Connection {
    /// Connects to a worker. While its backlog is full this waits, so the caller
    /// needs a deadline.
    pub(crate) async fn open(instance: &Instance, deadline: Instant) -> io::Result<Self> {
        let counted = instance.count_connection();
        let first = instance.take_first();
        let reused = first.is_some();
        let stream = match first {
            Some(first) => UnixStream::from_std(first)?,
            None => connect(instance.socket_path()).await?,
        };
        Ok(Self {
            stream,
            input: BytesMut::with_capacity(FIRST_BUFFER),
            output: Vec::new(),
            reused,
            put_at: 0,
            alarm: Alarm::new(deadline),
            _counted: counted,
        })
    }

    /// Whether nothing has come since the last response. Costs no system call
    /// unless something has.
    fn is_quiet(&self) -> bool {
        let came = self.stream.try_read(&mut [0]);
        matches!(came, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads more, at most `room` bytes; zero at the end.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut std::task::Context<'_>,
        room: usize,
    ) -> std::task::Poll<io::Result<usize>> {
        use tokio::io::AsyncReadExt as _;
        // A quiet stream holds no buffer for what may come some day.
        std::task::ready!(self.stream.poll_read_ready(cx))?;
        self.input.reserve(room);
        // The future keeps no state between polls.
        let read = std::pin::pin!(self.stream.read_buf(&mut self.input));
        Future::poll(read, cx)
    }
}

async fn connect(path: &str) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A connection to a worker, and the worker's end.
    fn connection() -> (Connection, UnixStream) {
        connection_of(&Shelves::new())
    }

    fn connection_of(shelves: &Shelves) -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Connection {
            stream: ours,
            input: BytesMut::new(),
            output: Vec::new(),
            reused: true,
            put_at: 0,
            alarm: Alarm::new(Instant::now()),
            _counted: shelves.count(1, 2),
        };
        (connection, theirs)
    }

    async fn is_closed(mut theirs: UnixStream) -> bool {
        matches!(theirs.read(&mut [0]).await, Ok(0))
    }

    #[tokio::test]
    async fn what_is_idle_for_long_is_closed() {
        let connections = ShardConnections::for_one_of(1);
        let shelf = connections.shelf();
        let (connection, theirs) = connection();
        assert!(shelf.idle.lock().put(1, connection).0);
        for _ in 0..KEPT_SWEEPS {
            assert!(shelf.sweep());
        }
        assert!(!shelf.sweep());
        assert!(is_closed(theirs).await);
        assert!(shelf.idle.lock().by_worker.contains_key(&1));
        assert_eq!(shelf.idle.lock().count, 0);
    }

    #[tokio::test]
    async fn idle_connections_of_all_shards_make_room_for_new_ones() {
        let shards = [(); 2].map(|()| ShardConnections::for_one_of(2));
        let shelves = Shelves::new();
        let mut idle = Vec::new();
        for shard in &shards {
            let (ours, theirs) = connection_of(&shelves);
            assert!(shelves.remember(shard.shelf()));
            assert!(shard.shelf().idle.lock().put(1, ours).0);
            idle.push(theirs);
        }
        assert_eq!(shelves.open.load(Ordering::Relaxed), 2);
        let (third, _theirs) = connection_of(&shelves);
        assert_eq!(shelves.open.load(Ordering::Relaxed), 1);
        for theirs in idle {
            assert!(is_closed(theirs).await);
        }
        for shard in &shards {
            assert_eq!(shard.shelf().idle.lock().count, 0);
        }
        // The worker knows the shelf already.
        let (is_new, surplus) = shards[0].shelf().idle.lock().put(1, third);
        assert!(!is_new && surplus.is_none());
    }

    #[tokio::test]
    async fn a_worker_keeps_no_more_than_its_share() {
        let mut idle = Idle::within(3, 100);
        let (mut theirs, mut surplus) = (Vec::new(), None);
        for _ in 0..4 {
            let (ours, other) = connection();
            surplus = idle.put(1, ours).1;
            theirs.push(other);
        }
        assert_eq!((idle.by_worker[&1].len(), idle.count), (3, 3));
        drop(surplus.expect("the fourth is one too many"));
        assert!(is_closed(theirs.pop().unwrap()).await);
        for left in (0..3).rev() {
            assert!(idle.take(1).is_some());
            assert_eq!(idle.count, left);
        }
        assert!(idle.take(1).is_none());
        assert!(!idle.put(1, connection().0).0, "the worker is known");
    }

    #[tokio::test]
    async fn a_shard_keeps_no_more_than_its_share_and_one_to_each_worker() {
        let mut idle = Idle::within(3, 6);
        for worker in [1, 1, 1, 2, 2, 2] {
            let (_, surplus) = idle.put(worker, connection().0);
            assert!(surplus.is_none());
        }
        assert!(idle.put(3, connection().0).0, "it is new");
        let (is_new, surplus) = idle.put(3, connection().0);
        assert!(!is_new && surplus.is_some());
        assert_eq!((idle.by_worker[&3].len(), idle.count), (1, 7));
        assert_eq!(idle.forget(1).map(|gone| gone.len()), Some(3));
        assert!(idle.forget(1).is_none());
        idle.put(3, connection().0);
        assert_eq!((idle.by_worker[&3].len(), idle.count), (2, 5));
    }
}
