//! A real-time signal that came inside the shim, kept by its thread until the way out.
//!
//! Other signals are sent again ([`signal`]'s `note`). A real-time one would come behind those of its number
//! that wait in the kernel already; Linux keeps their order. So its handler is called on the way out, before
//! anything of the kernel's is let through. One is enough: all is blocked from then on. (Of several that the kernel
//! pushes at once, each of another number, the others are sent again.)

use ringer_kernel::signal::SIGRTMIN;

use crate::pending::{bit, HELD};
use crate::signal::{self, KSigaction, SA_NODEFER, SA_ONSTACK, UNBLOCKABLE};
use crate::tls::{Siginfo, Tls};
use crate::{arm, blocked, frame, pass};

/// Keeps `sig`, which the kernel has just delivered with this action. `false`: its handler can not be called
/// without the kernel, or another is kept.
pub fn keep(tls: &Tls, sig: i32, info: &Siginfo, a: &KSigaction) -> bool {
    let on_other_stack = || signal::action(libc::SIGSYS as usize).flags & SA_ONSTACK != 0;
    if sig < SIGRTMIN || tls.held.get() != 0 || on_other_stack() || !frame::is_simple(tls, sig, a) {
        return false;
    }
    tls.held_info.set(*info);
    tls.held.set(sig);
    tls.add_note(HELD);
    true
}

/// Also if the call has blocked it meanwhile (as pthread_create(3) does): it came before that, and its handler has run
/// when the call returns. The kernel would put it behind the others of its number.
fn take(tls: &Tls) -> Option<(i32, Siginfo, KSigaction)> {
    match tls.held.replace(0) {
        0 => None,
        sig => Some((sig, tls.held_info.get(), signal::action(sig as usize))),
    }
}

/// The kernel's mask while the handler runs.
fn during(sig: i32, a: &KSigaction, mask: u64) -> u64 {
    let own = if a.flags & SA_NODEFER == 0 {
        bit(sig)
    } else {
        0
    };
    mask | own | a.mask & !UNBLOCKABLE
}

/// On the way out of a hook, all blocked: puts `mask` in force, the handler first.
pub fn deliver(tls: &Tls, mask: u64) {
    let Some((sig, mut info, a)) = take(tls) else {
        arm::set_mask(mask);
        return;
    };
    blocked::know(tls, mask);
    let shown = blocked::mask(tls);
    let now = during(sig, &a, mask) & !arm::FORCED;
    blocked::know(tls, now);
    arm::set_mask(now);
    frame::deliver_over(tls, sig, &mut info, &a, 0, (shown, shown));
}

/// On the way out of a trap, all blocked: calls the handler, outside the shim, upon the trap's frame, which is
/// as the program made the call, or has its result.
pub fn deliver_upon(tls: &Tls, uc: *mut libc::ucontext_t) {
    // SAFETY: the trap's own frame, live until it returns.
    unsafe { pass::show_program(tls, uc) };
    // SAFETY: as above.
    let mask = unsafe { signal::uc_mask(uc) };
    // SAFETY: as above.
    let mask = unsafe { *mask };
    if let Some((sig, mut info, a)) = take(tls) {
        let depth = tls.depth.replace(0);
        arm::set_mask(during(sig, &a, mask) & !arm::FORCED);
        signal::call_handler(tls, sig, &raw mut info, uc, &a);
        tls.depth.set(depth);
    }
}

/// A forked child: it is its parent's.
pub fn forget(tls: &Tls) {
    tls.held.set(0);
}
