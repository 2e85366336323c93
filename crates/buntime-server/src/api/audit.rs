//! `GET /audit`: who did what (contract section 7).

use std::str::FromStr;
use std::sync::Arc;

use buntime_core::access::{Grant, Permission};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::call::Call;
use super::errors::blocking;
use super::json::{self, Success};
use super::openapi::Param;
use super::route::{Access, Route};
use crate::audit::{Cursor, Line, Query};
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[Route::get(
    "/audit",
    Access::Granted(Permission::KeysRead, |api, call, grant| {
        Box::pin(list(api, call, grant))
    }),
    "Who did what, to what, when, from where, with what outcome; newest first.",
)
.reads(&[
    Param::new("limit", "Most entries of the page: 1 to 1000, else 100.")
        .matching("^([1-9][0-9]{0,2}|1000)$"),
    Param::new("cursor", "The `nextCursor` of the page before.")
        .matching("^[0-9a-f]{1,16}-[0-9a-f]{1,16}$"),
    Param::new(
        "action",
        "An action, as `worker.upload`, or the first part of some: `worker`.",
    ),
    Param::new("key", "The id of the key that was used."),
    Param::new("target", "How the target begins."),
    Param::new(
        "since",
        "Not before this time of UTC, as 2026-11-22T12:34:56Z, or this day.",
    )
    .matching(TIME),
    Param::new("until", "Before this time.").matching(TIME),
])
.gives::<Success<Entries>>(200)];

/// How times are written, for the description.
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z)?$";

/// Lines of a page where nobody says how many, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// One page.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Entries {
    entries: Vec<Line>,
    /// For `cursor` of the next call. A page may be short, even empty, and have one.
    next_cursor: Option<String>,
}

async fn list(api: Arc<Api>, call: Call, grant: Grant) -> Result<Response, Answer> {
    let asked = call.query()?;
    let limit = match asked.get("limit")? {
        None => LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| bad("limit", &format!("write a number from 1 to {LIMIT_MAX}")))?,
    };
    let cursor: Option<Cursor> = parsed(asked.get("cursor")?, "cursor")?;
    let since = parsed(asked.get("since")?, "since")?;
    let until = parsed(asked.get("until")?, "until")?;
    let text = |name| asked.get(name).map(|text| text.map(str::to_owned));
    let (action, key, target) = (text("action")?, text("key")?, text("target")?);
    let principal = Arc::clone(grant.principal());
    let audit = api.audit.clone();
    let page = blocking(move || {
        audit.read(&Query {
            limit,
            cursor,
            action: action.as_deref(),
            key: key.as_deref(),
            target: target.as_deref(),
            since: since.as_ref(),
            until: until.as_ref(),
            reader: &principal.rights.namespaces,
        })
    });
    let page = page.await?.map_err(|error| {
        api.log
            .error("audit", "Audit log cannot be read", |fields| {
                fields.request_id(&call.request.id).error(&error);
            });
        Failure::new(500, "INTERNAL_ERROR", "The audit log cannot be read.")
    })?;
    let entries = Entries {
        entries: page.lines,
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    };
    Ok(json::success(200, entries))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
    name: &str,
) -> Result<Option<T>, Failure> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: T::Err| bad(name, &error.to_string()))
}

fn bad(name: &str, hint: &str) -> Failure {
    Failure::new(400, "VALIDATION_ERROR", "").saying(format!("{name}: {hint}."))
}
