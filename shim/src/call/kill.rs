//! Sending: kill(2), tgkill(2), sigqueue(3), raise(3) and their like, as far as the kernel is not
//! needed. A signal to oneself that is not blocked has its handler called here and now; one to a
//! process of the session that blocks it is left in that process's inbox. Everything else goes by
//! the kernel.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ringer_kernel::signal::{self, bit, sigqueue::Sending, Sent, Siginfo, State};
use ringer_kernel::task;

use super::stop;
use crate::arm::FORCED;
use crate::attach;
use crate::entry::Entry;
use crate::gate::sys;
use crate::tls::{tls, Tls};
use crate::{blocked, frame, host, inbox, procfs, siglog, signal as action};

/// For whom a signal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    Thread,
    Process,
}

/// This process's real user, plus 1; 0: ask.
static UID: AtomicU64 = AtomicU64::new(0);
/// Its RLIMIT_SIGPENDING, plus 1; 0: ask.
static LIMIT: AtomicU32 = AtomicU32::new(0);

/// A call has been made that may change them.
pub fn forget_identity() {
    UID.store(0, Relaxed);
    LIMIT.store(0, Relaxed);
}

/// The process is about to become another user's: the kernel says from now on who may signal it.
pub fn change_user(tls: &Tls) {
    forget_identity();
    if let Some(s) = inbox::state(tls) {
        s.uid.store(u32::MAX, Relaxed);
    }
}

pub fn uid() -> u32 {
    match UID.load(Relaxed) {
        0 => {
            let uid = sys!(libc::SYS_getuid) as u32;
            UID.store(u64::from(uid) + 1, Relaxed);
            uid
        }
        known => (known - 1) as u32,
    }
}

fn limit() -> u32 {
    match LIMIT.load(Relaxed) {
        0 => {
            let mut limit = [u64::MAX; 2];
            let at = limit.as_mut_ptr();
            sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_SIGPENDING, 0, at);
            let [soft, _] = limit;
            let soft = soft.min(u64::from(signal::sigqueue::MOST)) as u32;
            LIMIT.store(soft + 1, Relaxed);
            soft
        }
        known => known - 1,
    }
}

/// Up to this RLIMIT_SIGPENDING, all that is pending for the user counts; above, each inbox alone.
const FEW: u32 = 1024;

/// How many signals there may be in this inbox. [setrlimit(2): RLIMIT_SIGPENDING is the user's]
fn room(s: &State) -> u32 {
    let limit = limit();
    if limit > FEW {
        return limit;
    }
    let others = pending_in_arena(Some(s)).saturating_add(procfs::pending_of_user());
    limit.saturating_sub(others)
}

/// Whether a real-time signal for that process is too many. (The kernel counts what it has itself, and
/// says who may not be sent any.)
fn is_over(pid: i32) -> bool {
    if limit() > FEW {
        return false;
    }
    let in_arena = pending_in_arena(None);
    in_arena > 0
        && in_arena.saturating_add(procfs::pending_of_user()) >= limit()
        && sys!(libc::SYS_kill, pid, 0) == 0
}

/// What is pending for the user in the session's inboxes but for this one.
#[cold]
fn pending_in_arena(but: Option<&State>) -> u32 {
    let user = uid();
    let Some(arena) = attach::arena() else {
        return 0;
    };
    let counts = task::live_processes(arena).filter_map(|p| {
        let s = &p.signals;
        let is_it = but.is_some_and(|but| core::ptr::eq(but, s));
        let counts = !is_it && s.uid.load(Relaxed) == user;
        let thread = task::task(arena, s.task.load(Relaxed)).filter(|_| counts)?;
        thread.surely_alive().then(|| s.count.load(Relaxed))
    });
    counts.sum()
}

/// siginfo_t of a signal that a process sends.
pub fn info(sig: i32, code: i32, pid: u32, value: u64) -> Siginfo {
    let mut info: Siginfo = [0; 16];
    let [signo, si_code, sender, si_value, ..] = &mut info;
    *signo = sig as u64;
    *si_code = u64::from(code as u32);
    *sender = u64::from(pid) | u64::from(uid()) << 32;
    *si_value = value;
    info
}

/// A signal to this thread or to this process. `None`: by the kernel.
#[inline(always)]
pub fn to_self(tls: &Tls, sig: i32, whom: For, code: i32, value: u64) -> Option<isize> {
    inbox::gains(tls);
    let armed = tls.is_armed() && tls.in_vfork.get() == 0;
    if !armed || !attach::emulates(ringer_kernel::arena::header::flag::EMULATE_SIGNAL) {
        return None;
    }
    if bit(sig) & !FORCED & !signal::state::NEVER == 0 {
        return None;
    }
    // With more threads, who gets it is the kernel's choice.
    if whom == For::Process && !inbox::is_open(tls) {
        return None;
    }
    let pid = attach::pid()?;
    let private = whom == For::Thread;
    if blocked::mask(tls) & bit(sig) != 0 {
        return inbox::keep(tls, sig, private, &info(sig, code, pid, value));
    }
    let a = action::action(sig as usize);
    // What is delivered at once needs room for its siginfo, too, but for what kill(2) sends.
    let has_room = code == libc::SI_USER || limit() > 0;
    if has_room && frame::is_simple(tls, sig, &a) {
        let mut info = info(sig, code, pid, value);
        let cause = siglog::at_once(sig, &info);
        frame::deliver(tls, sig, &mut info, &a, cause);
        inbox::deliver(tls);
        return Some(0);
    }
    None
}

