//! Which host a request is for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use buntime_core::Origin;
use buntime_http::{HeaderId, HeaderList, is_valid_authority};

use crate::forwarded;
use crate::message::{Peer, Request, Scheme};

/// The host that a trusted proxy was asked for, as it says.
pub(crate) fn host_by_proxy<'a>(peer: &Peer, headers: &'a HeaderList) -> Option<&'a [u8]> {
    peer.said(headers, b"x-forwarded-host")
        .or_else(|| forwarded::said(headers, b"host").filter(|_| peer.trusted_proxy))
}

/// The name of a host, without its port. Equal names are the same host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    Address(IpAddr),
    /// Lower case.
    Name(Box<str>),
}

impl HostName {
    /// From a name or an address without brackets.
    pub(crate) fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(text.to_ascii_lowercase().into()),
        }
    }

    /// `localhost`, or any address: no page can take these names as its own.
    pub(crate) fn is_this_machine_or_address(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Name(name) => &**name == "localhost",
        }
    }
}

/// `host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    name: HostName,
    /// As named; `None` is the scheme's own.
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &[u8]) -> Option<Self> {
        if !is_valid_authority(text) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let address = IpAddr::V6(address.parse::<Ipv6Addr>().ok()?);
                (HostName::Address(address), port.strip_prefix(':'))
            }
            None => {
                let (name, port) = match text.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (text, None),
                };
                (HostName::parse(name), port)
            }
        };
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok()?),
        };
        Some(Self { name, port })
    }

    fn port(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }
}

/// The host that a request is for: what a trusted proxy says it was, else `Host`.
/// It is read when it matters, which is not for most requests.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    text: Box<[u8]>,
}

impl Host {
    pub(crate) fn of(request: &Request) -> Self {
        Self::from_headers(&request.peer, &request.headers)
    }

    pub(super) fn from_headers(peer: &Peer, headers: &HeaderList) -> Self {
        let text = host_by_proxy(peer, headers)
            .or_else(|| headers.get(HeaderId::Host))
            .unwrap_or_default();
        Self { text: text.into() }
    }

    /// The name, if there is one that can be read.
    pub(crate) fn name(&self) -> Option<HostName> {
        Authority::parse(&self.text).map(|authority| authority.name)
    }

    /// Whether a page of `origin` was served by this host, to which the request came
    /// by `scheme`.
    ///
    /// A proxy that ends HTTPS need not say so: a request that seems to come by
    /// plain HTTP may stem from either scheme. One known to come by HTTPS may not.
    pub(super) fn serves(&self, scheme: Scheme, origin: &Origin) -> bool {
        let of_page = match origin.scheme() {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        if scheme == Scheme::Https && of_page == Scheme::Http {
            return false;
        }
        let page = Authority::parse(origin.authority().as_bytes());
        match (Authority::parse(&self.text), page) {
            (Some(host), Some(page)) => {
                host.name == page.name && host.port(of_page) == page.port(of_page)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.text))
    }
}

/// The most of a header's value that a log line repeats, in bytes.
const SHOWN: usize = 256;

/// What a client sent, for the log: bounded, and without what stands before an
/// `@`, which may be a password.
pub(super) fn shown(value: &[u8]) -> String {
    let value = match value.iter().rposition(|&byte| byte == b'@') {
        Some(at) => value.get(at..).unwrap_or_default(),
        None => value,
    };
    let cut = value.get(..SHOWN).unwrap_or(value);
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Listener;

    fn host(text: &str) -> Host {
        let peer = Peer {
            address: [9, 9, 9, 9].into(),
            listener: Listener::Public,
            scheme: Scheme::Http,
            trusted_proxy: false,
        };
        let mut headers = HeaderList::new();
        headers.push(b"host", text.as_bytes()).unwrap();
        Host::from_headers(&peer, &headers)
    }

    #[test]
    fn an_origin_is_of_a_host_if_name_and_port_are() {
        use Scheme::{Http, Https};
        for (host_text, scheme, origin, same) in [
            ("a", Http, "http://a", true),
            ("A.Example", Http, "http://a.eXample", true),
            ("a:80", Http, "http://a", true),
            ("a", Http, "http://a:80", true),
            ("a:443", Http, "https://a", true),
            ("a", Http, "https://a:443", true),
            ("a:", Http, "http://a", true),
            ("a:8000", Http, "http://a:8000", true),
            ("[::1]:8000", Http, "http://[::1]:8000", true),
            ("[0:0::1]", Http, "http://[::1]", true),
            ("127.0.0.1", Http, "http://127.0.0.1", true),
            ("a", Http, "https://a", true),
            ("a", Https, "https://a", true),
            ("a:8443", Https, "https://a:8443", true),
            ("a", Https, "http://a", false),
            ("a", Https, "http://a:443", false),
            ("a:8443", Https, "http://a:8443", false),
            ("a", Http, "http://b", false),
            ("a", Http, "http://a.b", false),
            ("a.b", Http, "http://a", false),
            ("a", Http, "http://a:443", false),
            ("a:443", Http, "http://a", false),
            ("a:80", Http, "https://a", false),
            ("a:8000", Http, "http://a", false),
            ("a", Http, "http://a:8000", false),
            ("127.0.0.1", Http, "http://localhost", false),
            ("127.0.0.1", Http, "http://[::ffff:127.0.0.1]", false),
            ("a@b", Http, "http://b", false),
            ("a b", Http, "http://a", false),
            ("", Http, "http://a", false),
            ("a:99999", Http, "http://a", false),
        ] {
            let origin: Origin = origin.parse().unwrap();
            assert_eq!(
                host(host_text).serves(scheme, &origin),
                same,
                "{host_text} by {} and {origin}",
                scheme.as_str()
            );
        }
    }

    #[test]
    fn names_that_no_page_can_take() {
        for (text, is) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:8000", true),
            ("[::1]", true),
            ("10.1.2.3", true),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1", false),
            ("a", false),
        ] {
            let host = host(text);
            let is_it = host
                .name()
                .is_some_and(|name| name.is_this_machine_or_address());
            assert_eq!(is_it, is, "{text}");
        }
        assert_eq!(HostName::parse("::1"), host("[::1]:1").name().unwrap());
    }

    #[test]
    fn no_password_and_no_flood_is_shown() {
        assert_eq!(shown(b"http://user:pw@a"), "@a");
        assert_eq!(shown(b"http://u@pw@"), "@");
        assert_eq!(shown(&[b'x'; 10_000]).len(), SHOWN);
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }
}
