//! The queue itself: records of pending signals, linked in the order in which they came.
//!
//! Invariant S1: an entry is in the queue from the one store that links it in until the one store
//! that takes it out. The tail, the bits and the count are derived from the links: [`repair`].
//!
//! # Crash points
//!
//! - C1. Killed before an entry is linked in: it is lost with its sender, whose call has not
//!   returned; its memory comes back with its block.
//! - C2. Killed after, before the bits are set: the next to lock the queue repairs it.
//! - C3. Killed after an entry was taken out, before it was given back: as C1.

use super::{bit, next_signal, published, SIGRTMIN};
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::{crash_point, Host};
use crate::planted::{planted, Bug};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::OwnerId;

use super::State;

/// siginfo_t, as the kernel has it: 128 bytes.
pub type Siginfo = [u64; 16];

/// One pending signal.
#[repr(C, align(64))]
pub struct SigQueue {
    /// Offset of the next one, 0 for none.
    next: AtomicU32,
    sig: AtomicU32,
    /// 1: for a thread; 0: for the process.
    private: AtomicU32,
    /// The N of sig#N, 0 without a log.
    id: AtomicU32,
    /// Record of the call that sent it.
    cause: AtomicU64,
    /// Time-stamp counter then.
    tsc: AtomicU64,
    info: [AtomicU64; 16],
    _pad: [AtomicU64; 4],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for SigQueue {}

const ENTRIES: usize = 21;

/// A block of entries, so that the heap is asked seldom.
#[repr(C, align(64))]
pub(super) struct Block {
    pub(super) next: AtomicU32,
    _pad: [AtomicU32; 15],
    entries: [SigQueue; ENTRIES],
}

// SAFETY: as above.
unsafe impl ArenaSafe for Block {}

pub(super) const BLOCK_BYTES: usize = core::mem::size_of::<Block>();
const _: () = assert!(BLOCK_BYTES == 4096);

/// What becomes of a signal that is put into the queue.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// At this offset.
    Queued(u32),
    /// One of its number is there already; the first one's siginfo is kept.
    Coalesced,
    /// No memory, or no more entries are allowed.
    Full,
}

/// A signal that was taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub sig: i32,
    pub private: bool,
    pub info: Siginfo,
    pub id: u32,
    pub cause: u64,
    pub tsc: u64,
}

/// What the sender knows.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    pub sig: i32,
    pub private: bool,
    pub info: &'a Siginfo,
    pub id: u32,
    pub cause: u64,
    /// Most entries that the queue may have. (RLIMIT_SIGPENDING, setrlimit(2))
    pub limit: u32,
    /// [`State::opened`] when the target was looked for.
    pub opened: u32,
}

fn entry(arena: &Arena, raw: u32) -> Option<&'static SigQueue> {
    arena.get(Off::from_raw(raw)?)
}

fn bits_of(s: &State, private: bool) -> &AtomicU64 {
    if private {
        &s.private
    } else {
        &s.shared
    }
}

/// Puts a signal in. The caller holds the lock.
pub(super) fn push(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    s: &State,
    what: &Sending<'_>,
) -> Pushed {
    let bits = bits_of(s, what.private);
    let there = bits.load(Relaxed) & bit(what.sig) != 0;
    if what.sig < SIGRTMIN && there && !planted(Bug::SignalNotCoalesced) {
        if planted(Bug::SignalKeepsLastInfo) {
            each(arena, s, |e| {
                let same = e.sig.load(Relaxed) == what.sig as u32;
                if same {
                    let both = e.info.iter().zip(what.info);
                    both.for_each(|(to, from)| to.store(*from, Relaxed));
                }
                !same
            });
        }
        return Pushed::Coalesced;
    }
    if what.sig >= SIGRTMIN && s.count.load(Relaxed) >= what.limit {
        return Pushed::Full;
    }
    let Some((raw, e)) = free_entry(arena, me, host, s) else {
        return Pushed::Full;
    };
    e.next.store(0, Relaxed);
    e.sig.store(what.sig as u32, Relaxed);
    e.private.store(u32::from(what.private), Relaxed);
    e.id.store(what.id, Relaxed);
    e.cause.store(what.cause, Relaxed);
    e.tsc.store(host.tsc(), Relaxed);
    for (to, from) in e.info.iter().zip(what.info) {
        to.store(*from, Relaxed);
    }
    crash_point("sigqueue.link");
    if planted(Bug::SignalRealtimeLifo) && s.tail.load(Relaxed) != 0 {
        e.next.store(s.head.load(Relaxed), Relaxed);
        s.head.store(raw, Release);
        s.count.fetch_add(1, Relaxed);
        published::mark(bits, bit(what.sig));
        return Pushed::Queued(raw);
    }
    match entry(arena, s.tail.load(Relaxed)) {
        Some(last) => last.next.store(raw, Release),
        None => s.head.store(raw, Release),
    }
    crash_point("sigqueue.linked");
    s.tail.store(raw, Relaxed);
    s.count.fetch_add(1, Relaxed);
    published::mark(bits, bit(what.sig));
    Pushed::Queued(raw)
}

