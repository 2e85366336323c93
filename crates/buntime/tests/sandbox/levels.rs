//! Machines that give less, and servers on them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use buntime_testkit::{Builder, lesser, real_bun};

pub(crate) const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
/// A user that nothing belongs to.
const PLAIN: u32 = 54_321;

/// What a server is started on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    /// Not as root, if the tests run as root.
    pub(crate) plain_user: bool,
    /// A part of `/proc` is hidden, as containers do it: then none can be mounted anew.
    pub(crate) masked_proc: bool,
    /// What the machine does not have, as `lesser` calls it.
    pub(crate) lacks: &'static [&'static str],
}

/// Whether these tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Level {
    /// The user whose the server will be.
    pub(crate) fn uid(self) -> u32 {
        if self.plain_user && is_root() {
            PLAIN
        } else {
            rustix::process::geteuid().as_raw()
        }
    }

    /// What stands before a program to run it at this level.
    fn prefix(self) -> Vec<String> {
        let mut words = Vec::new();
        if self.masked_proc {
            // Whoever is not root hides it in a namespace of its own.
            words.push(
                if is_root() {
                    "unshare -m"
                } else {
                    "unshare -Urm"
                }
                .to_owned(),
            );
            words.push(
                "sh -c 'mount --bind /dev/null /proc/timer_list && exec \"$0\" \"$@\"'".to_owned(),
            );
        }
        if self.plain_user && is_root() {
            words.push(format!(
                "setpriv --reuid {PLAIN} --regid {PLAIN} --clear-groups --inh-caps=-all"
            ));
        }
        if !self.lacks.is_empty() {
            let lacks = self.lacks.join(" ");
            words.push(format!("{} {lacks} --", lesser().display()));
        }
        words
    }

    /// A program in `dir` that is the server at this level, or why there is none.
    pub(crate) fn program(self, dir: &Path) -> Result<PathBuf, String> {
        let prefix = self.prefix().join(" ");
        let bun = real_bun();
        let works = format!(
            "{prefix} sh -c 'test -x {BUNTIME} && test -x {}'",
            bun.display()
        );
        let tried = Command::new("/bin/sh").args(["-c", &works]).output();
        match tried {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{works:?} fails: {said}"));
            }
            Err(error) => return Err(error.to_string()),
        }
        let script = dir.join("buntime");
        fs::write(
            &script,
            format!("#!/bin/sh\nexec {prefix} {BUNTIME} \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Ok(script)
    }

    /// Gives the folders of a server that is about to start to its user.
    pub(crate) fn hand_over(self, builder: Builder) -> Builder {
        if self.plain_user && is_root() {
            give(builder.dir(), PLAIN);
        }
        builder
    }
}

/// Gives a folder and all in it to a user.
pub(crate) fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// Says why a test shows nothing here.
#[expect(clippy::print_stderr, reason = "who runs the tests shall see it")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// A folder that other users may look into.
pub(crate) fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}
