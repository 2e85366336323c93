//! What apps and plugins ask for, and what they are granted.

use std::path::PathBuf;
use std::sync::Arc;

use buntime_core::{Grants, NotGranted, Verdict};
use buntime_server::catalog::Asks;
use buntime_server::config::{OutOfReach, load_grants};
use clap::ArgMatches;

use super::{Places, output, variable};

/// The state directory if nobody says where, as the server has it.
const STATE: &str = ".buntime";

/// The operator's grants.
pub(super) struct Given {
    pub(super) grants: Arc<Grants>,
    /// The file, if the command line names it: then it is to be explained.
    pub(super) named: Option<PathBuf>,
}

impl Given {
    /// Those of the flag, else of the variable, else none. What lies in `places` cannot be
    /// granted.
    pub(super) fn of(matches: &ArgMatches, places: &Places) -> Result<Self, Vec<String>> {
        let named = matches.get_one::<PathBuf>("grants").cloned();
        let of_variable = || variable("RUNTIME_GRANTS").map(PathBuf::from);
        let Some(file) = named.clone().or_else(of_variable) else {
            return Ok(Self {
                grants: Arc::default(),
                named,
            });
        };
        let parsed = load_grants(&file)?;
        for warning in &parsed.warnings {
            output::say(format_args!("warning: {warning}"));
        }
        let state_dir = variable("RUNTIME_STATE_DIR").map_or_else(|| STATE.into(), PathBuf::from);
        let out_of_reach = OutOfReach {
            state_dir: Some(&state_dir),
            workers: places.apps.iter().map(PathBuf::as_path).collect(),
            plugins: &places.plugins,
            file: &file,
        };
        let wrong = out_of_reach.of(&parsed.value);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            grants: Arc::new(parsed.value),
            named,
        })
    }
}

/// Prints what each unit asks for, what becomes of it, and what would grant the rest.
pub(super) fn explain<'a>(
    units: impl Iterator<Item = (String, &'a Asks)>,
    grants: &Grants,
    file: &std::path::Path,
) {
    let file = file.display();
    let mut known = Vec::new();
    for (id, asks) in units {
        known.extend(&asks.name);
        if asks.judged.is_empty() {
            output::say(format_args!("{id}: asks for nothing"));
            continue;
        }
        output::say(format_args!("{id}: asks for"));
        for (ask, verdict) in &asks.judged {
            match verdict {
                Verdict::Free => output::say(format_args!("  {ask}: free")),
                Verdict::Granted { to, line } => {
                    output::say(format_args!("  {ask}: granted to {to:?}, {file}:{line}"));
                }
                Verdict::Never => output::say(format_args!("  {ask}: never granted")),
                _ => output::say(format_args!("  {ask}: not granted")),
            }
        }
        let name = asks.name.as_ref();
        if let Some((name, line)) = name.and_then(|name| {
            let line = NotGranted::line(name, &asks.refused)?;
            Some((name, line))
        }) {
            match grants.line_of(name) {
                None => output::say(format_args!("  to grant the rest, add to {file}:")),
                Some(at) => {
                    output::say(format_args!("  to grant the rest, merge into {file}:{at}:"))
                }
            }
            output::say(format_args!("    {line}"));
        }
    }
    for (name, line) in grants.units().filter(|(name, _)| !known.contains(name)) {
        let message = "is granted something, and is none of these";
        output::say(format_args!("{file}:{line}: \"{name}\" {message}"));
    }
}
