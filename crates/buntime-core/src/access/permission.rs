//! Permissions and the roles that bundle them.

use std::fmt;
use std::str::FromStr;

use serde::ser::{Serialize, Serializer};

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// See workers, their files, releases, logs, metrics.
    WorkersRead,
    /// Deploy, roll back, enable and disable workers, write their files.
    WorkersInstall,
    /// Remove workers and their files.
    WorkersRemove,
    /// Restart workers.
    WorkersRestart,
    /// See plugins and their files.
    PluginsRead,
    /// Deploy, reload, enable and disable plugins, write their files.
    PluginsInstall,
    /// Remove plugins and their files.
    PluginsRemove,
    /// Change plugins' settings.
    PluginsConfig,
    /// See keys and the audit log.
    KeysRead,
    /// Make and rotate keys.
    KeysCreate,
    /// Revoke keys.
    KeysRevoke,
}

/// Why a text is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such permission; there are workers:read|install|remove|restart, plugins:read|install|remove|config and keys:read|create|revoke"
)]
pub struct PermissionError;

impl Permission {
    /// All there are, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::WorkersRead,
        Self::WorkersInstall,
        Self::WorkersRemove,
        Self::WorkersRestart,
        Self::PluginsRead,
        Self::PluginsInstall,
        Self::PluginsRemove,
        Self::PluginsConfig,
        Self::KeysRead,
        Self::KeysCreate,
        Self::KeysRevoke,
    ];

    /// As it is written: `workers:read`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkersRead => "workers:read",
            Self::WorkersInstall => "workers:install",
            Self::WorkersRemove => "workers:remove",
            Self::WorkersRestart => "workers:restart",
            Self::PluginsRead => "plugins:read",
            Self::PluginsInstall => "plugins:install",
            Self::PluginsRemove => "plugins:remove",
            Self::PluginsConfig => "plugins:config",
            Self::KeysRead => "keys:read",
            Self::KeysCreate => "keys:create",
            Self::KeysRevoke => "keys:revoke",
        }
    }

    /// Whether holders can only look.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::WorkersRead | Self::PluginsRead | Self::KeysRead)
    }

    /// Whether it is about keys.
    const fn is_of_keys(self) -> bool {
        matches!(self, Self::KeysRead | Self::KeysCreate | Self::KeysRevoke)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or(PermissionError)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u16);

impl Permissions {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// Every one.
    #[must_use]
    pub fn all() -> Self {
        Permission::ALL.into_iter().collect()
    }

    /// Whether `permission` is one of them.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether `other` has all of these.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .into_iter()
            .filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let bits = permissions.into_iter().map(Permission::bit);
        Self(bits.fold(0, |set, bit| set | bit))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(Permission::as_str))
            .finish()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Permission::as_str))
    }
}

/// A name for a set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but keys.
    Editor,
    /// Every `:read`.
    Viewer,
    /// As listed.
    Custom,
}

/// Why a text is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such role; there are admin, editor, viewer and custom")]
pub struct RoleError;

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Editor, Self::Viewer, Self::Custom];

    /// As it is written: `admin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::Custom => "custom",
        }
    }

    /// What the role brings; `None` for [`Role::Custom`], whose keys list theirs.
    #[must_use]
    pub fn permissions(self) -> Option<Permissions> {
        let those = |keep: fn(Permission) -> bool| {
            Permission::ALL
                .into_iter()
                .filter(|permission| keep(*permission))
                .collect()
        };
        match self {
            Self::Admin => Some(Permissions::all()),
            Self::Editor => Some(those(|permission| !permission.is_of_keys())),
            Self::Viewer => Some(those(Permission::only_reads)),
            Self::Custom => None,
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(RoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
