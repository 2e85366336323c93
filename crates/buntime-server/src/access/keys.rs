//! Making, listing, rotating and revoking keys.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buntime_core::ApiKey;
use buntime_core::access::{
    Denied, Escalation, Grant, KeyId, Namespaces, Permission, Permissions, Principal, Rights, Role,
};

use super::tables::Key;
use super::{Access, Inner, random};
use crate::store::{Database, Digest, LastUse, OldSecret, StoreError, StoredKey};

/// Most keys of a server.
const MOST: usize = 10_000;
/// Most keys that reach any of the namespaces of a key which makes one more, unless that
/// reaches everything: by whomever they were made, and whoever of those is gone. So no
/// holder of a key of some namespaces can use up the server's.
pub(super) const MOST_IN_NAMESPACES: usize = 1000;

/// What a new key is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) name: Box<str>,
    pub(crate) role: Role,
    /// Those of the role, or as listed.
    pub(crate) permissions: Permissions,
    pub(crate) namespaces: Namespaces,
    pub(crate) expires_at: Option<SystemTime>,
}

/// A key with a new secret, which nobody can ask for again.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) secret: ApiKey,
    pub(crate) principal: Arc<Principal>,
    /// Until when the secret before it counts.
    pub(crate) old_until: Option<SystemTime>,
}

/// A key as others may see it.
#[derive(Debug)]
pub(crate) struct KeyView {
    pub(crate) principal: Arc<Principal>,
    pub(crate) last_use: Option<LastUse>,
    pub(crate) made_by: KeyId,
}

/// Why a key was not made, changed or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It would be wider than the key that asks.
    #[error(transparent)]
    Escalation(#[from] Escalation),
    /// It is outside what the key that asks may touch.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It was given by somebody with more power than the key that asks.
    #[error("the key was made by the root key, or may do more than the one that asks")]
    IsAbove,
    /// A key would revoke itself.
    #[error("a key cannot revoke itself")]
    IsSelf,
    /// There is no such key.
    #[error("there is no such key")]
    NotFound,
    /// The key that asks was revoked meanwhile.
    #[error("the key that asks is gone")]
    Gone,
    /// There are too many.
    #[error("a server has at most {MOST} keys")]
    TooMany,
    /// There are too many where the key that asks may make some.
    #[error("there are at most {MOST_IN_NAMESPACES} keys in the namespaces of this one")]
    TooManyInNamespaces,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random(#[from] getrandom::Error),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a job decides, beside what the store says of it.
type Decided<T> = Result<Result<T, KeyError>, StoreError>;

impl Access {
    /// Every key that lies within the namespaces of the one that asks, the oldest first.
    pub(crate) fn keys(&self, grant: &Grant) -> Vec<KeyView> {
        let reach = &grant.principal().rights.namespaces;
        let keys = self.0.keys.load();
        let mut views: Vec<KeyView> = keys
            .iter()
            .filter(|key| key.principal.rights.namespaces.are_within(reach))
            .map(|key| KeyView {
                principal: Arc::clone(&key.principal),
                last_use: key.usage.last(),
                made_by: key.made_by.clone(),
            })
            .collect();
        views.sort_by(|a, b| {
            let order = |view: &KeyView| (view.principal.created_at, view.principal.id.clone());
            order(a).cmp(&order(b))
        });
        views
    }

    /// The namespaces that the key `id` reaches.
    pub(crate) fn namespaces_of(&self, id: &KeyId) -> Option<Namespaces> {
        let key = self.0.key(id)?;
        Some(key.principal.rights.namespaces.clone())
    }

    /// Makes a key. It is on the disk and counts when this returns.
    pub(crate) async fn create(
        &self,
        grant: &Grant,
        new: NewKey,
        now: SystemTime,
    ) -> Result<Created, KeyError> {
        needs(grant, Permission::KeysCreate)?;
        let maker = Arc::clone(grant.principal());
        let rights = Rights {
            permissions: new.permissions,
            namespaces: new.namespaces,
            expires_at: new.expires_at,
        };
        rights.are_within(&maker.rights)?;
        let secret = ApiKey::from_random(&*random()?);
        let id = uuid::Uuid::new_v4().to_string();
        let stored = StoredKey {
            principal: Principal {
                id: id.parse().map_err(|_| KeyError::NotFound)?,
                name: new.name,
                key_prefix: secret.prefix().into(),
                role: new.role,
                rights,
                created_at: now,
                is_root: false,
            },
            secret: Digest::of(secret.expose().as_bytes()),
            old: None,
            made_by: maker.id.clone(),
            last_use: None,
        };
        let principal = self
            .decide(move |inner, database| {
                inner.still_there(&maker, now)?;
                inner.has_room_for(&maker)?;
                database.insert_key(&stored)?;
                let key = Arc::new(Key::new(stored));
                let principal = Arc::clone(&key.principal);
                inner.keys.store(Arc::new(inner.keys.load().with(key)));
                Ok(principal)
            })
            .await?;
        Ok(Created {
            secret,
            principal,
            old_until: None,
        })
    }

    /// Gives a key another secret; the one before it counts for `grace` more. Its
    /// sessions end.
    pub(crate) async fn rotate(
        &self,
        grant: &Grant,
        id: &KeyId,
        grace: Duration,
        now: SystemTime,
    ) -> Result<Created, KeyError> {
        needs(grant, Permission::KeysCreate)?;
        let (caller, id) = (Arc::clone(grant.principal()), id.clone());
        let secret = ApiKey::from_random(&*random()?);
        let (digest, prefix) = (
            Digest::of(secret.expose().as_bytes()),
            Box::from(secret.prefix()),
        );
        let (principal, old_until) = self
            .decide(move |inner, database| {
                inner.still_there(&caller, now)?;
                let key = inner.touchable(&caller, &id)?;
                // Who gets the secret can do what the key can.
                key.principal.rights.are_within(&caller.rights)?;
                let old = (!grace.is_zero()).then(|| OldSecret {
                    digest: key.secret,
                    until: now + grace,
                });
                let mut principal = Principal::clone(&key.principal);
                principal.key_prefix = prefix;
                let stored = StoredKey {
                    principal,
                    secret: digest,
                    old,
                    made_by: key.made_by.clone(),
                    last_use: None,
                };
                database.rotate_key(&stored)?;
                let key = Arc::new(Key {
                    usage: Arc::clone(&key.usage),
                    ..Key::new(stored)
                });
                let principal = Arc::clone(&key.principal);
                inner.keys.store(Arc::new(inner.keys.load().with(key)));
                inner.end_sessions_of(&id);
                Ok((principal, old.map(|old| old.until)))
            })
            .await?;
        Ok(Created {
            secret,
            principal,
            old_until,
        })
    }

    /// Revokes a key, and ends its sessions. It opens nothing more when this returns,
    /// nor after a crash.
    pub(crate) async fn revoke(
        &self,
        grant: &Grant,
        id: &KeyId,
        now: SystemTime,
    ) -> Result<(), KeyError> {
        needs(grant, Permission::KeysRevoke)?;
        let (caller, id) = (Arc::clone(grant.principal()), id.clone());
        if caller.id == id {
            return Err(KeyError::IsSelf);
        }
        self.decide(move |inner, database| {
            inner.still_there(&caller, now)?;
            inner.touchable(&caller, &id)?;
            database.delete_key(&id)?;
            inner.keys.store(Arc::new(inner.keys.load().without(&id)));
            inner.end_sessions_of(&id);
            Ok(())
        })
        .await
    }

    /// Runs a decision and the change that follows from it in one job: no other change
    /// of keys comes between the two.
    async fn decide<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner, &mut dyn Database) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let inner = Arc::clone(&self.0);
        let run = move |database: &mut dyn Database| -> Decided<T> {
            match job(&inner, database) {
                Err(KeyError::Store(error)) => Err(error),
                decided => Ok(decided),
            }
        };
        self.0.store.run(run).await?
    }
}

