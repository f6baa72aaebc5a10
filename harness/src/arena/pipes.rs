//! The pipes of an arena, as plain data.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::off::UNIT;
use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::log::{object, Cause};
use ringer_kernel::pipe::slot::{SlotWord, Tail};
use ringer_kernel::pipe::{self, mode, Pipe, SlotCell};
use ringer_kernel::task::waits;

use super::descriptors::{Holder, Holders};
use super::waiting::{self, Waiting};
use crate::log::entry::Object;
use crate::sys::peek;

/// The largest pipe that is emulated: 4 MiB.
pub const MAX_SLOTS: u32 = 1024;

#[derive(Clone, Debug, Serialize)]
pub struct PipeView {
    /// N of pipe#N, or fifo#N.
    pub id: u32,
    #[serde(skip)]
    pub object: Object,
    /// Where a FIFO is, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `ring`, `kernel` or `demoting`
    pub mode: &'static str,
    /// Why the kernel serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    pub slots: u32,
    /// Bytes in it now; 0 of one in the kernel, if its holders may not be looked into.
    pub queued: u64,
    pub readers: Vec<Holder>,
    pub writers: Vec<Holder>,
    pub sleeping_readers: u32,
    pub sleeping_writers: u32,
    /// Who waits in open(2) of a FIFO, for the other end to be opened.
    pub opening_readers: u32,
    pub opening_writers: u32,
    pub written: u64,
    pub read: u64,
    pub writes: u64,
    pub reads: u64,
    /// Somebody polls it.
    pub polled: bool,
}

/// The pipes and FIFOs that are in use, in the order of their numbers.
pub fn pipes(arena: &Arena, holders: &mut Holders) -> Vec<PipeView> {
    let waiting = waiting::all(arena);
    let mut found: Vec<PipeView> = pipe_slots(arena)
        .map(|(slot, p)| {
            let ends = holders.by_pipe.remove(&slot).unwrap_or_default();
            let mut view = view(arena, p, ends);
            if view.mode == "kernel" {
                ask_the_kernel(&mut view, waiting.of(waits::PIPE, slot));
            }
            view
        })
        .collect();
    found.sort_by_key(|p| p.id);
    found
}

fn view(arena: &Arena, p: &Pipe, (readers, writers): (Vec<Holder>, Vec<Holder>)) -> PipeView {
    let mode = p.mode.load(Acquire);
    let cause = p.demote_cause.load(Relaxed);
    let object = p.id.load(Relaxed);
    PipeView {
        id: object::name(object).1,
        object: Object(object),
        path: None,
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
        opening_readers: 0,
        opening_writers: 0,
        written: p.written.load(Relaxed),
        read: p.read.load(Relaxed),
        writes: p.writes.load(Relaxed),
        reads: p.reads.load(Relaxed),
        polled: p.watched.load(Relaxed) != 0,
    }
}

/// What the kernel has of a pipe that it serves, by way of whoever holds it.
fn ask_the_kernel(view: &mut PipeView, waiting: Waiting) {
    view.sleeping_readers = waiting.reading;
    view.sleeping_writers = waiting.writing;
    view.opening_readers = waiting.opening_to_read;
    view.opening_writers = waiting.opening_to_write;
    let holders = view.readers.iter().chain(&view.writers);
    let asked = holders.copied().find_map(|h| {
        let mine = peek::descriptor(h.here?, h.fd)?;
        Some((h, peek::queued(&mine)?, peek::slots(&mine)?))
    });
    if let Some((holder, queued, slots)) = asked {
        view.queued = queued;
        view.slots = slots;
        if view.object.class() == object::FIFO {
            view.path = holder.here.and_then(|pid| peek::name(pid, holder.fd));
        }
    }
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
