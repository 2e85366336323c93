//! How much of a disk a worker has filled.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;

/// What a file or folder costs at least, in bytes.
const ENTRY: u64 = 4096;
/// `st_blocks` counts in these, whatever the file system's are.
const BLOCK: u64 = 512;

/// What a folder takes up on the disk, in bytes, with all that is in it: what is
/// allocated, and for every entry at least 4 KB. No link is followed. Stops above
/// `most`. What cannot be looked into, because it is too deep or locked, counts as
/// more than that: it would be a place to hide things. `None` if this process could not
/// look, for want of descriptors say, which says nothing.
pub(super) fn size(top: &Path, most: u64) -> Option<u64> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let top = match rustix::fs::openat(CWD, top, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Some(0),
        Err(error) => return closed(error),
    };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut total: u64 = 0;
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        let entries = openat2(&top, &path, flags, Mode::empty(), inside).and_then(Dir::new);
        let entries = match entries {
            Ok(entries) => entries,
            // Its owner has changed it in this moment.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
            Err(error) => return closed(error),
        };
        match add(entries, &path, &mut waiting) {
            Ok(found) => total = total.saturating_add(found),
            Err(error) => return closed(error),
        }
        if total > most {
            break;
        }
    }
    Some(total)
}

/// What a folder counts that could not be looked into.
fn closed(error: Errno) -> Option<u64> {
    let is_ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO].contains(&error);
    (!is_ours).then_some(u64::MAX)
}

/// What the entries of one folder take up; the folders among them come to those that
/// wait.
fn add(mut entries: Dir, path: &Path, waiting: &mut Vec<PathBuf>) -> rustix::io::Result<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut total = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let found = match statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        let blocks = u64::try_from(found.st_blocks).unwrap_or(0);
        total += (blocks * BLOCK).max(ENTRY);
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            waiting.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
        }
    }
    Ok(total)
}

/// What files take up that have no name any more but are open in a process. One that was
/// in one of these folders, is mapped and is not open counts as more than anybody may have:
/// nobody but the kernel knows how large it is.
pub(super) fn nameless(pid: u32, folders: &[&Path]) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let files = open.into_iter().flatten().flatten();
    let found = files.filter_map(|file| fs::metadata(file.path()).ok());
    let nameless = found.filter(|found| found.is_file() && found.nlink() == 0);
    let (mut total, mut inodes) = (0, Vec::new());
    for file in nameless {
        total += file.blocks() * BLOCK;
        inodes.push(file.ino());
    }
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let hidden = mapped_nameless(&maps, folders).any(|inode| !inodes.contains(&inode));
    if hidden { u64::MAX } else { total }
}

/// The inodes of mapped files that were in one of these folders and have no name any more.
fn mapped_nameless<'a>(maps: &'a str, folders: &'a [&Path]) -> impl Iterator<Item = u64> + 'a {
    maps.lines().filter_map(|line| {
        let path = line.get(line.find('/')?..)?.strip_suffix(" (deleted)")?;
        let is_inside = |folder: &&Path| Path::new(path).starts_with(folder);
        let inode = || line.split_ascii_whitespace().nth(4)?.parse().ok();
        folders.iter().any(is_inside).then(inode)?
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    const MEGABYTE: usize = 1024 * 1024;

    #[test]
    fn what_is_allocated_counts_however_it_is_spread() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(size(&top, u64::MAX), Some(2 * ENTRY));
        fs::write(top.join("a/b/large"), vec![1; MEGABYTE]).unwrap();
        let one = size(&top, u64::MAX).unwrap();
        assert!((1 << 20..2 << 20).contains(&one), "{one}");
        for number in 0..100 {
            fs::write(top.join(format!("a/{number}")), "").unwrap();
        }
        assert!(size(&top, u64::MAX).unwrap() >= one + 100 * ENTRY);
        // A hole takes up nothing, and what lies elsewhere is not its own.
        File::create(top.join("hole"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        symlink("/usr", top.join("out")).unwrap();
        assert!(size(&top, u64::MAX).unwrap() < 2 << 20);
        assert_eq!(size(&top.join("missing"), u64::MAX), Some(0));
        assert_eq!(size(&top.join("a/b/large"), u64::MAX), Some(u64::MAX));
        assert!(size(&top, 1).unwrap() > 1);
    }

    #[test]
    fn a_tree_that_is_too_deep_to_look_into_counts_as_full() {
        let home = tempfile::tempdir().unwrap();
        let mut dir = File::open(home.path()).unwrap();
        let name = "x".repeat(200);
        for _ in 0..40 {
            rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
            let flags = OFlags::DIRECTORY | OFlags::RDONLY;
            dir = rustix::fs::openat(&dir, &name, flags, Mode::empty())
                .unwrap()
                .into();
        }
        assert_eq!(size(home.path(), u64::MAX), Some(u64::MAX));
        crate::leftovers::remove(home.path()).unwrap();
    }

    #[test]
    fn what_this_process_cannot_do_says_nothing_of_a_folder() {
        assert_eq!(closed(Errno::MFILE), None);
        assert_eq!(closed(Errno::ACCESS), Some(u64::MAX));
        assert_eq!(closed(Errno::NAMETOOLONG), Some(u64::MAX));
    }

    #[test]
    fn a_file_without_a_name_counts_while_it_is_open() {
        let before = nameless(std::process::id(), &[]);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 8 * MEGABYTE]).unwrap();
        file.sync_all().unwrap();
        assert!(nameless(std::process::id(), &[]) >= before + (8 << 20));
    }

    #[test]
    fn a_mapped_file_without_a_name_is_found_where_an_app_may_write() {
        let maps = "7f00-7f01 r--p 00000000 fe:01 11    /srv/app/addon.node (deleted)\n\
                    7f01-7f02 rw-s 00000000 fe:01 12    /run/slots/a/tmp/a b (deleted)\n\
                    7f02-7f03 rw-s 00000000 fe:01 13    /run/slots/a/named\n\
                    7f03-7f04 rw-s 00000000 00:01 14    /memfd:x (deleted)\n\
                    7f04-7f05 rw-p 00000000 00:00 0 \n";
        let folders = [Path::new("/run/slots/a"), Path::new("/data/shop")];
        let found: Vec<u64> = mapped_nameless(maps, &folders).collect();
        assert_eq!(found, [12]);
    }
}
