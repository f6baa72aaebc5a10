//! Signal masks and the alternate stack of an armed process. SIGSYS, SIGSEGV and SIGBUS are in no
//! real mask; what the program believes of them stays with the thread.

use core::sync::atomic::Ordering::*;

use crate::arm::{self, FORCED};
use crate::dispatch::Frame;
use crate::entry::Verdict;
use crate::gate::sys;
use crate::signal::{self, KSigaction};
use crate::tls::{tls, Tls};
use crate::{blocked, blockers, inbox, pending, siglog, user};

pub const SIG_BLOCK: usize = 0;
pub const SIG_UNBLOCK: usize = 1;
pub const SIG_SETMASK: usize = 2;

/// The mask that results from `how` and `set`. `None`: EINVAL.
fn changed(now: u64, how: usize, set: u64) -> Option<u64> {
    // SIGKILL and SIGSTOP are never blocked. [sigprocmask(2)]
    let set = set & !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));
    match how {
        SIG_BLOCK => Some(now | set),
        SIG_UNBLOCK => Some(now & !set),
        SIG_SETMASK => Some(set),
        _ => None,
    }
}

/// rt_sigprocmask(2) by trap: the frame's mask is the program's.
pub fn rt_sigprocmask(frame: &mut Frame) -> Verdict {
    let [how, set, old, size, ..] = frame.args();
    if size != 8 {
        return Verdict::errno(libc::EINVAL);
    }
    let tls = tls();
    let now = frame.mask() | blocked::not_real(tls);
    let mut next = now;
    if set != 0 {
        let Some(set) = user::fetch::<u64>(set) else {
            return Verdict::errno(libc::EFAULT);
        };
        match changed(now, how, set) {
            Some(mask) => next = mask,
            None => return Verdict::errno(libc::EINVAL),
        }
    }
    // The kernel has changed the mask by the time it finds that `old` is bad, too.
    let told = old == 0 || user::put(old, &now);
    if next != now {
        set_in(tls, frame, next);
        siglog::mask(tls, how as i64, now, next);
    }
    if told {
        Verdict::Done(0)
    } else {
        Verdict::errno(libc::EFAULT)
    }
}

/// The mask that the trap's frame is left with. All of it is the kernel's: the trap has cost more than
/// a name saves.
fn set_in(tls: &Tls, frame: &mut Frame, next: u64) {
    blockers::set_masked(tls, next & FORCED);
    tls.named.store(0, Relaxed);
    tls.bounced.store(0, Relaxed);
    frame.set_mask(next & !FORCED);
    inbox::will_drain(tls);
    inbox::publish_only(tls, next);
    blocked::know(tls, next);
    inbox::publish(tls);
    if pending::due(tls) != 0 {
        tls.add_note(pending::FORCED_DUE);
    }
    inbox::send_at_return(tls, next);
}

/// Before a call that the kernel serves: what is blocked by name only is blocked really, also where
/// the trap returns to.
pub fn settle_in(tls: &Tls, frame: &mut Frame) {
    let named = tls.named.load(Relaxed);
    if named != 0 {
        frame.set_mask(frame.mask() | named);
        blocked::settle(tls);
    }
    keep_bounced(tls, frame);
}

/// What was blocked by name, and came after the trap had begun, is blocked really from then on: also
/// where the trap returns to.
pub fn keep_bounced(tls: &Tls, frame: &mut Frame) {
    if tls.bounced.load(Relaxed) != 0 {
        let bounced = tls.bounced.swap(0, Relaxed);
        // (Of an older one the mask may have been changed since.)
        frame.set_mask(frame.mask() | bounced & blocked::real(tls));
    }
}

