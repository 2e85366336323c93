use serde_json::json;

use super::*;

fn parse(yaml: &str) -> PluginManifest {
    let parsed = PluginManifest::parse(yaml, "manifest.yaml").unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.value
}

/// The lines that refuse a manifest.
fn refusal(yaml: &str) -> String {
    PluginManifest::parse(yaml, "f").unwrap_err().to_string()
}

#[test]
fn a_name_is_enough() {
    let manifest = parse("name: my-plugin\n");
    assert_eq!(manifest.name.as_str(), "my-plugin");
    assert!(manifest.enabled && manifest.required && !manifest.inject_base);
    assert_eq!((manifest.base, manifest.plugin_entry), (None, None));
    assert!(manifest.settings.is_empty() && manifest.dependencies.is_empty());
}

#[test]
fn all_keys_are_read_and_the_rest_are_settings() {
    let manifest = parse(
        "name: '@acme/auth'\nbase: /auth\nenabled: false\nentrypoint: ./app/index.html\n\
         pluginEntry: src/plugin.ts\ndependencies: ['@acme/keys']\noptionalDependencies: [log]\n\
         publicRoutes: {GET: ['/login']}\n\
         menus:\n  - {icon: lock, path: /auth/, title: Auth, items: [{path: /auth/a, title: A}]}\n\
         injectBase: true\nvisibility: internal\nenv: {A: 1}\nconfig: {type: object}\n\
         required: false\n\
         issuer: https://id.example\nretries: 3\nratio: 0.5\nnegative: -1\nhex: 0x1F\nbig: .inf\n\
         nothing: ~\nquoted: '5'\nnested: {list: [true, a, 1.10]}\n",
    );
    assert_eq!(manifest.name.as_str(), "@acme/auth");
    assert_eq!(manifest.base.unwrap().as_str(), "/auth");
    assert_eq!(manifest.entrypoint.as_deref(), Some("app/index.html"));
    assert_eq!(manifest.plugin_entry.as_deref(), Some("src/plugin.ts"));
    assert_eq!(manifest.dependencies[0].as_str(), "@acme/keys");
    assert_eq!(manifest.optional_dependencies[0].as_str(), "log");
    assert!(manifest.public_routes.matches("GET", "/login"));
    assert_eq!(manifest.menus[0].items[0].title, "A");
    assert_eq!(manifest.visibility, Visibility::Internal);
    assert_eq!(manifest.env["A"], "1");
    assert_eq!(manifest.config, Some(json!({"type": "object"})));
    assert!(!manifest.enabled && !manifest.required && manifest.inject_base);
    assert_eq!(
        json!(manifest.settings),
        json!({
            "issuer": "https://id.example", "retries": 3, "ratio": 0.5, "negative": -1, "hex": 31,
            "big": ".inf", "nothing": null, "quoted": "5", "nested": {"list": [true, "a", 1.1]},
        })
    );
}

#[test]
fn a_bad_base_is_told_with_the_name() {
    let errors = PluginManifest::parse("base: /api\nname: my-plugin\n", "f").unwrap_err();
    assert_eq!(
        errors.name.as_ref().map(PackageName::as_str),
        Some("my-plugin")
    );
    assert!(matches!(
        errors.base,
        Some(PluginBaseError::Reserved { .. })
    ));
    assert!(errors.all.has(DiagnosticKind::PluginBase));
    assert_eq!(
        errors.to_string(),
        "f:1:7: base: cannot use reserved path \"/api\". Reserved paths: /api, /health, /.well-known"
    );
    for (base, shown) in [
        ("''", ""),
        ("5", "5"),
        ("true", "true"),
        ("/a/b", "/a/b"),
        ("..", ".."),
    ] {
        let errors = PluginManifest::parse(&format!("name: x\nbase: {base}"), "f").unwrap_err();
        let base = PluginBaseError::Invalid { base: shown.into() };
        assert_eq!(errors.base, Some(base));
    }
    // No base at all is one.
    let parsed = PluginManifest::parse("name: x\nbase:\n", "f").unwrap();
    assert_eq!(parsed.value.base, None);
    assert_eq!(parsed.warnings.len(), 1);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let text = refusal(
        "name: 5\nentrypoint: ../x.ts\npluginEntry: /etc/passwd\nenabled: maybe\n\
         dependencies: ['A B', b]\nmenus: [{path: 'javascript:x'}, {path: //a, title: t}]\n\
         config: 5\nvisibility: secret\nbase: [a]\n",
    );
    let places: Vec<_> = text.lines().map(|line| line.split(':').nth(1)).collect();
    let lines = ["1", "2", "3", "4", "5", "6", "6", "6", "7", "8", "9"];
    assert_eq!(places, lines.map(Some), "{text}");
    assert!(text.contains("f:2:13: entrypoint: Security: Entrypoint escapes app directory"));
    assert!(
        text.contains("f:5:16: dependencies[0]: `A B` is not accepted"),
        "{text}"
    );
}

#[test]
fn a_name_must_be_there_and_free() {
    assert!(refusal("base: /a\n").starts_with("f:1:1: name: is missing"));
    assert!(refusal("").starts_with("f:1:1: name: is missing"));
    for name in [
        "api",
        "health",
        "node_modules",
        "con",
        ".well-known",
        "'@a/nul'",
    ] {
        let errors = PluginManifest::parse(&format!("name: {name}"), "f").unwrap_err();
        let kinds: Vec<_> = errors.all.errors.iter().map(|error| error.kind).collect();
        assert!(
            matches!(
                kinds[..],
                [DiagnosticKind::ReservedName | DiagnosticKind::PackageName]
            ),
            "{name}: {kinds:?}"
        );
    }
    assert!(refusal("[a").starts_with("f:1:"));
    assert!(refusal("- a").contains("no mapping"));
}

#[test]
fn a_key_in_another_spelling_is_a_setting_with_a_warning() {
    let parsed =
        PluginManifest::parse("name: x\nBase: /y\ninject-base: true\nbases: 1\n", "f").unwrap();
    assert_eq!(parsed.value.base, None);
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "f:2:1: `Base` is taken for a setting; did you mean `base`?",
            "f:3:1: `inject-base` is taken for a setting; did you mean `injectBase`?"
        ]
    );
    assert_eq!(parsed.value.settings.len(), 3);
}
