//! What proxies say in `Forwarded` (RFC 7239).
//!
//! It counts where no `X-Forwarded-*` stands beside it: a proxy speaks one of the two
//! languages, and what it leaves in the other one came to it from a client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use buntime_http::{HeaderId, HeaderList};

use crate::config::TrustedProxies;
use crate::message::Peer;

/// Who asks: the last address on the way that no trusted proxy has. What stands
/// before it anybody could have written.
pub(crate) fn client(proxies: &TrustedProxies, peer: &Peer, headers: &HeaderList) -> IpAddr {
    if !peer.trusted_proxy {
        return peer.address.to_canonical();
    }
    let way: Vec<Option<IpAddr>> = if headers.contains(HeaderId::XForwarded) {
        let lines = headers.iter().filter(|header| {
            header.id == HeaderId::XForwarded
                && header.name.eq_ignore_ascii_case(b"x-forwarded-for")
        });
        let hops = lines.flat_map(|line| line.value.split(|&byte| byte == b','));
        hops.map(|hop| hop_address(hop.trim_ascii())).collect()
    } else {
        elements(headers).collect()
    };
    let mut client = peer.address;
    for hop in way.into_iter().rev() {
        match hop {
            Some(hop) if proxies.trusts(client) => client = hop,
            // A trusted proxy that hides its client speaks for it.
            _ => break,
        }
    }
    client.to_canonical()
}

/// A parameter of the last element, which is the nearest proxy's own. The caller has
/// made sure that the proxy is trusted.
///
/// `None` also for what cannot be read: a quote without its end, a parameter that
/// stands there twice, a value with an escape.
pub(crate) fn said<'a>(headers: &'a HeaderList, parameter: &[u8]) -> Option<&'a [u8]> {
    if headers.contains(HeaderId::XForwarded) {
        return None;
    }
    let line = headers.get_all(HeaderId::Forwarded).last()?;
    value(pieces(line, b',').last()?, parameter)
}

/// The addresses that the request came by, the client's first. Who hides behind a
/// word (`unknown`, `_gateway`) is left out.
pub(crate) fn way(headers: &HeaderList) -> impl Iterator<Item = IpAddr> {
    elements(headers).flatten()
}

/// The same with `None` for who hides: what stands before such a one is not to be
/// taken for its word.
fn elements(headers: &HeaderList) -> impl Iterator<Item = Option<IpAddr>> {
    let counts = !headers.contains(HeaderId::XForwarded);
    headers
        .get_all(HeaderId::Forwarded)
        .filter(move |_| counts)
        .flat_map(|line| pieces(line, b','))
        .map(|element| address(value(element, b"for")?))
}

/// Splits outside of quotes. Nothing if a quote is left open: a client may have opened
/// it to swallow what its proxy adds behind.
fn pieces(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let quotes = text.iter().filter(|&&byte| byte == b'"').count();
    let pieces = text.split(move |&byte| {
        quoted ^= byte == b'"';
        !quoted && byte == separator
    });
    pieces.filter(move |_| quotes % 2 == 0)
}

fn value<'a>(element: &'a [u8], parameter: &[u8]) -> Option<&'a [u8]> {
    let mut found = pieces(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        let is_it = name.trim_ascii().eq_ignore_ascii_case(parameter);
        is_it.then(|| unquoted(value.get(1..).unwrap_or_default()))
    });
    match (found.next(), found.next()) {
        (Some(value), None) => value,
        _ => None,
    }
}

fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let value = match value.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"")?,
        None => value,
    };
    let is_plain = !value.is_empty() && !value.iter().any(|byte| matches!(byte, b'"' | b'\\'));
    is_plain.then_some(value)
}

