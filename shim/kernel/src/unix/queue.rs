//! One direction: a ring of bytes in which records lie one behind the other.
//!
//! ```text
//! position 0 mod 8: [ length u32 | cost u32 | cost of all before it u64 | bytes before it u64 ]
//!                   [ the bytes, which may go on at the ring's beginning | up to 7 bytes of nothing ]
//! ```
//!
//! Positions only grow; the ring's length is a power of two. A record is what Linux has a buffer for: a
//! datagram, or a piece of a stream, of which `tail` may point to the middle.

use super::Pair;
use crate::abi::{Errno, SysError};
use crate::arena::{alloc, off, Arena, Off};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::{Found, RobustLock};
use crate::sync::wait_queue::WaitQueue;

/// In the arena. Each group of fields has a cache line of its own.
#[repr(C, align(64))]
pub struct Queue {
    // Line 0: what the writer publishes.
    /// Position behind the last record.
    pub head: AtomicU64,
    _line0: [AtomicU64; 7],
    // Line 1: the writers' own.
    pub wlock: RobustLock,
    _pad1: AtomicU32,
    /// Cost of all that was ever sent.
    pub sent: AtomicU64,
    /// Bytes of all that was ever sent.
    pub written: AtomicU64,
    /// The tail and `freed` as the writers saw them last.
    pub(super) seen_tail: AtomicU64,
    pub(super) seen_freed: AtomicU64,
    pub writes: AtomicU64,
    _line1: [AtomicU64; 2],
    // Line 2: what the reader publishes.
    /// See [`Tail`].
    pub tail: AtomicU64,
    /// Cost of all that was read to its end.
    pub freed: AtomicU64,
    _line2: [AtomicU64; 6],
    // Line 3: the readers' own.
    pub rlock: RobustLock,
    _pad3: AtomicU32,
    /// The head as the readers saw it last.
    pub(super) seen_head: AtomicU64,
    /// Bytes of all that was ever read.
    pub read: AtomicU64,
    pub reads: AtomicU64,
    _line3: [AtomicU64; 4],
    // Line 4: hardly ever written.
    /// Where the ring is, and how long: see [`Geometry`].
    pub geometry: AtomicU64,
    _line4: [AtomicU64; 7],
    // Lines 5 to 12: sleepers.
    pub rd_wait: WaitQueue,
    pub wr_wait: WaitQueue,
}

pub(super) const HEADER: u64 = 24;
const FIRST_RING: u64 = 16 << 10;
const LONGEST_RING: u64 = 1 << alloc::MAX_SHIFT;

/// The next byte to be read: the position of its record, and how much of that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    pub pos: u64,
    pub off: u64,
}

impl Tail {
    const OFF_BITS: u32 = 20;

    #[inline(always)]
    pub fn from_raw(raw: u64) -> Tail {
        Tail {
            pos: raw >> Tail::OFF_BITS << 3,
            off: raw & ((1 << Tail::OFF_BITS) - 1),
        }
    }

    #[inline(always)]
    pub fn raw(self) -> u64 {
        self.pos >> 3 << Tail::OFF_BITS | self.off
    }
}

/// Offset of the ring in the heap, and log2 of its length: 0 before the first message.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub at: u32,
    pub bytes: u64,
}

impl Geometry {
    #[inline(always)]
    fn from_raw(raw: u64) -> Geometry {
        let shift = (raw & 0x1f) as u32;
        Geometry {
            at: (raw >> 32) as u32,
            bytes: if raw == 0 { 0 } else { 1 << shift },
        }
    }

