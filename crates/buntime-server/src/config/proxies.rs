//! Whose forwarding headers count.

use std::net::IpAddr;

use ipnet::IpNet;

/// `RUNTIME_TRUSTED_PROXIES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// From networks. An empty list trusts nobody.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// This machine alone.
    #[must_use]
    pub fn loopback() -> Self {
        let v4 = IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8);
        let v6 = IpNet::new_assert(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128);
        Self(vec![v4, v6])
    }

    /// Whether a peer's forwarding headers count. An IPv4 address in IPv6 clothes, as a dual-stack socket reports it,
    /// is the IPv4 address.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}
