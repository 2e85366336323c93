//! Static sites: the server sends the files itself.

use buntime_fs::static_files::{
    Outcome, StaticBody, StaticMethod, StaticRequest, StaticResponse, StaticSite,
};
use buntime_http::{HeaderId, HeaderList, Method};

use super::{Base, page};
use crate::failure::Failure;
use crate::html::{Insertion, PageSettings};
use crate::message::{Body, BodyLength, FileStream, Request, Response};
use crate::service::Answer;

/// Answers from the site's files.
pub(crate) async fn serve(
    site: &StaticSite,
    pages: Option<&PageSettings>,
    request: Request,
    base: &Base,
) -> Result<Response, Answer> {
    let Request {
        method,
        target,
        headers,
        peer,
        // Going away does not matter to a file: the body goes home.
        body: _,
        ..
    } = request;
    let insertion = pages.map(|pages| {
        let prefix = page::forwarded_prefix(&headers, &peer);
        let base = target.path().as_str().get(..base.end).unwrap_or_default();
        pages.insertion(&prefix, base)
    });
    let variant = insertion.as_ref().map(Insertion::variant);
    let path = target.path().as_bytes();
    let asked = StaticRequest {
        method: match method {
            Method::Get => StaticMethod::Get,
            Method::Head => StaticMethod::Head,
            _ => StaticMethod::Other,
        },
        path: path.get(base.end..).unwrap_or_default(),
        query: target.query(),
        accept: headers.get(HeaderId::Accept),
        accept_encoding: headers.get(HeaderId::AcceptEncoding),
        if_match: headers.get(HeaderId::IfMatch),
        if_none_match: headers.get(HeaderId::IfNoneMatch),
        if_modified_since: headers.get(HeaderId::IfModifiedSince),
        if_unmodified_since: headers.get(HeaderId::IfUnmodifiedSince),
        if_range: headers.get(HeaderId::IfRange),
        range: headers.get(HeaderId::Range),
        page_variant: variant.as_deref(),
    };
    let StaticResponse {
        outcome,
        headers,
        length,
        is_variant,
        body,
    } = site.respond(&asked).await;
    let status = match outcome {
        Outcome::Full => 200,
        Outcome::Partial => 206,
        Outcome::NotModified => 304,
        Outcome::Redirect => 308,
        Outcome::PreconditionFailed => 412,
        Outcome::RangeNotSatisfiable => 416,
        Outcome::NotFound => return Err(Failure::NOT_FOUND.into()),
        Outcome::MethodNotAllowed => {
            return Err(Failure::method_not_allowed("GET, HEAD").into());
        }
        Outcome::Unreadable => return Err(UNREADABLE.into()),
    };
    let mut list = HeaderList::with_capacity(256);
    for (name, value) in headers.iter() {
        let pushed = list.push(name.as_bytes(), value.as_bytes());
        debug_assert!(pushed.is_ok(), "{name} is not sendable");
    }
    let response = Response {
        early_hints: Vec::new(),
        status,
        headers: list,
        // An outcome without a length is one without a body: 304.
        length: BodyLength::Exact(length.unwrap_or(0)),
        body: match body {
            StaticBody::Empty => Body::Empty,
            StaticBody::Bytes(bytes) => Body::Bytes(bytes),
            StaticBody::File(file) => Body::File(FileStream::new(file)),
        },
        close: false,
    };
    Ok(match insertion {
        Some(insertion) if is_variant => page::insert(response, method, insertion),
        _ => response,
    })
}

const UNREADABLE: Failure = Failure::new(
    503,
    "STORAGE_UNAVAILABLE",
    "The app's files cannot be read at the moment.",
);
