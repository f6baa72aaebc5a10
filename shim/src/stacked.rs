//! Frames that the kernel has pushed on top of each other, before any of their handlers has begun.

use crate::arm::FORCED;
use crate::pending::bit;
use crate::tls::Siginfo;
use crate::{signal, stubs, trap};

/// No more frames than there are signals.
const MOST: usize = 64;

/// The frames below one, whose handlers have not begun: the kernel pushes a frame for each signal that
/// is due, and the last runs first.
#[derive(Clone, Copy)]
pub struct Below {
    /// What those handlers block, as far as the kernel does not know: it is told nothing of what blocks
    /// a forced signal, nor of what SIGSYS blocks.
    masked: u64,
    /// The next one: its ucontext.
    frame: usize,
}

impl Below {
    /// What is blocked on top of these frames, besides what was (`masked`) before them. A handler that
    /// has returned there has set the mask.
    pub fn in_force(&self, masked: u64, (frame, left): (usize, u64)) -> u64 {
        if frame == self.frame {
            left
        } else {
            masked | self.masked
        }
    }

    /// What the next handler finds when one on top of it returns with the mask `then`.
    pub fn left_with(&self, then: u64) -> (usize, u64) {
        (self.frame, then & FORCED)
    }
}

/// What is below this frame. `None`: no other handler that has not begun.
///
/// # Safety
///
/// As [`signal::uc_mask`].
pub unsafe fn below(mut uc: *mut libc::ucontext_t) -> Option<Below> {
    let mut found: Option<Below> = None;
    for _ in 0..MOST {
        // SAFETY: the caller's; or a frame that the kernel has pushed before that one.
        let rip = unsafe { signal::rip_of(uc) };
        // SAFETY: as above; the register is this thread's.
        let rip = unsafe { *rip } as usize;
        // If a handler begins there, its arguments are in place: number, siginfo and frame.
        // SAFETY: as above.
        let info = unsafe { signal::register_of(uc, libc::REG_RSI) };
        // SAFETY: as above.
        let info = unsafe { *info } as *const Siginfo;
        // SAFETY: as above.
        let forced = || unsafe { trap::is_forced_frame(rip, info) };
        let stub = stubs::number_of(rip);
        if stub.is_none() && !forced() {
            break;
        }
        // SAFETY: as above.
        let sig = unsafe { signal::register_of(uc, libc::REG_RDI) };
        // SAFETY: as above.
        let sig = unsafe { *sig } as i32;
        let a = stub.map_or_else(
            || signal::action(sig as usize),
            |stub| stubs::action(sig as usize, stub),
        );
        let own = if a.flags & signal::SA_NODEFER == 0 {
            bit(sig)
        } else {
            0
        };
        let unknown = if sig == libc::SIGSYS { !0 } else { FORCED };
        let masked = (a.mask | own) & unknown;
        // SAFETY: as above.
        let next = unsafe { signal::register_of(uc, libc::REG_RDX) };
        // SAFETY: as above.
        uc = unsafe { *next } as *mut libc::ucontext_t;
        let frame = found.map_or(uc as usize, |found| found.frame);
        let masked = masked | found.map_or(0, |found| found.masked);
        found = Some(Below { masked, frame });
    }
    found
}

/// Runs the handler of this frame. Where it came a trap may just have begun: natively there would be nothing in between,
/// so if it leaves another mask, that is the one which the trap returns to.
///
/// # Safety
///
/// As [`signal::uc_mask`].
pub unsafe fn upon(uc: *mut libc::ucontext_t, handler: impl FnOnce()) {
    // SAFETY: the caller's.
    let trap = unsafe { trap_below(uc) };
    // SAFETY: as above.
    let mask = unsafe { signal::uc_mask(uc) };
    // SAFETY: as above.
    let before = unsafe { *mask };
    handler();
    // SAFETY: as above.
    let then = unsafe { *mask };
    if let Some(trap) = trap.filter(|_| then != before) {
        // SAFETY: the trap's frame, which the kernel has pushed before this one.
        let mask = unsafe { signal::uc_mask(trap) };
        // SAFETY: as above.
        unsafe { *mask = then };
    }
}

/// The frame of the trap whose beginning this one has interrupted.
///
/// # Safety
///
/// As [`signal::uc_mask`].
unsafe fn trap_below(uc: *mut libc::ucontext_t) -> Option<*mut libc::ucontext_t> {
    // SAFETY: the caller's.
    let rip = unsafe { signal::rip_of(uc) };
    // SAFETY: as above; the register is this thread's.
    let rip = unsafe { *rip } as usize;
    if !trap::is_entrance(rip) {
        return None;
    }
    // A handler begins there, so its arguments are in place.
    // SAFETY: as above.
    let info = unsafe { signal::register_of(uc, libc::REG_RSI) };
    // SAFETY: as above.
    let info = unsafe { *info } as *const Siginfo;
    // SAFETY: as above.
    let trap = unsafe { signal::register_of(uc, libc::REG_RDX) };
    // SAFETY: as above.
    let trap = unsafe { *trap } as *mut libc::ucontext_t;
    // SAFETY: that frame's own.
    let sent = unsafe { trap::is_forced_frame(rip, info) };
    (!sent).then_some(trap)
}
