//! Which folders are units, and which of two wins.

use super::*;

#[test]
fn all_layouts_are_found() {
    let fixture = Fixture::new(|place| {
        for dir in [
            "nested/1.0.0",
            "nested/1.2.3-beta.1",
            "nested/latest",
            "flat@1.0.0",
            "flat@latest",
            "bare",
            "@acme/nested/1.0.0",
            "@acme/flat@2.0.0",
            "@acme/bare",
        ] {
            place.app(&format!("apps/{dir}"));
        }
        place.write(
            "apps/package-only/package.json",
            r#"{"name": "package-only"}"#,
        );
        place.write("apps/package-only/index.js", "");
    });
    let expected = [
        "@acme/bare@latest",
        "@acme/flat@2.0.0",
        "@acme/nested@1.0.0",
        "bare@latest",
        "flat@1.0.0",
        "flat@latest",
        "nested@1.0.0",
        "nested@1.2.3-beta.1",
        "nested@latest",
        "package-only@latest",
    ];
    assert_eq!(fixture.enabled(), expected);
    assert_eq!(fixture.messages(), [""; 0]);
    let found = fixture.find("nested");
    let unit = found.unit();
    assert_eq!(unit.dir, fixture.temp.path().join("apps/nested/latest"));
    assert_eq!(unit.entrypoint().unwrap(), unit.dir.join("index.ts"));
    assert_eq!(unit.source, Source::Uploaded);
}

#[test]
fn what_is_no_unit_is_passed_over() {
    let fixture = Fixture::new(|place| {
        place.write("apps/no-manifest/index.ts", "");
        place.write("apps/no-manifest/1.0.0/index.ts", "");
        place.write("apps/file.txt", "");
        for dir in [
            ".hidden",
            "node_modules/lib",
            "@acme/.git",
            "app/v1.0.0",
            "app/1.0",
            "app/src",
            "deep/er/app",
        ] {
            place.app(&format!("apps/{dir}"));
        }
    });
    assert_eq!(fixture.enabled(), [""; 0]);
    assert_eq!(fixture.messages(), [""; 0]);
}

#[test]
fn folders_that_cannot_be_units_are_warned_of() {
    let fixture = Fixture::new(|place| {
        for dir in [
            "My App",
            "api",
            "app@1.0",
            "con",
            "@Acme/app",
            "@acme/x@y@z",
            "ok",
        ] {
            place.app(&format!("apps/{dir}"));
        }
        fs::create_dir_all(place.path("elsewhere")).unwrap();
        place.app("elsewhere/app");
        symlink(place.path("elsewhere/app"), place.path("apps/linked")).unwrap();
        symlink(place.path("elsewhere"), place.path("apps/ok/1.0.0")).unwrap();
    });
    assert_eq!(fixture.enabled(), ["ok@latest"]);
    let problems = fixture.problems();
    let named: Vec<_> = problems
        .iter()
        .map(|problem| {
            problem
                .path
                .strip_prefix(fixture.temp.path())
                .unwrap()
                .to_str()
                .unwrap()
        })
        .collect();
    assert_eq!(
        named,
        [
            "apps/@Acme/app",
            "apps/@acme/x@y@z",
            "apps/My App",
            "apps/api",
            "apps/app@1.0",
            "apps/con",
            "apps/linked",
            "apps/ok/1.0.0",
        ]
    );
    assert!(
        problems
            .iter()
            .all(|problem| problem.severity == Severity::Warning)
    );
    // Each is said once.
    fixture.catalog.rescan();
    assert_eq!(fixture.messages(), [""; 0]);
}

#[test]
fn a_root_with_a_dot_is_built_in() {
    let fixture = Fixture::with_roots(&[".builtin", "apps"], |place| {
        place.app(".builtin/cp");
        place.app("apps/mine");
    });
    assert_eq!(fixture.find("cp").unit().source, Source::BuiltIn);
    assert_eq!(fixture.find("mine").unit().source, Source::Uploaded);
}

