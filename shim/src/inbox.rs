//! The signals that others of the session have left in the arena for this process, which has one
//! thread and blocks them: see `ringer_kernel::signal`.
//!
//! It is open from the first call on that gains by it. Around each call in which the kernel decides about
//! pending signals (sigsuspend, ppoll, sigtimedwait ...) it is shut, and what is in it becomes
//! really pending (`hand_over`): so such a call goes as it always does. For good it is shut with the
//! first further thread.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::arena::header::flag;
use ringer_kernel::signal::{self, bit, Siginfo, State, Taken, SIGRTMIN};

use crate::entry::Entry;
use crate::gate::sys;
use crate::tls::Tls;
use crate::{adopt, arm, attach, blocked, call, frame, host, observe, procfs, signal as action};

mod phase {
    /// Not (yet).
    pub const SHUT: u32 = 0;
    pub const OPEN: u32 = 1;
    /// There are threads.
    pub const NEVER: u32 = 2;
}

/// This process's: a forked child begins with SHUT, whoever has forked it.
#[inline(always)]
fn phase() -> &'static AtomicU32 {
    &attach::local().inbox
}

/// Signals for which this process has ever made a signalfd: they are the kernel's.
static BY_KERNEL: AtomicU64 = AtomicU64::new(0);

/// Standard signals that were handed over and may be pending in the kernel still: another one of
/// them is to meet the first, so it is the kernel's.
static HANDED_OVER: AtomicU64 = AtomicU64::new(0);

/// Whether this program has looked for signalfds that it was started with.
static SCANNED: AtomicU32 = AtomicU32::new(0);

/// Ticks of the time-stamp counter. In less nobody can begin and end a kill(2): measured natively, it takes 1507 at least
/// of one that is pending already (2.6 GHz).
const MOMENT: u64 = 1000;

/// From SIGRTMIN on.
const REALTIME: u64 = !0x7fff_ffff;

/// Descriptors have come that nobody has looked at.
pub fn look_again() {
    SCANNED.store(0, Relaxed);
}

/// Blocked in the kernel, and of those that the kernel itself never sends: real-time signals,
/// SIGHUP, SIGUSR1, SIGUSR2, SIGTERM. (Others may be pending there, and two would be one.)
const NEVER_BY_KERNEL: u64 =
    REALTIME | bit(libc::SIGHUP) | bit(libc::SIGUSR1) | bit(libc::SIGUSR2) | bit(libc::SIGTERM);

#[inline(always)]
pub fn is_open(tls: &Tls) -> bool {
    phase().load(Relaxed) == phase::OPEN && tls.in_vfork.get() == 0
}

/// This process's place for pending signals.
#[inline(always)]
pub fn state(tls: &Tls) -> Option<&'static State> {
    attach::process(tls).map(|p| &p.signals)
}

/// A call was made that goes without the kernel once the inbox is open.
#[inline(always)]
pub fn gains(tls: &Tls) {
    if phase().load(Relaxed) == phase::SHUT && tls.in_vfork.get() == 0 {
        consider();
    }
}

#[cold]
fn consider() {
    if attach::has(flag::OBSERVE) {
        if attach::has(flag::LOG) {
            observe::begin(); // the handlers that the kernel calls are to be told
        }
        phase().store(phase::NEVER, Relaxed);
        return;
    }
    if !attach::emulates(flag::EMULATE_SIGNAL) || !attach::ensure_process() {
        return;
    }
    let entry = Entry::enter();
    if open(&entry).is_none() {
        phase().store(phase::NEVER, Relaxed);
    }
    let _ = entry.leave();
}

/// `None`: it can not be.
fn open(entry: &Entry) -> Option<()> {
    if !arm::arm(entry) {
        return None;
    }
    entry.owner()?;
    let (k, s, task) = (entry.ctx(-1)?, state(entry.tls)?, entry.task()?);
    if !task.surely_alive() || !is_only_thread() {
        return None; // nobody could tell that it is dead, or there are threads of an unknown kind
    }
    if SCANNED.swap(1, Relaxed) == 0 {
        // What an earlier program has left open.
        adopt::each_descriptor(|fd| {
            if let (false, Some(mask)) = (call::is_ours(fd), procfs::signalfd_mask(fd)) {
                BY_KERNEL.fetch_or(mask, Relaxed);
            }
        });
    }
    let uid = sys!(libc::SYS_getuid) as u32;
    signal::open(k.arena, k.me, k.host, s, entry.tls.task_slot.get(), uid);
    meet_earlier(entry.tls, s);
    phase().store(phase::OPEN, Relaxed);
    blocked::forget(entry.tls);
    publish(entry.tls);
    Some(())
}

