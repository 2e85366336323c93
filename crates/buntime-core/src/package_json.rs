//! The little that is read from a `package.json`.

use serde::Deserialize;
use serde_json::Value;

/// Why a `package.json` could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageJsonError {
    /// Over 1 MB.
    #[error("package.json is over {} bytes", PackageJson::MAX_BYTES)]
    TooLarge,
    /// No JSON object, or `name` or `version` is there twice. The source tells line
    /// and column.
    #[error("package.json is no JSON object")]
    Syntax(#[source] serde_json::Error),
    /// `name` or `version` is there and no string.
    #[error("`{0}` in package.json is no string")]
    NotAString(&'static str),
}

/// Name and version as they stand in a `package.json`, unparsed: whether they
/// count, and as what, depends on where the file lies (contract §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackageJson {
    /// `name`.
    pub name: Option<String>,
    /// `version`.
    pub version: Option<String>,
}

/// Other fields are skipped without being kept, so a large file costs no memory.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    version: Value,
}

impl PackageJson {
    /// Largest `package.json`, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads the two fields and ignores all others, whatever they hold.
    ///
    /// # Errors
    /// If the file is too large, no JSON object, or one of the two is no string.
    pub fn parse(text: &str) -> Result<Self, PackageJsonError> {
        if text.len() > Self::MAX_BYTES {
            return Err(PackageJsonError::TooLarge);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // serde would also take a list for a struct.
        if !text.trim_start().starts_with('{') {
            let error = serde::de::Error::custom("a package.json begins with `{`");
            return Err(PackageJsonError::Syntax(error));
        }
        let fields: Fields = serde_json::from_str(text).map_err(PackageJsonError::Syntax)?;
        let string = |key, value| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            _ => Err(PackageJsonError::NotAString(key)),
        };
        Ok(Self {
            name: string("name", fields.name)?,
            version: string("version", fields.version)?,
        })
    }
}

#[cfg(test)]
mod tests;
