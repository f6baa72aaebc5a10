//! fcntl.h: opening by name. An armed process's open(2) comes by layer III; one that is about to open a
//! FIFO is to be armed.

use libc::{c_char, c_int, dev_t, mode_t};

use crate::call::fifo::{self, Path};
use crate::next::next;

next! {
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    fn __open_2(path: *const c_char, flags: c_int) -> c_int;
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn creat(path: *const c_char, mode: mode_t) -> c_int;
    fn creat64(path: *const c_char, mode: mode_t) -> c_int;
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int;
    fn mkfifoat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int;
    fn mknod(path: *const c_char, mode: mode_t, dev: dev_t) -> c_int;
    fn mknodat(dir: c_int, path: *const c_char, mode: mode_t, dev: dev_t) -> c_int;
    fn __xmknod(version: c_int, path: *const c_char, mode: mode_t, dev: *mut dev_t) -> c_int;
    fn __xmknodat(version: c_int, dir: c_int, path: *const c_char, mode: mode_t,
        dev: *mut dev_t) -> c_int;
}

#[inline(always)]
pub(super) fn prepare(dir: c_int, path: *const c_char, flags: c_int) {
    let at = path as usize;
    fifo::prepare(Path { dir, at, flags });
}

/// On x86-64 an optional argument is one register more.
macro_rules! opens {
    ($( $name:ident / $hook:ident ( $($arg:ident : $t:ty),* ) $dir:expr, $path:expr, $flags:expr; )*) => { $(
        redhook::hook! {
            unsafe fn $name($($arg: $t),*) -> c_int => $hook {
                prepare($dir, $path, $flags);
                // SAFETY: the program's own call.
                let fd = unsafe { real::$name($($arg),*) };
                fifo::opened(fd);
                fd
            }
        }
    )* };
}

opens! {
    open/ringer_open(path: *const c_char, flags: c_int, mode: mode_t) libc::AT_FDCWD, path, flags;
    open64/ringer_open64(path: *const c_char, flags: c_int, mode: mode_t) libc::AT_FDCWD, path, flags;
    openat/ringer_openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) dir, path, flags;
    openat64/ringer_openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) dir, path, flags;
    __open_2/ringer_open_2(path: *const c_char, flags: c_int) libc::AT_FDCWD, path, flags;
    __open64_2/ringer_open64_2(path: *const c_char, flags: c_int) libc::AT_FDCWD, path, flags;
    __openat_2/ringer_openat_2(dir: c_int, path: *const c_char, flags: c_int) dir, path, flags;
    __openat64_2/ringer_openat64_2(dir: c_int, path: *const c_char, flags: c_int) dir, path, flags;
    creat/ringer_creat(path: *const c_char, mode: mode_t) libc::AT_FDCWD, path, fifo::CREAT;
    creat64/ringer_creat64(path: *const c_char, mode: mode_t) libc::AT_FDCWD, path, fifo::CREAT;
}

/// What makes FIFOs, by whatever name.
macro_rules! makes {
    ($( $name:ident / $hook:ident ( $($arg:ident : $t:ty),* ) $mode:expr; )*) => { $(
        redhook::hook! {
            unsafe fn $name($($arg: $t),*) -> c_int => $hook {
                fifo::mknod($mode);
                // SAFETY: the program's own call.
                unsafe { real::$name($($arg),*) }
            }
        }
    )* };
}

makes! {
    mkfifo/ringer_mkfifo(path: *const c_char, mode: mode_t) libc::S_IFIFO;
    mkfifoat/ringer_mkfifoat(dir: c_int, path: *const c_char, mode: mode_t) libc::S_IFIFO;
    mknod/ringer_mknod(path: *const c_char, mode: mode_t, dev: dev_t) mode;
    mknodat/ringer_mknodat(dir: c_int, path: *const c_char, mode: mode_t, dev: dev_t) mode;
    __xmknod/ringer_xmknod(version: c_int, path: *const c_char, mode: mode_t, dev: *mut dev_t) mode;
    __xmknodat/ringer_xmknodat(version: c_int, dir: c_int, path: *const c_char, mode: mode_t,
        dev: *mut dev_t) mode;
}
