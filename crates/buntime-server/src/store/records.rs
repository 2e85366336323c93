//! What is stored, as types.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::SystemTime;

use buntime_core::access::{KeyId, Principal};
use buntime_core::{PackageName, Version};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of a secret: all that is ever stored of one. Two are compared in constant
/// time.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The hash of `secret`.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self::of_parts(&[secret])
    }

    /// The hash of `parts`, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// One that was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// Rows that could be read, and what is wrong with the others. A row that cannot be
/// read is as if it were not there, save that somebody is told.
#[derive(Debug)]
pub struct Rows<T> {
    /// What could be read.
    pub rows: Vec<T>,
    /// One sentence for each, which names the row and holds nothing secret.
    pub corrupt: Vec<String>,
}

/// When and from where something was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: SystemTime,
    /// The client's address.
    pub from: IpAddr,
}

/// The secret that a key had before, and until when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldSecret {
    /// Its hash.
    pub digest: Digest,
    /// Until when it counts.
    pub until: SystemTime,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Who it is. Never the root key.
    pub principal: Principal,
    /// The hash of its secret.
    pub secret: Digest,
    /// The secret before the last rotation.
    pub old: Option<OldSecret>,
    /// The key that made it.
    pub made_by: KeyId,
    /// When it was last used, as far as that was written.
    pub last_use: Option<LastUse>,
}

/// A session. Its token is in no way to be had from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// The hash of its token.
    pub digest: Digest,
    /// The key that began it; `None` is the root key.
    pub key: Option<KeyId>,
    /// When it began.
    pub created_at: SystemTime,
    /// When it ends at the latest.
    pub expires_at: SystemTime,
    /// The last request in it, as far as that was written.
    pub seen_at: SystemTime,
}

/// What the operator said of a unit. It counts more than the manifest's `enabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// The unit.
    pub name: PackageName,
    /// `None`: a plugin, which has no version.
    pub version: Option<Version>,
    /// What was said.
    pub enabled: bool,
}

/// A release that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRelease {
    /// The worker.
    pub name: PackageName,
    /// The version that was deployed.
    pub version: Version,
    /// When.
    pub created_at: SystemTime,
    /// By which key.
    pub key: KeyId,
    /// The key's name then: the key may be gone when somebody reads this.
    pub key_name: Box<str>,
    /// What the deployer said of it.
    pub message: Option<Box<str>>,
    /// SHA-256 of the archive, which is its name in `releases/`.
    pub sha256: [u8; 32],
    /// Of the archive, in bytes.
    pub size: u64,
    /// The archive's format.
    pub kind: Box<str>,
    /// The number of the release that this one went back to.
    pub rollback_of: Option<u64>,
    /// How the other versions of the worker stood when this one was deployed.
    pub beside: Stand,
}

/// Versions of a worker, and the releases whose content they have.
pub type Stand = BTreeMap<Version, u64>;

/// A release that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Counts from 1 for each worker. A number is not used twice while any release of
    /// the worker is kept.
    pub number: u64,
    /// What it is.
    pub what: NewRelease,
}

#[cfg(test)]
impl NewRelease {
    /// One with something in every field.
    pub(crate) fn for_tests() -> Self {
        Self {
            name: PackageName::try_from("x").unwrap(),
            version: Version::try_from("1.0.0").unwrap(),
            created_at: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000),
            key: KeyId::root(),
            key_name: "root".into(),
            message: Some("why".into()),
            sha256: [7; 32],
            size: 42,
            kind: "tgz".into(),
            rollback_of: Some(1),
            beside: Stand::from([(Version::Latest, 3)]),
        }
    }
}
