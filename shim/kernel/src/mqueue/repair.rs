//! What a dead owner of a queue's lock left is put in order: see the crash points of `mqueue` and
//! `wait`. Sound at any instruction: it begins with nothing but the keys and the waiting records, and
//! may itself be done half.

use super::store::Store;
use super::wait::{self, stage, Side, Waiter};
use super::Handle;
use crate::arena::layout;
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::OwnerId;

/// Under the queue's lock.
#[cold]
pub fn repair<H: Host>(k: &Ctx<'_, H>, h: &Handle) {
    let Some(store) = Store::of(k.arena, h.q).filter(|_| h.q.is_live()) else {
        return;
    };
    h.q.tokens.store(u32::MAX, Relaxed); // not known
                                         // A sender whose message is in the queue has sent it.
    for w in records(k, h) {
        let key = holds(w).map_or(0, |slot| store.key(slot));
        if waits(w) && w.side.load(Relaxed) == Side::Send.raw() && key != 0 {
            finish(k, w);
        }
    }
    // Nobody waits there any more, and a later thread may get the record.
    for (i, w) in numbered(k, h) {
        if !lives(k, w) {
            wait::delist(k.arena, &h.q.receivers, i);
            wait::delist(k.arena, &h.q.senders, i);
            w.slot.store(0, Relaxed);
            w.state.store(stage::IDLE, Release);
        }
    }
    store.rebuild(|slot| records(k, h).any(|w| holds(w) == Some(slot) && wait::is_busy(w)));
    let busy = records(k, h).filter(|w| wait::is_busy(w)).count();
    h.q.busy.store(busy as u32, Relaxed);
    // What should have happened next.
    while !h.q.is_full() {
        match wait::first(k, h, Side::Send) {
            Some((_, w)) => admit(k, h, &store, w),
            None => break,
        }
    }
}

/// The first sender in line, and its message, if it has a slot.
fn admit<H: Host>(k: &Ctx<'_, H>, h: &Handle, store: &Store, w: &Waiter) {
    let outcome = match holds(w) {
        Some(slot) if store.key(slot) == 0 => {
            store.admit(slot, w.prio.load(Relaxed));
            stage::DONE
        }
        _ => stage::AGAIN,
    };
    if wait::serve(h.q, Side::Send, w, outcome, 0) {
        k.host.wake(&w.state, 1);
    }
}

fn records<'k, H: Host>(
    k: &'k Ctx<'_, H>,
    h: &'k Handle,
) -> impl Iterator<Item = &'static Waiter> + 'k {
    numbered(k, h).map(|(_, w)| w)
}

/// Every record in use that is about this queue.
fn numbered<'k, H: Host>(
    k: &'k Ctx<'_, H>,
    h: &'k Handle,
) -> impl Iterator<Item = (u32, &'static Waiter)> + 'k {
    let used = k.arena.header().tasks_used.load(Relaxed);
    (1..used.min(layout::MAX_TASKS))
        .filter_map(|i| Some((i, wait::record(k.arena, i)?)))
        .filter(|(_, w)| {
            w.state.load(Acquire) != stage::IDLE
                && w.queue.load(Relaxed) == h.slot
                && w.generation.load(Relaxed) == h.generation
        })
}

fn waits(w: &Waiter) -> bool {
    matches!(w.state.load(Relaxed), stage::WAITING | stage::SLEEPING)
}

fn holds(w: &Waiter) -> Option<u32> {
    w.slot.load(Relaxed).checked_sub(1)
}

fn lives<H: Host>(k: &Ctx<'_, H>, w: &Waiter) -> bool {
    OwnerId::from_raw(w.owner.load(Relaxed)).is_some_and(|o| !k.is_dead(o))
}

fn finish<H: Host>(k: &Ctx<'_, H>, w: &Waiter) {
    if w.state.swap(stage::DONE, AcqRel) == stage::SLEEPING {
        k.host.wake(&w.state, 1);
    }
}
