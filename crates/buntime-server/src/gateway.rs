//! What worker processes connect to. Each has a gateway of its own, which knows whose
//! worker it is (docs/decisions/0009-whose-request-is-it.md): requests in origin form
//! are for the server and go to the edge, the others are for the proxy (`egress`). A
//! connection carries one request.
//!
//! A gateway costs its listening socket, and one task once its worker has an app. What
//! an app does with its gateways takes nothing from others: connections are counted for
//! each app and for all, apart from those of clients.

mod asks;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use buntime_core::{HostPort, PackageName};
use buntime_pool::{AppSpec, Gateway};
use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::asks::Asks;
use crate::edge::{self, Accepted, ConnectionLimit, ConnectionPlace, Intake};
use crate::egress::{Client, Egress, Policy, Told};
use crate::logging::Logger;
use crate::message::Listener;

/// Connections of one app at once, those to the server and those to the outside.
const APP_CONNECTIONS: usize = 256;
/// Connections of all apps at once.
const CONNECTIONS: usize = 4096;

/// Serves the gateways of all workers. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Gateways(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    egress: Egress,
    /// Until when a connection must say what it is for.
    patience: Duration,
    /// Set before any app has a worker.
    intake: OnceLock<Intake>,
    connections: Arc<ConnectionLimit>,
    /// Those that have workers.
    apps: Mutex<HashMap<PackageName, Weak<App>>>,
}

/// What the workers of one app share, whatever their versions.
#[derive(Debug)]
struct App {
    connections: Arc<ConnectionLimit>,
    told: Arc<Told>,
}

/// One gateway.
#[derive(Debug)]
struct Door {
    gateways: Gateways,
    name: Arc<str>,
    app: Arc<App>,
    client: Arc<Client>,
}

impl Gateways {
    /// `patience`: how long a head may take.
    pub(crate) fn new(patience: Duration, log: &Logger) -> Self {
        Self(Arc::new(Shared {
            egress: Egress::new(log.clone()),
            patience,
            intake: OnceLock::new(),
            connections: ConnectionLimit::new(CONNECTIONS),
            apps: Mutex::default(),
        }))
    }

    /// Says where requests to the server go. Until then they are refused.
    pub(crate) fn lead_to(&self, intake: Intake) {
        let _ = self.0.intake.set(intake);
    }

    fn app(&self, name: &PackageName) -> Arc<App> {
        let mut apps = self.0.apps.lock();
        if let Some(app) = apps.get(name).and_then(Weak::upgrade) {
            return app;
        }
        apps.retain(|_, app| app.strong_count() > 0);
        let app = Arc::new(App {
            connections: self.0.connections.part(APP_CONNECTIONS),
            told: Arc::default(),
        });
        apps.insert(name.clone(), Arc::downgrade(&app));
        app
    }
}

impl buntime_pool::Gateways for Gateways {
    fn serve(&self, gateway: Gateway, spec: &AppSpec) -> DropGuard {
        let ended = CancellationToken::new();
        let app = self.app(&spec.name);
        let client = Client::new(
            &spec.id,
            Policy::new(&spec.granted),
            gateway.token,
            Arc::clone(&app.told),
            ended.clone(),
        );
        let door = Arc::new(Door {
            gateways: self.clone(),
            name: spec.name.as_str().into(),
            app,
            client: Arc::new(client),
        });
        for forward in gateway.forwards {
            let (door, host) = (Arc::clone(&door), Some(Arc::new(forward.host)));
            tokio::spawn(accept(forward.socket, door, host, ended.clone()));
        }
        tokio::spawn(accept(gateway.socket, door, None, ended.clone()));
        ended.drop_guard()
    }
}

/// Serves the connections to `socket` until `ended`: carries them on to `host`, or, without
/// one, finds out what they are for.
async fn accept(
    socket: std::net::TcpListener,
    door: Arc<Door>,
    host: Option<Arc<HostPort>>,
    ended: CancellationToken,
) {
    // It fails only where the machine has no memory left; connections are refused then.
    let Ok(socket) = TcpListener::from_std(socket) else {
        return;
    };
    let take = |stream: TcpStream, address| {
        let (door, place) = (Arc::clone(&door), door.app.connections.try_enter());
        match (place, &host) {
            (Some(place), Some(host)) => {
                tokio::spawn(door.carry(stream, Arc::clone(host), place));
            }
            (Some(place), None) => {
                tokio::spawn(door.serve(stream, address, place));
            }
            // It would not know what to make of an answer.
            (None, Some(_)) => {}
            (None, None) => edge::turn_away(&stream),
        }
    };
    edge::each(&socket, take, &ended).await;
}

impl Door {
    async fn serve(
        self: Arc<Self>,
        mut stream: TcpStream,
        address: IpAddr,
        place: ConnectionPlace,
    ) {
        let shared = &self.gateways.0;
        let mut early = BytesMut::with_capacity(1024);
        let asks = timeout(shared.patience, asks(&mut stream, &mut early)).await;
        match asks {
            Ok(Some(Asks::Proxy)) => {
                let client = Arc::clone(&self.client);
                shared.egress.serve(client, stream, early, place).await;
            }
            Ok(Some(Asks::Server)) => {
                let _ = stream.set_nodelay(true);
                if let (Some(intake), Ok(stream)) = (shared.intake.get(), stream.into_std()) {
                    intake.take(Accepted {
                        stream,
                        address,
                        listener: Listener::Worker(Arc::clone(&self.name)),
                        place,
                        early,
                    });
                }
            }
            // It left, or is too slow.
            Ok(None) | Err(_) => {}
        }
    }
}

impl Door {
    /// Carries a raw connection on to `host`.
    async fn carry(
        self: Arc<Self>,
        stream: TcpStream,
        host: Arc<HostPort>,
        place: ConnectionPlace,
    ) {
        let client = Arc::clone(&self.client);
        let egress = &self.gateways.0.egress;
        egress.carry(&client, stream, &host).await;
        drop(place);
    }
}

/// Reads on until it is clear what a connection is for.
async fn asks(stream: &mut TcpStream, early: &mut BytesMut) -> Option<Asks> {
    loop {
        if let Some(asks) = Asks::of(early) {
            return Some(asks);
        }
        if !matches!(stream.read_buf(early).await, Ok(1..)) {
            return None;
        }
    }
}
