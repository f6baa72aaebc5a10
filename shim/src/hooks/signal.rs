//! signal.h: masks. SIGSYS, SIGSEGV and SIGBUS never get into a real one, armed or not: arming may
//! come later.

use libc::{c_int, sigset_t};

use crate::call::mask;
use crate::next::result;

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
