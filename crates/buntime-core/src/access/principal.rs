//! Who asks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::ser::{Serialize, Serializer};

use super::namespaces::Namespaces;
use super::permission::{Permission, Permissions, Role};
use crate::Namespace;

/// The name of a key for the server: what URLs, the store and the audit log call
/// it. Says nothing about its secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

/// Why a text is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's id is 1 to 64 letters, digits and `-`")]
pub struct KeyIdError;

impl KeyId {
    /// The id of the root key, which is no key of the store.
    #[must_use]
    pub fn root() -> Self {
        Self("root".into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| Self(text.into())).ok_or(KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a key opens, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// What it may do.
    pub permissions: Permissions,
    /// Where.
    pub namespaces: Namespaces,
    /// Until when, by the wall clock; `None`: for ever.
    pub expires_at: Option<SystemTime>,
}

/// Why a key would be wider than the one that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Escalation {
    /// It could do what its maker cannot.
    #[error("a key cannot give permissions that it does not have")]
    Permissions,
    /// It would reach where its maker does not.
    #[error("a key cannot give namespaces that it does not reach")]
    Namespaces,
    /// It would outlive its maker.
    #[error("a key cannot make one that expires later than itself")]
    Expiry,
}

impl Rights {
    /// Whether these are no wider than `maker`'s.
    ///
    /// # Errors
    /// In what they are wider.
    pub fn are_within(&self, maker: &Self) -> Result<(), Escalation> {
        if !self.permissions.is_within(maker.permissions) {
            return Err(Escalation::Permissions);
        }
        if !self.namespaces.are_within(&maker.namespaces) {
            return Err(Escalation::Namespaces);
        }
        match (self.expires_at, maker.expires_at) {
            (_, None) => Ok(()),
            (Some(expiry), Some(maker)) if expiry <= maker => Ok(()),
            (_, Some(_)) => Err(Escalation::Expiry),
        }
    }
}

/// Who asks: a key, or the root key. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its name for the server.
    pub id: KeyId,
    /// Its name for people.
    pub name: Box<str>,
    /// The first 12 characters of the secret, so that people know which key it is.
    pub key_prefix: Box<str>,
    /// The role that it was made with.
    pub role: Role,
    /// What it opens.
    pub rights: Rights,
    /// When it was made.
    pub created_at: SystemTime,
    /// Whether it is the root key, which passes always.
    pub is_root: bool,
}

impl Principal {
    /// The operator's root key: everything, everywhere, for ever.
    #[must_use]
    pub fn root(created_at: SystemTime) -> Self {
        Self {
            id: KeyId::root(),
            name: "root".into(),
            key_prefix: "root".into(),
            role: Role::Admin,
            rights: Rights {
                permissions: Permissions::all(),
                namespaces: Namespaces::All,
                expires_at: None,
            },
            created_at,
            is_root: true,
        }
    }

    /// Whether it has expired at `now`.
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.rights.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// Whether units of `scope` are within reach; `None`: those without one.
    #[must_use]
    pub fn sees(&self, scope: Option<&Namespace>) -> bool {
        self.is_root || self.rights.namespaces.contain(scope)
    }

    /// Whether it may do what `permission` names, somewhere.
    #[must_use]
    pub fn has(&self, permission: Permission) -> bool {
        self.rights.permissions.contains(permission)
    }
}
