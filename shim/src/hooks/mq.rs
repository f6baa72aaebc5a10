//! mqueue.h.

use libc::{c_char, c_int, c_uint, mode_t, mq_attr, mqd_t, sigevent, size_t, ssize_t, timespec};

use crate::attach::ensure_process;
use crate::call::mq;
use crate::entry::{once, run, Entry, Verdict};
use crate::next::{next, result, set_errno};
use crate::observe;

use super::by_convention;
use super::fd::ringer_close;

next! {
    fn mq_open(name: *const c_char, flags: c_int, mode: mode_t, attr: *const mq_attr) -> mqd_t;
    fn __mq_open_2(name: *const c_char, flags: c_int) -> mqd_t;
    fn mq_unlink(name: *const c_char) -> c_int;
    fn mq_timedsend(q: mqd_t, p: *const c_char, n: size_t, prio: c_uint, t: *const timespec) -> c_int;
    fn mq_timedreceive(q: mqd_t, p: *mut c_char, n: size_t, prio: *mut c_uint, t: *const timespec)
        -> ssize_t;
    fn mq_setattr(q: mqd_t, new: *const mq_attr, old: *mut mq_attr) -> c_int;
    fn mq_notify(q: mqd_t, event: *const sigevent) -> c_int;
}

/// libc's own look at a name. `None`: EINVAL, which is set.
///
/// # Safety
///
/// `name` is a C string, as libc's function demands.
unsafe fn without_slash(name: *const c_char) -> Option<usize> {
    // SAFETY: the caller's.
    if unsafe { *name } as u8 != b'/' {
        set_errno(libc::EINVAL);
        return None;
    }
    Some(name as usize + 1)
}

/// The real call, and its record.
#[inline(always)]
fn told<T: Copy + Into<i64>>(nr: libc::c_long, args: [usize; 4], real: impl FnOnce() -> T) -> T {
    if !observe::tells() {
        return real();
    }
    let [a, b, c, d] = args;
    let call = observe::mq::before(nr, [a, b, c, d, 0, 0]);
    let ret = real();
    if let Some(call) = call {
        observe::mq::after(call, by_convention(ret.into() as isize));
    }
    ret
}

redhook::hook! {
    unsafe fn mq_open(name: *const c_char, flags: c_int, mode: mode_t, attr: *const mq_attr) -> mqd_t
        => ringer_mq_open {
        // SAFETY: the caller's string.
        let Some(bare) = (unsafe { without_slash(name) }) else { return -1 };
        // Without O_CREAT there are no more arguments.
        let (mode, attr) = match flags & libc::O_CREAT {
            0 => (0, core::ptr::null()),
            _ => (mode, attr),
        };
        if ensure_process() {
            if let Some(ret) = run(|e| mq::open(e, bare, flags, mode, attr as usize)) {
                return result(ret) as mqd_t;
            }
        }
        let args = [bare, flags as usize, mode as usize, attr as usize];
        // SAFETY: the program's own call.
        told(libc::SYS_mq_open, args, || unsafe { real::mq_open(name, flags, mode, attr) })
    }
}

redhook::hook! {
    unsafe fn __mq_open_2(name: *const c_char, flags: c_int) -> mqd_t => ringer_mq_open_2 {
        if flags & libc::O_CREAT != 0 {
            // SAFETY: ends the program with the message that libc has for it.
            return unsafe { real::__mq_open_2(name, flags) };
        }
        // SAFETY: the same function without its further arguments.
        unsafe { ringer_mq_open(name, flags, 0, core::ptr::null()) }
    }
}

redhook::hook! {
    unsafe fn mq_close(q: mqd_t) -> c_int => ringer_mq_close {
        // SAFETY: in libc it is close(2), too.
        unsafe { ringer_close(q) }
    }
}

redhook::hook! {
    unsafe fn mq_unlink(name: *const c_char) -> c_int => ringer_mq_unlink {
        // SAFETY: the caller's string.
        let Some(bare) = (unsafe { without_slash(name) }) else { return -1 };
        if ensure_process() {
            if let Some(ret) = run(|e| mq::unlink(e, bare)) {
                // As libc: "While unlink can return either EPERM or EACCES, mq_unlink should return
                // just EACCES."
                let ret = if ret == -(libc::EPERM as isize) { -(libc::EACCES as isize) } else { ret };
                return result(ret) as c_int;
            }
        }
        // SAFETY: the program's own call.
        told(libc::SYS_mq_unlink, [bare, 0, 0, 0], || unsafe { real::mq_unlink(name) })
    }
}

