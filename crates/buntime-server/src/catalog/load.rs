//! From a unit's folder to its [`State`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use buntime_core::{
    DEFAULT_ENTRYPOINTS, Diagnostic, DiagnosticKind, Granted, Grants, InstallPlan,
    InstallPlanError, MANIFEST_MAX_BYTES, Manifest, ManifestErrors, PackageJson, PackageName,
    Parsed, Version, dotenv, worker_env,
};
use buntime_fs::{FileInfo, OpenError, RelPath, Root};

use super::asks::Asks;
use super::files::{BadEntry, Unreadable, find_entry, is_passing, read_text};
use super::problem::{Problem, Topic};
use super::unit::{Broken, Entry, Ready, State};
use crate::html::PageSettings;

/// Files beside each other that decide what a unit is. The first three make a
/// folder a unit.
static DESCRIPTIONS: [RelPath; 4] = [MANIFEST_YAML, MANIFEST_YML, PACKAGE_JSON, DOTENV];
pub(crate) const MANIFEST_YAML: RelPath = RelPath::literal("manifest.yaml");
pub(crate) const MANIFEST_YML: RelPath = RelPath::literal("manifest.yml");
pub(crate) const PACKAGE_JSON: RelPath = RelPath::literal("package.json");
const DOTENV: RelPath = RelPath::literal(".env");
const LOCKFILE: RelPath = RelPath::literal("bun.lock");
const OLD_LOCKFILE: RelPath = RelPath::literal("bun.lockb");

/// Larger ones are no package.json of an app.
const PACKAGE_JSON_MAX_BYTES: usize = 1024 * 1024;

/// What the folder looked like: as long as this is equal, nothing is read again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sight {
    folder: FileInfo,
    descriptions: [Option<FileInfo>; 4],
    entry: Option<FileInfo>,
}

impl Sight {
    /// Looks at a folder. `None`: nothing in it makes it a unit.
    ///
    /// # Errors
    /// The system failed; what was known before still counts.
    pub(super) fn take(folder: &Root, entry: Option<&RelPath>) -> Result<Option<Self>, OpenError> {
        let mut descriptions = [None; 4];
        for (found, name) in descriptions.iter_mut().zip(&DESCRIPTIONS) {
            *found = look(folder, name)?;
        }
        if descriptions[..3].iter().all(Option::is_none) {
            return Ok(None);
        }
        let entry = entry
            .map(|entry| look(folder, entry))
            .transpose()?
            .flatten();
        Ok(Some(Self {
            folder: *folder.info(),
            descriptions,
            entry,
        }))
    }

    /// When the newest of the files was changed, in nanoseconds since 1970.
    /// The folder itself is left out: an app may write into it all the time.
    pub(super) fn newest_ns(&self) -> i128 {
        let files = self.descriptions.iter().flatten().chain(&self.entry);
        files
            .map(|info| info.changed_ns.max(info.modified_ns))
            .max()
            .unwrap_or(0)
    }

    /// What makes it another deployment when it differs: not the folder's own
    /// times, which change with every file an app writes, nor permissions.
    pub(super) fn content(&self) -> impl PartialEq + use<> {
        let stamp = |info: &FileInfo| (info.device, info.inode, info.size, info.modified_ns);
        (
            (self.folder.device, self.folder.inode),
            self.descriptions.map(|info| info.as_ref().map(stamp)),
            self.entry.as_ref().map(stamp),
        )
    }
}

fn look(folder: &Root, name: &RelPath) -> Result<Option<FileInfo>, OpenError> {
    match folder.metadata(name) {
        Ok(info) => Ok(Some(info)),
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A unit that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) problems: Vec<Problem>,
    /// What it asks for, also if it is disabled.
    pub(super) asks: Asks,
}

/// What counts for whether a unit is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enabled {
    /// Its manifest.
    AsWritten,
    /// The operator, who has said that it is.
    Yes,
}

