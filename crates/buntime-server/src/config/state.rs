//! The state directory.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};

use super::problem::Problem;
use super::settings::StateConfig;

impl StateConfig {
    /// Makes the state directory with mode 0700, and looks whether an existing one will do.
    ///
    /// An existing directory keeps its mode: a mounted volume often comes with a wider one that is not ours to change.
    /// Files with secrets in it are 0600 whatever the directory says.
    ///
    /// # Errors
    /// The directory cannot be made, or it cannot be written.
    pub fn prepare(&self) -> Result<Option<Problem>, Problem> {
        let problem = |message: String, accepted: &str| {
            Problem::new("RUNTIME_STATE_DIR", message, accepted)
                .with_value(&self.dir.to_string_lossy())
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|error| {
                problem(
                    format!("cannot be made: {error}"),
                    "name a folder that this user may make and write",
                )
            })?;
        let metadata = std::fs::metadata(&self.dir).map_err(|error| {
            problem(
                format!("cannot be opened: {error}"),
                "name a folder that this user may use",
            )
        })?;
        if rustix::fs::access(
            &self.dir,
            rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
        )
        .is_err()
        {
            return Err(problem(
                format!(
                    "cannot be written by this user; it belongs to user {}",
                    metadata.uid()
                ),
                "change its owner, or name another folder",
            ));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            return Ok(None);
        }
        Ok(Some(problem(
            format!("is open to other users (mode {mode:04o})"),
            "make it mode 0700",
        )))
    }
}
