//! Finding the Bun binary.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::problem::Problem;

/// The oldest Bun that workers run on.
pub const OLDEST_BUN: BunVersion = BunVersion {
    major: 1,
    minor: 4,
    patch: 0,
};

/// Time that `bun --version` has. It takes milliseconds; a cold disk may need more.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A Bun that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bun {
    /// Absolute path of the executable.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: BunVersion,
    /// How it was found.
    pub origin: BunOrigin,
}

/// How a Bun was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BunOrigin {
    /// `RUNTIME_BUN`.
    Configured,
    /// A folder of `PATH`.
    Path,
    /// The one that the project's lockfile pins.
    Pinned,
}

impl fmt::Display for BunOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "RUNTIME_BUN",
            Self::Path => "PATH",
            Self::Pinned => "pinned by the project",
        })
    }
}

/// A version of Bun, without what follows the patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BunVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl BunVersion {
    /// From the first line of `bun --version`, such as `1.4.5` or `1.4.5-canary.2+abc`.
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.trim().split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let version = Self {
            major: parts.next()??,
            minor: parts.next()??,
            patch: parts.next()??,
        };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for BunVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Where to look for Bun, beside `RUNTIME_BUN`.
#[derive(Debug, Clone, Default)]
pub struct BunPlaces {
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// This executable. The project's pinned Bun lies near it.
    pub executable: Option<PathBuf>,
}

impl BunPlaces {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            path: std::env::var_os("PATH"),
            executable: std::env::current_exe().ok(),
        }
    }
}

/// Why a binary is no Bun for us.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("cannot be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("did not answer `--version` within 10 seconds")]
    Silent,
    #[error("does not answer `--version` as Bun does")]
    NotBun,
    #[error("is version {0}, and {OLDEST_BUN} or newer is needed")]
    TooOld(BunVersion),
}

/// No usable Bun. `Display` says where it was looked for and what to do.
#[derive(Debug)]
pub struct BunError {
    configured: bool,
    tried: Vec<(PathBuf, Unfit)>,
}

impl std::error::Error for BunError {}

impl fmt::Display for BunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.configured {
            for (program, reason) in &self.tried {
                write!(f, "RUNTIME_BUN=\"{}\": {reason}", program.display())?;
            }
            return write!(f, "; name the executable of Bun {OLDEST_BUN} or newer");
        }
        f.write_str("no usable Bun found on PATH or beside the program")?;
        for (program, reason) in &self.tried {
            write!(f, "; {} {reason}", program.display())?;
        }
        write!(
            f,
            "; install Bun {OLDEST_BUN} or newer (`npm ci` in the project's worker/ folder does), or set RUNTIME_BUN"
        )
    }
}

impl Bun {
    /// Finds a Bun that runs and is new enough. A configured one is taken or refused; without it come those on `PATH`,
    /// then the one pinned by the project. The problems are those of binaries that were passed over. Blocks for as
    /// long as `bun --version` takes, at most 10 seconds for each candidate.
    ///
    /// # Errors
    /// None is usable.
    pub fn find(
        configured: Option<&Path>,
        places: &BunPlaces,
    ) -> Result<(Self, Vec<Problem>), BunError> {
        let candidates = match configured {
            Some(program) => vec![(program.to_owned(), BunOrigin::Configured)],
            None => places.candidates(),
        };
        let mut tried = Vec::new();
        for (program, origin) in candidates {
            match ask_version(&program, ANSWER_TIME) {
                Ok(version) => {
                    let passed_over = tried.into_iter().map(passed_over).collect();
                    return Ok((
                        Self {
                            program,
                            version,
                            origin,
                        },
                        passed_over,
                    ));
                }
                Err(reason) => tried.push((program, reason)),
            }
        }
        Err(BunError {
            configured: configured.is_some(),
            tried,
        })
    }
}

fn passed_over((program, reason): (PathBuf, Unfit)) -> Problem {
    let message = format!("{} was passed over: it {reason}", program.display());
    Problem::new("RUNTIME_BUN", message, "set RUNTIME_BUN to choose one")
}

