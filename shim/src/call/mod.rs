//! What ringer does for each call, whichever layer it came by.

pub mod accept;
pub mod announce;
pub mod connect;
pub mod descriptor;
pub mod eventfd;
pub mod exec;
pub mod fifo;
pub mod io;
pub mod kernel_wait;
pub mod kill;
pub mod kill_by_number;
pub mod mask;
pub mod message;
pub mod mlock;
pub mod mq;
pub mod named;
pub mod pipe;
pub mod process;
pub mod ready;
pub mod rights;
pub mod signalfd;
pub mod sigwait;
pub mod socket;
pub mod stop;
pub mod sysv;
pub mod sysv_msg;
pub mod sysv_proc;
pub mod sysv_sem;
pub mod sysv_shm;
pub mod transfer;
pub mod truth;

use core::sync::atomic::{AtomicU64, Ordering::*};

use ringer_kernel::abi::{Errno, SysError, SysResult};
use ringer_kernel::arena::Arena;
use ringer_kernel::file::{fd_table, role, End, EventfdFile, FileRef, MqFile, PipeEnd, SocketFile};
use ringer_kernel::pipe::{mode, Ctx, Pipe};
use ringer_kernel::task::{Process, Task};

use crate::attach;
use crate::demotion;
use crate::entry::{Entry, Verdict};
use crate::gate;
use crate::host::Shim;
use crate::tls::{tls, Tls, SEEN};
use crate::twin::TwinEnd;

/// A descriptor, looked up.
pub type Found = (&'static Process, FileRef);

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
fn seen(tls: &Tls, p: &'static Process, fd: i32) -> Option<FileRef> {
    let seen = tls.seen.get(fd as usize % SEEN)?;
    if seen.fd.get() != fd || !core::ptr::eq(seen.process.get(), p) {
        return None;
    }
    // SAFETY: null, or an entry of this process's table in the arena, whose blocks stay mapped.
    let now = unsafe { seen.entry.get().as_ref() }?.load(Acquire);
    // SAFETY: set together with `entry`, to what the arena's tables have; they stay mapped.
    let file = unsafe { &*seen.file.get() };
    let object = seen.object.get();
    // SAFETY: as above.
    let head = unsafe { &*object };
    let file_slot = seen.file_slot.get();
    let slot = seen.object_slot.get();
    let role = seen.role.get();
    // The description's slot may have been freed and used again, for another object or end.
    let same = now == file_slot
        && file.object.load(Relaxed) == slot
        && file.role.load(Relaxed) == role
        && file.is_of(&head.generation);
    if !same {
        return None;
    }
    if role == role::MQ {
        // SAFETY: `role` was set together with `object`, which is what it says: a queue.
        let queue = unsafe { &*object.cast() };
        return Some(FileRef::Mq(MqFile::new(file_slot, file, slot, queue)));
    }
    if role == role::SOCKET {
        // SAFETY: `role` was set together with `object`, which is what it says: a pair of sockets.
        let pair = unsafe { &*object.cast() };
        let s = SocketFile::new(file_slot, file, slot, pair);
        return Some(FileRef::Socket(s));
    }
    if role > role::WRITE_END {
        // SAFETY: as above: an eventfd.
        let eventfd = unsafe { &*object.cast() };
        let e = EventfdFile::new(file_slot, file, slot, eventfd);
        return Some(FileRef::Eventfd(e));
    }
    let end = if role == role::READ_END {
        End::Read
    } else {
        End::Write
    };
    // SAFETY: as above: a pipe.
    let pipe = unsafe { &*object.cast::<Pipe>() };
    Some(FileRef::Pipe(PipeEnd::new(
        file_slot, file, slot, pipe, end,
    )))
}

/// As [`is_ours`], and what it is.
#[inline(always)]
pub fn find(fd: i32) -> Option<Found> {
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
pub fn lookup(entry: &Entry, fd: i32) -> Option<Found> {
    let p = entry.process()?;
    match seen(entry.tls, p, fd) {
        Some(end) => Some((p, end)),
        None => look_up(entry.tls, p, fd),
    }
}

#[inline(never)]
fn look_up(tls: &Tls, p: &'static Process, fd: i32) -> Option<Found> {
    let arena = attach::arena()?;
    let entry = fd_table::entry(arena, p, fd as u32)?;
    let found = FileRef::of(arena, entry.load(Acquire))?;
    let (slot, object, role) = match &found {
        FileRef::Pipe(e) => {
            let role = match e.end {
                End::Read => role::READ_END,
                End::Write => {
                    warm(arena, e.pipe_slot(), e.pipe);
                    role::WRITE_END
                }
            };
            (e.pipe_slot(), core::ptr::from_ref(e.pipe).cast(), role)
        }
        FileRef::Eventfd(e) => {
            let object = core::ptr::from_ref(e.eventfd).cast();
            (e.slot(), object, role::EVENTFD)
        }
        FileRef::Signalfd(_) => return Some((p, found)), // not remembered: it has no object
        FileRef::Mq(e) => (e.slot(), core::ptr::from_ref(e.queue).cast(), role::MQ),
        FileRef::Socket(s) => {
            let object = core::ptr::from_ref(s.pair).cast();
            let slot = SocketFile::object(s.slot(), s.side());
            (slot, object, role::SOCKET)
        }
    };
    let seen = tls.seen.get(fd as usize % SEEN)?;
    seen.fd.set(fd);
    seen.process.set(p);
    seen.entry.set(entry);
    seen.file_slot.set(found.file_slot());
    seen.object_slot.set(slot);
    seen.file.set(found.file());
    seen.object.set(object);
    seen.role.set(role);
    Some((p, found))
}

/// A page that is written first comes alone, one that is read brings its neighbours: so a process reads where it is about to
/// write, once for each pipe.
#[inline(always)]
fn warm(arena: &Arena, slot: u32, pipe: &Pipe) {
    let words = &attach::local().warm;
    let bit = 1 << (slot % u64::BITS);
    if let Some(word) = words.get((slot / u64::BITS) as usize % words.len()) {
        if word.load(Relaxed) & bit == 0 {
            bring(arena, pipe, word, bit);
        }
    }
}

#[cold]
fn bring(arena: &Arena, pipe: &Pipe, word: &AtomicU64, bit: u64) {
    if let Some(first) = pipe.buffer(arena) {
        let mut byte = 0u8;
        gate::copy(&raw mut byte, first, 1); // a fault is nothing to us
        word.fetch_or(bit, Relaxed);
    }
}

/// The twin by the descriptor of the call.
pub fn twin(p: &'static Process, e: &PipeEnd, fd: i32) -> TwinEnd {
    TwinEnd {
        fd,
        file_slot: e.file_slot(),
        process: p,
        end: Some(e.end),
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
pub fn by_kernel(k: &Ctx<'_, Shim>, fd: i32, f: &FileRef) -> Verdict {
    let fd = crate::linger::stand_in().unwrap_or(fd);
    if f.mode().load(Acquire) == mode::DEMOTING && !demotion::finish(k, fd, f) {
        return Verdict::errno(libc::EIO);
    }
    Verdict::Pass
}
