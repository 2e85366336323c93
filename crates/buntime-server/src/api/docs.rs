//! `GET /docs`: the description of the API as a page. Everything on it comes from here:
//! the server's own policy allows nothing else.

use std::sync::Arc;

use super::Api;
use super::call::Call;
use super::openapi::{cached, entity_tag};
use super::route::{Access, Route};
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/docs",
        Access::Public(|api, call| Box::pin(file(api, call, &PAGE))),
        "The API's description as a page.",
    )
    .gives_files(&["text/html"]),
    Route::get(
        "/docs/app.js",
        Access::Public(|api, call| Box::pin(file(api, call, &SCRIPT))),
        "The page's script.",
    )
    .gives_files(&["text/javascript"]),
    Route::get(
        "/docs/style.css",
        Access::Public(|api, call| Box::pin(file(api, call, &STYLE))),
        "The page's style.",
    )
    .gives_files(&["text/css"]),
];

/// A file of the page.
struct File {
    content_type: &'static str,
    text: &'static str,
}

static PAGE: File = File {
    content_type: "text/html; charset=utf-8",
    text: include_str!("docs/page.html"),
};

static SCRIPT: File = File {
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("docs/app.js"),
};

static STYLE: File = File {
    content_type: "text/css; charset=utf-8",
    text: include_str!("docs/style.css"),
};

async fn file(_: Arc<Api>, call: Call, file: &'static File) -> Result<Response, Answer> {
    let tag = entity_tag(file.text);
    Ok(cached(&call, file.content_type, file.text, &tag))
}
