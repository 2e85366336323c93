mod certificate;
mod defaults;
mod grants;
mod reference;
mod secrets;
mod told;
mod values;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A folder with `apps/`, `extra/`, `.core/`, `file` and `plugins-elsewhere/`, to start from.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["apps", "extra", ".core", "plugs", ".plugs"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        fs::write(temp.path().join("file"), "x").unwrap();
        fs::write(temp.path().join("grants"), "shop: {limits: {cpu: 2}}\n").unwrap();
        Self(temp)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn load(
        &self,
        vars: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Loaded, ConfigErrors> {
        let vars: HashMap<String, String> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut given = Flags::new();
        for (name, value) in flags {
            given.set(name, value);
        }
        Config::load(&Sources {
            vars: &vars,
            flags: &given,
            current_dir: self.path(),
        })
    }

    /// With worker roots, and one more variable.
    fn with(&self, name: &str, value: &str) -> Result<Config, String> {
        let mut vars = vec![("RUNTIME_WORKER_DIRS", "apps")];
        vars.retain(|(known, _)| *known != name);
        vars.push((name, value));
        self.load(&vars, &[])
            .map(|loaded| loaded.config)
            .map_err(|errors| errors.to_string())
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
