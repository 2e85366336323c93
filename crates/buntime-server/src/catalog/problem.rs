//! What is wrong with the folders.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::logging::Level;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not serve.
    Error,
    /// Something is probably not what its author meant.
    Warning,
}

/// What a [`Problem`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A folder's name or place.
    Layout,
    /// The same `name@version` twice, or one name or path for two plugins.
    Collision,
    /// The base of a plugin.
    Base,
    /// Manifest, package.json or `.env`.
    Manifest,
    /// The file that should answer.
    Entrypoint,
    /// What a unit asks for and was not granted.
    Permission,
    /// The lockfile of a unit that installs its dependencies.
    Lockfile,
    /// A folder that could not be read or watched.
    Disk,
}

/// One thing that is wrong, said once when it appears.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// The folder or file.
    pub path: PathBuf,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub topic: Topic,
    /// What is wrong and what to do; complete without the other fields.
    pub message: String,
}

impl Problem {
    /// How a line of the log about it ranks.
    pub(crate) fn level(&self) -> Level {
        match self.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warn,
        }
    }

    pub(crate) fn error(topic: Topic, path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            severity: Severity::Error,
            topic,
            message: message.into(),
        }
    }

    pub(crate) fn warning(topic: Topic, path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            severity: Severity::Warning,
            topic,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}
