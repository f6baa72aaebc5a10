//! Which thread a signal for the process is for.
//!
//! The kernel tells the main thread to take it, if that does not block it; but whichever thread looks first at what is
//! pending takes it. (Linux v6.18 kernel/signal.c complete_signal, wants_signal) Natively a thread that nobody has told does not
//! look. A trap makes it look: the kernel, having delivered SIGSYS, looks for more. So what is for the process, and comes where a
//! trap has just begun, is handed to the main thread, with its siginfo, if the kernel would have preferred that.

use crate::pending::{self, bit};
use crate::signal::{reinstall, rip_of};
use crate::tls::{Siginfo, Tls};
use crate::{edge, host, procfs};

/// Signals that the kernel itself sends to the process: the alarm's, the terminal's.
const BY_KERNEL: u64 = bit(libc::SIGALRM)
    | bit(libc::SIGHUP)
    | bit(libc::SIGINT)
    | bit(libc::SIGQUIT)
    | bit(libc::SIGCONT)
    | bit(libc::SIGTSTP)
    | bit(libc::SIGTTIN)
    | bit(libc::SIGTTOU)
    | bit(libc::SIGWINCH);

/// In the trampoline: a signal that this thread has taken, and that the main thread has now.
///
/// # Safety
///
/// `info` and `uc` are those of a live signal frame.
#[inline(always)]
pub unsafe fn is_given_to_main(
    tls: &Tls,
    sig: i32,
    info: *const Siginfo,
    uc: *mut libc::ucontext_t,
) -> bool {
    // SAFETY: the caller's.
    let rip = unsafe { rip_of(uc) };
    // SAFETY: as above; the register is this thread's.
    let rip = unsafe { *rip } as usize;
    edge::is_entrance(rip) && tls.in_vfork.get() == 0 && give(sig, info)
}

#[cold]
#[inline(never)]
fn give(sig: i32, info: *const Siginfo) -> bool {
    let (pid, tid) = (host::getpid(), host::gettid());
    // SAFETY: a live frame's.
    let info = unsafe { &*info };
    if pid == tid || !is_for_process(pid, sig, info) || !procfs::main_thread_takes(bit(sig)) {
        return false;
    }
    reinstall(sig as usize);
    pending::pass_on(pid, sig, info)
}

/// Whether it is certain to have been sent to the process. (sigqueue(3) does not tell itself from
/// pthread_sigqueue(3).)
fn is_for_process(pid: u32, sig: i32, info: &Siginfo) -> bool {
    // SAFETY: a whole siginfo.
    let code = unsafe { pending::code_at(info) };
    // SAFETY: as above.
    let sender = unsafe { pending::sender_at(info) };
    match code {
        // For what this thread has written. (fs/pipe.c, mm/filemap.c: `send_sig(.., current, 0)`)
        libc::SI_USER => !matches!(sig, libc::SIGPIPE | libc::SIGXFSZ) || sender != pid,
        libc::SI_KERNEL => BY_KERNEL & bit(sig) != 0,
        _ => sig == libc::SIGCHLD && code > 0,
    }
}
