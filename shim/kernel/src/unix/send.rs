//! One step of sending: what there is room for is published, and how much that was is told.

use super::queue::{Geometry, Queue, Record, Tail, HEADER};
use super::{cost, is_in, Pair, Side, Type};
use crate::abi::{Errno, SysError};
use crate::host::{crash_point, Host, UserRead};
use crate::log::Kind;
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// What a call is to send.
#[derive(Clone, Copy)]
pub struct Append {
    /// Who sends.
    pub side: Side,
    pub kind: Type,
    /// Bytes that are left.
    pub len: usize,
}

/// What one step came to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    pub bytes: usize,
    /// The program's memory could not be read; `bytes` were sent before.
    pub fault: bool,
    /// Nothing is left.
    pub done: bool,
}

/// Where else each record goes before it is published.
pub(super) trait Also {
    /// In which mode of the pair that is so.
    const MODE: u32;
    /// The record's bytes, in two pieces. EAGAIN: there is no room.
    fn send(&mut self, pieces: [(*mut u8, usize); 2]) -> Result<(), Errno>;
}

/// Nowhere else: the pair is served.
pub(super) struct Nowhere;

impl Also for Nowhere {
    const MODE: u32 = mode::RING;

    #[inline(always)]
    fn send(&mut self, _: [(*mut u8, usize); 2]) -> Result<(), Errno> {
        Ok(())
    }
}

/// Into the real socket as well: see [`super::pending`].
pub(super) struct Elsewhere<F>(pub F);

impl<F: FnMut([(*mut u8, usize); 2]) -> Result<(), Errno>> Also for Elsewhere<F> {
    const MODE: u32 = mode::PENDING;

    fn send(&mut self, pieces: [(*mut u8, usize); 2]) -> Result<(), Errno> {
        (self.0)(pieces)
    }
}

/// Sends as much as there is room for: of a stream piece by piece, a packet whole or not at all.
#[inline(always)]
pub fn try_send<H: Host, U: UserRead>(
    k: &Ctx<'_, H>,
    p: &Pair,
    what: Append,
    src: &mut U,
) -> Result<Sent, SysError> {
    send_with(k, p, what, src, &mut Nowhere)
}

/// As [`try_send`]. Errors: what `also` says, if nothing was sent before.
#[inline(always)]
pub(super) fn send_with<H: Host, U: UserRead, A: Also>(
    k: &Ctx<'_, H>,
    p: &Pair,
    what: Append,
    src: &mut U,
    also: &mut A,
) -> Result<Sent, SysError> {
    let q = p.from(what.side);
    let mut bytes = 0;
    loop {
        q.lock_writers(k, p);
        crash_point("unix.send.locked");
        if let Err(e) = is_in(p, A::MODE) {
            q.unlock_writers(k, Progress::None, 0);
            return unless_sent(bytes, e);
        }
        let first_pos = q.written.load(Relaxed);
        let left = Append {
            len: what.len - bytes,
            ..what
        };
        let (n, ended) = append_all(k, p, q, left, src, also);
        let mut record = 0;
        if k.log.is_on() && ended.any(n) {
            let queued = q.written.load(Relaxed).saturating_sub(q.read.load(Relaxed));
            let side = u64::from(what.side.bit());
            let abc = (n as i64, first_pos, queued << 1 | side);
            record = k.log.about(p, Kind::SocketSend, 0, abc);
        }
        let progress = match ended.any(n) {
            true => Progress::Made,
            false => Progress::None,
        };
        q.unlock_writers(k, progress, record);
        bytes += n;
        match ended {
            Ended::Done => return Ok(step(bytes, false, true)),
            Ended::NoRoom => return Ok(step(bytes, false, false)),
            Ended::Fault => return Ok(step(bytes, true, false)),
            Ended::RingFull(need) => {
                if let Err(e) = q.grow(k, p, need) {
                    return unless_sent(bytes, e);
                }
            }
            Ended::Refused(errno) => return unless_sent(bytes, errno.into()),
        }
    }
}

/// What was sent before is told; then the next call has the error.
fn unless_sent(bytes: usize, e: SysError) -> Result<Sent, SysError> {
    match bytes {
        0 => Err(e),
        _ => Ok(step(bytes, false, false)),
    }
}

fn step(bytes: usize, fault: bool, done: bool) -> Sent {
    Sent { bytes, fault, done }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// The sender's buffer is used up.
    NoRoom,
    Fault,
    /// The ring must have room for so many bytes more.
    RingFull(u64),
    /// By where it goes as well.
    Refused(Errno),
}

