//! Layer III: SIGSYS from Syscall User Dispatch, and the two faults that copies may meet.

use core::sync::atomic::{compiler_fence, Ordering::SeqCst};

use ringer_kernel::log::layer;
use ringer_kernel::task::Task;

use crate::call::{kernel_wait, mask, truth};
use crate::dispatch::{self, Frame};
use crate::entry::{Entry, Verdict};
use crate::gate::{self, sys};
use crate::pass;
use crate::pending;
use crate::signal::{
    self, KSigaction, SA_NODEFER, SA_ONSTACK, SA_RESTART, SA_RESTORER, SA_SIGINFO,
};
use crate::tls::{tls, Siginfo, Tls};
use crate::{blocked, edge, held, siblings, stacked};

/// si_code of a dispatched system call. (include/uapi/asm-generic/siginfo.h)
pub const SYS_USER_DISPATCH: i32 = 2;

/// Installs ringer's handlers of SIGSYS, SIGSEGV and SIGBUS; the program's become virtual.
pub fn install() {
    for sig in [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS] {
        let sig = sig as usize;
        let mut before = KSigaction::default();
        signal::kernel_sigaction(sig, None, Some(&mut before));
        signal::set_action(sig, &before);
        install_for(sig, &before);
    }
}

/// The real action of a forced signal, with the program's choices where they matter.
pub fn install_for(sig: usize, program: &KSigaction) {
    let handler = if sig == libc::SIGSYS as usize {
        edge::handler()
    } else {
        on_fault as *const () as usize
    };
    let has_handler = program.handler > signal::SIG_IGN;
    // On the stack where the program wants its own handler of this signal. A runtime whose threads
    // have small stacks (Go) asks for the alternate one for every signal, SIGSYS included; other
    // programs' alternate stacks have no room for more than their own handler.
    let mut flags = SA_SIGINFO | SA_RESTORER | SA_NODEFER;
    if has_handler {
        flags |= program.flags & (SA_ONSTACK | SA_RESTART);
    } else {
        flags |= SA_RESTART; // blocked or ignored, it interrupts nothing
    }
    let action = KSigaction {
        handler,
        flags,
        restorer: gate::ringer_restore_rt as *const () as usize,
        mask: if has_handler && sig != libc::SIGSYS as usize {
            program.mask & !crate::arm::FORCED
        } else {
            0
        },
    };
    signal::kernel_sigaction(sig, Some(&action), None);
}

/// si_code is the third int.
unsafe fn si_code(info: *const Siginfo) -> i32 {
    let third = info.cast::<i32>().wrapping_add(2);
    // SAFETY: the caller's: a live siginfo.
    unsafe { *third }
}

/// A SIGSYS that is no trap: somebody has sent it, or a filter of seccomp's.
pub extern "C" fn sent_sigsys(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    let tls = tls();
    if siblings::is_to_stop() {
        return siblings::obey(tls, uc);
    }
    // SAFETY: the kernel's frame.
    unsafe { pass::show_program(tls, uc) };
    // SAFETY: as above.
    unsafe { show_call(info, uc) };
    forward(sig, info, uc);
}

/// SECCOMP_RET_TRAP says where the call was made: that is where the program made it.
///
/// # Safety
///
/// A SIGSYS frame's, whose handler has just begun.
unsafe fn show_call(info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    const SYS_SECCOMP: i32 = 1;
    // SAFETY: the caller's.
    if unsafe { si_code(info) } != SYS_SECCOMP {
        return;
    }
    // SAFETY: the caller's.
    let rip = unsafe { signal::rip_of(uc) };
    // SAFETY: the caller's; the register is this thread's.
    let rip = unsafe { *rip } as u64;
    // SAFETY: the caller's.
    let [_, _, si_call_addr, ..] = unsafe { &mut *info };
    *si_call_addr = rip;
}

/// A trap, which counts in `depth` already.
pub extern "C" fn begun(uc: *mut libc::ucontext_t) {
    let tls = tls();
    // SAFETY: the kernel's frame; nobody else has it.
    let mut frame = unsafe { Frame::new(uc) };
    let outer = tls.depth.get() - 1;
    // Nested: a call of libc's from inside the shim (there should be none) goes to the kernel.
    if outer > 0 {
        // SAFETY: the arguments are the caller's own.
        let ret = unsafe { gate::syscall6(frame.nr(), frame.args()) };
        frame.set_ret(ret);
        tls.depth.set(outer);
        return;
    }
    serve(tls, &mut frame);
    // SAFETY: the kernel's frame.
    unsafe { end(uc) }
}

/// Leaves a trap; what is noted is delivered when its frame is left.
///
/// # Safety
///
/// `uc` is that of a live frame of this thread, a trap's, or one that a trap returns to; the trap counts in `depth`.
pub unsafe extern "C" fn end(uc: *mut libc::ucontext_t) -> ! {
    let tls = tls();
    // SAFETY: the caller's.
    let mut frame = unsafe { Frame::new(uc) };
    mask::keep_bounced(tls, &mut frame);
    if tls.noted() != 0 {
        signal::deliver_at(tls);
    }
    if tls.held.get() != 0 {
        held::deliver_upon(tls, uc);
    }
    // SAFETY: the caller's.
    unsafe { gate::trap_end(uc as usize) }
}

