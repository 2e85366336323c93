//! Routes about keys.

mod body;

use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::access::{Denied, Grant, KeyId, Permission, Permissions, Principal, Role};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use self::body::{NewKeyBody, RotationBody, new_key, rotation};
use super::call::Call;
use super::errors::{NO_RANDOM, sentence, store_failed};
use super::json::{self, Done, Success};
use super::route::{Access, Route};
use super::{Api, view};
use crate::access::{Created, KeyError};
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/keys",
        Access::Granted(Permission::KeysRead, |api, _, grant| {
            Box::pin(async move { Ok(list(&api, &grant)) })
        }),
        "The keys within the caller's namespaces, without their secrets.",
    )
    .gives::<Vec<Listed<'static>>>(200),
    Route::get(
        "/keys/meta",
        Access::Granted(Permission::KeysRead, |_, _, grant| {
            Box::pin(async move { Ok(meta(&grant)) })
        }),
        "What a new key can be given: roles, permissions, namespaces, times.",
    )
    .gives::<Meta<'static>>(200),
    Route::change(
        Method::Post,
        "/keys",
        Access::Granted(Permission::KeysCreate, |api, call, grant| {
            Box::pin(create(api, call, grant))
        }),
        "key.create",
        "Makes a key no wider than the caller's. The answer holds its secret, this once.",
    )
    .takes::<NewKeyBody>()
    .gives::<Success<WithSecret<'static>>>(201)
    .fails(&[
        (400, "INVALID_KEY_ROLE"),
        (400, "MISSING_PERMISSIONS"),
        (400, "INVALID_PERMISSION"),
        (400, "INVALID_NAMESPACE"),
        (400, "INVALID_EXPIRATION"),
        (403, "PRIVILEGE_ESCALATION"),
        (409, "TOO_MANY_KEYS"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
        (503, "NO_RANDOM_NUMBERS"),
        (507, "STORAGE_FULL"),
    ]),
    Route::change(
        Method::Delete,
        "/keys/:id",
        Access::Granted(Permission::KeysRevoke, |api, call, grant| {
            Box::pin(revoke(api, call, grant))
        }),
        "key.revoke",
        "Revokes a key, and ends its sessions.",
    )
    .gives::<Done>(200)
    .fails(&[
        (400, "CANNOT_REVOKE_SELF"),
        (404, "KEY_NOT_FOUND"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
        (507, "STORAGE_FULL"),
    ]),
    Route::change(
        Method::Post,
        "/keys/:id/rotate",
        Access::Granted(Permission::KeysCreate, |api, call, grant| {
            Box::pin(rotate(api, call, grant))
        }),
        "key.rotate",
        "Gives a key a new secret; the old one counts for the grace period asked, at most 7 days.",
    )
    .may_take::<RotationBody>()
    .gives::<Success<WithSecret<'static>>>(200)
    .fails(&[
        (403, "PRIVILEGE_ESCALATION"),
        (404, "KEY_NOT_FOUND"),
        (500, "STORE_FAILED"),
        (503, "STORE_UNAVAILABLE"),
        (503, "NO_RANDOM_NUMBERS"),
        (507, "STORAGE_FULL"),
    ]),
];

/// A key in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(flatten)]
    principal: view::Principal<'a>,
    #[schemars(with = "String")]
    created_by: &'a KeyId,
}

