//! A trapped call that is none of ringer's is made by the program itself: the trap is left for one
//! `syscall` instruction in the gate, with all registers as the program has them, which then goes on
//! behind the program's own.
//!
//! So the trap's frame is gone by the time the call waits. A handler that interrupts it, or that the call
//! itself causes (kill(2) to oneself), has the program's context in its frame, as natively; the
//! kernel knows on which stack it was made; and what is below is not the shim's.
//!
//! ```text
//! trap       back = behind the program's `syscall`; the frame's rip = ringer_pass
//!            (a handler that comes between here and the jump saves `back` and puts it back)
//! gate       syscall; jump to `back`
//! signal     finds rip here -> its frame is told the program's: before the call, or to be
//!            restarted: at the program's `syscall`, which traps again; after it: behind
//! ```

use ringer_kernel::log::record::meets;

use crate::dispatch::Frame;
use crate::tls::Tls;
use crate::{gate, signal};

extern "C" {
    static ringer_pass: u8;
    static ringer_pass_end: u8;
}

/// Bytes of a `syscall` instruction.
const SYSCALL: u64 = 2;

/// The trap's frame is to be left for the call.
pub fn leave_for(tls: &Tls, frame: &mut Frame) {
    tls.back.set(frame.rip());
    tls.passing.set(frame.nr() as u32);
    frame.set_rip(&raw const ringer_pass as u64);
}

/// A signal has come: the frame is the program's, wherever in the gate it was pushed.
///
/// # Safety
///
/// `uc` is a live signal frame's, and its handler has just begun.
#[inline(always)]
pub unsafe fn show_program(tls: &Tls, uc: *mut libc::ucontext_t) {
    // SAFETY: the caller's.
    let rip = unsafe { signal::rip_of(uc) };
    // SAFETY: as above; the register is this thread's.
    let at = unsafe { *rip } as u64;
    let start = &raw const ringer_pass as u64;
    if !(start..&raw const ringer_pass_end as u64).contains(&at) {
        return;
    }
    let back = tls.back.get();
    let to = if at == start { back - SYSCALL } else { back };
    // SAFETY: as above.
    unsafe { *rip = to as i64 };
    // SAFETY: the caller's.
    let rcx = unsafe { signal::register_of(uc, libc::REG_RCX) };
    // The `syscall` instruction leaves its own end there.
    // SAFETY: as above; the register is this thread's.
    unsafe { *rcx = back as i64 };
}

/// Of a frame that is the program's: whether its signal comes upon a system call, as the log has it.
/// (One that ringer itself made for the program has no number here.)
///
/// # Safety
///
/// As [`show_program`].
pub unsafe fn interrupted(tls: &Tls, uc: *mut libc::ucontext_t) -> u64 {
    // SAFETY: the caller's.
    let rip = unsafe { signal::rip_of(uc) };
    // SAFETY: as above; the register is this thread's.
    let at = unsafe { *rip } as u64;
    // SAFETY: the caller's.
    let rax = unsafe { signal::register_of(uc, libc::REG_RAX) };
    // SAFETY: as above.
    let result = unsafe { *rax };
    if result == -i64::from(libc::EINTR) && is_syscall(at.wrapping_sub(SYSCALL)) {
        let known = at == tls.back.get();
        let nr = if known { tls.passing.get() } else { 0 };
        return meets::INTERRUPTED | u64::from(nr) << 8;
    }
    if (0..1024).contains(&result) && is_syscall(at) {
        return meets::TO_BE_MADE | (result as u64) << 8;
    }
    meets::NOTHING
}

/// Whether the program has a `syscall` instruction there.
fn is_syscall(at: u64) -> bool {
    let mut bytes = [0u8; SYSCALL as usize];
    gate::copy(bytes.as_mut_ptr(), at as *const u8, bytes.len()) && bytes == [0x0f, 0x05]
}
