//! Demotion: the ring's bytes go into the twin, and from then on the kernel serves the pipe.
//!
//! Lock order: rlock, wlock, token_lock.
//!
//! A page that was read in part keeps its place in Linux, with what was read of it: nothing is appended there that does
//! not fit behind. So the first slot goes over from its beginning, and what was read before is taken out of the twin again.
//!
//! # Crash points
//!
//! - C1. Killed while the bytes are being moved: some slots are in the twin, the rest is in the
//!   ring, and `mode` says DEMOTING. Whoever comes next is told `Demoted`, and must call
//!   [`demote`], which goes on where this one stopped. How far that was, the twin itself says
//!   (FIONREAD): nobody reads it before `mode` says KERNEL. So no slot is moved twice.
//! - C2. Killed before what was read of the first slot was taken out again: then the twin has as many bytes as the
//!   slot, and `tail` still says how many of them were read.

use super::slot::{SlotWord, Tail};
use super::watch::{self, Tokens};
use super::{mode, Ctx, Pipe};
use crate::abi::SysError;
use crate::host::{crash_point, Host};
use crate::log::{Cause, Kind};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// The twin, with both ends open for the demoter.
pub trait Flush: Tokens {
    /// Sees to it that the twin has as many slots as the ring: whoever was changing both may have
    /// died in between.
    fn make_room(&self, _slots: u32) {}
    /// Writes one slot's bytes as one write(2), as a packet if it was one. `false`: not written.
    fn write_slot(&self, from: *const u8, len: usize, packet: bool) -> bool;
    /// Takes the first `len` bytes of a page out again. `false`: they are still there.
    fn drop_first(&self, len: usize) -> bool;
}

/// Moves the pipe to the kernel. `Ok(bytes moved)`; `Err` if it was there already, or if the
/// twin did not take the bytes: then the pipe stays a ring if it took none, else DEMOTING, and
/// nothing is lost.
pub fn demote<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    twin: &impl Flush,
    cause: Cause,
) -> Result<u64, SysError> {
    p.lock_readers(k);
    p.lock_writers(k);
    let before = p.mode.load(Acquire);
    let known = watch::known(p);
    let moved = match before {
        mode::RING | mode::DEMOTING => move_bytes(k, p, twin, before, cause),
        _ => Err(SysError::Demoted),
    };
    p.unlock_writers(k, Progress::None, 0);
    p.unlock_readers(k, Progress::None, 0);
    let Some(bytes) = moved? else {
        if p.watched.load(Acquire) != 0 {
            watch::reconcile(k, known, twin, watch::Side::Both); // its tokens were taken out
        }
        return Err(SysError::Errno(crate::abi::Errno::EIO));
    };
    k.arena.header().demotions.fetch_add(1, Relaxed);
    let record = k
        .log
        .pipe(p, Kind::Demote, 0, (i64::from(cause.raw()), bytes, 0));
    p.wake_everybody(k.host, record);
    Ok(bytes)
}

/// `Ok(None)`: the twin did not take them; what is left is in the ring still.
fn move_bytes<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pipe,
    twin: &impl Flush,
    before: u32,
    cause: Cause,
) -> Result<Option<u64>, SysError> {
    watch::clear(k, p, twin, before);
    let mut there = 0;
    if before == mode::RING {
        let tail = Tail::from_raw(p.tail.load(Relaxed));
        p.demote_from.store(position(k, p, tail), Relaxed);
    } else {
        there = u64::from(twin.count().unwrap_or(0));
    }
    p.mode.store(mode::DEMOTING, Release); // C1
    twin.make_room(p.capacity());
    let from = p.tail.load(Relaxed);
    let moved = drop_read(k, p, twin, there)
        .and_then(|there| flush(k, p, twin, p.demote_from.load(Relaxed).wrapping_add(there)));
    let untouched = p.tail.load(Relaxed) == from && twin.count() == Some(0);
    if moved.is_none() && before == mode::RING && untouched {
        p.mode.store(mode::RING, Release); // as if it had not been tried
    }
    if moved.is_some() {
        p.demote_cause.store(cause.raw(), Relaxed);
        crash_point("pipe.demote.mode");
        p.mode.store(mode::KERNEL, Release); // P6
    }
    watch::cleared(k, p);
    Ok(moved)
}

/// Stream position of the byte at `tail`.
fn position<H: Host>(k: &Ctx<'_, H>, p: &Pipe, tail: Tail) -> u64 {
    let base = p
        .cell(k.arena, tail.seq)
        .map_or(0, |c| c.base.load(Relaxed));
    base.wrapping_add(tail.off as u64)
}

/// What a predecessor had no time for (C2). How many bytes are in the twin then, of `there` before.
fn drop_read<H: Host>(k: &Ctx<'_, H>, p: &Pipe, twin: &impl Flush, there: u64) -> Option<u64> {
    let tail = Tail::from_raw(p.tail.load(Relaxed));
    if there == 0 || tail.off == 0 {
        return Some(there);
    }
    let word = SlotWord(p.cell(k.arena, tail.seq)?.word.load(Relaxed));
    if there != word.end() as u64 {
        return Some(there);
    }
    twin.drop_first(tail.off)
        .then(|| there.saturating_sub(tail.off as u64))
}

/// Moves every slot that does not lie before `there`, a stream position, where a predecessor
/// came to.
fn flush<H: Host>(k: &Ctx<'_, H>, p: &Pipe, twin: &impl Flush, there: u64) -> Option<u64> {
    let mut moved = 0;
    loop {
        let tail = Tail::from_raw(p.tail.load(Relaxed));
        let left = p.head.load(Relaxed).wrapping_sub(tail.seq);
        if left == 0 {
            return Some(moved);
        }
        if left > u64::from(p.capacity()) {
            return None; // P1 broken: somebody scribbled
        }
        let word = SlotWord(p.cell(k.arena, tail.seq)?.word.load(Relaxed));
        let len = word.end().saturating_sub(tail.off);
        let moved_before = (position(k, p, tail).wrapping_sub(there) as i64) < 0;
        if len > 0 && !moved_before {
            if word.is_packet() && tail.off > 0 {
                return None; // none is read in part: scribbled, too
            }
            let page = p.page(k.arena, word)?;
            if !twin.write_slot(page, word.end(), word.is_packet()) {
                return None;
            }
            crash_point("pipe.demote.whole"); // C2
            if tail.off > 0 && !twin.drop_first(tail.off) {
                return None;
            }
        }
        moved += len as u64;
        crash_point("pipe.demote.slot");
        p.tail.store(
            Tail {
                seq: tail.seq + 1,
                off: 0,
            }
            .raw(),
            Release,
        ); // C1
    }
}