#[test]
fn the_first_root_wins_a_collision_and_a_running_one_stays() {
    let fixture = Fixture::with_roots(&["b", "a"], |place| {
        place.app("b/my-app/1.0.0");
        place.app("a/my-app/1.0.0");
        place.app("a/my-app@1.0.0");
    });
    let path = |name: &str| fixture.temp.path().join(name).display().to_string();
    let collision = |first: &str, second: &str| {
        format!(
            "Worker collision: \"my-app@1.0.0\" already registered from \"{}\", cannot register from \"{}\"",
            path(first),
            path(second)
        )
    };
    let dir = || fixture.find("my-app").unit().dir.display().to_string();
    assert_eq!(dir(), path("b/my-app/1.0.0"));
    assert_eq!(
        fixture.messages(),
        [
            collision("b/my-app/1.0.0", "a/my-app/1.0.0"),
            collision("b/my-app/1.0.0", "a/my-app@1.0.0")
        ]
    );
    // The first goes: the next in order takes its place.
    fs::remove_dir_all(path("b/my-app")).unwrap();
    fixture.catalog.rescan();
    assert_eq!(dir(), path("a/my-app/1.0.0"));
    assert_eq!(fixture.retired(), ["my-app@1.0.0"]);
    assert_eq!(
        fixture.messages(),
        [collision("a/my-app/1.0.0", "a/my-app@1.0.0")]
    );
    // It comes back: who serves now keeps serving.
    fixture.place().app("b/my-app/1.0.0");
    fixture.catalog.rescan();
    assert_eq!(dir(), path("a/my-app/1.0.0"));
    assert_eq!(fixture.retired(), [""; 0]);
    assert_eq!(
        fixture.messages(),
        [collision("a/my-app/1.0.0", "b/my-app/1.0.0")]
    );
}

#[test]
fn one_root_listed_twice_does_not_collide_with_itself() {
    let fixture = Fixture::with_roots(&["apps", "apps/../apps"], |place| place.app("apps/x"));
    assert_eq!(fixture.enabled(), ["x@latest"]);
    let messages = fixture.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("listed twice"), "{messages:?}");
}

#[test]
fn a_missing_root_is_a_problem_until_it_is_there() {
    let fixture = Fixture::with_roots(&["apps", "later"], |place| {
        place.app("apps/x");
        fs::remove_dir(place.path("later")).unwrap();
    });
    let problems = fixture.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].topic, Topic::Disk);
    fixture.place().app("later/y");
    fixture.catalog.rescan();
    assert_eq!(fixture.enabled(), ["x@latest", "y@latest"]);
    assert_eq!(fixture.messages(), [""; 0]);
}

#[test]
fn check_tells_everything_at_once() {
    let temp = TempDir::new().unwrap();
    let place = Place(temp.path().to_path_buf());
    place.app("apps/good");
    place.app("apps/twice");
    place.app("apps/twice/latest");
    place.write("apps/broken/manifest.yaml", "timeout: 5 parsecs\nttl: -1\n");
    place.write("apps/empty/manifest.yaml", "entrypoint: gone.ts\n");
    place.write("apps/installs/manifest.yaml", "autoInstall: true\n");
    place.write("apps/installs/index.ts", "");
    let package = r#"{"dependencies": {"a": "1"}}"#;
    place.write("apps/installs/package.json", package);
    place.write("apps/page/manifest.yaml", "autoInstall: true\n");
    place.write("apps/page/index.html", "");
    place.write("apps/plain/manifest.yaml", "autoInstall: true\n");
    place.write("apps/plain/index.ts", "");
    place.write("apps/stale/manifest.yaml", "autoInstall: true\n");
    place.write("apps/stale/index.ts", "");
    place.write("apps/stale/package.json", package);
    let lock = r#"{"workspaces": {"": {"dependencies": {"b": "1"}}}, "packages": {}}"#;
    place.write("apps/stale/bun.lock", lock);
    place.write("single/manifest.yaml", "entrypoint: ../x.ts\n");
    let problems = check(
        &[temp.path().join("apps"), temp.path().join("single")],
        &Arc::default(),
    )
    .problems;
    let topics: Vec<_> = problems.iter().map(|problem| problem.topic).collect();
    assert_eq!(
        topics,
        [
            Topic::Manifest,
            Topic::Entrypoint,
            Topic::Lockfile,
            Topic::Lockfile,
            Topic::Collision,
            Topic::Entrypoint,
            Topic::Lockfile,
        ],
        "{problems:#?}"
    );
    assert!(
        problems[0].message.contains("manifest.yaml:1:"),
        "{}",
        problems[0].message
    );
    assert!(
        problems[0].message.contains("manifest.yaml:2:"),
        "{}",
        problems[0].message
    );
    assert!(
        problems[5]
            .message
            .ends_with("Security: Entrypoint escapes app directory")
    );
}
