//! `buntime check`.

use std::path::PathBuf;

use buntime_server::catalog::{self, Severity};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Outcome, output};

pub(super) fn command() -> Command {
    Command::new("check")
        .about("Validate manifests, entrypoints, lockfiles and collisions without serving")
        .after_help("All problems are printed at once. Exit codes: 0 no errors, 1 errors, 2 no such folder.")
        .arg(
            Arg::new("dirs")
                .value_name("DIR")
                .help("Apps, or folders that hold apps [default: RUNTIME_WORKER_DIRS]")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let mut dirs: Vec<PathBuf> = matches
        .get_many("dirs")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    if dirs.is_empty() {
        let configured = std::env::var_os("RUNTIME_WORKER_DIRS").unwrap_or_default();
        dirs = std::env::split_paths(&configured)
            .filter(|dir| !dir.as_os_str().is_empty())
            .collect();
    }
    if dirs.is_empty() {
        output::complain("nothing to check; name a folder or set RUNTIME_WORKER_DIRS");
        return Outcome::Usage;
    }
    let missing: Vec<String> = dirs
        .iter()
        .filter(|dir| !dir.is_dir())
        .map(|dir| {
            format!(
                "{}: no such folder; name apps or folders that hold apps",
                dir.display()
            )
        })
        .collect();
    if !missing.is_empty() {
        output::complain_all("cannot check", missing);
        return Outcome::Usage;
    }
    let problems = catalog::check(&dirs);
    let mut errors = 0;
    for problem in &problems {
        match problem.severity {
            Severity::Error => {
                errors += 1;
                output::say(format_args!("error: {problem}"));
            }
            Severity::Warning => output::say(format_args!("warning: {problem}")),
        }
    }
    output::say(format_args!(
        "{errors} errors, {} warnings",
        problems.len() - errors
    ));
    if errors == 0 {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}
