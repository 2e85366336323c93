//! What a folder that is about to be installed says of itself: its name and version,
//! and whether it could serve. Stricter than [`load`](super::load), where the folder's
//! place decides the name and a slip is a warning.

use std::path::Path;

use buntime_core::{
    DiagnosticKind, Grants, MANIFEST_MAX_BYTES, Manifest, ManifestErrors, NameError, NotGranted,
    PackageJson, PackageName, Version,
};
use buntime_fs::{OpenError, RelPath, Root};
use thiserror::Error;

use super::files::{Unreadable, read_text};
use super::load::{self, Called, Enabled, MANIFEST_YAML, MANIFEST_YML, PACKAGE_JSON};
use super::unit::{Broken, State};

/// A worker in a folder that is not installed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: PackageName,
    pub(crate) version: Version,
}

/// Why a folder cannot be installed. The texts may be shown to whoever sent it.
#[derive(Debug, Error)]
pub enum PackageError {
    /// `INVALID_MANIFEST`
    #[error("{0}")]
    Manifest(String),
    /// `INVALID_PACKAGE_NAME`
    #[error("{0}")]
    Name(String),
    /// `INVALID_PACKAGE_VERSION`
    #[error("{0}")]
    Version(String),
    /// `RESERVED_NAME`
    #[error("{0}")]
    Reserved(String),
    /// `NAME_MISMATCH`
    #[error("the manifest says {what} \"{manifest}\", package.json says \"{package}\"")]
    Mismatch {
        /// `name` or `version`.
        what: &'static str,
        /// What the manifest says.
        manifest: String,
        /// What package.json says.
        package: String,
    },
    /// `INVALID_PLUGIN_BASE`
    #[error("{0}")]
    Base(String),
    /// `ENTRYPOINT_ESCAPES`
    #[error("the entrypoint lies outside of the package")]
    EntrypointEscapes,
    /// `PERMISSION_NOT_GRANTED`
    #[error("the package asks for what it is not granted: {}", NotGranted::list(.0))]
    NotGranted(Vec<NotGranted>),
    /// The system failed, which says nothing about the package.
    #[error("the package could not be read")]
    Unreadable(#[source] OpenError),
}

impl Package {
    /// Reads name and version. Blocks.
    ///
    /// # Errors
    /// They are missing, malformed, reserved, or the two files disagree.
    pub(crate) fn read(folder: &Root) -> Result<Self, PackageError> {
        let manifest = manifest(folder)?.unwrap_or_default();
        let package = package_json(folder)?;
        let name = agreed("name", manifest.name.as_ref(), package.name.as_deref())?;
        let name = name.ok_or_else(|| {
            PackageError::Name(
                "there is no name: write `name: …` into manifest.yaml, or have one in package.json"
                    .into(),
            )
        })?;
        let name = PackageName::try_from(name.as_str()).map_err(|error| match error {
            NameError::Reserved => PackageError::Reserved(format!("name \"{name}\": {error}")),
            error => PackageError::Name(format!("name {name:?}: {error}")),
        })?;
        if name.is_reserved() {
            let message = format!("name \"{name}\": {}", NameError::Reserved);
            return Err(PackageError::Reserved(message));
        }
        let said = manifest.version.as_ref();
        let version = match agreed("version", said, package.version.as_deref())? {
            None => Version::Latest,
            Some(text) => Version::try_from(text.as_str())
                .map_err(|error| PackageError::Version(format!("version {text:?}: {error}")))?,
        };
        Ok(Self { name, version })
    }

