//! Moving an object to the kernel, from the shim's side: of a pipe both ends of the twin are needed.

use core::sync::atomic::{AtomicBool, Ordering::*};

use ringer_kernel::eventfd::{self, Eventfd};
use ringer_kernel::file::{fd_table, FileRef, PipeEnd, SocketFile, SocketId};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::{self, mode, Ctx};
use ringer_kernel::task::{self, proc_state};
use ringer_kernel::unix;

use crate::attach;
use crate::entry::Entry;
use crate::host::Shim;
use crate::inbox;
use crate::peer::{self, Sockets};
use crate::procfs;
use crate::tls::tls;
use crate::twin::Ends;

/// Demotes what `fd` names. `true`: the kernel serves it now.
pub fn demote(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef, cause: Cause) -> bool {
    match f {
        _ if f.is_kernels() => true,
        FileRef::Pipe(e) => demote_pipe(k, fd, e, cause),
        FileRef::Eventfd(e) => demote_eventfd(k, fd, e.eventfd, cause),
        FileRef::Signalfd(e) => {
            inbox::leave_to_kernel(tls(), e.mask());
            true
        }
        // The kernel's queues have names that the session's must not have.
        FileRef::Mq(_) => false,
        FileRef::Socket(s) => demote_pair(k, fd, &s.id(), cause),
    }
}

/// As [`demote`], of what a program that ringer does not reach may get next, and of what is queued in it.
pub fn give_away(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef, cause: Cause) -> bool {
    let done = demote(k, fd, f, cause);
    if let FileRef::Socket(s) = f {
        crate::exposure::expose(k, fd, &s.id());
    }
    done
}

/// So many milliseconds at most.
const PATIENCE: u32 = 1000;

/// Demotes the pair of which `fd` names one. `true`: the kernel serves it now, or nothing is left to
/// be served.
pub fn demote_pair(k: &Ctx<'_, Shim>, fd: i32, s: &SocketId, cause: Cause) -> bool {
    if unix::pending::leave(k, s.pair, cause) {
        return true;
    }
    let mut patience = PATIENCE;
    loop {
        if let Some(twin) = Sockets::of(k, fd, s) {
            let done = unix::demote::demote(k, s.pair, &twin, cause).is_ok();
            return done || s.pair.mode.load(Acquire) == mode::KERNEL;
        }
        if peer::is_gone(k, fd, s) {
            break;
        }
        // Whoever has the other side is just about to come, or to go.
        if patience == 0 {
            crate::session::complain(
                "a pair of sockets could not be handed to the kernel: its other side is out of reach",
            );
            return false;
        }
        patience -= 1;
        let moment = crate::gate::Timespec {
            sec: 0,
            nsec: 1_000_000,
        };
        crate::gate::sys!(libc::SYS_nanosleep, &raw const moment, 0);
    }
    // Who has gone may have handed it over before that.
    if s.pair.mode.load(Acquire) == mode::KERNEL {
        return true;
    }
    let real = |bits, left| peer::become_widowed(fd, s, bits, left);
    if unix::demote::demote_widowed(k, s.pair, s.side, real, cause) {
        return true;
    }
    let Some(p) = crate::attach::process(crate::tls::tls()) else {
        return false;
    };
    // Nobody is left whom it could be shared with. That it can not be written to any more, and can be
    // read without waiting, its twin tells whoever polls.
    let told = cause == Cause::Polled
        && s.pair.type_of().is_connected()
        && (!s.pair.has_reset(k.arena, s.side)
            || s.pair.is_connection() // a new one would not have its name
            || peer::is_shared(k, s));
    told || peer::replace(k, p, s)
}

/// `fd` is about to be closed. If it is the last one of its socket, and leaves behind what ringer could not
/// make known to everybody who asks for it, the kernel has the pair from here on: that something was not read
/// (ECONNRESET, and an error for each that polls); datagrams, of which no twin tells; and what was sent over a
/// connection, for no new socket could have its name.
pub fn before_close(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef) {
    let FileRef::Socket(s) = f else { return };
    let (p, side, other) = (s.pair, s.side(), s.side().other());
    let by_twin = p.type_of().is_connected() && !p.is_connection();
    let leaves = p.has_reset(k.arena, other) || (!by_twin && !p.from(side).is_empty());
    if !leaves || !p.is_served() {
        return;
    }
    let is_last = p.socket(side).files.load(Acquire) <= 1 && only_one_keeps(k, s);
    if is_last && p.socket(other).files.load(Acquire) != 0 {
        if let Some(twin) = Sockets::of(k, fd, &s.id()) {
            let _ = unix::demote::demote(k, p, &twin, Cause::LeftBehind);
        }
    }
}

/// Whether at most one descriptor of this socket will be left: those who are between two programs close theirs, if
/// they have not done so already.
fn only_one_keeps(k: &Ctx<'_, Shim>, s: &SocketFile) -> bool {
    let refs = s.file.refs.load(Acquire);
    if refs <= 1 {
        return true;
    }
    let mut closed = 0;
    for p in task::execing_processes(k.arena, k.host) {
        let pid = p.pid.load(Acquire);
        fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
            closed += u32::from(slot == s.file_slot() && !procfs::survives_exec(pid, fd));
        });
    }
    let mine = u32::from(
        attach::process(tls()).is_some_and(|p| p.state.load(Relaxed) != proc_state::EXECING),
    );
    refs <= closed + mine
}

