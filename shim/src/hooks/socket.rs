//! sys/socket.h.

use libc::{
    c_int, c_uint, c_void, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec,
};
use ringer_kernel::log::Kind;

use crate::arm::unarmed;
use crate::call::{has_ours, is_ours, kernel_wait, message, rights, socket};
use crate::entry::{run, Entry, Verdict};
use crate::linger;
use crate::next::{next, result};
use crate::observe;

next! {
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int;
    fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t;
    fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, to: *const sockaddr,
        to_len: socklen_t) -> ssize_t;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fn sendmmsg(fd: c_int, list: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t;
    fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr,
        from_len: *mut socklen_t) -> ssize_t;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    fn recvmmsg(fd: c_int, list: *mut mmsghdr, count: c_uint, flags: c_int,
        timeout: *mut timespec) -> c_int;
    fn shutdown(fd: c_int, how: c_int) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t)
        -> c_int;
}

/// What the log is told of a call that the kernel served.
#[derive(Clone, Copy)]
struct Told {
    kind: Kind,
    /// What was received is there still.
    peeks: bool,
}

const SENT: Told = Told {
    kind: Kind::KernelWrite,
    peeks: false,
};

fn received(flags: c_int) -> Told {
    Told {
        kind: Kind::KernelRead,
        peeks: flags & libc::MSG_PEEK != 0,
    }
}

/// A call on something of ringer's, or else libc's function outside the shim, on the descriptor that
/// was kept for the call if its own was closed while it waited.
#[inline(always)]
fn call(
    fd: c_int,
    told: Told,
    ours: impl FnMut(&Entry) -> Verdict,
    real: impl FnOnce(c_int) -> isize,
) -> isize {
    if !is_ours(fd) {
        return unarmed(|| real(fd));
    }
    if let Some(ret) = run(ours) {
        return result(ret);
    }
    if let Some(hidden) = linger::stand_in() {
        let ret = unarmed(|| real(hidden));
        return super::io::after_lingering(ret);
    }
    let begun = kernel_wait::begin(fd, told.kind);
    let ret = unarmed(|| real(fd));
    let ticks = kernel_wait::end(begun);
    if crate::tls::tls().writer().is_some() && !told.peeks {
        super::io::log(fd, told.kind, (0, 1), ret, ticks);
    }
    ret
}

redhook::hook! {
    unsafe fn socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int
        => ringer_socketpair {
        // SAFETY: the program's own call.
        let real = || unsafe { real::socketpair(domain, kind, protocol, fds) };
        if domain != libc::AF_UNIX || !crate::attach::ensure_process() {
            return real();
        }
        match run(|e| socket::socketpair(e, domain, kind, protocol, fds as usize)) {
            Some(ret) => result(ret) as c_int,
            None => real(),
        }
    }
}

redhook::hook! {
    unsafe fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t
        => ringer_send {
        let ours = |e: &Entry| message::sendto(e, fd, (buf as usize, len), flags, (0, 0));
        // SAFETY: the program's own call.
        call(fd, SENT, ours, |fd| unsafe { real::send(fd, buf, len, flags) })
    }
}

redhook::hook! {
    unsafe fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, to: *const sockaddr,
        to_len: socklen_t) -> ssize_t => ringer_sendto {
        let address = (to as usize, to_len as i32);
        let ours = |e: &Entry| message::sendto(e, fd, (buf as usize, len), flags, address);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::sendto(fd, buf, len, flags, to, to_len) };
        call(fd, SENT, ours, real)
    }
}

redhook::hook! {
    unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t
        => ringer_sendmsg {
        let ours = |e: &Entry| message::sendmsg(e, fd, message as usize, flags);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::sendmsg(fd, message, flags) };
        crate::fresh::forget_all();
        // What is sent along may be ringer's, wherever it is sent.
        if has_ours() && !is_ours(fd) {
            let _ = run(ours);
        }
        call(fd, SENT, ours, real)
    }
}

redhook::hook! {
    unsafe fn sendmmsg(fd: c_int, list: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int
        => ringer_sendmmsg {
        let ours = |e: &Entry| message::sendmmsg(e, fd, list as usize, count as usize, flags);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::sendmmsg(fd, list, count, flags) } as isize;
        crate::fresh::forget_all();
        if has_ours() && !is_ours(fd) {
            let _ = run(ours);
        }
        call(fd, SENT, ours, real) as c_int
    }
}

