//! A FIFO, as ringer knows it. See fifo(7); Linux v6.18 fs/pipe.c `fifo_open`.
//!
//! The kernel serves it: its name is open to anybody, and an opener from outside finds what is in it
//! before anybody could have put it there (docs/architecture.md, "FIFOs"). So it is a [`Pipe`] in the
//! mode KERNEL from the start, for the log, and for `ringer ps` and `ringer ipcs`.
//!
//! It is one object as long as somebody of the session has it open, or waits in open(2); its name is
//! st_dev and st_ino. Two who open it first at the same time may each make one: both then find the one
//! with the lower slot, and the other is freed.
//!
//! # Crash points
//!
//! - C1. Killed between making it and installing a descriptor of it: nobody counts. Whoever cleans up
//!   after the process, or opens and closes it next, frees it.

use super::{get, mode, release_if, table, Ctx, Pipe};
use crate::abi::Errno;
use crate::arena::{layout, Arena};
use crate::file::End;
use crate::host::Host;
use crate::log::{object, Cause, Kind};
use crate::sync::atomic::Ordering::*;
use crate::task::{self, waits, Task};

const CLASS: u32 = 0xf000_0000;

/// Whether it has a name in the file system, or had one.
pub fn is_fifo(p: &Pipe) -> bool {
    p.id.load(Relaxed) & CLASS == object::FIFO
}

/// The session's pipe or FIFO that is this file.
pub fn find(arena: &Arena, dev: u64, ino: u64) -> Option<(u32, &'static Pipe)> {
    let used = arena.header().pipes_used.load(Relaxed);
    (1..used.min(layout::MAX_PIPES))
        .filter_map(|slot| Some((slot, get(arena, slot)?)))
        .find(|(_, p)| p.mode.load(Acquire) != mode::FREE && p.is_twin(dev, ino))
}

/// The FIFO that is this file, a new object if the session has none.
///
/// Errors: as [`super::create`].
pub fn find_or_create<H: Host>(k: &Ctx<'_, H>, dev: u64, ino: u64) -> Result<u32, Errno> {
    if let Some((slot, _)) = find(k.arena, dev, ino) {
        return Ok(slot);
    }
    let made = table::create_as(k, (dev, ino), 1, mode::KERNEL, object::FIFO)?;
    if let Some(p) = get(k.arena, made) {
        p.demote_cause.store(Cause::Fifo.raw(), Relaxed);
    }
    match find(k.arena, dev, ino) {
        Some((first, _)) if first != made => {
            super::release(k, made);
            Ok(first)
        }
        _ => Ok(made),
    }
}

/// A living thread waits in open(2) of the FIFO in this slot.
fn is_awaited(arena: &Arena, slot: u32) -> bool {
    let used = arena.header().tasks_used.load(Relaxed);
    (1..used.min(layout::MAX_TASKS))
        .map_while(|i| task::task(arena, i))
        .any(|t| opens(t) == Some(slot) && t.surely_alive())
}

/// The slot of the FIFO that this thread is opening.
pub fn opens(t: &Task) -> Option<u32> {
    let what = t.waits_for.load(Relaxed);
    (what & waits::CLASS == waits::FIFO_OPEN).then_some(what & waits::SLOT)
}

/// Frees the FIFO in this slot, if nobody of the session has it open or is opening it.
pub fn forget_if_unused<H: Host>(k: &Ctx<'_, H>, slot: u32) {
    let Some(p) = get(k.arena, slot).filter(|p| is_fifo(p)) else {
        return;
    };
    let generation = p.generation.load(Acquire);
    let held = p.readers.load(Acquire) != 0 || p.writers.load(Acquire) != 0;
    if p.mode.load(Acquire) != mode::FREE && !held && !is_awaited(k.arena, slot) {
        release_if(k, slot, generation);
    }
}

/// How open(2) was called.
#[derive(Clone, Copy)]
pub struct Opening {
    pub flags: u32,
    /// The end that it opens. `None`: both.
    pub end: Option<End>,
    /// The last bytes of the path.
    pub tail: [u64; 2],
}

/// `me` is about to call open(2) on the FIFO in this slot.
pub fn begin<H: Host>(k: &Ctx<'_, H>, me: &Task, slot: u32, how: &Opening) {
    let Some(p) = get(k.arena, slot) else { return };
    let mark = match how.end {
        Some(End::Write) => waits::TO_WRITE,
        _ => 0,
    };
    me.waits_since.store(k.host.tsc(), Relaxed);
    me.waits_for.store(waits::FIFO_OPEN | slot | mark, Relaxed);
    let [b, c] = how.tail;
    let record = k
        .log
        .pipe(p, Kind::FifoOpening, 0, (i64::from(how.flags), b, c));
    let [reads, writes] = &p.opened;
    match how.end {
        Some(End::Read) => reads.store(record, Relaxed),
        Some(End::Write) => writes.store(record, Relaxed),
        None => {
            reads.store(record, Relaxed);
            writes.store(record, Relaxed);
        }
    }
}

/// It is open, or will not be.
pub fn done(me: &Task) {
    if opens(me).is_some() {
        me.waits_for.store(0, Relaxed);
    }
}

/// open(2) is over: `ret` is the descriptor, or -errno. The slot that [`begin`] was told. `None`: a handler
/// has opened another one meanwhile, or this was no FIFO. Until [`done`], the FIFO is not forgotten.
pub fn end<H: Host>(k: &Ctx<'_, H>, me: &Task, flags: u32, ret: isize) -> Option<u32> {
    let slot = opens(me)?;
    let p = get(k.arena, slot)?;
    let ticks = k.host.tsc().saturating_sub(me.waits_since.load(Relaxed));
    let [reads, writes] = &p.opened;
    let cause = match flags & ACCESS_MODE {
        RDONLY => writes.load(Relaxed),
        WRONLY => reads.load(Relaxed),
        _ => 0,
    };
    let cause = if ret < 0 { 0 } else { cause };
    let abc = (ret as i64, u64::from(flags), ticks);
    k.log.pipe(p, Kind::FifoOpen, cause, abc);
    Some(slot)
}

/// O_ACCMODE, O_RDONLY, O_WRONLY, O_RDWR. (uapi/asm-generic/fcntl.h)
pub const ACCESS_MODE: u32 = 3;
pub const RDONLY: u32 = 0;
pub const WRONLY: u32 = 1;
pub const RDWR: u32 = 2;
