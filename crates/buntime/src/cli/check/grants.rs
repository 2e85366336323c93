//! What apps and plugins ask for, and what they are granted.

use std::path::PathBuf;
use std::sync::Arc;

use buntime_core::{Grants, NotGranted, Verdict};
use buntime_server::catalog::Asks;
use buntime_server::config::load_grants;
use clap::ArgMatches;

use super::{output, variable};

/// The operator's grants.
pub(super) struct Given {
    pub(super) grants: Arc<Grants>,
    /// The file, if the command line names it: then it is to be explained.
    pub(super) named: Option<PathBuf>,
}

impl Given {
    /// Those of the flag, else of the variable, else none.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, Vec<String>> {
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
    for (id, asks) in units {
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
}
