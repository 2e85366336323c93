//! The server's own cookie, and credentials that come in a header.
//!
//! Apps share a host with the server, so its cookie travels with requests to them.
//! It is taken out before a worker sees one, and no app can set it.

use std::time::Duration;

use buntime_http::{HeaderId, HeaderList};

use crate::message::Scheme;

/// Over HTTP, and over HTTPS: there a browser takes this name from nobody but the host
/// itself, over HTTPS (RFC 6265bis section 4.1.3.2).
const COOKIES: [&[u8]; 2] = [HTTP.as_bytes(), HTTPS.as_bytes()];
const HTTP: &str = "buntime_session";
const HTTPS: &str = "__Host-buntime_session";

fn name_over(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => HTTP,
        Scheme::Https => HTTPS,
    }
}

/// The value of the server's cookie, if there is just one. Over HTTPS the other name
/// does not count: a page of another host under the same domain could have set it.
pub(crate) fn token(headers: &HeaderList, scheme: Scheme) -> Option<&[u8]> {
    let ours = name_over(scheme).as_bytes();
    let mut values = headers
        .get_all(HeaderId::Cookie)
        .flat_map(pairs)
        .filter_map(|pair| {
            let rest = pair.trim_ascii().strip_prefix(ours)?;
            rest.strip_prefix(b"=")
        });
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// A `Set-Cookie` that keeps `token` for as long as the session `lasts`; with an empty
/// token and no time it is forgotten.
pub(crate) fn set(token: &str, lasts: Duration, scheme: Scheme) -> String {
    let secure = match scheme {
        Scheme::Http => "",
        Scheme::Https => "; Secure",
    };
    format!(
        "{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        name_over(scheme),
        lasts.as_secs()
    )
}

/// Whether the client sends the server's cookie.
pub(crate) fn is_in(headers: &HeaderList) -> bool {
    headers
        .get_all(HeaderId::Cookie)
        .flat_map(pairs)
        .any(is_session)
}

/// Takes the server's cookie out of what is sent to an app. Other cookies stay as
/// they are, byte for byte.
pub(crate) fn remove_from(headers: &mut HeaderList) {
    if !is_in(headers) {
        return;
    }
    let kept: Vec<Vec<u8>> = headers
        .get_all(HeaderId::Cookie)
        .map(|line| {
            let kept: Vec<&[u8]> = pairs(line).filter(|pair| !is_session(pair)).collect();
            kept.join(&b';').trim_ascii().to_vec()
        })
        .filter(|line| !line.is_empty())
        .collect();
    headers.remove(HeaderId::Cookie);
    for line in kept {
        let pushed = headers.push(b"cookie", &line);
        debug_assert!(pushed.is_ok(), "part of a header is not sendable");
    }
}

/// Whether this value of `Set-Cookie` would set the server's cookie.
pub(crate) fn is_set_by(value: &[u8]) -> bool {
    pairs(value).next().is_some_and(is_session)
}

/// Whether a credential stands in a header, where no page of another site can put
/// one: `X-API-Key` or `Authorization: Bearer`. Whether it is valid is not known yet.
pub(crate) fn has_credential(headers: &HeaderList) -> bool {
    let bearer = |value: &[u8]| {
        value
            .split_at_checked(b"Bearer ".len())
            .is_some_and(|(scheme, token)| {
                scheme.eq_ignore_ascii_case(b"Bearer ") && !token.trim_ascii().is_empty()
            })
    };
    headers
        .get_all(HeaderId::XApiKey)
        .any(|key| !key.is_empty())
        || headers.get_all(HeaderId::Authorization).any(bearer)
}

/// The pairs of a `Cookie` line. Quotes do not hold a semicolon together (RFC 6265
/// section 5.2).
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';')
}

fn is_session(pair: &[u8]) -> bool {
    COOKIES
        .iter()
        .any(|session| name(pair).eq_ignore_ascii_case(session))
}

fn name(pair: &[u8]) -> &[u8] {
    // A cookie without a name is sent back as its value alone, which then reads as
    // the name and the value of another one.
    let named = pair
        .iter()
        .position(|&byte| byte != b'=' && !byte.is_ascii_whitespace());
    let pair = pair.get(named.unwrap_or(0)..).unwrap_or_default();
    let end = pair
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(pair.len());
    pair.get(..end).unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests;
