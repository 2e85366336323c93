//! The little that is read from a `package.json`.

use serde_json::Value;

/// Largest `package.json`, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Why a `package.json` could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageJsonError {
    /// Over 1 MB.
    #[error("package.json is over {MAX_BYTES} bytes")]
    TooLarge,
    /// No JSON object.
    #[error("package.json is no JSON object")]
    NotAnObject,
    /// No JSON. The source tells line and column.
    #[error("package.json is no JSON")]
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

impl PackageJson {
    /// Reads the two fields and ignores all others, whatever they hold.
    ///
    /// # Errors
    /// If the file is too large, no JSON object, or one of the two is no string.
    pub fn parse(text: &str) -> Result<Self, PackageJsonError> {
        if text.len() > MAX_BYTES {
            return Err(PackageJsonError::TooLarge);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Value::Object(mut fields) =
            serde_json::from_str(text).map_err(PackageJsonError::Syntax)?
        else {
            return Err(PackageJsonError::NotAnObject);
        };
        let mut field = |key| match fields.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(PackageJsonError::NotAString(key)),
        };
        Ok(Self {
            name: field("name")?,
            version: field("version")?,
        })
    }
}

#[cfg(test)]
mod tests;