/// An entry for a new signal: a free one, or one of a new block.
fn free_entry(
    arena: &Arena,
    me: OwnerId,
    host: &impl Host,
    s: &State,
) -> Option<(u32, &'static SigQueue)> {
    if let Some(e) = entry(arena, s.free.load(Relaxed)) {
        return Some((s.free.swap(e.next.load(Relaxed), Relaxed), e));
    }
    let block = alloc::alloc(arena, me, host, BLOCK_BYTES).ok()?;
    let b: &Block = arena.get(Off::from_raw(block.raw())?)?;
    b.next.store(s.blocks.load(Relaxed), Relaxed);
    s.blocks.store(block.raw(), Relaxed);
    arena.header().signals_queued.fetch_add(1, Relaxed);
    let mut list = 0;
    for e in b.entries.iter().skip(1) {
        e.next.store(list, Relaxed);
        list = arena.offset_of(e)?.raw();
    }
    s.free.store(list, Relaxed);
    let first = b.entries.first()?;
    Some((arena.offset_of(first)?.raw(), first))
}

/// Takes the next signal of `set` out: the thread's own before the process's. The caller holds the
/// lock. (Linux v6.18 kernel/signal.c dequeue_signal)
pub(super) fn take(arena: &Arena, s: &State, set: u64) -> Option<Taken> {
    for private in [true, false] {
        let private = private != planted(Bug::SignalSharedFirst);
        let bits = bits_of(s, private);
        // Each that is not there is looked for once only.
        for _ in 0..64 {
            let Some(mut sig) = next_signal(bits.load(Relaxed) & set) else {
                break;
            };
            if planted(Bug::SignalHighestFirst) {
                sig = 64 - (bits.load(Relaxed) & set).leading_zeros() as i32;
            }
            let found = take_first(arena, s, |e| {
                e.sig.load(Relaxed) == sig as u32 && (e.private.load(Relaxed) != 0) == private
            });
            if found.is_some() {
                return found;
            }
            // A peer has scribbled on it: nobody must wait for what will never come out.
            published::unmark(bits, bit(sig));
        }
    }
    None
}

/// Takes out the entry at this offset, if it is still that one.
pub(super) fn take_at(arena: &Arena, s: &State, raw: u32, sig: i32) -> Option<Taken> {
    let at = entry(arena, raw)?;
    take_first(arena, s, |e| {
        core::ptr::eq(e, at) && e.sig.load(Relaxed) == sig as u32
    })
}

fn take_first(arena: &Arena, s: &State, is_it: impl Fn(&SigQueue) -> bool) -> Option<Taken> {
    let mut before = 0;
    let mut at = s.head.load(Relaxed);
    let mut left = MOST; // a ring of links ends, too
    while let (Some(e), true) = (entry(arena, at), left > 0) {
        let next = e.next.load(Relaxed);
        if is_it(e) {
            match entry(arena, before) {
                Some(previous) => previous.next.store(next, Release),
                None => s.head.store(next, Release),
            }
            crash_point("sigqueue.unlinked");
            if s.tail.load(Relaxed) == at {
                s.tail.store(before, Relaxed);
            }
            return Some(out(arena, s, at, e));
        }
        before = at;
        at = next;
        left -= 1;
    }
    None
}

/// The entry was unlinked: its bit goes with the last of its kind, and it is free again.
fn out(arena: &Arena, s: &State, raw: u32, e: &SigQueue) -> Taken {
    let mut info: Siginfo = [0; 16];
    for (to, from) in info.iter_mut().zip(&e.info) {
        *to = from.load(Relaxed);
    }
    let taken = Taken {
        sig: e.sig.load(Relaxed) as i32,
        private: e.private.load(Relaxed) != 0,
        info,
        id: e.id.load(Relaxed),
        cause: e.cause.load(Relaxed),
        tsc: e.tsc.load(Relaxed),
    };
    let mut others = false;
    each(arena, s, |o| {
        others |= o.sig.load(Relaxed) == taken.sig as u32
            && (o.private.load(Relaxed) != 0) == taken.private;
        !others
    });
    if !others || planted(Bug::SignalSecondLost) {
        published::unmark(bits_of(s, taken.private), bit(taken.sig));
    }
    let _ = s
        .count
        .fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_sub(1)));
    e.next.store(s.free.load(Relaxed), Relaxed);
    s.free.store(raw, Relaxed);
    taken
}

/// Calls `f` with each entry while it says so.
fn each(arena: &Arena, s: &State, mut f: impl FnMut(&SigQueue) -> bool) -> u32 {
    let mut at = s.head.load(Relaxed);
    let mut last = 0;
    // No more than there can be: links that a peer has scribbled on may go round.
    let mut left = MOST;
    while let (Some(e), true) = (entry(arena, at), left > 0) {
        if !f(e) {
            break;
        }
        last = at;
        at = e.next.load(Relaxed);
        left -= 1;
    }
    last
}

/// More than any RLIMIT_SIGPENDING that a machine of this size has.
pub const MOST: u32 = 1 << 20;
pub(super) const MOST_BLOCKS: u32 = MOST / ENTRIES as u32 + 1;

/// Whoever held the lock died in the middle: everything that is derived is derived again.
pub(super) fn repair(arena: &Arena, s: &State) {
    let (mut private, mut shared, mut count) = (0, 0, 0);
    let last = each(arena, s, |e| {
        let sig = bit(e.sig.load(Relaxed) as i32);
        if e.private.load(Relaxed) != 0 {
            private |= sig;
        } else {
            shared |= sig;
        }
        count += 1;
        true
    });
    s.tail.store(last, Relaxed);
    s.count.store(count, Relaxed);
    s.private.store(private, SeqCst);
    s.shared.store(shared, SeqCst);
    // Of a list that somebody was changing nothing is known: its entries come back with the blocks.
    s.free.store(0, Relaxed);
}
