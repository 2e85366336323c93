//! Where packages come from: `RUNTIME_NPM_*`, else npm's own configuration.
//!
//! npm's files belong to the operator. Only what leads to a registry is taken out of
//! them, once, at the start, and Bun gets that and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use buntime_core::HostPort;

use super::Secret;
use super::problem::Problem;
use super::settings::NpmConfig;
use super::vars::Vars;

/// What npm itself takes if nothing says otherwise.
const DEFAULT_REGISTRY: &str = "https://registry.npmjs.org/";
/// npm's global file lies beside the program; these are the usual places.
const GLOBAL_FILES: [&str; 2] = ["/usr/local/etc/npmrc", "/usr/etc/npmrc"];
/// Largest file, in bytes.
const MOST: u64 = 256 * 1024;
/// What may follow `//host/path/:`.
const CREDENTIALS: [&str; 5] = ["_authToken", "_auth", "username", "_password", "email"];

/// Puts all sources together, the weakest first: npm's global file, the user's file,
/// npm's variables, ours.
pub(super) fn load(
    registry: Option<Secret>,
    ca_file: Option<PathBuf>,
    vars: &dyn Vars,
    warnings: &mut Vec<Problem>,
) -> NpmConfig {
    let mut settings = BTreeMap::new();
    for (path, is_named) in files(vars) {
        match read(&path) {
            Ok(text) => settings.extend(parse(&text, vars)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {}
            Err(error) => warnings.push(Problem::new(
                path.display().to_string(),
                format!("npm's configuration cannot be read: {error}"),
                "apps with autoInstall go without it",
            )),
        }
    }
    for key in ["registry", "cafile"] {
        if let Some(value) = npm_variable(key, vars) {
            settings.insert(key.to_owned(), value);
        }
    }
    if let Some(registry) = registry {
        settings.insert("registry".to_owned(), registry.expose().to_owned());
    }
    let named = settings.remove("cafile").map(PathBuf::from);
    let ca_file = ca_file.or_else(|| named.filter(|path| is_usable(path, warnings)));
    let used = settings
        .entry("registry".to_owned())
        .or_insert_with(|| DEFAULT_REGISTRY.to_owned());
    let registry = shown(used);
    let is_registry = |key: &str| key == "registry" || key.ends_with(":registry");
    let urls = settings.iter().filter(|(key, _)| is_registry(key));
    let registries = urls.filter_map(|(_, url)| place_of(url)).collect();
    let lines = settings
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"));
    NpmConfig {
        npmrc: Secret::new(&lines.collect::<String>()),
        registry,
        registries,
        ca_file,
    }
}

/// npm's files, and whether a variable names them.
fn files(vars: &dyn Vars) -> Vec<(PathBuf, bool)> {
    let mut files = Vec::new();
    match npm_variable("globalconfig", vars) {
        Some(path) => files.push((PathBuf::from(path), true)),
        None => files.extend(GLOBAL_FILES.map(|path| (PathBuf::from(path), false))),
    }
    match npm_variable("userconfig", vars) {
        Some(path) => files.push((PathBuf::from(path), true)),
        None => {
            let home = vars.get("HOME").filter(|home| !home.is_empty());
            files.extend(home.map(|home| (Path::new(&home).join(".npmrc"), false)));
        }
    }
    files
}

/// A setting as npm takes it from the environment.
fn npm_variable(key: &str, vars: &dyn Vars) -> Option<String> {
    let names = [
        format!("npm_config_{key}"),
        format!("NPM_CONFIG_{}", key.to_ascii_uppercase()),
    ];
    let found = names.iter().find_map(|name| vars.get(name));
    let value = found?.into_string().ok()?;
    (!value.is_empty() && is_plain(&value)).then_some(value)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

fn is_usable(path: &Path, warnings: &mut Vec<Problem>) -> bool {
    let Err(error) = File::open(path) else {
        return true;
    };
    warnings.push(Problem::new(
        path.display().to_string(),
        format!("the certificates that npm's configuration names cannot be read: {error}"),
        "correct `cafile` there, or set RUNTIME_NPM_CAFILE",
    ));
    false
}

/// The settings of an `.npmrc` that lead to a registry.
fn parse(text: &str, vars: &dyn Vars) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';', '[']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), unquoted(value.trim()));
        let value = expand(value, vars);
        if is_wanted(key) && !value.is_empty() && is_plain(&value) {
            settings.insert(key.to_owned(), value);
        }
    }
    settings
}

fn is_wanted(key: &str) -> bool {
    if key == "registry" || key == "cafile" {
        return true;
    }
    if !is_plain(key) {
        return false;
    }
    match key.rsplit_once(':') {
        Some((scope, "registry")) => scope.starts_with('@'),
        Some((place, name)) => place.starts_with("//") && CREDENTIALS.contains(&name),
        None => false,
    }
}

/// Whether it stays one line of a file.
fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn unquoted(text: &str) -> &str {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text)
}

