//! Which responses are pages, and what HTTP asks of a server that changes them.

use std::collections::VecDeque;

use buntime_http::{HeaderId, HeaderList, Method};
use bytes::{Bytes, BytesMut};

use crate::catalog::{Ready, Unit};
use crate::failure::Form;
use crate::html::{Inserter, Insertion, PageBody, is_plain_prefix, is_true_of_page};
use crate::message::{Body, BodyLength, Peer, Response};

/// Charsets in which a page's ASCII is ASCII, as browsers call them. Those whose
/// characters of several bytes may hold ASCII are left out.
const CHARSETS: [&[u8]; 7] = [
    b"utf-8",
    b"utf8",
    b"us-ascii",
    b"ascii",
    b"latin1",
    b"koi8-r",
    b"koi8-u",
];
const CHARSET_FAMILIES: [&[u8]; 2] = [b"iso-8859-", b"windows-125"];

/// The path below which a trusted proxy serves us, from its `X-Forwarded-Prefix`.
/// From anybody else, and if it is no plain path: nothing.
pub(crate) fn forwarded_prefix(headers: &HeaderList, peer: &Peer) -> String {
    peer.said(headers, b"x-forwarded-prefix")
        .filter(|prefix| is_plain_prefix(prefix))
        .map_or_else(String::new, |prefix| {
            String::from_utf8_lossy(prefix).into_owned()
        })
}

/// Makes a worker answer a browser's navigation with a whole, plain page: the
/// client's copy may hold an older insertion, and what is compressed stays as it
/// is.
pub(crate) fn ask_for_whole(unit: &Unit, method: Method, headers: &mut HeaderList) {
    let has_insertion = unit.ready().is_some_and(|ready| ready.pages.is_some());
    // Forms navigate too, whatever their method.
    if !has_insertion || Form::of(Method::Get, headers) == Form::Json {
        return;
    }
    if matches!(method, Method::Get | Method::Head) {
        // With other methods a condition protects what is written.
        for condition in [
            HeaderId::IfModifiedSince,
            HeaderId::IfNoneMatch,
            HeaderId::IfRange,
            HeaderId::Range,
        ] {
            headers.remove(condition);
        }
    }
    headers.remove(HeaderId::AcceptEncoding);
    let pushed = headers.push(b"accept-encoding", b"identity");
    debug_assert!(pushed.is_ok(), "own header is not sendable");
}

/// A worker's response, with the insertion if the app asks for one and it is a page.
pub(crate) fn of_worker(
    mut response: Response,
    ready: &Ready,
    method: Method,
    prefix: &str,
    base: &str,
) -> Response {
    let Some(settings) = ready.pages.as_ref().filter(|_| is_page(&response)) else {
        return response;
    };
    let etag = response.headers.get(HeaderId::ETag).map(weak);
    response
        .headers
        .retain(|header| header.id != HeaderId::ETag && is_true_of_page(&header));
    if let Some(etag) = etag {
        response.set(b"etag", &etag);
    }
    insert(response, method, settings.insertion(prefix, base))
}

/// A page, its headers already right, with the insertion.
pub(crate) fn insert(mut response: Response, method: Method, insertion: Insertion) -> Response {
    if method == Method::Head {
        response.length = BodyLength::Unknown;
        return response;
    }
    let mut inserter = Inserter::new(insertion);
    let (length, body) = match response.body {
        Body::Empty => (response.length, Body::Empty),
        Body::Bytes(page) => {
            let page = at_once(&mut inserter, page);
            (BodyLength::Exact(page.len() as u64), Body::Bytes(page))
        }
        page => (
            BodyLength::Unknown,
            Body::Page(Box::new(PageBody::new(page, inserter))),
        ),
    };
    response.length = length;
    response.body = body;
    response
}

fn at_once(inserter: &mut Inserter, page: Bytes) -> Bytes {
    let mut parts = VecDeque::new();
    inserter.push(page, &mut parts);
    inserter.end(&mut parts);
    let mut page = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| page.extend_from_slice(part));
    page.freeze()
}

/// Whether a response is a whole page that can be read here and that the app does
/// not forbid to change (RFC 9110 section 7.7).
fn is_page(response: &Response) -> bool {
    let headers = &response.headers;
    let whole = matches!(response.status, 200..=203 | 207..=299 | 400..=599)
        && !headers.contains(HeaderId::ContentRange);
    let plain = headers
        .get_all(HeaderId::ContentEncoding)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"));
    whole
        && plain
        && is_readable_html(headers)
        && !has_token(headers, b"cache-control", b',', b"no-transform")
        // What is saved as a file is no page of the app.
        && !has_token(headers, b"content-disposition", b';', b"attachment")
}

fn has_token(headers: &HeaderList, name: &[u8], separator: u8, token: &[u8]) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(move |&byte| byte == separator))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn is_readable_html(headers: &HeaderList) -> bool {
    let mut types = headers.get_all(HeaderId::ContentType);
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let mut parts = value.split(|&byte| byte == b';');
    let is_html = parts
        .next()
        .is_some_and(|media| media.trim_ascii().eq_ignore_ascii_case(b"text/html"));
    is_html
        && parts.all(|parameter| {
            let mut parameter = parameter.splitn(2, |&byte| byte == b'=');
            let name = parameter.next().unwrap_or_default().trim_ascii();
            !name.eq_ignore_ascii_case(b"charset")
                || is_readable_charset(parameter.next().unwrap_or_default())
        })
}

fn is_readable_charset(value: &[u8]) -> bool {
    let charset = value.trim_ascii();
    let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
    let charset = charset.strip_suffix(b"\"").unwrap_or(charset).trim_ascii();
    let begins = |family: &[u8]| {
        charset
            .get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family))
    };
    CHARSETS
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
        || CHARSET_FAMILIES.iter().any(|family| begins(family))
}

/// The app's entity tag, which no longer names these very bytes (RFC 9110 section
/// 8.8.1).
fn weak(etag: &[u8]) -> Vec<u8> {
    if etag.starts_with(b"W/") {
        etag.to_vec()
    } else {
        [b"W/", etag].concat()
    }
}
