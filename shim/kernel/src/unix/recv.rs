//! One step of receiving: what is there is taken, and how much that was is told.

use super::queue::{Queue, Record, Tail, HEADER};
use super::{cost, served, Pair, Side, Type};
use crate::abi::SysError;
use crate::host::{crash_point, Host, UserWrite};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::{self, Progress};

/// What a call is to take.
#[derive(Clone, Copy)]
pub struct Want {
    /// Who receives.
    pub side: Side,
    pub kind: Type,
    /// Bytes that are wanted yet.
    pub len: usize,
    /// MSG_PEEK.
    pub peek: bool,
}

/// What one step came to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub bytes: usize,
    /// Of a packet: how long it was.
    pub packet: usize,
    pub fault: bool,
    /// There was something, if only of no length.
    pub any: bool,
}

/// Takes at most `want.len` bytes: of a stream from as many records as there are, a packet whole, what
/// did not fit of it being lost.
#[inline(always)]
pub fn try_recv<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    p: &Pair,
    want: Want,
    dst: &mut U,
) -> Result<Taken, SysError> {
    let from = want.side.other();
    let q = p.from(from);
    q.lock_readers(k, p);
    crash_point("unix.recv.locked");
    if let Err(e) = served(p) {
        q.unlock_readers(k, Progress::None, 0);
        return Err(e);
    }
    let at = Tail::from_raw(q.tail.load(Relaxed));
    let (taken, to, freed, pos) = match want.kind {
        Type::Stream => take_stream(k, q, want, dst, at),
        _ => take_packet(k, q, want, dst, at),
    };
    if to == at {
        q.unlock_readers(k, Progress::None, 0);
        return Ok(taken);
    }
    let read = match want.kind {
        Type::Stream => pos + taken.bytes as u64,
        _ => pos + taken.packet as u64,
    };
    q.read.store(read, Relaxed);
    q.reads
        .store(q.reads.load(Relaxed).wrapping_add(1), Relaxed);
    let mut record = 0;
    if k.log.is_on() {
        let queued = q.written.load(Relaxed).saturating_sub(read);
        let side = u64::from(want.side.bit());
        let abc = (taken.bytes as i64, pos, queued << 1 | side);
        record = k.log.about(p, Kind::SocketRecv, 0, abc);
    }
    q.freed.store(freed, Release);
    crash_point("unix.recv.publish");
    q.tail.store(to.raw(), Release); // pairs with the writer's load
    crash_point("unix.recv.published");
    q.unlock_readers(k, tells(p, q, from), record);
    Ok(taken)
}

/// A writer that sleeps is woken when a quarter of its buffer is in use at the most. Nobody sleeps,
/// as far as is known: then the one who is just going to is woken in any case.
#[inline(always)]
fn tells(p: &Pair, q: &Queue, from: Side) -> Progress {
    if lock_word::is_announced(&q.rlock.word) {
        let sndbuf = p.socket(from).sndbuf.load(Relaxed);
        if !cost::is_writable(q.charged(), sndbuf) {
            return Progress::None;
        }
    }
    Progress::Made
}

const NOTHING: Taken = Taken {
    bytes: 0,
    packet: 0,
    fault: false,
    any: false,
};

/// The head, looked at anew if nothing is left of what was seen.
#[inline(always)]
fn head_beyond(q: &Queue, pos: u64) -> u64 {
    let seen = q.seen_head.load(Relaxed);
    if pos < seen {
        return seen;
    }
    let head = q.head.load(Acquire); // pairs with the writer's store
    q.seen_head.store(head, Relaxed);
    head
}

/// What was taken, the tail behind it, the cost that is free then, and where in the stream it was.
type Step = (Taken, Tail, u64, u64);

#[inline(always)]
fn take_stream<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    q: &Queue,
    want: Want,
    dst: &mut U,
    from: Tail,
) -> Step {
    let geometry = q.geometry();
    let mut at = from;
    let mut taken = NOTHING;
    let mut freed = q.freed.load(Relaxed);
    let mut pos = q.read.load(Relaxed);
    while at.pos < head_beyond(q, at.pos) {
        let Some(record) = geometry.record(k.arena, at.pos) else {
            break;
        };
        let there = record.len.saturating_sub(at.off);
        let n = there.min((want.len - taken.bytes) as u64);
        if !taken.any {
            pos = record.base + at.off;
        }
        let from = at.pos + HEADER + at.off;
        if !geometry.parts(k.arena, from, n, |at, len| dst.copy_out(at, len)) {
            taken.fault = true;
            break;
        }
        taken.any = true;
        taken.bytes += n as usize;
        if n == there {
            freed = record.cost_before + record.cost;
            at = behind(at, &record);
        } else {
            at.off += n;
        }
        if taken.bytes == want.len || planted(Bug::UnixStreamOfRecords) {
            break;
        }
    }
    if want.peek || taken.bytes == 0 {
        at = from;
    }
    (taken, at, freed, pos)
}

fn behind(at: Tail, record: &Record) -> Tail {
    Tail {
        pos: at.pos + Record::room(record.len),
        off: 0,
    }
}

#[inline(always)]
fn take_packet<H: Host, U: UserWrite>(
    k: &Ctx<'_, H>,
    q: &Queue,
    want: Want,
    dst: &mut U,
    at: Tail,
) -> Step {
    let freed = q.freed.load(Relaxed);
    let pos = q.read.load(Relaxed);
    if at.pos >= head_beyond(q, at.pos) {
        return (NOTHING, at, freed, pos);
    }
    let geometry = q.geometry();
    let Some(record) = geometry.record(k.arena, at.pos) else {
        return (NOTHING, at, freed, pos);
    };
    let n = record.len.min(want.len as u64);
    let whole = geometry.parts(k.arena, at.pos + HEADER, n, |at, len| dst.copy_out(at, len));
    let taken = Taken {
        bytes: if whole { n as usize } else { 0 },
        packet: match planted(Bug::UnixTruncatedLength) {
            true => n as usize,
            false => record.len as usize,
        },
        fault: !whole,
        any: true,
    };
    if want.peek {
        return (taken, at, freed, record.base);
    }
    // Read or not, it is gone.
    let freed = record.cost_before + record.cost;
    (taken, behind(at, &record), freed, record.base)
}
