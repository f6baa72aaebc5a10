//! A read or write that the kernel serves may wait there: `ringer ps` and `ringer ipcs` are told on what,
//! for as long as the call takes, and the log how long that was.

use core::sync::atomic::Ordering::Relaxed;

use ringer_kernel::file::FileRef;
use ringer_kernel::host::Host;
use ringer_kernel::log::Kind;
use ringer_kernel::task::waits;

use crate::host::Shim;
use crate::tls::tls;

/// To be given to [`end`] after the call.
#[derive(Clone, Copy)]
pub struct Begun(bool);

/// This thread calls the kernel's read or write on `fd`: of what has O_NONBLOCK, it does not wait.
#[inline(always)]
pub fn begin(fd: i32, kind: Kind) -> Begun {
    // SAFETY: null, or this thread's slot in the arena, which stays mapped.
    let task = unsafe { tls().task.get().as_ref() };
    let (Some(task), Some((_, found))) = (task, super::find(fd)) else {
        return Begun(false);
    };
    if found.file().has(libc::O_NONBLOCK as u32) {
        return Begun(false);
    }
    let object = match &found {
        FileRef::Pipe(e) => waits::PIPE | e.pipe_slot(),
        FileRef::Eventfd(e) => waits::EVENTFD | e.slot(),
        FileRef::Socket(s) => waits::SOCKET | s.slot(),
        FileRef::Signalfd(_) | FileRef::Mq(_) => return Begun(false),
    };
    let mark = match kind {
        Kind::KernelWrite => waits::TO_WRITE,
        _ => 0,
    };
    task.waits_since.store(Shim.tsc(), Relaxed);
    task.waits_for.store(object | mark, Relaxed);
    Begun(true)
}

/// Ticks that it took, if there is a log. 0: not known.
#[inline(always)]
pub fn end(begun: Begun) -> u64 {
    // SAFETY: as in `begin`.
    let task = unsafe { tls().task.get().as_ref() };
    let Some(task) = task.filter(|_| begun.0) else {
        return 0;
    };
    // A handler that ran meanwhile may have waited for something itself.
    let mine = task.waits_for.load(Relaxed) != 0;
    task.waits_for.store(0, Relaxed);
    if !mine || tls().writer().is_none() {
        return 0;
    }
    Shim.tsc().saturating_sub(task.waits_since.load(Relaxed))
}