/// A signal to another process of the session. `None`: by the kernel.
pub fn to_other(tls: &Tls, pid: i32, sig: i32, code: i32, value: u64) -> Option<isize> {
    let (s, opened) = inbox::of_other(pid as u32)?;
    if s.uid.load(Relaxed) != uid() || tls.in_vfork.get() != 0 {
        return None;
    }
    let info = info(sig, code, attach::pid()?, value);
    let entry = Entry::enter();
    let sent = leave_in(&entry, (s, opened), sig, false, &info);
    let _ = entry.leave();
    sent
}

/// Leaves a signal in an inbox, if that is still the one that was looked for. `None`: the kernel is to send it.
pub fn leave_in(
    entry: &Entry,
    (s, opened): (&State, u32),
    sig: i32,
    private: bool,
    info: &Siginfo,
) -> Option<isize> {
    let k = entry.ctx(-1)?;
    // Above the limit a standard signal goes without its siginfo, but for what kill(2) sends.
    // (Linux v6.18 kernel/signal.c __send_signal_locked: override_rlimit)
    let loses_it = sig < signal::SIGRTMIN && siglog::code(info) < 0;
    if loses_it && s.count.load(Relaxed) >= limit() {
        return None;
    }
    let id = siglog::new_id(&k);
    let (cause, tsc) = siglog::about_to_send(&k);
    let what = Sending {
        sig,
        private,
        info,
        id,
        cause,
        limit: room(s),
        opened,
    };
    let sent = signal::send(k.arena, k.me, k.host, s, &what);
    siglog::left(&k, s, &what, tsc, sent);
    match sent {
        Sent::Queued | Sent::Coalesced => Some(0),
        Sent::Full if sig >= signal::SIGRTMIN && siglog::code(info) != libc::SI_USER => {
            Some(-(libc::EAGAIN as isize))
        }
        Sent::Full => None,
        Sent::Kernel => None,
    }
}

/// kill(2). `None`: by the kernel.
pub fn kill(pid: i32, sig: i32) -> Option<isize> {
    let tls = tls();
    if pid <= 0 || bit(sig) == 0 || !attach::is_attached() {
        return None;
    }
    if attach::pid() == Some(pid as u32) {
        return to_self(tls, sig, For::Process, libc::SI_USER, 0);
    }
    to_other(tls, pid, sig, libc::SI_USER, 0)
}

/// sigqueue(3).
pub fn sigqueue(pid: i32, sig: i32, value: u64) -> Option<isize> {
    let tls = tls();
    if pid <= 0 || bit(sig) == 0 || !attach::is_attached() {
        return None;
    }
    if attach::pid() == Some(pid as u32) {
        return to_self(tls, sig, For::Process, libc::SI_QUEUE, value);
    }
    to_other(tls, pid, sig, libc::SI_QUEUE, value)
}

/// The kernel sends it: to a process of the session that is known, so that what it leaves in the
/// arena later does not overtake it.
pub fn kernel_sends(pid: i32, sig: i32) {
    if pid > 0 && sig >= signal::SIGRTMIN {
        if let Some((s, _)) = inbox::known(pid as u32) {
            inbox::wait_while_draining(s);
            s.sent.fetch_add(1, SeqCst);
        }
    }
}

/// kill(2) by the kernel.
pub fn real_kill(pid: i32, sig: i32) -> isize {
    kernel_sends(pid, sig);
    let record = siglog::kernel_sends(pid, sig, libc::SI_USER);
    let ret = stop::around(pid, sig, || sys!(libc::SYS_kill, pid, sig));
    siglog::kernel_sent(record, ret);
    ret
}

/// tgkill(2) of this thread, by the kernel.
pub fn real_raise(sig: i32) -> isize {
    let (pid, tid) = (host::getpid(), host::gettid());
    let record = siglog::kernel_sends(pid as i32, sig, libc::SI_TKILL);
    let send = || sys!(libc::SYS_tgkill, pid, tid, sig);
    let ret = stop::around(pid as i32, sig, send);
    siglog::kernel_sent(record, ret);
    ret
}

/// rt_sigqueueinfo(2), by the kernel.
pub fn real_sigqueue(pid: i32, sig: i32, value: u64) -> isize {
    if sig >= signal::SIGRTMIN && tls().is_armed() && is_over(pid) {
        return -(libc::EAGAIN as isize);
    }
    kernel_sends(pid, sig);
    let info = info(sig, libc::SI_QUEUE, host::getpid(), value);
    let record = siglog::kernel_sends(pid, sig, libc::SI_QUEUE);
    let send = || sys!(libc::SYS_rt_sigqueueinfo, pid, sig, &raw const info);
    let ret = stop::around(pid, sig, send);
    siglog::kernel_sent(record, ret);
    ret
}

/// SIGPIPE for this thread, as the kernel sends it. (fs/pipe.c: `send_sig(SIGPIPE, current, 0)`)
pub fn sigpipe() {
    let (pid, tid) = (host::getpid(), host::gettid());
    let info = info(libc::SIGPIPE, libc::SI_USER, pid, 0);
    let at = &raw const info;
    sys!(libc::SYS_rt_tgsigqueueinfo, pid, tid, libc::SIGPIPE, at);
}
