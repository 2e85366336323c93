use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::super::ArchiveKind;
use super::super::tests::{Held, collect, unpacked};
use super::*;
use crate::root::EntryKind;

const LIMITS: WalkLimits = WalkLimits {
    entries: 1000,
    depth: 20,
};

fn path(text: &str) -> RelPath {
    text.parse().unwrap()
}

fn all() -> Keep {
    Box::new(|_| true)
}

fn folder(name: &str, at: &Path) -> ZipPart {
    ZipPart::Folder {
        name: path(name),
        folder: Root::open(at).unwrap(),
        keep: all(),
    }
}

async fn bytes(mut stream: ZipStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        assert!(!piece.is_empty());
        assert!(piece.len() < 512 * 1024, "{}", piece.len());
        bytes.extend_from_slice(&piece);
    }
    assert!(stream.next().await.is_none());
    Ok(bytes)
}

/// Bytes that nothing packs.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// A folder with all sorts of things, and what of it goes into a zip.
fn tree() -> (TempDir, Held) {
    let temp = TempDir::new().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir_all(at("a/b/empty")).unwrap();
    fs::create_dir_all(at("node_modules/x")).unwrap();
    let noise = noise(700_000);
    fs::write(at("a/noise.png"), &noise).unwrap();
    fs::write(at("a/noise.bin"), &noise).unwrap();
    fs::write(at("a/zeros"), vec![0; 1_000_000]).unwrap();
    fs::write(at("a/b/日本.txt"), "text").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("run.sh"), "#!/bin/sh").unwrap();
    fs::set_permissions(at("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut held = Held::new();
    collect(temp.path(), "", &mut held);
    for (name, (_, mode)) in &mut held {
        *mode = match name.ends_with('/') || *mode & 0o111 != 0 {
            true => 0o755,
            false => 0o644,
        };
    }
    symlink("/etc/passwd", at("link")).unwrap();
    symlink("a", at("folder-link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    (temp, held)
}

#[tokio::test]
async fn a_folder_comes_out_of_the_zip_as_it_is_without_links() {
    let (temp, expected) = tree();
    let zip = bytes(ZipStream::new(vec![folder("x/app", temp.path())], LIMITS))
        .await
        .unwrap();
    let (held, unpacked) = unpacked(&zip, ArchiveKind::Zip).unwrap();
    assert_eq!(unpacked.top_folder.as_deref(), Some("app"));
    assert!(held == expected);
    // The noise was not packed twice, the zeros were packed.
    assert!(zip.len() < 1_420_000, "{}", zip.len());
}

#[tokio::test]
async fn other_programs_read_it() {
    let (temp, expected) = tree();
    let zip = bytes(ZipStream::new(vec![folder("app", temp.path())], LIMITS))
        .await
        .unwrap();
    let out = TempDir::new().unwrap();
    let file = out.path().join("app.zip");
    fs::write(&file, &zip).unwrap();
    let mut unzip = Command::new("unzip");
    unzip.args(["-q", "app.zip"]).current_dir(out.path());
    match unzip.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            buntime_testkit::skipped("there is no unzip here");
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            let mut held = Held::new();
            collect(&out.path().join("app"), "", &mut held);
            let contents = |held: Held| -> Vec<_> {
                held.into_iter()
                    .map(|(name, (content, _))| (name, content))
                    .collect()
            };
            assert!(contents(held) == contents(expected));
        }
    }
}

#[tokio::test]
async fn parts_get_names_of_their_own() {
    let (temp, _) = tree();
    let root = Root::open(temp.path()).unwrap();
    let file = |name: &str| ZipPart::File {
        name: path(name),
        file: root.open_file(&path("run.sh")).unwrap(),
    };
    let parts = vec![
        file("one/run.sh"),
        file("two/run.sh"),
        file("RUN.sh"),
        file(".env"),
        file(".env"),
        folder("one/a", &temp.path().join("a/b")),
        folder("two/A", &temp.path().join("a/b")),
    ];
    let zip = bytes(ZipStream::new(parts, LIMITS)).await.unwrap();
    let (held, _) = unpacked(&zip, ArchiveKind::Zip).unwrap();
    let tops: Vec<&str> = held
        .keys()
        .map(String::as_str)
        .filter(|name| name.trim_end_matches('/').find('/').is_none())
        .collect();
    assert_eq!(
        tops,
        [
            ".env", ".env-2", "A-2/", "RUN-3.sh", "a/", "run-2.sh", "run.sh"
        ]
    );
}

#[tokio::test]
async fn what_is_declined_stays_out_with_all_in_it() {
    let (temp, _) = tree();
    fs::write(temp.path().join("node_modules/x/y"), "y").unwrap();
    let keep: Keep = Box::new(|entry| {
        entry.kind != EntryKind::Directory || entry.path.file_name() != "node_modules"
    });
    let zip = bytes(ZipStream::new(
        vec![ZipPart::Folder {
            name: path("app"),
            folder: Root::open(temp.path()).unwrap(),
            keep,
        }],
        LIMITS,
    ))
    .await
    .unwrap();
    let (held, _) = unpacked(&zip, ArchiveKind::Zip).unwrap();
    assert!(held.keys().all(|name| !name.contains("node_modules")));
    assert!(held.contains_key("a/noise.bin"));
}

#[tokio::test]
async fn what_changes_meanwhile_makes_no_broken_archive() {
    let temp = TempDir::new().unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        fs::write(temp.path().join(name), noise(300_000)).unwrap();
    }
    let parts = vec![folder("app", temp.path())];
    let mut stream = ZipStream::new(parts, LIMITS);
    let root = Root::open(temp.path()).unwrap();
    let growing = ZipPart::File {
        name: path("growing"),
        file: root.open_file(&path("e")).unwrap(),
    };
    let shrinking = ZipPart::File {
        name: path("shrinking"),
        file: root.open_file(&path("d")).unwrap(),
    };
    fs::write(temp.path().join("e"), vec![b'y'; 400_000]).unwrap();
    fs::write(temp.path().join("d"), "z").unwrap();
    let zip = bytes(ZipStream::new(vec![growing, shrinking], LIMITS))
        .await
        .unwrap();
    let (held, _) = unpacked(&zip, ArchiveKind::Zip).unwrap();
    assert_eq!(held["growing"].0.len(), 300_000);
    assert_eq!(held["shrinking"].0, b"z");

    // Between the first piece and the next ones, by which all names are known.
    fs::write(temp.path().join("z"), "").unwrap();
    let mut zip = stream.next().await.unwrap().unwrap().to_vec();
    fs::remove_file(temp.path().join("z")).unwrap();
    while let Some(piece) = stream.next().await {
        zip.extend_from_slice(&piece.unwrap());
    }
    let (held, _) = unpacked(&zip, ArchiveKind::Zip).unwrap();
    assert_eq!(held.len(), 5);
}

