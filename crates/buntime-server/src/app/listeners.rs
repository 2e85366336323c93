//! The sockets that clients connect to.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::RunError;
use crate::config::Config;
use crate::edge::Edge;
use crate::logging::Logger;
use crate::message::{Listener, Scheme};

/// All of them, bound. Who connects waits until they are accepted on.
pub(super) struct Listeners {
    public: TcpListener,
    admin: Option<TcpListener>,
}

impl Listeners {
    pub(super) fn bind(config: &Config) -> Result<Self, RunError> {
        let on = |port| bind(SocketAddr::new(config.listen.host, port));
        Ok(Self {
            public: on(config.listen.port)?,
            admin: config.api.admin.port.map(on).transpose()?,
        })
    }

    /// Begins to accept, the public last. Returns its address.
    pub(super) fn accept(
        self,
        edge: &Edge,
        scheme: Scheme,
        log: &Logger,
    ) -> Result<SocketAddr, RunError> {
        if let Some(admin) = self.admin {
            let address = edge.accept_on(admin, Listener::Admin)?;
            let message = format_args!("API and panel on {}://{address}", scheme.as_str());
            log.info("server", message, |_| {});
        }
        Ok(edge.accept_on(self.public, Listener::Public)?)
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    use socket2::{Domain, Protocol, Socket, Type};
    let bound = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart need not wait for connections of the last run to be forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        io::Result::Ok(TcpListener::from(socket))
    };
    bound().map_err(|source| RunError::Listen { address, source })
}