impl BunPlaces {
    /// At most four: the first two on `PATH`, and two layouts of the project.
    fn candidates(&self) -> Vec<(PathBuf, BunOrigin)> {
        // A relative entry of PATH means "whatever lies where I happen to stand": not for a program that we trust.
        let on_path = self
            .path
            .iter()
            .flat_map(|path| std::env::split_paths(path));
        let on_path = on_path
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("bun"));
        let on_path = on_path
            .filter(|program| program.is_file())
            .take(2)
            .map(|program| (program, BunOrigin::Path));
        on_path
            .chain(
                self.pinned()
                    .into_iter()
                    .map(|program| (program, BunOrigin::Pinned)),
            )
            .collect()
    }

    /// The project's own Bun, from where the executable lies: `target/release/buntime` in a checkout,
    /// `bin/buntime` beside `worker/` when installed. The current folder does not count, as it may be anyone's.
    fn pinned(&self) -> Vec<PathBuf> {
        const LAYOUTS: [&str; 2] = ["bun/bin/bun.exe", "@oven/bun-linux-x64/bin/bun"];
        let executable = self
            .executable
            .as_deref()
            .and_then(|path| path.canonicalize().ok());
        let above = executable
            .iter()
            .flat_map(|path| path.ancestors().skip(1).take(4));
        above
            .map(|dir| dir.join("worker/node_modules"))
            .filter(|modules| modules.is_dir())
            .flat_map(|modules| LAYOUTS.map(|layout| modules.join(layout)))
            .filter(|program| program.is_file())
            .take(2)
            .collect()
    }
}

/// Runs `program --version` in an empty environment.
fn ask_version(program: &Path, time: Duration) -> Result<BunVersion, Unfit> {
    let mut child = Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Unfit::Start)?;
    let Some(stdout) = child.stdout.take() else {
        return Err(Unfit::NotBun);
    };
    let (answer, answered) = sync_channel(1);
    // Ends with the child: its end of the pipe closes at the kill below.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(256).read_to_string(&mut text);
        let _ = answer.send(read.map(|_| text));
    });
    let outcome = answered.recv_timeout(time);
    // A program that printed its version and runs on, or that never answered.
    let _ = child.kill();
    let _ = child.wait();
    let text = outcome
        .map_err(|_| Unfit::Silent)?
        .map_err(|_| Unfit::NotBun)?;
    let version = BunVersion::parse(&text).ok_or(Unfit::NotBun)?;
    if version < OLDEST_BUN {
        Err(Unfit::TooOld(version))
    } else {
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn versions() {
        let parse = |text| BunVersion::parse(text).map(|version| version.to_string());
        assert_eq!(parse("1.4.5\n").as_deref(), Some("1.4.5"));
        assert_eq!(parse("1.4.5-canary.2+abc").as_deref(), Some("1.4.5"));
        for bad in ["", "v1.4.5", "1.4", "1.4.5.6", "one"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_configured_one_is_taken_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let good = script(&dir.path().join("good"), "bun", "echo 1.4.5");
        let places = BunPlaces {
            path: Some(good.parent().unwrap().into()),
            executable: None,
        };
        let old = script(dir.path(), "old", "echo 1.2.0");
        let error = Bun::find(Some(&old), &places).unwrap_err().to_string();
        assert!(
            error.contains("RUNTIME_BUN=") && error.contains("is version 1.2.0"),
            "{error}"
        );
        let (bun, _) = Bun::find(Some(&good), &BunPlaces::default()).unwrap();
        assert_eq!((bun.program, bun.origin), (good, BunOrigin::Configured));
    }

    #[test]
    fn path_comes_before_the_pinned_one_and_the_unfit_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let executable = script(&root.join("target/release"), "buntime", "");
        let pinned = script(
            &root.join("worker/node_modules/bun/bin"),
            "bun.exe",
            "echo 1.4.5",
        );
        let old = script(&root.join("old"), "bun", "echo 0.9.9");
        let new = script(&root.join("new"), "bun", "echo 1.5.0");
        let places = |path: &Path| BunPlaces {
            path: Some(path.into()),
            executable: Some(executable.clone()),
        };

        let (bun, passed_over) = Bun::find(None, &places(new.parent().unwrap())).unwrap();
        assert_eq!((bun.program, bun.origin), (new, BunOrigin::Path));
        assert!(passed_over.is_empty());

        let (bun, passed_over) = Bun::find(None, &places(old.parent().unwrap())).unwrap();
        assert_eq!((bun.program, bun.origin), (pinned, BunOrigin::Pinned));
        assert!(passed_over[0].message.contains("0.9.9"));
    }

    #[test]
    fn none_says_what_to_do() {
        let error = Bun::find(None, &BunPlaces::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("npm ci") && error.contains("RUNTIME_BUN"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_floods_or_never_answers_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let flood = script(dir.path(), "flood", "exec yes");
        assert!(matches!(
            ask_version(&flood, ANSWER_TIME),
            Err(Unfit::NotBun)
        ));
        let silent = script(dir.path(), "silent", "exec sleep 1000");
        assert!(matches!(
            ask_version(&silent, Duration::from_millis(50)),
            Err(Unfit::Silent)
        ));
        let text = dir.path().join("text");
        fs::write(&text, "no program").unwrap();
        assert!(matches!(
            ask_version(&text, ANSWER_TIME),
            Err(Unfit::Start(_))
        ));
    }
}
