//! A process's descriptor table: descriptor number -> open file description. It lives in the
//! arena, so that it survives exec, and so that anybody can clean up after a death.
//!
//! ```text
//! Process.fd_dir -> [1024 offsets] -> [1024 entries: slot of an OpenFile, 0 for "not ours"]
//! ```
//!
//! Invariant F1: an entry that is not 0 holds one reference of its description. Whoever takes the
//! entry out, by a swap, gives the reference back.
//!
//! # Crash points
//!
//! - C1. Killed between taking a reference and storing the entry (or the other way round): a
//!   count too high. It costs memory, never an answer: the twin is asked.

use super::file_ref::FileRef;
use super::open_file::{End, PipeEnd};
use crate::abi::Errno;
use crate::arena::{alloc, Arena, Off};
use crate::host::Host;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::{OwnerId, Progress};
use crate::task::Process;

const FAN: usize = 1024;
/// Descriptors from here on are the kernel's alone.
pub const MAX_FDS: u32 = (FAN * FAN) as u32;

type Block = [AtomicU32; FAN];
const BLOCK_BYTES: usize = core::mem::size_of::<Block>();

#[inline(always)]
fn block(arena: &Arena, raw: u32) -> Option<&'static Block> {
    arena.get(Off::<Block>::from_raw(raw)?)
}

/// The entry of `fd`, if the table reaches that far.
#[inline(always)]
pub fn entry(arena: &Arena, p: &Process, fd: u32) -> Option<&'static AtomicU32> {
    if fd >= p.fd_high.load(Relaxed) {
        return None;
    }
    let dir = block(arena, p.fd_dir.load(Acquire))?;
    let entries = block(arena, dir.get(fd as usize / FAN)?.load(Acquire))?;
    entries.get(fd as usize % FAN)
}

/// The description that `fd` names, 0 if it is none of ringer's.
#[inline(always)]
pub fn slot_of(arena: &Arena, p: &Process, fd: i32) -> u32 {
    match entry(arena, p, fd as u32) {
        Some(e) => e.load(Acquire),
        None => 0,
    }
}

#[inline(always)]
pub fn lookup(arena: &Arena, p: &Process, fd: i32) -> Option<FileRef> {
    FileRef::of(arena, slot_of(arena, p, fd))
}

/// Follows a description to its pipe. `None`: free, of no pipe, or its pipe is another one now.
#[inline(always)]
pub fn pipe_end(arena: &Arena, file_slot: u32) -> Option<PipeEnd> {
    FileRef::of(arena, file_slot)?.pipe()
}

pub(crate) fn with_lock<R>(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    p: &Process,
    f: impl FnOnce() -> R,
) -> R {
    // An orphaned table needs no repair: blocks are linked in by one store each.
    let _ = p.fd_lock.lock(me, host, &crate::task::Threads(arena, host));
    let result = f();
    let _ = p.fd_lock.unlock(me, Progress::None, host);
    result
}

fn zeroed_block(arena: &Arena, me: OwnerId, host: &impl Host) -> Result<u32, Errno> {
    let off = alloc::alloc(arena, me, host, BLOCK_BYTES)?;
    let entries = block(arena, off.raw()).ok_or(Errno::ENOMEM)?;
    entries.iter().for_each(|e| e.store(0, Relaxed));
    Ok(off.raw())
}

/// Makes `fd` name `file_slot`, whose reference the entry takes over (F1). What it named before.
///
/// Errors: EMFILE above [`MAX_FDS`], ENOMEM when the arena is full.
pub fn install(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    p: &Process,
    fd: i32,
    file_slot: u32,
) -> Result<u32, Errno> {
    let fd = u32::try_from(fd)
        .ok()
        .filter(|&fd| fd < MAX_FDS)
        .ok_or(Errno::EMFILE)?;
    if entry(arena, p, fd).is_none() {
        with_lock(arena, me, host, p, || grow(arena, me, host, p, fd))?;
    }
    let e = entry(arena, p, fd).ok_or(Errno::EMFILE)?;
    let old = e.swap(file_slot, AcqRel);
    if old == 0 {
        p.fd_count.fetch_add(1, Relaxed);
    }
    Ok(old)
}

fn grow(arena: &Arena, me: OwnerId, host: &impl Host, p: &Process, fd: u32) -> Result<(), Errno> {
    if p.fd_dir.load(Relaxed) == 0 {
        p.fd_dir.store(zeroed_block(arena, me, host)?, Release);
    }
    let dir = block(arena, p.fd_dir.load(Relaxed)).ok_or(Errno::ENOMEM)?;
    let link = dir.get(fd as usize / FAN).ok_or(Errno::EMFILE)?;
    if link.load(Relaxed) == 0 {
        link.store(zeroed_block(arena, me, host)?, Release);
    }
    p.fd_high.fetch_max(fd + 1, Release);
    Ok(())
}

/// Takes `fd`'s entry out; the caller owns its reference now (F1). 0: it named nothing.
pub fn take(arena: &Arena, p: &Process, fd: i32) -> u32 {
    let old = entry(arena, p, fd as u32).map_or(0, |e| e.swap(0, AcqRel));
    if old != 0 {
        let _ = p
            .fd_count
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }
    old
}

/// Calls `f(fd, file_slot)` for every emulated descriptor in `from..=to`, lowest first.
pub fn for_each(arena: &Arena, p: &Process, from: u32, to: u32, mut f: impl FnMut(i32, u32)) {
    let high = p
        .fd_high
        .load(Acquire)
        .min(to.saturating_add(1))
        .min(MAX_FDS);
    for fd in from..high {
        let slot = slot_of(arena, p, fd as i32);
        if slot != 0 {
            f(fd as i32, slot);
        }
    }
}

/// fork(2): the child's table names the same descriptions. References are taken *before* the
/// real fork.
pub fn copy(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    from: &Process,
    to: &Process,
) -> Result<(), Errno> {
    let mut result = Ok(());
    for_each(arena, from, 0, MAX_FDS, |fd, slot| {
        if !super::get_ref(arena, slot) {
            return; // another thread closes it just now
        }
        if slot_of(arena, from, fd) != slot {
            // It did, and the reference may be to what its slot was used for next.
            super::close_ref(arena, me, host, slot);
            return;
        }
        match install(arena, me, host, to, fd, slot) {
            Ok(_) => {}
            Err(e) => {
                super::close_ref(arena, me, host, slot);
                result = Err(e);
            }
        }
    });
    result
}

/// Gives the table's blocks back. Its entries must be empty.
pub fn free_blocks(arena: &Arena, me: OwnerId, host: &impl Host, dir: Off<u8>) {
    if let Some(links) = block(arena, dir.raw()) {
        for link in links {
            if let Some(entries) = Off::<u8>::from_raw(link.swap(0, Relaxed)) {
                alloc::free(arena, me, host, entries, BLOCK_BYTES);
            }
        }
    }
    alloc::free(arena, me, host, dir, BLOCK_BYTES);
}

/// How many descriptors of `p` name this end of the pipe.
pub fn count_of(arena: &Arena, p: &Process, pipe_slot: u32, end: End) -> u32 {
    let mut n = 0;
    for_each(arena, p, 0, MAX_FDS, |_, slot| {
        if pipe_end(arena, slot).is_some_and(|e| e.pipe_slot() == pipe_slot && e.end == end) {
            n += 1;
        }
    });
    n
}