/// By what a unit is called.
#[derive(Clone, Debug)]
pub(super) enum Called<'a> {
    /// Where it lies; a manifest that says otherwise is a warning.
    ByPlace(&'a PackageName, &'a Version),
    /// What its files say, else this.
    ByItself(Option<PackageName>),
}

/// Reads a unit.
///
/// # Errors
/// The system failed; what was known before still counts.
pub(super) fn load(
    folder: &Root,
    dir: &Path,
    called: &Called<'_>,
    enabled: Enabled,
    grants: &Grants,
) -> Result<Loaded, OpenError> {
    let mut loading = Loading {
        folder,
        dir,
        enabled,
        grants,
        problems: Vec::new(),
        asks: Asks::default(),
    };
    let state = match loading.state(called) {
        Ok(state) => state,
        Err(Failure::Passing(error)) => return Err(error),
        Err(Failure::Broken(broken)) => State::Broken(broken),
    };
    Ok(Loaded {
        state,
        problems: loading.problems,
        asks: loading.asks,
    })
}

enum Failure {
    Passing(OpenError),
    Broken(Broken),
}

struct Loading<'a> {
    folder: &'a Root,
    dir: &'a Path,
    enabled: Enabled,
    grants: &'a Grants,
    problems: Vec<Problem>,
    asks: Asks,
}

