//! What ringer does for each call, whichever layer it came by.

pub mod announce;
pub mod descriptor;
pub mod exec;
pub mod io;
pub mod mask;
pub mod pipe;
pub mod process;
pub mod ready;
pub mod transfer;
pub mod truth;

use core::sync::atomic::Ordering::*;

use ringer_kernel::abi::{Errno, SysError, SysResult};
use ringer_kernel::file::{fd_table, End, PipeEnd};
use ringer_kernel::pipe::{mode, Ctx};
use ringer_kernel::task::{Process, Task};

use crate::attach;
use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::host::Shim;
use crate::tls::{tls, Tls, SEEN};
use crate::twin::TwinEnd;

/// Whether `fd` names something of ringer's: the only question that every call is asked. A
/// comparison with what this thread saw last, else a bounds check and three loads.
#[inline(always)]
pub fn is_ours(fd: i32) -> bool {
    let tls = tls();
    let Some(p) = attach::process(tls) else {
        return false;
    };
    seen(tls, p, fd).is_some() || in_table(p, fd)
}

#[inline(never)]
fn in_table(p: &Process, fd: i32) -> bool {
    attach::arena().is_some_and(|a| fd_table::slot_of(a, p, fd) != 0)
}

/// What this thread has cached of `fd`, if it is still true.
#[inline(always)]
fn seen(tls: &Tls, p: &'static Process, fd: i32) -> Option<PipeEnd> {
    let seen = tls.seen.get(fd as usize % SEEN)?;
    if seen.fd.get() != fd || !core::ptr::eq(seen.process.get(), p) {
        return None;
    }
    // SAFETY: null, or an entry of this process's table in the arena, whose blocks stay mapped.
    let now = unsafe { seen.entry.get().as_ref() }?.load(Acquire);
    // SAFETY: set together with `entry`, to what the arena's tables have; they stay mapped.
    let file = unsafe { &*seen.file.get() };
    // SAFETY: as above.
    let pipe = unsafe { &*seen.pipe.get() };
    let file_slot = seen.file_slot.get();
    let pipe_slot = seen.pipe_slot.get();
    // The description's slot may have been freed and used again, for another pipe or end.
    let same = now == file_slot
        && file.object.load(Relaxed) == pipe_slot
        && file.end.load(Relaxed) == seen.end.get()
        && pipe.generation.load(Relaxed) == file.generation.load(Relaxed);
    let end = if seen.end.get() == 0 {
        End::Read
    } else {
        End::Write
    };
    same.then_some(PipeEnd::new(file_slot, file, pipe_slot, pipe, end))
}

/// As [`is_ours`], and what it is.
#[inline(always)]
pub fn find(fd: i32) -> Option<(&'static Process, PipeEnd)> {
    let tls = tls();
    let p = attach::process(tls)?;
    match seen(tls, p, fd) {
        Some(end) => Some((p, end)),
        None => look_up(tls, p, fd),
    }
}

/// Whether this process has any descriptor of ringer's at all.
#[inline(always)]
pub fn has_ours() -> bool {
    attach::process(tls()).is_some_and(|p| p.fd_count.load(Relaxed) != 0)
}

/// A descriptor of ringer's, looked up.
#[inline(always)]
pub fn lookup(entry: &Entry, fd: i32) -> Option<(&'static Process, PipeEnd)> {
    let p = entry.process()?;
    match seen(entry.tls, p, fd) {
        Some(end) => Some((p, end)),
        None => look_up(entry.tls, p, fd),
    }
}

#[inline(never)]
fn look_up(tls: &Tls, p: &'static Process, fd: i32) -> Option<(&'static Process, PipeEnd)> {
    let arena = attach::arena()?;
    let entry = fd_table::entry(arena, p, fd as u32)?;
    let end = fd_table::pipe_end(arena, entry.load(Acquire))?;
    let seen = tls.seen.get(fd as usize % SEEN)?;
    seen.fd.set(fd);
    seen.process.set(p);
    seen.entry.set(entry);
    seen.file_slot.set(end.file_slot());
    seen.pipe_slot.set(end.pipe_slot());
    seen.file.set(end.file);
    seen.pipe.set(end.pipe);
    seen.end.set(u32::from(end.end == End::Write));
    Some((p, end))
}

/// The twin by the descriptor of the call.
pub fn twin(p: &'static Process, e: &PipeEnd, fd: i32) -> TwinEnd {
    TwinEnd {
        fd,
        file_slot: e.file_slot(),
        process: p,
    }
}

#[inline(always)]
pub fn count_hook(entry: &Entry) {
    if entry.tls.layer.get() == u32::from(ringer_kernel::log::layer::HOOK) {
        if let Some(task) = entry.task() {
            Task::count(&task.by_hook);
        }
    }
}

/// The kernel's convention for a result.
#[inline(always)]
pub fn verdict(result: SysResult) -> Verdict {
    match result {
        Ok(n) => Verdict::Done(n as isize),
        Err(SysError::Errno(e)) => Verdict::errno(e.get()),
        Err(SysError::Restart(_)) => Verdict::Restart,
        Err(SysError::Demoted) => Verdict::Pass,
    }
}

pub fn errno_verdict(e: Errno) -> Verdict {
    Verdict::errno(e.get())
}

/// The kernel serves it: what a predecessor left half done is finished first.
#[cold]
pub fn by_kernel(k: &Ctx<'_, Shim>, fd: i32, e: &PipeEnd) -> Verdict {
    let fd = crate::linger::stand_in().unwrap_or(fd);
    if e.pipe.mode.load(Acquire) == mode::DEMOTING && !demotion::finish(k, fd, e) {
        return Verdict::errno(libc::EIO);
    }
    Verdict::Pass
}
