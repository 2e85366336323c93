//! From plugin roots to plugins.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use buntime_core::{
    DEFAULT_PLUGIN_ENTRIES, Diagnostic, Grants, MANIFEST_MAX_BYTES, NotGranted, PackageName,
    Parsed, PluginBaseError, PluginManifest, PluginManifestErrors,
};
use buntime_fs::{OpenError, RelPath, Root};

use super::{BadBase, CheckedPlugin, Overrides, Plugin, Plugins};
use crate::catalog::files::{BadEntry, Unreadable, find_entry, read_text};
use crate::catalog::listing::Listing;
use crate::catalog::load::{MANIFEST_YAML, MANIFEST_YML};
use crate::catalog::{Asks, Problem, Source, Topic};
use crate::config::ApiPrefix;

/// What the roots hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) plugins: Plugins,
    pub(super) bad_bases: Vec<BadBase>,
    /// What sound plugins ask for.
    pub(super) asks: Vec<CheckedPlugin>,
}

/// Reads all plugins, and finds all that is wrong with them.
pub(super) fn scan(
    roots: &[PathBuf],
    prefix: &ApiPrefix,
    overrides: &Overrides,
    grants: &Grants,
) -> Found {
    let mut scan = Scan {
        prefix: prefix.first_segment(),
        overrides,
        grants,
        source: Source::Uploaded,
        at: PathBuf::new(),
        found: Found::default(),
    };
    for path in roots {
        scan.source = Source::of_root(path);
        scan.at.clone_from(path);
        match Root::open(path) {
            Ok(root) => scan.root(&root, path),
            Err(error) => scan.unreadable(path, &error),
        }
    }
    scan.found
}

struct Scan<'a> {
    /// What the API's prefix reserves, with its slash.
    prefix: Option<&'a str>,
    overrides: &'a Overrides,
    grants: &'a Grants,
    source: Source,
    /// The root that is looked at.
    at: PathBuf,
    found: Found,
}

