//! Routes about the session: a key once, then a cookie.

use std::sync::Arc;
use std::time::Duration;

use buntime_core::access::Principal;
use buntime_http::Method;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::Api;
use super::call::Call;
use super::errors::{NO_RANDOM, store_failed};
use super::json;
use super::route::{Access, Route};
use super::view;
use crate::access::{LoginError, Now};
use crate::failure::Failure;
use crate::gate::session;
use crate::message::Response;
use crate::service::Answer;

const PATTERN: &str = "/admin/session";

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        PATTERN,
        Access::AnyKey(|api, _, principal| {
            Box::pin(async move { Ok(authenticated(&api, &principal)) })
        }),
        "Who the caller is.",
    )
    .gives::<Authenticated>(200),
    Route::change(
        Method::Post,
        PATTERN,
        Access::Public(|api, call| Box::pin(log_in(api, call))),
        "session.create",
        "Begins a session with a key and sets its cookie.",
    )
    .takes::<Login>()
    .gives::<Authenticated>(200)
    .fails(&[
        (401, "INVALID_KEY"),
        (421, "HOST_NOT_ALLOWED"),
        (429, "TOO_MANY_ATTEMPTS"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
        (503, "NO_RANDOM_NUMBERS"),
        (507, "STORAGE_FULL"),
    ]),
    Route::change(
        Method::Delete,
        PATTERN,
        Access::Public(|api, call| Box::pin(log_out(api, call))),
        "session.end",
        "Ends the session of the cookie.",
    )
    .gives_nothing()
    .fails(&[
        (421, "HOST_NOT_ALLOWED"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
        (507, "STORAGE_FULL"),
    ]),
];

/// Who the caller is.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "stands for the shape of what is written by hand")]
struct Authenticated {
    authenticated: bool,
    principal: view::Principal<'static>,
}

/// A key, once.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "stands for the shape of what is read field by field"
)]
struct Login {
    #[schemars(length(min = 1))]
    key: String,
}

fn authenticated(api: &Api, principal: &Principal) -> Response {
    let body = json!({"authenticated": true, "principal": api.seen(principal)});
    json::reply(200, &body)
}

async fn log_in(api: Arc<Api>, mut call: Call) -> Result<Response, Answer> {
    let mut fields = call.fields().await?;
    let key = match fields.take("key") {
        Some(Value::String(key)) if !key.is_empty() => zeroize::Zeroizing::new(key),
        _ => return Err(NO_KEY.into()),
    };
    fields.nothing_else()?;
    // By name, for apps have their address in common with others on this machine.
    let from = call.request.peer.caller(call.address);
    let login = api.access.log_in(key.as_bytes(), &from, Now::read()).await;
    let login = login.map_err(|error| failed(&api, &call, error))?;
    call.note.by(&login.principal);
    let headers = &call.request.headers;
    let scheme = call.request.peer.scheme_of(headers);
    // Logging in again ends the session that the browser had. If that cannot be stored,
    // it ends by its time.
    if let Some(token) = session::token(headers, scheme) {
        let _ = api.access.log_out(token).await;
    }
    let mut response = authenticated(&api, &login.principal);
    let cookie = session::set(&login.token, login.lasts, scheme);
    response.set(b"set-cookie", cookie.as_bytes());
    Ok(response)
}

async fn log_out(api: Arc<Api>, call: Call) -> Result<Response, Answer> {
    let headers = &call.request.headers;
    let scheme = call.request.peer.scheme_of(headers);
    // A credential in a header decides alone: then the cookie is not looked at.
    if let Some(token) =
        session::token(headers, scheme).filter(|_| !session::has_credential(headers))
    {
        if let Some(principal) = api.access.authenticate(&call.request, call.address) {
            call.note.by(&principal);
        }
        let ended = api.access.log_out(token).await;
        ended.map_err(|error| store_failed(&error, &api.log, &call.request.id))?;
    }
    let mut response = Response::empty(204);
    let cookie = session::set("", Duration::ZERO, scheme);
    response.set(b"set-cookie", cookie.as_bytes());
    response.set(b"cache-control", b"no-store");
    Ok(response)
}

const NO_KEY: Failure = Failure::new(400, "VALIDATION_ERROR", "key: write the key as a text.");

fn failed(api: &Api, call: &Call, error: LoginError) -> Failure {
    match error {
        LoginError::WrongKey => Failure::new(401, "INVALID_KEY", "This key is not valid."),
        LoginError::Throttled(wait) => Failure::new(
            429,
            "TOO_MANY_ATTEMPTS",
            "Too many failed logins from there.",
        )
        .retry_after(wait),
        LoginError::Random(_) => NO_RANDOM,
        LoginError::Store(error) => store_failed(&error, &api.log, &call.request.id),
    }
}