#[tokio::test]
async fn too_many_entries_end_it_with_an_error() {
    let (temp, _) = tree();
    let limits = WalkLimits {
        entries: 5,
        ..LIMITS
    };
    let stream = ZipStream::new(vec![folder("app", temp.path())], limits);
    assert!(bytes(stream).await.is_err());
}

/// Names alone need the wide end record, and the list of them does not come in one piece.
#[tokio::test]
async fn more_than_65_535_entries_are_told_with_wide_numbers() {
    let temp = TempDir::new().unwrap();
    for name in 0..700 {
        fs::create_dir(temp.path().join(name.to_string())).unwrap();
    }
    fs::write(temp.path().join("file"), "x").unwrap();
    let parts = (0..100).map(|_| folder("app", temp.path())).collect();
    let zip = bytes(ZipStream::new(parts, LIMITS)).await.unwrap();
    let limits = super::super::ArchiveLimits {
        files: 80_000,
        ..super::super::ArchiveLimits::default()
    };
    let checked = super::super::check(&*zip, ArchiveKind::Zip, &limits).unwrap();
    assert_eq!((checked.files, checked.folders), (100, 70_100));
}

#[tokio::test]
async fn nothing_at_all_is_an_empty_archive() {
    let zip = bytes(ZipStream::new(Vec::new(), LIMITS)).await.unwrap();
    assert_eq!(zip.len(), 22);
}
