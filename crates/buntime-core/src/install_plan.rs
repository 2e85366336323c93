//! What an automatic install may do: package.json and bun.lock, parsed before Bun
//! sees them (contract §3, `autoInstall`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::PackageJson;

/// Shown by an error where a list of names is too long.
const MOST_NAMES: usize = 5;
/// Sections of a package.json that name packages.
const SECTIONS: [&str; 4] = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
];
/// What else of a package.json decides what is installed. Nothing but this and the
/// sections is passed on: no scripts, no settings.
const PASSED: [&str; 8] = [
    "name",
    "version",
    "peerDependenciesMeta",
    "overrides",
    "resolutions",
    "trustedDependencies",
    "catalog",
    "catalogs",
];

/// Why nothing can be installed. The text says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallPlanError {
    /// package.json is no JSON object, or too large.
    #[error("package.json cannot be read: {0}")]
    PackageJson(String),
    /// There are dependencies and no lockfile.
    #[error("there is no bun.lock; run `bun install` in the app's folder and deploy bun.lock too")]
    Missing,
    /// There is only a lockfile of the old binary format. [`InstallPlan::new`] never says
    /// so: who looked for the files does.
    #[error(
        "bun.lockb is the old lockfile, which cannot be checked; run \
         `bun install --save-text-lockfile --lockfile-only` and deploy bun.lock instead"
    )]
    OldLockfile,
    /// The lockfile is too large, or not what Bun writes.
    #[error("bun.lock cannot be read: {0}; run `bun install` and deploy the new bun.lock")]
    Malformed(String),
    /// The lockfile is of another package.json.
    #[error(
        "bun.lock does not fit package.json (see {0}); run `bun install` and deploy both files"
    )]
    OutOfStep(String),
    /// Something comes from the app's own folder or a neighbour's.
    #[error(
        "{0} is not from a registry, and an automatic install takes packages from registries only; \
         run `bun install --frozen-lockfile` before you deploy and take autoInstall out"
    )]
    Local(String),
    /// A package from git, which would have to be run.
    #[error(
        "{0} comes from git, which an automatic install does not run; depend on a published version, \
         or run `bun install --frozen-lockfile` before you deploy and take autoInstall out"
    )]
    Git(String),
}

/// What to install, and from where.
///
/// Both texts are written anew from what was parsed: Bun cannot read something else
/// in them than was checked here. In particular nothing lies outside the registries
/// and `hosts`, and nothing needs a program other than Bun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstallPlan {
    /// The package.json to install from.
    pub package_json: String,
    /// The bun.lock to install from.
    pub lockfile: String,
    /// How many packages there are.
    pub packages: usize,
    /// Hosts, with their port if one is given, that the lockfile names itself. What
    /// it does not name comes from the configured registry.
    pub hosts: BTreeSet<String>,
}

impl InstallPlan {
    /// Largest lockfile, in bytes.
    pub const MAX_LOCKFILE_BYTES: usize = 16 << 20;

