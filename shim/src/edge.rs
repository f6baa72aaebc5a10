//! The two edges of a trap: the instructions before it counts as one ([`Tls::depth`](crate::tls::Tls)), and those behind its
//! last look for what has been noted.
//!
//! Natively there is nothing in between a system call and the program. So no handler of the program's runs there: it would
//! find ringer's context in its frame, and what it edits would be lost, since the trap's own frame decides how the program goes on.
//!
//! ```text
//! ringer_sigsys      nothing is done; a signal is noted, as inside, and the trap finds that
//!   depth + 1
//! ...                inside: noted
//! ringer_trap_end
//!   window           note | bounced = 0?     a signal that comes from here on
//!     depth - 1                              turns the trap back to `again`,
//!     rt_sigreturn                           and is noted
//! ringer_trap_again  trap::end once more, which puts what was noted into the trap's frame
//! ```

use core::arch::global_asm;
use core::mem::offset_of;

use crate::signal;
use crate::stacked;
use crate::tls::Tls;
use crate::trap;

// A handler's arguments are in rdi, rsi and rdx: number, siginfo and frame. si_code is the third int.
global_asm!(
    r#"
    .text
    .p2align 4
    .globl ringer_sigsys
    .hidden ringer_sigsys
    .type ringer_sigsys,@function
    .globl ringer_sigsys_counted
    .hidden ringer_sigsys_counted
ringer_sigsys:
    cmp dword ptr [rsi + 8], {dispatched}
    jne {sent}
    mov rax, qword ptr [rip + ringer_tls@GOTTPOFF]
    inc dword ptr fs:[rax + {depth}]
ringer_sigsys_counted:
    mov rdi, rdx
    jmp {begun}
"#,
    dispatched = const trap::SYS_USER_DISPATCH,
    depth = const offset_of!(Tls, depth),
    sent = sym trap::sent_sigsys,
    begun = sym trap::begun,
);

extern "C" {
    static ringer_sigsys: u8;
    static ringer_sigsys_counted: u8;
    static ringer_trap_window: u8;
    static ringer_trap_counted: u8;
    static ringer_trap_window_end: u8;
    static ringer_trap_again: u8;
}

/// The kernel's handler of SIGSYS.
pub fn handler() -> usize {
    &raw const ringer_sigsys as usize
}

/// Whether a handler of SIGSYS begins there: nothing has been done but to look which it is.
pub fn is_entrance(rip: usize) -> bool {
    (handler()..&raw const ringer_sigsys_counted as usize).contains(&rip)
}

/// Whether a signal is to be noted that has come at a trap's edge, on this frame or on others below it whose handlers
/// have not begun. An end is turned back, and counts as inside again.
///
/// # Safety
///
/// `uc` is a live signal frame's, whose handler has just begun.
#[inline(always)]
pub unsafe fn is_met(tls: &Tls, uc: *mut libc::ucontext_t) -> bool {
    // SAFETY: the caller's.
    let lowest = unsafe { stacked::lowest(uc) };
    // SAFETY: as above: it is a frame that the kernel has pushed before this one.
    let rip = unsafe { signal::rip_of(lowest) };
    // SAFETY: as above; the register is this thread's.
    let at = unsafe { *rip } as usize;
    let window = &raw const ringer_trap_window as usize..&raw const ringer_trap_window_end as usize;
    if window.contains(&at) {
        if at >= &raw const ringer_trap_counted as usize {
            tls.depth.set(tls.depth.get() + 1);
        }
        // SAFETY: as above.
        unsafe { *rip = &raw const ringer_trap_again as i64 };
    }
    // SAFETY: as above.
    is_entrance(at) && unsafe { trap::is_trap(lowest) }
}