/// As [`before_close`], of all that a new program will not inherit.
pub fn before_exec(entry: &Entry) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return;
    };
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        if let Some(f @ FileRef::Socket(_)) = FileRef::of(k.arena, slot) {
            if crate::gate::sys!(libc::SYS_fcntl, fd, libc::F_GETFD) & libc::FD_CLOEXEC as isize
                != 0
            {
                before_close(&k, fd, &f);
            }
        }
    });
}

/// Demotes the eventfd that `fd` names. `true`: the kernel serves it now.
pub fn demote_eventfd(k: &Ctx<'_, Shim>, fd: i32, e: &Eventfd, cause: Cause) -> bool {
    let done = eventfd::demote::demote(k, e, &Real { fd }, cause).is_ok();
    done || e.mode.load(Acquire) == mode::KERNEL
}

/// The real eventfd.
struct Real {
    fd: i32,
}

impl eventfd::demote::RealCounter for Real {
    fn has_count(&self) -> Option<bool> {
        const POLLIN: i16 = 1;
        let mut p = libc::pollfd {
            fd: self.fd,
            events: POLLIN,
            revents: 0,
        };
        let n = crate::gate::sys!(libc::SYS_poll, &raw mut p, 1, 0);
        (n >= 0).then_some(p.revents & POLLIN != 0)
    }

    /// Into an empty counter everything fits. If somebody whom ringer does not see has added to it, so much
    /// as there is room for: a write that waited would have everybody wait.
    fn add(&self, n: u64) -> bool {
        let there = match self.has_count() {
            Some(true) => crate::procfs::eventfd_count(self.fd).unwrap_or(0),
            _ => 0,
        };
        let n = n.min(eventfd::MAX.saturating_sub(there));
        n == 0 || crate::call::eventfd::add(self.fd, n)
    }
}

/// Demotes the pipe that `fd` is an end of. `true`: the kernel serves it now.
pub fn demote_pipe(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd, cause: Cause) -> bool {
    if e.pipe.mode.load(Acquire) == mode::KERNEL {
        return true;
    }
    let Some(twin) = Ends::both(e, fd) else {
        crate::session::complain(
            "a pipe could not be handed to the kernel: /proc/self/fd can not be opened",
        );
        return false;
    };
    let done = pipe::demote::demote(k, e.pipe, &twin, cause).is_ok();
    done || e.pipe.mode.load(Acquire) == mode::KERNEL
}

/// Carries on with a demotion whose maker died.
pub fn finish(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef) -> bool {
    demote(k, fd, f, Cause::Unreadable)
}

/// Demotes everything of this process that a program which ringer can not reach would inherit.
pub fn demote_inherited(entry: &Entry, cause: Cause) {
    each(entry, cause, true);
}

/// Demotes everything of this process.
pub fn demote_all(entry: &Entry, cause: Cause) {
    each(entry, cause, false);
}

/// Set for good when new pipes are the kernel's, see [`leave_to_kernel`].
static APART: AtomicBool = AtomicBool::new(false);

/// Whether what this process makes is the kernel's.
pub fn is_apart() -> bool {
    APART.load(Acquire) || !procfs::is_here()
}

/// From now on everything is the kernel's here: descriptor tables do not go with processes any more
/// (unshare(CLONE_FILES) and the like), and the kernel knows whose table is whose; or /proc is about to
/// get out of reach (chroot), without which nothing could be polled or demoted.
pub fn leave_to_kernel(entry: &Entry, cause: Cause) {
    demote_all(entry, cause);
    APART.store(true, Release);
}

/// Demotes all pairs of sockets of this process: from now on nobody can borrow from it.
pub fn demote_sockets(entry: &Entry, cause: Cause) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return;
    };
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        if let Some(f @ FileRef::Socket(_)) = FileRef::of(k.arena, slot) {
            // What it receives can not be asked about any more.
            match cause {
                Cause::Seccomp => give_away(&k, fd, &f, cause),
                _ => demote(&k, fd, &f, cause),
            };
        }
    });
}

fn each(entry: &Entry, cause: Cause, inherited_only: bool) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return;
    };
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        let Some(e) = FileRef::of(k.arena, slot) else {
            return;
        };
        let flags = crate::gate::sys!(libc::SYS_fcntl, fd, libc::F_GETFD);
        if inherited_only && (flags < 0 || flags as i32 & libc::FD_CLOEXEC != 0) {
            return;
        }
        if give_away(&k, fd, &e, cause) {
            p.demoted.fetch_add(1, Relaxed);
        }
    });
}

/// Demotes a pipe of which `fd` is an end, in whatever mode the descriptor is.
pub fn demote_slot(k: &Ctx<'_, Shim>, fd: i32, pipe_slot: u32, cause: Cause) {
    let Some(p) = pipe::get(k.arena, pipe_slot) else {
        return;
    };
    if p.mode.load(Acquire) == mode::KERNEL {
        return;
    }
    let flags = crate::gate::sys!(libc::SYS_fcntl, fd, libc::F_GETFL) as i32;
    let end = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => ringer_kernel::file::End::Write,
        _ => ringer_kernel::file::End::Read,
    };
    if let Some(twin) = Ends::reopen(fd, end) {
        let _ = pipe::demote::demote(k, p, &twin, cause);
    }
}
