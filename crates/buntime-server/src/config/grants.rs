//! The operator's grants: `RUNTIME_GRANTS` (contract sections 2 and 3).

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use buntime_core::{Grants, MANIFEST_MAX_BYTES, Parsed};

/// Reads the operator's file. Messages name line and column.
///
/// # Errors
/// All that is wrong with it, one message each.
pub fn load(file: &Path) -> Result<Parsed<Grants>, Vec<String>> {
    let shown = file.display().to_string();
    let text = read(file).map_err(|error| vec![format!("{shown}: cannot be read: {error}")])?;
    Grants::parse(&text, &shown)
        .map_err(|failed| failed.errors.iter().map(ToString::to_string).collect())
}

/// One byte more than is parsed, so that a file that is too large is seen to be.
fn read(file: &Path) -> io::Result<String> {
    let limit = u64::try_from(MANIFEST_MAX_BYTES + 1).unwrap_or(u64::MAX);
    let mut text = String::new();
    std::fs::File::open(file)?
        .take(limit)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Where nobody may be let in: what is the server's, and what is other units'.
#[derive(Debug)]
pub struct OutOfReach<'a> {
    /// The state directory, if it is known.
    pub state_dir: Option<&'a Path>,
    /// The worker roots.
    pub workers: Vec<&'a Path>,
    /// The plugin roots.
    pub plugins: &'a [PathBuf],
    /// The grants themselves.
    pub file: &'a Path,
}

/// Every process's environment, and through its `root` every file.
const PROCESSES: &str = "/proc";

/// Where services of the machine listen, whom who can read a folder could connect to.
const SERVICES: &str = "/run";
/// What is in there for programs to read.
const FOR_READERS: [&str; 2] = ["/run/secrets", "/run/credentials"];

impl OutOfReach<'_> {
    /// The grants that lead there, or that hold it: one message each.
    #[must_use]
    pub fn of(&self, grants: &Grants) -> Vec<String> {
        let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut places = vec![
            ("the processes of this machine", PathBuf::from(PROCESSES)),
            ("the file of grants", resolved(self.file)),
            ("sockets of services", PathBuf::from(SERVICES)),
        ];
        places.extend(
            self.state_dir
                .map(|dir| ("the state directory", resolved(dir))),
        );
        let workers = self.workers.iter();
        places.extend(workers.map(|root| ("a worker root", resolved(root))));
        places.extend(
            self.plugins
                .iter()
                .map(|root| ("a plugin root", resolved(root))),
        );
        let mut messages = Vec::new();
        for granted in grants.paths() {
            let real = real(granted.path);
            let meets = |path: &Path, place: &Path| {
                let is_free = place == Path::new(SERVICES)
                    && FOR_READERS.iter().any(|free| path.starts_with(free));
                place.starts_with(path) || path.starts_with(place) && !is_free
            };
            let met = places
                .iter()
                .find(|(_, place)| meets(granted.path, place) || meets(&real, place));
            if let Some((what, place)) = met {
                messages.push(format!(
                    "{}:{}: {:?} leads to {what}, {}, or holds it: nobody is granted that",
                    self.file.display(),
                    granted.line,
                    granted.path,
                    place.display()
                ));
            }
        }
        messages
    }
}

/// Where a path leads, as far as it exists.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return match path.strip_prefix(ancestor) {
                Ok(rest) if rest.as_os_str().is_empty() => real,
                Ok(rest) => real.join(rest),
                Err(_) => real,
            };
        }
    }
    path.to_owned()
}
