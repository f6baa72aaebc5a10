//! Forced signals (SIGSYS, SIGSEGV, SIGBUS) that somebody *sent* while the program blocks them. The
//! kernel has handed them over, as they are in no real mask; so what is pending is kept here, each
//! with its siginfo, as Linux keeps it: one of a number for the thread, one for the process.
//!
//! Calls that look at pending signals or consume them are made while the kernel has them back: see
//! call/truth.rs.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use crate::arm::{self, FORCED};
use crate::blockers;
use crate::gate::sys;
use crate::host;
use crate::tls::{Siginfo, Tls};

const SIGNALS: [i32; 3] = [libc::SIGBUS, libc::SIGSEGV, libc::SIGSYS];

/// Bits of `Tls::note`: what is to be delivered on the way out of the shim.
pub const NOTED: u32 = 1;
/// In `Tls::note`: another thread ends the process, see siblings.rs.
pub const STOP: u32 = 4;
pub const FORCED_DUE: u32 = 2;
/// In `Tls::note`, besides NOTED: a signal is in `Tls::held`, see held.rs.
pub const HELD: u32 = 8;

pub const fn bit(sig: i32) -> u64 {
    1 << (sig - 1)
}

fn index(sig: i32) -> usize {
    match sig {
        libc::SIGBUS => 0,
        libc::SIGSEGV => 1,
        _ => 2,
    }
}

/// What was sent to the process. `state`: 0 nothing, 1 somebody is at it, 2 kept.
struct Slot {
    state: AtomicU32,
    info: [AtomicU64; 16],
}

static SHARED: [Slot; 3] = [const {
    Slot {
        state: AtomicU32::new(0),
        info: [const { AtomicU64::new(0) }; 16],
    }
}; 3];

/// Counts how often a signal was set to SIG_IGN: what was kept before is discarded.
static IGNORED: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// Nobody waits for anybody here: it may be that very thread, in a handler. Two at once are one.
impl Slot {
    fn put(&self, info: &Siginfo) {
        if self.state.compare_exchange(0, 1, SeqCst, Relaxed).is_ok() {
            for (to, from) in self.info.iter().zip(info) {
                to.store(*from, Relaxed);
            }
            self.state.store(2, SeqCst);
        }
    }

    fn take(&self) -> Option<Siginfo> {
        self.state.compare_exchange(2, 1, SeqCst, Relaxed).ok()?;
        let mut info: Siginfo = [0; 16];
        for (to, from) in info.iter_mut().zip(&self.info) {
            *to = from.load(Relaxed);
        }
        self.state.store(0, SeqCst);
        Some(info)
    }
}

fn shared() -> u64 {
    let mut bits = 0;
    for (slot, sig) in SHARED.iter().zip(SIGNALS) {
        if slot.state.load(SeqCst) == 2 {
            bits |= bit(sig);
        }
    }
    bits
}

/// What is kept for this thread alone.
fn own(tls: &Tls) -> u64 {
    let mut bits = tls.pending.get();
    if bits == 0 {
        return 0;
    }
    for ((kept, ignored), sig) in tls.kept.iter().zip(&IGNORED).zip(SIGNALS) {
        if bits & bit(sig) != 0 && kept.1.get() != ignored.load(Relaxed) {
            bits &= !bit(sig);
        }
    }
    tls.pending.set(bits);
    bits
}

/// What sigpending(2) of this thread has to say of the forced signals.
pub fn bits(tls: &Tls) -> u64 {
    own(tls) | process_wide(tls)
}

fn process_wide(tls: &Tls) -> u64 {
    // A vfork child is another process in its parent's memory.
    if tls.in_vfork.get() == 0 {
        shared()
    } else {
        0
    }
}

/// Kept, but no longer blocked.
pub fn due(tls: &Tls) -> u64 {
    bits(tls) & !tls.masked.get()
}

fn keep_own(tls: &Tls, sig: i32, info: &Siginfo) {
    if own(tls) & bit(sig) != 0 {
        return; // one is enough, and the first one stays
    }
    let i = index(sig);
    if let (Some(kept), Some(ignored)) = (tls.kept.get(i), IGNORED.get(i)) {
        kept.0.set(*info);
        kept.1.set(ignored.load(Relaxed));
        tls.pending.set(tls.pending.get() | bit(sig));
    }
}

fn take_own(tls: &Tls, sig: i32) -> Option<Siginfo> {
    if own(tls) & bit(sig) == 0 {
        return None;
    }
    tls.pending.set(tls.pending.get() & !bit(sig));
    tls.kept.get(index(sig)).map(|kept| kept.0.get())
}

fn take_shared(tls: &Tls, sig: i32) -> Option<Siginfo> {
    if tls.in_vfork.get() != 0 {
        return None;
    }
    SHARED.get(index(sig))?.take()
}

/// A sent signal that this thread blocks. What is for the process goes to a thread that does not
/// block it, or waits for it; `passed_on`: it comes from one that has looked already.
pub fn keep(tls: &Tls, sig: i32, info: &Siginfo, passed_on: bool) {
    if code_of(info) == libc::SI_TKILL || tls.in_vfork.get() != 0 {
        keep_own(tls, sig, info);
        return;
    }
    let Some(slot) = SHARED.get(index(sig)) else {
        return;
    };
    slot.put(info);
    if passed_on {
        return;
    }
    // After it is there: who unblocks it now, or begins to wait, finds it.
    if let Some(tid) = blockers::taker(tls, bit(sig)) {
        if let Some(info) = slot.take() {
            if !pass_on(tid, sig, &info) {
                slot.put(&info); // that thread has just ended
            }
        }
    }
}

