//! signal.h: actions, masks, sending and waiting. And sys/signalfd.h: whether there is a descriptor
//! for a signal that is kept here.
//!
//! SIGSYS, SIGSEGV and SIGBUS never get into a real mask, armed or not: arming may come later. What
//! has no hook here comes by layer III in an armed process, and is the kernel's in another.

use libc::{c_int, c_void, pthread_t, sigaction as Sigaction, siginfo_t, sigset_t, timespec};

use crate::call::kill::{self as send, For};
use crate::call::{mask, sigwait as wait, stop, truth};
use crate::next::{next, result};
use crate::signal::{self, KSigaction, SA_RESTORER};
use crate::tls::{tls, Tls};
use crate::{arm, gate, inbox, siglog, user};

next! {
    fn signalfd(fd: c_int, set: *const sigset_t, flags: c_int) -> c_int;
    fn sigaction(sig: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int;
    fn killpg(group: c_int, sig: c_int) -> c_int;
    fn pthread_kill(thread: pthread_t, sig: c_int) -> c_int;
    fn pthread_sigqueue(thread: pthread_t, sig: c_int, value: *mut c_void) -> c_int;
    fn sigsuspend(mask: *const sigset_t) -> c_int;
    fn sigtimedwait(set: *const sigset_t, info: *mut siginfo_t, timeout: *const timespec) -> c_int;
    fn sigwait(set: *const sigset_t, sig: *mut c_int) -> c_int;
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

/// What libc makes of the program's action for the kernel.
pub fn for_kernel(a: &Sigaction) -> KSigaction {
    KSigaction {
        handler: a.sa_sigaction,
        flags: a.sa_flags as u32 as u64 | SA_RESTORER,
        restorer: gate::ringer_restore_rt as *const () as usize,
        // SAFETY: a sigset_t has 128 bytes; the kernel's are the first 8.
        mask: unsafe { (&raw const a.sa_mask).cast::<u64>().read() },
    }
}

pub fn serves(tls: &Tls) -> bool {
    tls.is_armed() && tls.in_vfork.get() == 0
}

redhook::hook! {
    unsafe fn sigaction(sig: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int
        => ringer_sigaction {
        let tls = tls();
        // libc refuses its own two, and the kernel SIGKILL and SIGSTOP.
        let refused = matches!(sig, 32 | 33 | libc::SIGKILL | libc::SIGSTOP) || !(1..=64).contains(&sig);
        let readable = new.is_null() || user::readable::<Sigaction>(new as usize);
        if !serves(tls) || refused || !readable {
            // SAFETY: the program's own call.
            let ret = unsafe { real::sigaction(sig, new, old) };
            if ret == 0 && !new.is_null() && !serves(tls) {
                // SAFETY: libc has read it.
                let given = for_kernel(unsafe { &*new });
                siglog::action(sig as usize, given.handler, given.flags);
            }
            return ret;
        }
        let mut before = KSigaction::default();
        // SAFETY: just found to be readable; a copy, as the kernel takes it.
        let given = (!new.is_null()).then(|| for_kernel(unsafe { &*new }));
        let ret = signal::rt_sigaction(sig as usize, given.as_ref(), &mut before);
        if ret == 0 && !old.is_null() {
            // SAFETY: the program's own buffer, written as libc writes it.
            let old = unsafe { &mut *old };
            old.sa_sigaction = before.handler;
            old.sa_flags = before.flags as c_int;
            // SAFETY: as in `for_kernel`.
            unsafe { (&raw mut old.sa_mask).cast::<u64>().write(before.mask) };
        }
        result(ret) as c_int
    }
}

redhook::hook! {
    unsafe fn __sigaction(sig: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int
        => ringer_sigaction_2 {
        // SAFETY: the same function.
        unsafe { ringer_sigaction(sig, new, old) }
    }
}

redhook::hook! {
    unsafe fn kill(pid: c_int, sig: c_int) -> c_int => ringer_kill {
        let ret = send::kill(pid, sig).unwrap_or_else(|| send::real_kill(pid, sig));
        result(ret) as c_int
    }
}

redhook::hook! {
    unsafe fn raise(sig: c_int) -> c_int => ringer_raise {
        let ret = send::to_self(tls(), sig, For::Thread, libc::SI_TKILL, 0)
            .unwrap_or_else(|| send::real_raise(sig));
        result(ret) as c_int
    }
}

redhook::hook! {
    unsafe fn gsignal(sig: c_int) -> c_int => ringer_gsignal {
        // SAFETY: the same function by its old name.
        unsafe { ringer_raise(sig) }
    }
}

redhook::hook! {
    unsafe fn sigqueue(pid: c_int, sig: c_int, value: *mut c_void) -> c_int => ringer_sigqueue {
        let value = value as u64;
        let ret = send::sigqueue(pid, sig, value)
            .unwrap_or_else(|| send::real_sigqueue(pid, sig, value));
        result(ret) as c_int
    }
}

/// Whether this is the calling thread.
fn is_self(thread: pthread_t) -> bool {
    // SAFETY: always succeeds. [pthread_self(3)]
    let me = unsafe { libc::pthread_self() };
    thread == me
}

redhook::hook! {
    unsafe fn killpg(group: c_int, sig: c_int) -> c_int => ringer_killpg {
        // SAFETY: the program's own call.
        let send = || unsafe { real::killpg(group, sig) };
        if serves(tls()) || group < 0 {
            return send(); // armed, it traps
        }
        stop::around(-group, sig, || send() as isize) as c_int
    }
}

/// A signal to a thread of this process. (Armed, it traps.)
fn stops_own(sig: c_int, send: impl FnOnce() -> c_int) -> c_int {
    if serves(tls()) {
        return send();
    }
    let pid = crate::host::getpid() as i32;
    stop::around(pid, sig, || send() as isize) as c_int
}

redhook::hook! {
    unsafe fn pthread_kill(thread: pthread_t, sig: c_int) -> c_int => ringer_pthread_kill {
        if is_self(thread) && !matches!(sig, 32 | 33) {
            if let Some(ret) = send::to_self(tls(), sig, For::Thread, libc::SI_TKILL, 0) {
                return -ret as c_int;
            }
        }
        if is_self(thread) && !serves(tls()) {
            siglog::kernel_sends(crate::host::getpid() as i32, sig, libc::SI_TKILL);
        }
        // SAFETY: the program's own call.
        let send = || unsafe { real::pthread_kill(thread, sig) };
        stops_own(sig, send)
    }
}

redhook::hook! {
    unsafe fn pthread_sigqueue(thread: pthread_t, sig: c_int, value: *mut c_void) -> c_int
        => ringer_pthread_sigqueue {
        if is_self(thread) && !matches!(sig, 32 | 33) {
            let value = value as u64;
            if let Some(ret) = send::to_self(tls(), sig, For::Thread, libc::SI_QUEUE, value) {
                return -ret as c_int;
            }
        }
        // SAFETY: the program's own call.
        let send = || unsafe { real::pthread_sigqueue(thread, sig, value) };
        stops_own(sig, send)
    }
}

redhook::hook! {
    unsafe fn sigsuspend(mask: *const sigset_t) -> c_int => ringer_sigsuspend {
        let tls = tls();
        let during = match mask::given(tls, mask as usize) {
            Some(mask) => mask,
            // SAFETY: the program's own call, with whatever this is.
            None => return unsafe { real::sigsuspend(mask) },
        };
        siglog::waits(0, during);
        match wait::sigsuspend(tls, during) {
            Ok(ret) => result(ret) as c_int,
            Err(true) if (tls.masked.get() | during) & arm::FORCED == 0 => {
                let ret = gate::sys!(libc::SYS_rt_sigsuspend, &raw const during, 8);
                inbox::reopen(tls);
                result(ret) as c_int
            }
            Err(shut) => {
                // SAFETY: as above.
                let ret = unsafe { real::sigsuspend(mask) };
                if shut {
                    inbox::reopen(tls);
                }
                ret
            }
        }
    }
}

redhook::hook! {
    unsafe fn __sigsuspend(mask: *const sigset_t) -> c_int => ringer_sigsuspend_2 {
        // SAFETY: the same function.
        unsafe { ringer_sigsuspend(mask) }
    }
}

redhook::hook! {
    unsafe fn sigtimedwait(set: *const sigset_t, info: *mut siginfo_t, timeout: *const timespec)
        -> c_int => ringer_sigtimedwait {
        let tls = tls();
        let Some(wanted) = mask::given(tls, set as usize) else {
            // SAFETY: the program's own call, with whatever this is.
            return unsafe { real::sigtimedwait(set, info, timeout) };
        };
        if let Some(taken) = wait::sigtimedwait(tls, wanted) {
            // libc says SI_USER for SI_TKILL. (glibc sysdeps/unix/sysv/linux/sigtimedwait.c)
            let told = crate::pending::as_if_by_kill(taken.info);
            if !info.is_null() && !user::put(info as usize, &told) {
                return result(-(libc::EFAULT as isize)) as c_int;
            }
            return taken.sig;
        }
        siglog::waits(1, wanted);
        let mut own = core::mem::MaybeUninit::<siginfo_t>::zeroed();
        let told = if info.is_null() { own.as_mut_ptr() } else { info };
        // SAFETY: the program's own call, or with room for one siginfo.
        let sig = unsafe { real::sigtimedwait(set, told, timeout) };
        if sig > 0 {
            // SAFETY: the kernel has written it.
            crate::pending::restore_info(unsafe { &mut *told.cast() });
            // SAFETY: as above.
            siglog::accepted_from_kernel(sig, unsafe { &*told.cast() });
        }
        sig
    }
}

redhook::hook! {
    unsafe fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int
        => ringer_sigwaitinfo {
        // SAFETY: sigwaitinfo is sigtimedwait without a timeout. [sigwaitinfo(2)]
        unsafe { ringer_sigtimedwait(set, info, core::ptr::null()) }
    }
}

redhook::hook! {
    unsafe fn sigwait(set: *const sigset_t, sig: *mut c_int) -> c_int => ringer_sigwait {
        let tls = tls();
        let Some(wanted) = mask::given(tls, set as usize) else {
            // SAFETY: the program's own call, with whatever this is.
            return unsafe { real::sigwait(set, sig) };
        };
        if let Some(taken) = wait::sigtimedwait(tls, wanted) {
            // SAFETY: the program's own argument, which libc writes to as well.
            unsafe { sig.write(taken.sig) };
            return 0;
        }
        siglog::waits(1, wanted);
        // SAFETY: the program's own call.
        let ret = unsafe { real::sigwait(set, sig) };
        if ret == 0 {
            // SAFETY: libc has written it.
            siglog::accepted_unseen(unsafe { *sig });
        }
        ret
    }
}
