//! The root key: the operator's own, from the configuration or from a file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use buntime_core::ApiKey;
use zeroize::Zeroizing;

use super::{SECRET_MAX, random};
use crate::config::Secret;
use crate::logging::Logger;

/// The generated key's file in the state directory.
const FILE: &str = "root-key";
/// Shortest key that is taken from the file.
const SHORTEST: usize = 16;

/// Why there is no root key. Reads as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file cannot be read or made.
    #[error("the root key {} cannot be used: {source}; look at its owner and mode, or set RUNTIME_ROOT_KEY", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no key.
    #[error(
        "{} holds no root key; remove it to have one generated, or write 16 to 256 visible ASCII characters without spaces into it",
        .0.display()
    )]
    Malformed(PathBuf),
    /// The system has no random numbers.
    #[error("the system has no random numbers for a root key: {0}")]
    Random(#[from] getrandom::Error),
}

/// The configured key, else the one in the file, else a new one, put into the file.
pub(super) fn obtain(
    state_dir: &Path,
    configured: Option<&Secret>,
    log: &Logger,
) -> Result<Secret, RootKeyError> {
    if let Some(configured) = configured {
        return Ok(configured.clone());
    }
    let path = state_dir.join(FILE);
    let io = |source| RootKeyError::Io {
        path: path.clone(),
        source,
    };
    match read(&path, log) {
        Ok(Some(text)) => {
            let fits = (SHORTEST..=SECRET_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            return match fits {
                true => Ok(Secret::new(&text)),
                false => Err(RootKeyError::Malformed(path)),
            };
        }
        Ok(None) => {}
        Err(source) => return Err(io(source)),
    }
    let key = ApiKey::from_random(&*random()?);
    write(&path, key.expose()).map_err(io)?;
    log.info("access", "A root key was generated", |fields| {
        fields.text("file", path.display());
    });
    Ok(Secret::new(key.expose()))
}

/// The text of the file without the space around it; `None` if there is no file.
fn read(path: &Path, log: &Logger) -> io::Result<Option<Zeroizing<String>>> {
    let file = File::options()
        .read(true)
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if found.mode() & 0o077 != 0 {
        log.warn("access", "The root key was open to other users", |fields| {
            fields.text("file", path.display());
        });
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_MAX));
    file.take(2 * SECRET_MAX as u64).read_to_string(&mut text)?;
    Ok(Some(Zeroizing::new(text.trim_ascii().to_owned())))
}

/// Puts the key into the file, whole and durable, or not at all.
fn write(path: &Path, key: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(key.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
