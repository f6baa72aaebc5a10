//! Blocks of the heap: what is handed out lies in the heap, and belongs to one owner only.

use std::collections::HashSet;
use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::alloc::{shift_for, MIN_SHIFT};
use ringer_kernel::arena::off::UNIT;
use ringer_kernel::arena::{layout, Arena, Off};
use ringer_kernel::sync::atomic::AtomicU32;

use super::check::Findings;

/// Blocks of the heap, and who says that he has them.
pub struct Blocks {
    arena: Arena,
    bump: u64,
    /// First unit, units, who.
    all: Vec<(u64, u64, String)>,
}

impl Blocks {
    pub fn new(arena: &Arena) -> Blocks {
        let first = (layout::HEAP / UNIT) as u64;
        let bump = u64::from(arena.header().bump.load(Relaxed)).max(first);
        Blocks {
            arena: *arena,
            bump,
            all: Vec::new(),
        }
    }

    pub fn used(&mut self, place: &str, at: u32, len: usize, found: &mut Findings) {
        match shift_for(len) {
            Some(shift) if self.is_block(at, shift) => {
                self.all
                    .push((u64::from(at), 1 << (shift - MIN_SHIFT), place.to_owned()));
            }
            _ => found.add(
                "A2",
                place,
                format_args!("{len} bytes at unit {at} are no block"),
            ),
        }
    }

    fn is_block(&self, at: u32, shift: u32) -> bool {
        let units = 1u64 << (shift - MIN_SHIFT);
        let at = u64::from(at);
        at >= (layout::HEAP / UNIT) as u64 && at % units == 0 && at + units <= self.bump
    }

    pub fn free_list(&mut self, shift: u32, first: u32, found: &mut Findings) {
        let place = format!("free list of {} bytes", 1u64 << shift);
        let mut seen = HashSet::new();
        let mut at = first;
        while at != 0 {
            if !self.is_block(at, shift) || !seen.insert(at) {
                found.add("A1", &place, format_args!("ends wrongly at unit {at}"));
                return;
            }
            self.all
                .push((u64::from(at), 1 << (shift - MIN_SHIFT), place.clone()));
            let link = Off::<AtomicU32>::from_raw(at).and_then(|o| self.arena.get(o));
            at = link.map_or(0, |l| l.load(Relaxed));
        }
    }

    pub fn overlaps(&mut self, found: &mut Findings) {
        self.all.sort();
        for pair in self.all.windows(2) {
            if let [(at, units, one), (next, _, other)] = pair {
                if at + units > *next {
                    found.add("A2", one, format_args!("shares unit {next} with {other}"));
                }
            }
        }
    }
}
