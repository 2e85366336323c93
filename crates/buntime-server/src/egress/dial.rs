//! From a host name to a connection, judging every address on the way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use buntime_core::AddressKind;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::policy::{Listed, Policy, Refusal, kind_here};

/// Longest look-up, and longest wait for one address.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses that are tried; a name with more is odd.
const ADDRESSES: usize = 8;

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
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialer {
    kind: fn(IpAddr) -> AddressKind,
}

impl Dialer {
    pub(super) fn system() -> Self {
        Self { kind: kind_here }
    }

    #[cfg(test)]
    pub(super) fn with_kind(kind: fn(IpAddr) -> AddressKind) -> Self {
        Self { kind }
    }

    /// Connects to `host`, which is a name, or an address (IPv6 without brackets).
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn connect(
        self,
        policy: &Policy,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, DialError> {
        let bracketed = format!("[{host}]");
        let listed_as = if host.contains(':') { &bracketed } else { host };
        let listed = policy.name(listed_as, port).map_err(DialError::Refused)?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.allowed(listed, host, port).await? {
            match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(DialError::Connect(last))
    }

    /// The addresses of `host` that may be connected to: at least one.
    async fn allowed(
        self,
        listed: Listed,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => match timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
                Ok(found) => found.map_err(DialError::Lookup)?.take(ADDRESSES).collect(),
                Err(_) => return Err(DialError::Lookup(io::ErrorKind::TimedOut.into())),
            },
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
