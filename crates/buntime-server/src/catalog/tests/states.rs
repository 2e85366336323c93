//! What a unit's files make of it.

use super::*;

/// One unit `app` with these files.
fn app(files: &[(&str, &str)]) -> Fixture {
    Fixture::new(|place| {
        for (name, content) in files {
            place.write(&format!("apps/app/{name}"), content);
        }
    })
}

fn entry(fixture: &Fixture) -> Entry {
    fixture.find("app").unit().ready().unwrap().entry.clone()
}

#[test]
fn entrypoints_are_found_in_order() {
    let script = |name: &str| Entry::Script(name.parse().unwrap());
    let page = |name: &str| Entry::Static(name.parse().unwrap());
    for (files, expected) in [
        (
            &["index.mjs", "index.js", "index.ts", "index.html"][..],
            page("index.html"),
        ),
        (&["index.mjs", "index.js", "index.ts"], script("index.ts")),
        (&["index.mjs", "index.js"], script("index.js")),
        (&["index.mjs"], script("index.mjs")),
    ] {
        let mut all = vec![("manifest.yaml", "")];
        all.extend(files.iter().map(|file| (*file, "")));
        assert_eq!(entry(&app(&all)), expected);
    }
    let named = app(&[
        ("manifest.yaml", "entrypoint: ./src/../src/main.ts"),
        ("src/main.ts", ""),
    ]);
    assert_eq!(entry(&named), script("src/main.ts"));
    let site = app(&[
        ("manifest.yml", "entrypoint: dist/index.HTML"),
        ("dist/index.HTML", ""),
    ]);
    assert_eq!(entry(&site), page("dist/index.HTML"));
}

#[test]
fn missing_entrypoints_are_named() {
    let none = app(&[("manifest.yaml", "")]);
    let Broken::Entrypoint(text) = none.broken("app") else {
        panic!("other state")
    };
    assert!(
        text.contains("index.html, index.ts, index.js, index.mjs"),
        "{text}"
    );
    let gone = app(&[("manifest.yaml", "entrypoint: gone.ts"), ("index.ts", "")]);
    assert_eq!(
        gone.broken("app").to_string(),
        "entrypoint \"gone.ts\" does not exist"
    );
    let folder = app(&[("manifest.yaml", "entrypoint: src"), ("src/index.ts", "")]);
    assert!(matches!(folder.broken("app"), Broken::Entrypoint(_)));
    let problems = gone.problems();
    assert_eq!((problems.len(), problems[0].topic), (1, Topic::Entrypoint));
    assert!(
        problems[0].message.contains("apps/app: entrypoint"),
        "{}",
        problems[0]
    );
}

#[test]
fn escaping_entrypoints_never_run() {
    for text in [
        "../../etc/passwd",
        "/etc/passwd",
        "../app-evil/index.ts",
        "src/../../x.ts",
    ] {
        let fixture = app(&[
            ("manifest.yaml", &format!("entrypoint: {text}")),
            ("index.ts", ""),
        ]);
        fixture.place().app("apps/app-evil");
        fixture.catalog.rescan();
        assert_eq!(fixture.broken("app"), Broken::EntrypointEscapes, "{text}");
        assert!(
            fixture
                .messages()
                .iter()
                .any(|message| message.ends_with("Security: Entrypoint escapes app directory")),
        );
    }
}

#[test]
fn links_to_entrypoints_may_stay_but_not_leave() {
    let link = |target: &str| {
        let fixture = Fixture::new(|place| {
            place.write("apps/app/manifest.yaml", "entrypoint: linked.ts");
            place.write("apps/app/src/main.ts", "");
            place.write("apps/app-evil/main.ts", "");
            symlink(target, place.path("apps/app/linked.ts")).unwrap();
        });
        fixture.state("app")
    };
    assert!(matches!(link("src/main.ts"), State::Ready(_)));
    assert_eq!(
        link("../app-evil/main.ts"),
        State::Broken(Broken::EntrypointEscapes)
    );
    assert_eq!(
        link("/etc/passwd"),
        State::Broken(Broken::EntrypointEscapes)
    );
    assert!(matches!(
        link("nowhere.ts"),
        State::Broken(Broken::Entrypoint(_))
    ));
    // Pages are served without following links at all.
    let page = Fixture::new(|place| {
        place.write("apps/app/manifest.yaml", "");
        place.write("apps/app/page.html", "");
        symlink("page.html", place.path("apps/app/index.html")).unwrap();
    });
    assert!(matches!(page.broken("app"), Broken::Entrypoint(_)));
}

