//! The other threads of a process that leaves.
//!
//! exit_group(2) ends all threads at once. What ringer does before it (close, wake, forget) they must not
//! see: who reads from a descriptor that is closed already would find EBADF, where Linux lets it find
//! nothing any more. So they are stopped first. Each is sent SIGSYS, which nobody blocks in an armed
//! process; outside the shim a thread waits in the handler for its end, inside on its way out.

use crate::gate::sys;
use crate::tls::Tls;
use crate::{arm, attach, edge, host, leaving, pending, procfs, signal};

/// Then the process leaves as by SIGKILL, and what it held is cleaned up by whoever finds it dead.
const PATIENCE_NS: u64 = 200_000_000;
const NAP_NS: i64 = 50_000;

/// Stops all other threads of this process, which has begun to leave. `false`: some may go on.
pub fn stop() -> bool {
    let until = attach::now_ns() + PATIENCE_NS;
    let mut quiet = 0;
    // A thread that the first look missed was made by one that had not stopped.
    while quiet < 2 {
        match signal_all() {
            None => return false,
            Some(true) => quiet += 1,
            Some(false) => {
                quiet = 0;
                if attach::now_ns() > until {
                    return false;
                }
                nap();
            }
        }
    }
    true
}

fn nap() {
    let moment = crate::gate::Timespec {
        sec: 0,
        nsec: NAP_NS,
    };
    sys!(libc::SYS_nanosleep, &raw const moment, 0);
}

/// Signals every other thread. Whether none of them was running then: one that sleeps in the kernel
/// comes to the handler before it comes to the program. `None`: they are not known.
fn signal_all() -> Option<bool> {
    let (pid, me) = (host::getpid(), host::gettid());
    let mut quiet = true;
    let known = procfs::each_thread(|tid| {
        if tid != me {
            sys!(libc::SYS_tgkill, pid, tid, libc::SIGSYS);
            quiet &= !procfs::thread_runs(pid, tid);
        }
    });
    known.then_some(quiet)
}

/// Whether a SIGSYS that comes to this thread says that it shall stop.
pub fn is_to_stop() -> bool {
    leaving::by_another()
}

/// In the handler, on its frame.
pub fn obey(tls: &Tls, uc: *mut libc::ucontext_t) {
    // SAFETY: the kernel's frame, live as the handler runs.
    unsafe { edge::is_met(tls, uc) };
    if tls.depth.get() == 0 {
        park();
    }
    tls.add_note(pending::STOP);
    // SAFETY: the kernel's frame, live as the handler runs.
    unsafe { signal::end_wait(uc) };
}

/// Waits for the end that another thread brings.
#[cold]
pub fn park() -> ! {
    arm::set_mask(!0); // the forced ones, too: it may be told more than once
    loop {
        sys!(libc::SYS_pause);
    }
}
