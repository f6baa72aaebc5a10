//! stdio.h: opening what ipcs(1) opens, and FIFOs.

use libc::{c_char, FILE};

use crate::arm;
use crate::call::{fifo, sysv_proc};
use crate::entry::Entry;
use crate::next::next;

next! {
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE;
    fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE;
    fn freopen(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE;
    fn freopen64(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE;
}

/// An armed process's open(2) comes by layer III; who looks at the session's objects is to be one.
fn prepare(path: *const c_char) {
    super::open::prepare(libc::AT_FDCWD, path, libc::O_RDWR);
    if !arm::is_armed() && !path.is_null() && sysv_proc::is_one(path as usize) {
        let entry = Entry::enter();
        if crate::attach::ensure_process() {
            arm::arm(&entry);
        }
        let _ = entry.leave();
    }
}

fn opened(file: *mut FILE) {
    if !file.is_null() && !arm::is_armed() {
        // SAFETY: libc has just opened it.
        fifo::opened(unsafe { libc::fileno(file) });
    }
}

redhook::hook! {
    unsafe fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE => ringer_fopen {
        prepare(path);
        // SAFETY: the program's own call.
        let file = unsafe { real::fopen(path, mode) };
        opened(file);
        file
    }
}

redhook::hook! {
    unsafe fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE => ringer_fopen64 {
        prepare(path);
        // SAFETY: the program's own call.
        let file = unsafe { real::fopen64(path, mode) };
        opened(file);
        file
    }
}

redhook::hook! {
    unsafe fn freopen(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE
        => ringer_freopen {
        prepare(path);
        // SAFETY: the program's own call.
        let file = unsafe { real::freopen(path, mode, old) };
        opened(file);
        file
    }
}

redhook::hook! {
    unsafe fn freopen64(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE
        => ringer_freopen64 {
        prepare(path);
        // SAFETY: the program's own call.
        let file = unsafe { real::freopen64(path, mode, old) };
        opened(file);
        file
    }
}
