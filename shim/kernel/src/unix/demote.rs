//! Demotion: what is in both queues goes into the twins, record by record, and from then on the kernel
//! serves the pair.
//!
//! # Crash points
//!
//! - C1. Killed while records are moved: some are in the twins, the rest is here, and `mode` says
//!   DEMOTING. Whoever comes next is told `Demoted`, and must call [`demote`], which goes on where
//!   this one stopped: how far that was, the twins themselves say (nobody reads them before `mode` says
//!   KERNEL), by what is charged to the sender. So no record is moved twice.
//!   (Killed as it drops what was received of what was sent before accept: `mode` says RING yet, and the next one drops the rest.)
//! - C2. The first record of a stream is moved whole, so that it costs what it did, and what was read of
//!   it is dropped at the end: as much as there is too much.

use super::queue::{Queue, Tail};
use super::{table, Pair, Side};
use crate::abi::{Errno, SysError};
use crate::host::{crash_point, Host};
use crate::log::{Cause, Kind};
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// The real pair, with both sockets at hand.
pub trait RealPair {
    /// Sends one record, whose bytes are in two pieces, from this side. `false`: not sent.
    fn send(&self, side: Side, pieces: [(*mut u8, usize); 2]) -> bool;
    /// What is charged to this side (SIOCOUTQ). `None`: it can not be asked.
    fn charged(&self, side: Side) -> Option<u64>;
    /// Bytes that this side can read (FIONREAD).
    fn readable(&self, side: Side) -> Option<u64>;
    /// This side reads so many bytes. `false`: it could not.
    fn drop_bytes(&self, side: Side, n: u64) -> bool;
    /// This side reads one record. `false`: there is none.
    fn drop_record(&self, side: Side) -> bool;
    /// SO_SNDBUF of this side. `None`: as much as there may be.
    fn set_sndbuf(&self, side: Side, bytes: Option<u32>);
    /// shutdown(2), `bits` as in [`super::shut`].
    fn shut_down(&self, side: Side, bits: u32);
}

/// Moves the pair to the kernel. `Ok(bytes moved)`; `Demoted` if it was there already; EIO if the twins
/// did not take everything: then it stays as it was if they took nothing, else DEMOTING.
pub fn demote<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    twin: &impl RealPair,
    cause: Cause,
) -> Result<u64, SysError> {
    table::lock(k, p);
    let moved = match p.mode.load(Acquire) {
        before @ (mode::RING | mode::DEMOTING) => move_all(k, p, twin, before, cause),
        _ => Err(SysError::Demoted),
    };
    table::unlock(k, p, Progress::None);
    let bytes = moved?;
    k.arena.header().demotions.fetch_add(1, Relaxed);
    let abc = (i64::from(cause.raw()), bytes, 0);
    let record = k.log.about(p, Kind::Demote, 0, abc);
    p.wake_everybody(k.host, record);
    Ok(bytes)
}

/// As [`demote`], where `side`'s peer is gone and nothing is left to be received, or only what the real socket of a
/// stream has as well: nothing has to be moved, and one socket is enough. `real` makes of that what ringer knows: the bits of
/// [`super::shut`], and how many bytes are left.
/// `false`: something is left, or to be told, and it is as it was.
pub fn demote_widowed<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    side: Side,
    real: impl FnOnce(u32, u64),
    cause: Cause,
) -> bool {
    table::lock(k, p);
    let q = p.from(side.other());
    let is_early = side == Side::B
        && p.type_of() == super::Type::Stream
        && p.has_early()
        && q.sent.load(Relaxed) == p.early_sent.load(Relaxed);
    let nothing_left = (q.is_empty() || is_early) && !p.has_reset(k.arena, side);
    let done = nothing_left && p.is_served();
    if done {
        let bits = p.shut.load(Acquire) >> (2 * side.bit()) & 3;
        real(bits, q.queued(k.arena, false));
        p.early.store(0, Release);
        p.demote_cause.store(cause.raw(), Relaxed);
        p.mode.store(mode::KERNEL, Release);
        // What nobody will receive any more.
        p.queues.iter().for_each(Queue::forget);
    }
    table::unlock(k, p, Progress::None);
    if done {
        k.arena.header().demotions.fetch_add(1, Relaxed);
        let abc = (i64::from(cause.raw()), 0, 0);
        let record = k.log.about(p, Kind::Demote, 0, abc);
        p.wake_everybody(k.host, record);
    }
    done
}