    /// Looks whether the folder could serve under this name and version. Blocks.
    ///
    /// # Errors
    /// Its entrypoint is missing or lies elsewhere, a file cannot be used, or it asks for
    /// more than it is granted: if it is disabled, too, for the operator may enable it.
    pub(crate) fn check(&self, folder: &Root, grants: &Grants) -> Result<(), PackageError> {
        let called = Called::ByPlace(&self.name, &self.version);
        let loaded = load::load(folder, Path::new(""), &called, Enabled::AsWritten, grants)
            .map_err(PackageError::Unreadable)?;
        if !loaded.asks.refused.is_empty() {
            return Err(PackageError::NotGranted(loaded.asks.refused));
        }
        match loaded.state {
            State::Ready(_) | State::Disabled => Ok(()),
            State::Broken(Broken::NotGranted(refused)) => {
                Err(PackageError::NotGranted(refused.to_vec()))
            }
            State::Broken(Broken::EntrypointEscapes) => Err(PackageError::EntrypointEscapes),
            State::Broken(Broken::Manifest(text) | Broken::Entrypoint(text)) => {
                Err(PackageError::Manifest(text.to_string()))
            }
        }
    }
}

/// What both say, if one of them says anything.
pub(crate) fn agreed(
    what: &'static str,
    manifest: Option<&impl ToString>,
    package: Option<&str>,
) -> Result<Option<String>, PackageError> {
    let manifest = manifest.map(ToString::to_string);
    match (manifest, package) {
        (Some(manifest), Some(package)) if manifest != package => Err(PackageError::Mismatch {
            what,
            manifest,
            package: package.chars().take(SHOWN).collect(),
        }),
        (Some(said), _) => Ok(Some(said)),
        (None, said) => Ok(said.map(str::to_owned)),
    }
}

/// Most characters of what was sent that a message repeats.
const SHOWN: usize = 100;

fn manifest(folder: &Root) -> Result<Option<Manifest>, PackageError> {
    for name in [MANIFEST_YAML, MANIFEST_YML] {
        let Some(text) = text(folder, &name, MANIFEST_MAX_BYTES)? else {
            continue;
        };
        return match Manifest::parse(&text, name.as_str()) {
            Ok(parsed) => Ok(Some(parsed.value)),
            Err(errors) => Err(refused(&errors)),
        };
    }
    Ok(None)
}

/// The code is that of the one thing that is wrong; of several, that of a manifest
/// that is no good. All of them are told.
pub(crate) fn refused(errors: &ManifestErrors) -> PackageError {
    let text = errors.to_string();
    let all = |kind| errors.errors.iter().all(|error| error.kind == kind);
    if all(DiagnosticKind::EntrypointEscapes) {
        PackageError::EntrypointEscapes
    } else if all(DiagnosticKind::ReservedName) {
        PackageError::Reserved(text)
    } else if all(DiagnosticKind::PackageName) {
        PackageError::Name(text)
    } else if all(DiagnosticKind::PackageVersion) {
        PackageError::Version(text)
    } else {
        PackageError::Manifest(text)
    }
}

pub(crate) fn package_json(folder: &Root) -> Result<PackageJson, PackageError> {
    match text(folder, &PACKAGE_JSON, PackageJson::MAX_BYTES)? {
        None => Ok(PackageJson::default()),
        Some(text) => PackageJson::parse(&text).map_err(|error| {
            use std::error::Error as _;
            let cause = error.source().map(|cause| format!(": {cause}"));
            PackageError::Manifest(format!("{error}{}", cause.unwrap_or_default()))
        }),
    }
}

pub(crate) fn text(
    folder: &Root,
    name: &RelPath,
    limit: usize,
) -> Result<Option<String>, PackageError> {
    read_text(folder, name, limit).map_err(|error| match error {
        Unreadable::Passing(error) => PackageError::Unreadable(error),
        Unreadable::Refused(why) => PackageError::Manifest(format!("{name}: {why}")),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<String, String> {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let folder = Root::open(dir.path()).unwrap();
        let checked = Package::read(&folder).and_then(|package| {
            package.check(&folder, &Grants::default())?;
            Ok(package)
        });
        match checked {
            Ok(Package { name, version }) => Ok(format!("{name}@{version}")),
            Err(error) => Err(match error {
                PackageError::Manifest(_) => "manifest",
                PackageError::Name(_) => "name",
                PackageError::Version(_) => "version",
                PackageError::Reserved(_) => "reserved",
                PackageError::Mismatch { .. } => "mismatch",
                PackageError::Base(_) => "base",
                PackageError::EntrypointEscapes => "escapes",
                PackageError::NotGranted(_) => "not granted",
                PackageError::Unreadable(_) => "unreadable",
            }
            .to_owned()),
        }
    }

    fn with_manifest(manifest: &str) -> Result<String, String> {
        read(&[("manifest.yaml", manifest), ("index.ts", "")])
    }

    #[test]
    fn name_and_version_come_from_either_file() {
        for (manifest, package, expected) in [
            ("name: a", "{}", Ok("a@latest")),
            ("name: a\nversion: 1.0.0", "{}", Ok("a@1.0.0")),
            (
                "ttl: 60",
                r#"{"name":"@x/a","version":"2.0.0"}"#,
                Ok("@x/a@2.0.0"),
            ),
            ("version: 1.0.0", r#"{"name":"a"}"#, Ok("a@1.0.0")),
            (
                "name: a",
                r#"{"name":"a","version":"latest"}"#,
                Ok("a@latest"),
            ),
            ("name: a", r#"{"name":"b"}"#, Err("mismatch")),
            (
                "name: a\nversion: 1.0.0",
                r#"{"version":"1.0.1"}"#,
                Err("mismatch"),
            ),
            ("name: a", r#"{"name":"A b"}"#, Err("mismatch")),
            ("name: a", "{", Err("manifest")),
            ("", "{}", Err("name")),
        ] {
            let found = read(&[
                ("manifest.yaml", manifest),
                ("package.json", package),
                ("index.ts", ""),
            ]);
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{manifest} {package}");
        }
        assert_eq!(read(&[("index.ts", "")]), Err("name".into()));
        let yml = [("manifest.yml", "name: a"), ("index.html", "")];
        assert_eq!(read(&yml), Ok("a@latest".into()));
    }

    #[test]
    fn an_app_must_be_able_to_serve() {
        assert_eq!(
            read(&[("manifest.yaml", "name: a")]),
            Err("manifest".into())
        );
        assert_eq!(
            with_manifest("name: a\nentrypoint: no.ts"),
            Err("manifest".into())
        );
        assert_eq!(
            with_manifest("name: a\nentrypoint: ../x.ts"),
            Err("escapes".into())
        );
        assert_eq!(
            with_manifest("name: a\nenabled: false"),
            Ok("a@latest".into())
        );
        let env = [
            ("manifest.yaml", "name: a"),
            ("index.ts", ""),
            (".env", "no"),
        ];
        assert_eq!(read(&env), Err("manifest".into()));
    }

    #[test]
    fn an_app_asks_for_no_more_than_it_is_granted() {
        let asks = "name: a\npermissions: {spawn: true}";
        assert_eq!(with_manifest(asks), Err("not granted".into()));
        let disabled = format!("{asks}\nenabled: false");
        assert_eq!(with_manifest(&disabled), Err("not granted".into()));
        let free = "name: a\nlimits: {memory: 512mb}";
        assert_eq!(with_manifest(free), Ok("a@latest".into()));
    }

    #[test]
    fn no_message_names_a_path_of_this_machine() {
        let dir = TempDir::new().unwrap();
        for manifest in ["name: a\nttl: x", "name: a", "name: a\nentrypoint: no.ts"] {
            fs::write(dir.path().join("manifest.yaml"), manifest).unwrap();
            let folder = Root::open(dir.path()).unwrap();
            let package = Package::read(&folder);
            let error = package
                .and_then(|package| package.check(&folder, &Grants::default()))
                .unwrap_err();
            assert!(!error.to_string().contains('/'), "{error}");
        }
    }
}
