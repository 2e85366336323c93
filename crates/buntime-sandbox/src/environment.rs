//! The server's own environment, as others may see it.

use std::ffi::CString;

/// Overwrites the value of an environment variable of this process where it stands,
/// so that `/proc/PID/environ` does not show it any more. From then on the variable is
/// empty. For secrets that were read.
///
/// `false` if it was not done: other threads run, which might be reading it.
#[expect(
    unsafe_code,
    reason = "nothing safe reaches the memory that the kernel shows"
)]
pub fn erase_variable(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    if threads() != Some(1) {
        return false;
    }
    // SAFETY: this is the only thread, so nobody changes the environment meanwhile; the
    // name ends with a NUL.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return true;
    }
    // SAFETY: `getenv` gave a text that ends with a NUL, in memory of the process that is
    // its own to write: the stack that it was started with, or what `setenv` took. Nobody
    // else holds a reference into it, as this is the only thread and `std` copies.
    unsafe {
        for at in 0..libc::strlen(value) {
            value.add(at).write_volatile(0);
        }
    }
    true
}

fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}
