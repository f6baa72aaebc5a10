//! The pipes of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::off::UNIT;
use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::slot::{SlotWord, Tail};
use ringer_kernel::pipe::{self, mode, Pipe, SlotCell};

use super::descriptors::{Holder, Holders};

/// The largest pipe that is emulated: 4 MiB.
pub const MAX_SLOTS: u32 = 1024;

#[derive(Clone, Debug, Serialize)]
pub struct PipeView {
    /// N of pipe#N.
    pub id: u32,
    /// `ring`, `kernel` or `demoting`
    pub mode: &'static str,
    /// Why the kernel serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    pub slots: u32,
    /// Bytes in it now; of a pipe in the kernel, ringer does not know.
    pub queued: u64,
    pub readers: Vec<Holder>,
    pub writers: Vec<Holder>,
    pub sleeping_readers: u32,
    pub sleeping_writers: u32,
    pub written: u64,
    pub read: u64,
    pub writes: u64,
    pub reads: u64,
    /// Somebody polls it.
    pub polled: bool,
}

/// The pipes that are in use, in the order of their numbers.
pub fn pipes(arena: &Arena, holders: &mut Holders) -> Vec<PipeView> {
    let mut found = Vec::new();
    for (slot, p) in pipe_slots(arena) {
        let mode = p.mode.load(Acquire);
        let (readers, writers) = holders.by_pipe.remove(&slot).unwrap_or_default();
        let cause = p.demote_cause.load(Relaxed);
        found.push(PipeView {
            id: p.id.load(Relaxed),
            mode: match mode {
                mode::RING => "ring",
                mode::KERNEL => "kernel",
                mode::DEMOTING => "demoting",
                _ => "?",
            },
            cause: (mode == mode::KERNEL).then(|| Cause::describe(cause)),
            slots: p.slots.load(Relaxed),
            queued: queued(arena, p),
            readers,
            writers,
            sleeping_readers: p.rd_wait.sleepers.load(Relaxed),
            sleeping_writers: p.wr_wait.sleepers.load(Relaxed),
            written: p.written.load(Relaxed),
            read: p.read.load(Relaxed),
            writes: p.writes.load(Relaxed),
            reads: p.reads.load(Relaxed),
            polled: p.watched.load(Relaxed) != 0,
        });
    }
    found.sort_by_key(|p| p.id);
    found
}

/// Slots of the table of pipes that are in use.
pub fn pipe_slots(arena: &Arena) -> impl Iterator<Item = (u32, &'static Pipe)> {
    let arena = *arena;
    let used = arena
        .header()
        .pipes_used
        .load(Acquire)
        .min(layout::MAX_PIPES);
    (1..used).filter_map(move |slot| {
        let p = pipe::get(&arena, slot)?;
        (p.mode.load(Acquire) != mode::FREE).then_some((slot, p))
    })
}

/// The cell of slot `seq`, if the ring is where it says.
pub fn cell(arena: &Arena, p: &Pipe, seq: u64) -> Option<&'static SlotCell> {
    let slots = p.slots.load(Relaxed);
    let table = p.slots_at.load(Relaxed) as usize * UNIT;
    if table == 0 || slots == 0 {
        return None;
    }
    arena.at(table + (seq % u64::from(slots)) as usize * size_of::<SlotCell>())
}

/// Bytes in the ring, as far as it can be believed.
fn queued(arena: &Arena, p: &Pipe) -> u64 {
    let tail = Tail::from_raw(p.tail.load(Acquire));
    let head = p.head.load(Acquire);
    let filled = head
        .saturating_sub(tail.seq)
        .min(u64::from(p.slots.load(Relaxed).min(MAX_SLOTS)));
    (0..filled)
        .filter_map(|i| {
            let word = SlotWord(cell(arena, p, tail.seq.wrapping_add(i))?.word.load(Acquire));
            Some(word.end().saturating_sub(if i == 0 { tail.off } else { 0 }) as u64)
        })
        .sum()
}
