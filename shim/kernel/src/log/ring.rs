//! A thread's ring of records: it survives its writer.
//!
//! # Crash points
//!
//! - C1. Writer killed in a record: `head` does not count it, and its commit word is stale.

use super::record::{Kind, Record};
use crate::arena::{alloc, layout, pages, Arena, ArenaSafe, Off};
use crate::host::Host;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::OwnerId;

/// Records in a ring: 512 KiB.
pub const RECORDS: u64 = 8192;
pub const BYTES: usize = RECORDS as usize * core::mem::size_of::<Record>();
/// The ring's memory is made in steps of this many records.
const STEP: u64 = 512;

pub mod ring_state {
    pub const FREE: u32 = 0;
    pub const IN_USE: u32 = 1;
    /// Its thread is gone; what is left may be read, then it is free.
    pub const RETIRED: u32 = 2;
}

/// In the arena's table of rings.
#[repr(C, align(64))]
pub struct RingHead {
    pub state: AtomicU32,
    pub data_at: AtomicU32,
    pub pid: AtomicU32,
    pub tid: AtomicU32,
    /// Slot of the thread, to see whether it is dead.
    pub owner: AtomicU32,
    _pad: AtomicU32,
    pub comm: [AtomicU64; 2],
    /// Records written, ever.
    pub head: AtomicU64,
    /// Records that the reader has taken.
    pub drained: AtomicU64,
    /// Records that did not fit.
    pub lost: AtomicU64,
    /// First index of the present owner: ids stay unique when a ring is used again.
    pub first: AtomicU64,
    /// Records for which memory exists.
    pub made: AtomicU64,
    _pad2: [AtomicU64; 5],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for RingHead {}

pub fn head(arena: &Arena, index: u32) -> Option<&'static RingHead> {
    arena.slot(layout::RINGS, layout::MAX_RINGS, index)
}

/// One record's id: unique in the session.
pub fn record_id(ring: u32, index: u64) -> u64 {
    u64::from(ring) << 40 | (index & ((1 << 40) - 1))
}

/// A record as eight atomic words, as it lies in the arena.
type Cell = [AtomicU64; 8];

/// The owner's way to its ring.
pub struct Writer {
    head: &'static RingHead,
    cells: &'static [Cell; RECORDS as usize],
    index: u32,
    populate: fn(*mut u8, usize) -> bool,
    tsc: fn() -> u64,
}

/// A ring for this thread. `None`: no memory, the thread is not logged, and counted as such.
#[allow(clippy::too_many_arguments)] // who it is, and the two functions that a Writer keeps
pub fn claim<H: Host>(
    arena: &Arena,
    me: OwnerId,
    host: &H,
    pid: u32,
    tid: u32,
    comm: [u8; 16],
    populate: fn(*mut u8, usize) -> bool,
    tsc: fn() -> u64,
) -> Option<Writer> {
    let Some(index) = find_free(arena, me, host) else {
        arena.header().unlogged.fetch_add(1, Relaxed);
        return None;
    };
    let h = head(arena, index)?;
    if h.data_at.load(Relaxed) == 0 {
        match alloc::alloc(arena, me, host, BYTES) {
            Ok(block) => h.data_at.store(block.raw(), Relaxed),
            Err(_) => {
                arena.header().unlogged.fetch_add(1, Relaxed);
                h.state.store(ring_state::FREE, Release);
                return None;
            }
        }
        h.made.store(0, Relaxed);
    }
    let cells = arena.get(Off::<[Cell; RECORDS as usize]>::from_raw(
        h.data_at.load(Relaxed),
    )?)?;
    let word = u128::from_le_bytes(comm);
    let [low, high] = &h.comm;
    low.store(word as u64, Relaxed);
    high.store((word >> 64) as u64, Relaxed);
    h.tid.store(tid, Relaxed);
    h.owner.store(me.raw(), Relaxed);
    h.first.store(h.head.load(Relaxed), Relaxed);
    h.drained.store(h.head.load(Relaxed), Relaxed);
    h.lost.store(0, Relaxed);
    h.pid.store(pid, Release);
    Some(Writer {
        head: h,
        cells,
        index,
        populate,
        tsc,
    })
}

fn find_free(arena: &Arena, me: OwnerId, host: &impl Host) -> Option<u32> {
    alloc::locked(arena, me, host, |header| {
        let used = header.rings_used.load(Relaxed).min(layout::MAX_RINGS);
        let reusable = (1..used)
            .find(|&i| head(arena, i).is_some_and(|h| h.state.load(Acquire) == ring_state::FREE));
        let index = match reusable {
            Some(i) => i,
            None if used < layout::MAX_RINGS => {
                let made = &header.rings_made;
                if !pages::make::<RingHead>(arena, host, layout::RINGS, made, used) {
                    return None;
                }
                header.rings_used.store(used + 1, Relaxed);
                used
            }
            None => return None,
        };
        let h = head(arena, index)?;
        h.pid.store(0, Relaxed);
        h.state.store(ring_state::IN_USE, Release);
        Some(index)
    })
}

