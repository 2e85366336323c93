//! "Plugins cannot use the following as their base" and "must match ^/[a-zA-Z0-9_-]+$".

use std::fs;
use std::process::{Command, Output};

use buntime_testkit::{PATIENCE, real_bun};

use crate::support::{BUNTIME, server};

const PLUGIN: &str = "export default {};\n";

/// A plugin root with one plugin, and what it takes to serve it.
fn root(name: &str, base: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("plugins").join(name);
    fs::create_dir_all(&plugin).unwrap();
    fs::create_dir(dir.path().join("apps")).unwrap();
    let manifest = format!("name: {name:?}\nbase: {base:?}\n");
    fs::write(plugin.join("manifest.yaml"), manifest).unwrap();
    fs::write(plugin.join("plugin.ts"), PLUGIN).unwrap();
    dir
}

/// Starts a server that should not start; kills it if it does.
fn start(dir: &tempfile::TempDir, vars: &[(&str, &str)]) -> Output {
    let mut child = Command::new(BUNTIME)
        .arg("serve")
        .current_dir(dir.path())
        .env_clear()
        .envs([("PORT", "0"), ("RUNTIME_WORKER_DIRS", "apps")])
        .envs([
            ("RUNTIME_PLUGIN_DIRS", "plugins"),
            ("RUNTIME_STATE_DIR", "state"),
        ])
        .env("RUNTIME_BUN", real_bun())
        .envs(vars.iter().copied())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// Startup stops with exit code 2 and exactly this line.
#[track_caller]
fn refused(name: &str, base: &str, vars: &[(&str, &str)], line: &str) {
    let dir = root(name, base);
    let output = start(&dir, vars);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{stderr}\n{stdout}");
    assert!(
        stderr.lines().any(|written| written == line),
        "not the line {line}\n{stderr}\n{stdout}"
    );
}

fn reserved(name: &str, base: &str) -> String {
    format!(
        "Error: Plugin \"{name}\" cannot use reserved path \"{base}\". \
         Reserved paths: /api, /health, /.well-known"
    )
}

fn invalid(name: &str, base: &str) -> String {
    format!(
        "Error: Plugin \"{name}\" has invalid base path \"{base}\". \
         Base must match ^/[a-zA-Z0-9_-]+$"
    )
}

#[test]
fn api_is_reserved_for_internal_routes() {
    refused("my-plugin", "/api", &[], &reserved("my-plugin", "/api"));
}

#[test]
fn health_is_reserved_for_health_checks() {
    refused(
        "my-plugin",
        "/health",
        &[],
        &reserved("my-plugin", "/health"),
    );
}

#[test]
fn well_known_is_reserved_for_standard_uris() {
    let line = reserved("my-plugin", "/.well-known");
    refused("my-plugin", "/.well-known", &[], &line);
}

#[test]
fn they_stay_reserved_when_the_api_moves() {
    for base in ["/api", "/health", "/.well-known"] {
        let vars = [("RUNTIME_API_PREFIX", "/_")];
        refused("my-plugin", base, &vars, &reserved("my-plugin", base));
    }
}

#[test]
fn a_nested_path_is_invalid() {
    let line = invalid("my-plugin", "/plugins/my-plugin");
    refused("my-plugin", "/plugins/my-plugin", &[], &line);
}

#[test]
fn a_space_is_invalid() {
    let line = invalid("my-plugin", "/my plugin");
    refused("my-plugin", "/my plugin", &[], &line);
}

#[test]
fn no_leading_slash_is_invalid() {
    let line = invalid("my-plugin", "my-plugin");
    refused("my-plugin", "my-plugin", &[], &line);
}

#[test]
fn anything_but_letters_digits_underscore_and_hyphen_is_invalid() {
    for base in ["/", "", "/é", "/..", "/a.b", "/a%2fb", "/a/", "//a", "/a?b"] {
        refused("my-plugin", base, &[], &invalid("my-plugin", base));
    }
}

#[test]
fn a_base_that_matches_the_pattern_starts() {
    for base in ["/my-plugin", "/My_Plugin-2", "/0", "/apis", "/healthy"] {
        let dir = root("my-plugin", base);
        let plugins = dir.path().join("plugins");
        let server = server()
            .env("RUNTIME_PLUGIN_DIRS", plugins.to_str().unwrap())
            .start();
        assert_eq!(server.get("/api/health").status, 200, "{base}");
    }
}
