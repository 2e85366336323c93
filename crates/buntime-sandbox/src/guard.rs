//! What keeps others out of the server's own memory.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Closes this process to others of its user: they can neither trace it nor read its
/// memory, environment and descriptors through `/proc`, and no core is ever written. Only
/// root can still do it. To be called first thing, before there are other threads.
///
/// # Errors
/// The system refused; then nothing is promised.
pub fn close_to_others() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    set_closed(true)
}

/// Whether this process is closed to others of its user.
pub(crate) fn is_closed() -> bool {
    !matches!(
        rustix::process::dumpable_behavior(),
        Ok(DumpableBehavior::Dumpable)
    )
}

/// Opens or closes this process, and whoever shares its memory. Only a system call.
pub(crate) fn set_closed(closed: bool) -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(if closed {
        DumpableBehavior::NotDumpable
    } else {
        DumpableBehavior::Dumpable
    })?)
}

/// Has children do something for which they may open this process for a moment
/// ([`UserMap::write`](crate::user_map::UserMap::write)). If they are killed meanwhile, it is
/// closed again here.
pub(crate) fn keep<T>(action: impl FnOnce() -> T) -> T {
    let was_closed = is_closed();
    let done = action();
    if was_closed {
        // The kernel refuses other values only.
        let _ = set_closed(true);
    }
    done
}
