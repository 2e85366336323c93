//! What a deployment is about to do, written down so that a crash in the middle can be
//! brought to its end.

use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use buntime_core::{PackageName, Version};
use buntime_fs::{FileMode, OpenError, RelPath, Staging, Tree, WriteError};
use serde::{Deserialize, Serialize};

/// The file, beside the archives.
const FILE: RelPath = RelPath::literal("intent.json");
/// Far more than any has.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A deployment whose folders are staged and on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The worker.
    #[serde(with = "text")]
    pub(super) name: PackageName,
    /// The newest release before. A newer one in the store means: decided.
    pub(super) after: u64,
    /// Folders that take their places.
    pub(super) swaps: Vec<Swap>,
    /// Versions that are put aside.
    #[serde(with = "texts")]
    pub(super) aside: Vec<Version>,
    /// Versions that are taken back.
    #[serde(with = "texts")]
    pub(super) back: Vec<Version>,
}

/// A staged folder and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    pub(super) root: PathBuf,
    #[serde(with = "text")]
    pub(super) folder: RelPath,
    /// The number of the staged folder. It keeps it when it is renamed, so this tells
    /// whether it has taken its place.
    pub(super) inode: u64,
}

impl Intent {
    /// Writes it down. Blocks until it is on the disk.
    pub(super) fn write(&self, releases: &Tree) -> Result<(), WriteError> {
        let text = serde_json::to_vec(self).map_err(|error| WriteError::Io(error.into()))?;
        let staging = Staging::new(releases)?;
        let mut file = staging.tree().create_file(&FILE, FileMode::Plain)?;
        file.write_all(&text)?;
        file.sync_all()?;
        staging.tree().replace(&FILE, releases, &FILE)?;
        releases.sync()
    }

    /// The one that was written down; `None` if there is none, or none that could have
    /// been written by us.
    pub(super) fn read(releases: &Tree) -> Result<Option<Self>, WriteError> {
        match releases.root().read(&FILE, MAX_BYTES) {
            Ok((text, _)) => Ok(serde_json::from_slice(&text).ok()),
            Err(OpenError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets it: what was intended is done, or will not be.
    pub(super) fn forget(releases: &Tree) -> Result<(), WriteError> {
        match releases.remove_file(&FILE) {
            Err(WriteError::NotFound) => return Ok(()),
            removed => removed?,
        }
        releases.sync()
    }
}

mod text {
    use std::fmt::Display;

    use serde::{Deserializer, Serializer};

    use super::{Deserialize, FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

mod texts {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Version};

    pub(super) fn serialize<S: Serializer>(
        values: &[Version],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Version::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Version>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parsed = texts.iter().map(|text| text.parse());
        parsed
            .collect::<Result<_, _>>()
            .map_err(serde::de::Error::custom)
    }
}
