//! What to start, as data.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::policy::Policy;

/// Resource limits of a process, soft and hard alike. A limit above the
/// server's own hard limit is lowered to it. Core dumps are always off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Most open descriptors (RLIMIT_NOFILE). At least 8 to start at all.
    pub open_files: u64,
    /// Largest file it may write, in bytes (RLIMIT_FSIZE); none is unlimited.
    pub file_size: Option<u64>,
    /// Most private memory, in bytes (RLIMIT_DATA); none is unlimited. Below
    /// about 3 GB the JavaScript engine runs without its compiler.
    pub data: Option<u64>,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            open_files: 1024,
            file_size: None,
            data: None,
        }
    }
}

/// One process to start.
#[derive(Debug)]
pub struct Launch {
    /// Absolute path of the program. It is executed as such: no search path,
    /// no shell.
    pub program: PathBuf,
    /// Arguments after argv0, which is the program's path.
    pub args: Vec<OsString>,
    /// The whole environment of the process.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// What it finds as descriptor 3.
    pub control: OwnedFd,
    /// Its resource limits.
    pub limits: ProcessLimits,
    /// Added politeness, 0 to 19. It cannot be negative without privileges.
    pub nice: i32,
    /// What confines it beyond all this.
    pub policy: Option<Policy>,
}
