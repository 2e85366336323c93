//! Files that authors of apps write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use buntime_core::{
    InstallPlan, Manifest, PluginManifest, is_blocked_variable, normalize_entrypoint, public_env,
    worker_env,
};

/// A manifest costs little time, whatever it says, and what passes keeps what the
/// type promises.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let begun = Instant::now();
    let parsed = Manifest::parse(text, "manifest.yaml");
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "{took:?} for {} bytes",
        text.len()
    );
    let manifest = match parsed {
        Ok(parsed) => {
            for warning in &parsed.warnings {
                one_line(&warning.to_string());
            }
            parsed.value
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.is_empty(), "refused without a word");
            assert!(
                told.len() <= 4096 + 16 * text.len(),
                "more is said than was read"
            );
            return;
        }
    };
    assert!(manifest.timeout > Duration::ZERO && manifest.idle_timeout > Duration::ZERO);
    if manifest.ttl > Duration::ZERO {
        assert!(manifest.timeout <= manifest.idle_timeout);
        assert!(manifest.idle_timeout <= manifest.ttl);
    }
    assert!(manifest.max_requests >= 1);
    assert!(manifest.env_prefix.iter().all(|prefix| !prefix.is_empty()));
    if let Some(entrypoint) = &manifest.entrypoint {
        assert_eq!(normalize_entrypoint(entrypoint).as_ref(), Ok(entrypoint));
    }
    filtered(&manifest.env, &BTreeMap::new(), &manifest.env_prefix);
}

/// A package.json and, behind a NUL, a bun.lock: what Bun is given of them is read
/// back as the same plan, whose hosts are no more than hosts.
pub(crate) fn install_plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (package, lock) = match text.split_once('\0') {
        Some((package, lock)) => (package, Some(lock)),
        None => (text, None),
    };
    match InstallPlan::new(Some(package), lock) {
        Ok(None) => {}
        Ok(Some(plan)) => {
            let again = InstallPlan::new(Some(&plan.package_json), Some(&plan.lockfile));
            assert_eq!(again.as_ref(), Ok(&Some(plan.clone())));
            assert!(
                plan.hosts
                    .iter()
                    .all(|host| !host.contains(['/', '@', ' ']))
            );
        }
        Err(error) => {
            let told = error.to_string();
            assert!(
                told.len() <= 4096 + 16 * text.len(),
                "more is said than was read"
            );
        }
    }
}

/// As [`manifest`], for plugins: a base that passes is one plain segment, and one
/// that stops the start is told in one line.
pub(crate) fn plugin_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let begun = Instant::now();
    let parsed = PluginManifest::parse(text, "manifest.yaml");
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "{took:?} for {} bytes",
        text.len()
    );
    match parsed {
        Ok(parsed) => {
            for warning in &parsed.warnings {
                one_line(&warning.to_string());
            }
            let manifest = parsed.value;
            assert!(!manifest.name.is_reserved());
            if let Some(base) = &manifest.base {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                assert!(!base.segment().is_empty() && base.segment().bytes().all(plain));
                assert!(!["/api", "/health", "/.well-known"].contains(&base.as_str()));
            }
            for file in [&manifest.entrypoint, &manifest.plugin_entry]
                .into_iter()
                .flatten()
            {
                assert_eq!(normalize_entrypoint(file).as_ref(), Ok(file));
            }
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.is_empty(), "refused without a word");
            if let Some(base) = &errors.base {
                one_line(&base.to_string());
                assert!(base.to_string().len() < 1024);
            }
        }
    }
}

/// Variables read the same when they are written plainly, and the filter holds.
pub(crate) fn dotenv(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(parsed) = buntime_core::dotenv::parse(text, ".env") else {
        return;
    };
    for warning in &parsed.warnings {
        one_line(&warning.to_string());
    }
    let values = parsed.value;
    for (name, value) in &values {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(word), "{name:?}");
        assert!(!value.contains('\0'), "a value that no process can have");
    }
    let plain: String = values
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"\n", quoted(value)))
        .collect();
    if plain.len() <= buntime_core::dotenv::MAX_BYTES {
        let again = buntime_core::dotenv::parse(&plain, ".env").expect("what was written reads");
        assert_eq!(again.value, values);
    }
    filtered(
        &BTreeMap::new(),
        &values,
        &["PUBLIC_".to_owned(), "VITE_".to_owned()],
    );
}

fn quoted(value: &str) -> String {
    value
        .chars()
        .map(|character| match character {
            '\\' => "\\\\".to_owned(),
            '"' => "\\\"".to_owned(),
            '$' => "\\$".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// Nothing blocked is passed, nothing is lost, nothing is public that is not passed.
fn filtered(
    manifest: &BTreeMap<String, String>,
    dotenv: &BTreeMap<String, String>,
    prefixes: &[String],
) {
    let env = worker_env(manifest, dotenv);
    assert!(env.passed.keys().all(|name| !is_blocked_variable(name)));
    assert!(env.blocked.iter().all(|name| is_blocked_variable(name)));
    for name in manifest.keys().chain(dotenv.keys()) {
        let passed = env.passed.contains_key(name);
        assert_ne!(passed, env.blocked.contains(name), "{name}");
    }
    for (name, value) in public_env(&env.passed, prefixes) {
        assert_eq!(env.passed.get(&name), Some(&value));
        assert!(
            prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        );
    }
}

/// What is told of a file goes into a log: one line of it.
fn one_line(told: &str) {
    assert!(!told.contains(['\n', '\r']), "{told:?}");
}