/// sigprocmask(3) and pthread_sigmask(3) by hook, armed or not: the forced signals never get into
/// a real mask. Returns -errno.
pub fn sigprocmask(how: i32, set: usize, old: usize) -> isize {
    let tls = tls();
    if set != 0 {
        inbox::gains(tls);
    }
    if inbox::is_open(tls) {
        return by_name(tls, how, set, old);
    }
    let mut real = 0u64;
    let mut given = None;
    if set != 0 {
        match user_u64(set) {
            Some(mask) => given = Some(mask & !LIBC_INTERNAL),
            None => return -(libc::EFAULT as isize),
        }
    }
    let keep_out = kept_out(tls);
    let told = pending::bits(tls) == 0 && tell_before(tls, how, given);
    let ret = match given {
        None => sys!(libc::SYS_rt_sigprocmask, how, 0, &raw mut real, 8),
        Some(mask) if pending::bits(tls) != 0 => {
            return with_forced_due(tls, how as usize, mask, old);
        }
        Some(mask) => {
            let mask = mask & !keep_out;
            let (mask, real) = (&raw const mask, &raw mut real);
            sys!(libc::SYS_rt_sigprocmask, how, mask, real, 8)
        }
    };
    if ret < 0 {
        return ret;
    }
    let before = real | tls.masked.get();
    if old != 0 && !user_put_u64(old, before) {
        return -(libc::EFAULT as isize);
    }
    blocked::forget(tls);
    if let Some(next) = given.and_then(|g| changed(before, how as usize, g)) {
        if !told {
            siglog::mask(tls, i64::from(how), before, next);
        }
        blockers::set_masked(tls, next & keep_out);
    }
    0
}

/// What is in no real mask of this thread. A single thread's real mask is the truth until the process
/// is armed: libc has more ways to change it than have hooks. With more threads, another one may arm the
/// process any time.
fn kept_out(tls: &Tls) -> u64 {
    if arm::is_armed() || arm::may_come() {
        return FORCED;
    }
    let masked = tls.masked.get();
    if masked != 0 {
        // From a parent that had threads.
        blockers::set_masked(tls, 0);
        arm::add_to_mask(masked);
    }
    0
}

/// As [`sigprocmask`], with forced signals that are kept: they and all the others that are unblocked
/// come in the kernel's order.
#[cold]
fn with_forced_due(tls: &Tls, how: usize, given: u64, old: usize) -> isize {
    let before = blocked::mask(tls);
    let Some(next) = changed(before, how, given) else {
        return -(libc::EINVAL as isize);
    };
    let told = old == 0 || user_put_u64(old, before);
    siglog::mask(tls, how as i64, before, next);
    blocked::set(tls, next);
    pending::send_now(tls);
    if told {
        0
    } else {
        -(libc::EFAULT as isize)
    }
}

/// rt_sigprocmask(2) by syscall(2), not armed, where there are threads: the forced signals get into no
/// real mask, as by name.
pub fn by_number(how: usize, set: usize, old: usize, size: usize) -> isize {
    let tls = tls();
    let ret = sys!(libc::SYS_rt_sigprocmask, how, set, old, size);
    if ret < 0 {
        return ret;
    }
    let masked = tls.masked.get();
    if old != 0 {
        // SAFETY: the kernel has just written it.
        let real = unsafe { (old as *const u64).read_unaligned() };
        user_put_u64(old, real | masked);
    }
    if set != 0 {
        // SAFETY: the kernel has just read it.
        let given = unsafe { (set as *const u64).read_unaligned() };
        pending::unblock();
        let next = changed(masked, how, given).unwrap_or(masked);
        blockers::set_masked(tls, next & FORCED);
        blocked::forget(tls);
    }
    0
}

/// What the kernel lets through comes before its call returns, and so this record before those. `false`:
/// there is no log.
fn tell_before(tls: &Tls, how: i32, given: Option<u64>) -> bool {
    let Some(given) = given.filter(|_| siglog::is_on(tls)) else {
        return false;
    };
    let mut real = 0u64;
    sys!(libc::SYS_rt_sigprocmask, SIG_BLOCK, 0, &raw mut real, 8);
    let before = real | tls.masked.get();
    if let Some(next) = changed(before, how as usize, given) {
        siglog::mask(tls, i64::from(how), before, next);
    }
    true
}

/// As [`sigprocmask`], where the inbox is open.
#[inline(always)]
fn by_name(tls: &Tls, how: i32, set: usize, old: usize) -> isize {
    let now = blocked::mask(tls);
    let mut next = now;
    if set != 0 {
        let Some(given) = user::fetch::<u64>(set) else {
            return -(libc::EFAULT as isize);
        };
        match changed(now, how as usize, given & !LIBC_INTERNAL) {
            Some(mask) => next = mask,
            None => return -(libc::EINVAL as isize),
        }
    }
    // (The kernel, too, has changed the mask by the time it finds that `old` is bad.)
    let told = old == 0 || user::put(old, &now);
    if next != now {
        siglog::mask(tls, i64::from(how), now, next);
        blocked::set(tls, next);
        if pending::due(tls) != 0 {
            pending::send_now(tls); // two of one number
        }
    }
    inbox::deliver(tls);
    if told {
        0
    } else {
        -(libc::EFAULT as isize)
    }
}

