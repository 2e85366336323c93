use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::catalog::Severity;

/// Plugin roots `.built-in` and `plugins` with manifests: folder and content.
struct Fixture(TempDir);

impl Fixture {
    fn new(manifests: &[(&str, &str)]) -> Self {
        let fixture = Self(TempDir::new().unwrap());
        for root in fixture.roots() {
            fs::create_dir(root).unwrap();
        }
        for (folder, manifest) in manifests {
            fixture.write(&format!("{folder}/manifest.yaml"), manifest);
        }
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn roots(&self) -> Vec<PathBuf> {
        let root = |name| self.0.path().join(name);
        [root(".built-in"), root("plugins")].into()
    }

    fn read_with(&self, prefix: &str) -> Result<Plugins, BadBases> {
        let prefix = match prefix {
            "" => ApiPrefix::default(),
            prefix => prefix.parse().unwrap(),
        };
        Plugins::read(
            &self.roots(),
            &prefix,
            &Overrides::new(),
            &Grants::default(),
        )
    }

    fn read(&self) -> Plugins {
        self.read_with("").unwrap()
    }

    fn names(&self) -> Vec<String> {
        let plugins = self.read();
        let names = plugins.accepted().iter();
        names.map(|plugin| plugin.name.to_string()).collect()
    }

    /// The messages, with the fixture's own folder left out.
    fn messages(&self, plugins: &Plugins) -> Vec<String> {
        let own = format!("{}/", self.0.path().display());
        let problems = plugins.problems().iter();
        problems
            .map(|problem| problem.message.replace(&own, ""))
            .collect()
    }
}

#[test]
fn both_layouts_are_found_in_order() {
    let fixture = Fixture::new(&[
        ("plugins/b", "name: b"),
        ("plugins/@acme/a", "name: '@acme/a'"),
        (".built-in/z", "name: z\nbase: /z"),
        ("plugins/.hidden", "name: hidden"),
        ("plugins/node_modules", "name: modules"),
        ("plugins/deep/below", "name: below"),
    ]);
    fixture.write("plugins/c/manifest.yml", "name: c");
    fixture.write("plugins/notes/README.md", "");
    assert_eq!(fixture.names(), ["z", "@acme/a", "b", "c"]);
    let plugins = fixture.read();
    assert_eq!(plugins.accepted()[0].source, Source::BuiltIn);
    assert_eq!(plugins.accepted()[1].source, Source::Uploaded);
    assert_eq!(plugins.problems(), []);
}

#[test]
fn g5_g6_all_bad_bases_are_told_at_once_and_by_name() {
    let fixture = Fixture::new(&[
        ("plugins/a", "name: my-plugin\nbase: /api"),
        ("plugins/b", "name: x\nbase: /a/b"),
        ("plugins/c", "base: /health"),
        ("plugins/d", "name: fine\nbase: /fine"),
        (
            "plugins/@e/e",
            "name: '@e/e'\nbase: /.well-known\nenabled: false",
        ),
        ("plugins/f", "name: f\nbase: ''\nenabled: 5"),
    ]);
    let errors = fixture.read_with("").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "Error: Plugin \"@e/e\" cannot use reserved path \"/.well-known\". Reserved paths: /api, /health, /.well-known\n\
         Error: Plugin \"my-plugin\" cannot use reserved path \"/api\". Reserved paths: /api, /health, /.well-known\n\
         Error: Plugin \"x\" has invalid base path \"/a/b\". Base must match ^/[a-zA-Z0-9_-]+$\n\
         Error: Plugin \"c\" cannot use reserved path \"/health\". Reserved paths: /api, /health, /.well-known\n\
         Error: Plugin \"f\" has invalid base path \"\". Base must match ^/[a-zA-Z0-9_-]+$"
    );
}

#[test]
fn g5_the_apis_prefix_is_reserved_too_and_the_rest_stays_so() {
    let fixture = Fixture::new(&[("plugins/a", "name: a\nbase: /_")]);
    assert!(fixture.read_with("").is_ok());
    assert!(fixture.read_with("/admin/_").is_ok());
    for prefix in ["/_", "/_/deeper"] {
        assert_eq!(
            fixture.read_with(prefix).unwrap_err().to_string(),
            "Error: Plugin \"a\" cannot use reserved path \"/_\". Reserved paths: /api, /health, /.well-known, /_"
        );
    }
    let fixture = Fixture::new(&[("plugins/a", "name: a\nbase: /api")]);
    assert!(fixture.read_with("/_").is_err());
}

