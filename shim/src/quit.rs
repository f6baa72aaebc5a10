//! A process leaves the session and goes on, as without ringer: what it holds becomes the kernel's, its handlers
//! are its own again, and nothing traps any more. Two kinds of processes do:
//!
//! - one that installs a seccomp filter which forbids what ringer's own work needs: it would be killed
//!   for the return from a trap, say;
//! - one that is traced (ptrace(2)) by another one of the session: each trap would stop it. It lets itself be traced
//!   (PTRACE_TRACEME), or is found to be traced when it begins.
//!
//! ```text
//! trap    demote everything; the kernel gets what is pending, the true mask and the program's handlers;
//!         dispatch off
//! return  to the program's own `syscall` instruction, once more, which makes the call
//! ```

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::limits::PAGE_SIZE;
use ringer_kernel::file::{fd_table, FileRef};
use ringer_kernel::log::Cause;
use ringer_kernel::seccomp::{self, Instruction};
use ringer_kernel::task::proc_state;

use crate::call::{announce, mask, sysv};
use crate::dispatch::{self, Frame};
use crate::entry::{Entry, Verdict};
use crate::gate::sys;
use crate::hooks::has_threads;
use crate::pending::HELD;
use crate::signal::KSigaction;
use crate::tls::{tls, Tls};
use crate::{arm, attach, blocked, blockers, demotion, fresh, host, inbox, pending, signal};
use crate::{stubs, tracer, user};

const PTRACE_TRACEME: usize = 0;

/// Calls of ringer's own. A filter may refuse them with an error number, or kill the process; so either counts.
const NEEDED: [i64; 28] = [
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_rt_sigpending,
    libc::SYS_tgkill,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_poll,
    libc::SYS_splice,
];

/// prctl(2), seccomp(2) or ptrace(2), by trap.
pub fn by_trap(entry: &Entry, frame: &mut Frame) -> Verdict {
    let (nr, args) = (frame.nr(), frame.args());
    match reason(nr, args) {
        Some(cause) if may_leave(entry, cause) => {
            mask::settle_in(entry.tls, frame);
            leave(entry, cause);
            let mask = disarm(entry.tls, frame.mask());
            frame.set_mask(mask);
            Verdict::Restart
        }
        _ => dispatch::plain(entry, nr, args),
    }
}

/// The same calls by their functions: armed, they come by trap.
pub fn by_hook(nr: i64, args: [usize; 6]) {
    if arm::is_armed() || !attach::is_attached() || has_threads() || !is_memory_own() {
        return;
    }
    let Some(cause) = reason(nr, args) else {
        return;
    };
    let entry = Entry::enter();
    if arm::never() {
        leave(&entry, cause);
    }
    let _ = entry.leave();
}

/// A process that has just got its place leaves it again, if it is traced.
pub fn if_traced(entry: &Entry) {
    if !tracer::is_of_session() {
        return;
    }
    leave(entry, Cause::Traced);
    if arm::is_armed() {
        let mask = disarm(entry.tls, blocked::real(entry.tls));
        arm::set_mask(mask);
    }
    arm::never();
}