/// Puts variables in: `${NAME}`. One that is not set stays as it is.
fn expand(text: &str, vars: &dyn Vars) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| {
            let value = vars.get(name)?.into_string().ok()?;
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                expanded.push_str(&value);
                rest = after;
            }
            None => {
                expanded.push_str("${");
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Where a registry is. What is no http or https address Bun does not ask either.
fn place_of(registry: &str) -> Option<HostPort> {
    let (scheme, rest) = registry.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    HostPort::of_authority(authority.rsplit('@').next()?, port)
}

/// A registry as it may stand in a log: without a password, and without what may be
/// one.
fn shown(registry: &str) -> String {
    let (scheme, rest) = registry.split_once("://").unwrap_or(("", registry));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/{path}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        // What this machine has is not looked at.
        let none = [("npm_config_globalconfig", "/dev/null")];
        let pairs = pairs.iter().chain(&none);
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn loaded(registry: Option<&str>, vars: &HashMap<String, String>) -> NpmConfig {
        let mut warnings = Vec::new();
        let loaded = load(registry.map(Secret::new), None, vars, &mut warnings);
        assert_eq!(warnings, []);
        loaded
    }

    #[test]
    fn without_anything_it_is_npms_own() {
        let npm = loaded(None, &vars(&[]));
        assert_eq!(npm.registry, DEFAULT_REGISTRY);
        assert_eq!(npm.npmrc.expose(), format!("registry={DEFAULT_REGISTRY}\n"));
    }

    #[test]
    fn the_users_file_counts_less_than_variables_and_those_less_than_ours() {
        let home = tempfile::tempdir().unwrap();
        let text = "# mine\nregistry = \"https://one.test/\"\n@acme:registry=https://acme.test/\n\
             //acme.test/:_authToken=${TOKEN}\n_authToken=unscoped\nscript-shell=/bin/evil\n\
             always-auth=true\ncache=/x\n//acme.test/:certfile=/x\nemail=a\n";
        std::fs::write(home.path().join(".npmrc"), text).unwrap();
        let home = home.path().to_str().unwrap();
        let mut known = vars(&[("HOME", home), ("TOKEN", "abc")]);
        let npm = loaded(None, &known);
        assert_eq!(npm.registry, "https://one.test/");
        assert_eq!(
            npm.npmrc.expose(),
            "//acme.test/:_authToken=abc\n@acme:registry=https://acme.test/\n\
             registry=https://one.test/\n"
        );
        known.insert(
            "NPM_CONFIG_REGISTRY".to_owned(),
            "https://two.test".to_owned(),
        );
        assert_eq!(loaded(None, &known).registry, "https://two.test/");
        let ours = loaded(Some("https://u:p@three.test/npm/?t=1"), &known);
        assert_eq!(ours.registry, "https://three.test/npm/");
        assert!(ours.npmrc.expose().contains("u:p@three.test"));
        assert!(!format!("{ours:?}").contains("u:p"));
    }

    #[test]
    fn a_value_cannot_become_a_second_setting() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".npmrc"), "registry=${R}\n").unwrap();
        let home = home.path().to_str().unwrap();
        let npm = loaded(
            None,
            &vars(&[("HOME", home), ("R", "https://a/\ncafile=/b")]),
        );
        assert_eq!(npm.registry, DEFAULT_REGISTRY);
        let open = loaded(None, &vars(&[("HOME", home)]));
        assert_eq!(open.npmrc.expose(), "registry=${R}\n");
    }

    #[test]
    fn files_that_are_named_and_not_there_are_told() {
        let named = vars(&[
            ("npm_config_userconfig", "/missing/npmrc"),
            ("npm_config_cafile", "/missing/ca.pem"),
        ]);
        let mut warnings = Vec::new();
        let npm = load(None, None, &named, &mut warnings);
        assert_eq!(npm.ca_file, None);
        let told: Vec<_> = warnings.iter().map(|problem| &problem.setting).collect();
        assert_eq!(told, ["/missing/npmrc", "/missing/ca.pem"]);
    }

    #[test]
    fn it_is_known_where_registries_are() {
        for (url, place) in [
            ("https://npm.a.dev/path:1/", Some("npm.a.dev:443")),
            ("http://user:pass@LOCALHOST:4873/", Some("localhost:4873")),
            ("HTTPS://[::1]", Some("[::1]:443")),
            ("http://10.0.0.5?x", Some("10.0.0.5:80")),
            ("ftp://a/", None),
            ("//a/", None),
            ("http://a b/", None),
        ] {
            let found = place_of(url).map(|place| place.to_string());
            assert_eq!(found.as_deref(), place, "{url}");
        }
        let home = tempfile::tempdir().unwrap();
        let text = "@acme:registry=https://acme.test/\n//other.test/:_authToken=abc\n";
        std::fs::write(home.path().join(".npmrc"), text).unwrap();
        let npm = loaded(None, &vars(&[("HOME", home.path().to_str().unwrap())]));
        let places: Vec<_> = npm.registries.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["acme.test:443", "registry.npmjs.org:443"]);
    }
}
