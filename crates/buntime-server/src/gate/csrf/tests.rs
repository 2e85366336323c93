use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::message::Listener;

/// Scheme, name and port.
type Parts = (&'static str, &'static str, u16);

/// Values of Host, and what they mean.
const HOSTS: [(&str, &str, Option<u16>); 6] = [
    ("a", "a", None),
    ("A:80", "a", Some(80)),
    ("a:443", "a", Some(443)),
    ("a:8000", "a", Some(8000)),
    ("b", "b", None),
    ("[::1]:8000", "[::1]", Some(8000)),
];

/// Values of Origin, and what they mean if they mean anything.
const ORIGINS: [(&str, Option<Parts>); 16] = [
    ("http://a", Some(("http", "a", 80))),
    ("HTTP://A:80", Some(("http", "a", 80))),
    ("https://a", Some(("https", "a", 443))),
    ("http://a:443", Some(("http", "a", 443))),
    ("http://a:8000", Some(("http", "a", 8000))),
    ("https://a:8000", Some(("https", "a", 8000))),
    ("http://[::1]:8000", Some(("http", "[::1]", 8000))),
    ("https://trusted", Some(("https", "trusted", 443))),
    ("http://evil", Some(("http", "evil", 80))),
    ("null", None),
    ("http://u:p@a", None),
    ("ftp://a", None),
    ("file://", None),
    ("a", None),
    ("http://a/", None),
    ("http://a, http://a", None),
];

const FORWARDING: [&str; 5] = [
    "x-forwarded-for",
    "X-Forwarded-Port",
    "forwarded",
    "x-real-ip",
    "via",
];

/// A request as it may come, described by what was put into it.
#[derive(Clone, Debug)]
struct Sent {
    method: Method,
    websocket: bool,
    listener: Listener,
    loopback: bool,
    https: bool,
    host: (&'static str, &'static str, Option<u16>),
    /// Two of them are one too many.
    origins: Vec<(&'static str, Option<Parts>)>,
    empty_origin: bool,
    site: Option<&'static str>,
    cookie: bool,
    credential: Option<(&'static str, &'static str, bool)>,
    internal: Option<&'static str>,
    forwarding: Option<&'static str>,
}

fn sent() -> impl Strategy<Value = Sent> {
    use Method::{Delete, Get, Head, Options, Patch, Post, Put};
    let way = (
        select(vec![Get, Head, Options, Post, Put, Patch, Delete]),
        any::<bool>(),
        select(vec![
            Listener::Public,
            Listener::Worker("shop".into()),
            Listener::Admin,
        ]),
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.3, select(FORWARDING.to_vec())),
    );
    let page = (
        select(HOSTS.to_vec()),
        prop::collection::vec(select(ORIGINS.to_vec()), 0..=2),
        prop::bool::weighted(0.1),
        prop::option::of(select(vec![
            "same-origin",
            "none",
            "same-site",
            "cross-site",
            "",
            "Same-Origin",
            "x",
        ])),
        any::<bool>(),
        prop::option::of(select(vec![
            ("X-API-Key", "k", true),
            ("Authorization", "Bearer t", true),
            ("X-API-Key", "", false),
            ("Authorization", "Basic eA==", false),
        ])),
        prop::option::of(select(vec!["true", "false", "TRUE", "1", ""])),
    );
    (way, page).prop_map(|(way, page)| Sent {
        method: way.0,
        websocket: way.1,
        listener: way.2,
        loopback: way.3,
        https: way.4,
        forwarding: way.5,
        host: page.0,
        empty_origin: page.2 && page.1.is_empty(),
        origins: page.1,
        site: page.3,
        cookie: page.4,
        credential: page.5,
        internal: page.6,
    })
}

impl Sent {
    fn asked(&self) -> Option<Asked> {
        let mut headers = HeaderList::new();
        let mut push = |name: &str, value: &str| {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        };
        push("Host", self.host.0);
        for (origin, _) in &self.origins {
            push("Origin", origin);
        }
        if self.empty_origin {
            push("Origin", "");
        }
        if let Some(site) = self.site {
            push("Sec-Fetch-Site", site);
        }
        if self.cookie {
            push("Cookie", "theme=dark");
        }
        if let Some((name, value, _)) = self.credential {
            push(name, value);
        }
        if let Some(internal) = self.internal {
            push("X-Buntime-Internal", internal);
        }
        if let Some(name) = self.forwarding {
            push(name, "x");
        }
        let address: [u8; 4] = if self.loopback {
            [127, 0, 0, 9]
        } else {
            [10, 0, 0, 1]
        };
        let peer = Peer {
            address: address.into(),
            listener: self.listener.clone(),
            scheme: if self.https {
                Scheme::Https
            } else {
                Scheme::Http
            },
            trusted_proxy: false,
        };
        Asked::new(self.method, self.websocket, &peer, &headers)
    }