/// Why the process is to leave before this call.
fn reason(nr: i64, [a, b, c, ..]: [usize; 6]) -> Option<Cause> {
    const STRICT: usize = libc::SECCOMP_MODE_STRICT as usize;
    const FILTER: usize = libc::SECCOMP_MODE_FILTER as usize;
    let seccomp = |restricts: bool| restricts.then_some(Cause::Seccomp);
    match (nr, a) {
        (libc::SYS_ptrace, PTRACE_TRACEME) => Some(Cause::Traced),
        (libc::SYS_prctl, _) if a as i32 == libc::PR_SET_SECCOMP => match b {
            STRICT => seccomp(true),
            FILTER => seccomp(forbids(c)),
            _ => None,
        },
        (libc::SYS_seccomp, _) => match a as u32 {
            libc::SECCOMP_SET_MODE_STRICT => seccomp(true),
            libc::SECCOMP_SET_MODE_FILTER => seccomp(forbids(c)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the filter at `at`, a struct sock_fprog, forbids what is needed. One that can not be read is the kernel's to refuse.
fn forbids(at: usize) -> bool {
    const INSTRUCTION: usize = core::mem::size_of::<Instruction>();
    const PROGRAM: usize = core::mem::size_of::<[usize; 2]>();
    if !is_there(at, PROGRAM) {
        return false;
    }
    let Some([len, first]) = user::fetch::<[usize; 2]>(at) else {
        return false;
    };
    let len = len & usize::from(u16::MAX);
    let instruction = |i: usize| {
        let at = first.wrapping_add(i * INSTRUCTION);
        (i < len).then(|| user::fetch::<Instruction>(at))?
    };
    if len == 0 || len > seccomp::MOST || !is_there(first, len * INSTRUCTION) {
        return false;
    }
    let forbids = |nr: i64, first| !seccomp::lets_through(instruction, nr as u32, first);
    NEEDED.iter().any(|&nr| forbids(nr, 0))
        || forbids(libc::SYS_prctl, arm::PR_SET_SYSCALL_USER_DISPATCH as u32)
}

/// Whether all of that memory can be read. The kernel is asked, for a byte of each page: not armed, no handler of ringer's
/// would see a fault.
fn is_there(at: usize, len: usize) -> bool {
    let (me, mut byte) = (host::getpid(), 0u8);
    let to = [&raw mut byte as usize, 1];
    let mut pages = (at & !(PAGE_SIZE - 1)..at.saturating_add(len)).step_by(PAGE_SIZE);
    pages.all(|page| {
        let from = [page.max(at), 1];
        let (to, from) = (to.as_ptr(), from.as_ptr());
        let got = sys!(libc::SYS_process_vm_readv, me, to, 1, from, 1, 0);
        got != -(libc::EFAULT as isize)
    })
}

/// Not between vfork(2) and exec(2).
fn is_memory_own() -> bool {
    tls().in_vfork.get() == 0 && attach::pid().is_none_or(|pid| pid == host::getpid())
}

/// What the others have can not be taken away from several threads; and queues and System V objects are the session's
/// alone. (Who is traced will exec.)
fn may_leave(entry: &Entry, cause: Cause) -> bool {
    !has_threads()
        && is_memory_own()
        && (cause == Cause::Traced || !sysv::is_used() && !has_queue(entry))
}

fn has_queue(entry: &Entry) -> bool {
    let (Some(arena), Some(p)) = (attach::arena(), entry.process()) else {
        return false;
    };
    let mut found = false;
    fd_table::for_each(arena, p, 0, fd_table::MAX_FDS, |_, slot| {
        found |= matches!(FileRef::of(arena, slot), Some(FileRef::Mq(_)));
    });
    found
}

/// Everything goes to the kernel. The process's place keeps its references, as that of a program which ringer can not
/// reach does: until it is found dead.
fn leave(entry: &Entry, cause: Cause) {
    demotion::leave_to_kernel(entry, cause);
    fresh::forget_all();
    inbox::shut(entry.tls, true);
    if let Some(p) = entry.process() {
        announce::identify(p);
        p.state.store(proc_state::UNSHIMMED, Release);
    }
    if let Some(writer) = entry.tls.take_writer() {
        writer.retire();
    }
    attach::leave(entry.tls);
}

/// The kernel gets what is the program's: actions, what is pending, and its mask, which is to be put in force instead of
/// `mask`. Until then everything is blocked.
fn disarm(tls: &Tls, mask: u64) -> u64 {
    arm::block_all();
    if tls.take_note() & HELD != 0 {
        let (sig, info) = (tls.held.replace(0), tls.held_info.get());
        blocked::resend(sig, &raw const info, true);
    }
    let masked = tls.masked.get() & arm::FORCED;
    arm::disarm(tls);
    pending::block(arm::FORCED);
    // One for the thread, and one for the process.
    pending::send(tls, arm::FORCED);
    pending::send(tls, arm::FORCED);
    unwrap_actions();
    blockers::set_masked(tls, 0);
    blocked::forget(tls);
    mask | masked
}

/// The kernel gets the program's own actions back.
fn unwrap_actions() {
    for sig in 1..signal::NSIG {
        let mut now = KSigaction::default();
        signal::kernel_sigaction(sig, None, Some(&mut now));
        let is_ringers =
            arm::FORCED >> (sig - 1) & 1 != 0 || stubs::number_of(now.handler).is_some();
        if is_ringers {
            signal::kernel_sigaction(sig, Some(&signal::action(sig)), None);
        }
    }
}
