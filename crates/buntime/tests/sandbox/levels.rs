//! Machines that give less, and servers on them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use buntime_testkit::{Builder, lesser, real_bun, skipped};

const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
/// All layers, as the server names them.
pub(crate) const FULL: &str = "landlock, seccomp, namespaces, network";
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

    /// A program in `dir` that is the server at this level. None, and told, if this machine
    /// does not let these tests go so far.
    pub(crate) fn program(self, dir: &Path) -> Option<PathBuf> {
        let prefix = self.prefix().join(" ");
        let bun = real_bun();
        let works = format!(
            "{prefix} sh -c 'test -x {BUNTIME} && test -x {}'",
            bun.display()
        );
        let tried = Command::new("/bin/sh").args(["-c", &works]).output();
        let tried = tried.unwrap();
        if !tried.status.success() {
            let why = format!("{works:?}: {}", String::from_utf8_lossy(&tried.stderr));
            // What a machine gives can be taken away on each, and one that gives all has
            // every level.
            let is_less = self.plain_user || self.masked_proc;
            assert!(is_less && !Self::default().gives(FULL), "{why}");
            skipped(&why);
            return None;
        }
        let script = dir.join("buntime");
        fs::write(
            &script,
            format!("#!/bin/sh\nexec {prefix} {BUNTIME} \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Some(script)
    }

    /// Whether `buntime doctor` finds these layers here, for the user of this level. They are
    /// named as the server names them.
    pub(crate) fn gives(self, layers: &str) -> bool {
        let whole = Self { lacks: &[], ..self };
        let doctor = format!(
            "{} {BUNTIME} doctor --json --bun {}",
            whole.prefix().join(" "),
            real_bun().display()
        );
        let output = Command::new("/bin/sh").args(["-c", &doctor]).output();
        let found: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        let found = &found["sandbox"];
        let has = |layer: &str| found[layer] == true;
        layers.split(", ").all(|layer| match layer {
            "landlock" => found["landlock"].is_u64(),
            "seccomp" => has("seccomp"),
            "namespaces" => has("namespaces") && has("ownProc"),
            "namespaces with the host's /proc" => has("namespaces"),
            "network" => has("network"),
            // Where there are networks it is not looked for.
            "connect broker" => has("broker") || has("network"),
            other => panic!("no such layer: {other}"),
        })
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

/// A folder that other users may look into.
pub(crate) fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}
