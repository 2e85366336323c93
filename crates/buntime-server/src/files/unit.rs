//! What a unit's manifest says to the file browser.

use buntime_core::{MANIFEST_MAX_BYTES, Manifest, PluginManifest, Visibility};
use buntime_fs::{RelPath, Root};
use schemars::JsonSchema;
use serde::Serialize;

use super::FilesError;
use super::path::UnitKind;
use crate::catalog::files::{Unreadable, read_text};
use crate::catalog::load::{MANIFEST_YAML, MANIFEST_YML};
use crate::config::ApiPrefix;

/// What a unit's manifest says.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) visibility: Visibility,
    pub(super) validation: Option<Validation>,
}

/// Whether a manifest can be used.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ManifestValidation")]
pub(crate) struct Validation {
    valid: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Facts {
    /// Reads them from a unit's folder. A unit without a manifest is as public as
    /// one whose manifest says nothing, or cannot be read by anybody.
    ///
    /// # Errors
    /// The system failed, so that nothing is known.
    pub(super) fn read(kind: UnitKind, folder: &Root) -> Result<Self, FilesError> {
        for name in [MANIFEST_YAML, MANIFEST_YML] {
            match read_text(folder, &name, MANIFEST_MAX_BYTES) {
                Ok(None) => {}
                Ok(Some(text)) => return Ok(Self::parse(kind, &text, name.as_str())),
                Err(Unreadable::Refused(why)) => {
                    let error = format!("{name}: {why}");
                    return Ok(Self::new(Visibility::Public, vec![error], Vec::new()));
                }
                Err(Unreadable::Passing(error)) => return Err(FilesError::System(error.into())),
            }
        }
        Ok(Self::default())
    }

    fn parse(kind: UnitKind, text: &str, file: &str) -> Self {
        let lines =
            |list: &[buntime_core::Diagnostic]| list.iter().map(ToString::to_string).collect();
        let parsed = match kind {
            UnitKind::Worker => {
                Manifest::parse(text, file).map(|parsed| (parsed.value.visibility, parsed.warnings))
            }
            UnitKind::Plugin => PluginManifest::parse(text, file)
                .map(|parsed| (parsed.value.visibility, parsed.warnings))
                .map_err(|errors| errors.all),
        };
        match parsed {
            Ok((visibility, warnings)) => Self::new(visibility, Vec::new(), lines(&warnings)),
            Err(failed) => Self::new(
                Visibility::Public,
                lines(&failed.errors),
                lines(&failed.warnings),
            ),
        }
    }

    fn new(visibility: Visibility, errors: Vec<String>, warnings: Vec<String>) -> Self {
        Self {
            visibility,
            validation: Some(Validation {
                valid: errors.is_empty(),
                errors,
                warnings,
            }),
        }
    }
}

/// Whether a file is a plugin's manifest, wherever it lies: the folder above it may become
/// a plugin's.
pub(super) fn is_manifest(path: &RelPath) -> bool {
    [MANIFEST_YAML, MANIFEST_YML]
        .iter()
        .any(|name| name.as_str() == path.file_name())
}

/// Refuses a plugin's manifest with which no server starts: whoever may write the files
/// of one plugin does not decide over the others. What else is wrong with one disables
/// that plugin alone.
///
/// # Errors
/// [`FilesError::Base`], or the system failed.
pub(super) fn check_base(
    folder: &Root,
    manifest: &RelPath,
    prefix: &ApiPrefix,
) -> Result<(), FilesError> {
    let text = match read_text(folder, manifest, MANIFEST_MAX_BYTES) {
        Ok(Some(text)) => text,
        Ok(None) | Err(Unreadable::Refused(_)) => return Ok(()),
        Err(Unreadable::Passing(error)) => return Err(FilesError::System(error.into())),
    };
    let bad = match PluginManifest::parse(&text, manifest.as_str()) {
        Err(errors) => errors.base,
        Ok(parsed) => {
            let base = parsed.value.base.zip(prefix.first_segment());
            base.and_then(|(base, prefix)| base.unless_reserved(prefix).err())
        }
    };
    bad.map_or(Ok(()), |error| Err(FilesError::Base(error)))
}

/// As manifests write it.
pub(super) fn shown(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Protected => "protected",
        Visibility::Internal => "internal",
    }
}
