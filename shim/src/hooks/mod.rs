//! Layer I: the functions of libc that programs call by name. Thin: is it about something of
//! ringer's? Then the call's own code; else libc's function.
//!
//! In an armed process libc's own system calls come back by layer III; so what has no hook here
//! is still caught.

mod connection;
mod eventfd;
mod exec;
mod fd;
mod io;
mod mlock;
mod mq;
mod named;
mod open;
mod poll;
mod process;
pub use process::{cancelling, has_threads, make_key, test_cancel};
mod action;
mod restrict;
mod sem;
pub use sem::begin as begin_semaphores;
mod signal;
mod socket;
mod stdio;
mod sysv;

use ringer_kernel::log::Kind;

/// What libc's function gave, by the kernel's convention.
fn by_convention(ret: isize) -> isize {
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let errno = unsafe { *errno };
    if ret == -1 {
        -(errno as isize)
    } else {
        ret
    }
}

/// A record with the first sixteen bytes of a name, if there is a log. errno stays as it is.
///
/// # Safety
///
/// `name` is a C string.
unsafe fn log_name(kind: Kind, ret: isize, name: *const libc::c_char) {
    if !crate::attach::has(ringer_kernel::arena::header::flag::LOG) {
        return;
    }
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let errno = unsafe { &mut *errno };
    let kept = *errno;
    // SAFETY: the caller's.
    let bytes = unsafe { crate::env::bytes_of(name.cast()) };
    let mut head = [0u8; 16];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    let words = u128::from_le_bytes(head);
    let ret = if ret == -1 {
        -i64::from(kept)
    } else {
        ret as i64
    };
    let entry = crate::entry::Entry::enter();
    entry.owner();
    crate::attach::log_event(&entry, kind, (ret, words as u64, (words >> 64) as u64));
    let _ = entry.leave();
    *errno = kept;
}
