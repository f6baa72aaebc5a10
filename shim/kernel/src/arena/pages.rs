//! The pages of the tables, made before a slot is touched for the first time: on a full tmpfs the
//! first touch of a page, even by a load, is SIGBUS.
//!
//! Each table has a mark in the header: slots below it have memory. Pages are made outside any
//! lock, too: it is no harm to make one twice, and the mark only rises.

use super::header::Header;
use super::layout;
use super::off::Arena;
use super::safe::ArenaSafe;
use crate::abi::limits::PAGE_SIZE;
use crate::host::Host;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::task::{Process, Task};

/// Slot `slot` of the table of `T`s at byte `table` may be touched from now on. `false`: there is
/// no memory for it.
#[inline]
pub fn make<T: ArenaSafe>(
    arena: &Arena,
    host: &impl Host,
    table: usize,
    made: &AtomicU32,
    slot: u32,
) -> bool {
    let before = made.load(Acquire); // pairs with `grow`
    slot < before || grow::<T>(arena, host, table, made, before..slot)
}

#[cold]
fn grow<T: ArenaSafe>(
    arena: &Arena,
    host: &impl Host,
    table: usize,
    made: &AtomicU32,
    missing: core::ops::Range<u32>,
) -> bool {
    let size = core::mem::size_of::<T>();
    // The page where the last slot that has memory ends is there as a whole.
    let first = (table + missing.start as usize * size).next_multiple_of(PAGE_SIZE);
    let end = (table + (missing.end as usize + 1) * size).next_multiple_of(PAGE_SIZE);
    if end > arena.len() {
        return false;
    }
    // SAFETY: in bounds of the mapping, as just checked.
    let start = unsafe { arena.base().add(first) };
    if !host.populate(start.cast_mut(), end - first) {
        return false;
    }
    made.fetch_max(((end - table) / size) as u32, Release);
    true
}

/// What a new arena can not do without: its header, and places for the first processes and
/// threads. Before the header is touched at all. `false`: there is no memory for them.
pub fn make_first(arena: &Arena, host: &impl Host) -> bool {
    if arena.len() < layout::HEAP || !host.populate(arena.base().cast_mut(), layout::PROCS) {
        return false;
    }
    let h: &Header = arena.header();
    make::<Process>(arena, host, layout::PROCS, &h.procs_made, 1)
        && make::<Task>(arena, host, layout::TASKS, &h.tasks_made, 1)
}
