//! Signals, as far as they concern a process that is armed: the trampoline between the kernel and
//! the program's handlers, and what the program believes of its actions.
//!
//! ```text
//! a signal comes  -> the thread is outside the shim: its handler is called at once, on the
//!                    kernel's own frame
//!                 -> it is inside: the signal is noted, with everything else blocked until the
//!                    way out; there it is sent once more, with its own siginfo, and comes as
//!                    a real one (a real-time one keeps its turn: see held.rs)
//! ```

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

use crate::arm::FORCED;
use crate::blockers;
use crate::call::truth;
use crate::entry::Delivered;
use crate::gate::{self, sys};
use crate::pass;
use crate::pending::{self, bit, FORCED_DUE, NOTED};
use crate::tls::{tls, Siginfo, Tls};
use crate::{blocked, chosen, edge, held, inbox, siglog, stacked, stubs};

/// `struct kernel_sigaction` of the system call.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct KSigaction {
    pub handler: usize,
    pub flags: u64,
    pub restorer: usize,
    pub mask: u64,
}

pub const SA_RESTORER: u64 = 0x0400_0000;
pub const SA_ONSTACK: u64 = 0x0800_0000;
pub const SA_RESTART: u64 = 0x1000_0000;
pub const SA_NODEFER: u64 = 0x4000_0000;
pub const SA_RESETHAND: u64 = 0x8000_0000;
pub const SA_SIGINFO: u64 = 4;
/// SIGKILL and SIGSTOP: never in a mask. [sigprocmask(2)]
pub const UNBLOCKABLE: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
pub const SIG_DFL: usize = 0;
pub const SIG_IGN: usize = 1;
pub const NSIG: usize = 65;

/// One action as the program set it. Read by handlers, so without a lock: `version` is odd while
/// it is being changed.
pub struct Action {
    version: AtomicU64,
    handler: AtomicUsize,
    flags: AtomicU64,
    restorer: AtomicUsize,
    mask: AtomicU64,
}

static ACTIONS: [Action; NSIG] = [const { Action::none() }; NSIG];

impl Action {
    pub const fn none() -> Action {
        Action {
            version: AtomicU64::new(0),
            handler: AtomicUsize::new(0),
            flags: AtomicU64::new(0),
            restorer: AtomicUsize::new(0),
            mask: AtomicU64::new(0),
        }
    }

    pub fn load(&self) -> KSigaction {
        loop {
            let version = self.version.load(Acquire);
            let action = KSigaction {
                handler: self.handler.load(Relaxed),
                flags: self.flags.load(Relaxed),
                restorer: self.restorer.load(Relaxed),
                mask: self.mask.load(Relaxed),
            };
            core::sync::atomic::fence(Acquire);
            if version & 1 == 0 && self.version.load(Relaxed) == version {
                return action;
            }
            core::hint::spin_loop();
        }
    }

    pub fn store(&self, a: &KSigaction) {
        self.version.fetch_add(1, AcqRel);
        self.handler.store(a.handler, Relaxed);
        self.flags.store(a.flags, Relaxed);
        self.restorer.store(a.restorer, Relaxed);
        self.mask.store(a.mask, Relaxed);
        self.version.fetch_add(1, Release);
    }
}

/// The program's action for `sig`, as it set it.
pub fn action(sig: usize) -> KSigaction {
    ACTIONS
        .get(sig)
        .map_or_else(KSigaction::default, Action::load)
}

fn is_forced(sig: usize) -> bool {
    (1..NSIG).contains(&sig) && FORCED & (1 << (sig - 1)) != 0
}

pub fn kernel_sigaction(
    sig: usize,
    new: Option<&KSigaction>,
    old: Option<&mut KSigaction>,
) -> isize {
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    let old = old.map_or(core::ptr::null_mut(), core::ptr::from_mut);
    sys!(libc::SYS_rt_sigaction, sig, new, old, 8)
}

/// The action that the kernel gets for the program's: handlers become the trampoline.
fn behind_trampoline(sig: usize, a: &KSigaction) -> KSigaction {
    if a.handler == SIG_DFL || a.handler == SIG_IGN {
        return *a;
    }
    KSigaction {
        handler: stubs::entrance(sig, a),
        flags: a.flags | SA_SIGINFO | SA_RESTORER,
        restorer: gate::ringer_restore_rt as *const () as usize,
        mask: a.mask & !FORCED,
    }
}

