//! Archives against real folders. Rows are those of the list of bad inputs.

mod differential;
mod rows;
mod tar;
mod zip;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use buntime_testkit::archive::{Entry, Format, forge};
use tempfile::TempDir;

use super::*;

/// What a folder holds: contents and modes of files by path, and folders with a slash.
pub(super) type Held = BTreeMap<String, (Vec<u8>, u32)>;

pub(super) fn kind_of(format: Format) -> ArchiveKind {
    match format {
        Format::TarGz => ArchiveKind::TarGz,
        Format::Zip => ArchiveKind::Zip,
    }
}

/// A folder to unpack into, with a canary beside it.
pub(super) struct Place {
    temp: TempDir,
    tree: Tree,
}

impl Place {
    pub(super) fn new() -> Self {
        let temp = TempDir::new().unwrap();
        fs::create_dir(temp.path().join("in")).unwrap();
        fs::write(temp.path().join("canary"), "alive").unwrap();
        let tree = Tree::open(&temp.path().join("in")).unwrap();
        Self { temp, tree }
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.temp.path().join("in")
    }

    pub(super) fn unpack(
        &self,
        archive: &[u8],
        kind: ArchiveKind,
        limits: &ArchiveLimits,
    ) -> Result<Unpacked, ArchiveError> {
        let result = unpack(archive, kind, &self.tree, limits, &mut |_| {
            ControlFlow::Continue(())
        });
        // Nothing beside the folder, and nobody wrote to the canary.
        let mut names: Vec<_> = fs::read_dir(self.temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "in"]);
        let canary = fs::read(self.temp.path().join("canary")).unwrap();
        assert_eq!(canary, b"alive");
        result
    }

    /// As a large archive is unpacked: in one go.
    pub(super) fn fill(
        &self,
        archive: &[u8],
        kind: ArchiveKind,
        limits: &ArchiveLimits,
    ) -> Result<Unpacked, ArchiveError> {
        super::fill(archive, kind, &self.tree, limits, &mut |_| {
            ControlFlow::Continue(())
        })
    }

    pub(super) fn held(&self) -> Held {
        let mut held = Held::new();
        collect(&self.path(), "", &mut held);
        held
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.held()
            .values()
            .map(|(content, _)| content.len() as u64)
            .sum()
    }
}

pub(super) fn collect(folder: &Path, below: &str, held: &mut Held) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        let info = fs::symlink_metadata(entry.path()).unwrap();
        let mode = info.permissions().mode() & 0o7777;
        if info.is_dir() {
            collect(&entry.path(), &format!("{name}/"), held);
            held.insert(format!("{name}/"), (Vec::new(), mode));
        } else {
            assert!(info.is_file(), "{name} is no regular file");
            assert_eq!(info.nlink(), 1, "{name}");
            held.insert(name, (fs::read(entry.path()).unwrap(), mode));
        }
    }
}

/// Unpacks bytes; whatever happens, reading without writing says the same.
pub(super) fn unpacked(
    archive: &[u8],
    kind: ArchiveKind,
) -> Result<(Held, Unpacked), ArchiveError> {
    let place = Place::new();
    let limits = ArchiveLimits::default();
    let result = place.unpack(archive, kind, &limits);
    match (&result, check(archive, kind, &limits)) {
        (Ok(unpacked), Ok(checked)) => assert_eq!(*unpacked, checked),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("unpacking: {one:?}, checking: {other:?}"),
    }
    let unpacked = result?;
    let held = place.held();
    let folders = held.keys().filter(|name| name.ends_with('/')).count();
    assert_eq!(unpacked.folders, folders as u64);
    assert_eq!(unpacked.files, (held.len() - folders) as u64);
    assert_eq!(unpacked.bytes, place.bytes());
    Ok((held, unpacked))
}

/// What these entries unpack to, in both formats the same.
pub(super) fn both(entries: &[Entry]) -> Held {
    let [tar, zip] = Format::ALL.map(|format| {
        unpacked(&forge(format, entries), kind_of(format))
            .unwrap_or_else(|error| panic!("{format:?}: {error}"))
            .0
    });
    assert_eq!(tar, zip);
    tar
}

/// How these entries are refused in each format.
pub(super) fn refused(entries: &[Entry]) -> [ArchiveError; 2] {
    Format::ALL.map(
        |format| match unpacked(&forge(format, entries), kind_of(format)) {
            Err(error) => error,
            Ok((held, _)) => panic!("{format:?} passed: {held:?}"),
        },
    )
}

#[track_caller]
pub(super) fn assert_unsafe(error: &ArchiveError, expected: Unsafe) {
    match error {
        ArchiveError::UnsafeEntry { problem, .. } => assert_eq!(*problem, expected, "{error}"),
        error => panic!("expected {expected:?}: {error}"),
    }
}

#[track_caller]
pub(super) fn assert_invalid(result: Result<(Held, Unpacked), ArchiveError>, text: &str) {
    match result {
        Err(error @ (ArchiveError::Invalid { .. } | ArchiveError::InvalidEntry { .. })) => {
            assert!(error.to_string().contains(text), "{error}");
        }
        other => panic!("expected `{text}`: {other:?}"),
    }
}
