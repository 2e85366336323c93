//! From a host name to a connection, judging every address on the way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use buntime_core::AddressKind;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Client;
use super::lookup::Lookups;
use super::policy::{Listed, Refusal, kind_here};

/// Longest time until there is a connection, whatever is tried.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for one address: the next may answer.
const OF_ADDRESS: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// It is not allowed.
    #[error("{0}")]
    Refused(Refusal),
    /// The name leads nowhere.
    #[error("the host cannot be found")]
    Lookup(#[source] io::Error),
    /// Nobody answers.
    #[error("the host cannot be reached")]
    Connect(#[source] io::Error),
}

/// How addresses are judged. The system's own judgement, but for tests, whose servers
/// are on this machine.
#[derive(Debug)]
pub(super) struct Dialer {
    kind: fn(IpAddr) -> AddressKind,
    lookups: Lookups,
}

impl Dialer {
    pub(super) fn system() -> Self {
        Self {
            kind: kind_here,
            lookups: Lookups::system(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_kind(kind: fn(IpAddr) -> AddressKind) -> Self {
        Self {
            kind,
            ..Self::system()
        }
    }

    #[cfg(test)]
    pub(super) fn with_lookups(self, lookups: Lookups) -> Self {
        Self { lookups, ..self }
    }

    /// Connects to `host`, which is a name, or an address (IPv6 without brackets).
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn connect(
        &self,
        client: &Client,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, DialError> {
        let reached = timeout(PATIENCE, self.reach(client, host, port)).await;
        reached.unwrap_or_else(|_| Err(DialError::Connect(io::ErrorKind::TimedOut.into())))
    }

    async fn reach(&self, client: &Client, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let bracketed = format!("[{host}]");
        let listed_as = if host.contains(':') { &bracketed } else { host };
        let listed = client
            .policy
            .name(listed_as, port)
            .map_err(DialError::Refused)?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.allowed(client, listed, host, port).await? {
            match timeout(OF_ADDRESS, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(DialError::Connect(last))
    }

    /// The addresses of `host` that may be connected to: at least one.
    async fn allowed(
        &self,
        client: &Client,
        listed: Listed,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => {
                let found = self.lookups.find(client.app_name(), host, port).await;
                found.map_err(DialError::Lookup)?
            }
        };
        let mut allowed = Vec::new();
        let mut refusal = None;
        for address in found {
            match listed.address((self.kind)(address.ip())) {
                Ok(()) => allowed.push(address),
                Err(refused) => refusal = Some(refused),
            }
        }
        match (allowed.is_empty(), refusal) {
            (false, _) => Ok(allowed),
            (true, Some(refusal)) => Err(DialError::Refused(refusal)),
            (true, None) => Err(DialError::Lookup(io::ErrorKind::NotFound.into())),
        }
    }
}
