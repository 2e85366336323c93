//! Whether a request that changes something may come from another site's page.
//!
//! A browser says of every such request which origin it is from (`Origin`) and how
//! that relates to its target (`Sec-Fetch-Site`); a page can forge neither. What is
//! no browser has no cookie to be abused.

use std::fmt;

use buntime_core::{CsrfPolicy, Origin};
use buntime_http::{HeaderId, HeaderList, Method};

use super::host::{Host, shown};
use super::session;
use crate::failure::Failure;
use crate::message::{Peer, Request, Scheme};

/// A request that may change something, as far as the decision looks at it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) origin: SentOrigin,
    pub(super) host: Host,
    pub(super) scheme: Scheme,
    pub(super) site: FetchSite,
    /// Whether there is any cookie.
    pub(super) cookie: bool,
    /// Whether a credential stands in a header.
    pub(super) credential: bool,
    /// Whether it says `X-Buntime-Internal: true`.
    pub(super) internal: bool,
    pub(super) way: Way,
}

/// What `Origin` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SentOrigin {
    /// Nothing, or nothing but the header's name.
    Absent,
    /// `null`, or no origin of the web, or more than one.
    Other(String),
    Known(Origin),
}

/// What `Sec-Fetch-Site` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchSite {
    Absent,
    /// The page is of our own origin.
    SameOrigin,
    /// No page asks: the user typed the address.
    User,
    /// The page is of a sibling (`same-site`) or of a stranger, or the value is not known.
    Foreign,
}

/// How a request came, as far as it matters to `X-Buntime-Internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the gateway of a worker.
    Workers,
    /// From this machine, not through a proxy.
    Direct,
    /// From anywhere.
    Outside,
}

/// By whose rule a request is judged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy<'a> {
    Api,
    App(&'a CsrfPolicy),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    OriginRequired,
    OriginUnreadable,
    OriginDiffers,
    CrossSite,
}

impl Asked {
    /// `None` if the request changes nothing. A WebSocket upgrade opens a channel
    /// for changes, so it counts as one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let Request {
            method,
            websocket,
            peer,
            headers,
            ..
        } = request;
        Self::new(*method, *websocket, peer, headers)
    }

    fn new(method: Method, websocket: bool, peer: &Peer, headers: &HeaderList) -> Option<Self> {
        if method.is_safe() && !websocket {
            return None;
        }
        let internal = headers.contains(HeaderId::XBuntime)
            && headers.get_named(b"x-buntime-internal") == Some(b"true");
        Some(Self {
            origin: SentOrigin::of(headers),
            host: Host::from_headers(peer, headers),
            scheme: peer.scheme_of(headers),
            site: FetchSite::of(headers),
            cookie: headers.contains(HeaderId::Cookie),
            credential: session::has_credential(headers),
            internal,
            // It matters to that header alone.
            way: if internal {
                Way::of(peer, headers)
            } else {
                Way::Outside
            },
        })
    }

    fn is_of_its_host(&self, origin: &Origin) -> bool {
        self.host.serves(self.scheme, origin)
    }
}

impl SentOrigin {
    fn of(headers: &HeaderList) -> Self {
        let mut sent = headers.get_all(HeaderId::Origin);
        match (sent.next(), sent.next()) {
            (None, _) | (Some(b""), None) => Self::Absent,
            (Some(one), None) => std::str::from_utf8(one)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or_else(|| Self::Other(shown(one)), Self::Known),
            (Some(one), Some(two)) => Self::Other(shown(&[one, b", ", two].concat())),
        }
    }
}

impl fmt::Display for SentOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Other(text) => f.write_str(text),
            Self::Known(origin) => origin.fmt(f),
        }
    }
}

impl FetchSite {
    fn of(headers: &HeaderList) -> Self {
        let mut sent = headers.get_all(HeaderId::SecFetchSite);
        match (sent.next(), sent.next()) {
            (None, _) => Self::Absent,
            (Some(b"same-origin"), None) => Self::SameOrigin,
            (Some(b"none"), None) => Self::User,
            _ => Self::Foreign,
        }
    }
}

impl Way {
    fn of(peer: &Peer, headers: &HeaderList) -> Self {
        if !peer.listener.is_for_clients() {
            return Self::Workers;
        }
        let forwarded = headers.contains(HeaderId::Forwarded)
            || headers.contains(HeaderId::XForwarded)
            || headers.contains(HeaderId::XRealIp)
            || headers.get_named(b"via").is_some();
        if peer.address.is_loopback() && !forwarded {
            Self::Direct
        } else {
            Self::Outside
        }
    }
}

/// Decides.
///
/// # Errors
/// Why not.
pub(super) fn check(asked: &Asked, policy: Policy<'_>) -> Result<(), Refusal> {
    // With a cookie a request acts for a user, and is none of the machine's own.
    if asked.internal && asked.way != Way::Outside && !asked.cookie {
        return Ok(());
    }
    match policy {
        Policy::Api | Policy::App(CsrfPolicy::Strict) => strict(asked),
        Policy::App(CsrfPolicy::SameOrigin) => same_origin(asked, &[]),
        Policy::App(CsrfPolicy::TrustedOrigins(trusted)) => same_origin(asked, trusted),
        Policy::App(CsrfPolicy::Off) => Ok(()),
    }
}

/// The request must say that it is from our own origin, unless its credential is
/// one that no other site can send.
fn strict(asked: &Asked) -> Result<(), Refusal> {
    if asked.credential {
        return Ok(());
    }
    match &asked.origin {
        SentOrigin::Absent => return Err(Refusal::OriginRequired),
        SentOrigin::Other(_) => return Err(Refusal::OriginUnreadable),
        SentOrigin::Known(origin) if !asked.is_of_its_host(origin) => {
            return Err(Refusal::OriginDiffers);
        }
        SentOrigin::Known(_) => {}
    }
    if asked.cookie && asked.site == FetchSite::Foreign {
        return Err(Refusal::CrossSite);
    }
    Ok(())
}

/// The request must not say that it is from another origin than ours or a trusted one.
fn same_origin(asked: &Asked, trusted: &[Origin]) -> Result<(), Refusal> {
    match &asked.origin {
        SentOrigin::Known(origin) if trusted.contains(origin) => return Ok(()),
        _ if asked.site == FetchSite::Foreign => return Err(Refusal::CrossSite),
        SentOrigin::Absent => {}
        SentOrigin::Other(_) => return Err(Refusal::OriginUnreadable),
        SentOrigin::Known(origin) if !asked.is_of_its_host(origin) => {
            return Err(Refusal::OriginDiffers);
        }
        SentOrigin::Known(_) => {}
    }
    Ok(())
}

impl Refusal {
    /// What the client is told (contract section 5).
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::OriginRequired => {
                Failure::new(403, "ORIGIN_REQUIRED", "Forbidden - Origin required").as_text()
            }
            Self::OriginUnreadable | Self::OriginDiffers | Self::CrossSite => {
                Failure::new(403, "ORIGIN_FORBIDDEN", "Forbidden").as_text()
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OriginRequired => "no Origin",
            Self::OriginUnreadable => "Origin is not one http or https origin",
            Self::OriginDiffers => "Origin is not the host",
            Self::CrossSite => "Sec-Fetch-Site names another site",
        })
    }
}

#[cfg(test)]
mod tests;
