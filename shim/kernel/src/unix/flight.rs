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
//! To ask the kernel what a received descriptor is takes two system calls. They are spared where the answer is known: a side
//! has an *only* description as long as every message with descriptors that was ever sent to it, and may not have been taken up
//! yet, carried that description and nothing else. Whoever sends something else says so first: from then
//! on descriptors are looked at.
//!
//! # Invariants
//!
//! - A side's `only` names another description only after everything sent to it was taken up; it says
//!   [`MIXED`] for good before anything is sent that a program without ringer, or without an entry, sends.
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
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::lock_word::Progress;
use crate::sync::robust::RobustLock;
use crate::task::reap::forget_descriptor;

/// In the pair.
#[repr(C)]
pub struct Flights {
    // The end of a line that is hardly ever written.
    /// See [`exposure`].
    exposed: AtomicU32,
    /// The entries, in the heap. (Under the lock, and for good.)
    at: AtomicU32,
    /// For each side the slot of its only description, 0 for none so far, or [`MIXED`].
    only: [AtomicU32; 2],

    // The senders' line.
    /// Senders', and whoever exposes. Receivers take entries out without it.
    pub lock: RobustLock,
    /// Entries from here on are 0. (Under the lock.)
    used: AtomicU32,
    /// Where a free entry is likely. (Under the lock.)
    next: AtomicU32,
    _pad: AtomicU32,
}

/// What a side gets has to be looked at.
const MIXED: u32 = u32::MAX;

/// Bits of `Flights::exposed`, for side A; side B's are two higher.
pub mod exposure {
    /// Nothing that ringer serves is sent to this side any more.
    pub const MARKED: u32 = 1;
    /// And nothing of that is queued there.
    pub const DONE: u32 = 2;
}

