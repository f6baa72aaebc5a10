//! The session's eventfds: making one, finding it, giving it back.

use super::{Eventfd, Mode, CLOSED};
use crate::abi::Errno;
use crate::arena::{alloc, layout, pages, Arena};
use crate::host::Host;
use crate::log::Kind;
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// Eventfd number `slot` of the table; free ones too.
#[inline(always)]
pub fn get(arena: &Arena, slot: u32) -> Option<&'static Eventfd> {
    arena.slot(layout::EVENTFDS, layout::MAX_EVENTFDS, slot)
}

/// What a new eventfd is made from.
#[derive(Clone, Copy, Debug)]
pub struct New {
    pub count: u64,
    pub how: Mode,
    /// The twin's eventfd-id.
    pub twin: u32,
    /// See [`mode`].
    pub mode: u32,
}

/// Errors: ENFILE when the table is full, or /dev/shm.
pub fn create<H: Host>(k: &Ctx<'_, H>, new: New) -> Result<u32, Errno> {
    forget_twin(k.arena, new.twin);
    let made = alloc::locked(k.arena, k.me, k.host, |h| {
        let index = alloc::take_slot(
            &h.eventfds_used,
            &h.eventfds_free,
            layout::MAX_EVENTFDS,
            |s| get(k.arena, s).map(|e| e.next_free.load(Relaxed)),
            |s| pages::make::<Eventfd>(k.arena, k.host, layout::EVENTFDS, &h.eventfds_made, s),
        )?;
        let e = get(k.arena, index)?;
        e.id.store(h.object_ids.fetch_add(1, Relaxed).wrapping_add(1), Relaxed);
        h.eventfds_live.fetch_add(1, Relaxed);
        Some((index, e))
    });
    let (index, e) = made.ok_or(Errno::ENFILE)?;
    e.semaphore
        .store(u32::from(new.how == Mode::Semaphore), Relaxed);
    e.twin.store(new.twin.wrapping_add(1), Relaxed);
    let count = match new.mode {
        mode::RING => new.count,
        _ => CLOSED,
    };
    e.count.store(count, Relaxed);
    e.created_tsc.store(k.host.tsc(), Relaxed);
    e.mode.store(new.mode, Release);
    Ok(index)
}

/// The kernel has just given this id to a new eventfd, so whatever else has it here is a leftover.
fn forget_twin(arena: &Arena, twin: u32) {
    while let Some((_, e)) = find(arena, twin) {
        e.twin.store(0, Relaxed);
    }
}

/// The eventfd whose twin has this eventfd-id.
pub fn find(arena: &Arena, twin: u32) -> Option<(u32, &'static Eventfd)> {
    let h = arena.header();
    if h.eventfds_live.load(Relaxed) == 0 {
        return None;
    }
    let used = h.eventfds_used.load(Acquire).min(layout::MAX_EVENTFDS);
    (1..used).find_map(|slot| {
        let e = get(arena, slot)?;
        (e.is_twin(twin) && e.mode.load(Acquire) != mode::FREE).then_some((slot, e))
    })
}

/// Frees an eventfd that nobody holds, unless its slot has another generation already.
pub fn release_if<H: Host>(k: &Ctx<'_, H>, index: u32, generation: u32) {
    let Some(e) = get(k.arena, index) else { return };
    e.lock(k);
    let same = e.generation.load(Relaxed) == generation;
    if !same || e.mode.swap(mode::FREE, AcqRel) == mode::FREE {
        e.unlock(k, Progress::None, 0);
        return;
    }
    let lost = match e.count.swap(CLOSED, AcqRel) {
        CLOSED => 0,
        n => n,
    };
    k.log.about(e, Kind::Free, 0, (lost as i64, 0, 0));
    e.generation.fetch_add(1, AcqRel);
    for word in [&e.semaphore, &e.files, &e.twin, &e.demote_cause, &e.log_seq] {
        word.store(0, Relaxed);
    }
    for word in [&e.writes, &e.reads, &e.last_write, &e.moving] {
        word.store(0, Relaxed);
    }
    e.rd_wait.reset(k.host);
    e.wr_wait.reset(k.host);
    e.unlock(k, Progress::Made, 0);
    alloc::locked(k.arena, k.me, k.host, |h| {
        e.next_free.store(h.eventfds_free.load(Relaxed), Relaxed);
        h.eventfds_free.store(index, Relaxed);
        h.eventfds_live.fetch_sub(1, Relaxed);
    });
}
