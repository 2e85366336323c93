//! `buntime check`.

mod grants;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use buntime_core::{DEFAULT_ENTRYPOINTS, DEFAULT_PLUGIN_ENTRIES};
use buntime_server::catalog::{self, CheckedUnit, CheckedWorker, Problem, SET_BY_SERVER, Severity};
use buntime_server::config::{ApiPrefix, is_built_in};
use buntime_server::plugins::{CheckedPlugin, Plugins};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::grants::Given;
use super::{Outcome, output};

/// Where plugins are looked for if nobody says where, as the server does.
const PLUGINS: &str = "plugins";

pub(super) fn command() -> Command {
    Command::new("check")
        .about("Validate manifests, entrypoints, lockfiles, plugins and collisions without serving")
        .after_help("All problems are printed at once. Exit codes: 0 no errors, 1 errors, 2 no such folder.")
        .arg(
            Arg::new("dirs")
                .value_name("DIR")
                .help("Apps, folders that hold apps, plugins, or plugin roots [default: RUNTIME_WORKER_DIRS and the plugin roots]")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("plugin-dirs")
                .long("plugin-dirs")
                .value_name("DIR:DIR")
                .help("Plugin roots [RUNTIME_PLUGIN_DIRS; default: ./plugins if present]")
                .value_parser(value_parser!(OsString)),
        )
        .arg(
            Arg::new("api-prefix")
                .long("api-prefix")
                .value_name("PATH")
                .help("What stands before /api, and so is no base of a plugin [RUNTIME_API_PREFIX]")
                .value_parser(value_parser!(String)),
        )
        .arg(
            Arg::new("grants")
                .long("grants")
                .value_name("FILE")
                .help("What is granted beyond the defaults; also prints what each app and plugin asks for [RUNTIME_GRANTS, without the print]")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("env")
                .long("env")
                .action(ArgAction::SetTrue)
                .help("Print the environment that each app's worker would get, values included"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let places = Places::of(matches);
    if places.apps.is_empty() && places.plugins.is_empty() {
        output::complain("nothing to check; name a folder or set RUNTIME_WORKER_DIRS");
        return Outcome::Usage;
    }
    let missing = places.missing();
    if !missing.is_empty() {
        output::complain_all("cannot check", missing);
        return Outcome::Usage;
    }
    let prefix = match api_prefix(matches) {
        Ok(prefix) => prefix,
        Err(problem) => {
            output::complain(problem);
            return Outcome::Usage;
        }
    };
    let grants = match Given::of(matches, &places) {
        Ok(grants) => grants,
        Err(problems) => {
            output::complain_all("the grants are wrong", problems);
            return Outcome::Usage;
        }
    };
    let checked = catalog::check(&places.apps, &grants.grants);
    let mut problems = checked.problems.clone();
    let is_worker = |name: &str| checked.has_worker(name);
    let of_plugins = Plugins::check(&places.plugins, &prefix, &grants.grants, is_worker);
    let found = of_plugins.problems.into_iter();
    problems.extend(found.filter(|problem| places.asks_for(&problem.path)));
    problems.sort_by_key(|problem| problem.severity);
    if let Some(file) = &grants.named {
        let units = checked
            .units
            .iter()
            .map(|unit| (unit.id.clone(), &unit.asks));
        let plugins = of_plugins.plugins.iter();
        let plugins = plugins
            .filter(|plugin| places.asks_for(&plugin.dir))
            .map(|plugin| (plugin_id(plugin), &plugin.asks));
        grants::explain(units.chain(plugins), &grants.grants, file);
    }
    if matches.get_flag("env") {
        for unit in &checked.units {
            print_environment(unit);
        }
    }
    report(&problems)
}

fn plugin_id(plugin: &CheckedPlugin) -> String {
    let name = plugin.asks.name.as_ref();
    name.map_or_else(
        || plugin.dir.display().to_string(),
        |name| format!("plugin {name}"),
    )
}

fn report(problems: &[Problem]) -> Outcome {
    let mut errors = 0;
    for problem in problems {
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

/// What is to be checked.
struct Places {
    /// Apps and folders that hold apps.
    apps: Vec<PathBuf>,
    /// Plugin roots.
    plugins: Vec<PathBuf>,
    /// The folders below plugin roots that were named. None: all that is there.
    named: Vec<PathBuf>,
}

impl Places {
    fn of(matches: &ArgMatches) -> Self {
        let named = matches.get_many::<PathBuf>("dirs").into_iter().flatten();
        let named: Vec<PathBuf> = named.cloned().collect();
        let flag = matches.get_one::<OsString>("plugin-dirs");
        let configured = configured_roots(flag);
        if named.is_empty() {
            let apps = variable("RUNTIME_WORKER_DIRS").map(|list| split(&list));
            return Self {
                apps: apps.unwrap_or_default(),
                plugins: configured,
                named: Vec::new(),
            };
        }
        let mut roots = configured.clone();
        // A plugin may be named that lies in none of these.
        for dir in &named {
            if let Some(root) = plugin_root(&resolved(dir))
                && !roots.contains(&root)
            {
                roots.push(root);
            }
        }
        let is_of_plugins = |dir: &PathBuf| {
            let dir = resolved(dir);
            plugin_root(&dir).is_some() || configured.iter().any(|root| dir.starts_with(root))
        };
        let (of_plugins, apps): (Vec<_>, Vec<_>) = named.into_iter().partition(is_of_plugins);
        let mut named: Vec<PathBuf> = of_plugins.iter().map(|dir| resolved(dir)).collect();
        if flag.is_some() {
            named.extend(configured);
        }
        let is_wanted = |root: &PathBuf| named.iter().any(|dir| dir.starts_with(root));
        Self {
            plugins: roots
                .iter()
                .filter(|root| is_wanted(root))
                .cloned()
                .collect(),
            apps,
            named,
        }
    }

    fn missing(&self) -> Vec<String> {
        let all = self.apps.iter().chain(&self.plugins).chain(&self.named);
        all.filter(|dir| !dir.is_dir())
            .map(|dir| {
                let dir = dir.display();
                format!("{dir}: no such folder; name apps or folders that hold apps")
            })
            .collect()
    }

    /// Whether this path of a plugin was asked for.
    fn asks_for(&self, path: &Path) -> bool {
        self.named.is_empty() || self.named.iter().any(|dir| path.starts_with(dir))
    }
}

/// The plugin roots of the server: of the flag, else the variable, else the default.
fn configured_roots(flag: Option<&OsString>) -> Vec<PathBuf> {
    let mut roots = match flag.cloned().or_else(|| variable("RUNTIME_PLUGIN_DIRS")) {
        Some(list) => split(&list),
        None => Some(PathBuf::from(PLUGINS))
            .filter(|dir| dir.is_dir())
            .into_iter()
            .collect(),
    };
    for root in &mut roots {
        *root = resolved(root);
    }
    // As the server does: those that belong to the installation first.
    roots.sort_by_key(|root| !is_built_in(root));
    roots
}

/// The root of a folder that is a plugin to look at: it has a plugin's hooks, and
/// nothing that would make it an app.
fn plugin_root(dir: &Path) -> Option<PathBuf> {
    let has = |files: &[&str]| files.iter().any(|file| dir.join(file).is_file());
    if !has(&DEFAULT_PLUGIN_ENTRIES) || has(&DEFAULT_ENTRYPOINTS) {
        return None;
    }
    let parent = dir.parent()?;
    let name = parent.file_name();
    let is_scope = name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
    let root = if is_scope { parent.parent()? } else { parent };
    Some(root.to_owned())
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn split(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect()
}

/// One name for one folder, as far as it exists.
fn resolved(dir: &Path) -> PathBuf {
    dir.canonicalize().unwrap_or_else(|_| dir.to_owned())
}

fn api_prefix(matches: &ArgMatches) -> Result<ApiPrefix, String> {
    let flag = matches.get_one::<String>("api-prefix").cloned();
    let text = flag.or_else(|| variable("RUNTIME_API_PREFIX")?.into_string().ok());
    let text = text.filter(|text| !text.is_empty());
    text.map_or_else(
        || Ok(ApiPrefix::default()),
        |text| {
            text.parse::<ApiPrefix>()
                .map_err(|why| format!("--api-prefix={text:?}: {why}; write a path such as /_"))
        },
    )
}

fn print_environment(unit: &CheckedUnit) {
    let (entrypoint, env, blocked) = match &unit.worker {
        CheckedWorker::Runs {
            entrypoint,
            env,
            blocked,
            ..
        } => (entrypoint, env, blocked),
        CheckedWorker::Static => return none(unit, "a static app, no worker"),
        CheckedWorker::Disabled => return none(unit, "disabled, no worker"),
        _ => return none(unit, "no worker, see below"),
    };
    output::say(format_args!("{}: environment of a worker", unit.id));
    let mut lines: Vec<(&str, String)> = SET_BY_SERVER
        .iter()
        .map(|&(name, what)| {
            let known = match name {
                "APP_DIR" => Some(&unit.dir),
                "ENTRYPOINT" => Some(entrypoint),
                _ => None,
            };
            let line = match known {
                Some(path) => format!("{name}={}", quoted(&path.to_string_lossy())),
                None => format!("{name} ({what})"),
            };
            (name, line)
        })
        .collect();
    let own = env.iter();
    lines.extend(own.map(|(name, value)| (name.as_str(), format!("{name}={}", quoted(value)))));
    lines.sort();
    for (_, line) in lines {
        output::say(format_args!("  {line}"));
    }
    if !blocked.is_empty() {
        output::say(format_args!("  blocked: {}", blocked.join(", ")));
    }
}

fn none(unit: &CheckedUnit, why: &str) {
    output::say(format_args!("{}: {why}", unit.id));
}

/// On one line, and nothing for the terminal to obey.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.extend(character.escape_default()),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
