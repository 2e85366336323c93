//! The plugins that count at present, and how they are read anew.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use buntime_core::access::{Denied, Permission, Permit};
use buntime_core::{Grants, PackageName};
use buntime_fs::{OpenError, RelPath, Staging, Tree, WriteError};
use parking_lot::Mutex;

use super::{BadBases, Overrides, PluginPackage, Plugins};
use crate::catalog::{Problem, Severity, Source, Topic};
use crate::config::ApiPrefix;
use crate::store::{StoreError, UnitState};

/// The set of plugins, replaced as a whole or not at all.
#[derive(Debug)]
pub(crate) struct InstalledPlugins {
    roots: Vec<PathBuf>,
    prefix: ApiPrefix,
    grants: Arc<Grants>,
    current: ArcSwap<Plugins>,
    /// What the operator has said. Held while the next set is made: two at once would
    /// each miss the other's.
    overrides: Mutex<Overrides>,
}

/// Why the set stays as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReloaded {
    /// No server may have these bases.
    #[error(transparent)]
    Bases(#[from] BadBases),
    /// At least one plugin would not be there.
    #[error("{} of the plugins cannot be loaded", .0.len())]
    Problems(Vec<Problem>),
}

/// Why a plugin is not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its base is taken; the text says by what.
    #[error("{0}")]
    BaseTaken(&'static str),
    /// One of the new set cannot be loaded.
    #[error(transparent)]
    Reload(#[from] NotReloaded),
    /// It lies in its place, and yet is not found there.
    #[error("the new plugin is not found where it lies")]
    NotFound,
}

/// Why a plugin is not enabled or disabled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSet {
    /// It is not there.
    #[error("there is no such plugin")]
    NotFound,
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Not all of the new set can be loaded.
    #[error(transparent)]
    Reload(#[from] NotReloaded),
    /// It would be forgotten.
    #[error("the operator's word cannot be kept")]
    Store(#[from] StoreError),
}

/// Why a plugin stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRemoved {
    /// It is not there.
    #[error("there is no such plugin")]
    NotFound,
    /// It belongs to the installation.
    #[error("built-in plugins cannot be removed")]
    BuiltIn,
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its root cannot be opened.
    #[error("the plugin's folder cannot be opened")]
    Open(#[from] OpenError),
    /// Its folder cannot be removed.
    #[error("the plugin's folder cannot be removed")]
    Write(#[from] WriteError),
}

impl InstalledPlugins {
    /// Begins with the set that the server started with.
    pub(crate) fn new(
        plugins: Plugins,
        overrides: Overrides,
        roots: Vec<PathBuf>,
        prefix: ApiPrefix,
        grants: Arc<Grants>,
    ) -> Self {
        Self {
            roots,
            prefix,
            grants,
            current: ArcSwap::from_pointee(plugins),
            overrides: Mutex::new(overrides),
        }
    }

    /// The set as it is now.
    pub(crate) fn current(&self) -> Arc<Plugins> {
        self.current.load_full()
    }

    /// Reads all plugins again and puts the new set in the place of the old.
    /// `is_worker` knows the names of workers, which no base may shadow. Blocks.
    ///
    /// # Errors
    /// Any plugin that cannot be read or may not be there: all stay as they were, for
    /// one that is missing may be the one that keeps strangers out.
    pub(crate) fn reload(
        &self,
        is_worker: impl Fn(&str) -> bool,
    ) -> Result<Arc<Plugins>, NotReloaded> {
        let overrides = self.overrides.lock();
        let plugins = Arc::new(self.read(&overrides, is_worker)?);
        self.current.store(Arc::clone(&plugins));
        Ok(plugins)
    }

    /// Enables or disables a plugin, whatever its manifest says, and reads all of them
    /// again. `keep` writes the operator's word down. Blocks.
    ///
    /// # Errors
    /// There is no such plugin, one of the new set cannot be loaded, or the word cannot
    /// be kept: then all stays as it was.
    pub(crate) fn set_enabled(
        &self,
        permit: &Permit,
        name: &PackageName,
        enabled: bool,
        is_worker: impl Fn(&str) -> bool,
        keep: impl FnOnce(UnitState) -> Result<(), StoreError>,
    ) -> Result<(), NotSet> {
        permit.covers(Permission::PluginsInstall, name)?;
        let mut overrides = self.overrides.lock();
        let current = self.current();
        let is_there = |plugins: &Plugins| plugins.accepted().iter().any(|one| one.name == *name);
        if !is_there(&current) {
            return Err(NotSet::NotFound);
        }
        let mut next = overrides.clone();
        next.insert(name.clone(), enabled);
        let plugins = self.read(&next, is_worker)?;
        if !is_there(&plugins) {
            return Err(NotSet::NotFound);
        }
        keep(UnitState {
            name: name.clone(),
            version: None,
            enabled,
        })?;
        *overrides = next;
        self.current.store(Arc::new(plugins));
        Ok(())
    }

    /// Has `put` place a plugin's folder, knowing the set as it is, then reads all plugins
    /// anew and puts the new set in the place of the old. Blocks.
    ///
    /// # Errors
    /// `put` fails, the base is taken, or the new set cannot be loaded: then `take_back`
    /// has the folders as they were, and the set stays.
    pub(crate) fn install<T, E: From<NotInstalled>>(
        &self,
        permit: &Permit,
        package: &PluginPackage,
        is_worker: impl Fn(&str) -> bool,
        put: impl FnOnce(&Plugins) -> Result<T, E>,
        take_back: impl FnOnce(T),
    ) -> Result<T, E> {
        let covered = permit.covers(Permission::PluginsInstall, &package.name);
        covered.map_err(NotInstalled::from)?;
        let overrides = self.overrides.lock();
        let current = self.current();
        let enabled = overrides.get(&package.name).unwrap_or(&package.enabled);
        if let Some(base) = package.base.as_ref().filter(|_| *enabled)
            && let Some(taken) = current.taken(&package.name, base, &is_worker)
        {
            return Err(NotInstalled::BaseTaken(taken).into());
        }
        let placed = put(&current)?;
        let read = self.read(&overrides, is_worker);
        let has = |plugins: &Plugins| {
            plugins
                .accepted()
                .iter()
                .any(|one| one.name == package.name)
        };
        let error = match read {
            Ok(plugins) if has(&plugins) => {
                self.current.store(Arc::new(plugins));
                return Ok(placed);
            }
            Ok(_) => NotInstalled::NotFound,
            Err(error) => error.into(),
        };
        take_back(placed);
        Err(error.into())
    }

    /// The first segment of `RUNTIME_API_PREFIX` is no plugin's base.
    pub(crate) fn prefix(&self) -> &ApiPrefix {
        &self.prefix
    }

    /// All plugins as they would count, if every one of them can be loaded.
    fn read(
        &self,
        overrides: &Overrides,
        is_worker: impl Fn(&str) -> bool,
    ) -> Result<Plugins, NotReloaded> {
        let mut plugins = Plugins::read(&self.roots, &self.prefix, overrides, &self.grants)?;
        let current = self.current();
        plugins.refuse_shadows(&current, is_worker);
        // A base that a worker had already when the set was made: nothing is lost by it.
        let is_known = |problem: &Problem| {
            problem.topic == Topic::Collision && current.problems().contains(problem)
        };
        let errors = plugins.problems().iter();
        let errors: Vec<_> = errors
            .filter(|problem| problem.severity == Severity::Error && !is_known(problem))
            .cloned()
            .collect();
        if errors.is_empty() {
            Ok(plugins)
        } else {
            Err(NotReloaded::Problems(errors))
        }
    }

    /// Removes a plugin: its folder in one step, and it from the set. Blocks.
    ///
    /// # Errors
    /// It is not there, built-in, or its folder cannot be removed; then it stays.
    pub(crate) fn remove(&self, permit: &Permit, name: &PackageName) -> Result<(), NotRemoved> {
        permit.covers(Permission::PluginsRemove, name)?;
        let mut overrides = self.overrides.lock();
        let current = self.current();
        let mut accepted = current.accepted().iter();
        let plugin = accepted
            .find(|plugin| plugin.name == *name)
            .ok_or(NotRemoved::NotFound)?;
        if plugin.source == Source::BuiltIn {
            return Err(NotRemoved::BuiltIn);
        }
        let below = plugin.dir.strip_prefix(&plugin.root).ok();
        let below = below.and_then(|path| RelPath::try_from(path.to_str()?).ok());
        let below = below.ok_or(NotRemoved::NotFound)?;
        Staging::discard(&Tree::open(&plugin.root)?, &below)?;
        overrides.remove(name);
        self.current.store(Arc::new(current.without(name)));
        Ok(())
    }
}
