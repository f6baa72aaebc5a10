//! One order out of many rings: by time, and for each object by its own sequence numbers.
//!
//! Records of one object are numbered inside its critical section. Time alone would nearly do;
//! but a thread may be stopped between taking its number and publishing the record, and then the
//! numbers are right and the time is not. So record n of an object waits for n-1: until it comes,
//! until the end, or until patience is over. That is short once records are known to be lost, and
//! long as long as the missing one must be on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::Header;

use super::drain::Raw;
use crate::sys::clock::{self, Clock};

/// Records younger than this are held back, in case an older one is on its way.
const HOLD_NS: u64 = 1_000_000;
/// So long is a missing predecessor waited for if records were lost.
const PATIENCE_NS: u64 = 50_000_000;
/// And if none was: its thread is stopped, or was killed in the middle.
const LONG_PATIENCE_NS: u64 = 2_000_000_000;
/// More than this many waiting for one predecessor: it was lost.
const MAX_WAITING: usize = 64 * 1024;

/// What comes out.
#[derive(Clone, Copy, Debug)]
pub enum Merged {
    Record(Raw),
    /// Its object's later ones are out already.
    Late(Raw),
    /// `missing` records of the object were never seen.
    Gap {
        object: u32,
        missing: u64,
        tsc: u64,
    },
}

/// By time, then by arrival.
struct Held(u64, u64, Raw);

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// When we came. What is older is not ours to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begin {
    /// Time-stamp counter.
    pub tsc: u64,
    /// Objects up to this number were there already: their first record may have any number.
    /// That of a newer one is record 0.
    pub objects: u32,
}

impl Begin {
    pub fn now(header: &Header) -> Begin {
        Begin {
            tsc: clock::tsc(),
            objects: header.object_ids.load(Relaxed),
        }
    }
}

#[derive(Default)]
struct Order {
    next: Option<u32>,
    waiting: BTreeMap<u32, Raw>,
}

pub struct Merger {
    begin: Begin,
    hold: u64,
    patience: u64,
    long_patience: u64,
    lossy: bool,
    held: BinaryHeap<Reverse<Held>>,
    arrived: u64,
    objects: HashMap<u32, Order>,
    incomplete: HashSet<u32>,
}

impl Merger {
    pub fn new(begin: Begin, clock: &Clock) -> Merger {
        Merger {
            begin,
            hold: clock.ticks(HOLD_NS),
            patience: clock.ticks(PATIENCE_NS),
            long_patience: clock.ticks(LONG_PATIENCE_NS),
            lossy: false,
            held: BinaryHeap::new(),
            arrived: 0,
            objects: HashMap::new(),
            incomplete: HashSet::new(),
        }
    }

    /// Records are being lost: a missing one is likely to be among them.
    pub fn expect_losses(&mut self) {
        self.lossy = true;
    }

    pub fn push(&mut self, raw: Raw) {
        self.arrived += 1;
        self.held
            .push(Reverse(Held(raw.record.tsc, self.arrived, raw)));
    }

    /// Gives out what nothing older can precede any more, seen from `now`.
    pub fn release(&mut self, now: u64, mut out: impl FnMut(Merged)) {
        let until = now.saturating_sub(self.hold);
        while self.held.peek().is_some_and(|Reverse(h)| h.0 <= until) {
            if let Some(Reverse(Held(_, _, raw))) = self.held.pop() {
                self.place(raw, &mut out);
            }
        }
        let patience = if self.lossy {
            self.patience
        } else {
            self.long_patience
        };
        let overdue = now.saturating_sub(patience);
        let impatient: Vec<u32> = self
            .incomplete
            .iter()
            .filter(|object| {
                self.objects.get(object).is_some_and(|o| {
                    let oldest = o.waiting.values().next().map_or(u64::MAX, |r| r.record.tsc);
                    oldest < overdue || o.waiting.len() > MAX_WAITING
                })
            })
            .copied()
            .collect();
        for object in impatient {
            self.skip(object, &mut out);
        }
    }

    /// Gives out everything.
    pub fn finish(&mut self, mut out: impl FnMut(Merged)) {
        while let Some(Reverse(Held(_, _, raw))) = self.held.pop() {
            self.place(raw, &mut out);
        }
        let mut rest: Vec<u32> = self.incomplete.iter().copied().collect();
        rest.sort_unstable();
        for object in rest {
            while self.incomplete.contains(&object) {
                self.skip(object, &mut out);
            }
        }
    }

    fn place(&mut self, raw: Raw, out: &mut impl FnMut(Merged)) {
        let (object, seq) = (raw.record.object, raw.record.seq);
        if object == 0 {
            return out(Merged::Record(raw));
        }
        let order = self.objects.entry(object).or_default();
        let first = if object > self.begin.objects { 0 } else { seq };
        let next = order.next.unwrap_or(first);
        // The numbers wrap after 2^32 records of one pipe.
        let ahead = seq.wrapping_sub(next);
        if ahead != 0 && ahead < u32::MAX / 2 {
            order.next = Some(next);
            order.waiting.insert(seq, raw);
            self.incomplete.insert(object);
            return;
        }
        if ahead != 0 {
            return out(Merged::Late(raw));
        }
        out(Merged::Record(raw));
        order.next = Some(seq.wrapping_add(1));
        self.catch_up(object, out);
    }

    /// Gives out what waited for the record that just went out.
    fn catch_up(&mut self, object: u32, out: &mut impl FnMut(Merged)) {
        let Some(order) = self.objects.get_mut(&object) else {
            return;
        };
        let mut next = order.next.unwrap_or(0);
        while let Some(raw) = order.waiting.remove(&next) {
            out(Merged::Record(raw));
            next = next.wrapping_add(1);
        }
        order.next = Some(next);
        if order.waiting.is_empty() {
            self.incomplete.remove(&object);
        }
    }

    /// Waits no longer for an object's next record.
    fn skip(&mut self, object: u32, out: &mut impl FnMut(Merged)) {
        let Some(order) = self.objects.get_mut(&object) else {
            self.incomplete.remove(&object);
            return;
        };
        let next = order.next.unwrap_or(0);
        // The numbers wrap: what is below `next` comes after what is above.
        let first = order
            .waiting
            .range(next..)
            .chain(order.waiting.range(..next))
            .next();
        match first.map(|(seq, raw)| (*seq, raw.record.tsc)) {
            Some((seq, tsc)) => {
                let missing = u64::from(seq.wrapping_sub(next));
                out(Merged::Gap {
                    object,
                    missing,
                    tsc,
                });
                order.next = Some(seq);
                self.catch_up(object, out);
            }
            None => {
                self.incomplete.remove(&object);
            }
        }
    }
}

#[cfg(test)]
mod tests;