    /// The plan for a folder with these files. `None`: the app depends on nothing.
    ///
    /// # Errors
    /// See [`InstallPlanError`].
    pub fn new(
        package_json: Option<&str>,
        lockfile: Option<&str>,
    ) -> Result<Option<Self>, InstallPlanError> {
        let package = match package_json {
            Some(text) => read_package(text)?,
            None => Map::new(),
        };
        let wanted = names(&package)?;
        for key in ["workspaces", "patchedDependencies"] {
            if package.get(key).is_some_and(is_filled) {
                return Err(InstallPlanError::Local(format!("`{key}` in package.json")));
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let lock = read_lock(lockfile.ok_or(InstallPlanError::Missing)?)?;
        let locked = locked_names(&lock)?;
        if wanted != locked {
            let odd: Vec<&str> = wanted
                .symmetric_difference(&locked)
                .take(MOST_NAMES)
                .map(String::as_str)
                .collect();
            return Err(InstallPlanError::OutOfStep(odd.join(", ")));
        }
        let mut hosts = BTreeSet::new();
        let packages = object(&lock, "packages")?;
        for entry in packages.values() {
            source_of(entry, &mut hosts)?;
        }
        let count = packages.len();
        let passed = |(key, _): &(String, Value)| {
            SECTIONS.contains(&key.as_str()) || PASSED.contains(&key.as_str())
        };
        let package: Map<String, Value> = package.into_iter().filter(passed).collect();
        Ok(Some(Self {
            package_json: Value::Object(package).to_string(),
            lockfile: Value::Object(lock).to_string(),
            packages: count,
            hosts,
        }))
    }
}

fn read_package(text: &str) -> Result<Map<String, Value>, InstallPlanError> {
    let failed = |error: &dyn std::fmt::Display| InstallPlanError::PackageJson(error.to_string());
    if text.len() > PackageJson::MAX_BYTES {
        return Err(failed(&format_args!(
            "it is over {} bytes",
            PackageJson::MAX_BYTES
        )));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| failed(&error))
}

fn read_lock(text: &str) -> Result<Map<String, Value>, InstallPlanError> {
    let most = InstallPlan::MAX_LOCKFILE_BYTES;
    if text.len() > most {
        return Err(malformed(format!("it is over {most} bytes")));
    }
    let lock: Map<String, Value> = serde_json::from_str(&without_trailing_commas(text))
        .map_err(|error| malformed(error.to_string()))?;
    if lock.get("patchedDependencies").is_some_and(is_filled) {
        let what = "`patchedDependencies` in bun.lock".to_owned();
        return Err(InstallPlanError::Local(what));
    }
    Ok(lock)
}

fn malformed(why: impl Into<String>) -> InstallPlanError {
    InstallPlanError::Malformed(why.into())
}

/// Bun writes a comma after the last element too, which is no JSON.
fn without_trailing_commas(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for (at, char) in text.char_indices() {
        if in_string {
            in_string = escaped || char != '"';
            escaped = !escaped && char == '\\';
        } else if char == '"' {
            in_string = true;
        } else if char == ',' {
            let rest = text.get(at + 1..).unwrap_or_default().trim_start();
            if rest.starts_with(['}', ']']) {
                continue;
            }
        }
        kept.push(char);
    }
    kept
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn object<'a>(
    lock: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a Map<String, Value>, InstallPlanError> {
    let found = lock.get(key).and_then(Value::as_object);
    found.ok_or_else(|| malformed(format!("it has no `{key}`")))
}

/// The packages that a package.json depends on itself.
fn names(package: &Map<String, Value>) -> Result<BTreeSet<String>, InstallPlanError> {
    let mut names = BTreeSet::new();
    for section in SECTIONS {
        match package.get(section) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => names.extend(map.keys().cloned()),
            Some(_) => {
                let why = format!("`{section}` is no object");
                return Err(InstallPlanError::PackageJson(why));
            }
        }
    }
    Ok(names)
}

fn locked_names(lock: &Map<String, Value>) -> Result<BTreeSet<String>, InstallPlanError> {
    let workspaces = object(lock, "workspaces")?;
    if let Some(other) = workspaces.keys().find(|name| !name.is_empty()) {
        return Err(InstallPlanError::Local(format!("the workspace `{other}`")));
    }
    let root = workspaces.get("").and_then(Value::as_object);
    names(root.ok_or_else(|| malformed("it has no workspace"))?)
        .map_err(|_| malformed("its workspace lists no packages"))
}

/// Checks where one package comes from: `["name@version", "address", …]`.
fn source_of(entry: &Value, hosts: &mut BTreeSet<String>) -> Result<(), InstallPlanError> {
    let id = entry.get(0).and_then(Value::as_str);
    let id = id.ok_or_else(|| malformed("a package has no name"))?;
    let version = id.char_indices().skip(1).find(|&(_, char)| char == '@');
    let version = version.and_then(|(at, _)| id.get(at + 1..));
    let version = version.ok_or_else(|| malformed(format!("`{id}` has no version")))?;
    let local = || InstallPlanError::Local(format!("`{id}`"));
    if version.starts_with(|char: char| char.is_ascii_digit()) {
        let address = entry.get(1).and_then(Value::as_str);
        let address = address.ok_or_else(|| malformed(format!("`{id}` has no address")))?;
        if !address.is_empty() {
            hosts.insert(host(address).ok_or_else(local)?);
        }
    } else if version.starts_with("github:") {
        hosts.insert("api.github.com".to_owned());
    } else if version.starts_with("git+") || version.starts_with("git:") {
        return Err(InstallPlanError::Git(format!("`{id}`")));
    } else {
        hosts.insert(host(version).ok_or_else(local)?);
    }
    Ok(())
}

/// Host and port of an http or https address.
fn host(address: &str) -> Option<String> {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