impl Scan<'_> {
    fn root(&mut self, root: &Root, path: &Path) {
        for (child, folder, path) in self.folders(root, path) {
            if child.as_str().starts_with('@') {
                for (grandchild, folder, path) in self.folders(&folder, &path) {
                    self.plugin(&format!("{child}/{grandchild}"), &folder, &path);
                }
            } else {
                self.plugin(child.as_str(), &folder, &path);
            }
        }
    }

    /// The folders in a folder, opened, sorted by name.
    fn folders(&mut self, parent: &Root, path: &Path) -> Vec<(RelPath, Root, PathBuf)> {
        let listing = match Listing::read(parent) {
            Ok(listing) => listing,
            Err(error) => {
                self.unreadable(path, &error);
                return Vec::new();
            }
        };
        for link in listing.links.iter() {
            let path = path.join(link.as_path());
            let message = format!(
                "{}: is a symbolic link and not followed; put the folder itself",
                path.display()
            );
            self.warn(&path, Topic::Layout, message);
        }
        let mut opened = Vec::new();
        for name in listing.folders.iter() {
            let path = path.join(name.as_path());
            match parent.open_dir(name) {
                Ok(folder) => opened.push((name.clone(), folder, path)),
                Err(error) => self.unreadable(&path, &error),
            }
        }
        opened
    }

    /// A folder that is a plugin if it has a manifest.
    fn plugin(&mut self, folder_name: &str, folder: &Root, dir: &Path) {
        let Some((file, text)) = self.manifest_text(folder, dir) else {
            return;
        };
        let parsed = PluginManifest::parse(&text, &file.display().to_string());
        let Parsed {
            value: manifest,
            warnings,
            ..
        } = match parsed {
            Ok(parsed) => parsed,
            Err(errors) => return self.refuse(folder_name, dir, &file, errors),
        };
        self.warn_all(&file, &warnings);
        let base = match (&manifest.base, self.prefix) {
            (Some(base), Some(prefix)) => base.clone().unless_reserved(prefix),
            _ => return self.sound(folder_name, folder, dir, manifest),
        };
        match base {
            Ok(_) => self.sound(folder_name, folder, dir, manifest),
            Err(error) => self.bad_base(manifest.name.as_str(), dir, error),
        }
    }

    /// A plugin with a sound manifest.
    fn sound(
        &mut self,
        folder_name: &str,
        folder: &Root,
        dir: &Path,
        mut manifest: PluginManifest,
    ) {
        let Some(name) = self.name(folder_name, dir, &manifest.name) else {
            return;
        };
        if let Some(enabled) = self.overrides.get(&name) {
            manifest.enabled = *enabled;
        }
        let asks = self.asks(&name, dir, &manifest);
        if manifest.enabled && !asks.refused.is_empty() {
            let message = format!(
                "Plugin \"{name}\" in {} is disabled: it asks for what it is not granted: {}; grant it in RUNTIME_GRANTS, or ask for less",
                dir.display(),
                NotGranted::list(&asks.refused)
            );
            return self.error(dir, Topic::Permission, message);
        }
        let files = [&manifest.entrypoint, &manifest.plugin_entry];
        for file in files.into_iter().flatten() {
            if let Err(problem) = entry(folder, dir, file) {
                self.found.plugins.problems.push(problem);
                return;
            }
        }
        self.found.plugins.add(Plugin {
            name,
            root: self.at.clone(),
            dir: dir.to_owned(),
            source: self.source,
            manifest,
        });
    }

    /// What a plugin is called that says it is called `stated`.
    fn name(&mut self, folder: &str, dir: &Path, stated: &PackageName) -> Option<PackageName> {
        let own = match folder.parse::<PackageName>() {
            Ok(own) => own,
            Err(error) => {
                let message = format!("{}: ignored: {error}", dir.display());
                self.warn(dir, Topic::Layout, message);
                return None;
            }
        };
        let may_say_so = own.scope().is_none() || own.scope() == stated.scope();
        if may_say_so && own.base() == stated.base() {
            return Some(stated.clone());
        }
        let counts = if may_say_so { stated } else { &own };
        let message = format!(
            "{}: is called \"{stated}\" but lies in the folder of \"{own}\"; \"{counts}\" counts",
            dir.display()
        );
        self.warn(dir, Topic::Manifest, message);
        Some(counts.clone())
    }

    /// The manifest and what it is called; `None` if there is none, or none that
    /// can be read.
    fn manifest_text(&mut self, folder: &Root, dir: &Path) -> Option<(PathBuf, String)> {
        for name in [MANIFEST_YAML, MANIFEST_YML] {
            let file = dir.join(name.as_path());
            match read_text(folder, &name, MANIFEST_MAX_BYTES) {
                Ok(Some(text)) => return Some((file, text)),
                Ok(None) => {}
                Err(Unreadable::Refused(why)) => {
                    let message = format!("{}: {why}", file.display());
                    self.error(&file, Topic::Manifest, message);
                    return None;
                }
                Err(Unreadable::Passing(error)) => {
                    self.unreadable(&file, &error);
                    return None;
                }
            }
        }
        let code = DEFAULT_PLUGIN_ENTRIES.map(RelPath::literal);
        if code.iter().any(|code| folder.metadata(code).is_ok()) {
            let message = format!("{}: ignored: it has no manifest.yaml", dir.display());
            self.warn(dir, Topic::Layout, message);
        }
        None
    }

    fn asks(&mut self, name: &PackageName, dir: &Path, manifest: &PluginManifest) -> Asks {
        let (permissions, limits) = (&manifest.permissions, &manifest.limits);
        let asks = Asks::of(self.grants, Some(name.clone()), permissions, limits);
        self.found.asks.push(CheckedPlugin {
            dir: dir.to_owned(),
            asks: asks.clone(),
        });
        asks
    }

    /// A plugin whose manifest is refused.
    fn refuse(&mut self, folder: &str, dir: &Path, file: &Path, errors: PluginManifestErrors) {
        self.warn_all(file, &errors.all.warnings);
        match errors.base {
            None => self.error(file, Topic::Manifest, errors.all.to_string()),
            Some(base) => {
                let name = errors.name.as_ref().map_or(folder, PackageName::as_str);
                self.bad_base(name, dir, base);
            }
        }
    }

    fn bad_base(&mut self, plugin: &str, dir: &Path, error: PluginBaseError) {
        self.found.bad_bases.push(BadBase {
            plugin: plugin.to_owned(),
            error,
            dir: dir.to_owned(),
        });
    }

    fn warn_all(&mut self, file: &Path, warnings: &[Diagnostic]) {
        for warning in warnings {
            self.warn(file, Topic::Manifest, warning.to_string());
        }
    }

    fn unreadable(&mut self, path: &Path, error: &OpenError) {
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        self.error(
            path,
            Topic::Disk,
            format!("{}: {error}{cause}", path.display()),
        );
    }

    fn error(&mut self, path: &Path, topic: Topic, message: String) {
        let problem = Problem::error(topic, path, message);
        self.found.plugins.problems.push(problem);
    }

    fn warn(&mut self, path: &Path, topic: Topic, message: String) {
        let problem = Problem::warning(topic, path, message);
        self.found.plugins.problems.push(problem);
    }
}

/// Looks whether a file that a manifest names is there and stays in the folder.
fn entry(folder: &Root, dir: &Path, named: &str) -> Result<(), Problem> {
    let problem = |why: &str| {
        let message = format!("{}: {why}", dir.display());
        Problem::error(Topic::Entrypoint, dir, message)
    };
    let path = RelPath::try_from(named)
        .map_err(|error| problem(&format!("entrypoint \"{named}\": {error}")))?;
    match find_entry(folder, &path) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(problem(&format!("entrypoint \"{named}\" does not exist"))),
        Err(BadEntry::Escapes) => Err(problem("Security: Entrypoint escapes app directory")),
        Err(BadEntry::Unusable(why)) => Err(problem(&format!("entrypoint \"{named}\" {why}"))),
        Err(BadEntry::Passing(error)) => Err(problem(&format!("entrypoint \"{named}\": {error}"))),
    }
}
