use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use buntime_core::access::{Namespaces, Permission, Permissions, Principal, Rights, Role};
use buntime_fs::archive::ZipPart;
use tempfile::TempDir;

use super::path::{Level, classify};
use super::*;

mod changes;

/// A grant of a key for these namespaces.
fn grant(namespaces: &[&str]) -> Grant {
    let principal = Principal {
        id: "k1".parse().unwrap(),
        name: "key".into(),
        key_prefix: "btk_abcdefgh".into(),
        role: Role::Admin,
        rights: Rights {
            permissions: Permissions::all(),
            namespaces: Namespaces::parse(namespaces.iter().copied()).unwrap(),
            expires_at: None,
        },
        created_at: SystemTime::UNIX_EPOCH,
        is_root: false,
    };
    Arc::new(principal)
        .grant(Permission::WorkersInstall)
        .unwrap()
}

fn all() -> Grant {
    grant(&["*"])
}

/// A worker root `workers` with units of all layouts, beside a canary.
fn folder() -> (TempDir, FileBrowser) {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("workers");
    for (file, content) in [
        ("@a/x/1.0.0/index.ts", "a"),
        ("@a/x/1.0.0/src/deep.ts", "deep"),
        ("@a/x/2.0.0-beta.1/index.ts", "b"),
        ("@a/flat@1.0.0/index.ts", "flat"),
        ("@b/secret/1.0.0/index.ts", "other"),
        ("echo/1.0.0/index.ts", "echo"),
        ("bare/manifest.yaml", "name: bare\n"),
        ("bare/index.ts", "bare"),
        ("shield@1.0.0/manifest.yaml", "visibility: protected\n"),
        ("hidden@1.0.0/manifest.yaml", "visibility: internal\n"),
        ("hidden@1.0.0/secret.ts", "internal"),
        ("stray.txt", "stray"),
    ] {
        write(&root, file, content);
    }
    fs::write(temp.path().join("canary"), "canary").unwrap();
    let browser = FileBrowser::new(UnitKind::Worker, [&root], &ApiPrefix::default());
    (temp, browser)
}

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn names(browser: &FileBrowser, grant: &Grant, path: &str) -> Vec<String> {
    let listing = serde_json::to_value(browser.list(grant, path).unwrap()).unwrap();
    let entries = listing["entries"].as_array().unwrap();
    let name = |entry: &serde_json::Value| entry["name"].as_str().unwrap().to_owned();
    entries.iter().map(name).collect()
}

fn entry(browser: &FileBrowser, grant: &Grant, path: &str, name: &str) -> serde_json::Value {
    let listing = serde_json::to_value(browser.list(grant, path).unwrap()).unwrap();
    let entries = listing["entries"].as_array().unwrap();
    entries
        .iter()
        .find(|entry| entry["name"] == name)
        .unwrap()
        .clone()
}

#[test]
fn roots_of_one_name_are_numbered_and_built_in_ones_hidden() {
    let temp = TempDir::new().unwrap();
    let roots = ["a/apps", "b/apps", ".core", "c/apps"].map(|root| temp.path().join(root));
    roots
        .iter()
        .for_each(|root| fs::create_dir_all(root).unwrap());
    let browser = FileBrowser::new(UnitKind::Worker, &roots, &ApiPrefix::default());
    assert_eq!(names(&browser, &all(), ""), ["apps", "apps-2", "apps-3"]);
    assert!(matches!(
        browser.list(&all(), ".core"),
        Err(FilesError::NoFolder)
    ));
}

#[test]
fn lists_name_a_unit_by_the_path_that_the_file_browser_reads() {
    let temp = TempDir::new().unwrap();
    let roots = ["one/apps", "two/apps", ".apps"].map(|root| temp.path().join(root));
    for root in &roots {
        write(root, "@a/x/1.0.0/index.ts", "a");
    }
    let browser = FileBrowser::new(UnitKind::Worker, &roots, &ApiPrefix::default());
    let path = |root: &Path| browser.path_of(root, &root.join("@a/x/1.0.0"));
    assert_eq!(path(&roots[0]), "apps/@a/x/1.0.0");
    assert_eq!(path(&roots[1]), "apps-2/@a/x/1.0.0");
    assert_eq!(path(&roots[2]), ".apps/@a/x/1.0.0");
    assert_eq!(names(&browser, &all(), &path(&roots[1])), ["index.ts"]);
}

