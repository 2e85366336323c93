//! From sockets to requests and back.
//!
//! One acceptor takes connections and hands each to the shard that has the
//! fewest. A shard is a thread with its own runtime; a connection lives and dies
//! on it, together with the kept connections to workers, so that a request
//! crosses no thread.
//!
//! ```text
//! acceptor ── shard ── (TLS) ── first bytes ─┬─ h1 ─┬─ Service ── Response
//!                                            └─ h2 ─┘
//! ```

mod acceptor;
mod date;
pub(crate) mod h1;
mod h2;
mod pace;
pub(crate) mod shard;
mod tls;
mod tunnel;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buntime_http::HeadLimits;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::acceptor::{each, turn_away};
pub use self::h1::Aborted;
pub(crate) use self::shard::Accepted;
pub use self::shard::Shard;
use self::shard::ShardThread;
use crate::message::Listener;
use crate::service::Service;
use crate::tls::Tls;

/// How long clients may take (contract section 2).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a whole head, from its first byte.
    pub head: Duration,
    /// Without progress of a body.
    pub body: Duration,
    /// Without progress of a response.
    pub write: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// What the edge allows clients.
#[derive(Clone, Copy, Debug)]
pub struct EdgeSettings {
    /// Bounds on request heads.
    pub head: HeadLimits,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// Connections at one time; more get a 503 and are closed.
    pub max_connections: usize,
    /// Shard threads.
    pub shards: usize,
}

/// The bounds of contract section 5 on request heads.
pub const REQUEST_HEAD_LIMITS: HeadLimits = HeadLimits {
    total: 64 * 1024,
    count: 100,
    value: 16 * 1024,
    target: 16 * 1024,
};

/// The running edge.
#[derive(Debug)]
pub struct Edge {
    shards: Arc<Vec<ShardThread>>,
    limits: Arc<ConnectionLimit>,
    /// Whether the listeners speak HTTPS.
    encrypted: bool,
    /// How long a client may take nothing of a response.
    patience: Duration,
    /// Cancelled when no further connection is to be accepted.
    closing: CancellationToken,
    acceptors: TaskTracker,
}

/// How many connections there are, against how many there may be.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    live: AtomicUsize,
    max: usize,
    /// Of which this one is a part.
    whole: Option<Arc<Self>>,
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            live: AtomicUsize::new(0),
            max,
            whole: None,
        })
    }

    /// For some of the connections that `self` limits.
    pub(crate) fn part(self: &Arc<Self>, max: usize) -> Arc<Self> {
        Arc::new(Self {
            live: AtomicUsize::new(0),
            max,
            whole: Some(Arc::clone(self)),
        })
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let whole = match &self.whole {
            Some(whole) => Some(Box::new(whole.try_enter()?)),
            None => None,
        };
        self.live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| {
                (live < self.max).then_some(live + 1)
            })
            .ok()
            .map(|_| ConnectionPlace {
                limit: Arc::clone(self),
                _whole: whole,
            })
    }
}

/// The way to the shards.
#[derive(Clone, Debug)]
pub(crate) struct Intake(Arc<Vec<ShardThread>>);

impl Intake {
    /// Has the shard with the fewest connections serve this one.
    pub(crate) fn take(&self, accepted: Accepted) {
        let shards = self.0.iter();
        if let Some(shard) = shards.min_by_key(|shard| shard.connections()) {
            shard.take(accepted);
        }
    }
}

/// How many connections there are, for whoever asks now and then.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionCount(Arc<ConnectionLimit>);

impl ConnectionCount {
    /// Now.
    pub(crate) fn now(&self) -> usize {
        self.0.now()
    }
}

/// One connection's place among those allowed; given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    limit: Arc<ConnectionLimit>,
    _whole: Option<Box<Self>>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.limit.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Edge {
    /// Starts the shard threads. Nothing is accepted yet. With `tls` the
    /// listeners for clients speak HTTPS and nothing else.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(
        settings: EdgeSettings,
        tls: Option<&Arc<Tls>>,
        service: &Arc<Service>,
    ) -> io::Result<Self> {
        let shards = (0..settings.shards.max(1))
            .map(|index| ShardThread::start(index, settings, tls.cloned(), Arc::clone(service)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            shards: Arc::new(shards),
            limits: ConnectionLimit::new(settings.max_connections),
            encrypted: tls.is_some(),
            patience: settings.timeouts.write,
            closing: CancellationToken::new(),
            acceptors: TaskTracker::new(),
        })
    }

    /// Where connections are handed in that were accepted elsewhere.
    pub(crate) fn intake(&self) -> Intake {
        Intake(Arc::clone(&self.shards))
    }

    /// Accepts clients on a bound socket from now on; the bound address is returned.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub fn accept_on(&self, socket: TcpListener, listener: Listener) -> io::Result<SocketAddr> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let clients = acceptor::Clients {
            listener,
            intake: self.intake(),
            limit: Arc::clone(&self.limits),
            encrypted: self.encrypted,
            patience: self.patience,
        };
        let closing = self.closing.clone();
        self.acceptors
            .spawn(acceptor::run(socket, clients, closing));
        Ok(address)
    }

    /// The same as [`Edge::connections`], beyond the edge itself.
    pub(crate) fn connection_count(&self) -> ConnectionCount {
        ConnectionCount(Arc::clone(&self.limits))
    }

    /// How many client connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.limits.now()
    }

    /// Stops accepting, closes idle connections and event streams, and waits for
    /// the rest until `deadline`; then cuts what is left. True if nothing was cut.
    pub async fn stop(&self, deadline: tokio::time::Instant) -> bool {
        self.closing.cancel();
        self.acceptors.close();
        self.acceptors.wait().await;
        for shard in self.shards.iter() {
            shard.drain();
        }
        let mut clean = true;
        for shard in self.shards.iter() {
            clean &= shard.finished(deadline).await;
        }
        for shard in self.shards.iter() {
            shard.cut();
        }
        clean
    }
}
