//! What several routes show in one way.

use std::time::SystemTime;

use buntime_core::access::{self, KeyId, Namespaces, Permissions, Role};
use schemars::JsonSchema;
use serde::Serialize;

use crate::logging::Timestamp;
use crate::store::LastUse;

/// A time, in UTC.
pub(super) fn time(time: SystemTime) -> String {
    Timestamp::of(time).full().to_string()
}

/// Who a key is (contract section 7).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Principal")]
pub(super) struct Principal<'a> {
    #[schemars(with = "String")]
    id: &'a KeyId,
    name: &'a str,
    key_prefix: &'a str,
    /// `admin`, `editor`, `viewer` or `custom`.
    #[schemars(with = "String")]
    role: Role,
    #[schemars(with = "Vec<String>")]
    permissions: Permissions,
    /// `*` is all of them, and units without one.
    #[schemars(with = "Vec<String>")]
    namespaces: &'a Namespaces,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_from: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_root: bool,
}

impl<'a> Principal<'a> {
    pub(super) fn new(principal: &'a access::Principal, last_use: Option<LastUse>) -> Self {
        Self {
            id: &principal.id,
            name: &principal.name,
            key_prefix: &principal.key_prefix,
            role: principal.role,
            permissions: principal.rights.permissions,
            namespaces: &principal.rights.namespaces,
            created_at: time(principal.created_at),
            expires_at: principal.rights.expires_at.map(time),
            last_used_at: last_use.map(|used| time(used.at)),
            last_used_from: last_use.map(|used| used.from.to_string()),
            is_root: principal.is_root,
        }
    }
}
