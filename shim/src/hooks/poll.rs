//! poll.h, sys/select.h, sys/epoll.h: what is asked about is watched; the kernel answers.

use libc::{c_int, epoll_event, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

use crate::arm::{in_gate, unarmed};
use crate::call::{has_ours, is_ours, ready};
use crate::entry::{run, Entry, Verdict};
use crate::next::{next, result};

next! {
    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    fn ppoll(fds: *mut pollfd, count: nfds_t, t: *const timespec, mask: *const sigset_t) -> c_int;
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, t: *const timespec, mask: *const sigset_t,
        room: usize) -> c_int;
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int;
    fn select(n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, t: *mut timeval) -> c_int;
    fn pselect(n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, t: *const timespec,
        mask: *const sigset_t) -> c_int;
    fn epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int;
    fn epoll_wait(epfd: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int;
}

#[inline(always)]
fn look(about: impl Fn(&Entry) -> Verdict) {
    if has_ours() {
        let _ = run(about);
    }
}

/// As [`look`]. `Some`: that was the whole call.
#[inline(always)]
fn served(about: impl Fn(&Entry) -> Verdict) -> Option<c_int> {
    if !has_ours() {
        return None;
    }
    run(about).map(|ret| result(ret) as c_int)
}

redhook::hook! {
    unsafe fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => ringer_poll {
        if let Some(n) = served(|e| ready::poll(e, fds as usize, count as usize)) {
            return n;
        }
        let args = [fds as usize, count as usize, timeout as usize, 0, 0, 0];
        if let Some(n) = in_gate(libc::SYS_poll, args) {
            return n as c_int;
        }
        // SAFETY: the program's own call.
        unarmed(|| unsafe { real::poll(fds, count, timeout) })
    }
}

redhook::hook! {
    unsafe fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int
        => ringer_poll_chk {
        if let Some(n) = served(|e| ready::poll(e, fds as usize, count as usize)) {
            return n;
        }
        // SAFETY: the program's own call.
        unarmed(|| unsafe { real::__poll_chk(fds, count, timeout, room) })
    }
}

redhook::hook! {
    unsafe fn ppoll(fds: *mut pollfd, count: nfds_t, t: *const timespec, mask: *const sigset_t)
        -> c_int => ringer_ppoll {
        if let Some(n) = served(|e| ready::poll(e, fds as usize, count as usize)) {
            return n;
        }
        // SAFETY: the program's own call.
        unsafe { real::ppoll(fds, count, t, mask) }
    }
}

redhook::hook! {
    unsafe fn select(n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set, t: *mut timeval)
        -> c_int => ringer_select {
        look(|entry| ready::select(entry, n, [r as usize, w as usize, e as usize]));
        // SAFETY: the program's own call.
        unarmed(|| unsafe { real::select(n, r, w, e, t) })
    }
}

redhook::hook! {
    unsafe fn pselect(n: c_int, r: *mut fd_set, w: *mut fd_set, e: *mut fd_set,
        t: *const timespec, mask: *const sigset_t) -> c_int => ringer_pselect {
        look(|entry| ready::select(entry, n, [r as usize, w as usize, e as usize]));
        // SAFETY: the program's own call.
        unsafe { real::pselect(n, r, w, e, t, mask) }
    }
}

redhook::hook! {
    unsafe fn epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int
        => ringer_epoll_ctl {
        crate::fresh::forget(fd);
        if is_ours(fd) {
            look(|e| ready::epoll_ctl(e, fd));
        }
        // SAFETY: the program's own call.
        unarmed(|| unsafe { real::epoll_ctl(epfd, op, fd, event) })
    }
}

redhook::hook! {
    unsafe fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, t: *const timespec,
        mask: *const sigset_t, room: usize) -> c_int => ringer_ppoll_chk {
        if let Some(n) = served(|e| ready::poll(e, fds as usize, count as usize)) {
            return n;
        }
        // SAFETY: the program's own call.
        unsafe { real::__ppoll_chk(fds, count, t, mask, room) }
    }
}

redhook::hook! {
    unsafe fn epoll_wait(epfd: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int
        => ringer_epoll_wait {
        // Nothing is to be done for it but to spare the trap.
        let args = [epfd as usize, events as usize, room as usize, timeout as usize, 0, 0];
        if let Some(n) = in_gate(libc::SYS_epoll_wait, args) {
            return n as c_int;
        }
        // SAFETY: the program's own call.
        unarmed(|| unsafe { real::epoll_wait(epfd, events, room, timeout) })
    }
}