#[test]
fn folders_are_told_by_the_layouts_of_the_catalog() {
    let worker = |path: &str| {
        let path: RelPath = path.parse().unwrap();
        classify(UnitKind::Worker, &path, |folder| {
            folder.file_name() == "bare"
        })
    };
    for (path, level, depth) in [
        ("@a", Level::Scope, None),
        ("@a/x", Level::Name, None),
        ("@a/x/1.0.0", Level::Unit, Some(3)),
        ("@a/x/latest/y", Level::Inside, Some(3)),
        ("@a/x@1.0.0", Level::Unit, Some(2)),
        ("@a/x@1.0.0/1.0.0", Level::Inside, Some(2)),
        ("x/1.0.0", Level::Unit, Some(2)),
        ("x/src", Level::Stray, None),
        ("x@nothing", Level::Stray, None),
        ("bare", Level::Unit, Some(1)),
        ("bare/src/a.ts", Level::Inside, Some(1)),
        ("bare/1.0.0", Level::Unit, Some(2)),
        ("@b/bare/src", Level::Inside, Some(2)),
        ("Upper", Level::Stray, None),
        ("api", Level::Stray, None),
        ("@/x/1.0.0", Level::Stray, None),
    ] {
        assert_eq!(worker(path), (level, depth), "{path}");
    }
    let plugin = |path: &str| {
        let path: RelPath = path.parse().unwrap();
        classify(UnitKind::Plugin, &path, |_| true)
    };
    for (path, level, depth) in [
        ("@a", Level::Scope, None),
        ("@a/x", Level::Unit, Some(2)),
        ("x", Level::Unit, Some(1)),
        ("x/1.0.0", Level::Inside, Some(1)),
        ("x@1.0.0", Level::Stray, None),
    ] {
        assert_eq!(plugin(path), (level, depth), "{path}");
    }
}

#[test]
fn n8_a_key_sees_its_own_and_no_trace_of_others() {
    let (temp, browser) = folder();
    let of_a = grant(&["@a"]);
    assert_eq!(names(&browser, &of_a, "workers"), ["@a"]);
    let before = entry(&browser, &of_a, "", "workers");
    assert_eq!(before["files"], 4);
    assert_eq!(before["size"], 10);
    // Whatever happens to others, nothing of it shows.
    write(
        &temp.path().join("workers"),
        "@b/secret/9.0.0/index.ts",
        "12345678",
    );
    write(
        &temp.path().join("workers"),
        "another/1.0.0/index.ts",
        "12345678",
    );
    assert_eq!(entry(&browser, &of_a, "", "workers"), before);
    for path in [
        "workers/@b",
        "workers/echo",
        "workers/none",
        "workers/@b/none",
    ] {
        let listed = browser.list(&of_a, path);
        assert!(matches!(listed, Err(FilesError::Denied(_))), "{path}");
        let got = browser.download(&of_a, path);
        assert!(matches!(got, Err(FilesError::Denied(_))), "{path}");
    }
}

#[test]
fn internal_units_are_not_there_and_protected_ones_say_so() {
    let (_temp, browser) = folder();
    let listed = names(&browser, &all(), "workers");
    assert_eq!(
        listed,
        ["@a", "@b", "bare", "echo", "shield@1.0.0", "stray.txt"]
    );
    for path in ["workers/hidden@1.0.0", "workers/hidden@1.0.0/secret.ts"] {
        assert!(browser.list(&all(), path).is_err(), "{path}");
        assert!(
            matches!(browser.download(&all(), path), Err(FilesError::NoFile)),
            "{path}"
        );
    }
    let shield = entry(&browser, &all(), "workers", "shield@1.0.0");
    assert_eq!(shield["visibility"], "protected");
    assert_eq!(shield["configValidation"]["valid"], true);
    let inside = serde_json::to_value(browser.list(&all(), "workers/shield@1.0.0").unwrap());
    assert_eq!(inside.unwrap()["currentVisibility"], "protected");
}

#[test]
fn a_broken_manifest_is_shown_with_its_errors() {
    let (temp, browser) = folder();
    write(
        &temp.path().join("workers"),
        "bare/manifest.yaml",
        "ttl: 5 parsecs\n",
    );
    let bare = entry(&browser, &all(), "workers", "bare");
    assert_eq!(bare["configValidation"]["valid"], false);
    let error = bare["configValidation"]["errors"][0].as_str().unwrap();
    assert!(
        error.contains("manifest.yaml:1") && error.contains("ttl"),
        "{error}"
    );
    assert!(!error.contains(temp.path().to_str().unwrap()), "{error}");
}

#[test]
fn f7_and_f9_links_are_listed_and_never_followed() {
    let (temp, browser) = folder();
    let unit = temp.path().join("workers/echo/1.0.0");
    symlink("../../../canary", unit.join("link")).unwrap();
    symlink("../..", unit.join("up")).unwrap();
    symlink("nowhere", unit.join("dangling")).unwrap();
    fs::create_dir(unit.join("node_modules")).unwrap();
    fs::create_dir(unit.join(".git")).unwrap();
    let listed = names(&browser, &all(), "workers/echo/1.0.0");
    assert_eq!(listed, ["dangling", "index.ts", "link", "up"]);
    let link = entry(&browser, &all(), "workers/echo/1.0.0", "up");
    assert_eq!(
        (&link["isLink"], &link["isDirectory"]),
        (&true.into(), &false.into())
    );
    for path in [
        "link",
        "up",
        "up/echo/1.0.0/index.ts",
        "dangling",
        ".git",
        "node_modules",
    ] {
        let path = format!("workers/echo/1.0.0/{path}");
        assert!(browser.download(&all(), &path).is_err(), "{path}");
        assert!(browser.list(&all(), &path).is_err(), "{path}");
    }
}

