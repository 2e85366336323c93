//! Keys and sessions in memory. A table does not change: a change makes the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use buntime_core::access::{KeyId, Namespaces, Principal};

use super::usage::Usage;
use super::{Now, sessions};
use crate::store::{Digest, OldSecret, StoredKey, StoredSession};

/// A key, root key included.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) principal: Arc<Principal>,
    pub(super) secret: Digest,
    pub(super) old: Option<OldSecret>,
    pub(super) made_by: KeyId,
    pub(super) usage: Arc<Usage>,
}

impl Key {
    pub(super) fn root(secret: Digest) -> Self {
        Self {
            principal: Arc::new(Principal::root(SystemTime::now())),
            secret,
            old: None,
            made_by: KeyId::root(),
            usage: Arc::default(),
        }
    }

    pub(super) fn new(stored: StoredKey) -> Self {
        Self {
            principal: Arc::new(stored.principal),
            secret: stored.secret,
            old: stored.old,
            made_by: stored.made_by,
            usage: Arc::new(Usage::since(stored.last_use)),
        }
    }

    /// Whether the secret with this hash opens it now.
    pub(super) fn opens_with(&self, digest: &Digest, now: SystemTime) -> bool {
        let by_old = |old: &OldSecret| old.digest == *digest && now < old.until;
        (self.secret == *digest || self.old.as_ref().is_some_and(by_old))
            && !self.principal.has_expired(now)
    }
}

/// Every key but the root key.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    by_id: HashMap<KeyId, Arc<Key>>,
    /// By the secret and by the one before it.
    by_digest: HashMap<Digest, Arc<Key>>,
}

impl Keys {
    pub(super) fn new(stored: Vec<StoredKey>) -> Self {
        let mut keys = Self::default();
        for key in stored {
            keys.put(Arc::new(Key::new(key)));
        }
        keys
    }

    fn put(&mut self, key: Arc<Key>) {
        self.take(&key.principal.id);
        let old = key.old.as_ref().map(|old| old.digest);
        for digest in [Some(key.secret), old].into_iter().flatten() {
            self.by_digest.insert(digest, Arc::clone(&key));
        }
        self.by_id.insert(key.principal.id.clone(), key);
    }

    fn take(&mut self, id: &KeyId) {
        if self.by_id.remove(id).is_some() {
            self.by_digest.retain(|_, key| key.principal.id != *id);
        }
    }

    /// These and `key`, in the place of one with its id.
    pub(super) fn with(&self, key: Arc<Key>) -> Self {
        let mut keys = self.clone();
        keys.put(key);
        keys
    }

    pub(super) fn without(&self, id: &KeyId) -> Self {
        let mut keys = self.clone();
        keys.take(id);
        keys
    }

    pub(super) fn by_digest(&self, digest: &Digest) -> Option<&Arc<Key>> {
        self.by_digest.get(digest)
    }

    pub(super) fn by_id(&self, id: &KeyId) -> Option<&Arc<Key>> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

/// A session of somebody who logged in with a key.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: Arc<Key>,
    pub(super) created_at: SystemTime,
    expires_at: SystemTime,
    /// The same by the steady clock.
    deadline: Instant,
    /// What the times below count from.
    epoch: Instant,
    /// Seconds from the epoch to the last request.
    seen: AtomicU64,
    is_news: AtomicBool,
}

impl Session {
    pub(super) fn new(key: Arc<Key>, lasts: Duration, now: Now) -> Self {
        Self {
            key,
            created_at: now.wall,
            expires_at: now.wall + lasts,
            deadline: now.steady + lasts,
            epoch: now.steady,
            seen: AtomicU64::new(0),
            is_news: AtomicBool::new(false),
        }
    }

    /// One that was begun before the server was; nothing if it has ended since.
    fn restore(stored: &StoredSession, key: Arc<Key>, now: Now) -> Option<Self> {
        let left = stored.expires_at.duration_since(now.wall).ok()?;
        // The clock may stand before the last request now: then it was just here.
        let idle = now.wall.duration_since(stored.seen_at).unwrap_or_default();
        let epoch = now.steady.checked_sub(idle)?;
        Some(Self {
            key,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            deadline: now.steady + left,
            epoch,
            seen: AtomicU64::new(0),
            is_news: AtomicBool::new(false),
        })
    }

