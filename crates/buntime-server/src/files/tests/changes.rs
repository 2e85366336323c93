//! Changing what is there.

use std::io::Write as _;

use super::*;

fn one(browser: &FileBrowser, path: &str) -> Vec<Permitted> {
    vec![browser.permit(&all(), path).unwrap()]
}

fn code<T>(result: Result<T, FilesError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let name = format!("{error:?}");
            name.split(['(', ' ']).next().unwrap().to_owned()
        }
    }
}

#[test]
fn folders_are_made_inside_units_only() {
    let (temp, browser) = folder();
    let make = |path: &str| {
        let place = browser.permit(&all(), path)?;
        browser.make_folder(&place)
    };
    for (path, expected) in [
        ("workers/@a/x/1.0.0/new/deeper", "ok"),
        ("workers/@a/x/1.0.0/new", "Exists"),
        ("workers/@a/x/1.0.0/index.ts", "Exists"),
        ("workers/@a/x/1.0.0/index.ts/below", "NoFolder"),
        ("workers/fresh/1.0.0", "ok"),
        ("workers/fresh/2.0.0/src", "ok"),
        ("workers/bare/src", "ok"),
        ("workers/fresh", "Target"),
        ("workers/@new", "Target"),
        ("workers/fresh/src", "Target"),
        ("workers/Upper/1.0.0", "Target"),
        ("workers/api/1.0.0", "Target"),
        ("workers/@a/x/1.0.0/line\nbreak", "BadName"),
        ("workers/shield@1.0.0/src", "Protected"),
        ("workers/hidden@1.0.0/src", "NoFile"),
        ("workers", "IsRoot"),
        ("", "IsRoot"),
        ("none/x", "NoFolder"),
    ] {
        assert_eq!(code(make(path)), expected, "{path}");
    }
    assert!(temp.path().join("workers/@a/x/1.0.0/new/deeper").is_dir());
}

#[test]
fn removing_takes_all_or_nothing_of_a_batch_and_no_protected_unit() {
    let (temp, browser) = folder();
    let root = temp.path().join("workers");
    write(
        &root,
        "@a/kept/1.0.0/manifest.yaml",
        "visibility: protected\n",
    );
    symlink("../../../../canary", root.join("echo/1.0.0/link")).unwrap();
    let remove = |paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let places = browser.permit_all(&all(), &paths)?;
        browser.remove(&places)
    };
    for (paths, expected) in [
        (
            &["workers/echo/1.0.0/index.ts", "workers/none"][..],
            "NoFile",
        ),
        (&["workers/echo", "workers/@a"], "Protected"),
        (&["workers/@a/kept"], "Protected"),
        (&["workers/shield@1.0.0/manifest.yaml"], "Protected"),
        (&["workers/echo", "workers/"], "IsRoot"),
        (&["workers/echo", "workers/../canary"], "BadPath"),
        (&[], "BadPath"),
    ] {
        assert_eq!(code(remove(paths)), expected, "{paths:?}");
        assert!(root.join("echo/1.0.0/index.ts").exists());
    }
    remove(&["workers/echo/1.0.0/link"]).unwrap();
    assert!(temp.path().join("canary").exists());
    remove(&[
        "workers/echo",
        "workers/echo/1.0.0",
        "workers/@a/x/1.0.0/index.ts",
    ])
    .unwrap();
    assert!(!root.join("echo").exists());
    assert_eq!(
        fs::read_dir(root.join(".buntime-staging")).unwrap().count(),
        0
    );
}

