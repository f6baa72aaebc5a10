//! signal.h: masks. SIGSYS, SIGSEGV and SIGBUS never get into a real one, armed or not: arming may
//! come later. And sys/signalfd.h: whether there is a descriptor for one of these.

use libc::{c_int, sigset_t};

use crate::call::{mask, truth};
use crate::next::{next, result};

next! {
    fn signalfd(fd: c_int, set: *const sigset_t, flags: c_int) -> c_int;
}

redhook::hook! {
    unsafe fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int
        => ringer_sigprocmask {
        result(mask::sigprocmask(how, set as usize, old as usize)) as c_int
    }
}

redhook::hook! {
    unsafe fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int
        => ringer_pthread_sigmask {
        -mask::sigprocmask(how, set as usize, old as usize) as c_int
    }
}

redhook::hook! {
    unsafe fn signalfd(fd: c_int, set: *const sigset_t, flags: c_int) -> c_int
        => ringer_signalfd {
        // SAFETY: the program's own call.
        let ret = unsafe { real::signalfd(fd, set, flags) };
        truth::signalfd(set as usize, ret as isize);
        ret
    }
}
