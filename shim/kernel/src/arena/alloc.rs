//! Memory of the arena: power-of-two blocks with a free list for each size, and table slots.
//!
//! # Crash points
//!
//! All run under the header's lock, and each changes the lists by *one* store, so an orphaned
//! lock needs no repair:
//!
//! - C1. Killed between taking a block off its list (or bumping) and using it: the block leaks.
//! - C2. Killed between writing a freed block's link and the list's head: the block leaks.
//!
//! # Pages
//!
//! A block that is on a list has at least its first page, where its link is: a block whose pages
//! could not be made gets on a list with that page only, or not at all ([`alloc_made`]).

use super::header::Header;
use super::layout;
use super::off::{Arena, Off, UNIT};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::host::Host;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::{OwnerId, Progress};
use crate::sync::robust::Found;
use crate::task;

/// Blocks are 2^6 .. 2^22 bytes: a cache line to 4 MiB.
pub const MIN_SHIFT: u32 = 6;
pub const MAX_SHIFT: u32 = 22;
pub const CLASSES: usize = (MAX_SHIFT - MIN_SHIFT + 1) as usize;

/// The heap's pages are made in steps of this many bytes, so that a full tmpfs is an errno.
const POPULATE: usize = 64 * 1024;

/// log2 of the block that holds `len` bytes. `None`: too long.
pub fn shift_for(len: usize) -> Option<u32> {
    let shift = len
        .checked_next_power_of_two()?
        .trailing_zeros()
        .max(MIN_SHIFT);
    (shift <= MAX_SHIFT).then_some(shift)
}

/// Runs `f` under the arena's lock.
pub fn locked<R>(arena: &Arena, me: OwnerId, host: &impl Host, f: impl FnOnce(&Header) -> R) -> R {
    let header = arena.header();
    let found = header.lock.lock(me, host, &task::Threads(arena, host));
    if found != Found::InOrder {
        header.orphaned.fetch_add(1, Relaxed); // no repair: see "Crash points"
    }
    let result = f(header);
    let _ = header.lock.unlock(me, Progress::None, host);
    result
}

/// A block of at least `len` bytes. Its pages may hold anything (a reused block) and, for
/// blocks of 64 KiB and more, may not exist yet: see [`alloc_made`].
///
/// Errors: ENOMEM when the arena is full, or when the file system under it is.
pub fn alloc(arena: &Arena, me: OwnerId, host: &impl Host, len: usize) -> Result<Off<u8>, Errno> {
    let shift = shift_for(len).ok_or(Errno::ENOMEM)?;
    locked(arena, me, host, |h| take(arena, h, host, shift))
}

fn take(arena: &Arena, h: &Header, host: &impl Host, shift: u32) -> Result<Off<u8>, Errno> {
    let list = h
        .free
        .get((shift - MIN_SHIFT) as usize)
        .ok_or(Errno::ENOMEM)?;
    if let Some(block) = Off::<AtomicU32>::from_raw(list.load(Relaxed)) {
        let link = link_of(arena, block, shift).ok_or(Errno::ENOMEM)?;
        list.store(link.load(Relaxed), Relaxed); // C1
        return Off::from_raw(block.raw()).ok_or(Errno::ENOMEM);
    }
    let units = (1usize << shift) / UNIT;
    if (1 << shift) >= POPULATE {
        return bump(arena, h, units); // made when it is used
    }
    // Small blocks share chunks, whose pages are made at once.
    let start = (h.small_at.load(Relaxed) as usize).next_multiple_of(units);
    if start != 0 && start + units <= h.populated.load(Relaxed) as usize {
        h.small_at.store((start + units) as u32, Relaxed); // C1
        return off(start);
    }
    let before = h.bump.load(Relaxed);
    let chunk = bump(arena, h, POPULATE / UNIT)?;
    let memory = arena.bytes(chunk, POPULATE).ok_or(Errno::ENOMEM)?;
    if !host.populate(memory, POPULATE) {
        h.bump.store(before, Relaxed);
        return Err(Errno::ENOMEM);
    }
    let start = chunk.raw();
    h.populated.store(start + (POPULATE / UNIT) as u32, Relaxed);
    h.small_at.store(start + units as u32, Relaxed); // C1
    Ok(chunk)
}

