use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

mod model;
mod races;

fn path(text: &str) -> RelPath {
    text.parse().unwrap()
}

/// A tree `inside` with traps, beside `outside` that nobody may reach through it.
fn folder() -> (TempDir, Tree) {
    let temp = TempDir::new().unwrap();
    let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir_all(outside.join("sub")).unwrap();
    for file in ["secret", "x", "sub/x"] {
        fs::write(outside.join(file), "canary").unwrap();
    }
    fs::write(inside.join("a/b/file.txt"), "content").unwrap();
    symlink("../outside", inside.join("leaving")).unwrap();
    symlink("../outside/secret", inside.join("secret")).unwrap();
    symlink("a", inside.join("within")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    let tree = Tree::open(&inside).unwrap();
    (temp, tree)
}

/// Every name below a folder with what it is: links as their target, files as
/// their content.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            found.insert(name, format!("-> {}", target.display()));
        } else if kind.is_dir() {
            let below = contents(&entry.path());
            found.extend(
                below
                    .into_iter()
                    .map(|(path, what)| (format!("{name}/{path}"), what)),
            );
            found.insert(name, "/".to_owned());
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn makes_folders_and_files() {
    let (temp, tree) = folder();
    tree.ensure_dir(&path("a/c/d")).unwrap();
    let deeper = tree.create_dir(&path("a/c/e")).unwrap();
    let mut file = deeper
        .create_file(&path("run.sh"), FileMode::Executable)
        .unwrap();
    file.write_all(b"hello").unwrap();
    let made = temp.path().join("inside/a/c/e/run.sh");
    assert_eq!(fs::read_to_string(&made).unwrap(), "hello");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&made), 0o755);
    assert_eq!(mode(made.parent().unwrap()), 0o755);
    tree.create_file(&path("plain"), FileMode::Plain).unwrap();
    assert_eq!(mode(&temp.path().join("inside/plain")), 0o644);
    tree.sync().unwrap();
    tree.sync_all().unwrap();
}

#[test]
fn writes_through_no_link() {
    let (temp, tree) = folder();
    let before = contents(temp.path());
    for way in ["leaving/new", "within/new", "dangling/new"] {
        let way = path(way);
        assert!(
            matches!(tree.create_dir(&way), Err(WriteError::Link)),
            "{way}"
        );
        assert!(
            matches!(tree.ensure_dir(&way), Err(WriteError::Link)),
            "{way}"
        );
        let made = tree.create_file(&way, FileMode::Plain);
        assert!(matches!(made, Err(WriteError::Link)), "{way}");
        let replaced = tree.replace(&path("a/b/file.txt"), &tree, &way);
        assert!(matches!(replaced, Err(WriteError::Link)), "{way}");
        assert!(
            matches!(tree.remove_tree(&way), Err(WriteError::Link)),
            "{way}"
        );
        let moved = tree.rename(&path("a"), &tree, &way);
        assert!(matches!(moved, Err(WriteError::Link)), "{way}");
    }
    for link in ["leaving", "secret", "dangling"] {
        let link = path(link);
        assert!(
            matches!(tree.create_dir(&link), Err(WriteError::Exists)),
            "{link}"
        );
        let made = tree.create_file(&link, FileMode::Plain);
        assert!(matches!(made, Err(WriteError::Exists)), "{link}");
    }
    assert!(matches!(
        tree.remove_file(&path("leaving/x")),
        Err(WriteError::Link)
    ));
    assert!(
        tree.rename(&path("leaving/x"), &tree, &path("got"))
            .is_err()
    );
    assert!(
        tree.exchange(&path("leaving/x"), &tree, &path("a"))
            .is_err()
    );
    assert_eq!(contents(temp.path()), before);
}

#[test]
fn removes_links_and_not_what_they_lead_to() {
    let (temp, tree) = folder();
    let outside = contents(&temp.path().join("outside"));
    symlink("../../../outside", temp.path().join("inside/a/b/leaving")).unwrap();
    fs::create_dir(temp.path().join("inside/a/empty")).unwrap();
    tree.remove_file(&path("secret")).unwrap();
    tree.remove_tree(&path("leaving")).unwrap();
    tree.remove_tree(&path("a")).unwrap();
    let left: Vec<_> = contents(&temp.path().join("inside")).into_keys().collect();
    assert_eq!(left, ["dangling", "within"]);
    assert_eq!(contents(&temp.path().join("outside")), outside);
    assert!(matches!(
        tree.remove_tree(&path("a")),
        Err(WriteError::NotFound)
    ));
    assert!(matches!(
        tree.remove_file(&path("a")),
        Err(WriteError::NotFound)
    ));
}

#[test]
fn errors_say_what_is_in_the_way() {
    let (_temp, tree) = folder();
    let file = path("a/b/file.txt");
    assert!(matches!(
        tree.create_dir(&path("a/b")),
        Err(WriteError::Exists)
    ));
    assert!(matches!(
        tree.create_dir(&path("none/b")),
        Err(WriteError::NotFound)
    ));
    assert!(matches!(
        tree.ensure_dir(&file),
        Err(WriteError::NotADirectory)
    ));
    assert!(matches!(
        tree.remove_file(&path("a")),
        Err(WriteError::IsADirectory)
    ));
    let moved = tree.rename(&path("a"), &tree, &path("within"));
    assert!(matches!(moved, Err(WriteError::Exists)));
    let moved = tree.rename(&path("a"), &tree, &path("a/b/c"));
    assert!(matches!(moved, Err(WriteError::IntoItself)), "{moved:?}");
    let moved = tree.rename(&path("none"), &tree, &path("other"));
    assert!(matches!(moved, Err(WriteError::NotFound)));
    let exchanged = tree.exchange(&path("a"), &tree, &path("none"));
    assert!(matches!(exchanged, Err(WriteError::NotFound)));
    for (errno, error) in [
        (Errno::NOSPC, WriteError::Full),
        (Errno::DQUOT, WriteError::Full),
        (Errno::ROFS, WriteError::ReadOnly),
        (Errno::ACCESS, WriteError::Denied),
    ] {
        let by_file: WriteError = io::Error::from(errno).into();
        assert_eq!(by_file.to_string(), error.to_string());
    }
}