/// More than this many are not kept account of: what is sent then is the kernel's.
const MOST: usize = 1024;
/// An entry is a description's slot and, in the lowest bit, the side that is to receive it.
type Block = [AtomicU32; MOST];
const BYTES: usize = core::mem::size_of::<Block>();

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

    fn only(&self, side: Side) -> &AtomicU32 {
        let [a, b] = &self.only;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    /// Something else than one description is about to be sent to `side`, or by a program without ringer.
    pub fn mix(&self, side: Side) {
        let only = self.only(side);
        if only.load(Relaxed) != MIXED {
            only.store(MIXED, SeqCst);
        }
    }

    /// Where the entries are, and their bytes: for `check`.
    pub fn block(&self) -> Option<(u32, usize)> {
        let at = self.at.load(Acquire);
        (at != 0).then_some((at, BYTES))
    }

    fn made(&self, arena: &Arena) -> Option<&'static Block> {
        Off::<Block>::from_raw(self.at.load(Acquire)).and_then(|at| arena.get(at))
    }

    fn entries(&self, arena: &Arena) -> &'static [AtomicU32] {
        let block = self.made(arena);
        let used = self.used.load(Acquire) as usize;
        block.and_then(|b| b.get(..used.min(MOST))).unwrap_or(&[])
    }

    /// Whether nothing of ringer's is on its way.
    pub fn is_empty(&self, arena: &Arena) -> bool {
        self.entries(arena).iter().all(|e| e.load(Acquire) == 0)
    }

    /// Calls `f` with each description on its way.
    pub fn for_each(&self, arena: &Arena, mut f: impl FnMut(u32)) {
        for entry in self.entries(arena) {
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
        let free = match self.likely_entry(file_slot, to) {
            Some(free) => free,
            None => self.free_entry(file_slot, to)?,
        };
        let block = self.block()?;
        let entry = block.get(free).ok_or(Errno::ENOMEM)?;
        if !file::get_ref(k.arena, file_slot) {
            return Err(Errno::EBADF);
        }
        crash_point("flight.counted");
        entry.store(raw(file_slot, to), Release);
        if flights.used.load(Relaxed) <= free as u32 {
            flights.used.store(free as u32 + 1, Release);
        }
        flights.next.store((free as u32 + 1) % MOST as u32, Relaxed);
        crash_point("flight.noted");
        Ok(())
    }

    /// Whether that description is all that is on its way to `to` with the next message, which carries nothing
    /// else. If not, whatever comes there is looked at from here on.
    pub fn is_only(&self, to: Side, file_slot: u32) -> bool {
        let only = self.flights.only(to);
        let now = only.load(Relaxed);
        if now == file_slot {
            return true;
        }
        // Of a datagram socket somebody else may have become the peer.
        let connected = self.pair.type_of().is_connected();
        let next = match now != MIXED && connected && self.nothing_for(to) {
            true => file_slot,
            false => MIXED,
        };
        // `mix` needs no lock, and wins.
        only.compare_exchange(now, next, SeqCst, Relaxed).is_ok() && next == file_slot
    }

    /// Whether nothing is on its way to `to`.
    fn nothing_for(&self, to: Side) -> bool {
        let mut entries = self.flights.entries(self.k.arena).iter();
        let nothing = entries
            .all(|e| matches!(e.load(Acquire), there if there == 0 || there & 1 != to.bit()));
        if nothing {
            self.flights.next.store(0, Relaxed);
        }
        nothing
    }

    /// The number of the entry behind the last one, if it is 0, and there is nothing else that is to be looked for.
    fn likely_entry(&self, file_slot: u32, to: Side) -> Option<usize> {
        let Held { k, flights, .. } = self;
        let next = flights.next.load(Relaxed) as usize;
        let entry = flights.made(k.arena)?.get(next)?;
        let only = flights.only(to).load(Relaxed) == file_slot;
        (only && entry.load(Relaxed) == 0).then_some(next)
    }

    /// The number of an entry that is 0. Those at the end that are 0 are none from here on.
    fn free_entry(&self, file_slot: u32, to: Side) -> Result<usize, Errno> {
        let arena = self.k.arena;
        let new = file::file(arena, file_slot).ok_or(Errno::EBADF)?;
        let of = |f: &file::OpenFile| (f.role.load(Relaxed), f.object.load(Relaxed));
        let mut free = None;
        let mut used = 0;
        for (i, entry) in self.flights.entries(arena).iter().enumerate() {
            let there = entry.load(Relaxed);
            if there == 0 {
                free = free.or(Some(i));
                continue;
            }
            used = i + 1;
            let another = there != raw(file_slot, to) && there & 1 == to.bit();
            if another && file::file(arena, there >> 1).is_some_and(|f| of(f) == of(new)) {
                return Err(Errno::EBUSY);
            }
        }
        self.flights.used.store(used as u32, Release);
        Ok(free.filter(|&i| i < used).unwrap_or(used))
    }

    /// The entries, which are made with the first of them.
    fn block(&self) -> Result<&'static Block, Errno> {
        let Held { k, flights, .. } = self;
        let mut at = flights.at.load(Relaxed);
        if at == 0 {
            at = alloc::alloc(k.arena, k.me, k.host, BYTES)?.raw();
            let block = Off::<Block>::from_raw(at).and_then(|at| k.arena.get(at));
            block
                .into_iter()
                .flatten()
                .for_each(|e| e.store(0, Relaxed));
            flights.at.store(at, Release);
        }
        flights.made(k.arena).ok_or(Errno::ENOMEM)
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

/// Takes out the entry of a description on its way to `to` that `is_it` says yes to. The caller owns its
/// reference now.
pub fn remove<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    to: Side,
    mut is_it: impl FnMut(&FileRef) -> bool,
) -> Option<u32> {
    let mut matches = |there: u32| {
        let is_for_us = there != 0 && there & 1 == to.bit();
        is_for_us && FileRef::of(k.arena, there >> 1).is_some_and(|f| is_it(&f))
    };
    for entry in p.flights.entries(k.arena) {
        let there = entry.load(Acquire);
        if !matches(there) || entry.compare_exchange(there, 0, AcqRel, Relaxed).is_err() {
            continue;
        }
        crash_point("flight.taken");
        // Another one may have come there just before, in a slot that was used again.
        if matches(there) {
            return Some(there >> 1);
        }
        let _ = entry.compare_exchange(0, there, AcqRel, Relaxed);
    }
    None
}

