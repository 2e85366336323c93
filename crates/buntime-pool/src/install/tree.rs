//! Trees of files that Bun has written.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, readlinkat, statat,
    symlinkat,
};

/// Deepest tree that is copied; a descriptor is open for each level.
const DEEPEST: usize = 64;
/// What an entry costs beyond its content, in bytes.
const ENTRY: u64 = 512;

/// Copies the directory `name` of `from` into `to`: directories, files and links,
/// none of which is followed.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    copy_dir(from, to, &name, 0)
}

fn copy_dir(from: &OwnedFd, to: &OwnedFd, name: &std::ffi::CStr, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!(
            "node_modules is deeper than {DEEPEST} folders"
        )));
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(from, name, flags, Mode::empty())?;
    mkdirat(to, name, Mode::RWXU)?;
    let to = openat(to, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let found = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => copy_dir(&from, &to, name, depth + 1)?,
            FileType::RegularFile => copy_file(&from, &to, name)?,
            FileType::Symlink => {
                let target = readlinkat(&from, name, Vec::new())?;
                symlinkat(target.as_c_str(), &to, name)?;
            }
            // Bun makes no others.
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let from = openat(from, name, read, Mode::empty())?;
    let to = openat(to, name, write, Mode::RUSR | Mode::WUSR)?;
    let mode = Mode::from_raw_mode(fstat(&from)?.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
    fchmod(&to, mode)?;
    io::copy(&mut File::from(from), &mut File::from(to))?;
    Ok(())
}

/// How large a tree is, in bytes, each entry counting for a little more than its
/// content. What vanishes while it is counted does not count. Stops at `most`.
pub(super) fn size(top: &Path, most: u64) -> u64 {
    let mut total: u64 = 0;
    let mut waiting: Vec<PathBuf> = vec![top.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            total = total.saturating_add(found.len()).saturating_add(ENTRY);
            if found.is_dir() {
                waiting.push(entry.path());
            }
        }
        if total > most {
            break;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_copy_has_the_same_files_modes_and_links() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("m/a/.bin")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("m/a/run.js"), "run").unwrap();
        let run = fs::Permissions::from_mode(0o755);
        fs::set_permissions(from.join("m/a/run.js"), run).unwrap();
        symlink("../run.js", from.join("m/a/.bin/run")).unwrap();
        symlink("/etc", from.join("m/out")).unwrap();
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        copy(&open(&from), &open(&to), "m").unwrap();
        assert_eq!(fs::read_to_string(to.join("m/a/.bin/run")).unwrap(), "run");
        assert_eq!(fs::read_link(to.join("m/out")).unwrap(), Path::new("/etc"));
        let mode = fs::metadata(to.join("m/a/run.js")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o755);
        // What lies outside does not count.
        let counted = size(&to.join("m"), u64::MAX);
        assert!(counted > 3 && counted < 100_000, "{counted}");
        assert!(size(&to.join("m"), 1) <= counted);
    }
}
