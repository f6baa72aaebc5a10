//! A descriptor that is closed while another thread waits on it. In Linux the waiting call holds
//! the file: the end stays open until it is over. Here the twin is kept open under another,
//! high number, and the waiting thread closes that when it is done.

use core::sync::atomic::Ordering::*;

use ringer_kernel::file::{fd_table, End, PipeEnd};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::{about_to_close, forget_descriptor};
use ringer_kernel::task::{self, Process, Task};

use crate::attach;
use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;

/// Where the numbers begin that a program hardly looks at.
const HIGH: usize = 800;

/// To be called before `fd` is closed. `true`: a thread of this process waits on it, and has taken
/// over both the twin (under another number) and the table's reference.
pub fn keep(k: &Ctx<'_, Shim>, entry: &Entry, p: &Process, fd: i32) -> bool {
    let Some(e) = fd_table::lookup(k.arena, p, fd) else {
        return false;
    };
    let queue = match e.end {
        End::Read => &e.pipe.rd_wait,
        End::Write => &e.pipe.wr_wait,
    };
    if queue.sleepers.load(Relaxed) == 0 {
        return false;
    }
    let Some(task) = waiter(k, entry, &e) else {
        return false;
    };
    let hidden = sys!(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, HIGH);
    if hidden < 0 {
        return false;
    }
    let linger = (hidden as u64 + 1) << 32 | u64::from(e.file_slot());
    if task
        .linger
        .compare_exchange(0, linger, AcqRel, Relaxed)
        .is_err()
    {
        sys!(libc::SYS_close, hidden);
        return false;
    }
    true
}

/// A thread of this process that waits on this end of the pipe.
fn waiter(k: &Ctx<'_, Shim>, entry: &Entry, e: &PipeEnd) -> Option<&'static Task> {
    let mark = if e.end == End::Write { 1 << 31 } else { 0 };
    let mine = attach::process_slot(entry.tls);
    let used = k.arena.header().tasks_used.load(Relaxed);
    (1..used).map_while(|i| task::task(k.arena, i)).find(|t| {
        t.process.load(Relaxed) == mine
            && t.waits_for.load(Relaxed) == e.pipe_slot() | mark
            && t.surely_alive()
    })
}

/// The number under which this thread's twin is kept open. `None`: it never was closed.
pub fn hidden(entry_task: Option<&Task>) -> Option<i32> {
    let linger = entry_task?.linger.load(Acquire);
    (linger != 0).then_some((linger >> 32) as i32 - 1)
}

/// A waiting call is over: what was kept for it is closed now.
#[cold]
pub fn done(k: &Ctx<'_, Shim>, task: &Task) {
    let linger = task.linger.swap(0, AcqRel);
    if linger != 0 {
        about_to_close(k.arena, linger as u32);
        sys!(libc::SYS_close, (linger >> 32) - 1);
        forget_descriptor(k, linger as u32, |_| true);
    }
}
