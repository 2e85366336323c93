//! What a folder that is about to be installed as a plugin says of itself, and whether it
//! could serve. Nothing else is looked at.

use buntime_core::{
    Grants, Limits, MANIFEST_MAX_BYTES, PackageName, Permissions, PluginBase, PluginBaseError,
    PluginManifest, Version,
};
use buntime_fs::{RelPath, Root};

use crate::catalog::PackageError;
use crate::catalog::files::{BadEntry, find_entry};
use crate::catalog::load::{MANIFEST_YAML, MANIFEST_YML};
use crate::catalog::package::{agreed, package_json, refused, text};
use crate::config::ApiPrefix;

/// A plugin in a folder that is not installed yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PluginPackage {
    /// As the manifest has it, and package.json if it has one.
    pub(crate) name: PackageName,
    /// That of package.json. In the manifest, `version` is a setting.
    pub(crate) version: Option<Version>,
    /// Neither malformed nor reserved.
    pub(crate) base: Option<PluginBase>,
    /// Unless the operator says otherwise.
    pub(crate) enabled: bool,
    /// The files that the manifest names as code.
    entries: Vec<String>,
    permissions: Permissions,
    limits: Limits,
}

impl PluginPackage {
    /// Reads manifest and package.json. `prefix` reserves a base. Blocks.
    ///
    /// # Errors
    /// There is no manifest or it is refused, its base is reserved or malformed, or the
    /// two files disagree.
    pub(crate) fn read(folder: &Root, prefix: &ApiPrefix) -> Result<Self, PackageError> {
        let manifest = manifest(folder)?;
        let package = package_json(folder)?;
        agreed("name", Some(&manifest.name), package.name.as_deref())?;
        let version = package.version.as_deref().map(|text| {
            let parsed = Version::try_from(text);
            parsed.map_err(|error| PackageError::Version(format!("version {text:?}: {error}")))
        });
        let base = match (manifest.base, prefix.first_segment()) {
            (Some(base), Some(prefix)) => {
                let free = base.unless_reserved(prefix);
                Some(free.map_err(|error| bad_base(&manifest.name, &error))?)
            }
            (base, _) => base,
        };
        let entries = [manifest.entrypoint, manifest.plugin_entry];
        Ok(Self {
            name: manifest.name,
            version: version.transpose()?,
            base,
            enabled: manifest.enabled,
            entries: entries.into_iter().flatten().collect(),
            permissions: manifest.permissions,
            limits: manifest.limits,
        })
    }

    /// Looks whether the files are there that the manifest names, and whether it may have
    /// what it asks for. Blocks.
    ///
    /// # Errors
    /// A file is missing, is none or lies elsewhere; or it asks for more than is granted.
    pub(crate) fn check(&self, folder: &Root, grants: &Grants) -> Result<(), PackageError> {
        let name = Some(&self.name);
        let granted = grants.decide(name, &self.permissions, &self.limits);
        granted.map_err(PackageError::NotGranted)?;
        self.entries
            .iter()
            .try_for_each(|named| entry(folder, named))
    }
}

fn manifest(folder: &Root) -> Result<PluginManifest, PackageError> {
    for name in [MANIFEST_YAML, MANIFEST_YML] {
        let Some(text) = text(folder, &name, MANIFEST_MAX_BYTES)? else {
            continue;
        };
        return match PluginManifest::parse(&text, name.as_str()) {
            Ok(parsed) => Ok(parsed.value),
            Err(errors) => Err(match (&errors.name, &errors.base) {
                (Some(name), Some(base)) => bad_base(name, base),
                _ => refused(&errors.all),
            }),
        };
    }
    let missing = "there is no manifest.yaml, which a plugin must have";
    Err(PackageError::Manifest(missing.into()))
}

/// In the words in which a start is refused for it (contract section 5).
fn bad_base(name: &PackageName, error: &PluginBaseError) -> PackageError {
    PackageError::Base(format!("Plugin \"{name}\" {error}"))
}

fn entry(folder: &Root, named: &str) -> Result<(), PackageError> {
    let unusable = |why: &str| {
        Err(PackageError::Manifest(format!(
            "entrypoint \"{named}\" {why}"
        )))
    };
    let Ok(path) = RelPath::try_from(named) else {
        return unusable("is no path of a file");
    };
    match find_entry(folder, &path) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => unusable("does not exist"),
        Err(BadEntry::Escapes) => Err(PackageError::EntrypointEscapes),
        Err(BadEntry::Unusable(why)) => unusable(&why),
        Err(BadEntry::Passing(error)) => Err(PackageError::Unreadable(error)),
    }
}
