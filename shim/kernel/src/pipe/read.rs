//! read(2) on a pipe, one step: take what is there, publish, say how much.
//!
//! Linux v6.18 fs/pipe.c `anon_pipe_read`: buffers are copied out in order until the request is
//! satisfied or the ring is empty; a packet ends the read and what did not fit of it is dropped;
//! a fault in a buffer leaves that buffer as it was.

use super::slot::{SlotWord, Tail};
use super::{Ctx, Ended, Pipe, SlotCell};
use crate::abi::{Errno, SysError};
use crate::arena::Arena;
use crate::host::{crash_point, Host, UserWrite};
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// What one step did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadStep {
    pub bytes: usize,
    pub ended: Ended,
    pub record: u64,
}

/// Reads at most `want` bytes of what is there.
#[inline(always)]
pub fn try_read<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    dst: &mut U,
    want: usize,
) -> Result<ReadStep, SysError> {
    p.lock_readers(k);
    if !p.is_ring() {
        p.unlock_readers(k, Progress::None, 0);
        return Err(SysError::Demoted);
    }
    crash_point("pipe.read.locked");
    let taken = match drain_one(k, p, dst, want) {
        Some(taken) => Ok(taken),
        None => drain(k, p, dst, want),
    };
    match taken {
        Ok((step, progress)) => {
            p.unlock_readers(k, progress, step.record);
            Ok(step)
        }
        Err(e) => {
            p.unlock_readers(k, Progress::None, 0);
            Err(e)
        }
    }
}

/// The usual case, in one go: all that is wanted, or all that is there, lies in one slot, and the
/// slot is no packet. `None`: the long way.
#[inline(always)]
fn drain_one<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    dst: &mut U,
    want: usize,
) -> Option<(ReadStep, Progress)> {
    let at = Tail::from_raw(p.tail.load(Relaxed)); // P4: ours
    let mut head = p.seen_head.load(Relaxed);
    if at.seq >= head {
        head = p.head.load(Acquire); // pairs with the writer's store
        p.seen_head.store(head, Relaxed);
        if at.seq >= head {
            let nothing = ReadStep {
                bytes: 0,
                ended: Ended::No,
                record: 0,
            };
            return Some((nothing, Progress::None));
        }
    }
    let seen = SlotWord(p.seen_word.load(Relaxed));
    if seen.is_of(at.seq) && want < seen.end().saturating_sub(at.off) && !seen.is_packet() {
        return drain_seen(k, p, dst, want, (at, seen));
    }
    let cell = p.cell(k.arena, at.seq)?;
    let word = SlotWord(cell.word.load(Acquire)); // pairs with the writer's CAS: bytes < END
    p.seen_word.store(word.0, Relaxed);
    let there = word.end().saturating_sub(at.off);
    if there == 0 || word.is_packet() || (there < want && head != at.seq + 1) {
        return None;
    }
    if there < want {
        head = p.head.load(Acquire);
        p.seen_head.store(head, Relaxed);
        if head != at.seq + 1 {
            return None;
        }
    }
    let n = there.min(want);
    let page = p.page(k.arena, word)?;
    // SAFETY: off + n <= END <= 4096, the length of the page.
    if !dst.copy_out(unsafe { page.add(at.off) }, n) {
        return None; // the long way finds the fault again, and says so
    }
    let mut to = Tail {
        seq: at.seq,
        off: at.off + n,
    };
    if n == there && retire(p, cell, word, at.seq, &mut head) {
        to = Tail {
            seq: at.seq + 1,
            off: 0,
        };
    }
    let pos = cell.base.load(Relaxed).wrapping_add(at.off as u64);
    p.read.store(pos.wrapping_add(n as u64), Relaxed);
    p.reads
        .store(p.reads.load(Relaxed).wrapping_add(1), Relaxed);
    let record = k.log.read(p, n, pos);
    crash_point("pipe.read.publish");
    p.tail.store(to.raw(), Release); // P1; pairs with the writer's load
    crash_point("pipe.read.published");
    let progress = if to.seq != at.seq {
        Progress::Made
    } else {
        Progress::None
    };
    Some((
        ReadStep {
            bytes: n,
            ended: Ended::No,
            record,
        },
        progress,
    ))
}