/// Puts every handler that was installed before arming behind the trampoline.
pub fn wrap_all() {
    for sig in 1..NSIG {
        if is_forced(sig) {
            continue;
        }
        let mut now = KSigaction::default();
        if kernel_sigaction(sig, None, Some(&mut now)) < 0
            || stubs::number_of(now.handler).is_some()
        {
            continue;
        }
        set_action(sig, &now);
        if now.handler != SIG_DFL && now.handler != SIG_IGN {
            kernel_sigaction(sig, Some(&behind_trampoline(sig, &now)), None);
        }
    }
}

pub fn set_action(sig: usize, a: &KSigaction) {
    if let Some(slot) = ACTIONS.get(sig) {
        slot.store(a);
    }
    blocked::set_caught(sig, a.handler > SIG_IGN);
}

/// SA_RESETHAND: the kernel has reset the action with the signal that is sent once more.
pub fn reinstall(sig: usize) {
    let a = action(sig);
    if a.flags & SA_RESETHAND != 0 && a.handler > SIG_IGN {
        kernel_sigaction(sig, Some(&behind_trampoline(sig, &a)), None);
    }
}

/// What the kernel keeps of an action. (Linux v6.18 kernel/signal.c do_sigaction; UAPI_SA_FLAGS)
fn as_kept(a: &KSigaction) -> KSigaction {
    const SA_NOCLDSTOP: u64 = 1;
    const SA_NOCLDWAIT: u64 = 2;
    const SA_EXPOSE_TAGBITS: u64 = 0x800;
    const KNOWN: u64 = SA_NOCLDSTOP
        | SA_NOCLDWAIT
        | SA_SIGINFO
        | SA_EXPOSE_TAGBITS
        | SA_RESTORER
        | SA_ONSTACK
        | SA_RESTART
        | SA_NODEFER
        | SA_RESETHAND;
    KSigaction {
        flags: a.flags & KNOWN,
        mask: a.mask & !UNBLOCKABLE,
        ..*a
    }
}

/// rt_sigaction(2) of an armed process. `new` and `old` are ringer's own copies.
pub fn rt_sigaction(sig: usize, new: Option<&KSigaction>, old: &mut KSigaction) -> isize {
    if is_forced(sig) {
        *old = action(sig);
        if let Some(new) = new {
            set_action(sig, new);
            crate::trap::install_for(sig, new);
            if new.handler == SIG_IGN {
                pending::discard(sig as i32);
            }
        }
        return 0;
    }
    let before = action(sig);
    let new = new.map(as_kept);
    let new = new.as_ref();
    if new.is_some_and(|a| a.handler <= SIG_IGN) {
        // Without a handler nobody would send it back.
        blocked::settle(tls());
    }
    let ret = match new {
        None => kernel_sigaction(sig, None, Some(old)),
        Some(new) => {
            // Stored first: the trampoline may run as soon as the kernel knows it.
            if new.handler != SIG_DFL && new.handler != SIG_IGN {
                set_action(sig, new);
            }
            let ret = kernel_sigaction(sig, Some(&behind_trampoline(sig, new)), Some(old));
            set_action(sig, if ret == 0 { new } else { &before });
            if ret == 0 {
                siglog::action(sig, new.handler, new.flags);
                if inbox::is_ignored(sig as i32) {
                    inbox::discard(tls(), sig as i32);
                }
            }
            ret
        }
    };
    if ret == 0 && stubs::number_of(old.handler).is_some() {
        // What the program set is what it reads back.
        *old = before;
    }
    ret
}

type Handler = extern "C" fn(i32, *mut Siginfo, *mut libc::ucontext_t);

/// The real handler of every signal that the program handles, by the stub with this number.
pub extern "C" fn trampoline(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t, stub: usize) {
    let tls = tls();
    // SAFETY: the kernel's frame.
    pending::restore_info(unsafe { &mut *info });
    // SAFETY: the kernel's frame.
    unsafe { pass::show_program(tls, uc) };
    // SAFETY: as above.
    let below = unsafe { stacked::below(uc) };
    if below.is_some_and(|below| below.in_force(0, tls.left.get()) & bit(sig) != 0) {
        blocked::defer(sig, info, uc);
        return;
    }
    // SAFETY: as above.
    if unsafe { chosen::is_given_to_main(tls, sig, info, uc) } {
        return;
    }
    // SAFETY: as above.
    let at_an_edge = unsafe { edge::is_met(tls, uc) };
    if blocked::bounce(tls, sig, info, uc) {
        return;
    }
    if at_an_edge || tls.depth.get() > 0 {
        note(tls, sig, info, uc);
        return;
    }
    let a = stubs::action(sig as usize, stub);
    call_handler(tls, sig, info, uc, &a);
}

