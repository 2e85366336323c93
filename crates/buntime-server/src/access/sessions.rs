//! Logging in and out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::access::Principal;
use zeroize::Zeroizing;

use super::tables::{Key, Session};
use super::{Access, Now, random};
use crate::message::Caller;
use crate::store::{Digest, StoreError, StoredSession};

/// A session without requests ends after this.
pub(super) const IDLE: Duration = Duration::from_secs(8 * 60 * 60);
/// Most sessions of one key; one more ends the oldest.
pub(super) const MOST_OF_A_KEY: usize = 16;
/// Most sessions of keys that reach any of the namespaces of a key with which one more
/// begins, unless that reaches everything; the oldest of them ends.
pub(super) const MOST_IN_NAMESPACES: usize = 512;
/// Most sessions in all; the oldest of a key of some namespaces ends, else the oldest.
pub(super) const MOST: usize = 4096;

/// A session that has begun.
#[derive(Debug)]
pub(crate) struct Login {
    /// The cookie's value: the one copy of it.
    pub(crate) token: Zeroizing<String>,
    pub(crate) principal: Arc<Principal>,
    /// How long the session lasts at most.
    pub(crate) lasts: Duration,
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// There is no such key, or it has expired.
    #[error("the key is not valid")]
    WrongKey,
    /// Too many failures came from there.
    #[error("too many failures from there")]
    Throttled(Duration),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random(#[source] getrandom::Error),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Begins a session with a key's secret.
    pub(crate) async fn log_in(
        &self,
        secret: &[u8],
        from: &Caller,
        now: Now,
    ) -> Result<Login, LoginError> {
        if let Some(wait) = self.0.throttle.lock().wait(from, now.steady) {
            return Err(LoginError::Throttled(wait));
        }
        let Some(key) = self.0.by_secret(secret, now.wall) else {
            self.0.throttle.lock().failed(from, now.steady);
            return Err(LoginError::WrongKey);
        };
        let address = match from {
            Caller::Address(address) => *address,
            Caller::Worker(_) => Ipv4Addr::LOCALHOST.into(),
        };
        key.usage.note(now.wall, address);
        let token = token().map_err(LoginError::Random)?;
        let principal = Arc::clone(&key.principal);
        let lasts = match principal.rights.expires_at {
            Some(expiry) => expiry.duration_since(now.wall).unwrap_or_default(),
            None => Duration::MAX,
        };
        let lasts = lasts.min(self.0.session_ttl);
        let is_root = principal.is_root;
        let digest = digest(token.as_bytes(), is_root.then_some(&self.0.root));
        let inner = Arc::clone(&self.0);
        let begin = move |database: &mut dyn crate::store::Database| {
            // The key may have been revoked or rotated while this waited its turn.
            let current = inner.key(&key.principal.id);
            if !current.is_some_and(|current| Arc::ptr_eq(&current, &key)) {
                return Ok(false);
            }
            let stored = StoredSession {
                digest,
                key: (!is_root).then(|| key.principal.id.clone()),
                created_at: now.wall,
                expires_at: now.wall + lasts,
                seen_at: now.wall,
            };
            let sessions = inner.sessions.load();
            let instead_of = sessions.in_the_way(&key.principal);
            database.insert_session(&stored, &instead_of)?;
            let session = Arc::new(Session::new(key, lasts, now));
            let sessions = sessions.without(&instead_of).with(digest, session);
            inner.sessions.store(Arc::new(sessions));
            Ok(true)
        };
        if !self.0.store.run(begin).await? {
            return Err(LoginError::WrongKey);
        }
        Ok(Login {
            token,
            principal,
            lasts,
        })
    }

    /// Ends the session with this token, if there is one.
    pub(crate) async fn log_out(&self, token: &[u8]) -> Result<(), StoreError> {
        let digests = [digest(token, None), digest(token, Some(&self.0.root))];
        let sessions = self.0.sessions.load();
        if !digests.iter().any(|digest| sessions.get(digest).is_some()) {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        self.0
            .store
            .run(move |database| {
                // Even if the disk is full, nobody is to use it any more.
                inner.forget(&digests);
                database.delete_sessions(&digests)
            })
            .await
    }
}

/// What is kept of a session's token. That of the root key's sessions is bound to the
/// root key, so that another root key ends them, without a trace of it being stored.
pub(super) fn digest(token: &[u8], root: Option<&Arc<Key>>) -> Digest {
    match root {
        None => Digest::of(token),
        Some(root) => Digest::of_parts(&[b"root", root.secret.as_bytes(), token]),
    }
}

/// 256 random bits in hexadecimal.
fn token() -> Result<Zeroizing<String>, getrandom::Error> {
    let bits = random()?;
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bits.iter() {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    Ok(text)
}
