//! Which namespaces a key reaches.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};

use crate::Namespace;

/// Most entries of one list: far more than any key needs.
const MOST: usize = 256;

/// The namespaces of a key: all with the unscoped units, or some.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// `["*"]`: every namespace, and units that have none.
    All,
    /// These alone. Never empty, and never a unit without a namespace.
    Some(SomeNamespaces),
}

/// At least one namespace, sorted, each once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SomeNamespaces(Arc<[Namespace]>);

/// Why a list is no list of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespacesError {
    /// A key that reaches nothing is a mistake.
    #[error("a list of namespaces cannot be empty; [\"*\"] is all of them")]
    Empty,
    /// More than any key needs.
    #[error("a list of namespaces has at most {MOST} entries")]
    TooMany,
    /// An entry is none.
    #[error(
        "a namespace is \"*\", or `@` and then letters, digits, `.`, `_` and `-`, as in \"@acme\""
    )]
    Malformed,
}

impl Namespaces {
    /// Reads a list as it is written in a request: `*` or `@scope` each, in any
    /// case, space around them trimmed. `*` beside others is all.
    ///
    /// # Errors
    /// The list is empty or too long, or an entry is neither.
    pub fn parse<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, NamespacesError> {
        let mut all = false;
        let mut some = BTreeSet::new();
        for (count, entry) in list.into_iter().enumerate() {
            if count == MOST {
                return Err(NamespacesError::TooMany);
            }
            match entry.trim() {
                "*" => all = true,
                name => {
                    let namespace = name.parse().map_err(|_| NamespacesError::Malformed)?;
                    some.insert(namespace);
                }
            }
        }
        match (all, some.is_empty()) {
            (true, _) => Ok(Self::All),
            (false, true) => Err(NamespacesError::Empty),
            (false, false) => Ok(Self::Some(SomeNamespaces(some.into_iter().collect()))),
        }
    }

    /// Whether a unit in `scope` is within reach; `None` is a unit without one.
    #[must_use]
    pub fn contain(&self, scope: Option<&Namespace>) -> bool {
        match (self, scope) {
            (Self::All, _) => true,
            (Self::Some(some), Some(scope)) => some.0.binary_search(scope).is_ok(),
            (Self::Some(_), None) => false,
        }
    }

    /// Whether both are limited to some, and have one in common.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Some(some), Self::Some(_)) => {
                some.0.iter().any(|scope| other.contain(Some(scope)))
            }
            (Self::All, _) | (_, Self::All) => false,
        }
    }

    /// Whether `other` reaches all that these do.
    #[must_use]
    pub fn are_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::Some(_)) => false,
            (Self::Some(some), Self::Some(_)) => {
                some.0.iter().all(|scope| other.contain(Some(scope)))
            }
        }
    }

    /// The entries, `*` for all.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (all, some) = match self {
            Self::All => (Some("*"), &[][..]),
            Self::Some(some) => (None, &*some.0),
        };
        all.into_iter().chain(some.iter().map(Namespace::as_str))
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for SomeNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.0).finish()
    }
}

impl Serialize for Namespaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
