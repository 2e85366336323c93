//! What every confined process sees of the system.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Where the system's libraries are. Each may be a link to another.
pub(crate) const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
/// Where the system's programs are. Each may be a link to another.
pub(crate) const PROGRAMS: [&str; 6] = [
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/libexec",
];
/// Files that programs look into to resolve names.
pub(crate) const COMMON_FILES: [&str; 4] = [
    "/etc/ld.so.cache",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
];
/// Devices that hold nothing.
pub(crate) const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];
/// What a process may know about the machine where it sees the host's `/proc`.
pub(crate) const MACHINE: [&str; 4] = [
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/loadavg",
];
/// What it may know about itself where nothing but Landlock guards the host's `/proc`.
/// Files, not folders: `/proc/self/net` tells of other processes' sockets.
const ITSELF: [&str; 4] = [
    "/proc/self/maps",
    "/proc/self/statm",
    "/proc/self/stat",
    "/proc/self/status",
];

pub(crate) fn library_folders() -> impl Iterator<Item = PathBuf> {
    LIBRARIES.into_iter().map(PathBuf::from)
}

pub(crate) fn own_process() -> impl Iterator<Item = PathBuf> {
    ITSELF.into_iter().chain(MACHINE).map(PathBuf::from)
}

pub(crate) fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The program that loads `program`'s libraries, if it has one (the ELF header's
/// `PT_INTERP`).
pub(crate) fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    const LONGEST: usize = 4096;
    const INTERP: u32 = 3;
    let mut file = File::open(program)?;
    let mut head = [0_u8; 64];
    if file.read_exact(&mut head).is_err() || !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let short = |at: usize| u64::from(u16::from_le_bytes(array(&head, at)));
    let (table, size, count) = (u64::from_le_bytes(array(&head, 32)), short(54), short(56));
    for number in 0..count {
        let mut entry = [0_u8; 56];
        let Some(at) = table.checked_add(size * number) else {
            break;
        };
        file.read_exact_at(&mut entry, at)?;
        if u32::from_le_bytes(array(&entry, 0)) != INTERP {
            continue;
        }
        let length = usize::try_from(u64::from_le_bytes(array(&entry, 32))).unwrap_or(usize::MAX);
        let mut name = vec![0; length.min(LONGEST)];
        file.read_exact_at(&mut name, u64::from_le_bytes(array(&entry, 8)))?;
        let name = name.strip_suffix(b"\0").unwrap_or(&name);
        return Ok(Some(PathBuf::from(OsStr::from_bytes(name))));
    }
    Ok(None)
}

/// `N` bytes from `at` on, which are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().unwrap_or([0; N])
}