/// One attempt, and more while signals restart it. (A thread that was cancelled before such a call, which
/// does not wait, goes on in libc, too.)
#[inline(always)]
fn waiting(call: impl Fn(&Entry) -> Verdict) -> Option<isize> {
    match once(&call) {
        Verdict::Done(ret) => Some(ret),
        Verdict::Pass => None,
        Verdict::Restart => run(&call),
    }
}

redhook::hook! {
    unsafe fn mq_timedsend(q: mqd_t, p: *const c_char, n: size_t, prio: c_uint, t: *const timespec)
        -> c_int => ringer_mq_timedsend {
        let call = |e: &Entry| mq::timedsend(e, q, p as usize, n, prio as usize, t as usize);
        match waiting(call) {
            Some(ret) => result(ret) as c_int,
            None => {
                let args = [q as usize, p as usize, n, prio as usize];
                // SAFETY: the program's own call.
                let real = || crate::arm::unarmed(|| unsafe { real::mq_timedsend(q, p, n, prio, t) });
                told(libc::SYS_mq_timedsend, args, real)
            }
        }
    }
}

redhook::hook! {
    unsafe fn mq_send(q: mqd_t, p: *const c_char, n: size_t, prio: c_uint) -> c_int
        => ringer_mq_send {
        // SAFETY: the same function without a deadline.
        unsafe { ringer_mq_timedsend(q, p, n, prio, core::ptr::null()) }
    }
}

redhook::hook! {
    unsafe fn mq_timedreceive(q: mqd_t, p: *mut c_char, n: size_t, prio: *mut c_uint,
        t: *const timespec) -> ssize_t => ringer_mq_timedreceive {
        let call = |e: &Entry| mq::timedreceive(e, q, p as usize, n, prio as usize, t as usize);
        match waiting(call) {
            Some(ret) => result(ret),
            None => {
                let mut own = 0;
                let prio = if prio.is_null() { &raw mut own } else { prio };
                let args = [q as usize, p as usize, n, prio as usize];
                let receive = || {
                    // SAFETY: the program's own call, or with room for a priority.
                    unsafe { real::mq_timedreceive(q, p, n, prio, t) }
                };
                told(libc::SYS_mq_timedreceive, args, || crate::arm::unarmed(receive) as i64) as ssize_t
            }
        }
    }
}

redhook::hook! {
    unsafe fn mq_receive(q: mqd_t, p: *mut c_char, n: size_t, prio: *mut c_uint) -> ssize_t
        => ringer_mq_receive {
        // SAFETY: the same function without a deadline.
        unsafe { ringer_mq_timedreceive(q, p, n, prio, core::ptr::null()) }
    }
}

redhook::hook! {
    unsafe fn mq_setattr(q: mqd_t, new: *const mq_attr, old: *mut mq_attr) -> c_int
        => ringer_mq_setattr {
        match run(|e| mq::getsetattr(e, q, new as usize, old as usize)) {
            Some(ret) => result(ret) as c_int,
            // SAFETY: the program's own call.
            None => unsafe { real::mq_setattr(q, new, old) },
        }
    }
}

redhook::hook! {
    unsafe fn mq_getattr(q: mqd_t, attr: *mut mq_attr) -> c_int => ringer_mq_getattr {
        // SAFETY: in libc it is that, too.
        unsafe { ringer_mq_setattr(q, core::ptr::null(), attr) }
    }
}

redhook::hook! {
    unsafe fn mq_notify(q: mqd_t, event: *const sigevent) -> c_int => ringer_mq_notify {
        mq::prepare(event as usize);
        match run(|e| mq::notify(e, q, event as usize, mq::By::Libc)) {
            Some(ret) => result(ret) as c_int,
            None => {
                let args = [q as usize, event as usize, 0, 0];
                // SAFETY: the program's own call.
                told(libc::SYS_mq_notify, args, || unsafe { real::mq_notify(q, event) })
            }
        }
    }
}
