//! Headers of what the server itself answers: errors, redirects, health. What apps
//! and static sites answer is theirs.

use buntime_http::HeaderId;

use crate::message::{Response, Scheme};

/// What a page of the server may load: its own files. It cannot be framed, nor its
/// base be moved.
pub(crate) const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// One year. Names below this one may belong to others and are not spoken for.
const HSTS: &[u8] = b"max-age=31536000";

/// Adds what every answer of the server's own has. A policy that is already there
/// is a page's own, and stays.
pub(crate) fn protect(response: &mut Response) {
    if !response.headers.contains(HeaderId::ContentSecurityPolicy) {
        response.set(b"content-security-policy", POLICY.as_bytes());
    }
    response.set(b"x-content-type-options", b"nosniff");
    response.set(b"referrer-policy", b"no-referrer");
}

/// Asks a browser that came by HTTPS to stay with it (RFC 6797). Over HTTP the
/// header means nothing, and anybody could have put it there.
pub(crate) fn ask_for_https(response: &mut Response, scheme: Scheme) {
    if scheme == Scheme::Https {
        response.set(b"strict-transport-security", HSTS);
    }
}