#[test]
fn renaming_keeps_what_an_entry_is() {
    let (temp, browser) = folder();
    let rename = |path: &str, name: &str| {
        let place = browser.permit(&all(), path)?;
        browser.rename(&all(), &place, name)
    };
    for name in [
        "../x",
        "a/b",
        "",
        ".",
        "..",
        "a\0b",
        &"x".repeat(300),
        "a\nb",
        ".git",
        ".buntime-x",
    ] {
        let renamed = rename("workers/@a/x/1.0.0/index.ts", name);
        assert_eq!(code(renamed), "BadName", "{name:?}");
    }
    for (path, name, expected) in [
        ("workers/@a/x/1.0.0/index.ts", "main.ts", "ok"),
        ("workers/@a/x/1.0.0/main.ts", "src", "Exists"),
        ("workers/@a/x/1.0.0", "1.0.1", "ok"),
        ("workers/@a/x/1.0.1", "2.0.0-beta.1", "Exists"),
        ("workers/@a/x/1.0.1", "draft", "Target"),
        ("workers/@a/x", "y", "ok"),
        ("workers/@a/y", "Upper", "Target"),
        ("workers/@a/y", "y@1.0.0", "Target"),
        ("workers/bare", "naked", "ok"),
        ("workers/@a", "@c", "ok"),
        ("workers/@c", "c", "Target"),
        ("workers/stray.txt", "Upper.txt", "Target"),
        ("workers/none/1.0.0", "2.0.0", "NoFile"),
        ("workers/shield@1.0.0", "shield@2.0.0", "Protected"),
        ("workers", "other", "IsRoot"),
    ] {
        assert_eq!(code(rename(path, name)), expected, "{path} {name}");
    }
    assert!(temp.path().join("workers/@c/y/1.0.1/main.ts").exists());
    // Into a namespace that the key does not reach.
    let of_c = grant(&["@c"]);
    let place = browser.permit(&of_c, "workers/@c").unwrap();
    assert_eq!(code(browser.rename(&of_c, &place, "@d")), "Denied");
}

#[test]
fn moving_is_checked_at_both_ends() {
    let (temp, browser) = folder();
    let go = |paths: &[&str], to: &str| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let places = browser.permit_all(&all(), &paths)?;
        browser.move_into(&all(), &places, to)
    };
    let unit = "workers/@a/x/1.0.0";
    let in_unit = |below: &str| format!("{unit}/{below}");
    let echo = "workers/echo/1.0.0/index.ts";
    for (paths, to, expected) in [
        (&[echo][..], in_unit("src"), "ok"),
        (&[&*in_unit("src/index.ts")], unit.to_owned(), "Exists"),
        (&[&*in_unit("src/index.ts")], in_unit("main.ts"), "ok"),
        (
            &[&*in_unit("main.ts"), &*in_unit("none")],
            in_unit("src"),
            "NoFile",
        ),
        (
            &[&*in_unit("main.ts"), &*in_unit("index.ts")],
            in_unit("new"),
            "NoFolder",
        ),
        (
            &[&*in_unit("main.ts"), &*in_unit("main.ts")],
            in_unit("src"),
            "Exists",
        ),
        (&[&*in_unit("main.ts")], "workers/@a".to_owned(), "Target"),
        (&[&*in_unit("main.ts")], "workers".to_owned(), "Target"),
        (
            &[&*in_unit("main.ts")],
            "workers/shield@1.0.0".to_owned(),
            "Protected",
        ),
        (&[&*in_unit("src")], in_unit("src"), "IntoItself"),
        (&["workers"], in_unit("src"), "IsRoot"),
        (&[unit], "workers/../x".to_owned(), "BadPath"),
        (
            &[&*in_unit("main.ts"), &*in_unit("index.ts")],
            in_unit("src"),
            "ok",
        ),
    ] {
        assert_eq!(code(go(paths, &to)), expected, "{paths:?} {to}");
    }
    let src = temp.path().join("workers/@a/x/1.0.0/src");
    let mut found: Vec<_> = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, ["deep.ts", "index.ts", "main.ts"]);
    let of_a = grant(&["@a"]);
    let places = vec![browser.permit(&of_a, &in_unit("src/main.ts")).unwrap()];
    assert_eq!(
        code(browser.move_into(&of_a, &places, "workers/@b/secret/1.0.0")),
        "Denied"
    );
}