/// Takes out an entry of the only description that comes to `to`. The caller, to whom a descriptor came, owns its
/// reference now. `None`: what came has to be looked at. `near` is where the last one was.
pub fn take_only<H: Host>(k: &Ctx<'_, H>, p: &Pair, to: Side, near: &AtomicU32) -> Option<u32> {
    let flights = &p.flights;
    // Acquire pairs with `is_only` and `mix`, which come before the message.
    let slot = match flights.only(to).load(Acquire) {
        0 | MIXED => return None,
        slot => slot,
    };
    let entry = raw(slot, to);
    let take = |e: &AtomicU32| {
        e.load(Relaxed) == entry && e.compare_exchange(entry, 0, AcqRel, Relaxed).is_ok()
    };
    let at = near.load(Relaxed) as usize;
    let at = match flights.made(k.arena)?.get(at).is_some_and(take) {
        true => at,
        false => flights.entries(k.arena).iter().position(take)?,
    };
    crash_point("flight.taken");
    near.store((at as u32 + 1) % MOST as u32, Relaxed);
    Some(slot)
}

/// As [`remove`], but the entry stays: MSG_PEEK. The caller owns a reference.
pub fn copy<H: Host>(
    k: &Ctx<'_, H>,
    p: &Pair,
    to: Side,
    mut is_it: impl FnMut(&FileRef) -> bool,
) -> Option<u32> {
    p.flights.entries(k.arena).iter().find_map(|entry| {
        let there = entry.load(Acquire);
        let found = there != 0
            && there & 1 == to.bit()
            && FileRef::of(k.arena, there >> 1).is_some_and(|f| is_it(&f))
            && file::get_ref(k.arena, there >> 1);
        if found && entry.load(Acquire) != there {
            forget_descriptor(k, there >> 1, |_| false); // it was taken meanwhile
            return None;
        }
        found.then_some(there >> 1)
    })
}

/// What is sent to `side` may go to somebody else from now on.
pub fn lead_elsewhere<H: Host>(k: &Ctx<'_, H>, p: &Pair, side: Side) {
    let _held = Held::take(k, p);
    mark(p, side);
}

/// Whoever may receive at `side` may also send from there.
fn mark(p: &Pair, side: Side) {
    p.flights
        .exposed
        .fetch_or(bits(side, exposure::MARKED), AcqRel);
    p.flights.mix(side.other());
}

/// From now on nothing of ringer's is sent to `side`. `true`: something may be queued there, so the caller
/// looks through it, and then calls [`exposed`].
#[must_use]
pub fn expose<H: Host>(k: &Ctx<'_, H>, p: &Pair, side: Side) -> bool {
    if p.flights.exposed.load(Acquire) & bits(side, exposure::DONE) != 0 {
        return false;
    }
    let held = Held::take(k, p);
    mark(p, side);
    let empty = p.flights.is_empty(k.arena);
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
    for word in [&flights.exposed, &flights.next]
        .into_iter()
        .chain(&flights.only)
    {
        word.store(0, Relaxed);
    }
    let Some((at, bytes)) = flights.block() else {
        return;
    };
    for entry in flights.entries(k.arena) {
        match entry.swap(0, AcqRel) {
            0 => {}
            raw => f(raw >> 1),
        }
    }
    flights.used.store(0, Relaxed);
    flights.at.store(0, Relaxed);
    drop(held);
    if let Some(block) = Off::<u8>::from_raw(at) {
        alloc::free(k.arena, k.me, k.host, block, bytes);
    }
}

const _: () = assert!(core::mem::size_of::<Flights>() == 32);
const _: () =
    assert!(core::mem::offset_of!(Pair, flights) + core::mem::offset_of!(Flights, lock) == 64);