/// What is pending in the kernel already goes before what is left here later, or is one with it.
fn meet_earlier(tls: &Tls, s: &State) {
    HANDED_OVER.fetch_or(kernel_pending() & !REALTIME, Relaxed);
    tls.sent_seen.set(s.sent.load(SeqCst).wrapping_sub(1));
}

fn kernel_pending() -> u64 {
    let mut pending = 0u64;
    sys!(libc::SYS_rt_sigpending, &raw mut pending, 8);
    pending
}

/// One of libc's threads there is; others are known to nobody.
fn is_only_thread() -> bool {
    crate::procfs::threads() == 1
}

/// What may be left here, as the mask is now.
#[inline(always)]
pub fn publish(tls: &Tls) {
    if !is_open(tls) {
        return;
    }
    if let Some(s) = state(tls) {
        let really = blocked::real(tls) & NEVER_BY_KERNEL;
        let blocked = really | tls.named.load(Relaxed);
        s.publish(blocked & !BY_KERNEL.load(Relaxed) & !handed_over());
    }
}

#[inline(always)]
fn handed_over() -> u64 {
    match HANDED_OVER.load(Relaxed) {
        0 => 0,
        set => still_pending(set),
    }
}

#[cold]
fn still_pending(set: u64) -> u64 {
    let pending = kernel_pending();
    HANDED_OVER.fetch_and(!set | pending, Relaxed);
    set & pending
}

/// Of what may be left here only this from now on.
#[inline(always)]
pub fn publish_only(tls: &Tls, set: u64) {
    if is_open(tls) {
        if let Some(s) = state(tls) {
            s.publish(s.taken.load(Relaxed) & set);
        }
    }
}

/// What may be left here, to be put back: see [`restore`].
#[inline(always)]
pub fn published(tls: &Tls) -> u64 {
    if is_open(tls) {
        state(tls).map_or(0, |s| s.taken.load(Relaxed))
    } else {
        0
    }
}

#[inline(always)]
pub fn restore(tls: &Tls, published: u64) {
    if is_open(tls) && published != 0 {
        if let Some(s) = state(tls) {
            s.publish(published & !handed_over());
        }
    }
}

/// A handler is about to be called, and may never return: what is due by then is the kernel's.
#[inline(always)]
pub fn flush(tls: &Tls) {
    let in_hand = tls.in_hand.replace(0);
    if in_hand != 0 {
        let info = tls.in_hand_info.get();
        blocked::resend(in_hand, &raw const info, tls.in_hand_private.get() != 0);
    }
    if is_open(tls) {
        if let Some(s) = state(tls) {
            let due = s.pending() & !s.taken.load(Relaxed);
            if due != 0 {
                send_all(tls, due);
            }
        }
    }
}

/// What is here, blocked or not.
#[inline(always)]
pub fn pending(tls: &Tls) -> u64 {
    if !is_open(tls) {
        return 0;
    }
    state(tls).map_or(0, State::pending)
}

/// What is here and no longer blocked. After a change of the mask that was published.
#[inline(always)]
pub fn due(tls: &Tls) -> u64 {
    match pending(tls) {
        0 => 0,
        pending => pending & !blocked::mask(tls),
    }
}

/// Takes the next of `set`.
pub fn take(tls: &Tls, set: u64) -> Option<Taken> {
    if pending(tls) & set == 0 {
        return None;
    }
    let entry = Entry::enter();
    let taken = match (entry.ctx(-1), state(tls)) {
        (Some(k), Some(s)) => signal::take(k.arena, k.me, k.host, s, set),
        _ => None,
    };
    if let Some(taken) = &taken {
        // A handler that comes from here on may never return.
        tls.in_hand_info.set(taken.info);
        tls.in_hand_private.set(u32::from(taken.private));
        tls.in_hand.set(taken.sig);
    }
    let _ = entry.leave();
    taken
}