    fn raw(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.bytes.trailing_zeros())
    }

    /// The ring's bytes from `pos` on, up to its end at the most `len`.
    #[inline(always)]
    fn part(self, arena: &Arena, pos: u64, len: u64) -> Option<(*mut u8, u64)> {
        let index = pos & self.bytes.checked_sub(1)?;
        let n = len.min(self.bytes - index);
        let start = self.at as usize * off::UNIT + index as usize;
        Some((arena.bytes_at(start, n as usize)?, n))
    }

    /// Calls `f` for the one or two pieces of `len` bytes from `pos` on.
    #[inline(always)]
    pub fn parts(
        self,
        arena: &Arena,
        pos: u64,
        len: u64,
        mut f: impl FnMut(*mut u8, usize) -> bool,
    ) -> bool {
        let Some((first, n)) = self.part(arena, pos, len) else {
            return len == 0;
        };
        if n != 0 && !f(first, n as usize) {
            return false;
        }
        if n == len {
            return true;
        }
        match self.part(arena, pos + n, len - n) {
            Some((rest, m)) if m == len - n => f(rest, m as usize),
            _ => false,
        }
    }

    #[inline(always)]
    pub fn word(self, arena: &Arena, pos: u64) -> Option<&'static AtomicU64> {
        let index = pos & self.bytes.checked_sub(1)?;
        let start = self.at as usize * off::UNIT + index as usize;
        arena.bytes_at(start, 8)?; // in the heap
        arena.at(start)
    }

    #[inline(always)]
    pub fn record(self, arena: &Arena, pos: u64) -> Option<Record> {
        let first = self.word(arena, pos)?.load(Relaxed);
        Some(Record {
            len: first & 0xffff_ffff,
            cost: first >> 32,
            cost_before: self.word(arena, pos + 8)?.load(Relaxed),
            base: self.word(arena, pos + 16)?.load(Relaxed),
        })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Record {
    pub len: u64,
    pub cost: u64,
    pub cost_before: u64,
    pub base: u64,
}

impl Record {
    #[inline(always)]
    pub fn room(len: u64) -> u64 {
        HEADER + len.next_multiple_of(8)
    }
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        Tail::from_raw(self.tail.load(Acquire)).pos == self.head.load(Acquire)
    }

    /// Whether something is there, besides one packet of no length. (unix_release_sock passes over the
    /// first buffer if that has nothing, taking it for one of which the urgent byte was read.)
    pub(super) fn has_more_than_nothing(&self, arena: &Arena) -> bool {
        let (mut n, mut bytes) = (0, 0);
        self.for_each(arena, |_, pieces| {
            n += 1;
            bytes += pieces.iter().map(|p| p.1).sum::<usize>();
            bytes == 0 && n == 1
        });
        bytes != 0 || n > 1
    }

    /// What is in it is gone. Under both locks.
    pub(super) fn forget(&self) {
        self.freed.store(self.sent.load(Relaxed), Release);
        self.read.store(self.written.load(Relaxed), Relaxed);
        let pos = self.head.load(Relaxed);
        self.tail.store(Tail { pos, off: 0 }.raw(), Release);
    }

    /// What is charged to the sender now.
    pub fn charged(&self) -> u64 {
        let freed = self.freed.load(Acquire);
        self.sent.load(Acquire).saturating_sub(freed)
    }

    #[inline(always)]
    pub(super) fn geometry(&self) -> Geometry {
        Geometry::from_raw(self.geometry.load(Acquire))
    }

    #[inline(always)]
    pub(super) fn lock_writers<H: Host>(&self, k: &Ctx<'_, H>, p: &Pair) {
        if let Found::Orphaned { dead } = self.wlock.lock(k.me, k.host, k) {
            note_orphan(k, p, dead.raw());
            self.find_sent(k.arena);
        }
    }

    #[inline(always)]
    pub(super) fn lock_readers<H: Host>(&self, k: &Ctx<'_, H>, p: &Pair) {
        if let Found::Orphaned { dead } = self.rlock.lock(k.me, k.host, k) {
            note_orphan(k, p, dead.raw());
            self.find_freed(k.arena);
        }
    }

    #[inline(always)]
    pub(super) fn unlock_writers<H: Host>(&self, k: &Ctx<'_, H>, progress: Progress, cause: u64) {
        crash_point("unix.send.unlock");
        if self.wlock.unlock(k.me, progress, k.host) {
            crash_point("unix.send.wake");
            self.rd_wait.wake_one(k, cause);
        }
    }

    #[inline(always)]
    pub(super) fn unlock_readers<H: Host>(&self, k: &Ctx<'_, H>, progress: Progress, cause: u64) {
        crash_point("unix.recv.unlock");
        if self.rlock.unlock(k.me, progress, k.host) {
            crash_point("unix.recv.wake");
            self.wr_wait.wake_one(k, cause);
        }
    }

    /// A writer that died may have counted what it did not publish: the last record knows. Where
    /// there is none, nothing is charged.
    #[cold]
    fn find_sent(&self, arena: &Arena) {
        self.seen_tail.store(self.tail.load(Acquire), Relaxed);
        let (geometry, head) = (self.geometry(), self.head.load(Relaxed));
        let mut pos = Tail::from_raw(self.tail.load(Acquire)).pos;
        let mut last = None;
        while pos < head {
            let Some(record) = geometry.record(arena, pos) else {
                return;
            };
            last = Some(record);
            pos += Record::room(record.len);
        }
        let (sent, written) = match last {
            Some(r) => (r.cost_before + r.cost, r.base + r.len),
            None => (self.freed.load(Acquire), self.read.load(Relaxed)),
        };
        self.sent.store(sent, Release);
        self.written.store(written, Relaxed);
    }

    /// A reader that died may have freed what is still there: the first record knows.
    #[cold]
    fn find_freed(&self, arena: &Arena) {
        let tail = Tail::from_raw(self.tail.load(Relaxed));
        self.seen_head.store(tail.pos, Relaxed);
        if tail.pos < self.head.load(Acquire) {
            if let Some(record) = self.geometry().record(arena, tail.pos) {
                self.freed.store(record.cost_before, Release);
                self.read.store(record.base + tail.off, Relaxed);
            }
        }
    }

    /// The records that are there, first to last. `f` gets the record, and its bytes that are left to
    /// read, in one or two pieces.
    pub(super) fn for_each(
        &self,
        arena: &Arena,
        mut f: impl FnMut(&Record, [(*mut u8, usize); 2]) -> bool,
    ) -> bool {
        self.walk(arena, true, |record, _, pieces| f(record, pieces))
    }

    /// As [`Queue::for_each`], with all bytes of each record, and how many of them were read.
    pub(super) fn for_each_whole(
        &self,
        arena: &Arena,
        f: impl FnMut(&Record, u64, [(*mut u8, usize); 2]) -> bool,
    ) -> bool {
        self.walk(arena, false, f)
    }

    fn walk(
        &self,
        arena: &Arena,
        left_only: bool,
        mut f: impl FnMut(&Record, u64, [(*mut u8, usize); 2]) -> bool,
    ) -> bool {
        let (geometry, head) = (self.geometry(), self.head.load(Acquire));
        let mut tail = Tail::from_raw(self.tail.load(Acquire));
        while tail.pos < head {
            let Some(record) = geometry.record(arena, tail.pos) else {
                return false;
            };
            if record.len > geometry.bytes {
                return false; // somebody scribbled
            }
            let mut pieces = [(core::ptr::null_mut(), 0); 2];
            let mut n = 0;
            let skip = if left_only { tail.off } else { 0 };
            let whole = geometry.parts(
                arena,
                tail.pos + HEADER + skip,
                record.len.saturating_sub(skip),
                |at, len| {
                    if let Some(piece) = pieces.get_mut(n) {
                        *piece = (at, len);
                    }
                    n += 1;
                    true
                },
            );
            if !whole || !f(&record, tail.off, pieces) {
                return false;
            }
            tail = Tail {
                pos: tail.pos + Record::room(record.len),
                off: 0,
            };
        }
        true
    }

    /// Where its ring is, in units of the heap, and how long. `None`: it has none yet.
    pub fn ring(&self) -> Option<(u32, u64)> {
        let geometry = self.geometry();
        (geometry.bytes != 0).then_some((geometry.at, geometry.bytes))
    }

    /// Whether what is there is a row of records, while nobody changes it.
    pub fn is_whole(&self, arena: &Arena) -> bool {
        let used = (self.head.load(Acquire))
            .checked_sub(Tail::from_raw(self.tail.load(Acquire)).pos)
            .is_some_and(|used| used <= self.geometry().bytes);
        used && self.for_each(arena, |_, _| true)
    }

    /// Bytes that can be read: all of them, or those of the first packet.
    pub fn queued(&self, arena: &Arena, first_only: bool) -> u64 {
        let mut sum = 0;
        let mut n = 0;
        self.for_each(arena, |_, pieces| {
            n += 1;
            sum += pieces.iter().map(|p| p.1 as u64).sum::<u64>();
            !first_only || n == 0
        });
        sum
    }

    /// Makes room for `need` bytes more: a ring of twice the length, or more. Takes both locks.
    #[cold]
    pub(super) fn grow<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        p: &Pair,
        need: u64,
    ) -> Result<(), SysError> {
        self.lock_readers(k, p);
        self.lock_writers(k, p);
        let result = match p.is_ringers() {
            true => self.grow_locked(k, need),
            false => Err(SysError::Demoted),
        };
        self.unlock_writers(k, Progress::None, 0);
        self.unlock_readers(k, Progress::None, 0);
        let old = result?;
        if let Some(block) = Off::<u8>::from_raw(old.at) {
            alloc::free(k.arena, k.me, k.host, block, old.bytes as usize);
        }
        Ok(())
    }

    /// What is no longer needed; nothing if there is room already.
    fn grow_locked<H: Host>(&self, k: &Ctx<'_, H>, need: u64) -> Result<Geometry, SysError> {
        const NOTHING: Geometry = Geometry { at: 0, bytes: 0 };
        let old = self.geometry();
        let (tail, head) = (
            Tail::from_raw(self.tail.load(Relaxed)).pos,
            self.head.load(Relaxed),
        );
        let used = head.wrapping_sub(tail);
        if used > old.bytes {
            return Err(Errno::EIO.into()); // somebody scribbled
        }
        if used + need <= old.bytes {
            return Ok(NOTHING); // somebody else has made room
        }
        let bytes = (used + need)
            .max(2 * old.bytes)
            .max(FIRST_RING)
            .next_power_of_two();
        if bytes > LONGEST_RING {
            return Err(Errno::ENOMEM.into());
        }
        let block = alloc::alloc_made(k.arena, k.me, k.host, bytes as usize)?;
        let new = Geometry {
            at: block.raw(),
            bytes,
        };
        let mut pos = tail;
        // What lies in one piece in the old ring does so in the new one: its length is a multiple.
        let whole = old.parts(k.arena, tail, used, |from, len| {
            let Some((to, n)) = new.part(k.arena, pos, len as u64) else {
                return false;
            };
            // SAFETY: `n` bytes of two blocks, of which nobody else touches either: both locks are held.
            unsafe { core::ptr::copy_nonoverlapping(from, to, n as usize) };
            pos += n;
            n == len as u64
        });
        if !whole {
            alloc::free(k.arena, k.me, k.host, block, bytes as usize);
            return Err(Errno::EIO.into());
        }
        crash_point("unix.grow");
        self.geometry.store(new.raw(), Release);
        Ok(old)
    }
}

#[cold]
fn note_orphan<H: Host>(k: &Ctx<'_, H>, p: &Pair, dead: u32) {
    k.arena.header().orphaned.fetch_add(1, Relaxed);
    k.log.about(p, Kind::Orphaned, 0, (i64::from(dead), 0, 0));
}
