//! write(2) on a pipe, one step: fill what is free, publish, say what is left.
//!
//! Linux v6.18 fs/pipe.c `anon_pipe_write`: the odd bytes are merged into the last buffer if they
//! fit, then whole pages go into new slots, until all is written or the ring is full. All that
//! one step writes is published by one store of `head`, so a reader sees it at once, as it would
//! after Linux's mutex was dropped.

use super::slot::{self, Kind, SlotWord, Tail};
use super::{Ctx, Ended, Pipe};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::{Errno, SysError};
use crate::arena::{alloc, Arena};
use crate::host::{crash_point, Host, UserRead};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// What one step did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteStep {
    pub bytes: usize,
    pub ended: Ended,
    /// Log record of the step, 0 without a log.
    pub record: u64,
}

/// Writes as much of `left` bytes as fits now. `merge` only in a call's first step: Linux looks
/// at the last buffer once, before its loop.
#[inline(always)]
pub fn try_write<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    src: &mut U,
    left: usize,
    merge: bool,
    kind: Kind,
) -> Result<WriteStep, SysError> {
    p.lock_writers(k);
    if !p.is_ring() {
        p.unlock_writers(k, Progress::None, 0);
        return Err(SysError::Demoted);
    }
    crash_point("pipe.write.locked");
    let filled = match fill_one(k, p, src, left, merge, kind) {
        Some(step) => Ok(step),
        None => fill(k, p, src, left, merge, kind, None),
    };
    let step = match filled {
        Ok(step) => step,
        Err(e) => {
            p.unlock_writers(k, Progress::None, 0);
            return Err(e);
        }
    };
    let progress = if step.bytes > 0 {
        Progress::Made
    } else {
        Progress::None
    };
    p.unlock_writers(k, progress, step.record);
    Ok(step)
}

/// The usual case, in one go: at most a page, into a ring that needs no repair and has room. Such a
/// write is one piece: it merges as a whole, or takes one slot. `None`: the long way.
#[inline(always)]
fn fill_one<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    src: &mut U,
    len: usize,
    merge: bool,
    kind: Kind,
) -> Option<WriteStep> {
    let head = p.head.load(Relaxed); // P3: ours
    let pos = p.written.load(Relaxed);
    if len > PAGE_SIZE || head == 0 {
        return None;
    }
    if merge && len < PAGE_SIZE {
        let cell = p.cell(k.arena, head - 1)?;
        let word = SlotWord(cell.word.load(Acquire));
        if word.is_of(head - 1) && word.merges(len) == len {
            if kind == Kind::Gift || k.log.is_on() {
                return None;
            }
            let page = p.page(k.arena, word)?;
            // SAFETY: the slot's page is 4096 bytes long, and `merges` kept END + len within it.
            let end = unsafe { page.add(word.end()) };
            let start = src.position();
            if !src.copy_in(end, len) {
                return None; // the long way finds the fault again, and says so
            }
            crash_point("pipe.write.merge");
            let before = p.written.load(Relaxed);
            p.written.store(pos.wrapping_add(len as u64), Relaxed);
            // Release: as in `fill`.
            if cell
                .word
                .compare_exchange(word.0, word.grown(len).0, Release, Relaxed)
                .is_err()
            {
                p.written.store(before, Relaxed);
                src.rewind(start);
                return None;
            }
            return Some(written(k, p, len, pos));
        }
    }
    let slots = p.capacity();
    if slot::is_full(head, p.seen_tail.load(Relaxed), slots) {
        let tail = Tail::from_raw(p.tail.load(Acquire)).seq; // pairs with the reader's store
        p.seen_tail.store(tail, Relaxed);
        if slot::is_full(head, tail, slots) {
            return None;
        }
    }
    let word = SlotWord::new(head, len, kind).in_page(next_page(k.arena, p, head)?);
    let page = p.page(k.arena, word)?;
    let cell = p.cell(k.arena, head)?;
    if !src.copy_in(page, len) {
        return None;
    }
    cell.base.store(pos, Relaxed);
    cell.word.store(word.0, Relaxed); // published by head
    p.written.store(pos.wrapping_add(len as u64), Relaxed);
    let step = written(k, p, len, pos);
    crash_point("pipe.write.publish");
    p.head.store(head.wrapping_add(1), Release); // P1, P2; pairs with the reader's load
    crash_point("pipe.write.published");
    Some(step)
}

