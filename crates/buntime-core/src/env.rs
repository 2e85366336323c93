//! Which variables of an app reach its worker and its pages (contract §6).

use std::collections::{BTreeMap, BTreeSet};

/// Most variables of one app, and the longest value of one, in bytes: the system
/// starts no process with more than it likes.
pub(crate) const VARIABLES_MAX: usize = 1000;
pub(crate) const VALUE_MAX_BYTES: usize = 64 * 1024;

/// How a blocked name is recognised. Names are compared in upper case.
enum Rule {
    Is(&'static str),
    StartsWith(&'static str),
    EndsWith(&'static str),
}

/// The contract's ten patterns for secrets of the server and its operator.
const SENSITIVE: [Rule; 18] = [
    Rule::StartsWith("DATABASE_"),
    Rule::StartsWith("DB_"),
    Rule::StartsWith("API_KEY"),
    Rule::StartsWith("APIKEY"),
    Rule::StartsWith("AUTH_KEY"),
    Rule::StartsWith("AUTHKEY"),
    Rule::StartsWith("SECRET_KEY"),
    Rule::StartsWith("SECRETKEY"),
    Rule::StartsWith("PRIVATE_KEY"),
    Rule::StartsWith("PRIVATEKEY"),
    Rule::EndsWith("_TOKEN"),
    Rule::EndsWith("_SECRET"),
    Rule::EndsWith("_PASSWORD"),
    Rule::StartsWith("AWS_"),
    Rule::StartsWith("GITHUB_"),
    Rule::StartsWith("OPENAI_"),
    Rule::StartsWith("ANTHROPIC_"),
    Rule::StartsWith("STRIPE_"),
];

/// What the server itself sets, and other spellings of the same setting.
const PASSED: [Rule; 21] = [
    Rule::Is("APP_DIR"),
    Rule::Is("ENTRYPOINT"),
    Rule::StartsWith("RUNTIME_"),
    Rule::StartsWith("BUNTIME_"),
    Rule::Is("WORKER_CONFIG"),
    Rule::Is("WORKER_ID"),
    Rule::Is("PATH"),
    Rule::Is("HOME"),
    Rule::Is("TMPDIR"),
    Rule::Is("TMP"),
    Rule::Is("TEMP"),
    Rule::Is("DATA_DIR"),
    Rule::Is("TZ"),
    Rule::Is("TZDIR"),
    Rule::Is("LANG"),
    Rule::Is("LANGUAGE"),
    Rule::StartsWith("LC_"),
    Rule::StartsWith("XDG_"),
    Rule::Is("HTTP_PROXY"),
    Rule::Is("HTTPS_PROXY"),
    Rule::Is("ALL_PROXY"),
];

/// What steers the dynamic loader, the C library, the memory allocator or the
/// engine. These act before or below the code that confines the app, or speak to
/// descriptors that are not the app's.
const STEERING: [Rule; 27] = [
    Rule::Is("NO_PROXY"),
    Rule::StartsWith("LD_"),
    Rule::StartsWith("DYLD_"),
    Rule::StartsWith("GLIBC_"),
    Rule::StartsWith("MALLOC_"),
    Rule::StartsWith("MIMALLOC_"),
    Rule::StartsWith("BUN_"),
    Rule::StartsWith("NODE_"),
    Rule::StartsWith("JSC_"),
    Rule::StartsWith("WEBKIT_"),
    Rule::StartsWith("NPM_CONFIG_"),
    Rule::StartsWith("OPENSSL_"),
    Rule::EndsWith("SAN_OPTIONS"),
    Rule::Is("GCONV_PATH"),
    Rule::Is("GETCONF_DIR"),
    Rule::Is("LOCPATH"),
    Rule::Is("NLSPATH"),
    Rule::Is("ICU_DATA"),
    Rule::Is("HOSTALIASES"),
    Rule::Is("LOCALDOMAIN"),
    Rule::Is("RES_OPTIONS"),
    Rule::Is("RESOLV_HOST_CONF"),
    Rule::Is("BASH_ENV"),
    Rule::StartsWith("BASH_FUNC_"),
    Rule::Is("NOTIFY_SOCKET"),
    Rule::StartsWith("LISTEN_"),
    Rule::Is("SSLKEYLOGFILE"),
];

/// Whether a variable of an app is kept from its worker, in any letter case:
/// because its name looks like a secret, because the server sets it, or because
/// it steers the loader or the engine. `NODE_ENV` is of the second sort.
#[must_use]
pub fn is_blocked_variable(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SENSITIVE
        .iter()
        .chain(&PASSED)
        .chain(&STEERING)
        .any(|rule| match rule {
            Rule::Is(whole) => name == *whole,
            Rule::StartsWith(prefix) => name.starts_with(prefix),
            Rule::EndsWith(suffix) => name.ends_with(suffix),
        })
}

/// The app's own variables after the filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerEnv {
    /// What the worker gets besides what the server sets.
    pub passed: BTreeMap<String, String>,
    /// The names that were held back, sorted, without their values.
    pub blocked: Vec<String>,
}

/// Merges a manifest's `env` with its `.env` file, which wins, and holds back
/// what a worker must not get.
#[must_use]
pub fn worker_env(
    manifest: &BTreeMap<String, String>,
    dotenv: &BTreeMap<String, String>,
) -> WorkerEnv {
    let mut passed = BTreeMap::new();
    let mut blocked = BTreeSet::new();
    for (name, value) in manifest.iter().chain(dotenv) {
        if is_blocked_variable(name) {
            blocked.insert(name.clone());
        } else {
            passed.insert(name.clone(), value.clone());
        }
    }
    WorkerEnv {
        passed,
        blocked: blocked.into_iter().collect(),
    }
}

/// What of the filtered variables also becomes `window.__env__` in pages: those
/// whose names begin with one of the prefixes. An empty prefix selects nothing.
#[must_use]
pub fn public_env(
    passed: &BTreeMap<String, String>,
    prefixes: &[String],
) -> BTreeMap<String, String> {
    let public = |name: &str| {
        prefixes
            .iter()
            .any(|prefix| !prefix.is_empty() && name.starts_with(prefix.as_str()))
    };
    passed
        .iter()
        .filter(|(name, _)| public(name) && !is_blocked_variable(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
