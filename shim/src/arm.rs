//! Arming: from the first emulated descriptor on, no system call and no signal handler of this
//! process goes past ringer.
//!
//! - Syscall User Dispatch traps every `syscall` instruction outside the gate (prctl(2)).
//! - SIGSYS, SIGSEGV and SIGBUS are ringer's own and are in no real mask: the kernel *forces*
//!   them, and kills the process where they are blocked.
//! - The program's handlers run behind ringer's trampoline, which notes signals that come while
//!   the thread is inside the shim.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::*};

use crate::call::{mask, truth};
use crate::entry::Entry;
use crate::gate::{self, sys};
use crate::hooks::{cancelling, has_threads};
use crate::pending;
use crate::signal;
use crate::tls::{tls, Tls};
use crate::trap;
use crate::{blocked, blockers, simulated};

pub const PR_SET_SYSCALL_USER_DISPATCH: usize = 59;
const PR_SYS_DISPATCH_OFF: usize = 0;
const PR_SYS_DISPATCH_ON: usize = 1;

/// Signals that are never in a real mask: SIGBUS, SIGSEGV, SIGSYS.
pub const FORCED: u64 =
    1 << (libc::SIGBUS - 1) | 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGSYS - 1);

/// 0: not armed. 1: one thread is at it. 2: armed. 3: never, because the kernel has no such thing, or the process
/// has left the session.
static ARMED: AtomicU32 = AtomicU32::new(0);

/// Selector bytes of threads that were started before the process was armed.
const EARLY_THREADS: usize = 1024;
static EARLY: [AtomicPtr<u8>; EARLY_THREADS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; EARLY_THREADS];

pub fn is_armed() -> bool {
    ARMED.load(Acquire) == 2
}

/// Whether another thread may arm this process any time.
pub fn may_come() -> bool {
    has_threads() && ARMED.load(Acquire) != 3
}

/// Blocks every signal that can be blocked, except the forced ones. The mask before.
pub fn block_all() -> u64 {
    set_mask(!FORCED)
}

pub fn set_mask(mask: u64) -> u64 {
    change_mask(mask::SIG_SETMASK, mask)
}

/// Blocks these as well. The mask before.
pub fn add_to_mask(mask: u64) -> u64 {
    change_mask(mask::SIG_BLOCK, mask)
}

fn change_mask(how: usize, mask: u64) -> u64 {
    let mut old = 0u64;
    sys!(
        libc::SYS_rt_sigprocmask,
        how,
        &raw const mask,
        &raw mut old,
        8
    );
    old
}

/// Whether dispatch can be switched on; it is not yet.
fn can_dispatch() -> bool {
    !simulated::on_valgrind()
        && sys!(
            libc::SYS_prctl,
            PR_SET_SYSCALL_USER_DISPATCH,
            PR_SYS_DISPATCH_OFF,
            0,
            0,
            0
        ) == 0
}

/// Arms the process, once, and this thread. `false`: this kernel has no Syscall User Dispatch, so
/// nothing may be emulated.
pub fn arm(entry: &Entry) -> bool {
    match ARMED.compare_exchange(0, 1, AcqRel, Acquire) {
        Err(3) => return false,
        Err(1) => {
            while ARMED.load(Acquire) == 1 {
                core::hint::spin_loop();
            }
        }
        Err(_) => {}
        Ok(_) if !can_dispatch() => {
            ARMED.store(3, Release);
            return false;
        }
        Ok(_) => {
            // All signals wait until every handler is behind the trampoline. A forced one that is
            // blocked and pending (it may have come through exec) waits, too.
            let mask = add_to_mask(!FORCED);
            trap::install();
            signal::wrap_all();
            let ok = arm_thread(entry.tls, 1);
            if ok {
                for early in &EARLY {
                    // Taken out meanwhile: its thread can not hide now.
                    let selector = early.swap(core::ptr::null_mut(), AcqRel);
                    if !selector.is_null() {
                        // SAFETY: the byte of a live thread, which takes it out before it ends.
                        unsafe { selector.write_volatile(1) };
                        early.store(selector, Release);
                    }
                }
            }
            virtualise_mask(entry.tls, mask);
            ARMED.store(if ok { 2 } else { 3 }, Release);
            return ok;
        }
    }
    if !is_armed() {
        return false;
    }
    if !entry.tls.is_armed() {
        return arm_thread(entry.tls, 1);
    }
    true
}

/// The real mask without the forced signals; what the program believes stays with the thread.
pub fn virtualise_mask(tls: &Tls, mask: u64) {
    blockers::set_masked(tls, tls.masked.get() | mask & FORCED);
    set_mask(mask & !FORCED);
    blocked::forget(tls);
}

/// Switches dispatch on for the calling thread, with the selector at `selector`.
pub fn arm_thread(tls: &Tls, selector: u8) -> bool {
    if simulated::on_valgrind() {
        return false;
    }
    let (start, len) = gate::range();
    let byte = tls.selector.as_ptr();
    let ret = sys!(
        libc::SYS_prctl,
        PR_SET_SYSCALL_USER_DISPATCH,
        PR_SYS_DISPATCH_ON,
        start,
        len,
        byte
    );
    if ret < 0 {
        return false;
    }
    tls.dispatched.set(1);
    tls.selector.set(selector);
    true
}