/// Counted and logged.
#[inline(always)]
fn written<H: Host>(k: &Ctx<'_, H>, p: &Pipe, bytes: usize, pos: u64) -> WriteStep {
    p.writes
        .store(p.writes.load(Relaxed).wrapping_add(1), Relaxed);
    WriteStep {
        bytes,
        ended: Ended::No,
        record: k.log.wrote(p, bytes, pos, None),
    }
}

#[inline(never)]
fn fill<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    src: &mut U,
    left: usize,
    merge: bool,
    kind: Kind,
    reserved: Option<u32>,
) -> Result<WriteStep, SysError> {
    if p.data_at.load(Relaxed) == 0 {
        first_use(k, p)?;
    }
    let start = src.position();
    let mut place = reserved;
    let head = p.head.load(Relaxed); // P3: ours
    let pos = p.written.load(Relaxed);
    let mut last = None;
    // Only the last buffer's own flag counts: Linux merges a packet's odd bytes, too, if that
    // buffer was written before O_DIRECT was set.
    if merge && kind != Kind::Gift {
        if let Some((word, n)) = mergeable(k, p, head, left) {
            let page = p.page(k.arena, word).ok_or(Errno::EIO)?;
            // SAFETY: the slot's page is 4096 bytes long, and `merges` kept END + n within it.
            let end = unsafe { page.add(word.end()) };
            if !src.copy_in(end, n) {
                return Ok(WriteStep {
                    bytes: 0,
                    ended: Ended::Fault,
                    record: 0,
                });
            }
            last = Some((word, n));
        }
    }
    let odd = last.map_or(0, |l| l.1);
    let (new_head, fresh, fault) = fill_fresh(
        k,
        p,
        src,
        head,
        pos.wrapping_add(odd as u64),
        left - odd,
        kind,
    )?;
    if let Some((word, odd)) = last {
        crash_point("pipe.write.merge");
        // The reader may have the bytes, and log that, before we get any further: our place in
        // the pipe's order comes first.
        place = place.or_else(|| k.log.reserve(p));
        let cell = p.cell(k.arena, head - 1).ok_or(Errno::EIO)?;
        // By the word as it was: if the reader has left the slot behind, `fill_fresh` may have
        // used it again for the end of a write that fills the whole ring.
        // Release pairs with the reader's load of the word: it sees the bytes below END.
        if cell
            .word
            .compare_exchange(word.0, word.grown(odd).0, Release, Relaxed)
            .is_err()
        {
            // The reader emptied the slot meanwhile: as if it had come first. Once more, without.
            src.rewind(start);
            return fill(k, p, src, left, false, kind, place);
        }
    }
    let bytes = odd + fresh;
    if bytes == 0 {
        return Ok(WriteStep {
            bytes,
            ended: Ended::from_fault(fault),
            record: 0,
        });
    }
    p.written.store(pos.wrapping_add(bytes as u64), Relaxed);
    p.writes
        .store(p.writes.load(Relaxed).wrapping_add(1), Relaxed);
    let record = k.log.wrote(p, bytes, pos, place);
    crash_point("pipe.write.publish");
    if new_head != head {
        p.head.store(new_head, Release); // P1, P2; pairs with the reader's load
    }
    crash_point("pipe.write.published");
    Ok(WriteStep {
        bytes,
        ended: Ended::from_fault(fault),
        record,
    })
}