#[test]
fn f1_paths_that_climb_are_refused_before_anything_is_opened() {
    let (_temp, browser) = folder();
    for path in [
        "workers/@a/../../../../etc/passwd",
        "workers/@a/../@b/secret/1.0.0/index.ts",
        "..",
        "workers/./x",
        "workers//x",
        "workers/a\\..\\b",
        "workers/a\0b",
        "workers/@a/..",
    ] {
        let named = browser.name(path);
        assert!(
            matches!(named, Err(FilesError::BadPath(_))),
            "{path}: {named:?}"
        );
    }
    for top in ["", "/", "//", ".", "/."] {
        assert!(matches!(browser.name(top), Ok(Named::Top)), "{top}");
    }
    for root in [
        "workers",
        "/workers/",
        "workers//",
        "workers/.",
        "workers/./",
    ] {
        assert!(matches!(browser.name(root), Ok(Named::Root(_))), "{root}");
    }
    for hidden in [
        "workers/.git",
        "workers/x/1.0.0/node_modules/y",
        "workers/.buntime-staging",
    ] {
        assert!(
            matches!(browser.name(hidden), Err(FilesError::NoFolder)),
            "{hidden}"
        );
    }
}

/// T4: for random keys and paths, allowed is what the model allows, and whatever is
/// handed out belongs to the key.
#[test]
fn t4_random_keys_and_paths_get_what_the_model_says() {
    const PIECES: &[&str] = &[
        "@a",
        "@b",
        "@A",
        "@a.evil",
        "@",
        "x",
        "echo",
        "secret",
        "1.0.0",
        "..",
        ".",
        "",
        "index.ts",
        "%2e%2e",
        "@a/..",
        "a\\b",
        "flat@1.0.0",
        "bare",
    ];
    let (_temp, browser) = folder();
    let mut rng = fastrand::Rng::with_seed(7);
    let scopes = ["@a", "@b", "@c"];
    let mut allowed = 0;
    for round in 0..100_000 {
        let wanted: Vec<&str> = scopes.iter().copied().filter(|_| rng.bool()).collect();
        let list = if wanted.is_empty() { vec!["*"] } else { wanted };
        let pieces: Vec<&str> = (0..rng.usize(1..5))
            .map(|_| PIECES[rng.usize(..PIECES.len())])
            .collect();
        let path = format!("workers/{}", pieces.join("/"));
        let grant = grant(&list);
        let permitted = browser.permit(&grant, &path);

        let inner = path.trim_matches('/');
        let mut inner = inner.to_owned();
        while let Some(shorter) = inner.strip_suffix("/.") {
            inner = shorter.trim_end_matches('/').to_owned();
        }
        let segments: Vec<&str> = inner.split('/').collect();
        let is_bad = inner.contains('\\')
            || segments
                .iter()
                .any(|segment| matches!(*segment, "" | "." | ".."));
        let scope = segments.get(1).map(|first| first.to_ascii_lowercase());
        let reaches = |scope: &str| list.contains(&"*") || list.contains(&scope);
        let is_mine = scope.as_deref().is_some_and(|scope| match scope {
            "@a" | "@b" | "@a.evil" => reaches(scope),
            _ => reaches("*"),
        });
        let model = !is_bad && is_mine;
        assert_eq!(permitted.is_ok(), model, "{list:?} {path} {permitted:?}");
        allowed += usize::from(model);
        if round % 20 == 0
            && let Ok(listing) = browser.list(&grant, &path)
        {
            let shown = serde_json::to_value(listing).unwrap();
            let is_root = segments.len() == 1;
            assert!(model || is_root, "{list:?} {path}");
            for entry in shown["entries"].as_array().unwrap() {
                let path = entry["path"].as_str().unwrap();
                let scope = path.split('/').nth(1).unwrap();
                assert!(reaches(scope) || reaches("*"), "{list:?} {path}");
            }
        }
    }
    assert!(allowed > 10_000, "{allowed}");
}

#[test]
fn n7_what_is_packed_is_what_may_be_seen() {
    let (_temp, browser) = folder();
    let packed = |grant: &Grant, path: &str| {
        let mut found = BTreeSet::new();
        let Ok(ZipPart::Folder { folder, keep, .. }) = browser.part(grant, path) else {
            panic!("no folder");
        };
        let limits = buntime_fs::WalkLimits {
            entries: 1_000,
            depth: 20,
        };
        let mut walk = buntime_fs::Walk::begin(folder, limits).unwrap();
        while let Some(entry) = walk.next() {
            if keep(&entry) {
                found.insert(entry.path.to_string());
                walk.enter(&entry).unwrap();
            }
        }
        found
    };
    let of_a = packed(&grant(&["@a"]), "workers");
    assert!(of_a.contains("@a/x/1.0.0/src/deep.ts"));
    assert!(of_a.iter().all(|path| path.starts_with("@a")), "{of_a:?}");
    let of_all = packed(&all(), "workers");
    assert!(of_all.contains("@b/secret/1.0.0/index.ts") && of_all.contains("stray.txt"));
    assert!(
        !of_all.iter().any(|path| path.contains("hidden")),
        "{of_all:?}"
    );
}
