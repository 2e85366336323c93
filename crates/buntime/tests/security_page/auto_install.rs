//! "Workers with `autoInstall: true` in manifest.yaml run the install with strict
//! flags": `bun install --frozen-lockfile --ignore-scripts`.

use std::fs;

use buntime_testkit::npm::locked;
use buntime_testkit::sample::assert_error;
use buntime_testkit::{Builder, NpmRegistry, TestServer};

use crate::support::server;

const MANIFEST: &str = "ttl: 1h\nautoInstall: true\n";
const SOURCE: &str = "import text from \"plain\";\n\
     export default { fetch: () => new Response(text) };\n";
const FOLDER: &str = "app@1.0.0";

/// A registry with `plain`, of two versions.
fn registry() -> NpmRegistry {
    let registry = NpmRegistry::start();
    for version in ["1.0.0", "2.0.0"] {
        let module = format!("module.exports = \"{version}\";");
        registry.publish("plain", version, "", &[("index.js", &module)]);
    }
    registry
}

fn with(registry: &NpmRegistry, package: &str, lock: &str) -> Builder {
    let files = [
        ("index.ts", SOURCE),
        ("package.json", package),
        ("bun.lock", lock),
    ];
    server()
        .env("RUNTIME_NPM_REGISTRY", &registry.url())
        .app(FOLDER, MANIFEST, &files)
}

fn deployed(server: &TestServer, name: &str) -> String {
    fs::read_to_string(server.dir().join("apps").join(FOLDER).join(name)).unwrap()
}

#[test]
fn the_install_has_the_strict_flags() {
    let registry = registry();
    registry.hold("plain", "1.0.0");
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    let server = with(&registry, &package, &lock).start();
    let mut request = server.begin("/app/");
    registry.wait_for_requests(1);
    let commands: Vec<String> = server.family().iter().map(|id| id.command()).collect();
    let strict = "install --frozen-lockfile --ignore-scripts";
    assert!(
        commands.iter().any(|command| command.contains(strict)),
        "{commands:#?}"
    );
    registry.release();
    assert_eq!(request.head("GET").unwrap().status, 200);
}

#[test]
fn frozen_lockfile_does_not_modify_the_lockfile() {
    let registry = registry();
    // A newer version would fit; the lockfile decides.
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    let package = package.replace("\"1.0.0\"", "\">=1.0.0\"");
    let server = with(&registry, &package, &lock).start();
    assert_eq!(server.get("/app/").text(), "1.0.0");
    assert_eq!(deployed(&server, "bun.lock"), lock);
    assert_eq!(deployed(&server, "package.json"), package);
}

#[test]
fn a_lockfile_that_would_have_to_change_fails_the_start() {
    let registry = registry();
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    let server = with(&registry, &package.replace("1.0.0", "2.0.0"), &lock).start();
    assert_error(&server.get("/app/"), 502, "WORKER_START_FAILED");
    assert_eq!(deployed(&server, "bun.lock"), lock);
}

#[test]
fn ignore_scripts_does_not_run_postinstall() {
    let registry = registry();
    let place = tempfile::tempdir().unwrap();
    let canary = place.path().join("canary");
    let scripts = format!(
        "\"scripts\": {{\"postinstall\": \"touch {}\"}}",
        canary.display()
    );
    registry.publish("malicious", "1.0.0", &scripts, &[]);
    let trusted = "{\"trustedDependencies\": [\"malicious\"], ";
    let (package, lock) = locked(&[("plain", "1.0.0", ""), ("malicious", "1.0.0", "")]);
    let package = package.replacen('{', &format!("{trusted}{scripts}, "), 1);
    let lock = lock.replacen('{', trusted, 1);
    let server = with(&registry, &package, &lock).start();
    assert_eq!(server.get("/app/").text(), "1.0.0");
    assert!(!canary.exists(), "a script ran");
}
