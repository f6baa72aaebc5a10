//! unistd.h, fcntl.h, sys/ioctl.h: descriptor numbers. What fails to be ours goes to libc, and is
//! caught once more by layer III in an armed process.

use libc::{c_int, c_uint, c_ulong};

use crate::call::{self, accept, descriptor, is_ours};
use crate::entry::run;
use crate::gate::sys;
use crate::next::{next, result};

next! {
    fn close(fd: c_int) -> c_int;
    fn dup(fd: c_int) -> c_int;
    fn dup2(old: c_int, new: c_int) -> c_int;
    fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, cmd: c_int, arg: c_ulong) -> c_int;
    fn fcntl64(fd: c_int, cmd: c_int, arg: c_ulong) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, arg: c_ulong) -> c_int;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
}

redhook::hook! {
    unsafe fn pipe(fds: *mut c_int) -> c_int => ringer_pipe {
        // SAFETY: pipe(fds) is pipe2(fds, 0).
        unsafe { ringer_pipe2(fds, 0) }
    }
}

redhook::hook! {
    unsafe fn pipe2(fds: *mut c_int, flags: c_int) -> c_int => ringer_pipe2 {
        // Unarmed, nothing catches a bad pointer yet: arming comes first, inside.
        if !crate::attach::ensure_process() {
            // SAFETY: the program's own call.
            return unsafe { real::pipe2(fds, flags) };
        }
        match run(|e| call::pipe::pipe2(e, fds as usize, flags)) {
            Some(ret) => result(ret) as c_int,
            // SAFETY: the program's own call.
            None => unsafe { real::pipe2(fds, flags) },
        }
    }
}

redhook::hook! {
    unsafe fn close(fd: c_int) -> c_int => ringer_close {
        if is_ours(fd) || crate::linger::any_hidden() {
            if let Some(ret) = run(|e| descriptor::close(e, fd)) {
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        let ret = crate::arm::unarmed(|| unsafe { real::close(fd) });
        accept::closed();
        ret
    }
}

redhook::hook! {
    unsafe fn dup(fd: c_int) -> c_int => ringer_dup {
        crate::fresh::forget(fd);
        if is_ours(fd) {
            if let Some(ret) = run(|e| descriptor::dup(e, fd, || sys!(libc::SYS_dup, fd))) {
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        unsafe { real::dup(fd) }
    }
}

redhook::hook! {
    unsafe fn dup2(old: c_int, new: c_int) -> c_int => ringer_dup2 {
        crate::fresh::forget(old);
        if is_ours(old) || is_ours(new) {
            let call = || sys!(libc::SYS_dup2, old, new);
            if let Some(ret) = run(|e| descriptor::dup2(e, old, new, call)) {
                accept::closed();
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        let ret = unsafe { real::dup2(old, new) };
        accept::closed();
        ret
    }
}

redhook::hook! {
    unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => ringer_dup3 {
        crate::fresh::forget(old);
        if is_ours(old) || is_ours(new) {
            let call = || sys!(libc::SYS_dup3, old, new, flags);
            if let Some(ret) = run(|e| descriptor::dup2(e, old, new, call)) {
                accept::closed();
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        let ret = unsafe { real::dup3(old, new, flags) };
        accept::closed();
        ret
    }
}

/// A second number for a socket that had one only.
#[inline(always)]
fn forget_if_dup(fd: c_int, cmd: c_int) {
    if matches!(cmd, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        crate::fresh::forget(fd);
    }
}

redhook::hook! {
    unsafe fn fcntl(fd: c_int, cmd: c_int, arg: c_ulong) -> c_int => ringer_fcntl {
        forget_if_dup(fd, cmd);
        if is_ours(fd) {
            if let Some(ret) = run(|e| descriptor::fcntl(e, fd, cmd, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call; on x86-64 the optional argument is the third register.
        crate::arm::unarmed(|| unsafe { real::fcntl(fd, cmd, arg) })
    }
}

redhook::hook! {
    unsafe fn fcntl64(fd: c_int, cmd: c_int, arg: c_ulong) -> c_int => ringer_fcntl64 {
        forget_if_dup(fd, cmd);
        if is_ours(fd) {
            if let Some(ret) = run(|e| descriptor::fcntl(e, fd, cmd, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        // SAFETY: as in `fcntl`.
        crate::arm::unarmed(|| unsafe { real::fcntl64(fd, cmd, arg) })
    }
}

redhook::hook! {
    unsafe fn ioctl(fd: c_int, request: c_ulong, arg: c_ulong) -> c_int => ringer_ioctl {
        if is_ours(fd) {
            if let Some(ret) = run(|e| descriptor::ioctl(e, fd, request, arg as usize)) {
                return result(ret) as c_int;
            }
        }
        // SAFETY: as in `fcntl`.
        crate::arm::unarmed(|| unsafe { real::ioctl(fd, request, arg) })
    }
}

redhook::hook! {
    unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int
        => ringer_close_range {
        if crate::call::has_ours() {
            let call = run(|e| descriptor::close_range(e, first, last, flags as u32));
            accept::closed();
            if let Some(ret) = call {
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        unsafe { real::close_range(first, last, flags) }
    }
}
