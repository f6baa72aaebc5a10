//! Objects that only the kernel has, and that are known by a number of the kernel's: their names in
//! the log, and the order of their records. (Order among the records as they are told: between the kernel's call
//! and its record others may come in.)
//!
//! # Invariants
//!
//! - A slot's key is written once, by a CAS from 0, and stays; so does its object.

use super::{object, Logged};
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// So many objects in a session. Those beyond have no name in the log.
const MOST: usize = 4096;
/// Slots that are looked at for one key.
const PROBES: usize = 64;

#[repr(C)]
pub struct Observed {
    /// The object's class and the kernel's number. 0: nobody's.
    key: AtomicU64,
    object: AtomicU32,
    order: AtomicU32,
}

impl Logged for Observed {
    fn object(&self) -> u32 {
        self.object.load(Relaxed)
    }

    fn order(&self) -> &AtomicU32 {
        &self.order
    }
}

#[repr(C)]
pub struct Table([Observed; MOST]);

// SAFETY: atomics only, no padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Table {}

/// The object that the kernel knows as `number`. `None`: there is no place for it.
pub fn find<H: Host>(k: &Ctx<'_, H>, class: u32, number: u32) -> Option<&'static Observed> {
    debug_assert_ne!(class, object::PIPE);
    let key = u64::from(class) << 32 | u64::from(number);
    let Table(slots) = table(k)?;
    let first = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    for i in 0..PROBES {
        let slot = slots.get((first + i) % MOST)?;
        match slot.key.compare_exchange(0, key, AcqRel, Acquire) {
            Ok(_) => {}
            Err(known) if known == key => {}
            Err(_) => continue,
        }
        name(k, slot, class);
        return Some(slot);
    }
    None
}

/// Whether the session has met it.
pub fn is_known<H: Host>(k: &Ctx<'_, H>, class: u32, number: u32) -> bool {
    let key = u64::from(class) << 32 | u64::from(number);
    let first = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    let Some(Table(slots)) = table(k) else {
        return false;
    };
    (0..PROBES).any(|i| {
        let slot = slots.get((first + i) % MOST);
        slot.is_some_and(|s| s.key.load(Acquire) == key)
    })
}

fn name<H: Host>(k: &Ctx<'_, H>, slot: &Observed, class: u32) {
    if slot.object.load(Acquire) == 0 {
        let ids = &k.arena.header().object_ids;
        let n = ids.fetch_add(1, Relaxed).wrapping_add(1);
        let _ = slot.object.compare_exchange(0, class | n, AcqRel, Acquire);
    }
}

fn existing(arena: &Arena) -> Option<&'static Table> {
    arena.get(Off::from_raw(arena.header().observed.load(Acquire))?)
}

/// The session's table, made if need be.
fn table<H: Host>(k: &Ctx<'_, H>) -> Option<&'static Table> {
    if let Some(table) = existing(k.arena) {
        return Some(table);
    }
    const LEN: usize = core::mem::size_of::<Table>();
    let block = alloc::alloc_made(k.arena, k.me, k.host, LEN).ok()?;
    let fresh: &'static Table = k.arena.get(Off::from_raw(block.raw())?)?;
    let Table(slots) = fresh;
    for slot in slots {
        slot.key.store(0, Relaxed);
        slot.object.store(0, Relaxed);
        slot.order.store(0, Relaxed);
    }
    let header = k.arena.header();
    let published = header
        .observed
        .compare_exchange(0, block.raw(), AcqRel, Acquire);
    if published.is_err() {
        alloc::free(k.arena, k.me, k.host, block, LEN);
    }
    existing(k.arena)
}