impl Ended {
    /// Whether something was published.
    #[inline(always)]
    fn any(self, bytes: usize) -> bool {
        bytes != 0 || self == Ended::Done
    }
}

#[inline(always)]
fn append_all<H: Host, U: UserRead, A: Also>(
    k: &Ctx<'_, H>,
    p: &Pair,
    q: &Queue,
    what: Append,
    src: &mut U,
    also: &mut A,
) -> (usize, Ended) {
    let sndbuf = p.socket(what.side).sndbuf.load(Relaxed);
    let mut bytes = 0;
    loop {
        let left = what.len - bytes;
        let (len, cost) = match what.kind {
            Type::Stream => {
                let len = cost::stream_piece(left, sndbuf);
                (len, cost::of_stream(len))
            }
            _ => (left, cost::of_packet(left)),
        };
        match append(k, q, src, (len as u64, u64::from(cost)), sndbuf, also) {
            Ended::Done => bytes += len,
            ended => return (bytes, ended),
        }
        if bytes == what.len {
            return (bytes, Ended::Done);
        }
    }
}

/// One record, if it may go out.
#[inline(always)]
fn append<H: Host, U: UserRead, A: Also>(
    k: &Ctx<'_, H>,
    q: &Queue,
    src: &mut U,
    (len, cost): (u64, u64),
    sndbuf: u32,
    also: &mut A,
) -> Ended {
    let sent = q.sent.load(Relaxed);
    if !cost::has_room(sent.saturating_sub(q.seen_freed.load(Relaxed)), sndbuf) {
        q.seen_freed.store(q.freed.load(Acquire), Relaxed);
        if !cost::has_room(sent.saturating_sub(q.seen_freed.load(Relaxed)), sndbuf) {
            return Ended::NoRoom;
        }
    }
    let geometry = q.geometry();
    let head = q.head.load(Relaxed);
    let need = Record::room(len);
    let seen = Tail::from_raw(q.seen_tail.load(Relaxed)).pos;
    if head.wrapping_sub(seen) + need > geometry.bytes {
        let tail = q.tail.load(Acquire); // pairs with the reader's store
        q.seen_tail.store(tail, Relaxed);
        if head.wrapping_sub(Tail::from_raw(tail).pos) + need > geometry.bytes {
            return Ended::RingFull(need);
        }
    }
    let start = src.position();
    let whole = geometry.parts(k.arena, head + HEADER, len, |to, n| src.copy_in(to, n));
    if !whole {
        src.rewind(start);
        return Ended::Fault;
    }
    if A::MODE != mode::RING {
        if let Err(errno) = send_elsewhere(k, geometry, (head + HEADER, len), also) {
            src.rewind(start);
            return match errno {
                Errno::EAGAIN => Ended::NoRoom,
                errno => Ended::Refused(errno),
            };
        }
    }
    let written = q.written.load(Relaxed);
    let words = [len | cost << 32, sent, written];
    for (i, word) in words.into_iter().enumerate() {
        match geometry.word(k.arena, head + 8 * i as u64) {
            Some(at) => at.store(word, Relaxed),
            None => return Ended::Fault, // somebody scribbled
        }
    }
    q.sent.store(sent.wrapping_add(cost), Release);
    q.written.store(written.wrapping_add(len), Relaxed);
    q.writes
        .store(q.writes.load(Relaxed).wrapping_add(1), Relaxed);
    crash_point("unix.send.publish");
    q.head.store(head + need, Release); // pairs with the reader's load
    crash_point("unix.send.published");
    Ended::Done
}

fn send_elsewhere<H: Host>(
    k: &Ctx<'_, H>,
    geometry: Geometry,
    (pos, len): (u64, u64),
    also: &mut impl Also,
) -> Result<(), Errno> {
    let mut pieces = [(core::ptr::null_mut(), 0); 2];
    let mut to = pieces.iter_mut();
    geometry.parts(k.arena, pos, len, |at, n| {
        if let Some(piece) = to.next() {
            *piece = (at, n);
        }
        true
    });
    also.send(pieces)?;
    crash_point("unix.pending.sent");
    Ok(())
}

/// What a packet of this length comes to before anything else is looked at.
pub fn check_length(p: &Pair, side: Side, len: usize) -> Result<(), Errno> {
    let sndbuf = p.socket(side).sndbuf.load(Relaxed);
    match len > cost::longest_packet(sndbuf) {
        true => Err(Errno::EMSGSIZE),
        false => Ok(()),
    }
}