    pub(super) fn is_alive(&self, now: Now) -> bool {
        now.wall < self.expires_at
            && now.steady < self.deadline
            && self.idle(now.steady) < sessions::IDLE
            && !self.key.principal.has_expired(now.wall)
    }

    fn idle(&self, now: Instant) -> Duration {
        let seen = Duration::from_secs(self.seen.load(Ordering::Relaxed));
        now.saturating_duration_since(self.epoch + seen)
    }

    pub(super) fn seen(&self, now: Instant) {
        let second = now.saturating_duration_since(self.epoch).as_secs();
        if self.seen.fetch_max(second, Ordering::Relaxed) < second {
            self.is_news.store(true, Ordering::Release);
        }
    }
}

/// Every session.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(HashMap<Digest, Arc<Session>>);

impl Sessions {
    /// Those of keys that are still there.
    pub(super) fn restore(
        stored: Vec<StoredSession>,
        root: &Arc<Key>,
        keys: &Keys,
        now: Now,
    ) -> Self {
        let restored = stored.into_iter().filter_map(|stored| {
            let key = match &stored.key {
                Some(id) => keys.by_id(id)?,
                None => root,
            };
            let session = Session::restore(&stored, Arc::clone(key), now)?;
            Some((stored.digest, Arc::new(session)))
        });
        Self(restored.collect())
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&Arc<Session>> {
        self.0.get(digest)
    }

    pub(super) fn with(&self, digest: Digest, session: Arc<Session>) -> Self {
        let mut sessions = self.clone();
        sessions.0.insert(digest, session);
        sessions
    }

    pub(super) fn without(&self, ended: &[Digest]) -> Self {
        let mut sessions = self.clone();
        sessions.0.retain(|digest, _| !ended.contains(digest));
        sessions
    }

    pub(super) fn without_key(&self, id: &KeyId) -> Self {
        let mut sessions = self.clone();
        sessions
            .0
            .retain(|_, session| session.key.principal.id != *id);
        sessions
    }

    /// Those that must end before one more of `key` fits. Who has keys of some namespaces
    /// ends sessions of these namespaces before anybody else's.
    pub(super) fn in_the_way(&self, key: &Principal) -> Vec<Digest> {
        let reach = &key.rights.namespaces;
        let oldest = |most: usize, counts: &dyn Fn(&Principal) -> bool| {
            let counted = self.0.iter();
            let counted = counted.filter(|(_, session)| counts(&session.key.principal));
            let count = counted.clone().count();
            let oldest = counted.min_by_key(|(_, session)| session.created_at);
            oldest.filter(|_| count >= most).map(|(digest, _)| *digest)
        };
        let is_full = self.0.len() >= sessions::MOST;
        let most_if_full = if is_full { 1 } else { usize::MAX };
        let one = oldest(sessions::MOST_OF_A_KEY, &|other| other.id == key.id)
            .or_else(|| {
                let meets = |other: &Principal| other.rights.namespaces.meet(reach);
                oldest(sessions::MOST_IN_NAMESPACES, &meets)
            })
            .or_else(|| {
                let is_of_some =
                    |other: &Principal| matches!(other.rights.namespaces, Namespaces::Some(_));
                oldest(most_if_full, &is_of_some)
            })
            .or_else(|| oldest(most_if_full, &|_| true));
        one.into_iter().collect()
    }

    /// The sessions that were used since this was last asked, with the time of that;
    /// and those that have ended.
    pub(super) fn news(&self, now: Now) -> (Vec<(Digest, SystemTime)>, Vec<Digest>) {
        let (mut seen, mut ended) = (Vec::new(), Vec::new());
        for (digest, session) in &self.0 {
            if !session.is_alive(now) {
                ended.push(*digest);
            } else if session.is_news.swap(false, Ordering::AcqRel) {
                seen.push((*digest, now.wall - session.idle(now.steady)));
            }
        }
        (seen, ended)
    }
}
