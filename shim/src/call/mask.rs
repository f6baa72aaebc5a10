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
    let now = frame.mask() | tls.named.load(Relaxed) | tls.masked.get();
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
    frame.set_mask(next & !FORCED);
    // A signal that was noted meanwhile goes back to this mask, too.
    tls.saved_mask.set(next & !FORCED);
    inbox::will_drain(tls);
    inbox::publish_only(tls, next);
    blocked::know(tls, next);
    inbox::publish(tls);
    if pending::due(tls) != 0 {
        tls.note.set(tls.note.get() | pending::FORCED_DUE);
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
            Some(mask) => given = Some(mask),
            None => return -(libc::EFAULT as isize),
        }
    }
    // A single thread's real mask is the truth until the process is armed: libc has more ways to
    // change it than have hooks. With more threads, another one may arm the process any time.
    let keep_out = if arm::is_armed() || crate::hooks::has_threads() {
        FORCED
    } else {
        0
    };
    let ret = match given {
        None => sys!(libc::SYS_rt_sigprocmask, how, 0, &raw mut real, 8),
        Some(mask) => {
            let mask = mask & !keep_out & !LIBC_INTERNAL;
            sys!(
                libc::SYS_rt_sigprocmask,
                how,
                &raw const mask,
                &raw mut real,
                8
            )
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
        siglog::mask(tls, i64::from(how), before, next);
        blockers::set_masked(tls, next & keep_out);
        if pending::due(tls) != 0 {
            pending::send_now(tls);
        }
    }
    0
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
            pending::send_now(tls);
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
    if size != 8 || !(1..=64).contains(&sig) {
        return Verdict::errno(libc::EINVAL);
    }
    let new = match new {
        0 => None,
        p => match user::fetch::<KSigaction>(p) {
            Some(action) => Some(action),
            None => return Verdict::errno(libc::EFAULT),
        },
    };
    if new.is_some() && matches!(sig as i32, libc::SIGKILL | libc::SIGSTOP) {
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

/// sigaltstack(2) by trap: the frame's stack is what counts when the trap is left.
pub fn sigaltstack(frame: &mut Frame) -> Verdict {
    let [new, old, ..] = frame.args();
    const MINSIGSTKSZ: usize = 2048;
    let now = frame.altstack();
    // (Linux v6.18 include/linux/sched/signal.h on_sig_stack, sas_ss_flags)
    let sp = frame.sp();
    let on_it = now.flags & SS_FLAG_BITS == 0
        && now.size != 0
        && sp > now.sp
        && sp <= now.sp.saturating_add(now.size);
    let mut report = now;
    report.flags = now.flags & SS_FLAG_BITS
        | match (now.size, on_it) {
            (0, _) => libc::SS_DISABLE,
            (_, true) => libc::SS_ONSTACK,
            (_, false) => 0,
        };
    if new != 0 {
        let Some(mut want) = user::fetch::<Stack>(new) else {
            return Verdict::errno(libc::EFAULT);
        };
        if on_it {
            return Verdict::errno(libc::EPERM);
        }
        let mode = want.flags & !SS_FLAG_BITS;
        if mode != libc::SS_DISABLE && mode != libc::SS_ONSTACK && mode != 0 {
            return Verdict::errno(libc::EINVAL);
        }
        if mode == libc::SS_DISABLE {
            want.sp = 0;
            want.size = 0;
        } else if want.size < MINSIGSTKSZ {
            return Verdict::errno(libc::ENOMEM);
        }
        want.flags &= !libc::SS_ONSTACK;
        frame.set_altstack(want);
        let tls = tls();
        tls.altstack.set(want);
        tls.altstack_known.set(1);
    }
    if old != 0 && !user::put(old, &report) {
        return Verdict::errno(libc::EFAULT);
    }
    Verdict::Done(0)
}

/// SS_AUTODISARM. (include/uapi/linux/signal.h)
const SS_FLAG_BITS: i32 = i32::MIN;

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
