//! Signals, as far as they concern a process that is armed: the trampoline between the kernel and
//! the program's handlers, and what the program believes of its actions.
//!
//! ```text
//! a signal comes  -> the thread is outside the shim: its handler is called at once, on the
//!                    kernel's own frame
//!                 -> it is inside: the signal is noted, with everything else blocked until the
//!                    way out; there it is sent once more, with its own siginfo, and comes as
//!                    a real one
//! ```

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

use crate::arm::FORCED;
use crate::blockers;
use crate::call::truth;
use crate::entry::Delivered;
use crate::gate::{self, sys};
use crate::host;
use crate::pending::{self, FORCED_DUE, NOTED};
use crate::tls::{tls, Siginfo, Tls};

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
pub const SIG_DFL: usize = 0;
pub const SIG_IGN: usize = 1;
const NSIG: usize = 65;

/// One action as the program set it. Read by handlers, so without a lock: `version` is odd while
/// it is being changed.
struct Action {
    version: AtomicU64,
    handler: AtomicUsize,
    flags: AtomicU64,
    restorer: AtomicUsize,
    mask: AtomicU64,
}

static ACTIONS: [Action; NSIG] = [const {
    Action {
        version: AtomicU64::new(0),
        handler: AtomicUsize::new(0),
        flags: AtomicU64::new(0),
        restorer: AtomicUsize::new(0),
        mask: AtomicU64::new(0),
    }
}; NSIG];

impl Action {
    fn load(&self) -> KSigaction {
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

    fn store(&self, a: &KSigaction) {
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
fn behind_trampoline(a: &KSigaction) -> KSigaction {
    if a.handler == SIG_DFL || a.handler == SIG_IGN {
        return *a;
    }
    KSigaction {
        handler: trampoline as *const () as usize,
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
            || now.handler == trampoline as *const () as usize
        {
            continue;
        }
        set_action(sig, &now);
        if now.handler != SIG_DFL && now.handler != SIG_IGN {
            kernel_sigaction(sig, Some(&behind_trampoline(&now)), None);
        }
    }
}

pub fn set_action(sig: usize, a: &KSigaction) {
    if let Some(slot) = ACTIONS.get(sig) {
        slot.store(a);
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
    let ret = match new {
        None => kernel_sigaction(sig, None, Some(old)),
        Some(new) => {
            // Stored first: the trampoline may run as soon as the kernel knows it.
            if new.handler != SIG_DFL && new.handler != SIG_IGN {
                set_action(sig, new);
            }
            let ret = kernel_sigaction(sig, Some(&behind_trampoline(new)), Some(old));
            set_action(sig, if ret == 0 { new } else { &before });
            ret
        }
    };
    if ret == 0 && old.handler == trampoline as *const () as usize {
        // What the program set is what it reads back.
        *old = before;
    }
    ret
}

type Handler = extern "C" fn(i32, *mut Siginfo, *mut libc::ucontext_t);

/// The real handler of every signal that the program handles.
extern "C" fn trampoline(sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    let tls = tls();
    if tls.depth.get() > 0 {
        note(tls, sig, info, uc);
        return;
    }
    call_handler(tls, sig, info, uc);
}

/// Calls the program's handler, with dispatch on whatever it interrupted, and with its own view of
/// the forced signals, in its mask and in the frame's.
pub fn call_handler(tls: &Tls, sig: i32, info: *mut Siginfo, uc: *mut libc::ucontext_t) {
    let a = action(sig as usize);
    if a.handler == SIG_DFL || a.handler == SIG_IGN {
        return; // changed since the kernel chose us
    }
    if a.flags & SA_RESETHAND != 0 {
        set_action(
            sig as usize,
            &KSigaction {
                handler: SIG_DFL,
                ..a
            },
        );
    }
    let truth = truth::suspend(tls);
    // SAFETY: the kernel's frame.
    let mask = unsafe { uc_mask(uc) };
    // SAFETY: as above.
    let real = unsafe { *mask };
    // SAFETY: as above.
    unsafe { *mask = real & !FORCED | truth.after(tls) };
    let mut blocked = tls.masked.get() | a.mask & FORCED;
    if is_forced(sig as usize) && a.flags & SA_NODEFER == 0 {
        blocked |= pending::bit(sig);
    }
    if blocked != tls.masked.get() {
        blockers::set_masked(tls, blocked);
    }
    let selector = tls.selector.get();
    if tls.dispatched.get() != 0 && crate::arm::is_armed() {
        tls.selector.set(1);
    }
    // SAFETY: the program gave this address to sigaction(2) as a handler of this shape (one that
    // takes only the number ignores the rest).
    let handler = unsafe { core::mem::transmute::<usize, Handler>(a.handler) };
    handler(sig, info, uc);
    tls.selector.set(selector);
    // SAFETY: as above.
    let then = unsafe { *mask };
    // SAFETY: as above.
    unsafe { *mask = then & !FORCED | real & FORCED };
    if then & FORCED != tls.masked.get() {
        blockers::set_masked(tls, then & FORCED);
    }
    truth.resume(tls);
    pending::send_at_return(tls);
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
        kernel_sigaction(sig as usize, Some(&behind_trampoline(&a)), None);
    }
    let (pid, tid) = (host::getpid(), host::gettid());
    let ret = sys!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, &raw const info);
    if ret < 0 {
        // RLIMIT_SIGPENDING: without its siginfo rather than not at all.
        sys!(libc::SYS_tgkill, pid, tid, sig);
    }
    tls.note.set(tls.note.get() | NOTED);
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
    let restart = tls.restart.get() != 0;
    let noted = tls.note.replace(0);
    if noted & NOTED != 0 {
        crate::arm::set_mask(tls.saved_mask.get());
    }
    if noted & FORCED_DUE != 0 {
        pending::send_now(tls);
    }
    Delivered::Handler { restart }
}

/// On the way out of a trap: the noted signals are delivered when the trap's frame is left, where
/// the program made the call. Whether the call is to be made again.
pub fn deliver_at(tls: &Tls, uc: *mut libc::ucontext_t) -> bool {
    let restart = tls.restart.get() != 0;
    let noted = tls.note.replace(0);
    if noted & NOTED != 0 {
        // SAFETY: the trap's own frame, live until it returns.
        let mask = unsafe { uc_mask(uc) };
        // SAFETY: as above.
        unsafe { *mask = tls.saved_mask.get() };
    }
    if noted & FORCED_DUE != 0 {
        pending::send_at_return(tls);
    }
    restart
}

/// SIGPIPE for this thread, as the kernel sends it. (fs/pipe.c: `send_sig(SIGPIPE, current, 0)`)
pub fn send_sigpipe() {
    let (pid, tid) = (host::getpid(), host::gettid());
    let mut info: Siginfo = [0; 16];
    let uid = sys!(libc::SYS_getuid) as u32;
    // si_signo, si_errno | si_code (SI_USER), padding | si_pid, si_uid
    let [a, _, c, ..] = &mut info;
    *a = libc::SIGPIPE as u64;
    *c = u64::from(pid) | u64::from(uid) << 32;
    sys!(
        libc::SYS_rt_tgsigqueueinfo,
        pid,
        tid,
        libc::SIGPIPE,
        &raw const info
    );
}
