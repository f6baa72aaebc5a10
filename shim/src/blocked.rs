//! What a thread blocks. The program's mask is made of three parts:
//!
//! ```text
//! real    blocked in the kernel, too
//! named   blocked by name only: not in the kernel's mask, so that blocking and unblocking
//!         costs no system call. If such a signal comes all the same, it is blocked really,
//!         and sent back to where it came from, with its own siginfo (`bounce`)
//! masked  SIGSYS, SIGSEGV, SIGBUS, which are in no real mask (blockers.rs)
//! ```
//!
//! Only a process with one thread blocks by name, only standard signals that have a handler (a
//! default action would not ask us), and only until its next call that the kernel serves: before
//! that everything named becomes real (`settle`), since the kernel decides by its mask whom it
//! interrupts.
//!
//! A handler may come at any instruction here. It finds each step in a state that is true: what is
//! to be blocked is named or blocked first and never forgotten in between. `real` may be unknown (inside a handler that the kernel called); then
//! the kernel is asked.

use core::sync::atomic::{compiler_fence, AtomicU64, Ordering::*};

use ringer_kernel::signal::{bit, state::NEVER, SYNCHRONOUS};

use crate::arm::FORCED;
use crate::blockers;
use crate::call::mask::{SIG_BLOCK, SIG_SETMASK};
use crate::gate::sys;
use crate::host;
use crate::inbox;
use crate::pending;
use crate::siglog;
use crate::signal;
use crate::tls::{Siginfo, Tls};

/// Signals whose action is a handler of the program's.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// Standard signals that may be blocked by name only.
const NAMEABLE: u64 = 0x7fff_ffff & !(NEVER | SYNCHRONOUS | FORCED);

/// The action of `sig` is a handler from now on, or is not.
pub fn set_caught(sig: usize, caught: bool) {
    let bit = bit(sig as i32);
    if caught {
        CAUGHT.fetch_or(bit, Relaxed);
    } else {
        CAUGHT.fetch_and(!bit, Relaxed);
    }
}

pub fn is_caught(sig: i32) -> bool {
    CAUGHT.load(Relaxed) & bit(sig) != 0
}

/// The kernel's mask of this thread, without the forced signals.
#[inline(always)]
pub fn real(tls: &Tls) -> u64 {
    if tls.real_known.get() == 0 {
        ask(tls);
    }
    tls.real.load(Relaxed)
}

#[cold]
fn ask(tls: &Tls) {
    let mut now = 0u64;
    sys!(libc::SYS_rt_sigprocmask, SIG_BLOCK, 0, &raw mut now, 8);
    // Inside the shim a signal that was noted keeps everything else away until the way out: that is not
    // the thread's mask. (Looked at afterwards: one noted in between has kept what was asked for.)
    if tls.noted() & pending::NOTED != 0 {
        now = tls.saved_mask.get();
    }
    know(tls, now);
}

/// The kernel's mask is this, as of now.
#[inline(always)]
pub fn know(tls: &Tls, mask: u64) {
    tls.real.store(mask & !FORCED, Relaxed);
    tls.real_known.set(1);
}

/// The kernel has changed it.
#[inline(always)]
pub fn forget(tls: &Tls) {
    tls.real_known.set(0);
}

/// What the program believes.
#[inline(always)]
pub fn mask(tls: &Tls) -> u64 {
    // In this order: one that is bounced meanwhile becomes real.
    let named = tls.named.load(Relaxed);
    compiler_fence(SeqCst);
    named | real(tls) | tls.masked.get()
}

/// What is not in the mask of a trap's frame: also what has been bounced since the trap began.
pub fn not_real(tls: &Tls) -> u64 {
    let named = tls.named.load(Relaxed);
    compiler_fence(SeqCst);
    named | tls.bounced.load(Relaxed) | tls.masked.get()
}

fn change(how: usize, which: u64) {
    sys!(libc::SYS_rt_sigprocmask, how, &raw const which, 0, 8);
}

/// The program's mask becomes `next`, outside the shim: what is really pending and unblocked comes
/// before this returns. What waits in the arena is the caller's to deliver.
#[inline(always)]
pub fn set(tls: &Tls, next: u64) {
    if next & FORCED != tls.masked.get() {
        blockers::set_masked(tls, next & FORCED);
    }
    let next = next & !FORCED;
    let (really, named) = (real(tls), tls.named.load(Relaxed));
    if really & !next != 0 || pending::due(tls) != 0 {
        return really_set(tls, next);
    }
    if named & !next != 0 {
        // From here on others leave nothing in the arena that is not blocked any more; what they
        // have left before is the caller's, or the next handler's, to see.
        inbox::publish_only(tls, next);
    }
    let block = next & !(really | named);
    let by_name = if block != 0 && inbox::is_open(tls) {
        block & NAMEABLE & CAUGHT.load(Relaxed)
    } else {
        0
    };
    name(tls, (named | by_name) & next);
    really_block(tls, block & !by_name);
    if real(tls) & !next != 0 {
        return really_set(tls, next); // one was bounced just now
    }
    inbox::publish(tls);
}