    fn changes(&self) -> bool {
        self.websocket || !matches!(self.method, Method::Get | Method::Head | Method::Options)
    }

    /// `X-Buntime-Internal` where it counts.
    fn is_internal(&self) -> bool {
        let from_workers = !self.listener.is_for_clients();
        let direct = self.loopback && self.forwarding.is_none();
        self.internal == Some("true") && !self.cookie && (from_workers || direct)
    }

    /// The origin, if there is exactly one and it can be read.
    fn origin(&self) -> Option<Parts> {
        match self.origins[..] {
            [(_, origin)] => origin,
            _ => None,
        }
    }

    fn is_same_origin(&self) -> bool {
        self.origin().is_some_and(|(scheme, name, port)| {
            let default = if scheme == "https" { 443 } else { 80 };
            name == self.host.1
                && port == self.host.2.unwrap_or(default)
                && (scheme == "https" || !self.https)
        })
    }

    /// Contract section 5, on the API.
    fn api(&self) -> Result<(), &'static str> {
        let foreign = !matches!(self.site, None | Some("same-origin" | "none"));
        let has_key = self.credential.is_some_and(|(_, _, counts)| counts);
        if self.is_internal() || has_key {
            Ok(())
        } else if self.origins.is_empty() {
            Err("Forbidden - Origin required")
        } else if !self.is_same_origin() || self.cookie && foreign {
            Err("Forbidden")
        } else {
            Ok(())
        }
    }

    /// Contract section 5, on workers by default.
    fn app(&self, trusts: bool) -> Result<(), &'static str> {
        let trusted = trusts && self.origin() == Some(("https", "trusted", 443));
        let foreign = !matches!(self.site, None | Some("same-origin" | "none"));
        if self.is_internal() || trusted {
            Ok(())
        } else if foreign || !(self.origins.is_empty() || self.is_same_origin()) {
            Err("Forbidden")
        } else {
            Ok(())
        }
    }
}

fn decided(asked: &Asked, policy: Policy<'_>) -> Result<(), &'static str> {
    check(asked, policy).map_err(|refusal| match refusal.failure().message {
        std::borrow::Cow::Borrowed(message) => message,
        std::borrow::Cow::Owned(message) => panic!("{message} is made when it is said"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn decides_as_the_contract_says(sent in sent()) {
        let Some(asked) = sent.asked() else {
            prop_assert!(!sent.changes());
            return Ok(());
        };
        prop_assert!(sent.changes());
        let trusted = CsrfPolicy::TrustedOrigins(vec!["https://trusted".parse().unwrap()]);
        for (policy, expected) in [
            (Policy::Api, sent.api()),
            (Policy::App(&CsrfPolicy::Strict), sent.api()),
            (Policy::App(&CsrfPolicy::SameOrigin), sent.app(false)),
            (Policy::App(&trusted), sent.app(true)),
            (Policy::App(&CsrfPolicy::Off), Ok(())),
        ] {
            prop_assert_eq!(decided(&asked, policy), expected, "{:?}", policy);
        }
    }

    /// No header that a page can send on its own opens the API to it, and none
    /// makes anything panic.
    #[test]
    fn no_page_of_another_site_gets_through(
        origin in "(http|https|ftp|HTTP)?(://)?[a-c\\[\\]:.@0-9é/ ]{0,12}",
        site in select(vec!["cross-site", "same-site"]),
        more in prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,20}"), 0..4),
    ) {
        let mut headers = HeaderList::new();
        headers.push(b"host", b"shop.example").unwrap();
        headers.push(b"origin", origin.as_bytes()).unwrap();
        headers.push(b"cookie", b"buntime_session=x").unwrap();
        headers.push(b"sec-fetch-site", site.as_bytes()).unwrap();
        for (name, value) in &more {
            let _ = headers.push(name.as_bytes(), value.as_bytes());
        }
        let peer = Peer {
            address: [127, 0, 0, 1].into(),
            listener: Listener::Public,
            scheme: Scheme::Http,
            trusted_proxy: false,
        };
        let asked = Asked::new(Method::Post, false, &peer, &headers).unwrap();
        for policy in [
            Policy::Api,
            Policy::App(&CsrfPolicy::SameOrigin),
            Policy::App(&CsrfPolicy::Strict),
        ] {
            prop_assert!(check(&asked, policy).is_err());
        }
    }
}

#[test]
fn what_is_logged_names_no_password() {
    let mut headers = HeaderList::new();
    headers.push(b"host", b"a").unwrap();
    headers.push(b"origin", b"http://user:hunter2@a").unwrap();
    let peer = Peer {
        address: [127, 0, 0, 1].into(),
        listener: Listener::Public,
        scheme: Scheme::Http,
        trusted_proxy: false,
    };
    let asked = Asked::new(Method::Post, false, &peer, &headers).unwrap();
    assert_eq!(asked.origin.to_string(), "@a");
    assert_eq!(check(&asked, Policy::Api), Err(Refusal::OriginUnreadable));
}