/// As [`address`]; here IPv6 may stand without its brackets.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    text.parse().ok().or_else(|| address(hop))
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    match node.strip_prefix('[') {
        Some(rest) => {
            let address = rest.split(']').next()?;
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        None => {
            let address = node.split(':').next()?;
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderList {
        let mut headers = HeaderList::new();
        for line in lines {
            headers.push(b"Forwarded", line.as_bytes()).unwrap();
        }
        headers
    }

    #[test]
    fn the_last_element_counts_if_it_can_be_read() {
        for (lines, host) in [
            (&["host=a"][..], "a"),
            (&["for=1.2.3.4; HOST = a ;proto=https"], "a"),
            (&["host=\"a:8443\""], "a:8443"),
            (&["host=evil, host=a"], "a"),
            (&["host=evil", "host=a"], "a"),
            (&["host=evil, for=1.2.3.4"], "-"),
            (&["for=\"x,y\";host=a"], "a"),
            (&["host=evil;x=\", for=1.2.3.4;host=a"], "-"),
            (&["host=evil;x=\", for=\"[::1]\";host=\"a:80\""], "-"),
            (&["host=evil;x=\"\\\", for=\"[::1]\";host=a"], "a"),
            (&["host=a;host=b"], "-"),
            (&["host=\"a\\\\b\""], "-"),
            (&["host="], "-"),
            (&["host"], "-"),
            (&["\""], "-"),
            (&[""], "-"),
            (&[], "-"),
        ] {
            let headers = headers(lines);
            let found = said(&headers, b"host").unwrap_or(b"-");
            assert_eq!(String::from_utf8_lossy(found), host, "{lines:?}");
        }
    }

    #[test]
    fn the_way_is_made_of_addresses() {
        let headers = headers(&[
            "for=192.0.2.1, for=\"192.0.2.2:80\";proto=http",
            "for=\"[2001:db8::1]:443\", for=unknown, for=_x, For=\"[::1]\", for=<script>",
        ]);
        let way: Vec<String> = way(&headers).map(|address| address.to_string()).collect();
        assert_eq!(way, ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::1"]);
    }

    #[test]
    fn beside_the_other_headers_it_does_not_count() {
        let mut headers = headers(&["for=6.6.6.6;host=evil"]);
        headers.push(b"X-Forwarded-Proto", b"https").unwrap();
        assert_eq!(said(&headers, b"host"), None);
        assert_eq!(way(&headers).count(), 0);
    }

    #[test]
    fn a_client_that_its_proxy_hides_cannot_name_itself() {
        let proxies = TrustedProxies::loopback();
        let peer = Peer {
            address: [127, 0, 0, 1].into(),
            listener: crate::message::Listener::Public,
            scheme: crate::message::Scheme::Http,
            trusted_proxy: true,
        };
        for (lines, client) in [
            (&["for=9.9.9.9"][..], "9.9.9.9"),
            (&["for=6.6.6.6, for=9.9.9.9;proto=https"], "9.9.9.9"),
            (&["for=6.6.6.6, for=unknown"], "127.0.0.1"),
            (&["for=6.6.6.6", "for=_hidden"], "127.0.0.1"),
            (&["for=6.6.6.6, proto=https"], "127.0.0.1"),
        ] {
            let found = super::client(&proxies, &peer, &headers(lines));
            assert_eq!(found.to_string(), client, "{lines:?}");
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_no_trusted_proxy() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (lines, peer, client) in [
            (&["6.6.6.6"][..], "9.9.9.9", "9.9.9.9"),
            (&["6.6.6.6, 9.9.9.9"], "10.0.0.1", "9.9.9.9"),
            (&["6.6.6.6, 9.9.9.9, 10.0.0.2"], "10.0.0.1", "9.9.9.9"),
            (&["6.6.6.6", "9.9.9.9:80"], "10.0.0.1", "9.9.9.9"),
            (&["2001:db8::1"], "10.0.0.1", "2001:db8::1"),
            (&["[2001:db8::1]:443"], "10.0.0.1", "2001:db8::1"),
            (&["::ffff:9.9.9.9"], "10.0.0.1", "9.9.9.9"),
            (&["9.9.9.9, unknown"], "10.0.0.1", "10.0.0.1"),
            (&["10.0.0.3"], "10.0.0.1", "10.0.0.3"),
            (&[""], "10.0.0.1", "10.0.0.1"),
            (&[], "10.0.0.1", "10.0.0.1"),
        ] {
            let mut headers = HeaderList::new();
            for line in lines {
                headers.push(b"X-Forwarded-For", line.as_bytes()).unwrap();
            }
            let address = peer.parse().unwrap();
            let peer = Peer {
                address,
                listener: crate::message::Listener::Public,
                scheme: crate::message::Scheme::Http,
                trusted_proxy: proxies.trusts(address),
            };
            let found = super::client(&proxies, &peer, &headers);
            assert_eq!(found.to_string(), client, "{lines:?} by {address}");
        }
    }
}
