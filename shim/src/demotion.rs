//! Moving a pipe to the kernel, from the shim's side: both ends of the twin are needed.

use core::sync::atomic::{AtomicBool, Ordering::*};

use ringer_kernel::file::{fd_table, PipeEnd};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::{self, mode, Ctx};

use crate::entry::Entry;
use crate::host::Shim;
use crate::twin::Ends;

/// Demotes the pipe that `fd` is an end of. `true`: the kernel serves it now.
pub fn demote(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd, cause: Cause) -> bool {
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
pub fn finish(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd) -> bool {
    demote(k, fd, e, Cause::Unreadable)
}

/// Demotes every pipe of this process that a program which ringer can not reach would inherit.
pub fn demote_inherited(entry: &Entry, cause: Cause) {
    each(entry, cause, true);
}

/// Demotes every pipe of this process.
pub fn demote_all(entry: &Entry, cause: Cause) {
    each(entry, cause, false);
}

/// Set for good when descriptor tables no longer go with processes: new pipes are the kernel's.
static APART: AtomicBool = AtomicBool::new(false);

pub fn is_apart() -> bool {
    APART.load(Acquire)
}

/// From now on descriptor tables do not go with processes here (unshare(CLONE_FILES) and the
/// like): everything is the kernel's, which knows whose table is whose.
pub fn leave_to_kernel(entry: &Entry) {
    demote_all(entry, Cause::TableSplit);
    APART.store(true, Release);
}

fn each(entry: &Entry, cause: Cause, inherited_only: bool) {
    let (Some(p), Some(k)) = (entry.process(), entry.ctx(-1)) else {
        return;
    };
    fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
        let Some(e) = fd_table::pipe_end(k.arena, slot) else {
            return;
        };
        let flags = crate::gate::sys!(libc::SYS_fcntl, fd, libc::F_GETFD);
        if inherited_only && (flags < 0 || flags as i32 & libc::FD_CLOEXEC != 0) {
            return;
        }
        demote(&k, fd, &e, cause);
        p.demoted.fetch_add(1, Relaxed);
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
