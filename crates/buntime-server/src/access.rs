//! Which key a request brings, and whose it is (contract section 7).
//!
//! All keys and sessions are in memory, in tables that requests read without a lock;
//! they change only in jobs of the [`Store`], after the change is on the disk. A
//! secret is looked up by its SHA-256 and kept nowhere.
//!
//! A credential in a header decides alone, even beside a cookie. Expiry is by the wall
//! clock at the moment of the check; sessions end by the steady clock too, so that
//! turning the clock back does not lengthen them.

mod credential;
mod keys;
mod root;
mod sessions;
mod tables;
#[cfg(test)]
mod tests;
mod throttle;
mod usage;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use buntime_core::ApiKey;
use buntime_core::access::{KeyId, Principal};
use buntime_http::HeaderList;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::credential::Credential;
pub(crate) use self::keys::{Created, KeyError, NewKey};
pub use self::root::RootKeyError;
pub(crate) use self::sessions::LoginError;
use self::tables::{Key, Keys, Session, Sessions};
use self::throttle::Throttle;
use crate::config::Secret;
use crate::gate::session as cookie;
use crate::logging::Logger;
use crate::message::{Request, Scheme};
use crate::store::{Digest, LastUse, Store, StoreError};

/// Longest secret that is looked at: that of a root key.
const SECRET_MAX: usize = 256;
/// How often it is written when keys were last used.
const WRITE_USES: Duration = Duration::from_secs(60);

/// What time it is. Taken once for each request, and handed on, so that tests can say
/// what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// What people call the time. May jump.
    pub(crate) wall: SystemTime,
    /// What never goes back.
    pub(crate) steady: Instant,
}

impl Now {
    /// What it is.
    pub(crate) fn read() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}

/// The keys and sessions that there are. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    root: Arc<Key>,
    keys: ArcSwap<Keys>,
    sessions: ArcSwap<Sessions>,
    throttle: Mutex<Throttle>,
    session_ttl: Duration,
    log: Logger,
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The root key cannot be read or made.
    #[error(transparent)]
    Root(#[from] RootKeyError),
    /// The database could not be read.
    #[error("the keys cannot be read: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What decides over the root key and the sessions.
#[derive(Debug)]
pub(crate) struct AccessConfig<'a> {
    pub(crate) state_dir: &'a Path,
    pub(crate) root_key: Option<&'a Secret>,
    pub(crate) session_ttl: Duration,
}

impl Access {
    /// Reads all keys and sessions; makes a root key if there is none.
    ///
    /// # Errors
    /// The root key is unusable, or the store does not answer.
    pub(crate) async fn load(
        config: AccessConfig<'_>,
        store: Store,
        log: Logger,
    ) -> Result<Self, AccessError> {
        let secret = root::obtain(config.state_dir, config.root_key, &log)?;
        let root = Arc::new(Key::root(Digest::of(secret.expose().as_bytes())));
        drop(secret);
        let failed = |error: StoreError| AccessError::Store(Box::new(error));
        let (keys, sessions) = store
            .run(|database| Ok((database.keys()?, database.sessions()?)))
            .await
            .map_err(failed)?;
        for problem in keys.corrupt.iter().chain(&sessions.corrupt) {
            log.error("access", problem, |_| {});
        }
        let keys = Keys::new(keys.rows);
        let sessions = Sessions::restore(sessions.rows, &root, &keys, Now::read());
        Ok(Self(Arc::new(Inner {
            store,
            root,
            keys: ArcSwap::from_pointee(keys),
            sessions: ArcSwap::from_pointee(sessions),
            throttle: Mutex::new(Throttle::default()),
            session_ttl: config.session_ttl,
            log,
        })))
    }

    /// With a root key alone, for tests.
    #[cfg(test)]
    pub(crate) fn for_tests(root_key: &str) -> Self {
        let (log, _) = Logger::capture();
        Self(Arc::new(Inner {
            store: Store::in_memory(),
            root: Arc::new(Key::root(Digest::of(root_key.as_bytes()))),
            keys: ArcSwap::default(),
            sessions: ArcSwap::default(),
            throttle: Mutex::default(),
            session_ttl: Duration::from_secs(24 * 60 * 60),
            log,
        }))
    }

    /// Whose credential a request brings: a header's, else the session's.
    /// `from` is the client's address, which is noted.
    pub(crate) fn authenticate(&self, request: &Request, from: IpAddr) -> Option<Arc<Principal>> {
        let scheme = request.peer.scheme_of(&request.headers);
        self.authenticate_headers(&request.headers, scheme, from)
    }