redhook::hook! {
    unsafe fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t
        => ringer_recv {
        let ours = |e: &Entry| message::recvfrom(e, fd, (buf as usize, len), flags, (0, 0));
        // SAFETY: the program's own call.
        call(fd, received(flags), ours, |fd| unsafe { real::recv(fd, buf, len, flags) })
    }
}

redhook::hook! {
    unsafe fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int)
        -> ssize_t => ringer_recv_chk {
        if len > room {
            // SAFETY: ends the program with the message that libc has for it.
            unsafe { super::io::chk_fail::__chk_fail() };
        }
        // SAFETY: as recv(2), whose contract the caller keeps.
        unsafe { ringer_recv(fd, buf, len, flags) }
    }
}

redhook::hook! {
    unsafe fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr,
        from_len: *mut socklen_t) -> ssize_t => ringer_recvfrom {
        let address = (from as usize, from_len as usize);
        let ours = |e: &Entry| message::recvfrom(e, fd, (buf as usize, len), flags, address);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::recvfrom(fd, buf, len, flags, from, from_len) };
        call(fd, received(flags), ours, real)
    }
}

redhook::hook! {
    unsafe fn __recvfrom_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int,
        from: *mut sockaddr, from_len: *mut socklen_t) -> ssize_t => ringer_recvfrom_chk {
        if len > room {
            // SAFETY: ends the program with the message that libc has for it.
            unsafe { super::io::chk_fail::__chk_fail() };
        }
        // SAFETY: as recvfrom(2), whose contract the caller keeps.
        unsafe { ringer_recvfrom(fd, buf, len, flags, from, from_len) }
    }
}

redhook::hook! {
    unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t
        => ringer_recvmsg {
        let ours = |e: &Entry| message::recvmsg(e, fd, message as usize, flags);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::recvmsg(fd, message, flags) };
        let ret = call(fd, received(flags), ours, real);
        rights::received(fd, message as usize, ret, flags);
        ret
    }
}

redhook::hook! {
    unsafe fn recvmmsg(fd: c_int, list: *mut mmsghdr, count: c_uint, flags: c_int,
        timeout: *mut timespec) -> c_int => ringer_recvmmsg {
        let messages = (list as usize, count as usize);
        let ours = |e: &Entry| message::recvmmsg(e, fd, messages, flags, timeout as usize);
        // SAFETY: the program's own call.
        let real = |fd| unsafe { real::recvmmsg(fd, list, count, flags, timeout) } as isize;
        let ret = call(fd, received(flags), ours, real);
        rights::received_many(fd, list as usize, ret, flags);
        ret as c_int
    }
}

/// A call that moves nothing.
#[inline(always)]
pub(super) fn about(
    fd: c_int,
    ours: impl FnMut(&Entry) -> Verdict,
    real: impl FnOnce() -> c_int,
) -> c_int {
    if is_ours(fd) {
        if let Some(ret) = run(ours) {
            return result(ret) as c_int;
        }
    }
    unarmed(real)
}

redhook::hook! {
    unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => ringer_shutdown {
        let real = || {
            // SAFETY: the program's own call.
            let ret = unsafe { real::shutdown(fd, how) };
            if ret == 0 && is_ours(fd) {
                observe::io::shut_down(fd, how);
            }
            ret
        };
        about(fd, |e| message::shutdown(e, fd, how), real)
    }
}

redhook::hook! {
    unsafe fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t)
        -> c_int => ringer_setsockopt {
        let ours = |e: &Entry| {
            message::setsockopt(e, fd, (level, name), value as usize, len as usize)
        };
        // SAFETY: the program's own call.
        about(fd, ours, || unsafe { real::setsockopt(fd, level, name, value, len) })
    }
}

redhook::hook! {
    unsafe fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void,
        len: *mut socklen_t) -> c_int => ringer_getsockopt {
        let ours = |e: &Entry| {
            message::getsockopt(e, fd, (level, name), value as usize, len as usize)
        };
        // SAFETY: the program's own call.
        about(fd, ours, || unsafe { real::getsockopt(fd, level, name, value, len) })
    }
}
