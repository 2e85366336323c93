//! A shard: one thread that serves a part of the connections.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use buntime_http::RequestId;
use buntime_pool::ShardConnections;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::date::HttpDate;
use super::h1::HangUp;
use super::h2::UnsentLimit;
use super::{Aborted, ConnectionPlace, EdgeSettings, h1, h2, tls};
use crate::failure::Failure;
use crate::message::{Listener, Peer, Request, Response};
use crate::service::Service;
use crate::tls::Tls;

/// Connections that may wait for a shard to look at them.
const HAND_OVER_QUEUE: usize = 4096;

/// How a client begins to speak HTTP/2 without negotiation (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the connections of one shard share.
#[derive(Debug)]
pub struct Shard {
    service: Arc<Service>,
    workers: ShardConnections,
    settings: EdgeSettings,
    tls: Option<Arc<Tls>>,
    date: HttpDate,
    unsent: Arc<UnsentLimit>,
    drain: CancellationToken,
}

impl Shard {
    pub(crate) async fn handle(&self, request: Request) -> Result<Response, Aborted> {
        self.service.handle(&self.workers, request).await
    }

    /// Notes a request that was refused before it was one.
    pub(crate) fn refused(&self, failure: &Failure, id: &RequestId, peer: &Peer) {
        self.service.refused(failure, id, peer);
    }

    /// Notes a response that broke off before any of it was sent.
    pub(super) fn broke_off(&self, failure: &Failure, id: &RequestId) {
        self.service.broke_off(failure, id);
    }

    /// Notes a handshake that came to nothing.
    pub(super) fn handshake_failed(&self, peer: &Peer, error: &io::Error) {
        self.service.handshake_failed(peer, error);
    }

    pub(crate) fn settings(&self) -> &EdgeSettings {
        &self.settings
    }

    pub(crate) fn date(&self) -> &HttpDate {
        &self.date
    }

    /// What the shard's HTTP/2 connections hold back for slow clients.
    pub(super) fn unsent(&self) -> &Arc<UnsentLimit> {
        &self.unsent
    }

    /// Cancelled when the server stops: idle connections and endless streams end.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }
}

/// A connection on its way from the acceptor to its shard.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) address: IpAddr,
    pub(crate) listener: Listener,
    pub(crate) place: ConnectionPlace,
    /// What was read of it already.
    pub(crate) early: BytesMut,
}

/// The acceptor's side of a shard.
#[derive(Debug)]
pub(super) struct ShardThread {
    queue: mpsc::Sender<Accepted>,
    live: Arc<AtomicUsize>,
    tracker: TaskTracker,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl ShardThread {
    pub(super) fn start(
        index: usize,
        settings: EdgeSettings,
        tls: Option<Arc<Tls>>,
        service: Arc<Service>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, accepted) = mpsc::channel(HAND_OVER_QUEUE);
        let thread = Self {
            queue,
            live: Arc::new(AtomicUsize::new(0)),
            tracker: TaskTracker::new(),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let shard = Arc::new(Shard {
            service,
            workers: ShardConnections::for_one_of(settings.shards),
            settings,
            tls,
            date: HttpDate::default(),
            unsent: UnsentLimit::for_one_of(settings.shards),
            drain: thread.drain.clone(),
        });
        let live = Arc::clone(&thread.live);
        let tracker = thread.tracker.clone();
        let cut = thread.cut.clone();
        std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = run(shard, accepted, &live, &tracker) => {}
                    }
                });
            })?;
        Ok(thread)
    }

    pub(super) fn connections(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Hands a connection over. A shard that is so far behind that its queue is
    /// full closes it.
    pub(super) fn take(&self, accepted: Accepted) {
        self.live.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(accepted).is_err() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn drain(&self) {
        self.drain.cancel();
        self.tracker.close();
    }

    /// Waits until no connection is left; false if the deadline came first.
    pub(super) async fn finished(&self, deadline: Instant) -> bool {
        tokio::time::timeout_at(deadline, self.tracker.wait())
            .await
            .is_ok()
    }

    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

async fn run(
    shard: Arc<Shard>,
    mut accepted: mpsc::Receiver<Accepted>,
    live: &Arc<AtomicUsize>,
    tracker: &TaskTracker,
) {
    while let Some(accepted) = accepted.recv().await {
        let shard = Arc::clone(&shard);
        let live = LiveGuard(Arc::clone(live));
        tracker.spawn(async move {
            let _live = live;
            let _place = accepted.place;
            let is_for_clients = accepted.listener.is_for_clients();
            let peer = shard.service.peer(accepted.address, accepted.listener);
            let Ok(stream) = tokio::net::TcpStream::from_std(accepted.stream) else {
                return;
            };
            match (shard.tls.clone(), is_for_clients) {
                // Boxed, so that a plain connection's task is no larger for it.
                (Some(tls), true) => {
                    Box::pin(tls::accept(shard, &tls, stream, peer)).await;
                }
                (_, is_for_clients) => {
                    let (read, write) = stream.into_split();
                    let early = accepted.early;
                    // A worker's connection is for one request, of which HTTP/2 knows nothing.
                    let speaks = if is_for_clients {
                        Speaks::Either
                    } else {
                        Speaks::Http1
                    };
                    serve(shard, (read, early), write, peer, speaks).await;
                }
            }
        });
    }
}

struct LiveGuard(Arc<AtomicUsize>);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was agreed on before the first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Nothing: the first bytes tell.
    Either,
    /// HTTP/1.1, or nothing was agreed on inside TLS (RFC 9113 section 3.2).
    Http1,
    /// HTTP/2.
    Http2,
}

/// Reads as far as it takes to tell HTTP/2 from HTTP/1.1, then serves either. Beside the
/// reading half stands what was read of it already.
pub(super) async fn serve<R, W>(
    shard: Arc<Shard>,
    (mut read, mut buf): (R, BytesMut),
    write: W,
    peer: Peer,
    speaks: Speaks,
) where
    R: AsyncRead + HangUp + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    buf.reserve(8 * 1024);
    let timeouts = shard.settings.timeouts;
    let drain = shard.drain.clone();
    let more = async |read: &mut R, buf: &mut BytesMut, limit| {
        tokio::select! {
            biased;
            read = tokio::time::timeout(limit, read.read_buf(buf)) => matches!(read, Ok(Ok(1..))),
            () = drain.cancelled() => false,
        }
    };
    if buf.is_empty() && !more(&mut read, &mut buf, timeouts.idle).await {
        return;
    }
    let deadline = Instant::now() + timeouts.head;
    while speaks != Speaks::Http1 && buf.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&buf) {
        let left = deadline.saturating_duration_since(Instant::now());
        if !more(&mut read, &mut buf, left).await {
            return;
        }
    }
    match (speaks, buf.starts_with(H2_PREFACE)) {
        (Speaks::Either | Speaks::Http2, true) => h2::serve(shard, read, write, buf, peer).await,
        // One thing agreed on and another one spoken: nobody to talk to.
        (Speaks::Http2, false) => {}
        // A preface is no request line, and is refused as such.
        (Speaks::Either | Speaks::Http1, _) => h1::serve(shard, read, write, buf, peer).await,
    }
}
