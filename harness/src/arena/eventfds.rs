//! The eventfds of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::eventfd::{self, Eventfd, CLOSED};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::task::waits;

use super::descriptors::{Holder, Holders};
use super::waiting::{self, Waiting};
use crate::sys::procfs;

#[derive(Clone, Debug, Serialize)]
pub struct EventfdView {
    /// N of eventfd#N.
    pub id: u32,
    /// `arena`, `kernel` or `demoting`
    pub mode: &'static str,
    /// Why the kernel serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// 0 of one in the kernel, if its holders may not be looked into.
    pub counter: u64,
    pub semaphore: bool,
    pub holders: Vec<Holder>,
    pub sleeping_readers: u32,
    pub sleeping_writers: u32,
    pub writes: u64,
    pub reads: u64,
}

/// The eventfds that are in use, in the order of their numbers.
pub fn eventfds(arena: &Arena, holders: &mut Holders) -> Vec<EventfdView> {
    let waiting = waiting::all(arena);
    let mut found: Vec<EventfdView> = slots(arena)
        .map(|(slot, e)| {
            let mode = e.mode.load(Acquire);
            let cause = e.demote_cause.load(Relaxed);
            let mut view = EventfdView {
                id: e.id.load(Relaxed),
                mode: match mode {
                    mode::RING => "arena",
                    mode::KERNEL => "kernel",
                    mode::DEMOTING => "demoting",
                    _ => "?",
                },
                cause: (mode == mode::KERNEL).then(|| Cause::describe(cause)),
                counter: match e.count.load(Relaxed) {
                    CLOSED => 0,
                    n => n,
                },
                semaphore: e.semaphore.load(Relaxed) != 0,
                holders: holders.by_eventfd.remove(&slot).unwrap_or_default(),
                sleeping_readers: e.rd_wait.sleepers.load(Relaxed),
                sleeping_writers: e.wr_wait.sleepers.load(Relaxed),
                writes: e.writes.load(Relaxed),
                reads: e.reads.load(Relaxed),
            };
            if mode == mode::KERNEL {
                ask_the_kernel(&mut view, waiting.of(waits::EVENTFD, slot));
            }
            view
        })
        .collect();
    found.sort_by_key(|e| e.id);
    found
}

/// What the kernel has of an eventfd that it serves, by way of whoever holds it.
fn ask_the_kernel(view: &mut EventfdView, waiting: Waiting) {
    view.sleeping_readers = waiting.reading;
    view.sleeping_writers = waiting.writing;
    let counts = view.holders.iter();
    let count = counts
        .filter_map(|h| procfs::eventfd_count(h.here?, h.fd))
        .next();
    view.counter = count.unwrap_or(0);
}

/// Slots of the table of eventfds that are in use.
pub fn slots(arena: &Arena) -> impl Iterator<Item = (u32, &'static Eventfd)> {
    let arena = *arena;
    let used = arena
        .header()
        .eventfds_used
        .load(Acquire)
        .min(layout::MAX_EVENTFDS);
    (1..used).filter_map(move |slot| {
        let e = eventfd::get(&arena, slot)?;
        (e.mode.load(Acquire) != mode::FREE).then_some((slot, e))
    })
}