fn move_all<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    twin: &impl RealPair,
    before: u32,
    cause: Cause,
) -> Result<u64, SysError> {
    let mut bytes = 0;
    let mut any = before == mode::DEMOTING;
    for side in Side::BOTH {
        let q = p.from(side);
        let there = match before {
            mode::DEMOTING => twin.charged(side).ok_or(Errno::EIO)?,
            _ if side == Side::A && p.has_early() => trim_early(k, p, twin).ok_or(Errno::EIO)?,
            _ => 0,
        };
        p.mode.store(mode::DEMOTING, Release); // C1
        p.early.store(0, Release);
        if !move_queue(k, p, q, side, there, twin, &mut bytes) {
            any |= bytes != 0 || twin.charged(side) != Some(0);
            if !any {
                p.mode.store(mode::RING, Release); // as if it had not been tried
            }
            return Err(Errno::EIO.into());
        }
    }
    for side in Side::BOTH {
        let bits = p.shut.load(Acquire) >> (2 * side.bit()) & 3;
        if bits != 0 {
            twin.shut_down(side, bits);
        }
    }
    p.demote_cause.store(cause.raw(), Relaxed);
    crash_point("unix.demote.mode");
    p.mode.store(mode::KERNEL, Release);
    Ok(bytes)
}

/// What was sent before accept is in the twin as it was sent (see `pending`). What was received of it since is dropped, but for
/// a part of a record; what is charged for the rest. `None`: the twin can not be asked.
fn trim_early<H: Host>(k: &Ctx<'_, H>, p: &Pair, twin: &impl RealPair) -> Option<u64> {
    let is_stream = p.type_of() == super::Type::Stream;
    let end = p.early_sent.load(Relaxed);
    let (mut cost, mut bytes) = (0, 0);
    p.from(Side::A).for_each_whole(k.arena, |record, _, _| {
        if record.cost_before < end {
            cost += record.cost;
            bytes += record.len;
        }
        true
    });
    loop {
        let there = twin.charged(Side::A)?;
        let more = twin.readable(Side::B)?.saturating_sub(bytes);
        let dropped = match is_stream {
            true => more > 0 && twin.drop_bytes(Side::B, more),
            false => there > cost && twin.drop_record(Side::B),
        };
        if !dropped && there == cost {
            return Some(cost);
        }
        if !dropped {
            break;
        }
    }
    // It is not what it was: the queue has all of it.
    while twin.charged(Side::A)? > 0 && twin.drop_record(Side::B) {}
    Some(0)
}

/// Moves what is not `there` yet. `false`: the twin did not take it.
fn move_queue<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    q: &Queue,
    side: Side,
    there: u64,
    twin: &impl RealPair,
    bytes: &mut u64,
) -> bool {
    if q.is_empty() {
        return true;
    }
    // It may be smaller than when all this was sent.
    twin.set_sndbuf(side, None);
    let mut passed = 0;
    let mut left = 0;
    let moved = q.for_each_whole(k.arena, |record, off, pieces| {
        passed += record.cost;
        if passed > there && !twin.send(side, pieces) {
            return false;
        }
        left += record.len.saturating_sub(off);
        crash_point("unix.demote.record");
        true
    });
    let trimmed = moved && drop_read(p, side.other(), left, twin);
    twin.set_sndbuf(side, Some(p.socket(side).sndbuf.load(Relaxed)));
    if !trimmed {
        return false;
    }
    crash_point("unix.demote.trimmed");
    *bytes += left;
    // Now all is in the twin. (Before, a successor must find where this began.)
    q.freed.store(q.sent.load(Relaxed), Release);
    let head = q.head.load(Relaxed);
    q.tail.store(Tail { pos: head, off: 0 }.raw(), Release);
    true
}

/// C2: of a stream not more than `left` bytes are left.
fn drop_read(p: &Pair, reader: Side, left: u64, twin: &impl RealPair) -> bool {
    if p.type_of() != super::Type::Stream {
        return true;
    }
    match twin.readable(reader) {
        Some(n) if n > left => twin.drop_bytes(reader, n - left),
        Some(_) => true,
        None => false,
    }
}
