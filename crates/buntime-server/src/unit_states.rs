//! The operator's word on which versions of workers are enabled: on the disk, and in the
//! catalog, which serves by it.
//!
//! The disk comes first. Changes are made one after the other, each to its end whether or
//! not somebody still waits for it, so that the two always say the same.

use std::sync::Arc;

use buntime_core::access::{Denied, Permission, Permit};
use buntime_core::{PackageName, Version};
use tokio::sync::Mutex;

use crate::catalog::{Catalog, unit_id};
use crate::dispatch::Served;
use crate::logging::Logger;
use crate::removal::{self, RemovalError};
use crate::store::{Store, StoreError, UnitState};

/// What an operator does to versions of workers. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct UnitStates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    catalog: Catalog<Served>,
    log: Logger,
    /// Held over the change on the disk and the one in the catalog.
    order: Mutex<()>,
}

/// Why a version was not enabled or disabled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The permit is for something else.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be stored. Nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is stored, and the catalog cannot follow: the version is gone, or its files
    /// cannot be read.
    #[error("the version cannot be read")]
    Unreadable,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl UnitStates {
    pub(crate) fn new(store: Store, catalog: Catalog<Served>, log: Logger) -> Self {
        Self(Arc::new(Inner {
            store,
            catalog,
            log,
            order: Mutex::default(),
        }))
    }

    /// Enables or disables a version that is there, from the next request on.
    pub(crate) async fn set(
        &self,
        permit: &Permit,
        name: PackageName,
        version: Version,
        enabled: bool,
    ) -> Result<(), StateError> {
        permit.covers(Permission::WorkersInstall, &name)?;
        let inner = Arc::clone(&self.0);
        let set = async move {
            let _order = inner.order.lock().await;
            let id = unit_id(&name, &version);
            let state = UnitState {
                name,
                version: Some(version),
                enabled,
            };
            let stored = inner
                .store
                .run(move |database| database.set_unit_state(&state));
            stored.await?;
            let catalog = inner.catalog.clone();
            let set = move || catalog.set_enabled(&id, Some(enabled));
            match tokio::task::spawn_blocking(set).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(StateError::Unreadable),
                Err(_) => Err(StateError::Stopping),
            }
        };
        tokio::spawn(set).await.map_err(|_| StateError::Stopping)?
    }

    /// Removes a version, or all of a worker, and forgets what was said of it. Returns the
    /// versions that there were.
    pub(crate) async fn remove(
        &self,
        permit: Permit,
        name: PackageName,
        version: Option<Version>,
    ) -> Result<Vec<Version>, RemovalError> {
        let inner = Arc::clone(&self.0);
        let remove = async move {
            let _order = inner.order.lock().await;
            let (catalog, unit) = (inner.catalog.clone(), name.clone());
            let remove = move || {
                let removed = removal::remove(&catalog, &permit, &unit, version.as_ref())?;
                for version in &removed {
                    catalog.set_enabled(&unit_id(&unit, version), None);
                }
                Ok::<_, RemovalError>(removed)
            };
            let removed = tokio::task::spawn_blocking(remove)
                .await
                .map_err(|_| RemovalError::Stopping)??;
            inner.forget(name, removed.clone()).await;
            Ok(removed)
        };
        tokio::spawn(remove)
            .await
            .map_err(|_| RemovalError::Stopping)?
    }
}

impl Inner {
    /// What is gone is gone: that its state stays on the disk is for the log.
    async fn forget(&self, name: PackageName, versions: Vec<Version>) {
        let forgotten = self.store.run(move |database| {
            let mut versions = versions.iter();
            versions.try_for_each(|version| database.forget_unit_states(&name, Some(version)))
        });
        if let Err(error) = forgotten.await {
            let message = "What was said of a removed version could not be forgotten";
            self.log.warn("store", message, |fields| {
                fields.error(&error);
            });
        }
    }
}
