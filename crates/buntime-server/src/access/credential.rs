//! The credential that a request brings in a header.

use buntime_http::{Header, HeaderId, HeaderList};

/// What the headers say of who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// Nothing: a session may.
    None,
    /// One secret. It decides alone.
    Secret(&'a [u8]),
    /// Several, so that it would depend on the reader which one counts.
    Refused,
}

impl<'a> Credential<'a> {
    pub(super) fn of(headers: &'a HeaderList) -> Self {
        if !may_be_in(headers) {
            return Self::None;
        }
        let secrets = || headers.iter().filter_map(|header| of_header(&header));
        if secrets().all(<[u8]>::is_empty) {
            return Self::None;
        }
        let mut secrets = secrets();
        match (secrets.next(), secrets.next()) {
            (Some(secret), None) => Self::Secret(secret),
            _ => Self::Refused,
        }
    }
}

/// Whether it is worth looking.
pub(super) fn may_be_in(headers: &HeaderList) -> bool {
    headers.contains(HeaderId::XApiKey) || headers.contains(HeaderId::Authorization)
}

/// The secret in `X-API-Key` or `Authorization: Bearer`, which may be empty. Other
/// schemes are not ours.
pub(super) fn of_header<'a>(header: &Header<'a>) -> Option<&'a [u8]> {
    match header.id {
        HeaderId::XApiKey => Some(header.value.trim_ascii()),
        HeaderId::Authorization => bearer(header.value),
        _ => None,
    }
}

/// The token of `Bearer …` (RFC 6750 section 2.1); the scheme's name has no case.
fn bearer(line: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = line.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::session;

    fn headers(lines: &[(&str, &str)]) -> HeaderList {
        let mut headers = HeaderList::new();
        for (name, value) in lines {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        headers
    }

    #[test]
    fn one_credential_counts_and_several_are_refused() {
        let secret = |text: &'static str| Credential::Secret(text.as_bytes());
        for (lines, expected) in [
            (&[][..], Credential::None),
            (&[("X-API-Key", "a")], secret("a")),
            (&[("x-api-key", " a ")], secret("a")),
            (&[("Authorization", "Bearer a")], secret("a")),
            (&[("authorization", "bEARER  a ")], secret("a")),
            (&[("authorization", "Basic a")], Credential::None),
            (&[("authorization", "Bearer")], Credential::None),
            (&[("authorization", "Bearer ")], Credential::None),
            (&[("x-api-key", "")], Credential::None),
            (
                &[("x-api-key", "a"), ("authorization", "Basic b")],
                secret("a"),
            ),
            (
                &[("x-api-key", "a"), ("x-api-key", "a")],
                Credential::Refused,
            ),
            (
                &[("x-api-key", "a"), ("x-api-key", "")],
                Credential::Refused,
            ),
            (
                &[("x-api-key", "a"), ("authorization", "Bearer a")],
                Credential::Refused,
            ),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Credential::Refused,
            ),
            (&[("x_api_key", "a")], Credential::None),
        ] {
            let headers = headers(lines);
            let found = Credential::of(&headers);
            assert_eq!(found, expected, "{lines:?}");
            // What CSRF takes for a credential must not leave the decision to a cookie.
            let spared = session::has_credential(&headers);
            assert_eq!(spared, found != Credential::None, "{lines:?}");
        }
    }
}