#[test]
fn uploads_are_whole_or_not_at_all() {
    let (temp, browser) = folder();
    let send = |target: &str, files: &[(&str, &str)], paths: &[&str]| {
        let target_place = browser.permit(&all(), target)?;
        browser.check_upload(&target_place)?;
        let mut upload = browser.begin_upload(Some(target))?;
        for (name, content) in files {
            let mut file = upload.file((*name).to_owned())?;
            file.write_all(content.as_bytes()).unwrap();
        }
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        browser.finish_upload(&target_place, upload, &paths)
    };
    let root = temp.path().join("workers");
    symlink("../../../", root.join("echo/1.0.0/up")).unwrap();
    write(&root, "bare/1.0.0/manifest.yaml", "visibility: protected\n");
    let two = [("a", "1"), ("b", "2")];
    for (target, files, paths, expected) in [
        (
            "workers/@a/x/1.0.0",
            &two[..],
            &["a.txt", "../../x"][..],
            "BadPath",
        ),
        ("workers/@a/x/1.0.0", &two, &["a.txt", "/abs"], "BadPath"),
        (
            "workers/@a/x/1.0.0",
            &two,
            &["a.txt", "a\\..\\b"],
            "BadPath",
        ),
        ("workers/@a/x/1.0.0", &two, &["a.txt", ""], "BadPath"),
        ("workers/@a/x/1.0.0", &two, &["a.txt"], "BadPath"),
        ("workers/@a/x/1.0.0", &two, &["a.txt", "a.txt"], "BadPath"),
        ("workers/@a/x/1.0.0", &two, &["a.txt", "a.txt/b"], "BadPath"),
        (
            "workers/@a/x/1.0.0",
            &two,
            &["a.txt", ".buntime-x/b"],
            "BadPath",
        ),
        ("workers/@a/x/1.0.0", &two, &["a.txt", "src"], "Exists"),
        (
            "workers/@a/x/1.0.0",
            &two,
            &["a.txt", "index.ts/b"],
            "NoFolder",
        ),
        (
            "workers/echo/1.0.0",
            &two,
            &["a.txt", "up/evil"],
            "NoFolder",
        ),
        ("workers/echo/1.0.0/up", &two, &[], "NoFolder"),
        (
            "workers/bare",
            &two,
            &["a.txt", "1.0.0/index.ts"],
            "Protected",
        ),
        ("workers/shield@1.0.0", &two, &[], "Protected"),
        ("workers/@a/x", &two, &[], "Target"),
        ("workers/echo/1.0.0/index.ts", &two, &[], "NoFolder"),
    ] {
        assert_eq!(
            code(send(target, files, paths)),
            expected,
            "{target} {paths:?}"
        );
        assert!(!root.join("@a/x/1.0.0/a.txt").exists());
        assert!(!temp.path().join("evil").exists());
    }
    let sent = send("workers/@a/x/1.0.0", &two, &["index.ts", "new/folder/b.ts"]);
    assert_eq!(sent.unwrap(), 2);
    let read = |file: &str| fs::read_to_string(root.join("@a/x/1.0.0").join(file)).unwrap();
    assert_eq!((&*read("index.ts"), &*read("new/folder/b.ts")), ("1", "2"));
    assert_eq!(send("workers/fresh/1.0.0", &two, &[]).unwrap(), 2);
    assert_eq!(fs::read_to_string(root.join("fresh/1.0.0/b")).unwrap(), "2");
    assert_eq!(
        code(send("workers/fresh/1.0.0", &[("a.zip", "no zip")], &[])),
        "Archive"
    );
    assert_eq!(
        fs::read_dir(root.join(".buntime-staging")).unwrap().count(),
        0
    );
}

#[test]
fn one_place_stays_in_one_unit_of_dev() {
    let (temp, _) = folder();
    let root = CatalogRoot {
        path: temp.path().join("workers"),
        only: Some("echo/1.0.0".into()),
    };
    let browser = FileBrowser::new(UnitKind::Worker, [root], &ApiPrefix::default());
    assert_eq!(names(&browser, &all(), "workers"), ["echo"]);
    assert_eq!(names(&browser, &all(), "workers/echo/1.0.0"), ["index.ts"]);
    assert!(browser.list(&all(), "workers/@a").is_err());
    assert!(one(&browser, "workers/echo/1.0.0/index.ts").len() == 1);
}