/// The last slot and how many bytes go into it, if Linux would merge.
#[inline(always)]
fn mergeable<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    head: u64,
    left: usize,
) -> Option<(SlotWord, usize)> {
    let last = head.checked_sub(1)?;
    let word = SlotWord(p.cell(k.arena, last)?.word.load(Acquire));
    if !word.is_of(last) {
        return None;
    }
    match word.merges(left) {
        0 => None,
        n => Some((word, n)),
    }
}

/// The page for slot `head`: the one after that of the slot before, or that one once more if the ring is known to be
/// empty. The first if there is no slot before, or its word was used again, as only an empty ring's can be.
#[inline(always)]
fn next_page(arena: &Arena, p: &Pipe, head: u64) -> Option<usize> {
    let Some(last) = head.checked_sub(1) else {
        return Some(0);
    };
    let word = SlotWord(p.cell(arena, last)?.word.load(Relaxed));
    if !word.is_of(last) {
        return Some(0);
    }
    // Asked only where a system call follows: to look at the tail costs its reader a cache miss.
    let empty = p.watched.load(Relaxed) != 0 && Tail::from_raw(p.tail.load(Acquire)).seq == head; // pairs with the reader's store
    let next = word.page() + usize::from(!empty);
    Some(next & p.capacity().saturating_sub(1) as usize)
}

/// Fills free slots from `head` on. The new head, the bytes, and whether guest memory faulted.
#[inline(always)]
fn fill_fresh<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    src: &mut U,
    head: u64,
    pos: u64,
    left: usize,
    kind: Kind,
) -> Result<(u64, usize, bool), SysError> {
    let slots = p.capacity();
    let mut tail = p.seen_tail.load(Relaxed);
    let mut at = head;
    let mut done = 0;
    let first = next_page(k.arena, p, head).ok_or(Errno::EIO)?;
    while done < left {
        if slot::is_full(at, tail, slots) {
            tail = Tail::from_raw(p.tail.load(Acquire)).seq; // pairs with the reader's store
            p.seen_tail.store(tail, Relaxed);
            if slot::is_full(at, tail, slots) {
                break;
            }
        }
        let n = (left - done).min(PAGE_SIZE);
        let place = first.wrapping_add(at.wrapping_sub(head) as usize);
        let word = SlotWord::new(at, n, kind).in_page(place & slots.saturating_sub(1) as usize);
        let page = p.page(k.arena, word).ok_or(Errno::EIO)?;
        if !src.copy_in(page, n) {
            return Ok((at, done, true));
        }
        let cell = p.cell(k.arena, at).ok_or(Errno::EIO)?;
        cell.base.store(pos.wrapping_add(done as u64), Relaxed);
        cell.word.store(word.0, Relaxed); // published by head
        at = at.wrapping_add(1);
        done += n;
    }
    Ok((at, done, false))
}

/// A writer that died may have counted bytes in `written` that never came into the pipe, or have
/// merged bytes that it did not count: the last slot knows. (Positions are for the log.)
#[cold]
pub(super) fn find_position(arena: &Arena, p: &Pipe) {
    let last = p.head.load(Relaxed).wrapping_sub(1);
    let cell = p
        .cell(arena, last)
        .filter(|c| SlotWord(c.word.load(Acquire)).is_of(last));
    match cell {
        Some(c) => {
            let end = SlotWord(c.word.load(Acquire)).end() as u64;
            p.written
                .store(c.base.load(Relaxed).wrapping_add(end), Relaxed);
        }
        // Its slot is gone, so all was read.
        None if p.looks_empty() => p.written.store(p.read.load(Relaxed), Relaxed),
        None => {}
    }
}

/// The buffer's 64 KiB come with the first byte.
#[cold]
fn first_use<H: Host>(k: &Ctx<'_, H>, p: &Pipe) -> Result<(), SysError> {
    let len = p.slots.load(Relaxed) as usize * PAGE_SIZE;
    let block = alloc::alloc_made(k.arena, k.me, k.host, len)?;
    p.data_at.store(block.raw(), Release);
    Ok(())
}
