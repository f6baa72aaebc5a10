//! A process or a thread that found no place in the session (a table is full, or /dev/shm) can lock
//! nothing. So that it gets the right bytes all the same, what it holds becomes the kernel's, by
//! an identity that is borrowed for as long as that takes.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{fd_table, FileRef};
use ringer_kernel::log::{Cause, Log};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::{self, Process};

use crate::gate::{sys, Timespec};
use crate::host::{self, Shim};
use crate::{adopt, attach, demotion, exposure};

/// Of several who are in need each waits for the others: so many milliseconds at most.
const PATIENCE: u32 = 2000;

/// Hands all objects of the process to the kernel.
pub fn pipes_of(p: &Process) {
    let Some(arena) = attach::arena() else { return };
    let mut any = false;
    fd_table::for_each(arena, p, 0, fd_table::MAX_FDS, |_, slot| {
        any |= FileRef::of(arena, slot).is_some_and(|f| is_left(&f));
    });
    if !any {
        return;
    }
    with_spare(|k| {
        fd_table::for_each(k.arena, p, 0, fd_table::MAX_FDS, |fd, slot| {
            let Some(f) = FileRef::of(k.arena, slot) else {
                return;
            };
            // After exec the table may name descriptors that are closed.
            if is_left(&f) && adopt::is_still(&f, fd) {
                demotion::give_away(k, fd, &f, Cause::NoMemory);
                p.demoted.fetch_add(1, Relaxed);
            }
        });
    });
}

/// Whether something of it is ringer's: of a socket's messages what they carry may be.
fn is_left(f: &FileRef) -> bool {
    match f {
        FileRef::Socket(s) => !f.is_kernels() || !s.pair.is_exposed(s.side()),
        _ => !f.is_kernels(),
    }
}

/// As [`pipes_of`], for a process that has no table: by what it has open.
pub fn descriptors() {
    with_spare(|k| {
        adopt::each_descriptor(|fd| {
            if let Some((pipe_slot, _, _)) = adopt::pipe_of(k.arena, fd) {
                demotion::demote_slot(k, fd, pipe_slot, Cause::NoMemory);
            } else if let Some((_, e)) = adopt::eventfd_of(k.arena, fd) {
                demotion::demote_eventfd(k, fd, e, Cause::NoMemory);
            } else if let Some(s) = adopt::socket_of(k.arena, fd) {
                demotion::demote_pair(k, fd, &s, Cause::NoMemory);
                exposure::expose(k, fd, &s);
            }
        });
    });
}

fn with_spare(f: impl FnOnce(&Ctx<'_, Shim>)) {
    let Some(arena) = attach::arena() else { return };
    let (pid, tid) = (host::getpid(), host::gettid());
    let mut patience = PATIENCE;
    let me = loop {
        if let Some(me) = task::claim_spare(arena, &Shim, pid, tid) {
            break me;
        }
        if patience == 0 {
            return;
        }
        patience -= 1;
        let moment = Timespec {
            sec: 0,
            nsec: 1_000_000,
        };
        sys!(libc::SYS_nanosleep, &raw const moment, 0);
    };
    f(&Ctx {
        arena,
        host: &Shim,
        me,
        log: Log::OFF,
    });
    if let Some(task) = task::task(arena, 0) {
        task::release_task(arena, task);
    }
}
