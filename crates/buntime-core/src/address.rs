//! Which addresses an app may reach (contract section 3, `permissions.net`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is, for whoever lets an app connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// Anybody's, on the internet: free for apps of `net: public`.
    Public,
    /// Of this network, or of no use: only where the operator grants it.
    Private,
    /// This machine, its links, and what clouds tell machines about themselves:
    /// never granted.
    Forbidden,
}

/// Metadata services outside of the link-local ranges, as the clouds' own pages name them.
const METADATA: [IpAddr; 6] = [
    // Alibaba, Azure (which also answers for the machine's agent), Oracle.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Google, Linode, Scaleway.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

impl AddressKind {
    /// Of `address`. One that carries an IPv4 address inside (mapped, NAT64, 6to4,
    /// Teredo) is what that one is: it may well be routed there.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if METADATA.contains(&address) {
            return Self::Forbidden;
        }
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        // "This host", loopback, link-local with the metadata services, multicast.
        [0 | 127, ..] | [169, 254, ..] | [224..=239, ..] => AddressKind::Forbidden,
        [255, 255, 255, 255] => AddressKind::Forbidden,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressKind::Private,
        // Carriers' own, protocol assignments, examples, benchmarks, reserved.
        [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => AddressKind::Private,
        _ => AddressKind::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressKind {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [first, second] = high.to_be_bytes();
        let [third, fourth] = low.to_be_bytes();
        AddressKind::of(Ipv4Addr::new(first, second, third, fourth).into())
    };
    match [a, b, c, d, e, f] {
        // Unspecified and loopback are among the IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0] if g == 0 => AddressKind::Forbidden,
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] => v4(g, h),
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo hides its client's address by turning its bits over.
        [0x2001, 0, ..] => v4(!g, !h),
        // Link-local, what was site-local, multicast.
        [0xfe80..=0xfeff, ..] | [0xff00..=0xffff, ..] => AddressKind::Forbidden,
        // All that Amazon serves to its machines: metadata, credentials of containers, names.
        [0xfd00, 0xec2, ..] => AddressKind::Forbidden,
        // Of this network, and what is no part of the internet: global unicast is 2000::/3.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x2001, 2 | 0x10..=0x2f, ..] => {
            AddressKind::Private
        }
        [0x2000..=0x3fff, ..] => AddressKind::Public,
        _ => AddressKind::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_the_registries_say() {
        for (address, kind) in [
            ("1.1.1.1", AddressKind::Public),
            ("100.63.255.255", AddressKind::Public),
            ("172.32.0.1", AddressKind::Public),
            ("2606:4700:4700::1111", AddressKind::Public),
            ("::ffff:8.8.8.8", AddressKind::Public),
            ("64:ff9b::808:808", AddressKind::Public),
            ("2002:0808:0808::1", AddressKind::Public),
            ("10.0.0.1", AddressKind::Private),
            ("172.16.0.1", AddressKind::Private),
            ("192.168.1.1", AddressKind::Private),
            ("100.64.0.1", AddressKind::Private),
            ("198.18.0.1", AddressKind::Private),
            ("203.0.113.9", AddressKind::Private),
            ("250.1.2.3", AddressKind::Private),
            ("fd12::1", AddressKind::Private),
            ("2001:db8::1", AddressKind::Private),
            ("::ffff:10.0.0.1", AddressKind::Private),
            ("64:ff9b::a00:1", AddressKind::Private),
            ("64:ff9b:1::1", AddressKind::Private),
            ("2002:0a00:0001::", AddressKind::Private),
            ("127.0.0.1", AddressKind::Forbidden),
            ("127.9.9.9", AddressKind::Forbidden),
            ("0.0.0.0", AddressKind::Forbidden),
            ("0.1.2.3", AddressKind::Forbidden),
            ("169.254.169.254", AddressKind::Forbidden),
            ("169.254.170.2", AddressKind::Forbidden),
            ("100.100.100.200", AddressKind::Forbidden),
            ("168.63.129.16", AddressKind::Forbidden),
            ("168.63.129.17", AddressKind::Public),
            ("192.0.0.192", AddressKind::Forbidden),
            ("::ffff:168.63.129.16", AddressKind::Forbidden),
            ("64:ff9b::a83f:8110", AddressKind::Forbidden),
            ("fd20:ce::254", AddressKind::Forbidden),
            ("fd00:a9fe:a9fe::1", AddressKind::Forbidden),
            ("fd00:42::42", AddressKind::Forbidden),
            ("fd00:ec2::23", AddressKind::Forbidden),
            ("fd00:ec3::23", AddressKind::Private),
            ("255.255.255.255", AddressKind::Forbidden),
            ("224.0.0.1", AddressKind::Forbidden),
            ("::", AddressKind::Forbidden),
            ("::1", AddressKind::Forbidden),
            ("fe80::1", AddressKind::Forbidden),
            ("ff02::1", AddressKind::Forbidden),
            ("fd00:ec2::254", AddressKind::Forbidden),
            ("::ffff:127.0.0.1", AddressKind::Forbidden),
            ("::ffff:169.254.169.254", AddressKind::Forbidden),
            ("::ffff:0:127.0.0.1", AddressKind::Forbidden),
            ("::127.0.0.1", AddressKind::Forbidden),
            ("64:ff9b::7f00:1", AddressKind::Forbidden),
            ("2002:7f00:0001::", AddressKind::Forbidden),
            // A Teredo client behind 127.0.0.1.
            (
                "2001:0:4136:e378:8000:63bf:80ff:fffe",
                AddressKind::Forbidden,
            ),
        ] {
            assert_eq!(AddressKind::of(address.parse().unwrap()), kind, "{address}");
        }
    }
}
