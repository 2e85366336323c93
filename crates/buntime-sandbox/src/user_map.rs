//! Who the server's user is in a user namespace.

use std::ffi::{CStr, CString};
use std::io;

use rustix::fs::{CWD, Mode, OFlags};

use crate::guard;

/// Watchers of files (inotify instances) of one worker; Bun needs one.
const WATCHERS: (&CStr, &[u8]) = (c"/proc/sys/user/max_inotify_instances", b"4");
/// Files and folders that they watch.
const WATCHED: (&CStr, &[u8]) = (c"/proc/sys/user/max_inotify_watches", b"4096");

/// Who the server's user and group are in a new user namespace, made before the child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserMap {
    users: CString,
    groups: CString,
    /// Whether the server is root.
    is_root: bool,
}

impl UserMap {
    /// The server's user and group as `inside`, or as what they are.
    pub(crate) fn of(inside: Option<u32>) -> io::Result<Self> {
        let map = |id: u32| CString::new(format!("{} {id} 1", inside.unwrap_or(id)));
        let user = rustix::process::geteuid();
        Ok(Self {
            users: map(user.as_raw())?,
            groups: map(rustix::process::getegid().as_raw())?,
            is_root: user.is_root(),
        })
    }

    /// Applies this to the user namespace that this process came up in. Only system calls.
    pub(crate) fn write(&self) -> io::Result<()> {
        // The files in `/proc` of who is closed to others belong to root, and this child
        // shares the server's memory, to which that is bound: for as long as it takes to
        // open three files it is open. Not where the server is root.
        let was_closed = !self.is_root && guard::is_closed();
        if was_closed {
            guard::set_closed(false)?;
        }
        let opened = [
            c"/proc/self/setgroups",
            c"/proc/self/uid_map",
            c"/proc/self/gid_map",
        ]
        .map(|path| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
        });
        if was_closed {
            guard::set_closed(true)?;
        }
        let [setgroups, users, groups] = opened;
        // Whoever is no administrator must give up changing groups first.
        rustix::io::write(setgroups?, b"deny")?;
        rustix::io::write(users?, self.users.to_bytes())?;
        rustix::io::write(groups?, self.groups.to_bytes())?;
        Ok(())
    }

    /// Leaves the user namespace that this process came up in few watchers of files. The
    /// system has a hundred or so for all processes of a user, the server's among them. Where
    /// `/proc/sys` is read-only, as in a container, there are as many as before. Only system
    /// calls.
    pub(crate) fn bound_watchers() {
        for (path, most) in [WATCHERS, WATCHED] {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            if let Ok(file) = rustix::fs::openat(CWD, path, flags, Mode::empty()) {
                let _ = rustix::io::write(file, most);
            }
        }
    }
}
