//! Archives: whatever is in them, nothing but files and folders, and only below.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use buntime_fs::Tree;
use buntime_fs::archive::{ArchiveError, ArchiveKind, ArchiveLimits, check, unpack};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Small enough to be reached.
const LIMITS: ArchiveLimits = ArchiveLimits {
    bytes: 64 * 1024,
    files: 50,
    ratio: 200,
};

/// The bytes as they are, and as a tape archive whose headers have right checksums: else
/// no change of a header would be read.
pub(crate) fn archive_tar(data: &[u8]) {
    holds(data, ArchiveKind::TarGz);
    let mut tar = data.to_owned();
    for block in tar.chunks_exact_mut(512) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().copied().map(u32::from).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(&tar).expect("memory takes all");
    let gzip = gzip.finish().expect("memory takes all");
    holds(&gzip, ArchiveKind::TarGz);
}

pub(crate) fn archive_zip(data: &[u8]) {
    holds(data, ArchiveKind::Zip);
}

/// What passes is on disk what it was said to be; what does not pass says so in words
/// that can be shown, and leaves nothing outside.
fn holds(archive: &[u8], kind: ArchiveKind) {
    let checked = check(archive, kind, &LIMITS);
    match &checked {
        Ok(found) => {
            assert!(found.files > 0 && found.files <= LIMITS.files);
            assert!(found.folders <= LIMITS.files && found.bytes <= LIMITS.bytes);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.len() < 1000 && !text.contains(char::is_control),
                "{text:?}"
            );
            // Only these come after something was written.
            if !matches!(
                error,
                ArchiveError::UnsafeEntry { .. } | ArchiveError::DuplicateEntry { .. }
            ) {
                return;
            }
        }
    }
    let temp = tempfile::tempdir().expect("there is room");
    let inside = temp.path().join("inside");
    fs::create_dir(&inside).expect("there is room");
    let tree = Tree::open(&inside).expect("it was made just now");
    let unpacked = unpack(archive, kind, &tree, &LIMITS, &mut |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(
        unpacked.as_ref().map_err(ToString::to_string),
        checked.as_ref().map_err(ToString::to_string)
    );
    let (mut files, mut folders, mut bytes) = (0, 0, 0);
    count(&inside, &mut |info| {
        if info.is_dir() {
            folders += 1;
        } else {
            assert!(info.is_file(), "{info:?}");
            files += 1;
            bytes += info.len();
        }
    });
    if let Ok(found) = unpacked {
        assert_eq!(
            (files, folders, bytes),
            (found.files, found.folders, found.bytes)
        );
    }
    let beside = fs::read_dir(temp.path()).expect("it is there").count();
    assert_eq!(beside, 1, "something is beside the folder");
}

fn count(folder: &Path, each: &mut dyn FnMut(&fs::Metadata)) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be read").path();
        let info = fs::symlink_metadata(&path).expect("it is there");
        each(&info);
        if info.is_dir() {
            count(&path, each);
        }
    }
}
