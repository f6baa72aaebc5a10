//! Descriptors in flight: what was sent with SCM_RIGHTS through the twins of a pair, and was not
//! received yet. See unix(7); Linux v6.18 net/unix/af_unix.c `unix_attach_fds`.
//!
//! The real descriptors are in the real message, so the kernel keeps them alive and closes those that
//! nobody receives. Here is only what it does not know: for each of them the open file description,
//! with one reference. The receiver looks among these for what it has received.
//!
//! This holds as long as everybody who can receive is a process of the session. A side is *exposed* when
//! a program that ringer does not reach may receive there: from then on nothing is sent to it but what the
//! kernel serves.
//!
//! ```text
//! sender (under the lock)            who exposes
//! exposed? serve by the kernel       mark exposed (under the lock)
//! note the descriptions              look through what is queued in the twin: nothing comes
//! send the real message              after it any more; hand that to the kernel
//! ```
//!
//! # Invariants
//!
//! - An entry that is not 0 holds one reference of its description; whoever takes the entry out, by
//!   a swap, owns it.
//! - A message of the session in the twin has its entries. (An entry may have no message: a killed
//!   sender's, or one that was received without room for its descriptors. It goes with the pair.)
//!
//! # Crash points
//!
//! - C1. Killed between taking a reference and storing the entry, or after taking an entry out: a count
//!   too high, which costs memory.
//! - C2. Killed between storing the entries and sending: entries without a message.
//! - C3. Killed after marking a side and before all is handed over: it has not become a program that
//!   could receive. Whoever exposes that side next looks through it again.

use super::{Pair, Side};
use crate::abi::Errno;
use crate::arena::{alloc, Arena, Off};
use crate::file::{self, FileRef};
use crate::host::{crash_point, Host};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::RobustLock;

/// In the pair.
#[repr(C)]
pub struct Flights {
    pub lock: RobustLock,
    /// See [`exposure`].
    exposed: AtomicU32,
    /// Entries from here on are 0. (Under the lock.)
    used: AtomicU32,
    _pad: AtomicU32,
    /// Offset of the entries in the heap, and how many there can be in the upper half. (Under the lock.)
    geometry: AtomicU64,
}

/// Bits of `Flights::exposed`, for side A; side B's are two higher.
pub mod exposure {
    /// Nothing that ringer serves is sent to this side any more.
    pub const MARKED: u32 = 1;
    /// And nothing of that is queued there.
    pub const DONE: u32 = 2;
}

/// One entry is a description's slot and, in the lowest bit, the side that is to receive it.
type Entry = AtomicU32;
const ENTRY: usize = core::mem::size_of::<Entry>();
const FIRST: usize = 16;
/// More than this many are not kept account of: what is sent then is the kernel's.
const MOST: usize = 4096;

fn raw(file_slot: u32, to: Side) -> u32 {
    file_slot << 1 | to.bit()
}

fn bits(side: Side, bits: u32) -> u32 {
    bits << (2 * side.bit())
}

impl Flights {
    /// Whether `side` may be received from by a program without ringer.
    pub fn is_exposed(&self, side: Side) -> bool {
        self.exposed.load(Acquire) & bits(side, exposure::MARKED) != 0
    }

    /// Whether there can be anything of ringer's on its way.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.used.load(Acquire) == 0
    }

    /// How many entries there can be, and where: for `check`.
    pub fn block(&self) -> Option<(u32, usize)> {
        let raw = self.geometry.load(Acquire);
        (raw != 0).then_some((raw as u32, (raw >> 32) as usize * ENTRY))
    }

    fn entries<'a>(&self, arena: &'a Arena) -> impl Iterator<Item = &'static Entry> + use<'a> {
        let raw = self.geometry.load(Acquire);
        let (at, len) = (raw as u32, (raw >> 32) as usize);
        let base = at as usize * crate::arena::off::UNIT;
        (0..len.min(MOST)).map_while(move |i| arena.at::<Entry>(base + i * ENTRY))
    }

    /// Calls `f` with each description on its way.
    pub fn for_each(&self, arena: &Arena, mut f: impl FnMut(u32)) {
        let used = self.used.load(Acquire) as usize;
        for entry in self.entries(arena).take(used) {
            match entry.load(Acquire) {
                0 => {}
                raw => f(raw >> 1),
            }
        }
    }
}

