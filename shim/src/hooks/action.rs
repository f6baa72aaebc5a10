//! signal.h: signal(3) by all its names. They go straight to the kernel, so that they are only told.

use libc::{c_int, sigaction as Sigaction};

use super::signal::{for_kernel, serves};
use crate::next::next;
use crate::siglog;
use crate::tls::tls;

next! {
    fn sigaction(sig: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int;
    fn signal(sig: c_int, handler: usize) -> usize;
    fn sysv_signal(sig: c_int, handler: usize) -> usize;
}

/// libc has set an action by a call of its own, which traps in an armed process only.
fn told(sig: c_int, before: usize) -> usize {
    let tls = tls();
    if before != libc::SIG_ERR && !serves(tls) && siglog::is_on(tls) {
        let mut now = core::mem::MaybeUninit::<Sigaction>::zeroed();
        // SAFETY: asks only, with room for the answer.
        if unsafe { real::sigaction(sig, core::ptr::null(), now.as_mut_ptr()) } == 0 {
            // SAFETY: zeros at least; libc has filled it in.
            let now = for_kernel(unsafe { &*now.as_ptr() });
            siglog::action(sig as usize, now.handler, now.flags);
        }
    }
    before
}

redhook::hook! {
    unsafe fn signal(sig: c_int, handler: usize) -> usize => ringer_signal {
        // SAFETY: the program's own call.
        told(sig, unsafe { real::signal(sig, handler) })
    }
}

redhook::hook! {
    unsafe fn bsd_signal(sig: c_int, handler: usize) -> usize => ringer_signal_2 {
        // SAFETY: the same function.
        unsafe { ringer_signal(sig, handler) }
    }
}

redhook::hook! {
    unsafe fn ssignal(sig: c_int, handler: usize) -> usize => ringer_signal_3 {
        // SAFETY: the same function.
        unsafe { ringer_signal(sig, handler) }
    }
}

redhook::hook! {
    unsafe fn sysv_signal(sig: c_int, handler: usize) -> usize => ringer_sysv_signal {
        // SAFETY: the program's own call.
        told(sig, unsafe { real::sysv_signal(sig, handler) })
    }
}

redhook::hook! {
    unsafe fn __sysv_signal(sig: c_int, handler: usize) -> usize => ringer_sysv_signal_2 {
        // SAFETY: the same function.
        unsafe { ringer_sysv_signal(sig, handler) }
    }
}
