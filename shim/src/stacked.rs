//! Frames that the kernel has pushed on top of each other, before any of their handlers has begun.

use crate::arm::FORCED;
use crate::pending::bit;
use crate::signal::KSigaction;
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
        let Some(begin) = (unsafe { Begin::at(uc) }) else {
            break;
        };
        let (sig, a) = (begin.sig, begin.action());
        let own = if a.flags & signal::SA_NODEFER == 0 {
            bit(sig)
        } else {
            0
        };
        let unknown = if sig == libc::SIGSYS { !0 } else { FORCED };
        let masked = (a.mask | own) & unknown;
        uc = begin.frame;
        let frame = found.map_or(uc as usize, |found| found.frame);
        let masked = masked | found.map_or(0, |found| found.masked);
        found = Some(Below { masked, frame });
    }
    found
}

/// The lowest of those frames: it has interrupted something that has begun.
///
/// # Safety
///
/// As [`signal::uc_mask`].
#[inline(always)]
pub unsafe fn lowest(mut uc: *mut libc::ucontext_t) -> *mut libc::ucontext_t {
    for _ in 0..MOST {
        // SAFETY: the caller's; or a frame that the kernel has pushed before that one.
        match unsafe { Begin::at(uc) } {
            Some(begin) => uc = begin.frame,
            None => break,
        }
    }
    uc
}

/// A handler that begins where a frame was pushed.
struct Begin {
    sig: i32,
    /// `None`: a forced signal's.
    stub: Option<usize>,
    /// Its own frame: the ucontext.
    frame: *mut libc::ucontext_t,
}

impl Begin {
    /// # Safety
    ///
    /// As [`signal::uc_mask`].
    #[inline(always)]
    unsafe fn at(uc: *mut libc::ucontext_t) -> Option<Begin> {
        // SAFETY: the caller's.
        let rip = unsafe { signal::rip_of(uc) };
        // SAFETY: as above; the register is this thread's.
        let rip = unsafe { *rip } as usize;
        let stub = stubs::number_of(rip);
        // SAFETY: the caller's.
        if stub.is_none() && !unsafe { trap::is_forced_frame(rip, uc) } {
            return None;
        }
        // Its arguments are in place: number, siginfo and frame.
        // SAFETY: the caller's.
        let sig = unsafe { signal::register_of(uc, libc::REG_RDI) };
        // SAFETY: as above.
        let sig = unsafe { *sig } as i32;
        // SAFETY: as above.
        let frame = unsafe { signal::register_of(uc, libc::REG_RDX) };
        // SAFETY: as above.
        let frame = unsafe { *frame } as *mut libc::ucontext_t;
        Some(Begin { sig, stub, frame })
    }

    fn action(&self) -> KSigaction {
        self.stub.map_or_else(
            || signal::action(self.sig as usize),
            |stub| stubs::action(self.sig as usize, stub),
        )
    }
}
