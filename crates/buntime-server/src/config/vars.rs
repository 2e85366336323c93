//! Where settings come from.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::Debug;

use super::problem::Problem;
use super::variables::VARIABLES;

/// An environment. Tests hand in a map, so that none of them touches the process's own.
pub trait Vars: Debug {
    /// The value of one variable.
    fn get(&self, name: &str) -> Option<OsString>;

    /// The names of all variables, to find misspelt ones.
    fn names(&self) -> Vec<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessVars;

impl Vars for ProcessVars {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<OsString> {
        std::env::vars_os().map(|(name, _)| name).collect()
    }
}

impl ProcessVars {
    /// Overwrites the secrets among the settings in the process's environment, once they
    /// were read: `/proc/PID/environ` shows them no more. To be called while the process
    /// has one thread; `false` if it was not.
    #[must_use]
    pub fn forget_secrets(self) -> bool {
        let mut secrets = VARIABLES.iter().filter(|variable| variable.secret);
        secrets.all(|variable| buntime_sandbox::erase_variable(variable.name))
    }
}

impl Vars for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }

    fn names(&self) -> Vec<OsString> {
        self.keys().map(OsString::from).collect()
    }
}

/// What the command line said: values by the name of their variable.
#[derive(Clone, Default)]
pub struct Flags(BTreeMap<&'static str, OsString>);

impl Flags {
    /// No flags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag of the variable called `name`.
    pub fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.0.insert(name, value.into());
    }

    /// Sets it unless it is set.
    pub fn set_default(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.0.entry(name).or_insert_with(|| value.into());
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }
}

impl Debug for Flags {
    /// Names only: a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Most misspelt variables that are worth a line.
const MOST_UNKNOWN: usize = 20;

/// A warning for each `RUNTIME_*` variable that nobody reads.
pub(super) fn unknown(vars: &dyn Vars) -> Vec<Problem> {
    let mut names: Vec<String> = vars
        .names()
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| is_unknown(name))
        .collect();
    names.sort();
    names
        .into_iter()
        .take(MOST_UNKNOWN)
        .map(|name| {
            // A name may be as long as the whole environment, and distances take time.
            let name: String = name.chars().take(80).collect();
            let hint = nearest(&name).map_or_else(
                || "see `buntime serve --help` for the known ones".to_owned(),
                |known| format!("did you mean {known}?"),
            );
            let name: String = name.chars().flat_map(char::escape_debug).collect();
            Problem::new(name, "unknown variable, ignored", hint)
        })
        .collect()
}

fn is_unknown(name: &str) -> bool {
    name.starts_with("RUNTIME_") && !VARIABLES.iter().any(|variable| variable.name == name)
}

/// The known variable that `name` most likely meant.
fn nearest(name: &str) -> Option<&'static str> {
    VARIABLES
        .iter()
        .map(|variable| {
            (
                strsim::damerau_levenshtein(name, variable.name),
                variable.name,
            )
        })
        .min()
        .filter(|(distance, known)| *distance <= known.len().min(name.len()) / 4)
        .map(|(_, known)| known)
}
