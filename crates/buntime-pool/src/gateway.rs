//! The one address that a worker process is given: there it finds the server's API,
//! and the proxy that is its app's way out.
//!
//! The listening socket is made with the process, because what the process may connect
//! to is settled then. Nobody accepts on it before there is an app: a blank has nothing
//! to ask for.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;

use buntime_core::HostPort;
use buntime_sandbox::{Layers, Net};
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::config::AppSpec;
use crate::error::StartFailure;

/// Where a gateway listens in a network of its own.
const PORT: u16 = 7000;
/// Variables that name the proxy; programs read one spelling or the other.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Variables that say what is not to be asked of the proxy.
const DIRECT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Where the worker of one process connects to.
#[derive(Debug)]
pub struct Gateway {
    /// Listens. Without namespaces anybody on this machine can connect to it.
    pub socket: TcpListener,
    /// What `Proxy-Authorization` must hold, as the password of `app`: only the worker
    /// knows it.
    pub token: Uuid,
    /// Hosts that the worker connects to as if they were there.
    pub forwards: Vec<Forward>,
}

/// A host of `permissions.net` for raw TCP.
#[derive(Debug)]
pub struct Forward {
    /// Where connections are to be carried on to.
    pub host: HostPort,
    /// Listens; only the worker can connect to it.
    pub socket: TcpListener,
}

/// Serves gateways.
pub trait Gateways: Send + Sync {
    /// Serves the gateway of a worker of `app` until the guard is dropped. It is called
    /// on the control runtime, while a request waits: an implementation must return
    /// at once.
    fn serve(&self, gateway: Gateway, app: &AppSpec) -> DropGuard;

    /// Serves, likewise, the gateway of an install of what `app` depends on. It leads to
    /// registries, whatever the app may reach, and not to the server.
    fn serve_install(&self, gateway: Gateway, app: &AppSpec) -> DropGuard;
}

/// A gateway that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Unserved {
    port: u16,
    token: Uuid,
    /// `None` before the process is there, if it is made with the process.
    socket: Option<TcpListener>,
}

impl Unserved {
    /// For a process that is about to be started under these layers.
    pub(crate) fn open(layers: Layers) -> Result<Self, StartFailure> {
        let (port, socket) = if layers.network {
            (PORT, None)
        } else {
            let (port, socket) = listen().map_err(no_gateway)?;
            (port, Some(socket))
        };
        Ok(Self {
            port,
            token: Uuid::new_v4(),
            socket,
        })
    }

    /// The network of a process that has this gateway.
    pub(crate) fn net(&self, layers: Layers) -> Net {
        let port = self.port;
        if layers.network {
            Net::Gateway { port }
        } else {
            Net::Loopback { port }
        }
    }

    /// Takes the socket that was made with the process.
    pub(crate) fn made(&mut self, socket: Option<OwnedFd>) {
        if let Some(socket) = socket {
            self.socket = Some(socket.into());
        }
    }

    /// What tells an app of it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let address = Ipv4Addr::LOCALHOST;
        let api = ("RUNTIME_API_URL", format!("http://{address}:{}", self.port));
        let direct = DIRECT.map(|name| (name, format!("{address},localhost")));
        // Bun's `node:http` looks at the others only if this says so.
        let for_node = ("NODE_USE_ENV_PROXY", "1".to_owned());
        let all = [api, for_node].into_iter().chain(direct);
        let all = all.map(|(name, value)| (name.to_owned(), value));
        all.chain(self.proxies())
    }

    /// What tells an install of it: all that it asks for goes by the proxy.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = (String, String)> {
        let (address, port) = (Ipv4Addr::LOCALHOST, self.port);
        let proxy = format!("http://app:{}@{address}:{port}", self.token.simple());
        PROXIES
            .into_iter()
            .map(move |name| (name.to_owned(), proxy.clone()))
    }

    pub(crate) fn into_gateway(self, forwards: Vec<Forward>) -> Option<Gateway> {
        Some(Gateway {
            socket: self.socket?,
            token: self.token,
            forwards,
        })
    }
}

fn listen() -> io::Result<(u16, TcpListener)> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?.port(), socket))
}

fn no_gateway(error: io::Error) -> StartFailure {
    StartFailure::new(format!("cannot open a gateway: {error}"))
}
