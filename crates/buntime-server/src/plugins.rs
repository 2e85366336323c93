//! Plugins as they lie on disk: `name/` or `@scope/name/` in each plugin root.
//!
//! This version reads and checks them; it does not run their code. What a plugin
//! would get wrong for others is settled when the server starts:
//!
//! - A base that is reserved or malformed stops the start ([`BadBases`]), also that
//!   of a disabled plugin: enabling it must not need another look.
//! - A manifest that cannot be read disables that plugin and no other.
//! - Of two plugins with one name or one base, the first in the order of roots and
//!   paths counts. A base never shadows a worker. Disabled plugins keep their names
//!   and take part in neither of the latter.
//!
//! A plugin is called what its manifest says. In a folder below `@scope/` it has to
//! be a name of that scope, else the folder's name counts: who may write there may
//! not speak for others.

mod installed;
mod package;
mod scan;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use buntime_core::{Grants, PackageName, PluginBase, PluginBaseError, PluginManifest};

use crate::catalog::{Asks, Problem, Source, Topic};
use crate::config::ApiPrefix;
use crate::logging::Logger;

pub(crate) use self::installed::{InstalledPlugins, NotInstalled, NotReloaded, NotRemoved, NotSet};
pub(crate) use self::package::PluginPackage;

/// What a look-alike login page would be served from; no app has this name either.
const PANEL: &str = "cpanel";

/// A plugin whose manifest is sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// What it is called.
    pub name: PackageName,
    /// The root that it was found in.
    pub root: PathBuf,
    /// Its folder, absolute.
    pub dir: PathBuf,
    /// Who put it there.
    pub source: Source,
    /// Its manifest.
    pub manifest: PluginManifest,
}

/// What the operator has said of plugins: enabled or not, whatever their manifests say.
pub type Overrides = HashMap<PackageName, bool>;

/// The plugins that may be there, and what was wrong with others.
#[derive(Debug, Default)]
pub struct Plugins {
    accepted: Vec<Plugin>,
    problems: Vec<Problem>,
}

/// What [`Plugins::check`] finds.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedPlugins {
    /// All problems, errors first.
    pub problems: Vec<Problem>,
    /// The plugins with a sound manifest.
    pub plugins: Vec<CheckedPlugin>,
}

/// A plugin and what it asks for.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckedPlugin {
    /// Its folder.
    pub dir: PathBuf,
    /// What it asks for.
    pub asks: Asks,
}

/// A plugin whose base no server may start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBase {
    /// What the manifest calls it, else its folder's name.
    pub plugin: String,
    /// What is wrong.
    pub error: PluginBaseError,
    /// Its folder.
    pub dir: PathBuf,
}

impl fmt::Display for BadBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin \"{}\" {}", self.plugin, self.error)
    }
}

/// All plugins whose base is reserved or malformed: one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBases(Vec<BadBase>);

impl fmt::Display for BadBases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bad) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}Error: {bad}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadBases {}

impl BadBases {
    /// Those of the plugins that somebody sees; `None` if he sees none of them.
    #[must_use]
    pub fn of(&self, sees: impl Fn(&str) -> bool) -> Option<Self> {
        let seen = self.0.iter().filter(|bad| sees(&bad.plugin));
        let seen: Vec<_> = seen.cloned().collect();
        (!seen.is_empty()).then_some(Self(seen))
    }
}

impl Plugins {
    /// Reads all plugins below the roots, in their order. `prefix` is
    /// `RUNTIME_API_PREFIX`, whose first segment no plugin may have. Blocks.
    ///
    /// # Errors
    /// Every plugin whose base is reserved or malformed.
    pub fn read(
        roots: &[PathBuf],
        prefix: &ApiPrefix,
        overrides: &Overrides,
        grants: &Grants,
    ) -> Result<Self, BadBases> {
        let found = scan::scan(roots, prefix, overrides, grants);
        if found.bad_bases.is_empty() {
            Ok(found.plugins)
        } else {
            Err(BadBases(found.bad_bases))
        }
    }

    /// All problems of plugins below the roots, bad bases among them. Blocks.
    #[must_use]
    pub fn check(
        roots: &[PathBuf],
        prefix: &ApiPrefix,
        grants: &Grants,
        is_worker: impl Fn(&str) -> bool,
    ) -> CheckedPlugins {
        let mut found = scan::scan(roots, prefix, &Overrides::new(), grants);
        found.plugins.refuse_shadows(&Self::default(), is_worker);
        let bases = found.bad_bases.iter().map(|bad| {
            let message = format!("{}: {bad}", bad.dir.display());
            Problem::error(Topic::Base, &bad.dir, message)
        });
        let mut problems: Vec<_> = bases.chain(found.plugins.problems).collect();
        problems.sort_by(|a, b| (a.severity, &a.path).cmp(&(b.severity, &b.path)));
        CheckedPlugins {
            problems,
            plugins: found.asks,
        }
    }

