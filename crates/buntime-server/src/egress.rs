//! The way out for apps: a proxy that lets each app reach what `permissions.net` of
//! its manifest and the operator's grants say (contract section 3).
//!
//! **Theory of operation.** It speaks the two forms of an HTTP proxy on connections that
//! come by a worker's gateway: CONNECT for anything inside TLS, absolute form for plain
//! HTTP. Whose policy counts the gateway knows; that it is the worker who speaks, and not
//! somebody else on this machine, a token tells, which stands in the worker's
//! `HTTP_PROXY`. A host name is resolved here, each address is judged, and the
//! connection is made to an address that passed: there is no second look-up which could
//! give another answer (DNS rebinding).
//!
//! The proxy alone forbids nothing that an app does without it. What does is the
//! sandbox, which leaves an app no other way out.

mod dial;
mod forward;
mod lookup;
mod policy;
mod route;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use buntime_core::HostPort;
use bytes::BytesMut;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::dial::{DialError, Dialer};
pub(crate) use self::policy::{Policy, Refusal};
use crate::edge::ConnectionPlace;
use crate::logging::Logger;

/// Seconds between two warnings for one app; those between are counted.
const WARN_SECONDS: u64 = 10;

/// The proxy. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Egress(Arc<Shared>);

struct Shared {
    dialer: Dialer,
    started: Instant,
    log: Logger,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

/// A worker, as the proxy knows it.
#[derive(Debug)]
pub(crate) struct Client {
    /// `name@version`.
    app: Box<str>,
    policy: Policy,
    /// What its `Proxy-Authorization` is.
    authorization: Box<str>,
    told: Arc<Told>,
    /// Cancelled when it has ended.
    ended: CancellationToken,
}

/// What was warned of for an app.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The second of the last warning, and how many were left out since.
    warned_at: AtomicU64,
    untold: AtomicU64,
}

impl Client {
    /// `app` is `name@version`; `token` is known to nobody but this worker.
    pub(crate) fn new(
        app: &str,
        policy: Policy,
        token: Uuid,
        told: Arc<Told>,
        ended: CancellationToken,
    ) -> Self {
        Self {
            app: app.into(),
            policy,
            authorization: authorization(token),
            told,
            ended,
        }
    }

    /// Without the version.
    fn app_name(&self) -> &str {
        let parts = self.app.rsplit_once('@');
        parts.map_or(&*self.app, |(name, _)| name)
    }

    /// Whether it is this worker who speaks, by `Proxy-Authorization`.
    fn is_known_by(&self, authorization: &[u8]) -> bool {
        self.authorization.as_bytes().ct_eq(authorization).into()
    }
}

impl Egress {
    pub(crate) fn new(log: Logger) -> Self {
        Self::with_dialer(log, Dialer::system())
    }

    fn with_dialer(log: Logger, dialer: Dialer) -> Self {
        Self(Arc::new(Shared {
            dialer,
            started: Instant::now(),
            log,
        }))
    }

    /// Serves a connection of the worker until it ends, or the worker does. `early` is
    /// what was read of it already.
    pub(crate) async fn serve(
        &self,
        client: Arc<Client>,
        stream: TcpStream,
        early: BytesMut,
        place: ConnectionPlace,
    ) {
        let ended = client.ended.clone();
        let connection = server::connection(self.clone(), client, stream, early, place);
        ended.run_until_cancelled(connection).await;
    }

    /// Carries a raw connection of the worker on to `host`, until both sides have ended or
    /// the worker has.
    pub(crate) async fn carry(&self, client: &Client, mut stream: TcpStream, to: &HostPort) {
        let carried = async {
            let host = to.host().trim_start_matches('[').trim_end_matches(']');
            match self.0.dialer.connect(client, host, to.port()).await {
                Ok(mut there) => {
                    // Either side may break off at any time; that is the end.
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
                }
                Err(DialError::Refused(refusal)) => {
                    self.refused(client, host, to.port(), &refusal);
                }
                Err(DialError::Lookup(_) | DialError::Connect(_)) => {}
            }
        };
        client.ended.run_until_cancelled(carried).await;
    }

    fn refused(&self, client: &Client, host: &str, port: u16, refusal: &Refusal) {
        self.warn("Connection refused", client, host, port, refusal);
    }

    /// Warns of a host: an app that tries in a loop must not fill the log.
    fn warn(
        &self,
        message: &'static str,
        client: &Client,
        host: &str,
        port: u16,
        reason: &dyn fmt::Display,
    ) {
        let told = &client.told;
        let now = self.0.started.elapsed().as_secs() + WARN_SECONDS;
        let last = told.warned_at.load(Ordering::Relaxed);
        let due = now >= last + WARN_SECONDS
            && told
                .warned_at
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !due {
            told.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let untold = told.untold.swap(0, Ordering::Relaxed);
        self.0.log.warn("egress", message, |fields| {
            fields
                .text("app", &client.app)
                .text("host", host)
                .add("port", port)
                .text("reason", reason);
            if untold > 0 {
                fields.add("more", untold);
            }
        });
    }
}

/// The value of `Proxy-Authorization` that clients make of `http://app:TOKEN@…`
/// (RFC 7617).
fn authorization(token: Uuid) -> Box<str> {
    let pair = format!("app:{}", token.simple());
    format!("Basic {}", BASE64_STANDARD.encode(pair)).into()
}
