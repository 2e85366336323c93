//! Real packages of npm, unpacked here and by GNU tar: the same trees, none refused.
//!
//! `make check-packages` runs it, with npm as the machine has it configured.

#![expect(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use buntime_fs::Tree;
use buntime_fs::archive::{ArchiveKind, ArchiveLimits, unpack};
use tempfile::TempDir;

const LIST: &str = include_str!("list.txt");
/// Packages for each run of npm.
const TOGETHER: usize = 10;

/// Contents by path, and whether somebody may run them; folders end with a slash.
type Held = BTreeMap<String, (Vec<u8>, bool)>;

#[test]
#[ignore = "fetches packages: `make check-packages`"]
fn real_packages_unpack_as_gnu_tar_unpacks_them() {
    let packages: Vec<&str> = LIST
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert!(packages.len() >= 100, "{}", packages.len());
    let temp = TempDir::new().unwrap();
    for some in packages.chunks(TOGETHER) {
        let mut npm = Command::new("npm");
        npm.args(["pack", "--silent", "--ignore-scripts"])
            .args(some)
            .current_dir(temp.path());
        let output = npm.output().unwrap();
        assert!(output.status.success(), "npm pack {some:?}: {output:?}");
    }
    let mut archives: Vec<PathBuf> = fs::read_dir(temp.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    archives.sort();
    assert_eq!(archives.len(), packages.len());

    let mut refused = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    for archive in &archives {
        match compare(archive) {
            Ok(held) => {
                files += held.len();
                bytes += held
                    .values()
                    .map(|(content, _)| content.len())
                    .sum::<usize>();
            }
            Err(error) => refused.push(format!("{}: {error}", archive.display())),
        }
    }
    assert!(refused.is_empty(), "refused: {refused:#?}");
    println!(
        "{} packages, {files} files and folders, {bytes} bytes: none refused, all as GNU tar has them",
        archives.len()
    );
}

fn compare(archive: &Path) -> Result<Held, String> {
    let ours = TempDir::new().unwrap();
    let tree = Tree::open(ours.path()).unwrap();
    let file = File::open(archive).unwrap();
    let limits = ArchiveLimits::default();
    let mut go_on = |_| ControlFlow::Continue(());
    unpack(&file, ArchiveKind::TarGz, &tree, &limits, &mut go_on)
        .map_err(|error| error.to_string())?;
    let theirs = TempDir::new().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(archive).arg("-C").arg(theirs.path());
    tar.arg("--strip-components=1");
    tar.args(["--no-same-owner", "--delay-directory-restore"]);
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", archive.display());
    let (mut held, mut expected) = (Held::new(), Held::new());
    collect(ours.path(), "", &mut held);
    collect(theirs.path(), "", &mut expected);
    if held != expected {
        let names = |held: &Held| held.keys().cloned().collect::<Vec<_>>();
        return Err(format!("{:?} but {:?}", names(&held), names(&expected)));
    }
    Ok(held)
}

fn collect(folder: &Path, below: &str, held: &mut Held) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        let info = fs::symlink_metadata(entry.path()).unwrap();
        if info.is_dir() {
            collect(&entry.path(), &format!("{name}/"), held);
            held.insert(format!("{name}/"), (Vec::new(), true));
        } else {
            assert!(info.is_file(), "{name}");
            let runs = info.permissions().mode() & 0o111 != 0;
            held.insert(name, (fs::read(entry.path()).unwrap(), runs));
        }
    }
}