/// The lock of a pair's entries, held.
pub struct Held<'a, H: Host> {
    k: &'a Ctx<'a, H>,
    pair: &'a Pair,
    flights: &'a Flights,
}

impl<'a, H: Host> Held<'a, H> {
    pub fn take(k: &'a Ctx<'a, H>, p: &'a Pair) -> Held<'a, H> {
        let flights = &p.flights;
        // Nothing to repair: see "Crash points".
        let _ = flights.lock.lock(k.me, k.host, k);
        Held {
            k,
            pair: p,
            flights,
        }
    }

    /// Notes that the description is on its way to side `to`.
    ///
    /// Errors: EBADF if it was closed meanwhile; EBUSY if another description of the same thing is on
    /// its way, which the receiver could not tell from this one; ENOMEM if there are too many, or no memory.
    pub fn add(&self, file_slot: u32, to: Side) -> Result<(), Errno> {
        let Held { k, flights, .. } = self;
        if self.is_ambiguous(file_slot, to) {
            return Err(Errno::EBUSY);
        }
        let free = self.free_entry()?;
        if !file::get_ref(k.arena, file_slot) {
            return Err(Errno::EBADF);
        }
        crash_point("flight.counted");
        let entry = flights.entries(k.arena).nth(free).ok_or(Errno::ENOMEM)?;
        entry.store(raw(file_slot, to), Release);
        let used = flights.used.load(Relaxed).max(free as u32 + 1);
        flights.used.store(used, Release);
        crash_point("flight.noted");
        Ok(())
    }

    fn is_ambiguous(&self, file_slot: u32, to: Side) -> bool {
        let arena = self.k.arena;
        let Some(new) = file::file(arena, file_slot) else {
            return false;
        };
        let of = |f: &file::OpenFile| (f.role.load(Relaxed), f.object.load(Relaxed));
        self.used_entries().any(|entry| {
            let there = entry.load(Relaxed);
            let to_same = there != 0 && there & 1 == to.bit() && there >> 1 != file_slot;
            to_same && file::file(arena, there >> 1).is_some_and(|f| of(f) == of(new))
        })
    }

    fn used_entries(&self) -> impl Iterator<Item = &'static Entry> + use<'a, H> {
        let used = self.flights.used.load(Relaxed) as usize;
        self.flights.entries(self.k.arena).take(used)
    }

    /// The number of an entry that is 0.
    fn free_entry(&self) -> Result<usize, Errno> {
        let is_free = |e: &Entry| e.load(Relaxed) == 0;
        match self.flights.entries(self.k.arena).position(is_free) {
            Some(i) => Ok(i),
            None => self.grow(),
        }
    }

    /// Twice as many entries; the number of the first new one.
    fn grow(&self) -> Result<usize, Errno> {
        let Held { k, flights, .. } = self;
        let old = flights.block();
        let before = old.map_or(0, |(_, bytes)| bytes / ENTRY);
        let len = (before * 2).max(FIRST);
        if len > MOST {
            return Err(Errno::ENOMEM);
        }
        let block = alloc::alloc_made(k.arena, k.me, k.host, len * ENTRY)?;
        let base = block.raw() as usize * crate::arena::off::UNIT;
        let mut old_entries = flights.entries(k.arena);
        for i in 0..len {
            let entry = k.arena.at::<Entry>(base + i * ENTRY).ok_or(Errno::ENOMEM)?;
            let value = old_entries.next().map_or(0, |e| e.load(Relaxed));
            entry.store(value, Relaxed);
        }
        let geometry = (len as u64) << 32 | u64::from(block.raw());
        flights.geometry.store(geometry, Release);
        if let Some((at, bytes)) = old {
            if let Some(block) = Off::<u8>::from_raw(at) {
                alloc::free(k.arena, k.me, k.host, block, bytes);
            }
        }
        Ok(before)
    }

    /// Takes out the entry of a description on its way to `to` that `is_it` says yes to. The caller owns its
    /// reference now.
    pub fn remove(&self, to: Side, mut is_it: impl FnMut(&FileRef) -> bool) -> Option<u32> {
        let arena = self.k.arena;
        let entry = self.used_entries().find(|entry| {
            let there = entry.load(Relaxed);
            there & 1 == to.bit() && FileRef::of(arena, there >> 1).is_some_and(|f| is_it(&f))
        })?;
        let slot = entry.swap(0, AcqRel) >> 1;
        crash_point("flight.taken");
        self.shorten();
        (slot != 0).then_some(slot)
    }

    /// Entries at the end that are 0 are none.
    fn shorten(&self) {
        let behind = self.used_entries().enumerate();
        let last = behind.filter(|(_, e)| e.load(Relaxed) != 0).last();
        let used = last.map_or(0, |(i, _)| i as u32 + 1);
        self.flights.used.store(used, Release);
    }

    /// As [`Held::remove`], but the entry stays: MSG_PEEK. The caller owns a reference.
    pub fn copy(&self, to: Side, mut is_it: impl FnMut(&FileRef) -> bool) -> Option<u32> {
        let arena = self.k.arena;
        self.used_entries().find_map(|entry| {
            let there = entry.load(Relaxed);
            let found = there & 1 == to.bit()
                && FileRef::of(arena, there >> 1).is_some_and(|f| is_it(&f))
                && file::get_ref(arena, there >> 1);
            found.then_some(there >> 1)
        })
    }

    pub fn is_exposed(&self, side: Side) -> bool {
        self.pair.is_exposed(side)
    }
}

impl<H: Host> Drop for Held<'_, H> {
    fn drop(&mut self) {
        let _ = self
            .flights
            .lock
            .unlock(self.k.me, Progress::None, self.k.host);
    }
}