    /// Takes out the plugins whose base is the path of a worker, or of the panel. One that
    /// had its base in `before` keeps it, with a warning: the worker came later, by hand,
    /// and must not take away what may keep strangers out.
    pub fn refuse_shadows(&mut self, before: &Self, is_worker: impl Fn(&str) -> bool) {
        let problems = &mut self.problems;
        self.accepted.retain(|plugin| {
            let Some(base) = plugin.enabled_base() else {
                return true;
            };
            let owner = match base.segment() {
                PANEL => "the server's panel".to_owned(),
                name if is_worker(name) => {
                    if before.has_base(plugin) {
                        problems.push(plugin.keeps_base(name));
                        return true;
                    }
                    format!("the worker \"{name}\"")
                }
                _ => return true,
            };
            problems.push(plugin.refused(&format!("base \"{base}\" already belongs to {owner}")));
            false
        });
    }

    /// Whether this plugin is among those that count, with the same base.
    fn has_base(&self, plugin: &Plugin) -> bool {
        let mut known = self.accepted.iter();
        known
            .any(|known| known.name == plugin.name && known.enabled_base() == plugin.enabled_base())
    }

    /// Why a plugin of this name may not have this base, if it may not. It does not say
    /// whose the base is: that may be nothing for whoever asks to know.
    fn taken(
        &self,
        name: &PackageName,
        base: &PluginBase,
        is_worker: impl Fn(&str) -> bool,
    ) -> Option<&'static str> {
        let others = self.accepted.iter().filter(|plugin| plugin.name != *name);
        let mut bases = others.filter_map(Plugin::enabled_base);
        match base.segment() {
            PANEL => Some("the base of the plugin belongs to the server's panel"),
            segment if is_worker(segment) => Some("the base of the plugin is that of a worker"),
            _ if bases.any(|other| other == base) => {
                Some("the base of the plugin belongs to another plugin")
            }
            _ => None,
        }
    }

    /// The same without one of them.
    fn without(&self, name: &PackageName) -> Self {
        let kept = self.accepted.iter().filter(|plugin| plugin.name != *name);
        Self {
            accepted: kept.cloned().collect(),
            problems: self.problems.clone(),
        }
    }

    /// The plugins that count, in the order of roots and paths.
    #[must_use]
    pub fn accepted(&self) -> &[Plugin] {
        &self.accepted
    }

    /// Whether a plugin that counts has this path, so that no worker may have it.
    #[must_use]
    pub fn have_path(&self, worker: &PackageName) -> bool {
        let mut bases = self.accepted.iter().filter_map(Plugin::enabled_base);
        bases.any(|base| base.segment() == worker.as_str())
    }

    /// What is wrong: with plugins that do not count, or that probably are not
    /// what their author meant.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Adds a plugin, unless an earlier one has its name or its base.
    fn add(&mut self, plugin: Plugin) {
        let same_name = |known: &&Plugin| known.name == plugin.name;
        if let Some(first) = self.accepted.iter().find(same_name) {
            let message = format!(
                "Plugin collision: \"{}\" already registered from \"{}\", cannot register from \"{}\"",
                plugin.name,
                first.dir.display(),
                plugin.dir.display()
            );
            self.problems
                .push(Problem::error(Topic::Collision, &plugin.dir, message));
            return;
        }
        let base = plugin.enabled_base();
        let same_base = |known: &&Plugin| base.is_some() && known.enabled_base() == base;
        if let (Some(first), Some(base)) = (self.accepted.iter().find(same_base), base) {
            let owner = format!(
                "base \"{base}\" already belongs to plugin \"{}\"",
                first.name
            );
            self.problems.push(plugin.refused(&owner));
            return;
        }
        self.accepted.push(plugin);
    }
}

impl Plugin {
    /// Its base, if it is enabled and has one.
    fn enabled_base(&self) -> Option<&PluginBase> {
        let base = self.manifest.base.as_ref();
        base.filter(|_| self.manifest.enabled)
    }

    fn keeps_base(&self, worker: &str) -> Problem {
        let message = format!(
            "Plugin collision: the worker \"{worker}\" has the path of plugin \"{}\" in {}, which was there first; remove one of them, or the next start disables the plugin",
            self.name,
            self.dir.display()
        );
        Problem::warning(Topic::Collision, &self.dir, message)
    }

    fn refused(&self, why: &str) -> Problem {
        let message = format!(
            "Plugin \"{}\" in {} is disabled: {why}",
            self.name,
            self.dir.display()
        );
        Problem::error(Topic::Collision, &self.dir, message)
    }
}

/// Logs what is wrong with plugins, and that those that are sound do nothing yet.
pub(crate) fn tell_of(plugins: &Plugins, log: &Logger) {
    for problem in plugins.problems() {
        log.log(problem.level(), "plugins", &problem.message, |fields| {
            fields.text("path", problem.path.display());
        });
    }
    let enabled = plugins.accepted().iter();
    for plugin in enabled.filter(|plugin| plugin.manifest.enabled) {
        log.warn("plugins", "Plugins are not run by this version", |fields| {
            fields
                .text("plugin", &plugin.name)
                .text("path", plugin.dir.display());
        });
    }
}

#[cfg(test)]
mod tests;