/// What was taken is the caller's now. `false`: a handler came in between, and the kernel has it.
#[must_use]
pub fn is_in_hand(tls: &Tls) -> bool {
    tls.in_hand.replace(0) != 0
}

/// After a change of the mask by hook: what is due is delivered before the call returns.
#[inline(always)]
pub fn deliver(tls: &Tls) {
    if due(tls) != 0 {
        deliver_due(tls);
    }
}

#[cold]
fn deliver_due(tls: &Tls) {
    loop {
        let due = due(tls);
        if due == 0 {
            return;
        }
        if let Some(taken) = take(tls, due).filter(|_| is_in_hand(tls)) {
            frame::deliver_or_send(tls, &taken);
        }
    }
}

/// Inside a frame of the kernel's: what is due is sent by the kernel, and comes when the frame is
/// left. Until then it is blocked.
pub fn send_at_return(tls: &Tls, mask: u64) {
    let due = pending(tls) & !mask;
    if due == 0 {
        return drained(tls);
    }
    arm::add_to_mask(due);
    send_all(tls, due);
}

pub fn send_all(tls: &Tls, set: u64) {
    while let Some(taken) = take_inside(tls, set) {
        if taken.sig < SIGRTMIN {
            HANDED_OVER.fetch_or(bit(taken.sig), Relaxed);
        } else if let Some(s) = state(tls) {
            s.sent.fetch_add(1, SeqCst);
        }
        blocked::resend(taken.sig, &raw const taken.info, taken.private);
    }
    drained(tls);
}

fn drained(tls: &Tls) {
    if let Some(s) = state(tls) {
        s.draining.store(0, Release);
    }
}

/// What is here no longer blocked is on its way to the kernel: see `State::draining`. Before it is
/// published that it is not blocked.
pub fn will_drain(tls: &Tls) {
    if let Some(s) = state(tls) {
        s.draining.store(1, Relaxed);
    }
}

/// The kernel is to send a real-time signal: after those that the target is handing over. It is not waited
/// for long: it may be stopped, or have left by longjmp.
pub fn wait_while_draining(s: &State) {
    const ROUNDS: u32 = 2000;
    for _ in 0..ROUNDS {
        if s.draining.load(Acquire) == 0 {
            return;
        }
        sys!(libc::SYS_sched_yield);
    }
}

/// As [`take`], wherever the caller is; also when it is shut.
pub fn take_inside(tls: &Tls, set: u64) -> Option<Taken> {
    let s = state(tls)?;
    if s.pending() & set == 0 {
        return None;
    }
    let entry = Entry::enter();
    let taken = entry
        .ctx(-1)
        .and_then(|k| signal::take(k.arena, k.me, k.host, s, set));
    let _ = entry.leave();
    taken
}

/// Whether the kernel has signals of `set` for this process that may go before those here: real-time ones
/// that came earlier, or others, which are not left here, of a lower number.
#[inline(always)]
pub fn kernel_is_first(tls: &Tls, set: u64) -> bool {
    let left_here = state(tls).map_or(0, |s| s.taken.load(Relaxed));
    // A standard one of a number that is left here may have come from outside the session, too: then
    // the two are one.
    let twice = match set & pending(tls) & blocked::real(tls) & !REALTIME {
        0 => 0,
        here => here & !just_kept(tls),
    };
    if set & !left_here | twice != 0 && kernel_pending() & set != 0 {
        return true;
    }
    if set & REALTIME == 0 {
        return false;
    }
    let sent = state(tls).map_or(0, |s| s.sent.load(SeqCst));
    sent != tls.sent_seen.get() && kernel_has_older(tls, sent)
}

/// What this thread has left here itself within [`MOMENT`], when it was not here: if the kernel has one as well, it
/// may as well have come after this.
fn just_kept(tls: &Tls) -> u64 {
    let (which, since) = tls.just_kept.get();
    match host::tsc().wrapping_sub(since) < MOMENT {
        true => which,
        false => 0,
    }
}