/// SIGCANCEL and SIGSETXID: glibc keeps them out of every mask that a program sets. (glibc 2.36,
/// sysdeps/unix/sysv/linux/internal-signals.h)
const LIBC_INTERNAL: u64 = 1 << 31 | 1 << 32;

/// Before arming a fault is the program's own, as it would be in libc.
pub fn user_u64(p: usize) -> Option<u64> {
    if arm::is_armed() {
        return user::fetch(p);
    }
    // SAFETY: the program's own argument of sigprocmask(3); a bad one faults as it does in libc.
    Some(unsafe { (p as *const u64).read_unaligned() })
}

fn user_put_u64(p: usize, value: u64) -> bool {
    if arm::is_armed() {
        return user::put(p, &value);
    }
    // SAFETY: as in `user_u64`.
    unsafe { (p as *mut u64).write_unaligned(value) };
    true
}

/// rt_sigaction(2) by trap.
pub fn rt_sigaction(frame: &mut Frame) -> Verdict {
    let [sig, new, old, size, ..] = frame.args();
    if size != 8 {
        return Verdict::errno(libc::EINVAL);
    }
    // A bad place for the new action is found before a bad number.
    let new = match new {
        0 => None,
        p => match user::fetch::<KSigaction>(p) {
            Some(action) => Some(action),
            None => return Verdict::errno(libc::EFAULT),
        },
    };
    let refused = new.is_some() && matches!(sig as i32, libc::SIGKILL | libc::SIGSTOP);
    if refused || !(1..=64).contains(&sig) {
        return Verdict::errno(libc::EINVAL);
    }
    if tls().in_vfork.get() != 0 {
        return vfork_sigaction(sig, new, old);
    }
    if new.is_some_and(|a| a.handler <= signal::SIG_IGN) {
        settle_in(tls(), frame);
    }
    let mut before = KSigaction::default();
    let ret = signal::rt_sigaction(sig, new.as_ref(), &mut before);
    if ret == 0 && old != 0 && !user::put(old, &before) {
        return Verdict::errno(libc::EFAULT);
    }
    Verdict::Done(ret)
}

/// A vfork child has actions of its own in the kernel, but shares our table with its parent: only
/// the kernel is told, and never of the forced ones.
fn vfork_sigaction(sig: usize, new: Option<KSigaction>, old: usize) -> Verdict {
    let before = signal::action(sig);
    if old != 0 && !user::put(old, &before) {
        return Verdict::errno(libc::EFAULT);
    }
    match new {
        Some(action) if FORCED & (1 << (sig - 1)) == 0 => {
            Verdict::Done(signal::kernel_sigaction(sig, Some(&action), None))
        }
        _ => Verdict::Done(0),
    }
}

/// stack_t.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Stack {
    pub sp: usize,
    pub flags: i32,
    pub pad: i32,
    pub size: usize,
}

/// rt_sigreturn(2) by trap, past the trampoline: the frame has the program's view of the forced
/// signals, and the kernel must not see that.
///
/// # Safety
///
/// `uc` is the address of the ucontext of a live signal frame of this thread.
pub unsafe fn sigreturn(tls: &Tls, uc: usize) {
    // SAFETY: the caller's.
    let mask = unsafe { signal::uc_mask(uc as *mut libc::ucontext_t) };
    // SAFETY: as above.
    let then = unsafe { *mask };
    let named = tls.named.fetch_and(then, Relaxed) & then;
    tls.bounced.fetch_and(then, Relaxed); // the others this frame unblocks
    let real = then & !FORCED & !named;
    // SAFETY: as above.
    unsafe { *mask = real };
    signal::return_to(tls, then);
    blockers::set_masked(tls, then & FORCED);
    tls.altstack_known.set(0);
    pending::send_at_return(tls);
    inbox::send_at_return(tls, then);
}

/// A mask that a call of an armed process is given. `None`: it can not be read, or the process is not
/// armed.
pub fn given(tls: &Tls, at: usize) -> Option<u64> {
    inbox::gains(tls);
    if !tls.is_armed() {
        return None;
    }
    user::fetch::<u64>(at)
}
