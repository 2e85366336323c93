//! `buntime state`.

use std::path::{Path, PathBuf};

use buntime_server::store::{self, Contents};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Outcome, output};

/// Where the server keeps its state if nobody says where.
const DEFAULT: &str = ".buntime";

pub(super) fn command() -> Command {
    let state_dir = || {
        Arg::new("state-dir")
            .long("state-dir")
            .value_name("DIR")
            .help("The state directory [RUNTIME_STATE_DIR; default: ./.buntime]")
            .value_parser(value_parser!(PathBuf))
    };
    let backup = |help: &'static str| {
        Arg::new("backup")
            .value_name("BACKUP")
            .help(help)
            .required(true)
            .value_parser(value_parser!(PathBuf))
    };
    Command::new("state")
        .about("Back up, restore and check the state directory")
        .after_help("Exit codes: 0 done and sound, 1 it failed or something is damaged, 2 wrong usage.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("backup")
                .about("Copy keys, states of apps and releases into a new folder, while the server runs or not")
                .after_help(
                    "Not copied: the root key, sessions, what apps wrote into their data folders, logs. The copy holds \
                     no secret of a key, and is yours to keep private all the same.",
                )
                .arg(backup("A folder that does not exist yet"))
                .arg(state_dir()),
        )
        .subcommand(
            Command::new("restore")
                .about("Put a backup in the place of the state, while no server runs")
                .after_help(
                    "The backup is checked first; if it is not sound, nothing changes. Keys that were revoked since the \
                     backup are back: look through `GET /api/keys` and revoke them again. All sessions end.",
                )
                .arg(backup("The folder that `buntime state backup` made"))
                .arg(state_dir()),
        )
        .subcommand(
            Command::new("check")
                .about("Read all of the database and look for the archives of releases")
                .arg(state_dir()),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let Some((command, matches)) = matches.subcommand() else {
        return Outcome::Usage;
    };
    let state_dir = state_dir(matches);
    let backup = matches.try_get_one::<PathBuf>("backup").ok().flatten();
    match (command, backup) {
        ("backup", Some(backup)) => {
            tell(store::back_up(&state_dir, backup), "backed up to", backup)
        }
        ("restore", Some(backup)) => {
            tell(store::restore(&state_dir, backup), "restored from", backup)
        }
        _ => check(&state_dir),
    }
}

fn state_dir(matches: &ArgMatches) -> PathBuf {
    let named = matches.get_one::<PathBuf>("state-dir").cloned();
    let var = || std::env::var_os("RUNTIME_STATE_DIR").filter(|dir| !dir.is_empty());
    named
        .or_else(|| var().map(PathBuf::from))
        .unwrap_or_else(|| DEFAULT.into())
}

fn tell(result: Result<Contents, store::BackupError>, done: &str, backup: &Path) -> Outcome {
    let contents = match result {
        Ok(contents) => contents,
        Err(error) => {
            output::complain(error);
            return Outcome::Failure;
        }
    };
    output::say(format_args!(
        "{done} {}: {} keys, {} releases",
        backup.display(),
        contents.keys,
        contents.releases
    ));
    for archive in &contents.missing {
        output::complain(format_args!(
            "the archive {} is missing: its releases cannot be rolled back to",
            archive.display()
        ));
    }
    if contents.missing.is_empty() {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}

fn check(state_dir: &Path) -> Outcome {
    match store::check(state_dir) {
        Ok(problems) if problems.is_empty() => {
            output::say(format_args!("{} is sound", state_dir.display()));
            Outcome::Success
        }
        Ok(problems) => {
            output::complain_all(&format!("{} is damaged", state_dir.display()), problems);
            Outcome::Failure
        }
        Err(error) => {
            output::complain(error);
            Outcome::Failure
        }
    }
}