/// A sent signal that came inside the shim: it is delivered on the way out.
pub fn note(tls: &Tls, sig: i32, info: &Siginfo, restart: bool) {
    keep_own(tls, sig, info);
    if tls.noted() == 0 {
        tls.restart.set(u32::from(restart));
    }
    tls.add_note(FORCED_DUE);
}

/// Everything in `which` that is kept is sent once more, to this thread, with its own siginfo. Of
/// two of one number, the thread's comes first, and the other one stays.
pub fn send(tls: &Tls, which: u64) {
    for sig in SIGNALS {
        if which & bit(sig) == 0 {
            continue;
        }
        if let Some(info) = take_own(tls, sig).or_else(|| take_shared(tls, sig)) {
            send_to_self(sig, &info);
        }
    }
}

fn send_to_self(sig: i32, info: &Siginfo) {
    let (pid, tid) = (host::getpid(), host::gettid());
    let info = core::ptr::from_ref(info);
    if sys!(libc::SYS_rt_tgsigqueueinfo, pid, tid, sig, info) < 0 {
        sys!(libc::SYS_tgkill, pid, tid, sig);
    }
}

/// What is no longer blocked is delivered when the frame is left whose handler this runs in.
pub fn send_at_return(tls: &Tls) {
    let due = due(tls);
    if due != 0 {
        block(due);
        send(tls, due);
    }
}

/// What is no longer blocked is delivered here and now.
#[cold]
pub fn send_now(tls: &Tls) {
    // Twice at most: for the thread, and for the process.
    for _ in 0..2 {
        let due = due(tls);
        if due != 0 {
            send(tls, due);
        }
    }
}

/// Blocks forced signals really. The mask before.
///
/// Until they are unblocked this thread must not make a system call outside the gate, nor touch
/// memory of the program's itself: the kernel kills a process for a forced signal that is blocked.
pub fn block(which: u64) -> u64 {
    arm::add_to_mask(which & FORCED)
}

pub fn unblock() {
    let which = FORCED;
    sys!(
        libc::SYS_rt_sigprocmask,
        crate::call::mask::SIG_UNBLOCK,
        &raw const which,
        0,
        8
    );
}

/// Set to SIG_IGN: whatever is pending is discarded, in all threads. [sigaction(2)]
pub fn discard(sig: i32) {
    let i = index(sig);
    if let Some(ignored) = IGNORED.get(i) {
        ignored.fetch_add(1, SeqCst);
    }
    if let Some(slot) = SHARED.get(i) {
        let _ = slot.take();
    }
}

/// A forked child inherits nothing that is pending.
pub fn forget(tls: &Tls) {
    tls.pending.set(0);
    tls.note.fetch_and(!FORCED_DUE, Relaxed);
    for slot in &SHARED {
        slot.state.store(0, Relaxed);
    }
}

/// si_errno of a signal that one thread passes on to another: what the kernel sends leaves it 0.
/// The second one has also the si_code, in its last byte, if it is one that only the kernel may use.
const PASSED_ON: u32 = 0x7269_6e67;
const PASSED_ON_KERNELS: u32 = 0x7267_6e00;
const CODE: u32 = 0xff;

/// si_code.
///
/// # Safety
///
/// `info` is a live siginfo's.
pub unsafe fn code_at(info: *const Siginfo) -> i32 {
    // SAFETY: the caller's.
    code_of(unsafe { &*info })
}

/// si_pid, of a signal that a process has sent.
///
/// # Safety
///
/// `info` is a live siginfo's.
pub unsafe fn sender_at(info: *const Siginfo) -> u32 {
    // SAFETY: the caller's.
    let [_, _, sender, ..] = unsafe { &*info };
    *sender as u32
}

/// The same siginfo, as the wrappers of libc tell it.
pub fn as_if_by_kill(mut info: Siginfo) -> Siginfo {
    if code_of(&info) == libc::SI_TKILL {
        let [_, word, ..] = &mut info;
        *word = *word & !0xffff_ffff | libc::SI_USER as u64;
    }
    info
}

fn code_of(info: &Siginfo) -> i32 {
    let [_, word, ..] = info;
    *word as i32
}

/// Sends it to another thread of this process. Whether that is there.
pub fn pass_on(tid: u32, sig: i32, info: &Siginfo) -> bool {
    let mut info = *info;
    let code = code_of(&info);
    let kernels = code >= 0;
    let [first, second, ..] = &mut info;
    let mark = if kernels {
        PASSED_ON_KERNELS | code as u32 & CODE
    } else {
        PASSED_ON
    };
    *first = *first & 0xffff_ffff | u64::from(mark) << 32;
    if kernels {
        *second = u64::from(libc::SI_QUEUE as u32);
    }
    let info = &raw const info;
    sys!(libc::SYS_rt_tgsigqueueinfo, host::getpid(), tid, sig, info) == 0
}

/// Undoes the mark, in the siginfo's first three words. Whether there was one.
pub fn restore(errno: &mut u32, code: &mut i32) -> bool {
    match *errno {
        PASSED_ON => {}
        kernels if kernels & !CODE == PASSED_ON_KERNELS => *code = (kernels & CODE) as i32,
        _ => return false,
    }
    *errno = 0;
    true
}

/// As [`restore`].
pub fn restore_info(info: &mut Siginfo) -> bool {
    let [first, second, ..] = info;
    let (mut errno, mut code) = ((*first >> 32) as u32, *second as i32);
    let marked = restore(&mut errno, &mut code);
    if marked {
        *first &= 0xffff_ffff;
        *second = u64::from(code as u32);
    }
    marked
}

/// On the way out of the shim.
pub fn stop_if_told(tls: &Tls) {
    if tls.noted() & STOP != 0 {
        crate::siblings::park();
    }
}