impl Loading<'_> {
    fn state(&mut self, called: &Called<'_>) -> Result<State, Failure> {
        let manifest = self.manifest()?;
        let package = self.package_json(manifest.is_some())?;
        let manifest = manifest.unwrap_or_default();
        if let Called::ByPlace(name, version) = called {
            self.compare_with_place(&manifest, &package, name, version);
        }
        let granted = self.granted(&manifest, &package, called);
        if !manifest.enabled && self.enabled == Enabled::AsWritten {
            return Ok(State::Disabled);
        }
        let granted = granted?;
        self.name_what_is_not_built(&manifest);
        let dotenv = self.dotenv()?;
        let entry = self.entry(manifest.entrypoint.as_deref())?;
        if manifest.auto_install {
            self.check_install(&entry)?;
        }
        let env = worker_env(&manifest.env, &dotenv);
        Ok(State::Ready(Ready {
            pages: PageSettings::of(&manifest, &env.passed),
            manifest: Arc::new(manifest),
            granted: Arc::new(granted),
            entry,
            env: env.passed,
            blocked_env: env.blocked,
        }))
    }

    /// What the unit may do.
    fn granted(
        &mut self,
        manifest: &Manifest,
        package: &PackageJson,
        called: &Called<'_>,
    ) -> Result<Granted, Failure> {
        let name = match called {
            Called::ByPlace(name, _) => Some((*name).clone()),
            Called::ByItself(else_) => {
                let of_package = || package.name.as_deref()?.parse().ok();
                let said = manifest.name.clone().or_else(of_package);
                said.or_else(|| else_.clone())
            }
        };
        let (permissions, limits) = (&manifest.permissions, &manifest.limits);
        self.asks = Asks::of(self.grants, name.clone(), permissions, limits);
        let decided = self.grants.decide(name.as_ref(), permissions, limits);
        decided.map_err(|refused| Failure::Broken(Broken::NotGranted(refused.into())))
    }

    /// A key that is read and does nothing must not look as if it did.
    fn name_what_is_not_built(&mut self, manifest: &Manifest) {
        let keys = [
            ("cron", !manifest.cron.is_empty()),
            ("publicRoutes", !manifest.public_routes.is_empty()),
        ];
        for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
            let message = format!("`{key}` has no effect in this version");
            self.problems
                .push(Problem::warning(Topic::Manifest, self.dir, message));
        }
    }

    fn manifest(&mut self) -> Result<Option<Manifest>, Failure> {
        let mut name = &DESCRIPTIONS[0];
        let mut text = self.read(name, MANIFEST_MAX_BYTES)?;
        if text.is_none() {
            name = &DESCRIPTIONS[1];
            text = self.read(name, MANIFEST_MAX_BYTES)?;
        } else if matches!(look(self.folder, &DESCRIPTIONS[1]), Ok(Some(_))) {
            self.warn(
                Topic::Manifest,
                &DESCRIPTIONS[1],
                "is ignored: manifest.yaml lies beside it",
            );
        }
        let Some(text) = text else { return Ok(None) };
        let parsed = Manifest::parse(&text, &self.shown(name));
        self.accept(name, parsed).map(Some)
    }

    fn dotenv(&mut self) -> Result<BTreeMap<String, String>, Failure> {
        let name = &DESCRIPTIONS[3];
        let Some(text) = self.read(name, dotenv::MAX_BYTES)? else {
            return Ok(BTreeMap::new());
        };
        let parsed = dotenv::parse(&text, &self.shown(name));
        self.accept(name, parsed)
    }

    fn package_json(&mut self, has_manifest: bool) -> Result<PackageJson, Failure> {
        let name = &DESCRIPTIONS[2];
        let parsed = match self.read(name, PACKAGE_JSON_MAX_BYTES) {
            Ok(None) => return Ok(PackageJson::default()),
            Ok(Some(text)) => PackageJson::parse(&text).map_err(|error| {
                use std::error::Error as _;
                let cause = error
                    .source()
                    .map_or_else(String::new, |cause| format!(": {cause}"));
                format!("{}: {error}{cause}", self.shown(name))
            }),
            Err(Failure::Broken(broken)) => Err(broken.to_string()),
            Err(passing) => return Err(passing),
        };
        match parsed {
            Ok(package) => Ok(package),
            // It gives a name and a version only, and the folder decides those.
            Err(message) if has_manifest => {
                self.problems
                    .push(Problem::warning(Topic::Manifest, self.dir, message));
                Ok(PackageJson::default())
            }
            Err(message) => Err(Failure::Broken(Broken::Manifest(message.into()))),
        }
    }

    /// Reports what a parser said and takes its value.
    fn accept<V>(
        &mut self,
        name: &RelPath,
        parsed: Result<Parsed<V>, ManifestErrors>,
    ) -> Result<V, Failure> {
        let path = self.dir.join(name.as_path());
        let warning =
            |warning: &Diagnostic| Problem::warning(Topic::Manifest, &path, warning.to_string());
        let failed = match parsed {
            Ok(parsed) => {
                self.problems.extend(parsed.warnings.iter().map(warning));
                return Ok(parsed.value);
            }
            Err(failed) => failed,
        };
        self.problems.extend(failed.warnings.iter().map(warning));
        // An entrypoint that leaves the folder is not a slip of the pen.
        if failed
            .errors
            .iter()
            .all(|error| error.kind == DiagnosticKind::EntrypointEscapes)
        {
            return Err(Failure::Broken(Broken::EntrypointEscapes));
        }
        Err(Failure::Broken(Broken::Manifest(failed.to_string().into())))
    }

    fn read(&self, name: &RelPath, limit: usize) -> Result<Option<String>, Failure> {
        read_text(self.folder, name, limit).map_err(|error| match error {
            Unreadable::Passing(error) => Failure::Passing(error),
            Unreadable::Refused(why) => {
                let message = format!("{}: {why}", self.shown(name));
                Failure::Broken(Broken::Manifest(message.into()))
            }
        })
    }

    fn compare_with_place(
        &mut self,
        manifest: &Manifest,
        package: &PackageJson,
        name: &PackageName,
        version: &Version,
    ) {
        let said = manifest
            .name
            .as_ref()
            .map(|name| name.as_str())
            .or(package.name.as_deref());
        if let Some(said) = said.filter(|said| *said != name.as_str()) {
            let message = format!(
                "{}: is called \"{said}\" but lies in the folder of \"{name}\", which counts",
                self.dir.display()
            );
            self.problems
                .push(Problem::warning(Topic::Manifest, self.dir, message));
        }
        // A folder `latest`, or without a version level, takes any version.
        let said = manifest.version.as_ref().map(|version| version.as_str());
        if let Some(said) = said.or(package.version.as_deref())
            && *version != Version::Latest
            && said != version.as_str()
        {
            let message = format!(
                "{}: says version \"{said}\" but lies in the folder of \"{version}\", which counts",
                self.dir.display()
            );
            self.problems
                .push(Problem::warning(Topic::Manifest, self.dir, message));
        }
    }

    fn entry(&self, named: Option<&str>) -> Result<Entry, Failure> {
        let missing = |text: String| Failure::Broken(Broken::Entrypoint(text.into()));
        if let Some(named) = named {
            let path = RelPath::try_from(named)
                .map_err(|error| missing(format!("entrypoint \"{named}\": {error}")))?;
            return match self.usable(&path)? {
                Some(entry) => Ok(entry),
                None => Err(missing(format!("entrypoint \"{named}\" does not exist"))),
            };
        }
        for name in DEFAULT_ENTRYPOINTS {
            if let Ok(path) = RelPath::try_from(name)
                && let Some(entry) = self.usable(&path)?
            {
                return Ok(entry);
            }
        }
        let looked_for = DEFAULT_ENTRYPOINTS.join(", ");
        Err(missing(format!(
            "no entrypoint: the manifest names none and there is no {looked_for}"
        )))
    }

    /// The entry that a file makes, `None` if there is no such file.
    fn usable(&self, path: &RelPath) -> Result<Option<Entry>, Failure> {
        find_entry(self.folder, path).map_err(|error| match error {
            BadEntry::Passing(error) => Failure::Passing(error),
            BadEntry::Escapes => Failure::Broken(Broken::EntrypointEscapes),
            BadEntry::Unusable(why) => {
                let message = format!("entrypoint \"{path}\" {why}");
                Failure::Broken(Broken::Entrypoint(message.into()))
            }
        })
    }

    /// Whether `autoInstall` can work: what a start would find out is told now.
    fn check_install(&mut self, entry: &Entry) -> Result<(), Failure> {
        let message = match entry {
            Entry::Static(_) => {
                let message = format!(
                    "{}: autoInstall has no effect on a static app, of which no code runs",
                    self.dir.display()
                );
                let warning = Problem::warning(Topic::Lockfile, self.dir, message);
                self.problems.push(warning);
                return Ok(());
            }
            Entry::Script(_) => match self.install_plan() {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(InstallPlanError::Missing))
                    if look(self.folder, &OLD_LOCKFILE).is_ok_and(|found| found.is_some()) =>
                {
                    InstallPlanError::OldLockfile.to_string()
                }
                Ok(Err(error)) => error.to_string(),
                Err(Failure::Broken(broken)) => broken.to_string(),
                Err(passing) => return Err(passing),
            },
        };
        let message = format!("{}: autoInstall: {message}", self.dir.display());
        self.problems
            .push(Problem::error(Topic::Lockfile, self.dir, message));
        Ok(())
    }

    fn install_plan(&self) -> Result<Result<Option<InstallPlan>, InstallPlanError>, Failure> {
        let package = self.read(&PACKAGE_JSON, PACKAGE_JSON_MAX_BYTES)?;
        let lock = self.read(&LOCKFILE, InstallPlan::MAX_LOCKFILE_BYTES)?;
        Ok(InstallPlan::new(package.as_deref(), lock.as_deref()))
    }

    fn warn(&mut self, topic: Topic, name: &RelPath, message: &str) {
        let message = format!("{}: {message}", self.shown(name));
        self.problems.push(Problem::warning(
            topic,
            &self.dir.join(name.as_path()),
            message,
        ));
    }

    fn shown(&self, name: &RelPath) -> String {
        self.dir.join(name.as_path()).display().to_string()
    }
}
