//! Plugins: what stops a start, and what disables one of them.

use std::process::Output;

use tempfile::TempDir;

use super::{run, server, text, write};

/// A folder with an app root and a plugin root; each plugin is its folder and its
/// manifest.
fn place(plugins: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("apps")).unwrap();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    for (folder, manifest) in plugins {
        write(
            dir.path(),
            &format!("plugins/{folder}/manifest.yaml"),
            manifest,
        );
    }
    dir
}

/// Starts a server without a Bun: one that is not stopped by its plugins ends too.
fn start(dir: &TempDir, vars: &[(&str, &str)]) -> Output {
    let mut all = vec![
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("PORT", "0"),
        ("RUNTIME_BUN", "/bin/false"),
    ];
    all.extend(vars);
    run(dir.path(), &["serve"], &all)
}

/// Asserts that a start with this one plugin ends with 2 and exactly this line.
#[track_caller]
fn stops(manifest: &str, vars: &[(&str, &str)], line: &str) {
    let dir = place(&[("plugin", manifest)]);
    let output = start(&dir, vars);
    assert_eq!(output.status.code(), Some(2), "{manifest}");
    assert_eq!(text(&output.stderr), format!("{line}\n"), "{manifest}");
    assert!(!text(&output.stdout).contains("Listening"));
    assert!(
        !dir.path().join(".buntime").exists(),
        "a start that is stopped leaves nothing behind"
    );
}

#[test]
fn g5_a_reserved_base_stops_the_start() {
    for base in ["/api", "/health", "/.well-known"] {
        let line = format!(
            "Error: Plugin \"my-plugin\" cannot use reserved path \"{base}\". \
             Reserved paths: /api, /health, /.well-known"
        );
        let manifest = format!("name: my-plugin\nbase: {base}\n");
        stops(&manifest, &[], &line);
        stops(&manifest, &[("RUNTIME_API_PREFIX", "/_")], &line);
        stops(&format!("{manifest}enabled: false\n"), &[], &line);
    }
}

#[test]
fn g5_the_first_segment_of_the_apis_prefix_is_reserved() {
    let line = "Error: Plugin \"x\" cannot use reserved path \"/_\". \
                Reserved paths: /api, /health, /.well-known, /_";
    let manifest = "name: x\nbase: /_\n";
    stops(manifest, &[("RUNTIME_API_PREFIX", "/_")], line);
    stops(manifest, &[("RUNTIME_API_PREFIX", "/_/deeper")], line);
    // Without the prefix it is as good as any: the next thing missing is Bun.
    let output = start(&place(&[("x", manifest)]), &[]);
    assert!(!text(&output.stderr).contains("Plugin"), "{output:?}");
}

#[test]
fn g6_a_malformed_base_stops_the_start() {
    for base in [
        "/a/b",
        "/plugins/my-plugin",
        "/my plugin",
        "my-plugin",
        "x",
        "",
        "/",
        "/é",
        "/..",
        "/a/",
        "//api",
        "/a%2fb",
        "5",
    ] {
        stops(
            &format!("name: x\nbase: '{base}'\n"),
            &[],
            &format!(
                "Error: Plugin \"x\" has invalid base path \"{base}\". \
                 Base must match ^/[a-zA-Z0-9_-]+$"
            ),
        );
    }
}

#[test]
fn all_bad_bases_are_told_at_once() {
    let dir = place(&[
        ("a", "name: a\nbase: /api\n"),
        ("b", "name: b\nbase: /fine\n"),
        ("@acme/c", "name: '@acme/c'\nbase: /c/d\n"),
        ("d", "[broken"),
    ]);
    let output = start(&dir, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "Error: Plugin \"@acme/c\" has invalid base path \"/c/d\". Base must match ^/[a-zA-Z0-9_-]+$\n\
         Error: Plugin \"a\" cannot use reserved path \"/api\". Reserved paths: /api, /health, /.well-known\n"
    );
}

#[test]
fn sound_plugins_are_told_of_and_broken_ones_disabled_alone() {
    let builder = server()
        .sample("shop@1.0.0", super::KEPT)
        .env("RUNTIME_API_PREFIX", "/_");
    let dir = builder.dir().to_owned();
    for (folder, manifest) in [
        ("fine", "name: fine\nbase: /fine\n"),
        ("off", "name: off\nenabled: false\n"),
        ("again", "name: fine\n"),
        ("second", "name: second\nbase: /fine\n"),
        ("shadow", "name: shadow\nbase: /shop\n"),
        ("broken", "name: broken\nenabled: maybe\n"),
    ] {
        write(&dir, &format!("plugins/{folder}/manifest.yaml"), manifest);
    }
    let roots = dir.join("plugins");
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", roots.to_str().unwrap())
        .start();
    assert_eq!(server.get("/shop/env").status, 200);
    let of_plugins: Vec<_> = server
        .log()
        .into_iter()
        .filter(|line| line.text("context") == "plugins")
        .collect();
    let errors: Vec<_> = of_plugins
        .iter()
        .filter(|line| line.level() == "error")
        .map(|line| line.message().to_owned())
        .collect();
    let path = |name: &str| {
        roots
            .canonicalize()
            .unwrap()
            .join(name)
            .display()
            .to_string()
    };
    // "again" comes first in the order of paths.
    assert_eq!(
        errors,
        [
            format!(
                "{}/manifest.yaml:2:10: enabled: `maybe` is not accepted; true or false, without quotes",
                path("broken")
            ),
            format!(
                "Plugin collision: \"fine\" already registered from \"{}\", cannot register from \"{}\"",
                path("again"),
                path("fine")
            ),
            format!(
                "Plugin \"shadow\" in {} is disabled: base \"/shop\" already belongs to the worker \"shop\"",
                path("shadow")
            ),
        ]
    );
    let not_run: Vec<_> = of_plugins
        .iter()
        .filter(|line| line.message() == "Plugins are not run by this version")
        .map(|line| (line.level().to_owned(), line.text("plugin").to_owned()))
        .collect();
    let warn = |name: &str| ("warn".to_owned(), name.to_owned());
    assert_eq!(not_run, [warn("fine"), warn("second")]);
    // Nothing answers under a plugin's base, and the API is where it was put.
    assert_eq!(server.get("/fine/").status, 404);
    assert_eq!(server.get("/_/api/health").status, 200);
}
