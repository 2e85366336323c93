//! A request's head, checked as strictly as the HTTP/1.1 parser does.

use buntime_http::{HeaderId, HeaderList, Method, RequestError, Target};

use crate::edge::shard::Shard;

pub(super) type Head = (Method, Target, HeaderList);

/// Checks what hyper has read as strictly as the HTTP/1.1 parser does.
pub(super) fn read_head(shard: &Shard, parts: &http::request::Parts) -> Result<Head, RequestError> {
    let limits = shard.settings().head;
    let method =
        Method::parse(parts.method.as_str().as_bytes()).ok_or(RequestError::UnknownMethod)?;
    if matches!(method, Method::Trace | Method::Connect) {
        return Err(RequestError::MethodNotAllowed);
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    if path.len() > limits.target {
        return Err(RequestError::TargetTooLong);
    }
    if parts.headers.len() > limits.count {
        return Err(RequestError::TooManyHeaders);
    }
    if size(parts, path) > limits.total {
        return Err(RequestError::HeadTooLarge);
    }
    let target = Target::parse(path.as_bytes()).map_err(|_| RequestError::BadPath)?;
    let mut headers = HeaderList::new();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = parts
        .headers
        .get(http::header::HOST)
        .map(|host| host.as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if authority.as_bytes() != host => {
            return Err(RequestError::BadHost);
        }
        (Some(authority), None) => headers
            .push(b"host", authority.as_bytes())
            .map_err(|_| RequestError::BadHost)?,
        (None, None) => return Err(RequestError::BadHost),
        _ => {}
    }
    let host = headers.get(HeaderId::Host).or(host).unwrap_or_default();
    if !buntime_http::is_valid_authority(host) || parts.headers.get_all("host").iter().count() > 1 {
        return Err(RequestError::BadHost);
    }
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        if value.len() > limits.value {
            return Err(RequestError::ValueTooLong);
        }
        if name == http::header::COOKIE {
            // HTTP/2 may split the cookie; nobody behind us need know (RFC 9113
            // section 8.2.3).
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
            continue;
        }
        headers
            .push(name.as_str().as_bytes(), value.as_bytes())
            .map_err(|_| RequestError::Syntax)?;
    }
    if !cookies.is_empty() {
        headers
            .push(b"cookie", &cookies)
            .map_err(|_| RequestError::Syntax)?;
    }
    Ok((method, target, headers))
}

/// How long the head would be as HTTP/1.1 writes it, but for the end of its first line.
fn size(parts: &http::request::Parts, path: &str) -> usize {
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + b": \r\n".len());
    parts.method.as_str().len() + path.len() + fields.sum::<usize>()
}