/// As [`set`], where the kernel unblocks something. What it has of that is delivered in its call, with
/// what is due here, in its order, on frames that it pushes: so all must be really blocked, or not
/// blocked.
#[cold]
fn really_set(tls: &Tls, next: u64) {
    inbox::will_drain(tls);
    inbox::publish_only(tls, next);
    let due = inbox::pending(tls) & !next;
    let named = tls.named.load(Relaxed) & (next | due);
    really_block(tls, (named | due) & !real(tls));
    name(tls, 0);
    inbox::send_all(tls, due);
    let forced = pending::due(tls);
    if forced != 0 {
        pending::block(forced);
        pending::send(tls, forced);
    }
    let edits = tls.edits.get();
    change(SIG_SETMASK, next);
    if tls.edits.get() != edits {
        return forget(tls); // a handler has set another one
    }
    know(tls, next);
    inbox::publish(tls);
}

/// Not one instruction, and it need not be: a bounce in between leaves one in `named` that is in
/// `real`, too, which is as good as in `real` alone.
#[inline(always)]
fn name(tls: &Tls, which: u64) {
    tls.named.store(which, Relaxed);
    compiler_fence(SeqCst);
}

fn really_block(tls: &Tls, which: u64) {
    if which != 0 {
        change(SIG_BLOCK, which);
        tls.real.fetch_or(which, Relaxed);
        // A signal that was noted goes back to the mask from before.
        tls.saved_mask.set(tls.saved_mask.get() | which);
    }
}

/// Whatever is blocked by name only is blocked really from now on. (In a trap, the frame's mask is
/// to become `real` as well.)
#[inline(always)]
pub fn settle(tls: &Tls) {
    if tls.named.load(Relaxed) != 0 {
        settle_now(tls);
    }
}

#[cold]
fn settle_now(tls: &Tls) {
    real(tls);
    really_block(tls, tls.named.load(Relaxed));
    tls.named.store(0, Relaxed);
    inbox::publish(tls);
}

/// A signal has come that is blocked by name only: from here on it is blocked really, and pending
/// again, for the process or the thread as it was sent. In the trampoline, on its frame.
///
/// `false`: it is not blocked by name.
#[inline(always)]
pub fn bounce(tls: &Tls, sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) -> bool {
    if tls.named.load(Relaxed) & bit(sig) == 0 {
        return false;
    }
    send_back(tls, sig, info, uc);
    true
}

#[cold]
fn send_back(tls: &Tls, sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    // The frame's mask is the kernel's own word for what is blocked where this came.
    // SAFETY: the kernel's frame.
    let frame = unsafe { signal::uc_mask(uc) };
    // SAFETY: as above.
    let before = unsafe { *frame };
    // SAFETY: as above.
    unsafe { *frame = before | bit(sig) };
    tls.real.fetch_or(bit(sig), Relaxed);
    tls.bounced.fetch_or(bit(sig), Relaxed);
    tls.named.fetch_and(!bit(sig), Relaxed);
    inbox::publish(tls);
    siglog::bounced(tls, sig);
    signal::reinstall(sig as usize);
    if inbox::pending(tls) & bit(sig) != 0 {
        return; // one is enough, and the first one stays
    }
    change(SIG_BLOCK, bit(sig));
    resend(sig, info, false);
}

/// A signal has come on the frame of a handler that blocks it and has not begun: it is pending until that
/// one is over. In the trampoline, on its frame.
#[cold]
pub fn defer(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    // SAFETY: the kernel's frame.
    let frame = unsafe { signal::uc_mask(uc) };
    // SAFETY: as above.
    unsafe { *frame |= bit(sig) };
    signal::reinstall(sig as usize);
    change(SIG_BLOCK, bit(sig));
    resend(sig, info, false);
}

/// Sends a signal to this process once more, with its own siginfo; `private`: to this thread.
pub fn resend(sig: i32, info: *const Siginfo, private: bool) {
    // SAFETY: a live siginfo: the kernel's frame's, or the caller's own.
    let code = unsafe { pending::code_at(info) };
    let (pid, tid) = (host::getpid(), host::gettid());
    // SAFETY: as above.
    let sender = unsafe { pending::sender_at(info) };
    // Sent for what this thread has written. (fs/pipe.c: `send_sig(SIGPIPE, current, 0)`)
    let written = sig == libc::SIGPIPE && code == libc::SI_USER && sender == pid;
    if private || written || code == libc::SI_TKILL {
        if sys!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, info) < 0 {
            sys!(libc::SYS_tgkill, pid, tid, sig);
        }
    } else if sys!(libc::SYS_rt_sigqueueinfo, pid, sig, info) < 0 {
        sys!(libc::SYS_kill, pid, sig);
    }
}