/// Calls the program's handler, that of `a`, with dispatch on whatever it interrupted, and with its own view of
/// the forced signals, in its mask and in the frame's.
pub fn call_handler(
    tls: &Tls,
    sig: i32,
    info: *mut Siginfo,
    uc: *mut libc::ucontext_t,
    a: &KSigaction,
) {
    if a.handler == SIG_DFL || a.handler == SIG_IGN {
        return;
    }
    // (A handler on top of this frame may have set another action.)
    if a.flags & SA_RESETHAND != 0 && action(sig as usize) == *a {
        let reset = KSigaction {
            handler: SIG_DFL,
            ..*a
        };
        set_action(sig as usize, &reset);
    }
    let truth = truth::suspend(tls);
    // SAFETY: the kernel's frame.
    let mask = unsafe { uc_mask(uc) };
    // SAFETY: as above.
    let real = unsafe { *mask };
    inbox::flush(tls);
    let before = Before::of(tls);
    // SAFETY: as above.
    let below = unsafe { stacked::below(uc) };
    let (masked, left) = (tls.masked.get(), tls.left.replace((0, 0)));
    let in_force = below.map(|below| below.in_force(masked, left) & FORCED);
    let forced = in_force.unwrap_or_else(|| truth.after(tls));
    let shown = real & !FORCED | before.named | forced;
    // SAFETY: as above.
    unsafe { *mask = shown };
    blocked::forget(tls); // the kernel has blocked more for the handler
    let mut blocked = in_force.unwrap_or(masked) | a.mask & FORCED;
    if is_forced(sig as usize) && a.flags & SA_NODEFER == 0 {
        blocked |= pending::bit(sig);
    }
    let (top, left) = left;
    if top == uc as usize {
        blocked = left; // one on top of it has set the mask
    }
    if blocked != tls.masked.get() {
        blockers::set_masked(tls, blocked);
    }
    if sig == libc::SIGSYS {
        // The kernel has not: it would block them for our traps as well.
        crate::arm::add_to_mask(a.mask & !FORCED);
    }
    let (selector, back) = (tls.selector.get(), tls.back.get());
    if tls.dispatched.get() != 0 && crate::arm::is_armed() {
        tls.selector.set(1);
    }
    // SAFETY: the program gave this address to sigaction(2) as a handler of this shape (one that
    // takes only the number ignores the rest).
    let handler = unsafe { core::mem::transmute::<usize, Handler>(a.handler) };
    // SAFETY: the kernel's siginfo, live as the frame is.
    let info_now = unsafe { &*info };
    // SAFETY: the kernel's frame.
    let upon = || unsafe { pass::interrupted(tls, uc) };
    let record = siglog::handler_upon(tls, sig, info_now, (a.handler, 0), upon);
    handler(sig, info, uc);
    if tls.dispatched.get() != 0 {
        tls.selector.set(selector);
    }
    tls.back.set(back);
    // SAFETY: as above.
    let then = unsafe { *mask };
    siglog::returned(tls, sig, record, then);
    let real = before.again(tls, shown, then) | real & FORCED;
    // SAFETY: as above.
    unsafe { *mask = real };
    let forced = match below {
        Some(below) => {
            tls.left.set(below.left_with(then));
            masked // from before them all
        }
        None => then & FORCED,
    };
    if forced != tls.masked.get() {
        blockers::set_masked(tls, forced);
    }
    truth.resume(tls, below.is_some());
    pending::send_at_return(tls);
    inbox::send_at_return(tls, then);
}

/// What a thread knew of its mask where a frame of the kernel's came, to be put back when the frame
/// is left. Nothing is worked out anew then: a frame may come while another one is being left.
struct Before {
    named: u64,
    real: u64,
    real_known: u32,
    published: u64,
}

impl Before {
    fn of(tls: &Tls) -> Before {
        Before {
            named: tls.named.load(Relaxed),
            real: tls.real.load(Relaxed),
            real_known: tls.real_known.get(),
            published: inbox::published(tls),
        }
    }