    /// The same for the headers alone, of a request that is long answered and whose
    /// response still goes on. `scheme`: by which the client asked.
    pub(crate) fn authenticate_headers(
        &self,
        headers: &HeaderList,
        scheme: Scheme,
        from: IpAddr,
    ) -> Option<Arc<Principal>> {
        let now = Now::read();
        let key = match Credential::of(headers) {
            Credential::Secret(secret) => self.0.by_secret(secret, now.wall)?,
            Credential::Refused => return None,
            Credential::None => {
                let token = cookie::token(headers, scheme)?;
                self.0.by_token(token, now)?
            }
        };
        key.usage.note(now.wall, from);
        Some(Arc::clone(&key.principal))
    }

    /// Takes headers that hold a valid credential of this server out of what is sent to
    /// an app. An app's own tokens stay.
    pub(crate) fn withhold(&self, headers: &mut HeaderList) {
        if !credential::may_be_in(headers) {
            return;
        }
        let now = SystemTime::now();
        headers.retain(|header| {
            let secret = credential::of_header(&header);
            secret.is_none_or(|secret| self.0.by_secret(secret, now).is_none())
        });
    }

    /// When and from where a key was last used.
    pub(crate) fn last_use(&self, principal: &Principal) -> Option<LastUse> {
        self.0.key(&principal.id)?.usage.last()
    }

    /// Writes once a minute what was used, and forgets the sessions that have ended,
    /// until `stop`; then once more.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let mut minutes = tokio::time::interval(WRITE_USES);
        minutes.tick().await;
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                _ = minutes.tick() => false,
            };
            // A full disk, say. What was not written now is by then told by later uses.
            if let Err(error) = self.write_uses(Now::read()).await {
                self.0.log.warn(
                    "access",
                    "The last uses of keys could not be written",
                    |fields| {
                        fields.error(&error);
                    },
                );
            }
            if stopped {
                return;
            }
        }
    }

    async fn write_uses(&self, now: Now) -> Result<(), StoreError> {
        let keys: Vec<(KeyId, LastUse)> = self
            .0
            .keys
            .load()
            .iter()
            .filter_map(|key| Some((key.principal.id.clone(), key.usage.take_news()?)))
            .collect();
        let (seen, ended) = self.0.sessions.load().news(now);
        if keys.is_empty() && seen.is_empty() && ended.is_empty() {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        self.0
            .store
            .run(move |database| {
                inner.forget(&ended);
                database.delete_sessions(&ended)?;
                database.note_uses(&keys, &seen)
            })
            .await
    }
}

impl Inner {
    /// The key with this secret, if it counts now. No database is asked, and no table
    /// either if the checksum is wrong.
    fn by_secret(&self, secret: &[u8], now: SystemTime) -> Option<Arc<Key>> {
        if secret.len() > SECRET_MAX {
            return None;
        }
        let digest = Digest::of(secret);
        if digest == self.root.secret {
            return Some(Arc::clone(&self.root));
        }
        if !ApiKey::is_well_formed(secret) {
            return None;
        }
        let keys = self.keys.load();
        let key = keys.by_digest(&digest)?;
        key.opens_with(&digest, now).then(|| Arc::clone(key))
    }

    /// The key whose session has this token, if both count now.
    fn by_token(&self, token: &[u8], now: Now) -> Option<Arc<Key>> {
        if token.len() > SECRET_MAX {
            return None;
        }
        let sessions = self.sessions.load();
        let session: &Arc<Session> = sessions
            .get(&sessions::digest(token, None))
            .or_else(|| sessions.get(&sessions::digest(token, Some(&self.root))))?;
        if !session.is_alive(now) {
            return None;
        }
        session.seen(now.steady);
        Some(Arc::clone(&session.key))
    }

    fn key(&self, id: &KeyId) -> Option<Arc<Key>> {
        if *id == self.root.principal.id {
            return Some(Arc::clone(&self.root));
        }
        self.keys.load().by_id(id).cloned()
    }

    /// Takes sessions out of the table. Only in a job of the store.
    fn forget(&self, ended: &[Digest]) {
        if !ended.is_empty() {
            let sessions = self.sessions.load();
            self.sessions.store(Arc::new(sessions.without(ended)));
        }
    }
}

/// 32 random bytes of the system.
fn random() -> Result<zeroize::Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(bytes)
}
