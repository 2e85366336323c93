//! From what the catalog finds to what serves it.

use std::sync::Arc;

use buntime_core::Manifest;
use buntime_fs::static_files::{FileCache, SourceMaps, StaticSite};
use buntime_fs::{OpenError, RelPath, Root};
use buntime_pool::{AppSpec, Pool, Retirement};

use super::kept_back::KeptBack;
use crate::catalog::{CatalogEvents, Deployment, Entry, Problem, State, Unit};
use crate::config::BodyLimits;
use crate::dispatch::{Answers, Served};
use crate::logging::Logger;
use crate::metrics::Metrics;

/// Makes a site or an app of each unit, and logs what the catalog has to say.
pub(super) struct Deployer {
    pool: Pool,
    files: Arc<FileCache>,
    bodies: BodyLimits,
    kept_back: KeptBack,
    metrics: Metrics,
    log: Logger,
}

impl Deployer {
    pub(super) fn new(
        pool: Pool,
        files: Arc<FileCache>,
        bodies: BodyLimits,
        kept_back: KeptBack,
        metrics: Metrics,
        log: Logger,
    ) -> Self {
        Self {
            pool,
            files,
            bodies,
            kept_back,
            metrics,
            log,
        }
    }

    /// Says when an app gets a smaller body limit than its manifest asks for.
    fn warn_of_cap(&self, unit: &Unit, manifest: &Manifest) {
        let limit = manifest.body_limit(self.bodies.default, self.bodies.max);
        let Some(asked) = limit.capped_from else {
            return;
        };
        self.log
            .warn("catalog", "maxBodySize capped at BODY_SIZE_MAX", |fields| {
                fields
                    .text("app", &unit.id)
                    .text("asked", asked)
                    .text("limit", limit.bytes);
            });
    }

    fn site(&self, unit: &Unit, page: &RelPath) -> Result<StaticSite, OpenError> {
        let files = Arc::clone(&self.files);
        StaticSite::of_app(open_unit(unit)?, page, SourceMaps::Hidden, files)
    }

    fn answers(&self, unit: &Unit) -> Answers {
        let Some(ready) = unit.ready() else {
            return Answers::Nothing;
        };
        match &ready.entry {
            Entry::Static(page) => match self.site(unit, page) {
                Ok(site) => Answers::Site(site),
                Err(error) => {
                    self.log
                        .error("catalog", "Cannot open the site's folder", |fields| {
                            fields.text("app", &unit.id);
                            fields.error(&error);
                        });
                    Answers::Nothing
                }
            },
            Entry::Script(entrypoint) => {
                let id = unit.id.to_string();
                self.warn_of_cap(unit, &ready.manifest);
                self.kept_back.begin(&id, &ready.blocked_env);
                Answers::App(self.pool.app(AppSpec {
                    id,
                    name: unit.name.clone(),
                    version: unit.version.clone(),
                    dir: unit.dir.clone(),
                    entrypoint: unit.dir.join(entrypoint.as_path()),
                    manifest: Arc::clone(&ready.manifest),
                    granted: Arc::clone(&ready.granted),
                    env: ready.env.clone(),
                }))
            }
        }
    }
}

/// Opens a unit's folder from its root: a folder on the way that became a link
/// since it was found leads nowhere.
fn open_unit(unit: &Unit) -> Result<Root, OpenError> {
    let below = unit.dir.strip_prefix(&unit.root).ok();
    let below = below.and_then(|path| RelPath::try_from(path.to_str()?).ok());
    Root::open(&unit.root)?.open_dir(&below.ok_or(OpenError::NotFound)?)
}

impl CatalogEvents<Served> for Deployer {
    fn deploy(&self, unit: &Unit) -> Served {
        Served {
            answers: self.answers(unit),
            counters: self.metrics.deployed(&unit.id, &unit.name),
        }
    }

    fn retire(&self, deployment: &Arc<Deployment<Served>>, next: Option<&Arc<Deployment<Served>>>) {
        if let Answers::App(app) = &deployment.slot().answers {
            app.retire(match next.map(|next| &next.unit().state) {
                None | Some(State::Disabled) => Retirement::Removed,
                Some(State::Ready(_) | State::Broken(_)) => Retirement::Replaced,
            });
            let unit = deployment.unit();
            if let Some(ready) = unit.ready() {
                self.kept_back.end(unit.id.as_ref(), &ready.blocked_env);
            }
        }
    }

    fn problem(&self, problem: &Problem) {
        self.log
            .log(problem.level(), "catalog", &problem.message, |fields| {
                fields.text("path", problem.path.display());
            });
    }
}
