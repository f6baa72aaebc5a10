//! The session's socket pairs: making one, finding it, giving it back.

use super::queue::Queue;
use super::{cost, flight, Pair, Side};
use crate::abi::Errno;
use crate::arena::{alloc, layout, pages, Arena, Off};
use crate::file::{self, FileRef};
use crate::host::Host;
use crate::log::Kind;
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;
use crate::task::reap::forget_descriptor;

/// Pair number `slot` of the table; free ones too.
#[inline(always)]
pub fn get(arena: &Arena, slot: u32) -> Option<&'static Pair> {
    arena.slot(layout::PAIRS, layout::MAX_PAIRS, slot)
}

/// What a new pair is made from.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// See [`super::Type`].
    pub kind: u32,
    /// st_dev and st_ino of the twins.
    pub twins: [(u64, u64); 2],
    /// See [`mode`].
    pub mode: u32,
    /// See [`Pair::connector`].
    pub connector: u32,
}

/// Errors: ENFILE when the table is full, or /dev/shm.
pub fn create<H: Host>(k: &Ctx<'_, H>, new: New) -> Result<u32, Errno> {
    let made = alloc::locked(k.arena, k.me, k.host, |h| {
        let index = alloc::take_slot(
            &h.pairs_used,
            &h.pairs_free,
            layout::MAX_PAIRS,
            |s| get(k.arena, s).map(|p| p.next_free.load(Relaxed)),
            |s| pages::make::<Pair>(k.arena, k.host, layout::PAIRS, &h.pairs_made, s),
        )?;
        let p = get(k.arena, index)?;
        p.id.store(h.object_ids.fetch_add(1, Relaxed).wrapping_add(1), Relaxed);
        h.pairs_live.fetch_add(1, Relaxed);
        Some((index, p))
    });
    let (index, p) = made.ok_or(Errno::ENFILE)?;
    p.kind.store(new.kind, Relaxed);
    for (socket, (dev, ino)) in p.sockets.iter().zip(new.twins) {
        socket.dev.store(dev, Relaxed);
        socket.ino.store(ino, Relaxed);
        socket.sndbuf.store(cost::DEFAULT_SNDBUF, Relaxed);
    }
    p.connector.store(new.connector, Relaxed);
    if new.mode == mode::PENDING {
        k.arena.header().pairs_pending.fetch_add(1, AcqRel);
    }
    p.created_tsc.store(k.host.tsc(), Relaxed);
    p.mode.store(new.mode, Release);
    Ok(index)
}

/// Which socket of which pair has this twin.
pub fn find(arena: &Arena, dev: u64, ino: u64) -> Option<(u32, Side)> {
    let h = arena.header();
    if h.pairs_live.load(Relaxed) == 0 {
        return None;
    }
    let used = h.pairs_used.load(Acquire).min(layout::MAX_PAIRS);
    (1..used).find_map(|slot| {
        let p = get(arena, slot)?;
        let side = p.side_of(dev, ino)?;
        (p.mode.load(Acquire) != mode::FREE).then_some((slot, side))
    })
}

/// Somebody has closed a socket that ringer does not serve: perhaps one that listened. Who waits to be accepted looks
/// again.
#[cold]
pub fn wake_pending(arena: &Arena, host: &impl Host) {
    let used = arena.header().pairs_used.load(Acquire);
    let pairs = (1..used.min(layout::MAX_PAIRS)).filter_map(|slot| get(arena, slot));
    for p in pairs.filter(|p| p.is_pending()) {
        p.wake_everybody(host, 0);
    }
}

/// Pairs that nobody holds any more once another one is given back: their sockets were on their way
/// in it. Those beyond stay until the session ends.
const LEFT_BEHIND: usize = 16;

/// Frees a pair that nobody holds, unless its slot has another generation already, and those that were
/// held by what was on its way in it only.
pub fn release_if<H: Host>(k: &Ctx<'_, H>, index: u32, generation: u32) {
    let mut left = [(0, 0); LEFT_BEHIND];
    let mut count = 0;
    let mut next = (index, generation);
    loop {
        release_one(k, next, |pair| {
            if let Some(free) = left.get_mut(count) {
                *free = pair;
                count += 1;
            }
        });
        let Some(last) = count.checked_sub(1) else {
            return;
        };
        count = last;
        next = left.get(last).copied().unwrap_or_default();
    }
}