fn serve(tls: &'static Tls, frame: &mut Frame) {
    let entry = Entry::of_trap(tls);
    mask::keep_bounced(tls, frame);
    let edits = tls.edits.get();
    tls.layer.set(u32::from(layer::TRAP));
    let verdict = dispatch::call(&entry, frame);
    tls.layer.set(0);
    if let Some(task) = entry.task() {
        Task::count(if verdict == Verdict::Pass {
            &task.passed
        } else {
            &task.by_trap
        });
    }
    let noted = tls.noted() != 0;
    let restart = noted && signal::deliver_at(tls);
    match verdict {
        Verdict::Done(ret) => frame.set_ret(ret),
        Verdict::Restart if restart || !noted => frame.again(),
        Verdict::Restart => frame.set_ret(-(libc::EINTR as isize)),
        Verdict::Pass => pass_on(tls, frame, noted),
    }
    if tls.edits.get() != edits {
        // A handler that the call let in has set the mask from here on.
        blocked::forget(tls);
        frame.set_mask(blocked::real(tls));
    }
}

/// The call is the kernel's.
fn pass_on(tls: &Tls, frame: &mut Frame, noted: bool) {
    let hidden = crate::linger::stand_in();
    // One that has done its part, or waited on a file that is closed by now, can not be made again.
    let again = hidden.is_none() && frame.nr() != libc::SYS_exit_group;
    if noted && again {
        // The signal comes first, where the program made the call.
        frame.again();
        return;
    }
    mask::settle_in(tls, frame);
    let nr = frame.nr();
    let mut args = frame.args();
    if hidden.is_none() && !dispatch::has_after(nr, args) && truth::is_plain(tls, nr, args) {
        pass::leave_for(tls, frame);
        return;
    }
    if let (Some(hidden), [fd, ..]) = (hidden, &mut args) {
        *fd = hidden as usize; // only a read or write that waited has one
    }
    let made = outside(tls, again, || {
        let begun = dispatch::before(nr, args);
        let ret = truth::call(tls, nr, args);
        (ret, begun.map_or(0, kernel_wait::end))
    });
    let Some((ret, ticks)) = made else {
        frame.again();
        return;
    };
    frame.set_ret(ret);
    if hidden.is_some() {
        crate::linger::done_by_kernel();
    }
    dispatch::after(frame, nr, ret, ticks);
}

/// Makes a call outside the shim: it may block, and signals are to be handled meanwhile. `None`: one has come before it, and
/// the call is to be made again after that.
fn outside<R>(tls: &Tls, again: bool, call: impl FnOnce() -> R) -> Option<R> {
    let depth = tls.depth.replace(0);
    compiler_fence(SeqCst);
    let made = (tls.noted() == 0 || !again).then(call);
    compiler_fence(SeqCst);
    tls.depth.set(depth);
    made
}

/// Whether a frame with this rip has interrupted the beginning of a forced signal's handler, which is no trap.
///
/// # Safety
///
/// `uc` is that of a live signal frame.
#[inline(always)]
pub unsafe fn is_forced_frame(rip: usize, uc: *mut libc::ucontext_t) -> bool {
    // SAFETY: the caller's.
    rip == on_fault as *const () as usize || edge::is_entrance(rip) && !unsafe { is_trap(uc) }
}

/// Whether a SIGSYS is of a trap whose handler begins where this frame came.
///
/// # Safety
///
/// `uc` is that of a live signal frame that has interrupted the beginning of SIGSYS's handler.
pub unsafe fn is_trap(uc: *mut libc::ucontext_t) -> bool {
    // Its arguments are in place.
    // SAFETY: the caller's.
    let info = unsafe { signal::register_of(uc, libc::REG_RSI) };
    // SAFETY: as above.
    let info = unsafe { *info } as *const Siginfo;
    // SAFETY: the siginfo of the frame below.
    unsafe { si_code(info) == SYS_USER_DISPATCH }
}

extern "C" fn on_fault(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    // SAFETY: the kernel's frame.
    let rip = unsafe { signal::rip_of(uc) };
    // SAFETY: as above.
    if let Some(exit) = gate::fault_exit(unsafe { *rip } as usize) {
        // SAFETY: as above.
        unsafe { *rip = exit as i64 };
        return;
    }
    // SAFETY: as above.
    unsafe { pass::show_program(tls(), uc) };
    forward(sig, info, uc);
}

/// A forced signal that is the program's: a fault of its own, or sent by somebody.
fn forward(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    let tls = tls();
    let action = signal::action(sig as usize);
    // SAFETY: the kernel's frame.
    let mut kept = unsafe { *info };
    let passed_on = pending::restore_info(&mut kept);
    if passed_on {
        // SAFETY: as above.
        unsafe { *info = kept };
    }
    // SAFETY: as above.
    let sent = unsafe { si_code(info) } <= 0;
    // SAFETY: as above.
    let below = unsafe { stacked::below(uc) };
    // SAFETY: as above.
    let at_an_edge = unsafe { edge::is_met(tls, uc) };
    let masked = tls.masked.get();
    let in_force = below.map_or(masked, |below| below.in_force(masked, tls.left.get()));
    let blocked = in_force & pending::bit(sig) != 0;
    if sent && blocked {
        pending::keep(tls, sig, &kept, passed_on); // until it is unblocked; ignored or not
        return;
    }
    if action.handler == signal::SIG_IGN && sent {
        return;
    }
    if action.handler > signal::SIG_IGN && !blocked {
        if sent && (at_an_edge || tls.depth.get() > 0) {
            pending::note(tls, sig, &kept, action.flags & SA_RESTART != 0);
            // SAFETY: as above.
            unsafe { signal::end_wait(uc) };
            return;
        }
        signal::call_handler(tls, sig, info, uc, &action);
        return;
    }
    // Default, or a fault that is blocked or ignored: it kills, with the true status. A fault
    // comes again at the same instruction; a sent one is sent again.
    signal::kernel_sigaction(sig as usize, Some(&KSigaction::default()), None);
    if sent {
        let (pid, tid) = (crate::host::getpid(), crate::host::gettid());
        sys!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, info);
    }
}
