//! F_SETPIPE_SZ and FIONREAD: both need the ring to stand still, so both locks.
//!
//! # Crash points
//!
//! - C1. Killed after `resizing` is set: whoever takes one of the orphaned locks over repeats the
//!   three stores. (The old blocks leak.) The maker held both locks, so nobody has used the ring
//!   in between: the first to come takes an orphaned lock.

use super::slot::{SlotWord, Tail};
use super::{Ctx, Pipe, SlotCell};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::{Errno, SysError};
use crate::arena::{alloc, Off};
use crate::host::{crash_point, Host};
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// Runs `f` with both sides locked. Lock order: readers, then writers.
pub(super) fn standing_still<H: Host, R>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    f: impl FnOnce() -> (R, Progress),
) -> Result<R, SysError> {
    p.lock_readers(k);
    p.lock_writers(k);
    let result = if p.is_ring() {
        Ok(f())
    } else {
        Err(SysError::Demoted)
    };
    let progress = result.as_ref().map_or(Progress::None, |r| r.1);
    p.unlock_writers(k, Progress::None, 0);
    p.unlock_readers(k, progress, 0);
    result.map(|r| r.0)
}

/// FIONREAD: bytes that could be read now. (fs/pipe.c `pipe_ioctl`)
pub fn queued_bytes<H: Host>(k: &Ctx<'_, H>, p: &Pipe) -> Result<usize, SysError> {
    standing_still(k, p, || {
        let tail = Tail::from_raw(p.tail.load(Relaxed));
        let head = p.head.load(Relaxed);
        let mut bytes = 0usize;
        let slots = u64::from(p.capacity());
        for seq in tail.seq..head.min(tail.seq + slots) {
            let end = p
                .cell(k.arena, seq)
                .map_or(0, |c| SlotWord(c.word.load(Relaxed)).end());
            bytes += end.saturating_sub(if seq == tail.seq { tail.off } else { 0 });
        }
        let more = usize::from(bytes > 0 && planted(Bug::PipeCountsOneMore));
        (bytes + more, Progress::None)
    })
}

/// F_SETPIPE_SZ to `slots` (a power of two; the kernel has judged the size by the twin).
///
/// Errors: EBUSY when more slots than that are filled (fs/pipe.c `pipe_resize_ring`), ENOMEM.
pub fn set_size<H: Host>(k: &Ctx<'_, H>, p: &Pipe, slots: u32) -> Result<(), SysError> {
    standing_still(k, p, || {
        let grown = slots > p.slots.load(Relaxed);
        let progress = if grown {
            Progress::Made
        } else {
            Progress::None
        };
        (resize(k, p, slots), progress)
    })?
    .map_err(SysError::from)
}

fn resize<H: Host>(k: &Ctx<'_, H>, p: &Pipe, slots: u32) -> Result<(), Errno> {
    let tail = Tail::from_raw(p.tail.load(Relaxed));
    let head = p.head.load(Relaxed);
    let old_slots = p.slots.load(Relaxed);
    let most = u64::from(slots).wrapping_sub(u64::from(planted(Bug::PipeResizeOneOff)));
    if slots == 0 || head.wrapping_sub(tail.seq) > most {
        return Err(Errno::EBUSY);
    }
    if slots == old_slots {
        return Ok(());
    }
    let (cells_len, data_len) = (cells_bytes(slots), slots as usize * PAGE_SIZE);
    let cells = alloc::alloc(k.arena, k.me, k.host, cells_len)?;
    let data = match alloc::alloc_made(k.arena, k.me, k.host, data_len) {
        Ok(data) => data,
        Err(e) => {
            alloc::free(k.arena, k.me, k.host, cells, cells_len);
            return Err(e);
        }
    };
    if copy_slots(k, p, tail.seq..head, slots, cells, data).is_none() {
        alloc::free(k.arena, k.me, k.host, cells, cells_len);
        alloc::free(k.arena, k.me, k.host, data, data_len);
        return Err(Errno::ENOMEM);
    }
    let old_cells = Off::<u8>::from_raw(p.slots_at.load(Relaxed));
    let old_data = Off::<u8>::from_raw(p.data_at.load(Relaxed));
    p.next_slots.store(slots, Relaxed);
    p.next_slots_at.store(cells.raw(), Relaxed);
    p.next_data_at.store(data.raw(), Relaxed);
    p.resizing.store(1, Release); // C1
    crash_point("pipe.resize.intent");
    finish(p);
    if let Some(block) = old_cells {
        alloc::free(k.arena, k.me, k.host, block, cells_bytes(old_slots));
    }
    if let Some(block) = old_data {
        alloc::free(k.arena, k.me, k.host, block, old_slots as usize * PAGE_SIZE);
    }
    Ok(())
}

/// Carries a resize out, or to its end after its maker died (C1). Both locks are free or ours.
pub(super) fn finish(p: &Pipe) {
    if p.resizing.load(Acquire) == 0 {
        return;
    }
    p.seen_word.store(0, Relaxed); // it names a page of the old ring
    p.slots_at.store(p.next_slots_at.load(Relaxed), Relaxed);
    p.data_at.store(p.next_data_at.load(Relaxed), Relaxed);
    p.slots.store(p.next_slots.load(Relaxed), Release);
    crash_point("pipe.resize.done");
    p.resizing.store(0, Release);
}

fn cells_bytes(slots: u32) -> usize {
    slots as usize * core::mem::size_of::<SlotCell>()
}

/// Copies the filled slots, and the last emptied one's word, into the new ring.
fn copy_slots<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    filled: core::ops::Range<u64>,
    slots: u32,
    cells: Off<u8>,
    data: Off<u8>,
) -> Option<()> {
    let unit = crate::arena::off::UNIT;
    let table = cells.raw() as usize * unit;
    for index in 0..slots as usize {
        // A word left over from another ring could pass for one that may be merged into.
        let cell: &SlotCell = k
            .arena
            .at(table + index * core::mem::size_of::<SlotCell>())?;
        cell.word.store(0, Relaxed);
    }
    for seq in filled {
        let index = (seq & u64::from(slots - 1)) as usize;
        let old = p.cell(k.arena, seq)?;
        let new: &SlotCell = k
            .arena
            .at(table + index * core::mem::size_of::<SlotCell>())?;
        let word = SlotWord(old.word.load(Relaxed));
        new.word.store(word.in_page(index).0, Relaxed);
        new.base.store(old.base.load(Relaxed), Relaxed);
        let from = p.page(k.arena, word)?;
        let to = k.arena.bytes(
            Off::from_raw(data.raw() + (index * PAGE_SIZE / unit) as u32)?,
            PAGE_SIZE,
        )?;
        // SAFETY: two pages of the arena, checked by `page` and `bytes`; `data` is a fresh block,
        // so they do not overlap; both locks are held, so nobody writes them meanwhile.
        unsafe { core::ptr::copy_nonoverlapping(from, to, PAGE_SIZE) };
    }
    Some(())
}