impl Writer {
    /// Appends a record and gives its id. A full ring never blocks: the record is counted as lost.
    pub fn put(&self, mut r: Record) -> u64 {
        let index = self.head.head.load(Relaxed);
        if index.wrapping_sub(self.head.drained.load(Acquire)) >= RECORDS {
            self.head.lost.fetch_add(1, Relaxed);
            return 0;
        }
        if !self.make(index) {
            self.head.lost.fetch_add(1, Relaxed);
            return 0;
        }
        let lost = self.head.lost.load(Relaxed);
        if lost != 0 && r.kind != Kind::Lost.raw() {
            self.head.lost.fetch_sub(lost, Relaxed);
            self.put(Record {
                kind: Kind::Lost.raw(),
                a: lost as i64,
                fd: -1,
                ..Record::default()
            });
            return self.put(r);
        }
        // One that tells of what it came before has its time already.
        if r.tsc == 0 {
            r.tsc = (self.tsc)();
        }
        self.store(index, &r);
        record_id(self.index, index)
    }

    /// The id that the next record will have, if none is lost before it.
    pub fn next_id(&self) -> u64 {
        record_id(self.index, self.head.head.load(Relaxed))
    }

    fn store(&self, index: u64, r: &Record) {
        let Some(cell) = self.cells.get((index % RECORDS) as usize) else {
            return;
        };
        let words = [
            index.wrapping_add(1),
            r.tsc,
            u64::from(r.kind) | u64::from(r.aux) << 16 | u64::from(r.object) << 32,
            u64::from(r.seq) | u64::from(r.fd as u32) << 32,
            r.cause,
            r.a as u64,
            r.b,
            r.c,
        ];
        for (to, word) in cell.iter().zip(words).skip(1) {
            to.store(word, Relaxed);
        }
        if let (Some(commit), [value, ..]) = (cell.first(), words) {
            commit.store(value, Release);
        }
        self.head.head.store(index.wrapping_add(1), Release); // pairs with the drainer's load
    }

    /// Memory for the record, made step by step, so that a full tmpfs loses records and no more.
    #[inline(always)]
    fn make(&self, index: u64) -> bool {
        if index < self.head.made.load(Relaxed) || self.head.made.load(Relaxed) >= RECORDS {
            return true;
        }
        let first = (index % RECORDS) as usize;
        let Some(cell) = self.cells.get(first) else {
            return false;
        };
        let bytes = STEP as usize * core::mem::size_of::<Record>();
        if !(self.populate)(core::ptr::from_ref(cell).cast::<u8>().cast_mut(), bytes) {
            return false;
        }
        self.head.made.store(index.wrapping_add(STEP), Release);
        true
    }

    /// Slot of the ring in the arena's table.
    pub fn index(&self) -> u32 {
        self.index
    }

    pub fn retire(&self) {
        self.head.state.store(ring_state::RETIRED, Release);
    }

    pub fn set_comm(&self, comm: [u8; 16]) {
        let word = u128::from_le_bytes(comm);
        let [low, high] = &self.head.comm;
        low.store(word as u64, Relaxed);
        high.store((word >> 64) as u64, Relaxed);
    }
}

/// Reads record `index` of a ring. `None`: torn, overwritten, or never written.
pub fn read(arena: &Arena, h: &RingHead, index: u64) -> Option<Record> {
    let made = h.made.load(Acquire); // pairs with `make`
    if made < RECORDS && index >= made {
        return None; // no memory, which a load would have to make
    }
    let cells = arena.get(Off::<[Cell; RECORDS as usize]>::from_raw(
        h.data_at.load(Relaxed),
    )?)?;
    let cell = cells.get((index % RECORDS) as usize)?;
    let [commit, tsc, what, order, cause, a, b, c] = cell;
    let committed = commit.load(Acquire);
    let what = what.load(Relaxed);
    let order = order.load(Relaxed);
    (committed == index.wrapping_add(1)).then(|| Record {
        commit: committed,
        tsc: tsc.load(Relaxed),
        kind: what as u16,
        aux: (what >> 16) as u16,
        object: (what >> 32) as u32,
        seq: order as u32,
        fd: (order >> 32) as u32 as i32,
        cause: cause.load(Relaxed),
        a: a.load(Relaxed) as i64,
        b: b.load(Relaxed),
        c: c.load(Relaxed),
    })
}