#[cold]
fn kernel_has_older(tls: &Tls, sent: u32) -> bool {
    let pending = kernel_pending();
    if pending & REALTIME == 0 {
        tls.sent_seen.set(sent);
    }
    pending & REALTIME != 0
}

/// Shuts it for one call: whatever is in it becomes really pending, and what is blocked by name
/// is blocked really. Whether it was open: then [`reopen`] follows.
pub fn hand_over(tls: &Tls) -> bool {
    if !is_open(tls) {
        return false;
    }
    blocked::settle(tls);
    if let Some(s) = state(tls) {
        s.draining.store(1, Relaxed);
        signal::close(s);
        send_all(tls, !0);
    }
    true
}

pub fn reopen(tls: &Tls) {
    publish(tls);
}

/// There will be another thread, or another program: the kernel has everything from now on.
pub fn shut(tls: &Tls, for_good: bool) {
    hand_over(tls);
    let next = if for_good { phase::NEVER } else { phase::SHUT };
    if tls.in_vfork.get() == 0 {
        phase().store(next, Relaxed);
    }
}

/// In a forked child nothing is pending, and its place is its own.
pub fn forget_in_child() {
    phase().store(phase::SHUT, Relaxed);
    HANDED_OVER.store(0, Relaxed);
}

/// These are read through a signalfd, which is the kernel's.
pub fn leave_to_kernel(tls: &Tls, set: u64) {
    if is_by_kernel(set) {
        return;
    }
    BY_KERNEL.fetch_or(set, Relaxed);
    if hand_over(tls) {
        reopen(tls);
    }
}

pub fn is_by_kernel(set: u64) -> bool {
    set & !BY_KERNEL.load(Relaxed) == 0
}

/// The program ignores `sig` from now on: what is pending is discarded. [sigaction(2)]
pub fn discard(tls: &Tls, sig: i32) {
    while pending(tls) & bit(sig) != 0 && take_inside(tls, bit(sig)).is_some() {}
}

/// A signal of this process's own making, which it blocks. `None`: the kernel is to have it.
pub fn keep(tls: &Tls, sig: i32, private: bool, info: &Siginfo) -> Option<isize> {
    if !is_open(tls) {
        return None;
    }
    let s = state(tls)?;
    let entry = Entry::enter();
    let opened = s.opened.load(Relaxed);
    let is_first = s.pending() & bit(sig) == 0;
    let sent = crate::call::kill::leave_in(&entry, (s, opened), sig, private, info);
    let _ = entry.leave();
    if is_first && sent == Some(0) {
        tls.just_kept.set((bit(sig), host::tsc()));
    }
    sent
}

/// Whether a signal without a handler is one that nobody notices.
pub fn is_ignored(sig: i32) -> bool {
    let a = action::action(sig as usize);
    let by_default = matches!(
        sig,
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT
    );
    a.handler == action::SIG_IGN || a.handler == action::SIG_DFL && by_default
}

/// The state of the process with this number, for its sender, and [`State::opened`] before that was certain.
/// Only one that is sure to look.
pub fn of_other(pid: u32) -> Option<(&'static State, u32)> {
    known(pid).filter(|(s, _)| s.is_open())
}

/// As [`of_other`], also if it looks here no more, or not just now.
pub fn known(pid: u32) -> Option<(&'static State, u32)> {
    use ringer_kernel::task;
    static LAST: AtomicU32 = AtomicU32::new(0);
    let arena = attach::arena()?;
    let is_it = |slot: u32| {
        let p = task::process(arena, slot)?;
        let live = p.state.load(Acquire) == task::proc_state::LIVE;
        let near = !task::alive::is_foreign(&crate::host::Shim, &p.namespace);
        (live && p.pid.load(Relaxed) == pid && near).then_some(p)
    };
    let p = is_it(LAST.load(Relaxed)).or_else(|| {
        let (slot, _) = task::find_process(arena, &crate::host::Shim, pid)?;
        LAST.store(slot, Relaxed);
        is_it(slot)
    })?;
    let s = &p.signals;
    let opened = s.opened.load(SeqCst);
    let thread = task::task(arena, s.task.load(Relaxed))?;
    let alive = thread.surely_alive() && thread.pid.load(Relaxed) == pid;
    (alive && p.pid.load(Relaxed) == pid).then_some((s, opened))
}