/// The next `units` of the heap that were never used.
fn bump(arena: &Arena, h: &Header, units: usize) -> Result<Off<u8>, Errno> {
    let start = (h.bump.load(Relaxed) as usize).max(layout::HEAP / UNIT);
    let start = start.next_multiple_of(units);
    let end = start + units;
    if end * UNIT > arena.len() {
        return Err(Errno::ENOMEM);
    }
    h.bump.store(end as u32, Relaxed); // C1
    off(start)
}

/// The first word of a block, which is its link while it is free. `None`: no such block can be.
fn link_of(arena: &Arena, block: Off<AtomicU32>, shift: u32) -> Option<&'static AtomicU32> {
    let start = block.raw() as usize * UNIT;
    let whole = start.is_multiple_of(1 << shift) && start + (1 << shift) <= arena.len();
    if whole {
        arena.get(block)
    } else {
        None
    }
}

fn off(units: usize) -> Result<Off<u8>, Errno> {
    u32::try_from(units)
        .ok()
        .and_then(Off::from_raw)
        .ok_or(Errno::ENOMEM)
}

/// As [`alloc`], and the block's pages exist.
pub fn alloc_made(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    len: usize,
) -> Result<Off<u8>, Errno> {
    let block = alloc(arena, me, host, len)?;
    // A small one is of a chunk whose pages are there: each message that goes to a sleeper is one.
    let small = shift_for(len).is_some_and(|shift| (1 << shift) < POPULATE);
    let made = || {
        let memory = arena.bytes(block, len);
        memory.is_some_and(|m| host.populate(m, len))
    };
    if small || made() {
        return Ok(block);
    }
    undo(arena, me, host, block, len);
    Err(Errno::ENOMEM)
}

/// Gives back a block whose pages could not be made. Where not even the first can be had, it was
/// never in use, and no pages are lost with it: if it is the heap's last, it is part of the unused
/// rest again.
#[cold]
pub(crate) fn undo(arena: &Arena, me: OwnerId, host: &impl Host, block: Off<u8>, len: usize) {
    let first = len.min(PAGE_SIZE);
    if arena
        .bytes(block, first)
        .is_some_and(|m| host.populate(m, first))
    {
        return free(arena, me, host, block, len);
    }
    let Some(shift) = shift_for(len) else { return };
    locked(arena, me, host, |h| {
        if h.bump.load(Relaxed) as usize == block.raw() as usize + (1 << shift) / UNIT {
            h.bump.store(block.raw(), Relaxed);
        }
    });
}

/// Gives a block of `len` bytes (the length it was asked for) back. Its first page exists.
pub fn free(arena: &Arena, me: OwnerId, host: &impl Host, block: Off<u8>, len: usize) {
    let Some(shift) = shift_for(len) else { return };
    let link = Off::from_raw(block.raw()).and_then(|b| link_of(arena, b, shift));
    let Some(link) = link else { return };
    locked(arena, me, host, |h| {
        if let Some(list) = h.free.get((shift - MIN_SHIFT) as usize) {
            link.store(list.load(Relaxed), Relaxed); // C2
            list.store(block.raw(), Relaxed);
        }
    });
}

/// A slot of a table: off its free list (`next` reads a slot's link), else one more than ever,
/// which `make` finds memory for. `None`: the table is full, or there is no memory.
pub fn take_slot(
    used: &AtomicU32,
    free: &AtomicU32,
    max: u32,
    next: impl Fn(u32) -> Option<u32>,
    make: impl Fn(u32) -> bool,
) -> Option<u32> {
    let first = free.load(Relaxed);
    if first != 0 {
        free.store(next(first)?, Relaxed);
        return Some(first);
    }
    let index = used.load(Relaxed);
    if index == 0 || index >= max || !make(index) {
        return None;
    }
    used.store(index + 1, Relaxed);
    Some(index)
}
