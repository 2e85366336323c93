//! `buntime dev`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use buntime_core::{DEFAULT_ENTRYPOINTS, Version};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Outcome, output, serve, settings};

/// Settings that one changes while developing. The others work too, without a line in the help.
const SHOWN: [&str; 5] = [
    "HOST",
    "PORT",
    "RUNTIME_HOMEPAGE",
    "RUNTIME_STATE_DIR",
    "RUNTIME_BUN",
];

/// Settings that this command makes itself.
const OWN: [&str; 2] = ["RUNTIME_WORKER_DIRS", "NODE_ENV"];

/// The default is not that of `serve`, see [`state_dir`].
const STATE_HELP: &str = "Database, sessions, secrets [RUNTIME_STATE_DIR; default: a folder for each DIR in ~/.local/state/buntime/dev]";

pub(super) fn command() -> Command {
    let flags = settings::flags(|variable| !OWN.contains(&variable.name));
    Command::new("dev")
        .about("Serve one app, or a folder of apps, with reload on change and pretty logs")
        .after_help("Every other flag of `buntime serve` works here too. NODE_ENV is development.")
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .help("The app, or the folder that holds apps")
                .default_value(".")
                .value_parser(value_parser!(PathBuf)),
        )
        .args(flags.into_iter().map(|flag| {
            let name = flag.get_id().as_str();
            let (is_shown, is_state) = (SHOWN.contains(&name), name == "RUNTIME_STATE_DIR");
            let flag = flag.hide(!is_shown);
            if is_state {
                flag.help(STATE_HELP)
            } else {
                flag
            }
        }))
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let dir = matches
        .get_one::<PathBuf>("dir")
        .map_or(Path::new("."), PathBuf::as_path);
    let dir = match dir.canonicalize() {
        Ok(dir) if dir.is_dir() => dir,
        Ok(dir) => {
            output::complain(format_args!(
                "{} is not a folder; name an app or a folder of apps",
                dir.display()
            ));
            return Outcome::Usage;
        }
        Err(error) => {
            output::complain(format_args!(
                "{}: {error}; name an app or a folder of apps",
                dir.display()
            ));
            return Outcome::Usage;
        }
    };
    let (root, only) = root_of(&dir);
    if root.as_os_str().as_bytes().contains(&b':') {
        output::complain(format_args!(
            "{} has a `:` in its path; move the app elsewhere",
            root.display()
        ));
        return Outcome::Usage;
    }
    let mut flags = settings::given(matches);
    flags.set("NODE_ENV", "development");
    flags.set("RUNTIME_WORKER_DIRS", root);
    flags.set_default("RUNTIME_LOG_FORMAT", "pretty");
    flags.set_default("RUNTIME_LOG_LEVEL", "debug");
    if let Some(state) = state_dir(&dir, |name| std::env::var_os(name)) {
        flags.set_default("RUNTIME_STATE_DIR", state);
    }
    serve::run_with(&flags, |config| {
        for root in &mut config.workers {
            root.only.clone_from(&only);
        }
    })
}

/// The worker root, and the path below it of the one folder that counts if `dir` is itself an app: `name`,
/// `name/1.2.3`, and the same below `@scope`. So it has the same address as when its whole root is served.
fn root_of(dir: &Path) -> (&Path, Option<PathBuf>) {
    if !is_app(dir) {
        return (dir, None);
    }
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut unit = dir;
    if let Some(parent) = unit.parent()
        && name(unit).parse::<Version>().is_ok()
    {
        unit = parent;
    }
    if let Some(parent) = unit.parent()
        && name(parent).starts_with('@')
    {
        unit = parent;
    }
    match unit.parent() {
        Some(root) => (root, dir.strip_prefix(root).ok().map(Path::to_owned)),
        None => (dir, None),
    }
}

/// A package.json alone may also be that of a repository which holds apps.
fn is_app(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_file();
    has("manifest.yaml")
        || has("manifest.yml")
        || (has("package.json") && DEFAULT_ENTRYPOINTS.iter().any(|name| has(name)))
}

/// State away from the app, which may read its own folder, and one for each folder served. `RUNTIME_STATE_DIR` wins.
fn state_dir(dir: &Path, var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let var = |name| var(name).filter(|value| !value.is_empty());
    if let Some(named) = var("RUNTIME_STATE_DIR") {
        return Some(named.into());
    }
    let base = var("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|base| base.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(var("HOME")?).join(".local/state")))?;
    // `/home/me/app` becomes `home%me%app`. A name has at most 255 bytes; the end tells more than the start.
    let name: Vec<u8> = dir
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| if *byte == b'/' { b'%' } else { *byte })
        .collect();
    let name = &name[name.len().saturating_sub(200)..];
    let name = OsString::from_vec(name.strip_prefix(b"%").unwrap_or(name).to_vec());
    Some(base.join("buntime/dev").join(if name.is_empty() {
        OsStr::new("root")
    } else {
        &name
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_told_from_a_folder_of_apps() {
        let temp = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let files = [
            "a/manifest.yaml",
            "b/package.json",
            "b/index.ts",
            "repo/package.json",
            "repo/x/index.ts",
            "c/1.0.0/manifest.yml",
            "@me/d/manifest.yaml",
            "@me/e/latest/manifest.yaml",
        ];
        for path in files {
            file(path);
        }
        for (dir, root, only) in [
            ("a", "", Some("a")),
            ("b", "", Some("b")),
            ("repo", "repo", None),
            ("c/1.0.0", "", Some("c/1.0.0")),
            ("@me/d", "", Some("@me/d")),
            ("@me/e/latest", "", Some("@me/e/latest")),
        ] {
            let found = temp.path().join(dir);
            let found = root_of(&found);
            assert_eq!(
                found.0,
                temp.path()
                    .components()
                    .chain(Path::new(root).components())
                    .collect::<PathBuf>()
            );
            assert_eq!(found.1.as_deref(), only.map(Path::new), "{dir}");
        }
    }

    #[test]
    fn state_is_away_from_the_app() {
        let vars = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            }
        };
        let dir = Path::new("/work/my app");
        let state = |pairs| state_dir(dir, vars(pairs));
        assert_eq!(state(&[("RUNTIME_STATE_DIR", "/s")]), Some("/s".into()));
        assert_eq!(
            state(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]),
            Some("/x/buntime/dev/work%my app".into())
        );
        assert_eq!(
            state(&[("HOME", "/h")]),
            Some("/h/.local/state/buntime/dev/work%my app".into())
        );
        assert_eq!(state(&[]), None);
    }
}
