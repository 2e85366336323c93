//! Commands: what there is, and which one was meant.

mod check;
mod dev;
mod doctor;
mod output;
mod serve;
mod settings;
mod state;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;
use clap::error::ErrorKind;

/// How a command ends. The numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Success,
    /// It did not work.
    Failure,
    /// It was asked wrongly: arguments or configuration.
    Usage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::SUCCESS,
            Outcome::Failure => Self::FAILURE,
            Outcome::Usage => Self::from(2),
        }
    }
}

/// Does what the arguments say. The first is the program's name.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Where to there is nobody to tell that telling failed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Outcome::Success.into(),
                _ => Outcome::Usage.into(),
            };
        }
    };
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches),
        Some(("dev", matches)) => dev::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("state", matches)) => state::run(matches),
        // clap has refused anything else.
        _ => Outcome::Usage,
    }
    .into()
}

fn command() -> Command {
    Command::new("buntime")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves folders of JavaScript and TypeScript apps, each in its own Bun process")
        .after_help("`buntime COMMAND --help` tells more. Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(serve::command())
        .subcommand(dev::command())
        .subcommand(check::command())
        .subcommand(doctor::command())
        .subcommand(state::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_help_is_there_and_narrow() {
        for name in ["serve", "dev", "check", "doctor", "state"] {
            let mut command = command().term_width(100);
            command.build();
            let help = command
                .find_subcommand_mut(name)
                .unwrap()
                .render_long_help()
                .to_string();
            assert!(help.contains("Usage: buntime"), "{help}");
            let widest = help.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(100), "{name}: {widest:?}\n{help}");
        }
    }

    #[test]
    fn later_commands_are_not_listed() {
        let listed: Vec<String> = command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect();
        assert_eq!(listed, ["serve", "dev", "check", "doctor", "state"]);
    }
}