/// A description that was on its way is gone. The slot and generation of a pair that nobody holds now.
fn forget_flight<H: Host>(k: &Ctx<'_, H>, file_slot: u32) -> Option<(u32, u32)> {
    let Some(FileRef::Socket(s)) = FileRef::of(k.arena, file_slot) else {
        // As of a dead process: the counts are all there is.
        forget_descriptor(k, file_slot, |_| true);
        return None;
    };
    let generation = s.pair.generation.load(Relaxed); // ours as long as we hold the reference
    let last = file::close_ref(k.arena, k.me, k.host, file_slot);
    last.then(|| s.pair.wake_everybody(k.host, 0));
    let is_held = |side| s.pair.socket(side).files.load(Acquire) != 0;
    (last && !Side::BOTH.into_iter().any(is_held)).then_some((s.slot(), generation))
}

fn release_one<H: Host>(
    k: &Ctx<'_, H>,
    (index, generation): (u32, u32),
    mut left_behind: impl FnMut((u32, u32)),
) {
    let Some(p) = get(k.arena, index) else { return };
    let [a, b] = &p.queues;
    lock(k, p);
    let same = p.generation.load(Relaxed) == generation;
    // Somebody may have accepted it since the counts were looked at.
    let held = (p.sockets.iter()).any(|s| s.files.load(Acquire) != 0);
    if !same || held || p.mode.load(Acquire) == mode::FREE {
        return unlock(k, p, Progress::None);
    }
    if p.mode.swap(mode::FREE, AcqRel) == mode::PENDING {
        count_pending_out(k);
    }
    let lost: u64 = [a, b].map(|q| q.queued(k.arena, false)).iter().sum();
    k.log.about(p, Kind::Free, 0, (lost as i64, 0, 0));
    p.generation.fetch_add(1, AcqRel);
    p.name.clear();
    for word in [&p.shut, &p.demote_cause, &p.log_seq, &p.connector, &p.early] {
        word.store(0, Relaxed);
    }
    for s in &p.sockets {
        for word in [&s.dev, &s.ino, &s.recv_timeout, &s.send_timeout] {
            word.store(0, Relaxed);
        }
        for word in [&s.witness, &s.files, &s.reset_told, &s.disconnected] {
            word.store(0, Relaxed);
        }
    }
    let rings = [a, b].map(|q| q.clear(k.host));
    unlock(k, p, Progress::Made);
    for (at, bytes) in rings {
        if let Some(block) = Off::<u8>::from_raw(at) {
            alloc::free(k.arena, k.me, k.host, block, bytes as usize);
        }
    }
    flight::clear(k, p, |file_slot| {
        if let Some(pair) = forget_flight(k, file_slot) {
            left_behind(pair);
        }
    });
    alloc::locked(k.arena, k.me, k.host, |h| {
        p.next_free.store(h.pairs_free.load(Relaxed), Relaxed);
        h.pairs_free.store(index, Relaxed);
        h.pairs_live.fetch_sub(1, Relaxed);
    });
}

/// A pair is pending no more.
pub(super) fn count_pending_out<H: Host>(k: &Ctx<'_, H>) {
    let count = &k.arena.header().pairs_pending;
    let _ = count.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1));
}

/// All four locks of a pair, in their order.
pub(super) fn lock<H: Host>(k: &Ctx<'_, H>, p: &Pair) {
    for q in &p.queues {
        q.lock_readers(k, p);
        q.lock_writers(k, p);
    }
}

pub(super) fn unlock<H: Host>(k: &Ctx<'_, H>, p: &Pair, progress: Progress) {
    for q in &p.queues {
        let _ = q.wlock.unlock(k.me, progress, k.host);
        let _ = q.rlock.unlock(k.me, progress, k.host);
    }
}

impl Queue {
    /// As new; the ring that it had, and how long that was.
    fn clear(&self, host: &impl Host) -> (u32, u64) {
        let ring = self.geometry();
        for word in [
            &self.head,
            &self.sent,
            &self.written,
            &self.seen_tail,
            &self.seen_freed,
            &self.writes,
            &self.tail,
            &self.freed,
            &self.seen_head,
            &self.read,
            &self.reads,
            &self.geometry,
        ] {
            word.store(0, Relaxed);
        }
        self.rd_wait.reset(host);
        self.wr_wait.reset(host);
        (ring.at, ring.bytes)
    }
}
