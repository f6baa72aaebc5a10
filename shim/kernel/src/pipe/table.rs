//! The session's pipes: making one, finding it, giving it back.

use super::{mode, watch, Ctx, Pipe, SlotCell};
use crate::abi::limits::PAGE_SIZE;
use crate::abi::Errno;
use crate::arena::{alloc, layout, pages, Arena, Off};
use crate::host::Host;
use crate::log::{object, Kind};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// Pipe number `slot` of the table; free ones too.
#[inline(always)]
pub fn get(arena: &Arena, slot: u32) -> Option<&'static Pipe> {
    arena.slot(layout::PIPES, layout::MAX_PIPES, slot)
}

/// A new, empty pipe of `slots` slots on the twin `dev`, `ino`.
///
/// Errors: ENFILE when the table is full, ENOMEM when the arena is; either when /dev/shm is.
pub fn create<H: Host>(
    k: &Ctx<'_, H>,
    dev: u64,
    ino: u64,
    slots: u32,
    how: u32,
) -> Result<u32, Errno> {
    create_as(k, (dev, ino), slots, how, object::PIPE)
}

/// As [`create`], of this [class](object).
pub(super) fn create_as<H: Host>(
    k: &Ctx<'_, H>,
    (dev, ino): (u64, u64),
    slots: u32,
    how: u32,
    class: u32,
) -> Result<u32, Errno> {
    let slots_at = alloc::alloc(
        k.arena,
        k.me,
        k.host,
        slots as usize * core::mem::size_of::<SlotCell>(),
    )?;
    let made = alloc::locked(k.arena, k.me, k.host, |h| {
        let index = alloc::take_slot(
            &h.pipes_used,
            &h.pipes_free,
            layout::MAX_PIPES,
            |s| get(k.arena, s).map(|p| p.next_free.load(Relaxed)),
            |s| pages::make::<Pipe>(k.arena, k.host, layout::PIPES, &h.pipes_made, s),
        )?;
        let p = get(k.arena, index)?;
        let number = h.object_ids.fetch_add(1, Relaxed).wrapping_add(1);
        p.id.store(class | number, Relaxed);
        h.pipes_live.fetch_add(1, Relaxed);
        Some((index, p))
    });
    let Some((index, p)) = made else {
        alloc::free(k.arena, k.me, k.host, slots_at, slots_bytes(slots));
        return Err(Errno::ENFILE);
    };
    p.slots.store(slots, Relaxed);
    p.slots_at.store(slots_at.raw(), Relaxed);
    p.dev.store(dev, Relaxed);
    p.ino.store(ino, Relaxed);
    p.ino_copy.store(ino, Relaxed);
    p.created_tsc.store(k.host.tsc(), Relaxed);
    p.mode.store(how, Release);
    Ok(index)
}

fn slots_bytes(slots: u32) -> usize {
    slots as usize * core::mem::size_of::<SlotCell>()
}

/// Frees a pipe that nobody holds: its memory goes back, its slot gets a new generation.
pub fn release<H: Host>(k: &Ctx<'_, H>, index: u32) {
    if let Some(p) = get(k.arena, index) {
        release_if(k, index, p.generation.load(Acquire));
    }
}

/// As [`release`], unless the slot has another generation already: of two who close the last
/// descriptors at the same time, each may find the pipe unused, and the slot may be a new pipe's
/// before the second one gets here.
pub fn release_if<H: Host>(k: &Ctx<'_, H>, index: u32, generation: u32) {
    let Some(p) = get(k.arena, index) else { return };
    p.lock_readers(k);
    p.lock_writers(k);
    let same = p.generation.load(Relaxed) == generation;
    if !same || p.mode.swap(mode::FREE, AcqRel) == mode::FREE {
        let _ = p.wlock.unlock(k.me, Progress::None, k.host);
        let _ = p.rlock.unlock(k.me, Progress::None, k.host);
        return;
    }
    // By the one of several closers who does it, and before the order of records starts anew.
    let lost = p.written.load(Relaxed).saturating_sub(p.read.load(Relaxed));
    k.log.pipe(p, Kind::Free, 0, (lost as i64, 0, 0));
    p.generation.fetch_add(1, AcqRel);
    watch::forget(k, p);
    let slots = p.slots.load(Relaxed);
    let slots_at = Off::<u8>::from_raw(p.slots_at.swap(0, Relaxed));
    let data_at = Off::<u8>::from_raw(p.data_at.swap(0, Relaxed));
    for word in [
        &p.reader_witness,
        &p.writer_witness,
        &p.readers,
        &p.writers,
        &p.log_seq,
        &p.pokes,
        &p.demote_cause,
    ] {
        word.store(0, Relaxed);
    }
    for word in [
        &p.head,
        &p.tail,
        &p.seen_head,
        &p.seen_word,
        &p.seen_tail,
        &p.written,
        &p.read,
        &p.writes,
        &p.reads,
        &p.dev,
        &p.ino,
        &p.ino_copy,
    ]
    .into_iter()
    .chain(&p.opened)
    {
        word.store(0, Relaxed);
    }
    let asleep = p.rd_wait.sleepers.load(Relaxed) | p.wr_wait.sleepers.load(Relaxed) != 0;
    p.rd_wait.reset(k.host);
    p.wr_wait.reset(k.host);
    // As after progress: whoever announced himself to the old pipe is told nothing by the new one.
    let _ = p.wlock.unlock(k.me, Progress::Made, k.host);
    let _ = p.rlock.unlock(k.me, Progress::Made, k.host);
    if asleep {
        p.wake_everybody(k.host, 0); // in a call on a descriptor that another thread closed
    }
    if let Some(block) = slots_at {
        alloc::free(k.arena, k.me, k.host, block, slots_bytes(slots));
    }
    if let Some(block) = data_at {
        alloc::free(k.arena, k.me, k.host, block, slots as usize * PAGE_SIZE);
    }
    alloc::locked(k.arena, k.me, k.host, |h| {
        p.next_free.store(h.pipes_free.load(Relaxed), Relaxed);
        h.pipes_free.store(index, Relaxed);
        h.pipes_live.fetch_sub(1, Relaxed);
    });
}