/// What is sent to `side` may go to somebody else from now on.
pub fn lead_elsewhere<H: Host>(k: &Ctx<'_, H>, p: &Pair, side: Side) {
    let _held = Held::take(k, p);
    p.flights
        .exposed
        .fetch_or(bits(side, exposure::MARKED), AcqRel);
}

/// From now on nothing of ringer's is sent to `side`. `true`: something may be queued there, so the caller
/// looks through it, and then calls [`exposed`].
#[must_use]
pub fn expose<H: Host>(k: &Ctx<'_, H>, p: &Pair, side: Side) -> bool {
    if p.flights.exposed.load(Acquire) & bits(side, exposure::DONE) != 0 {
        return false;
    }
    let held = Held::take(k, p);
    p.flights
        .exposed
        .fetch_or(bits(side, exposure::MARKED), AcqRel);
    let empty = p.flights.is_empty();
    drop(held);
    if empty {
        exposed(p, side);
    }
    !empty
}

/// Nothing of ringer's is queued for `side`.
pub fn exposed(p: &Pair, side: Side) {
    p.flights
        .exposed
        .fetch_or(bits(side, exposure::DONE), AcqRel);
}

/// The pair's slot is given back: calls `f` with each description whose entry there was. It owns the
/// reference.
pub(super) fn clear<H: Host>(k: &Ctx<'_, H>, p: &Pair, mut f: impl FnMut(u32)) {
    let held = Held::take(k, p);
    let flights = &p.flights;
    flights.exposed.store(0, Relaxed);
    let Some((at, bytes)) = flights.block() else {
        return;
    };
    for entry in held.used_entries() {
        match entry.swap(0, AcqRel) {
            0 => {}
            raw => f(raw >> 1),
        }
    }
    flights.used.store(0, Relaxed);
    flights.geometry.store(0, Relaxed);
    drop(held);
    if let Some(block) = Off::<u8>::from_raw(at) {
        alloc::free(k.arena, k.me, k.host, block, bytes);
    }
}

const _: () = assert!(core::mem::size_of::<Flights>() == 24);
