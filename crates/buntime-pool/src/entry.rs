//! Which file of an app a worker runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::AppBundle;
use crate::config::AppSpec;
use crate::error::StartFailure;
use crate::pool::Shared;

/// Fixed by the contract.
const ESCAPES: &str = "Security: Entrypoint escapes app directory";

/// The module that a worker loads.
#[derive(Debug)]
pub(crate) enum EntryToRun {
    /// The app's own.
    Source(PathBuf),
    /// One that was made of it.
    Bundle(PathBuf),
}

impl EntryToRun {
    pub(crate) fn is_bundle(&self) -> bool {
        matches!(self, Self::Bundle(_))
    }

    pub(crate) fn into_path(self) -> PathBuf {
        match self {
            Self::Source(path) | Self::Bundle(path) => path,
        }
    }
}

/// The one place that decides what a worker loads.
///
/// # Errors
/// The app's own module lies outside of its folder (contract section 5): it was
/// found inside, and a link has taken its place since.
pub(crate) async fn entry_to_run(
    shared: &Arc<Shared>,
    spec: &Arc<AppSpec>,
    bundle: &Arc<AppBundle>,
) -> Result<EntryToRun, StartFailure> {
    match bundle.entry(shared, spec).await {
        Some(path) => Ok(EntryToRun::Bundle(path)),
        None if escapes(&spec.dir, &spec.entrypoint) => Err(StartFailure::new(ESCAPES)),
        None => Ok(EntryToRun::Source(spec.entrypoint.clone())),
    }
}

/// Whether a module lies outside of the folder once all links are followed. One
/// that is not there is for Bun to tell of.
fn escapes(dir: &Path, module: &Path) -> bool {
    match (dir.canonicalize(), module.canonicalize()) {
        (Ok(dir), Ok(module)) => !module.starts_with(dir),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn m7_a_module_is_judged_by_where_its_links_lead() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        for name in ["app", "app/src", "app-evil"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("index.ts"), "").unwrap();
        }
        symlink("src/index.ts", path("app/stays.ts")).unwrap();
        symlink("../app-evil/index.ts", path("app/leaves.ts")).unwrap();
        symlink("../app-evil", path("app/folder")).unwrap();
        symlink("app", path("alias")).unwrap();
        for (dir, module, is_outside) in [
            ("app", "app/index.ts", false),
            ("app", "app/stays.ts", false),
            ("alias", "alias/index.ts", false),
            ("app", "app/missing.ts", false),
            ("app", "app/leaves.ts", true),
            ("app", "app/folder/index.ts", true),
            ("app", "app-evil/index.ts", true),
            ("app", "app/../app-evil/index.ts", true),
        ] {
            assert_eq!(escapes(&path(dir), &path(module)), is_outside, "{module}");
        }
    }
}
