//! The server's settings as flags, made from the server's own declarations.

use std::ffi::OsString;

use buntime_server::config::{Flags, VARIABLES, Variable};
use clap::builder::ValueParser;
use clap::{Arg, ArgMatches};

/// A flag for each setting that `wanted` accepts.
pub(super) fn flags(wanted: impl Fn(&Variable) -> bool) -> Vec<Arg> {
    VARIABLES
        .iter()
        .filter(|variable| wanted(variable))
        .map(flag)
        .collect()
}

fn flag(variable: &Variable) -> Arg {
    let default = match variable.default {
        "" => String::new(),
        "required" => "; required".to_owned(),
        default => format!("; default: {default}"),
    };
    Arg::new(variable.name)
        .long(variable.flag)
        .value_name(variable.value)
        .help(format!("{} [{}{default}]", variable.meaning, variable.name))
        .help_heading(variable.group.title())
        .value_parser(ValueParser::os_string())
        // The setting's own parser says what is wrong with `--port -1`.
        .allow_negative_numbers(true)
}

/// What the command line said. Settings that the command has no flag for are left out.
pub(super) fn given(matches: &ArgMatches) -> Flags {
    let mut flags = Flags::new();
    for variable in VARIABLES {
        if let Ok(Some(value)) = matches.try_get_one::<OsString>(variable.name) {
            flags.set(variable.name, value);
        }
    }
    flags
}
