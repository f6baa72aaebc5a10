//! sys/socket.h: sockets that have names. The kernel makes, binds and connects them; what it made of a
//! connection ringer looks at afterwards.

use libc::{c_int, sockaddr, socklen_t};

use crate::arm::unarmed;
use crate::attach::ensure_process;
use crate::call::accept as accepting;
use crate::call::connect as connecting;
use crate::call::message;
use crate::entry::{run, Verdict};
use crate::fresh;
use crate::next::next;

use super::socket::about;

next! {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int;
    fn fork() -> c_int;
}

redhook::hook! {
    unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => ringer_socket {
        // SAFETY: the program's own call.
        let fd = unarmed(|| unsafe { real::socket(domain, kind, protocol) });
        if fd >= 0 && connecting::is_candidate(domain, kind) {
            fresh::made(fd);
        }
        fd
    }
}

redhook::hook! {
    unsafe fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int => ringer_bind {
        // SAFETY: the program's own call.
        about(fd, |e| message::address(e, fd), || unsafe { real::bind(fd, address, len) })
    }
}

redhook::hook! {
    unsafe fn listen(fd: c_int, backlog: c_int) -> c_int => ringer_listen {
        // SAFETY: the program's own call.
        let ret = unarmed(|| unsafe { real::listen(fd, backlog) });
        if ret == 0 {
            connecting::listens(fd);
        }
        ret
    }
}

redhook::hook! {
    unsafe fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int
        => ringer_connect {
        let mut prepared = false;
        if fresh::is_in(fd) && ensure_process() && connecting::is_possible() {
            let _ = run(|e| {
                prepared = connecting::prepare(e, fd, address as usize, len as usize);
                Verdict::Pass
            });
        }
        // SAFETY: the program's own call.
        let ret = about(fd, |e| message::connect(e, fd), || unsafe { real::connect(fd, address, len) });
        if prepared {
            let _ = run(|e| {
                connecting::settle(e, fd, ret);
                Verdict::Pass
            });
        }
        ret
    }
}

/// A connection has been accepted: it may be one of the session's.
#[inline(always)]
fn accepted(fd: c_int) -> c_int {
    if fd >= 0 && accepting::is_awaited() && ensure_process() {
        let _ = run(|e| {
            accepting::accepted(e, fd);
            Verdict::Pass
        });
    }
    fd
}

redhook::hook! {
    unsafe fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int
        => ringer_accept {
        // SAFETY: the program's own call.
        accepted(unarmed(|| unsafe { real::accept(fd, address, len) }))
    }
}

redhook::hook! {
    unsafe fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int
        => ringer_accept4 {
        // SAFETY: the program's own call.
        accepted(unarmed(|| unsafe { real::accept4(fd, address, len, flags) }))
    }
}

redhook::hook! {
    unsafe fn fork() -> c_int => ringer_fork {
        // Whatever nobody else had the child has now, too.
        fresh::forget_all();
        // SAFETY: the program's own call.
        unsafe { real::fork() }
    }
}
