//! The description of the API (OpenAPI 3.1), made of the table of routes and of the
//! types that handlers read and write.

mod document;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use buntime_core::hex;
use buntime_http::HeaderId;
use sha2::{Digest as _, Sha256};

pub(crate) use self::shape::{Param, Shape};

use super::Api;
use super::call::Call;
use super::route::{Access, Route};
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[Route::get(
    "/openapi.json",
    Access::Public(|api, call| Box::pin(description(api, call))),
    "This description of the API.",
)
.gives_files(&["application/json"])];

/// The description as it is served: made once, when somebody first asks.
#[derive(Debug)]
pub(crate) struct Description {
    base: Box<str>,
    made: OnceLock<(String, String)>,
}

impl Description {
    /// Of an API whose base is `base`, `/api` as a rule.
    pub(crate) fn new(base: &str) -> Self {
        Self {
            base: base.into(),
            made: OnceLock::new(),
        }
    }

    /// The text, and the tag by which a client knows that it has it already.
    fn get(&self) -> &(String, String) {
        self.made.get_or_init(|| {
            let text = document::document(&self.base);
            let tag = entity_tag(&text);
            (text, tag)
        })
    }
}

async fn description(api: Arc<Api>, call: Call) -> Result<Response, Answer> {
    let (text, tag) = api.description.get();
    Ok(cached(&call, "application/json; charset=utf-8", text, tag))
}

/// By which a client knows that it has this text already.
pub(super) fn entity_tag(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("\"{}\"", hex(&digest[..16]))
}

/// A text that changes with the server alone: 304 to who has it.
pub(super) fn cached(call: &Call, content_type: &str, text: &str, tag: &str) -> Response {
    let mut known = call.request.headers.get_all(HeaderId::IfNoneMatch);
    let is_known = known.any(|tags| {
        let mut tags = tags.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|known| {
            known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
        })
    });
    let mut response = if is_known {
        Response::empty(304)
    } else {
        Response::with_bytes(200, content_type, text.to_owned())
    };
    response.set(b"etag", tag.as_bytes());
    response.set(b"cache-control", b"no-cache");
    response
}