/// From now on nothing traps, and never will. `false`: another thread is at it.
pub fn never() -> bool {
    ARMED
        .fetch_update(AcqRel, Acquire, |now| (now != 1).then_some(3))
        .is_ok()
}

/// Ends dispatch for the calling thread, which is the only one.
pub fn disarm(tls: &Tls) {
    never();
    tls.selector.set(0);
    sys!(
        libc::SYS_prctl,
        PR_SET_SYSCALL_USER_DISPATCH,
        PR_SYS_DISPATCH_OFF,
        0,
        0,
        0
    );
    tls.dispatched.set(0);
}

/// This thread is about to call a function of libc's that blocks all signals for a while, the forced ones
/// really: until [`show`] nobody switches it on.
pub fn hide(tls: &Tls) {
    let byte = tls.selector.as_ptr();
    let taken_out = || {
        EARLY.iter().any(|early| {
            let null = core::ptr::null_mut();
            early.compare_exchange(byte, null, AcqRel, Relaxed).is_ok()
        })
    };
    // Another thread may have just this entry in its hands.
    while tls.dispatched.get() != 0 && !taken_out() && ARMED.load(Acquire) == 1 {
        core::hint::spin_loop();
    }
}

pub fn show(tls: &Tls) {
    if tls.dispatched.get() == 0 {
        return;
    }
    let byte = tls.selector.as_ptr();
    for early in &EARLY {
        let null = core::ptr::null_mut();
        if early.compare_exchange(null, byte, AcqRel, Relaxed).is_ok() {
            break;
        }
    }
    if is_armed() {
        tls.selector.set(1);
    }
}

/// Runs `f`, a function of libc's that hands the thread's mask over to another program. Where nothing
/// traps that by itself, the forced signals get into the real mask meanwhile.
pub fn with_true_mask<R>(tls: &Tls, f: impl FnOnce() -> R) -> R {
    if tls.is_armed() || tls.masked.get() == 0 {
        return f();
    }
    hide(tls);
    let before = add_to_mask(tls.masked.get());
    let result = f();
    set_mask(before & !FORCED);
    show(tls);
    result
}

/// A thread starts in a process that is not armed: it can be switched on later from outside.
pub fn thread_starts() {
    let tls = tls();
    if tls.dispatched.get() != 0 || ARMED.load(Acquire) == 3 {
        return;
    }
    if !arm_thread(tls, 0) {
        return;
    }
    for early in &EARLY {
        if early
            .compare_exchange(
                core::ptr::null_mut(),
                tls.selector.as_ptr(),
                AcqRel,
                Relaxed,
            )
            .is_ok()
        {
            break;
        }
    }
    if is_armed() {
        tls.selector.set(1);
    }
}

/// Its selector byte is about to go away.
pub fn thread_ends() {
    blockers::thread_ends(tls());
    let byte = tls().selector.as_ptr();
    for early in &EARLY {
        let _ = early.compare_exchange(byte, core::ptr::null_mut(), AcqRel, Relaxed);
    }
}

/// After fork the kernel has switched dispatch off: on again, if the parent was armed.
pub fn rearm_after_fork(tls: &Tls) {
    pending::forget(tls);
    blocked::forget(tls);
    crate::inbox::forget_in_child();
    blockers::after_fork(tls);
    if is_armed() {
        arm_thread(tls, 1);
    } else {
        tls.dispatched.set(0);
        tls.selector.set(0);
    }
    for early in &EARLY {
        early.store(core::ptr::null_mut(), Relaxed);
    }
}

/// Runs `f`, a function of libc's, with this thread's dispatch off: it is a cancellation point
/// on a descriptor that is none of ringer's. Signal handlers in between switch it on again.
#[inline(always)]
pub fn unarmed<R>(f: impl FnOnce() -> R) -> R {
    let tls = tls();
    if tls.selector.get() == 0 || truth::is_watched(tls) {
        return f();
    }
    blocked::settle(tls);
    tls.selector.set(0);
    core::sync::atomic::compiler_fence(SeqCst);
    let result = f();
    core::sync::atomic::compiler_fence(SeqCst);
    tls.selector.set(1);
    result
}

/// As [`unarmed`], but the call is made here, in the gate, and not by libc: to let it through there costs the kernel half
/// of what it costs to look at the selector. `None`: it is to be libc's, as this thread may be cancelled in it.
#[inline(always)]
pub fn in_gate(nr: i64, args: [usize; 6]) -> Option<isize> {
    let tls = tls();
    let by_libc =
        tls.selector.get() == 0 || truth::is_watched(tls) || has_threads() || cancelling();
    if by_libc {
        return None;
    }
    blocked::settle(tls);
    // SAFETY: the program's own call.
    let ret = unsafe { gate::syscall6(nr, args) };
    if ret == -(libc::EINTR as isize) {
        crate::hooks::test_cancel();
    }
    Some(crate::next::result(ret))
}
