//! Web origins, for trusted ones in manifests and for the `Origin` header.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const MAX_BYTES: usize = 512;

/// The text is no http or https origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is `http://` or `https://` and a host, with a port if need be, and nothing after, as in `https://shop.example`"
)]
pub struct OriginError;

/// `https://shop.example:8443`: scheme, host, port, and nothing else.
///
/// Invariant: lower case, no user or password, no path, no default port, so equal
/// origins are equal texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The origin, normalised.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.split().0
    }

    /// Host and, unless it is the scheme's default, port: what a `Host` header
    /// holds for this origin.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once("://").unwrap_or_default()
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.len() > MAX_BYTES {
            return Err(OriginError);
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or(OriginError)?;
        let default_port = match scheme {
            "http" => "80",
            "https" => "443",
            _ => return Err(OriginError),
        };
        let (host, port) = split_host_port(authority).ok_or(OriginError)?;
        match port {
            Some(port) if port != default_port => {
                Ok(Self(format!("{scheme}://{host}:{port}").into()))
            }
            _ => Ok(Self(format!("{scheme}://{host}").into())),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `host[:port]`, where host is a name, an IPv4 address or a bracketed
/// IPv6 address. `None` if it is anything else, or the port is not 1 to 65535
/// without leading zeros.
pub(crate) fn split_host_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    let valid_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.split('.').all(|label| !label.is_empty())
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    };
    if !valid_host {
        return None;
    }
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = rest.strip_prefix(':')?;
    let canonical = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    (canonical && port.parse::<u16>().is_ok()).then_some((host, Some(port)))
}

#[cfg(test)]
mod tests;