    /// The frame is left; the program was `shown` one mask and wants `then`. What the kernel's is
    /// to be.
    fn again(self, tls: &Tls, shown: u64, then: u64) -> u64 {
        let named = self.named & then;
        tls.named.store(named, Relaxed);
        let real = then & !FORCED & !named;
        if then == shown {
            tls.real.store(self.real, Relaxed);
            tls.real_known.set(self.real_known);
            inbox::restore(tls, self.published);
        } else {
            return_to(tls, then);
        }
        real
    }
}

/// A frame of the kernel's is left with a mask that the program has set itself.
pub fn return_to(tls: &Tls, then: u64) {
    tls.edits.set(tls.edits.get().wrapping_add(1));
    blocked::forget(tls); // it is in force only when the frame is left
    inbox::publish_only(tls, then);
}

/// Keeps the signal for the way out, and everything else away until then: it is sent to this
/// thread once more, with its own siginfo, while all is blocked.
///
/// Several frames may have been pushed at once; then this runs for each, the first signal last.
/// So the last word has the one that Linux, too, lets decide about restarting, and whose frame
/// has the mask from before.
fn note(tls: &Tls, sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    crate::arm::block_all();
    let a = action(sig as usize);
    // SAFETY: the kernel's frame: info and uc are valid while this handler runs.
    let info = unsafe { *info };
    // SAFETY: as above.
    let mask = unsafe { uc_mask(uc) };
    // SAFETY: as above.
    let before = unsafe { mask.replace(!FORCED) };
    tls.saved_mask.set(before & !FORCED);
    tls.restart.set(u32::from(a.flags & SA_RESTART != 0));
    if a.flags & SA_RESETHAND != 0 {
        // The kernel has just reset it; it must still be there when the signal comes again.
        kernel_sigaction(
            sig as usize,
            Some(&behind_trampoline(sig as usize, &a)),
            None,
        );
    }
    if !held::keep(tls, sig, &info, &a) {
        blocked::resend(sig, &raw const info, true);
    }
    tls.add_note(NOTED);
    // SAFETY: as above.
    unsafe { end_wait(uc) };
}

/// Ends the futex wait that the signal of this frame came in.
///
/// # Safety
///
/// As [`uc_mask`].
pub unsafe fn end_wait(uc: *mut libc::ucontext_t) {
    // SAFETY: the caller's.
    let rip = unsafe { rip_of(uc) };
    // SAFETY: as above; the register is this thread's.
    let at = unsafe { *rip };
    if let Some(exit) = gate::leave_window(at as usize) {
        // SAFETY: as above.
        unsafe { *rip = exit as i64 };
    }
}

/// The signal mask in a frame: the kernel's are 8 bytes.
///
/// # Safety
///
/// `uc` is a live signal frame's.
pub unsafe fn uc_mask(uc: *mut libc::ucontext_t) -> *mut u64 {
    // SAFETY: the caller's.
    unsafe { (&raw mut (*uc).uc_sigmask).cast() }
}

/// # Safety
///
/// As [`uc_mask`].
pub unsafe fn rip_of(uc: *mut libc::ucontext_t) -> *mut i64 {
    // SAFETY: the caller's.
    unsafe { register_of(uc, libc::REG_RIP) }
}

/// # Safety
///
/// As [`uc_mask`]; `register` is one of libc's REG_ constants.
pub unsafe fn register_of(uc: *mut libc::ucontext_t, register: i32) -> *mut i64 {
    // SAFETY: the caller's.
    let all = unsafe { &raw mut (*uc).uc_mcontext.gregs };
    all.cast::<i64>().wrapping_add(register as usize)
}

/// On the way out of the shim: the noted signals are delivered here and now.
#[cold]
pub fn deliver_noted(tls: &Tls) -> Delivered {
    pending::stop_if_told(tls);
    let restart = tls.restart.get() != 0;
    let noted = tls.take_note();
    if noted & NOTED != 0 {
        held::deliver(tls, tls.saved_mask.get());
    }
    if noted & FORCED_DUE != 0 {
        pending::send_now(tls);
    }
    Delivered::Handler { restart }
}

/// On the way out of a trap: the noted signals are delivered when the trap's frame is left, where
/// the program made the call, with the frame's mask. Whether the call is to be made again.
pub fn deliver_at(tls: &Tls) -> bool {
    pending::stop_if_told(tls);
    let restart = tls.restart.get() != 0;
    if tls.take_note() & FORCED_DUE != 0 {
        pending::send_at_return(tls);
    }
    restart
}