#[test]
fn a_manifest_is_a_plain_small_text_file() {
    let large = format!("# {}", "x".repeat(5_000_000));
    let too_large = app(&[("manifest.yaml", &large), ("index.ts", "")]);
    assert!(matches!(too_large.broken("app"), Broken::Manifest(text) if text.contains("larger")));
    let linked = Fixture::new(|place| {
        place.app("apps/app");
        fs::remove_file(place.path("apps/app/manifest.yaml")).unwrap();
        symlink("/etc/hostname", place.path("apps/app/manifest.yaml")).unwrap();
    });
    assert!(matches!(linked.broken("app"), Broken::Manifest(text) if text.contains("link")));
    let folder = app(&[("manifest.yaml/x", ""), ("index.ts", "")]);
    assert!(matches!(folder.broken("app"), Broken::Manifest(_)));
    let binary = Fixture::new(|place| {
        place.app("apps/app");
        fs::write(place.path("apps/app/manifest.yaml"), [0xff, 0xfe]).unwrap();
    });
    assert!(matches!(binary.broken("app"), Broken::Manifest(text) if text.contains("UTF-8")));
}

#[test]
fn errors_name_file_line_and_key() {
    let fixture = app(&[
        ("manifest.yaml", "ttl: 60\ntimeout: 5 parsecs\n"),
        ("index.ts", ""),
    ]);
    let messages = fixture.messages();
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].contains("apps/app/manifest.yaml:2:"),
        "{messages:?}"
    );
    assert!(messages[0].contains("timeout"), "{messages:?}");
    let dotenv = app(&[
        ("manifest.yaml", ""),
        ("index.ts", ""),
        (".env", "A=1\nnonsense\n"),
    ]);
    assert!(matches!(dotenv.broken("app"), Broken::Manifest(text) if text.contains(".env:2:")));
    let package = app(&[("package.json", "{"), ("index.ts", "")]);
    assert!(
        matches!(package.broken("app"), Broken::Manifest(text) if text.contains("package.json"))
    );
}

#[test]
fn warnings_do_not_disable() {
    let fixture = app(&[
        (
            "manifest.yaml",
            "name: '@b/other'\nversion: 2.0.0\nentrypont: x\n",
        ),
        ("manifest.yml", "enabled: false"),
        ("package.json", "no json"),
        ("index.ts", ""),
    ]);
    assert!(matches!(fixture.state("app"), State::Ready(_)));
    let messages = fixture.messages().join("\n");
    for part in [
        "\"@b/other\"",
        "entrypont",
        "manifest.yml: is ignored",
        "package.json is no JSON",
    ] {
        assert!(messages.contains(part), "{part} in {messages}");
    }
    // The folder decides the namespace.
    assert!(
        fixture
            .catalog
            .snapshot()
            .resolve("@b/other", None)
            .is_none()
    );
}

#[test]
fn keys_that_do_nothing_yet_are_named() {
    let fixture = app(&[
        (
            "manifest.yaml",
            "permissions: {net: none}\nlimits: {memory: 64mb, instances: 2}\nvisibility: internal\npublicRoutes: [/a]\n",
        ),
        ("index.ts", ""),
    ]);
    assert!(matches!(fixture.state("app"), State::Ready(_)));
    let messages = fixture.messages().join("\n");
    for (key, named) in [
        ("publicRoutes", true),
        ("permissions.net", false),
        ("limits.memory", false),
        ("visibility", false),
        ("limits.cpu", false),
        ("cron", false),
    ] {
        let message = format!("`{key}` has no effect in this version");
        assert_eq!(messages.contains(&message), named, "{key} in {messages}");
    }
}