#[test]
fn a_broken_manifest_disables_its_plugin_alone() {
    let fixture = Fixture::new(&[
        ("plugins/a", "name: a"),
        ("plugins/b", "[a"),
        ("plugins/c", "enabled: true"),
        ("plugins/d", "name: d\nentrypoint: ../a/x.ts"),
        ("plugins/e", "name: e\npluginEntry: gone.ts"),
        ("plugins/f", "name: f\nentrypoint: link.ts"),
        ("plugins/G", "name: g"),
    ]);
    fixture.write("outside.ts", "");
    symlink(
        "../../outside.ts",
        fixture.0.path().join("plugins/f/link.ts"),
    )
    .unwrap();
    fixture.write("plugins/h/plugin.ts", "");
    fixture.write("secret.yaml", "name: i");
    fs::create_dir(fixture.0.path().join("plugins/i")).unwrap();
    symlink(
        "../../secret.yaml",
        fixture.0.path().join("plugins/i/manifest.yaml"),
    )
    .unwrap();
    symlink("a", fixture.0.path().join("plugins/j")).unwrap();
    assert_eq!(fixture.names(), ["a"]);
    let plugins = fixture.read();
    let messages = fixture.messages(&plugins);
    let starts = [
        "plugins/j: is a symbolic link",
        "plugins/G: ignored: a name is lower case",
        "plugins/b/manifest.yaml:1:",
        "plugins/c/manifest.yaml:1:1: name: is missing",
        "plugins/d/manifest.yaml:2:13: entrypoint: Security: Entrypoint escapes app directory",
        "plugins/e: entrypoint \"gone.ts\" does not exist",
        "plugins/f: Security: Entrypoint escapes app directory",
        "plugins/h: ignored: it has no manifest.yaml",
        "plugins/i/manifest.yaml: is a symbolic link",
    ];
    assert_eq!(messages.len(), starts.len(), "{messages:#?}");
    for (message, start) in messages.iter().zip(starts) {
        assert!(message.starts_with(start), "{message} / {start}");
    }
}

#[test]
fn one_name_or_one_base_is_for_the_first_plugin() {
    let fixture = Fixture::new(&[
        (".built-in/auth", "name: auth\nbase: /auth"),
        ("plugins/auth", "name: auth"),
        ("plugins/copy", "name: copy\nbase: /auth"),
        ("plugins/other", "name: other\nbase: /auth\nenabled: false"),
        ("plugins/upper", "name: upper\nbase: /AUTH"),
    ]);
    assert_eq!(fixture.names(), ["auth", "other", "upper"]);
    let plugins = fixture.read();
    assert!(
        plugins
            .problems()
            .iter()
            .all(|problem| problem.severity == Severity::Error)
    );
    let own = fixture.0.path().display();
    assert_eq!(
        plugins.problems()[0].message,
        format!(
            "Plugin collision: \"auth\" already registered from \"{own}/.built-in/auth\", \
             cannot register from \"{own}/plugins/auth\""
        )
    );
    assert_eq!(
        fixture.messages(&plugins)[1],
        "Plugin \"copy\" in plugins/copy is disabled: base \"/auth\" already belongs to plugin \"auth\""
    );
}

#[test]
fn a_base_shadows_no_worker_and_no_panel() {
    let fixture = Fixture::new(&[
        ("plugins/a", "name: a\nbase: /shop"),
        ("plugins/b", "name: b\nbase: /cpanel"),
        ("plugins/c", "name: c\nbase: /free"),
        ("plugins/d", "name: d\nbase: /shop\nenabled: false"),
        ("plugins/e", "name: e"),
    ]);
    let mut plugins = fixture.read();
    plugins.refuse_shadows(&Plugins::default(), |name| name == "shop");
    let names: Vec<_> = plugins
        .accepted()
        .iter()
        .map(|plugin| plugin.name.as_str())
        .collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!(
        fixture.messages(&plugins),
        [
            "Plugin \"a\" in plugins/a is disabled: base \"/shop\" already belongs to the worker \"shop\"",
            "Plugin \"b\" in plugins/b is disabled: base \"/cpanel\" already belongs to the server's panel",
        ]
    );
    let checked = Plugins::check(
        &fixture.roots(),
        &ApiPrefix::default(),
        &Grants::default(),
        |name| name == "free",
    );
    assert_eq!(checked.problems.len(), 2);
}

#[test]
fn a_scoped_folder_does_not_speak_for_another_scope() {
    let fixture = Fixture::new(&[
        ("plugins/@a/x", "name: '@b/x'"),
        ("plugins/@a/y", "name: '@a/z'"),
        ("plugins/@a/w", "name: plain"),
        ("plugins/auth", "name: '@acme/auth'"),
        ("plugins/keys", "name: '@acme/other'"),
    ]);
    assert_eq!(
        fixture.names(),
        ["@a/w", "@a/x", "@a/z", "@acme/auth", "@acme/other"]
    );
    let messages = fixture.messages(&fixture.read());
    assert_eq!(
        messages,
        [
            "plugins/@a/w: is called \"plain\" but lies in the folder of \"@a/w\"; \"@a/w\" counts",
            "plugins/@a/x: is called \"@b/x\" but lies in the folder of \"@a/x\"; \"@a/x\" counts",
            "plugins/@a/y: is called \"@a/z\" but lies in the folder of \"@a/y\"; \"@a/z\" counts",
            "plugins/keys: is called \"@acme/other\" but lies in the folder of \"keys\"; \"@acme/other\" counts",
        ]
    );
}
