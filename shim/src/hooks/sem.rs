//! semaphore.h: libc's own code runs; with a log, what it does between processes is told. (A semaphore is memory that programs
//! without ringer share, so nothing of it is ringer's.)

use core::sync::atomic::{AtomicU32, Ordering::*};

use libc::{c_int, clockid_t, sem_t, timespec};
use ringer_kernel::arena::header::flag;
use ringer_kernel::log::Kind;
use ringer_kernel::planted::{planted, Bug};

use crate::attach;
use crate::entry::Entry;
use crate::host::{self, tsc};
use crate::next::next;

next! {
    fn sem_post(s: *mut sem_t) -> c_int;
    fn sem_wait(s: *mut sem_t) -> c_int;
    fn sem_trywait(s: *mut sem_t) -> c_int;
    fn sem_timedwait(s: *mut sem_t, t: *const timespec) -> c_int;
    fn sem_clockwait(s: *mut sem_t, clock: clockid_t, t: *const timespec) -> c_int;
    fn sem_getvalue(s: *mut sem_t, value: *mut c_int) -> c_int;
}

/// Where in a `sem_t`, behind what glibc has there, stands the process that took it last and has not posted it
/// since: for `ringer ipcs`, and only with a log. (glibc's `struct new_sem` has 16 of its 32 bytes.)
const TAKEN_BY: usize = 16;

fn taken_by(s: *mut sem_t) -> &'static AtomicU32 {
    let word = s.cast::<u8>().wrapping_add(TAKEN_BY).cast::<AtomicU32>();
    // SAFETY: inside a semaphore, which is aligned to eight bytes, and which libc's function reads just before or after.
    unsafe { &*word }
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
    // A child that ringer has not met yet is not its parent.
    attach::ensure_process();
    if kind == Kind::SemPost {
        // Once it is posted, somebody may do away with it.
        let _ = taken_by(s).compare_exchange(host::getpid(), 0, Relaxed, Relaxed);
    }
    let before = tsc();
    let ret = real();
    // SAFETY: as above.
    let kept = unsafe { *errno };
    let told = match kind {
        Kind::SemPost => value_of(s),
        _ => tsc().wrapping_sub(before),
    };
    if kind == Kind::SemWait && ret == 0 {
        taken_by(s).store(host::getpid(), Relaxed);
    }
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

/// # Safety
///
/// As of sem_wait(3).
#[inline(always)]
unsafe fn wait(s: *mut sem_t) -> c_int {
    loop {
        // SAFETY: the caller's.
        let ret = unsafe { real::sem_wait(s) };
        if ret == 0 || !planted(Bug::PosixMissesInterrupt) {
            return ret;
        }
    }
}

fn value_of(s: *mut sem_t) -> u64 {
    let mut value = 0;
    // SAFETY: a semaphore that libc has just posted.
    match unsafe { real::sem_getvalue(s, &raw mut value) } {
        0 => value as u64,
        _ => 0,
    }
}

redhook::hook! {
    unsafe fn sem_post(s: *mut sem_t) -> c_int => ringer_sem_post {
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
        if attach::has(flag::LOG) {
            // SAFETY: the program's own call.
            return logged(Kind::SemWait, s, || unsafe { wait(s) });
        }
        // SAFETY: as above.
        unsafe { wait(s) }
    }
}

redhook::hook! {
    unsafe fn sem_trywait(s: *mut sem_t) -> c_int => ringer_sem_trywait {
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
