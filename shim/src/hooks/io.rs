//! unistd.h and sys/uio.h: reading and writing.

use libc::{c_int, c_void, iovec, off_t, size_t, ssize_t};
use ringer_kernel::log::Kind;

use crate::arm::unarmed;
use crate::call::{find, io, is_ours, kernel_wait};
use crate::dispatch::kernel_io;
use crate::entry::{once, run, Verdict};
use crate::linger;
use crate::next::{next, result};
use crate::observe::io::Moved;

next! {
    fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t;
    fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t;
    fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t;
    fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t;
    fn preadv2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t;
    fn pwritev2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t;
}

/// The real call, outside the shim, and its record if the object is known. If the descriptor was
/// closed while the call waited, it goes on with the one that was kept for it.
#[inline(always)]
fn by_kernel(
    fd: c_int,
    kind: Kind,
    at: (usize, usize),
    real: impl FnOnce(c_int) -> ssize_t,
) -> ssize_t {
    if let Some(hidden) = linger::stand_in() {
        let ret = unarmed(|| real(hidden));
        return after_lingering(ret);
    }
    let begun = kernel_wait::begin(fd, kind);
    let ret = unarmed(|| real(fd));
    let ticks = kernel_wait::end(begun);
    if crate::tls::tls().writer().is_some() {
        log(fd, kind, at, ret, ticks);
    }
    ret
}

/// The record has the kernel's convention; the program's errno stays as it is.
#[cold]
pub(super) fn log(fd: c_int, kind: Kind, at: (usize, usize), ret: ssize_t, ticks: u64) {
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    let raw = if ret < 0 { -(kept as isize) } else { ret };
    kernel_io(fd, Moved::of(kind, at, raw, ticks));
    // SAFETY: as above.
    unsafe { *errno = kept };
}

#[cold]
pub(super) fn after_lingering(ret: ssize_t) -> ssize_t {
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    linger::done_by_kernel();
    // SAFETY: as above.
    unsafe { *errno = kept };
    ret
}

redhook::hook! {
    unsafe fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t => ringer_read {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::read(fd, buf, len) };
        let Some(found) = find(fd) else { return unarmed(|| real(fd)) };
        let ended = match once(|e| io::read_from(e, &found, fd, buf as usize, len)) {
            Verdict::Done(ret) => Some(ret),
            Verdict::Pass => None,
            Verdict::Restart => run(|e| io::read(e, fd, buf as usize, len)),
        };
        match ended {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelRead, (buf as usize, len), real),
        }
    }
}

redhook::hook! {
    unsafe fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t) -> ssize_t
        => ringer_read_chk {
        if len > room {
            // SAFETY: ends the program with the message that libc has for it.
            unsafe { chk_fail::__chk_fail() };
        }
        // SAFETY: as read(2), whose contract the caller keeps.
        unsafe { ringer_read(fd, buf, len) }
    }
}

pub(super) mod chk_fail {
    extern "C" {
        pub fn __chk_fail() -> !;
    }
}

redhook::hook! {
    unsafe fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t => ringer_write {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::write(fd, buf, len) };
        let Some(found) = find(fd) else { return unarmed(|| real(fd)) };
        let ended = match once(|e| io::write_to(e, &found, fd, buf as usize, len)) {
            Verdict::Done(ret) => Some(ret),
            Verdict::Pass => None,
            Verdict::Restart => run(|e| io::write(e, fd, buf as usize, len)),
        };
        match ended {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelWrite, (buf as usize, len), real),
        }
    }
}

redhook::hook! {
    unsafe fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t => ringer_readv {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::readv(fd, iov, count) };
        if !is_ours(fd) {
            return unarmed(|| real(fd));
        }
        match run(|e| io::readv(e, fd, iov as usize, count as usize, 0)) {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelRead, (0, 1), real),
        }
    }
}

redhook::hook! {
    unsafe fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t => ringer_writev {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::writev(fd, iov, count) };
        if !is_ours(fd) {
            return unarmed(|| real(fd));
        }
        match run(|e| io::writev(e, fd, iov as usize, count as usize, 0)) {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelWrite, (0, 1), real),
        }
    }
}

redhook::hook! {
    unsafe fn preadv2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
        => ringer_preadv2 {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::preadv2(fd, iov, count, at, flags) };
        if at != -1 || !is_ours(fd) {
            return unarmed(|| real(fd));
        }
        match run(|e| io::readv(e, fd, iov as usize, count as usize, flags)) {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelRead, (0, 1), real),
        }
    }
}

redhook::hook! {
    unsafe fn pwritev2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
        => ringer_pwritev2 {
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::pwritev2(fd, iov, count, at, flags) };
        if at != -1 || !is_ours(fd) {
            return unarmed(|| real(fd));
        }
        match run(|e| io::writev(e, fd, iov as usize, count as usize, flags)) {
            Some(ret) => result(ret),
            None => by_kernel(fd, Kind::KernelWrite, (0, 1), real),
        }
    }
}

redhook::hook! {
    unsafe fn preadv64v2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
        => ringer_preadv64v2 {
        // SAFETY: the same function; off_t has 64 bits.
        unsafe { ringer_preadv2(fd, iov, count, at, flags) }
    }
}

redhook::hook! {
    unsafe fn pwritev64v2(fd: c_int, iov: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
        => ringer_pwritev64v2 {
        // SAFETY: the same function; off_t has 64 bits.
        unsafe { ringer_pwritev2(fd, iov, count, at, flags) }
    }
}
