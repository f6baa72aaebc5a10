//! semaphore.h: libc's own code runs, or the same that it would do; with a log, what it does between processes is told. (A
//! semaphore is memory that programs without ringer share, so nothing of it is ringer's.)

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering::*};

use libc::{c_int, clockid_t, sem_t, timespec};
use ringer_kernel::arena::header::flag;
use ringer_kernel::log::Kind;

use crate::attach;
use crate::entry::Entry;
use crate::hooks::cancelling;
use crate::host::tsc;
use crate::next::next;

/// (sysdeps/nptl/bits/semaphore.h, limits.h: INT_MAX)
const SEM_VALUE_MAX: u32 = i32::MAX as u32;

next! {
    fn sem_post(s: *mut sem_t) -> c_int;
    fn sem_wait(s: *mut sem_t) -> c_int;
    fn sem_trywait(s: *mut sem_t) -> c_int;
    fn sem_timedwait(s: *mut sem_t, t: *const timespec) -> c_int;
    fn sem_clockwait(s: *mut sem_t, clock: clockid_t, t: *const timespec) -> c_int;
    fn sem_getvalue(s: *mut sem_t, value: *mut c_int) -> c_int;
}

/// `real`, and a record of it: its result, the address, and what `told` finds afterwards.
#[cold]
#[inline(never)]
fn logged(kind: Kind, s: *mut sem_t, real: impl FnOnce() -> c_int) -> c_int {
    if !is_shared(s) {
        return real();
    }
    // SAFETY: libc's own thread-local.
    let errno = unsafe { libc::__errno_location() };
    let before = tsc();
    let ret = real();
    // SAFETY: as above.
    let kept = unsafe { *errno };
    let told = match kind {
        Kind::SemPost => value_of(s),
        _ => tsc().wrapping_sub(before),
    };
    let result = if ret == 0 { 0 } else { -i64::from(kept) };
    let entry = Entry::enter();
    entry.owner();
    attach::log_event(&entry, kind, (result, s as u64, told));
    let _ = entry.leave();
    // SAFETY: as above.
    unsafe { *errno = kept };
    ret
}

/// Whether processes share it. (glibc's `struct new_sem`: `private`, behind the value and the number of
/// waiters, is 0 if only threads do. Python, for one, has such for every lock.)
fn is_shared(s: *mut sem_t) -> bool {
    crate::user::fetch::<u32>(s as usize + 8).is_some_and(|private| private != 0)
}

fn value_of(s: *mut sem_t) -> u64 {
    let mut value = 0;
    // SAFETY: a semaphore that libc has just posted.
    match unsafe { real::sem_getvalue(s, &raw mut value) } {
        0 => value as u64,
        _ => 0,
    }
}

/// Whether a call that neither waits nor wakes is done here, by the one compare-and-swap that glibc would do (a second jump costs
/// as much again). Not with a log, nor if the next function is not glibc's own; and no more after a pthread_cancel(3): a thread
/// that was cancelled does not come back from `sem_wait`.
static QUICK: AtomicBool = AtomicBool::new(false);

/// `flags`: the session's.
pub fn begin(flags: u32) {
    QUICK.store(
        flags & flag::LOG == 0 && is_glibc(c"sem_post") && is_glibc(c"sem_wait"),
        SeqCst,
    );
    if cancelling() {
        be_slow();
    }
}

/// From now on every call is libc's.
pub fn be_slow() {
    QUICK.store(false, SeqCst);
}

/// Whether the function behind the hook is in the file that `gnu_get_libc_version` is in. (glibc from 2.34 on; before, semaphores
/// had a library of their own.)
fn is_glibc(name: &core::ffi::CStr) -> bool {
    let file = |handle, name: &core::ffi::CStr| {
        // SAFETY: a NUL-terminated name.
        let at = unsafe { libc::dlsym(handle, name.as_ptr()) };
        let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: an address to ask about, and room for the answer; one of all zeroes is valid.
        let found = unsafe { libc::dladdr(at, info.as_mut_ptr()) };
        // SAFETY: as above.
        (found != 0).then(|| unsafe { info.assume_init() }.dli_fbase)
    };
    let libc = file(libc::RTLD_NEXT, c"gnu_get_libc_version");
    libc.is_some() && libc == file(libc::RTLD_NEXT, name)
}

/// glibc's word: the value, and in the upper half how many wait. (nptl/sem_post.c, nptl/sem_waitcommon.c: `struct new_sem`)
#[inline(always)]
fn word(s: *mut sem_t) -> u64 {
    let word;
    // SAFETY: what glibc's function would do with the same pointer, a fault on a bad one included. By assembly: it may be none
    // that Rust would read through.
    unsafe {
        asm!("mov {}, [{}]", out(reg) word, in(reg) s, options(nostack, preserves_flags, readonly))
    };
    word
}

/// Whether it was `old` and is `new` now. (A barrier in both directions: glibc's are release and acquire.)
#[inline(always)]
fn swap(s: *mut sem_t, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: as in `word`.
    unsafe {
        asm!("lock cmpxchg [{}], {}", in(reg) s, in(reg) new, inlateout("rax") old => found, options(nostack));
    }
    found == old
}

/// Nobody waits, and it does not overflow: one more.
#[inline(always)]
fn quick_post(s: *mut sem_t) -> bool {
    if !QUICK.load(Relaxed) {
        return false;
    }
    let old = word(s);
    old < u64::from(SEM_VALUE_MAX) && swap(s, old, old + 1)
}

/// There is one: it is taken, whoever waits.
#[inline(always)]
fn quick_wait(s: *mut sem_t) -> bool {
    if !QUICK.load(Relaxed) {
        return false;
    }
    let old = word(s);
    old as u32 != 0 && swap(s, old, old - 1)
}

redhook::hook! {
    unsafe fn sem_post(s: *mut sem_t) -> c_int => ringer_sem_post {
        if quick_post(s) {
            return 0;
        }
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemPost, s, || unsafe { real::sem_post(s) });
        }
        // SAFETY: as above.
        unsafe { real::sem_post(s) }
    }
}

redhook::hook! {
    unsafe fn sem_wait(s: *mut sem_t) -> c_int => ringer_sem_wait {
        if quick_wait(s) {
            return 0;
        }
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemWait, s, || unsafe { real::sem_wait(s) });
        }
        // SAFETY: as above.
        unsafe { real::sem_wait(s) }
    }
}

redhook::hook! {
    unsafe fn sem_trywait(s: *mut sem_t) -> c_int => ringer_sem_trywait {
        if quick_wait(s) {
            return 0;
        }
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemWait, s, || unsafe { real::sem_trywait(s) });
        }
        // SAFETY: as above.
        unsafe { real::sem_trywait(s) }
    }
}

redhook::hook! {
    unsafe fn sem_timedwait(s: *mut sem_t, t: *const timespec) -> c_int => ringer_sem_timedwait {
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemWait, s, || unsafe { real::sem_timedwait(s, t) });
        }
        // SAFETY: as above.
        unsafe { real::sem_timedwait(s, t) }
    }
}

redhook::hook! {
    unsafe fn sem_clockwait(s: *mut sem_t, clock: clockid_t, t: *const timespec) -> c_int
        => ringer_sem_clockwait {
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemWait, s, || unsafe { real::sem_clockwait(s, clock, t) });
        }
        // SAFETY: as above.
        unsafe { real::sem_clockwait(s, clock, t) }
    }
}