impl Inner {
    /// Whether `maker` may make one more.
    fn has_room_for(&self, maker: &Principal) -> Result<(), KeyError> {
        let keys = self.keys.load();
        if keys.len() >= MOST {
            return Err(KeyError::TooMany);
        }
        let reach = &maker.rights.namespaces;
        let beside = keys.iter().map(|key| &key.principal.rights.namespaces);
        match beside.filter(|other| other.meet(reach)).count() {
            MOST_IN_NAMESPACES.. => Err(KeyError::TooManyInNamespaces),
            _ => Ok(()),
        }
    }

    /// A key that was revoked while its request waited changes nothing any more.
    fn still_there(&self, caller: &Principal, now: SystemTime) -> Result<(), KeyError> {
        let key = self.key(&caller.id).ok_or(KeyError::Gone)?;
        if key.principal.has_expired(now) {
            return Err(KeyError::Gone);
        }
        Ok(())
    }

    /// The key `id`, if `caller` may take it away from its holder. Who is limited to
    /// namespaces is told the same of a key outside them and of one that is not there.
    fn touchable(&self, caller: &Principal, id: &KeyId) -> Result<Arc<Key>, KeyError> {
        let keys = self.keys.load();
        let reach = &caller.rights.namespaces;
        let is_everywhere = matches!(reach, Namespaces::All);
        let Some(key) = keys.by_id(id) else {
            return Err(match is_everywhere {
                true => KeyError::NotFound,
                false => Denied::Namespace.into(),
            });
        };
        let rights = &key.principal.rights;
        if !rights.namespaces.are_within(reach) {
            return Err(Denied::Namespace.into());
        }
        let is_itself = caller.id == *id;
        let given_from_above = key.made_by == KeyId::root() && !is_everywhere;
        let can_more = !rights.permissions.is_within(caller.rights.permissions);
        if !is_itself && (given_from_above || can_more) {
            return Err(KeyError::IsAbove);
        }
        Ok(Arc::clone(key))
    }

    fn end_sessions_of(&self, id: &KeyId) {
        let sessions = self.sessions.load();
        self.sessions.store(Arc::new(sessions.without_key(id)));
    }
}

/// The handler was given the grant by its route: this holds the two together.
fn needs(grant: &Grant, permission: Permission) -> Result<(), Denied> {
    if grant.permission() == permission {
        Ok(())
    } else {
        Err(Denied::Permission(permission))
    }
}
