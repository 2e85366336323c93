//! The way out for apps: a proxy that lets each app reach what `permissions.net` of
//! its manifest and the operator's grants say (contract section 3).
//!
//! **Theory of operation.** One loopback listener speaks the two forms of an HTTP
//! proxy: CONNECT for anything inside TLS, absolute form for plain HTTP. An app's
//! workers get its address with a token of their own in `HTTP_PROXY` and
//! `HTTPS_PROXY`; the token tells whose policy counts. A host name is resolved here,
//! each address is judged, and the connection is made to an address that passed:
//! there is no second look-up which could give another answer (DNS rebinding).
//!
//! The proxy alone forbids nothing that an app does without it. What does is the
//! sandbox, which leaves an app no other way out.

mod dial;
mod forward;
mod policy;
mod server;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::dial::Dialer;
pub(crate) use self::policy::{Policy, Refusal};
use crate::logging::Logger;

/// Connections of one app at once.
const APP_CONNECTIONS: usize = 256;
/// Connections of all apps at once.
const CONNECTIONS: usize = 4096;
/// Seconds between two warnings of one app's refusals; those between are counted.
const WARN_SECONDS: u64 = 10;

/// The proxy. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Egress(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    clients: RwLock<HashMap<Box<str>, Arc<Client>>>,
    connections: Arc<Semaphore>,
    dialer: Dialer,
    started: Instant,
    log: Logger,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("address", &self.address)
            .field("clients", &self.clients.read().len())
            .finish_non_exhaustive()
    }
}

/// An app, as the proxy knows it.
struct Client {
    app: Box<str>,
    policy: Policy,
    connections: Arc<Semaphore>,
    /// The second of the last warning, and refusals since.
    warned_at: AtomicU64,
    untold: AtomicU64,
}

/// An app's way out. It ends when this is dropped; connections that are open go on.
pub(crate) struct Exit {
    egress: Egress,
    token: Uuid,
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exit(…)")
    }
}

impl Egress {
    /// Listens on a free port of the loopback interface until `stop`. To be called
    /// within a runtime that has time and I/O.
    ///
    /// # Errors
    /// No socket can be had.
    pub(crate) fn start(log: Logger, stop: CancellationToken) -> io::Result<Self> {
        Self::start_with(log, stop, Dialer::system())
    }

    fn start_with(log: Logger, stop: CancellationToken, dialer: Dialer) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let egress = Self(Arc::new(Shared {
            address: listener.local_addr()?,
            clients: RwLock::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            dialer,
            started: Instant::now(),
            log,
        }));
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(server::serve(egress.clone(), listener, stop));
        Ok(egress)
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.0.address.port()
    }

    /// Opens the way out for `app`.
    pub(crate) fn open(&self, app: &str, policy: Policy) -> Exit {
        let token = Uuid::new_v4();
        let client = Client {
            app: app.into(),
            policy,
            connections: Arc::new(Semaphore::new(APP_CONNECTIONS)),
            warned_at: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        };
        let header = credentials(token);
        self.0.clients.write().insert(header, Arc::new(client));
        Exit {
            egress: self.clone(),
            token,
        }
    }

    /// Whose request this is, by its `Proxy-Authorization`.
    fn client(&self, authorization: &str) -> Option<Arc<Client>> {
        self.0.clients.read().get(authorization).cloned()
    }

    /// Tells of a refusal: an app that tries in a loop must not fill the log.
    fn refused(&self, client: &Client, host: &str, port: u16, refusal: &Refusal) {
        let now = self.0.started.elapsed().as_secs() + WARN_SECONDS;
        let last = client.warned_at.load(Ordering::Relaxed);
        let due = now >= last + WARN_SECONDS
            && client
                .warned_at
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !due {
            client.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let untold = client.untold.swap(0, Ordering::Relaxed);
        self.0.log.warn("egress", "Connection refused", |fields| {
            fields
                .text("app", &client.app)
                .text("host", host)
                .add("port", port)
                .text("reason", refusal);
            if untold > 0 {
                fields.add("more", untold);
            }
        });
    }
}

impl Exit {
    /// What `HTTP_PROXY` and `HTTPS_PROXY` say: the address with the app's token.
    pub(crate) fn url(&self) -> String {
        let (token, address) = (self.token.simple(), self.egress.0.address);
        format!("http://app:{token}@{address}")
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        let header = credentials(self.token);
        self.egress.0.clients.write().remove(&header);
    }
}

/// The value of `Proxy-Authorization` that clients make of [`Exit::url`] (RFC 7617).
fn credentials(token: Uuid) -> Box<str> {
    let pair = format!("app:{}", token.simple());
    format!("Basic {}", BASE64_STANDARD.encode(pair)).into()
}