/// All that is wanted is less than what was seen in the slot before.
#[inline(always)]
fn drain_seen<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    dst: &mut U,
    want: usize,
    (at, seen): (Tail, SlotWord),
) -> Option<(ReadStep, Progress)> {
    let page = p.page(k.arena, seen)?;
    // SAFETY: off + want < END <= 4096, the length of the page.
    if !dst.copy_out(unsafe { page.add(at.off) }, want) {
        return None;
    }
    let pos = p.read.load(Relaxed);
    p.read.store(pos.wrapping_add(want as u64), Relaxed);
    p.reads
        .store(p.reads.load(Relaxed).wrapping_add(1), Relaxed);
    let record = k.log.read(p, want, pos);
    let to = Tail {
        seq: at.seq,
        off: at.off + want,
    };
    crash_point("pipe.read.publish");
    p.tail.store(to.raw(), Release); // P1; pairs with the writer's load
    crash_point("pipe.read.published");
    let step = ReadStep {
        bytes: want,
        ended: Ended::No,
        record,
    };
    Some((step, Progress::None))
}

/// A reader that died may have counted bytes in `read` that are still there: the first slot knows.
/// (Positions are for the log.)
#[cold]
pub(super) fn find_position(arena: &Arena, p: &Pipe) {
    p.seen_word.store(0, Relaxed);
    let at = Tail::from_raw(p.tail.load(Relaxed));
    if at.seq < p.head.load(Acquire) {
        if let Some(cell) = p.cell(arena, at.seq) {
            let base = cell.base.load(Relaxed);
            p.read.store(base.wrapping_add(at.off as u64), Relaxed);
        }
    }
}

#[inline(never)]
fn drain<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    dst: &mut U,
    want: usize,
) -> Result<(ReadStep, Progress), SysError> {
    let from = Tail::from_raw(p.tail.load(Relaxed)); // P4: ours
    let mut at = from;
    let mut head = p.seen_head.load(Relaxed);
    let mut step = ReadStep {
        bytes: 0,
        ended: Ended::No,
        record: 0,
    };
    let mut first_pos = None;
    let mut dropped = 0;
    let slots = u64::from(p.capacity());
    while step.bytes < want && step.ended != Ended::Packet {
        if at.seq - from.seq > slots {
            return Err(Errno::EIO.into()); // P1 broken: somebody scribbled
        }
        if at.seq >= head {
            head = p.head.load(Acquire); // pairs with the writer's store
            p.seen_head.store(head, Relaxed);
            if at.seq >= head {
                break;
            }
        }
        if at.seq != from.seq && planted(Bug::PipeReadsOneBuffer) {
            break;
        }
        let cell = p.cell(k.arena, at.seq).ok_or(Errno::EIO)?;
        let word = SlotWord(cell.word.load(Acquire)); // pairs with the writer's CAS: bytes < END
        let n = word.end().saturating_sub(at.off).min(want - step.bytes);
        if n > 0 {
            let page = p.page(k.arena, word).ok_or(Errno::EIO)?;
            // SAFETY: off + n <= END <= 4096, the length of the page.
            if !dst.copy_out(unsafe { page.add(at.off) }, n) {
                step.ended = Ended::Fault;
                break;
            }
            first_pos.get_or_insert(cell.base.load(Relaxed).wrapping_add(at.off as u64));
            at.off += n;
            step.bytes += n;
        }
        if word.is_packet() {
            step.ended = Ended::Packet;
            dropped = word.end().saturating_sub(at.off);
            at.off = word.end();
        }
        if at.off >= word.end() && retire(p, cell, word, at.seq, &mut head) {
            at = Tail {
                seq: at.seq + 1,
                off: 0,
            };
        }
    }
    if at == from {
        return Ok((step, Progress::None));
    }
    let pos = first_pos.unwrap_or_else(|| p.read.load(Relaxed));
    p.read
        .store(pos.wrapping_add((step.bytes + dropped) as u64), Relaxed);
    p.reads
        .store(p.reads.load(Relaxed).wrapping_add(1), Relaxed);
    step.record = k.log.read(p, step.bytes, pos);
    crash_point("pipe.read.publish");
    p.tail.store(at.raw(), Release); // P1; pairs with the writer's load
    crash_point("pipe.read.published");
    // A writer waits for a slot, not for bytes.
    let progress = if at.seq != from.seq {
        Progress::Made
    } else {
        Progress::None
    };
    Ok((step, progress))
}

/// Whether slot `seq`, read to its end, may be left behind. The last slot must be closed first,
/// because a writer could be appending to it.
#[inline(always)]
fn retire(p: &Pipe, cell: &SlotCell, word: SlotWord, seq: u64, head: &mut u64) -> bool {
    if !word.is_open() {
        return true;
    }
    if *head == seq + 1 {
        *head = p.head.load(Acquire);
        p.seen_head.store(*head, Relaxed);
    }
    if *head > seq + 1 {
        // P3: the writer has gone on. It may have appended before it did: look at END again.
        return SlotWord(cell.word.load(Acquire)).end() == word.end();
    }
    crash_point("pipe.read.close");
    cell.word
        .compare_exchange(word.0, word.closed().0, Acquire, Relaxed)
        .is_ok()
}
