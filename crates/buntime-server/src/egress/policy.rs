//! May this app reach that address?

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use buntime_core::{AddressKind, Granted, HostPort, NetPermission};

use super::route::is_own;

/// What one app may reach.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    net: NetPermission,
    /// Of what the manifest lists, that which may have a private address.
    private: Vec<HostPort>,
    /// What the operator has configured, which may be anywhere.
    configured: Arc<[HostPort]>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The manifest says `net: none`.
    NoNetwork,
    /// The manifest lists hosts, and this one is not among them.
    NotListed,
    /// No address of the host is public, and it was not granted.
    NotPublic,
    /// It leads to this machine, its links, or a metadata service.
    Forbidden,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNetwork => "permissions.net is none",
            Self::NotListed => "not listed in permissions.net",
            Self::NotPublic => "not a public address, and not granted",
            Self::Forbidden => "this machine's own and metadata addresses are never granted",
        })
    }
}

/// Proof that a host may be looked up for an app, and where it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// At public addresses.
    Public,
    /// At private ones too.
    Private,
    /// Anywhere: the operator says where.
    Configured,
}

impl Policy {
    /// What the app may reach that was granted this.
    pub(crate) fn new(granted: &Granted) -> Self {
        Self {
            net: granted.net.clone(),
            private: granted.private.clone(),
            configured: Arc::default(),
        }
    }

    /// What an install may reach: the operator's registries, wherever they are. All else
    /// that a lockfile names, and all that they send it on to, at public addresses.
    pub(crate) fn install(registries: &Arc<[HostPort]>) -> Self {
        Self {
            net: NetPermission::Public,
            private: Vec::new(),
            configured: Arc::clone(registries),
        }
    }

    /// Whether the name may be looked up at all: a look-up tells its servers something.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn name(&self, host: &str, port: u16) -> Result<Listed, Refusal> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is = |known: &HostPort| known.port() == port && known.host().eq_ignore_ascii_case(host);
        if self.configured.iter().any(is) {
            return Ok(Listed::Configured);
        }
        match &self.net {
            NetPermission::None => Err(Refusal::NoNetwork),
            NetPermission::Public => Ok(Listed::Public),
            NetPermission::Hosts(hosts) if hosts.iter().any(is) => {
                let private = self.private.iter().any(is);
                Ok(if private {
                    Listed::Private
                } else {
                    Listed::Public
                })
            }
            NetPermission::Hosts(_) => Err(Refusal::NotListed),
        }
    }
}

impl Listed {
    /// Whether a connection may be made to `address`. `kind` is the address's, as
    /// this machine sees it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn address(self, kind: AddressKind) -> Result<(), Refusal> {
        match (kind, self) {
            (_, Self::Configured) | (AddressKind::Public, _) => Ok(()),
            (AddressKind::Private, Self::Private) => Ok(()),
            (AddressKind::Private, Self::Public) => Err(Refusal::NotPublic),
            (AddressKind::Forbidden, _) => Err(Refusal::Forbidden),
        }
    }
}

/// The kind of an address, for this machine: its own are forbidden, wherever they are.
pub(super) fn kind_here(address: IpAddr) -> AddressKind {
    match AddressKind::of(address) {
        AddressKind::Forbidden => AddressKind::Forbidden,
        _ if is_own(address) => AddressKind::Forbidden,
        kind => kind,
    }
}