fn list(api: &Api, grant: &Grant) -> Response {
    let keys = api.access.keys(grant);
    let listed: Vec<Listed<'_>> = keys
        .iter()
        .map(|key| Listed {
            principal: view::Principal::new(&key.principal, key.last_use),
            created_by: &key.made_by,
        })
        .collect();
    json::reply(200, &listed)
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    roles: Vec<RoleView>,
    #[schemars(with = "Vec<String>")]
    permissions: Permissions,
    /// What the caller can give at most.
    grantable: Grantable<'a>,
    expires_in: [&'static str; 5],
}

#[derive(Serialize, JsonSchema)]
struct RoleView {
    #[schemars(with = "String")]
    name: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    permissions: Option<Permissions>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Grantable<'a> {
    #[schemars(with = "Vec<String>")]
    permissions: Permissions,
    #[schemars(with = "Vec<String>")]
    namespaces: &'a buntime_core::access::Namespaces,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn meta(grant: &Grant) -> Response {
    let rights = &grant.principal().rights;
    let meta = Meta {
        roles: Role::ALL
            .into_iter()
            .map(|name| RoleView {
                name,
                permissions: name.permissions(),
            })
            .collect(),
        permissions: Permissions::all(),
        grantable: Grantable {
            permissions: rights.permissions,
            namespaces: &rights.namespaces,
            expires_at: rights.expires_at.map(view::time),
        },
        expires_in: ["never", "Nd", "Nw", "Nm", "Ny"],
    };
    json::reply(200, &meta)
}

async fn create(api: Arc<Api>, mut call: Call, grant: Grant) -> Result<Response, Answer> {
    let now = SystemTime::now();
    let fields = call.fields().await?;
    let new = new_key(fields, now)?;
    call.note.target(&*new.name);
    call.note.reach(&new.namespaces);
    let created = api.access.create(&grant, new, now).await;
    let created = created.map_err(|error| failed(&api, &call, error))?;
    call.note.target(created.principal.id.as_str());
    Ok(secret(201, &created))
}

async fn rotate(api: Arc<Api>, mut call: Call, grant: Grant) -> Result<Response, Answer> {
    let grace = rotation(call.fields_if_any().await?)?;
    let id = id(&api, &call, &grant)?;
    let rotated = api.access.rotate(&grant, &id, grace, SystemTime::now());
    let rotated = rotated.await.map_err(|error| failed(&api, &call, error))?;
    Ok(secret(200, &rotated))
}

async fn revoke(api: Arc<Api>, call: Call, grant: Grant) -> Result<Response, Answer> {
    let id = id(&api, &call, &grant)?;
    let revoked = api.access.revoke(&grant, &id, SystemTime::now()).await;
    revoked.map_err(|error| failed(&api, &call, error))?;
    Ok(json::done())
}

/// The key that the path names. What cannot be an id is the id of no key.
fn id(api: &Api, call: &Call, grant: &Grant) -> Result<KeyId, Failure> {
    let text = call.params.get("id").unwrap_or_default();
    let id = text.parse().map_err(|_| match grant.sees(None) {
        true => NO_SUCH_KEY,
        false => Failure::from(Denied::Namespace),
    })?;
    if let Some(namespaces) = api.access.namespaces_of(&id) {
        call.note.reach(&namespaces);
    }
    Ok(id)
}

/// A key with its secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WithSecret<'a> {
    key: &'a str,
    #[serde(flatten)]
    principal: view::Principal<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_key_until: Option<String>,
}

fn secret(status: u16, created: &Created) -> Response {
    json::success(
        status,
        WithSecret {
            key: created.secret.expose(),
            principal: view::Principal::new(&created.principal, None),
            old_key_until: created.old_until.map(view::time),
        },
    )
}

const NO_SUCH_KEY: Failure = Failure::new(404, "KEY_NOT_FOUND", "There is no such key.");

fn failed(api: &Api, call: &Call, error: KeyError) -> Answer {
    let failure = match error {
        KeyError::Escalation(escalation) => {
            Failure::new(403, "PRIVILEGE_ESCALATION", "").saying(sentence(&escalation))
        }
        KeyError::Denied(denied) => denied.into(),
        KeyError::IsAbove => Failure::new(
            403,
            "PERMISSION_DENIED",
            "The key was made by the root key, or may do more than this one.",
        ),
        KeyError::IsSelf => Failure::new(400, "CANNOT_REVOKE_SELF", "A key cannot revoke itself."),
        KeyError::NotFound => NO_SUCH_KEY,
        KeyError::Gone => Failure::AUTH_REQUIRED,
        KeyError::TooMany | KeyError::TooManyInNamespaces => {
            Failure::new(409, "TOO_MANY_KEYS", "").saying(sentence(&error))
        }
        KeyError::Random(_) => NO_RANDOM,
        KeyError::Store(error) => store_failed(&error, &api.log, &call.request.id),
    };
    failure.into()
}

impl super::Api {
    /// A principal with what is known of its last use.
    pub(super) fn seen(&self, principal: &Principal) -> serde_json::Value {
        let view = view::Principal::new(principal, self.access.last_use(principal));
        serde_json::to_value(view).unwrap_or_default()
    }
}