#[test]
fn variables_are_merged_and_filtered() {
    let fixture = app(&[
        ("manifest.yaml", "env: {A: one, B: two, DB_URL: secret}\n"),
        (".env", "B=three\nGITHUB_TOKEN=secret\n"),
        ("index.ts", ""),
    ]);
    let found = fixture.find("app");
    let ready = found.unit().ready().unwrap();
    let env: Vec<_> = ready
        .env
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(env, [("A", "one"), ("B", "three")]);
    assert_eq!(ready.blocked_env, ["DB_URL", "GITHUB_TOKEN"]);
}

#[test]
fn disabled_versions_are_listed_and_not_found() {
    let fixture = Fixture::new(|place| {
        place.app("apps/app/1.0.0");
        place.write("apps/app/2.0.0/manifest.yaml", "enabled: false");
    });
    assert_eq!(&*fixture.find("app").unit().id, "app@1.0.0");
    let snapshot = fixture.catalog.snapshot();
    assert!(snapshot.resolve("app", Some("2.0.0")).is_none());
    let versions = snapshot.versions("app").unwrap();
    assert_eq!(versions.disabled()[0].unit().version.to_string(), "2.0.0");
    assert_eq!(fixture.messages(), [""; 0]);
}

#[test]
fn a_broken_version_answers_for_itself() {
    let fixture = Fixture::new(|place| {
        place.app("apps/app/1.0.0");
        place.write("apps/app/2.0.0/manifest.yaml", "ttl: [");
        place.app("apps/neighbour");
    });
    assert_eq!(&*fixture.find("app").unit().id, "app@2.0.0");
    assert!(matches!(fixture.broken("app"), Broken::Manifest(_)));
    let snapshot = fixture.catalog.snapshot();
    let older = snapshot.resolve("app", Some("1")).unwrap();
    assert!(older.unit().ready().is_some());
    assert!(fixture.find("neighbour").unit().ready().is_some());
}

#[test]
fn a_unit_that_asks_for_more_than_it_is_granted_is_disabled_with_what_that_is() {
    let grants = "'@acme/shop':\n  permissions: {spawn: true}\n  limits: {memory: 2gb}\n";
    let fixture = Fixture::with_grants(&["apps"], Overrides::new(), grants, |place| {
        for (folder, manifest) in [
            (
                "@acme/shop",
                "permissions: {spawn: true}\nlimits: {memory: 1gb}\n",
            ),
            // What its manifest calls it does not count.
            (
                "other",
                "name: '@acme/shop'\npermissions: {spawn: true}\nlimits: {memory: 1gb}\n",
            ),
            ("off", "enabled: false\npermissions: {spawn: true}\n"),
        ] {
            place.app(&format!("apps/{folder}"));
            place.write(&format!("apps/{folder}/manifest.yaml"), manifest);
        }
    });
    let shop = fixture.find("@acme/shop");
    let granted = &shop.unit().ready().unwrap().granted;
    assert!(granted.spawn);
    assert_eq!(granted.limits.memory.to_string(), "1gb");
    let Broken::NotGranted(refused) = fixture.broken("other") else {
        panic!();
    };
    let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["permissions.spawn: true", "limits.memory: 1gb"]);
    let messages = fixture.messages();
    let told = messages
        .iter()
        .filter(|message| message.contains("is not granted"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{messages:?}");
    assert!(told[0].contains("other: disabled: it asks for what it is not granted: permissions.spawn: true, limits.memory: 1gb; grant it in RUNTIME_GRANTS"));
    // Switched off, it is nobody's concern.
    assert!(fixture.catalog.snapshot().resolve("off", None).is_none());
}
