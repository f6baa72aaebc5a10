//! stdio.h: what ipcs(1) opens.

use libc::{c_char, FILE};

use crate::arm;
use crate::call::sysv_proc;
use crate::entry::Entry;
use crate::next::next;

next! {
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE;
    fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE;
}

/// An armed process's open(2) comes by layer III; who looks at the session's objects is to be one.
fn prepare(path: *const c_char) {
    if !arm::is_armed() && !path.is_null() && sysv_proc::is_one(path as usize) {
        let entry = Entry::enter();
        if crate::attach::ensure_process() {
            arm::arm(&entry);
        }
        let _ = entry.leave();
    }
}

redhook::hook! {
    unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE => ringer_fopen {
        prepare(path);
        // SAFETY: the program's own call.
        unsafe { real::fopen(path, mode) }
    }
}

redhook::hook! {
    unsafe fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE => ringer_fopen64 {
        prepare(path);
        // SAFETY: the program's own call.
        unsafe { real::fopen64(path, mode) }
    }
}