#[test]
fn renames_and_exchanges_between_trees() {
    let (temp, tree) = folder();
    let other = tree.create_dir(&path("other")).unwrap();
    tree.rename(&path("a/b"), &other, &path("b")).unwrap();
    assert!(temp.path().join("inside/other/b/file.txt").exists());
    other.create_dir(&path("c")).unwrap();
    other.exchange(&path("b"), &tree, &path("other/c")).unwrap();
    assert!(temp.path().join("inside/other/c/file.txt").exists());
    tree.rename(&path("leaving"), &other, &path("link"))
        .unwrap();
    let moved = temp.path().join("inside/other/link");
    assert_eq!(fs::read_link(moved).unwrap(), Path::new("../outside"));
}

#[test]
fn a_file_replaces_files_and_links_and_no_folder() {
    let (temp, tree) = folder();
    let replace = |target: &str| {
        let mut file = tree.create_file(&path("new"), FileMode::Plain).unwrap();
        file.write_all(b"new").unwrap();
        tree.replace(&path("new"), &tree, &path(target))
    };
    replace("a/b/file.txt").unwrap();
    let on_disk = temp.path().join("inside/a/b/file.txt");
    assert_eq!(fs::read_to_string(&on_disk).unwrap(), "new");
    // A link is replaced, not written through.
    replace("secret").unwrap();
    let outside = temp.path().join("outside/secret");
    assert_eq!(fs::read_to_string(outside).unwrap(), "canary");
    let inside = temp.path().join("inside/secret");
    assert_eq!(fs::read_to_string(inside).unwrap(), "new");
    assert!(matches!(replace("leaving/x"), Err(WriteError::Link)));
    tree.remove_file(&path("new")).unwrap();
    assert!(matches!(replace("a"), Err(WriteError::IsADirectory)));
}

/// Deeper than any path can say, as an app can make it, and wider than one read.
#[test]
fn removes_trees_of_any_depth_with_few_descriptors() {
    let (temp, tree) = folder();
    let mut at = tree.create_dir(&path("deep")).unwrap();
    for level in 0..1_000 {
        at.create_file(&path("file"), FileMode::Plain).unwrap();
        if level % 100 == 0 {
            for file in 0..200 {
                at.create_file(&path(&format!("f{file}")), FileMode::Plain)
                    .unwrap();
                at.create_dir(&path(&format!("d{file}"))).unwrap();
            }
        }
        at = at.create_dir(&path("a-folder-with-a-long-name")).unwrap();
    }
    let bad_name = std::ffi::CString::new(b"no\xFFtext\\".to_vec()).unwrap();
    rustix::fs::mkdirat(&at.root.directory, bad_name, Mode::from(0o755)).unwrap();
    drop(at);
    tree.remove_tree(&path("deep")).unwrap();
    assert!(!temp.path().join("inside/deep").exists());
}

#[test]
fn staging_is_removed_and_what_a_killed_process_left_is_swept() {
    let (temp, tree) = folder();
    let all = temp.path().join("inside/.buntime-staging");
    let staging = Staging::new(&tree).unwrap();
    staging.tree().create_dir(&path("new")).unwrap();
    staging
        .tree()
        .create_file(&path("new/file"), FileMode::Plain)
        .unwrap();
    // What a process leaves that is killed has no lock.
    fs::create_dir_all(all.join(".buntime-left/behind")).unwrap();
    fs::write(all.join("file"), "").unwrap();
    assert_eq!(Staging::sweep(&tree, Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(Staging::sweep(&tree, Duration::ZERO).unwrap(), 2);
    assert_eq!(fs::read_dir(&all).unwrap().count(), 1);
    // What takes the place of something else is removed instead of it.
    staging
        .tree()
        .exchange(&path("new"), &tree, &path("a"))
        .unwrap();
    assert!(temp.path().join("inside/a/file").exists());
    drop(staging);
    assert_eq!(fs::read_dir(&all).unwrap().count(), 0);
    Staging::discard(&tree, &path("a")).unwrap();
    Staging::discard(&tree, &path("leaving")).unwrap();
    assert!(matches!(
        Staging::discard(&tree, &path("a")),
        Err(WriteError::NotFound)
    ));
    assert_eq!(fs::read_dir(&all).unwrap().count(), 0);
    assert!(temp.path().join("outside/secret").exists());
}

#[test]
fn staging_is_made_behind_no_link() {
    let (temp, tree) = folder();
    symlink("../outside", temp.path().join("inside/.buntime-staging")).unwrap();
    assert!(matches!(Staging::new(&tree), Err(WriteError::Link)));
    assert!(Staging::sweep(&tree, Duration::ZERO).is_err());
    assert!(Staging::discard(&tree, &path("a")).is_err());
    assert!(temp.path().join("inside/a/b/file.txt").exists());
}
