//! What worker processes connect to. Each has a gateway of its own, which knows whose
//! worker it is (docs/decisions/0009-whose-request-is-it.md): requests in origin form
//! are for the server and go to the edge, the others are for the proxy (`egress`). A
//! connection carries one request.
//!
//! A gateway costs its listening socket, and one task once its worker has an app. What
//! an app does with its gateways takes nothing from others: connections are counted for
//! each app and for all, apart from those of clients. Installs have gateways too, by which
//! they reach registries and not the server.

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

/// Connections of one app to the outside at once.
const APP_OUTSIDE: usize = 192;
/// Connections of all apps to the outside at once.
const OUTSIDE: usize = 4096;
/// Connections of one app to the server at once. Nobody else can take these: whoever
/// keeps hosts outside busy still reaches the server, and so do all others.
const APP_SERVER: usize = 64;

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
    outside: Arc<ConnectionLimit>,
    /// The operator's.
    registries: Arc<[HostPort]>,
    /// Those that have workers, or installs.
    apps: Mutex<HashMap<PackageName, Weak<App>>>,
}

/// What the workers of one app share, whatever their versions.
#[derive(Debug)]
struct App {
    outside: Arc<ConnectionLimit>,
    server: Arc<ConnectionLimit>,
    told: Arc<Told>,
}

impl App {
    fn new(outside: &Arc<ConnectionLimit>) -> Self {
        Self {
            outside: outside.part(APP_OUTSIDE),
            server: ConnectionLimit::new(APP_SERVER),
            told: Arc::default(),
        }
    }

    fn limit(&self, asks: Asks) -> &Arc<ConnectionLimit> {
        match asks {
            Asks::Proxy => &self.outside,
            Asks::Server => &self.server,
        }
    }

    /// A place for a connection of which it is not known what it is for: whichever there
    /// is.
    fn enter(&self) -> Option<Entered> {
        let by = |asks| Some((self.limit(asks).try_enter()?, asks));
        by(Asks::Proxy).or_else(|| by(Asks::Server))
    }

    /// The place that it is to have once that is known.
    fn settle(&self, (place, entered_as): Entered, asks: Asks) -> Option<ConnectionPlace> {
        if entered_as == asks {
            return Some(place);
        }
        self.limit(asks).try_enter()
    }
}

/// A place, and what it is for.
type Entered = (ConnectionPlace, Asks);

/// One gateway.
#[derive(Debug)]
struct Door {
    gateways: Gateways,
    /// Who asks the server; `None` if nobody may here.
    name: Option<Arc<str>>,
    app: Arc<App>,
    client: Arc<Client>,
}

impl Gateways {
    /// `patience`: how long a head may take. `registries`: where installs may connect to,
    /// wherever that is.
    pub(crate) fn new(patience: Duration, registries: &[HostPort], log: &Logger) -> Self {
        Self(Arc::new(Shared {
            egress: Egress::new(log.clone()),
            patience,
            intake: OnceLock::new(),
            outside: ConnectionLimit::new(OUTSIDE),
            registries: registries.into(),
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
        let app = Arc::new(App::new(&self.0.outside));
        apps.insert(name.clone(), Arc::downgrade(&app));
        app
    }
}

impl buntime_pool::Gateways for Gateways {
    fn serve(&self, gateway: Gateway, spec: &AppSpec) -> DropGuard {
        let name = Some(spec.name.as_str().into());
        self.open(gateway, spec, name, Policy::new(&spec.granted))
    }

    fn serve_install(&self, gateway: Gateway, spec: &AppSpec) -> DropGuard {
        let policy = Policy::install(&self.0.registries);
        self.open(gateway, spec, None, policy)
    }
}

impl Gateways {
    fn open(
        &self,
        gateway: Gateway,
        spec: &AppSpec,
        name: Option<Arc<str>>,
        policy: Policy,
    ) -> DropGuard {
        let ended = CancellationToken::new();
        let app = self.app(&spec.name);
        let client = Client::new(
            &spec.id,
            policy,
            gateway.token,
            Arc::clone(&app.told),
            ended.clone(),
        );
        let door = Arc::new(Door {
            gateways: self.clone(),
            name,
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
        let door = Arc::clone(&door);
        if let Some(host) = &host {
            // One too many would not know what to make of an answer.
            if let Some(place) = door.app.outside.try_enter() {
                tokio::spawn(door.carry(stream, Arc::clone(host), place));
            }
        } else if let Some(entered) = door.app.enter() {
            tokio::spawn(door.serve(stream, address, entered));
        } else {
            edge::turn_away(&stream);
        }
    };
    edge::each(&socket, take, &ended).await;
}

impl Door {
    async fn serve(self: Arc<Self>, mut stream: TcpStream, address: IpAddr, entered: Entered) {
        let shared = &self.gateways.0;
        let mut early = BytesMut::with_capacity(1024);
        let asks = timeout(shared.patience, asks(&mut stream, &mut early)).await;
        // Else it left, or is too slow.
        let Ok(Some(asks)) = asks else {
            return;
        };
        let Some(place) = self.app.settle(entered, asks) else {
            return edge::turn_away(&stream);
        };
        match (asks, &self.name) {
            (Asks::Proxy, _) => {
                let client = Arc::clone(&self.client);
                shared.egress.serve(client, stream, early, place).await;
            }
            (Asks::Server, Some(name)) => {
                let _ = stream.set_nodelay(true);
                if let (Some(intake), Ok(stream)) = (shared.intake.get(), stream.into_std()) {
                    intake.take(Accepted {
                        stream,
                        address,
                        listener: Listener::Worker(Arc::clone(name)),
                        place,
                        early,
                    });
                }
            }
            (Asks::Server, None) => {}
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
