use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

fn path(text: &str) -> RelPath {
    text.parse().unwrap()
}

/// A folder `inside` with files and traps, beside a folder `inside-evil` that
/// nobody may reach through it.
fn folder() -> (TempDir, Root) {
    let temp = TempDir::new().unwrap();
    let inside = temp.path().join("inside");
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir(temp.path().join("inside-evil")).unwrap();
    fs::write(temp.path().join("inside-evil/secret"), "secret").unwrap();
    fs::write(inside.join("a/b/file.txt"), "content").unwrap();
    fs::write(inside.join("top.txt"), "top").unwrap();
    symlink("/etc/passwd", inside.join("absolute")).unwrap();
    symlink("../inside-evil/secret", inside.join("sibling")).unwrap();
    symlink("../inside-evil", inside.join("sibling-folder")).unwrap();
    symlink("a", inside.join("within")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    symlink("loop", inside.join("loop")).unwrap();
    let root = Root::open(&inside).unwrap();
    (temp, root)
}

fn fifo(directory: &Path, name: &str) {
    let directory = rustix::fs::openat(CWD, directory, OFlags::DIRECTORY, Mode::empty()).unwrap();
    rustix::fs::mknodat(&directory, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn opens_what_lies_beneath() {
    let (_temp, root) = folder();
    let (content, info) = root.read(&path("a/b/file.txt"), 100).unwrap();
    assert_eq!(content, b"content");
    assert_eq!((info.size, info.kind), (7, EntryKind::File));
    let deeper = root.open_dir(&path("a/b")).unwrap();
    assert_eq!(deeper.read(&path("file.txt"), 7).unwrap().0, b"content");
    assert!(matches!(
        deeper.read(&path("file.txt"), 6),
        Err(OpenError::TooLarge { limit: 6 })
    ));
    assert!(matches!(
        root.open_file(&path("a/none")),
        Err(OpenError::NotFound)
    ));
    assert!(matches!(
        root.open_file(&path("top.txt/x")),
        Err(OpenError::NotFound)
    ));
    assert!(matches!(
        root.open_file(&path("a")),
        Err(OpenError::WrongKind { .. })
    ));
    assert!(matches!(
        root.open_dir(&path("top.txt")),
        Err(OpenError::NotFound)
    ));
}

#[test]
fn follows_no_link() {
    let (_temp, root) = folder();
    for link in [
        "absolute",
        "sibling",
        "sibling-folder/secret",
        "within/b/file.txt",
        "loop",
    ] {
        assert!(
            matches!(root.open_file(&path(link)), Err(OpenError::Link)),
            "{link}"
        );
    }
    for link in ["within", "sibling-folder"] {
        assert!(root.open_dir(&path(link)).is_err(), "{link}");
        assert_eq!(root.metadata(&path(link)).unwrap().kind, EntryKind::Link);
    }
    assert!(root.metadata(&path("within/b")).is_err());
}

#[test]
fn the_fallback_answers_alike() {
    let (temp, root) = folder();
    fifo(&temp.path().join("inside"), "pipe");
    for name in [
        "top.txt",
        "a",
        "a/b/file.txt",
        "a/none",
        "none/none",
        "top.txt/x",
        "absolute",
        "sibling",
        "sibling-folder/secret",
        "within",
        "within/b/file.txt",
        "dangling",
        "loop",
    ] {
        for flags in [
            OFlags::RDONLY,
            OFlags::RDONLY | OFlags::DIRECTORY,
            OFlags::PATH,
        ] {
            let name = path(name);
            let kernel = root.open_beneath(&name, flags, Links::Refuse);
            let own = open_by_segment(&root.directory, &name, flags);
            match (kernel, own) {
                (Ok(kernel), Ok(own)) => {
                    let of = |fd: &OwnedFd| FileInfo::new(&rustix::fs::fstat(fd).unwrap());
                    assert_eq!(of(&kernel), of(&own), "{name}");
                }
                (Err(kernel), Err(own)) => {
                    assert_eq!(kernel.to_string(), own.to_string(), "{name}");
                }
                (kernel, own) => panic!("{name} {flags:?}: {kernel:?} but {own:?}"),
            }
        }
    }
}

#[test]
fn resolves_links_that_stay() {
    let (_temp, root) = folder();
    assert_eq!(root.resolve(&path("within/b/file.txt")).unwrap().size, 7);
    for leaving in ["absolute", "sibling", "sibling-folder/secret"] {
        assert!(
            matches!(root.resolve(&path(leaving)), Err(OpenError::Link)),
            "{leaving}"
        );
    }
    assert!(matches!(
        root.resolve(&path("dangling")),
        Err(OpenError::NotFound)
    ));
}

#[test]
fn a_fifo_neither_hangs_nor_passes() {
    let (temp, root) = folder();
    fifo(&temp.path().join("inside"), "pipe");
    assert!(matches!(
        root.open_file(&path("pipe")),
        Err(OpenError::WrongKind { .. })
    ));
    assert!(root.read(&path("pipe"), 10).is_err());
}

#[test]
fn a_renamed_folder_stays_the_same() {
    let (temp, root) = folder();
    fs::rename(temp.path().join("inside"), temp.path().join("moved")).unwrap();
    fs::create_dir(temp.path().join("inside")).unwrap();
    fs::write(temp.path().join("inside/top.txt"), "other").unwrap();
    assert_eq!(root.read(&path("top.txt"), 10).unwrap().0, b"top");
}

#[test]
fn lists_with_a_limit() {
    let (temp, root) = folder();
    fs::write(temp.path().join("inside/back\\slash"), "").unwrap();
    let mut entries = root.read_dir(100).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.kind))
        .collect();
    assert_eq!(
        names,
        [
            ("a", EntryKind::Directory),
            ("absolute", EntryKind::Link),
            ("dangling", EntryKind::Link),
            ("loop", EntryKind::Link),
            ("sibling", EntryKind::Link),
            ("sibling-folder", EntryKind::Link),
            ("top.txt", EntryKind::File),
            ("within", EntryKind::Link),
        ]
    );
    assert!(matches!(
        root.read_dir(7),
        Err(OpenError::TooManyEntries { limit: 7 })
    ));
}

#[test]
fn foreign_hard_links_are_told_by_owner() {
    let (temp, root) = folder();
    let inside = temp.path().join("inside");
    fs::hard_link(inside.join("top.txt"), inside.join("second")).unwrap();
    let mut info = root.metadata(&path("second")).unwrap();
    assert_eq!(info.links, 2);
    assert!(!info.is_foreign_link(root.info()));
    info.owner = root.info().owner + 1;
    assert!(info.is_foreign_link(root.info()));
    info.links = 1;
    assert!(!info.is_foreign_link(root.info()));
}

#[test]
fn an_unreadable_file_is_an_io_error() {
    let (temp, root) = folder();
    let file = temp.path().join("inside/top.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads it all the same.
    if fs::read(&file).is_err() {
        assert!(matches!(
            root.open_file(&path("top.txt")),
            Err(OpenError::Io(_))
        ));
    }
}

/// A directory is swapped for a link again and again while files are opened
/// through it: no open ever reaches the other side.
#[test]
fn a_race_of_swaps_never_escapes() {
    let (temp, root) = folder();
    let inside = temp.path().join("inside");
    fs::create_dir(inside.join("real")).unwrap();
    fs::write(inside.join("real/secret"), "harmless").unwrap();
    symlink("../inside-evil", inside.join("trap")).unwrap();
    let directory = rustix::fs::openat(CWD, &inside, OFlags::DIRECTORY, Mode::empty()).unwrap();
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            for _ in 0..4_000 {
                rustix::fs::renameat_with(
                    &directory,
                    "real",
                    &directory,
                    "trap",
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        while !swapping.is_finished() {
            for name in ["real/secret", "trap/secret"] {
                let name = path(name);
                if let Ok((content, _)) = root.read(&name, 100) {
                    assert_eq!(content, b"harmless");
                }
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                if let Ok(handle) = open_by_segment(&root.directory, &name, flags) {
                    assert_eq!(FileInfo::new(&rustix::fs::fstat(&handle).unwrap()).size, 8);
                }
            }
        }
    });
}
