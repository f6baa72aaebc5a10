//! SEM_UNDO: what a process has to give back. See semop(2), "SEM_UNDO"; Linux v6.18 ipc/sem.c
//! `find_alloc_undo`, `exit_sem`.
//!
//! A process has one [`Undo`] for each set, in the set's list, whatever thread of it made it. They are
//! applied when the process ends: by itself, or by whoever finds it dead. exec keeps them.

use super::debtor::Debtor;
use super::perm::Who;
use super::root::Root;
use super::sem::{journal, value_of, word, SemSet, MOST, SEMVMX};
use super::sem_wait;
use super::table::{clear, element};
use super::waiter::Wakes;
use crate::abi::Errno;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};

mod state {
    pub const FREE: u32 = 0;
    pub const LIVE: u32 = 1;
    /// Out of its set's list, not on the free list yet.
    pub const GONE: u32 = 2;
}

/// `sem_undo`.
#[repr(C, align(64))]
pub struct Undo {
    state: AtomicU32,
    /// Whose it is.
    pub debtor: Debtor,
    /// Index of the set, and its id plus one.
    set: AtomicU32,
    id: AtomicU32,
    nsems: AtomicU32,
    /// Block of a value for each semaphore: what is added at the end.
    adj_at: AtomicU32,
    /// The next one of the set; of a free one, the next free one.
    pub next: AtomicU32,
    _pad: [AtomicU32; 6],
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Undo {}

impl Undo {
    fn len(&self) -> u32 {
        self.nsems.load(Relaxed).min(MOST)
    }
}

/// The longest list that is believed.
const MANY: usize = 1 << 16;
/// So many processes are looked at before each operation; beyond, only before a sleep.
pub const FEW: usize = 32;
pub const ALL: usize = MANY;

/// The undo values of a set, as the list has them.
pub fn each<'a>(
    arena: &'a Arena,
    root: &'static Root,
    set: &SemSet,
) -> impl Iterator<Item = (u32, &'static Undo)> + 'a {
    let mut at = set.undos.load(Relaxed);
    core::iter::from_fn(move || {
        let index = at;
        let undo = root.undos.get(arena, index).filter(|_| index != 0)?;
        at = undo.next.load(Relaxed);
        Some((index, undo))
    })
    .take(MANY)
}

/// The caller's, 0 for none. Under the set's lock.
#[inline(always)]
pub fn find(arena: &Arena, root: &'static Root, set: &SemSet, who: &Who<'_>) -> u32 {
    each(arena, root, set)
        .find(|(_, u)| u.debtor.is(who.slot, who.generation))
        .map_or(0, |(index, _)| index)
}

/// The undo value of one semaphore.
#[inline(always)]
pub fn adj(arena: &Arena, root: &'static Root, undo: u32, num: u32) -> Option<&'static AtomicU32> {
    let undo = root.undos.get(arena, undo)?;
    if num >= undo.nsems.load(Relaxed) {
        return None;
    }
    element(arena, undo.adj_at.load(Relaxed), num as usize)
}

/// `find_alloc_undo`: all zero, in the list of the set. Takes the locks itself.
#[cold]
pub fn make<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
    id: i32,
) -> Result<u32, Errno> {
    root.locked(k, || {
        let index = super::ids::index_of(id);
        let set = root.sets.get(k.arena, index).filter(|s| s.perm.is(id));
        let set = set.ok_or(Errno::EINVAL)?; // it stays while we have the root's lock
        let nsems = set.len();
        let len = bytes(nsems);
        let block = alloc::alloc_made(k.arena, k.me, k.host, len)?;
        clear(k.arena, block.raw(), len);
        let Ok((at, undo)) = take(k, root) else {
            alloc::free(k.arena, k.me, k.host, block, len);
            return Err(Errno::ENOSPC);
        };
        for (to, from) in [
            (&undo.set, index),
            (&undo.id, (id as u32).wrapping_add(1)),
            (&undo.nsems, nsems),
            (&undo.adj_at, block.raw()),
        ] {
            to.store(from, Relaxed);
        }
        undo.debtor
            .begin(who.slot, who.generation, who.pid, k.me.raw());
        set.lock(k, root, index);
        let other = find(k.arena, root, set, who); // of another thread, meanwhile
        if other == 0 {
            undo.next.store(set.undos.load(Relaxed), Relaxed);
            undo.state.store(state::LIVE, Relaxed);
            set.undos.store(at, Release);
            root.undos_live.fetch_add(1, Relaxed);
        }
        set.unlock(k);
        if other != 0 {
            give_back(root, at, undo);
            alloc::free(k.arena, k.me, k.host, block, len);
            return Ok(other);
        }
        Ok(at)
    })
}

fn bytes(nsems: u32) -> usize {
    nsems as usize * core::mem::size_of::<AtomicU32>()
}

/// A free slot, under the root's lock.
fn take<H: Host>(k: &Ctx<'_, H>, root: &'static Root) -> Result<(u32, &'static Undo), Errno> {
    let free = root.undos_free.load(Relaxed);
    if let Some(undo) = root.undos.get(k.arena, free).filter(|_| free != 0) {
        root.undos_free.store(undo.next.load(Relaxed), Relaxed);
        return Ok((free, undo));
    }
    let index = root.undos_used.load(Relaxed).max(1);
    let undo = root.undos.make(k, index)?;
    root.undos_used.store(index + 1, Relaxed);
    Ok((index, undo))
}

fn give_back(root: &Root, index: u32, undo: &Undo) {
    undo.state.store(state::FREE, Relaxed);
    undo.next.store(root.undos_free.load(Relaxed), Relaxed);
    root.undos_free.store(index, Relaxed);
}

/// Whether a process other than that in `slot` may have died without giving back; looking at `most` of
/// them. One load for each, mostly. Under the set's lock.
#[inline(always)]
pub fn doubtful(arena: &Arena, root: &'static Root, set: &SemSet, slot: u32, most: usize) -> bool {
    if set.undos.load(Relaxed) == 0 {
        return false;
    }
    each(arena, root, set)
        .take(most)
        .any(|(_, u)| u.debtor.is_doubtful(arena, slot))
}

/// Whether there are more than are looked at before each operation.
#[cold]
pub fn many(arena: &Arena, root: &'static Root, set: &SemSet) -> bool {
    each(arena, root, set).nth(FEW).is_some()
}

/// Finds those of the set out who are dead, and gives back for them. No lock is held.
#[cold]
pub fn settle<H: Host>(k: &Ctx<'_, H>, root: &'static Root, index: u32, mine: u32) {
    let Some(set) = root.sets.get(k.arena, index) else {
        return;
    };
    let mut alive = 0;
    for _ in 0..MANY {
        if set.undos.load(Relaxed) == 0 {
            return;
        }
        set.lock(k, root, index);
        let suspect = each(k.arena, root, set)
            .filter(|(_, u)| u.debtor.is_doubtful(k.arena, mine))
            .nth(alive);
        let suspect = suspect.map(|(_, u)| (u, u.debtor.name()));
        set.unlock(k);
        let Some((undo, name)) = suspect else {
            return;
        };
        if !undo.debtor.resolve(k, name) {
            alive += 1;
        }
    }
}

/// `exit_sem`, for the process in `slot`.
pub fn leave<H: Host>(k: &Ctx<'_, H>, root: &'static Root, slot: u32, generation: u32) {
    if root.undos_live.load(Acquire) == 0 {
        return;
    }
    for index in root.undo_slots() {
        let Some(undo) = root.undos.get(k.arena, index) else {
            continue;
        };
        let its = undo.state.load(Relaxed) == state::LIVE && undo.debtor.is(slot, generation);
        if its {
            give_all_back(k, root, index, undo, slot, generation);
        }
    }
}

fn give_all_back<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    index: u32,
    undo: &'static Undo,
    slot: u32,
    generation: u32,
) {
    let set_index = undo.set.load(Relaxed);
    let Some(set) = root.sets.get(k.arena, set_index) else {
        return;
    };
    let mut wakes = Wakes::none();
    set.lock(k, root, set_index);
    // Somebody else may have done it meanwhile, and the slot be another's.
    let its = undo.state.load(Relaxed) == state::LIVE
        && undo.debtor.is(slot, generation)
        && undo.set.load(Relaxed) == set_index;
    // (Its set may have been removed by somebody who was killed before he came to this.)
    if its && set.perm.id.load(Relaxed) != undo.id.load(Relaxed) {
        undo.state.store(state::GONE, Relaxed);
    } else if its {
        let mut record = 0;
        for num in 0..undo.len() {
            record = give_back_one(k, root, set, index, undo, num).max(record);
        }
        unlink(k.arena, root, set, index, undo);
        undo.state.store(state::GONE, Relaxed);
        set.otime.store(k.host.wall_secs(), Relaxed);
        sem_wait::update(k, root, set, record, &mut wakes);
    }
    set.unlock(k);
    wakes.wake(k, root);
    if its {
        root.locked(k, || {
            let _ = root
                .undos_live
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
            free_values(k, undo);
            give_back(root, index, undo);
        });
    }
}

/// One semaphore: the value and what is to be undone change together. The record's id.
fn give_back_one<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    index: u32,
    undo: &Undo,
    num: u32,
) -> u64 {
    let (Some(adj), Some(sem)) = (adj(k.arena, root, index, num), set.sem(k.arena, num)) else {
        return 0;
    };
    let change = adj.load(Relaxed) as i32;
    if change == 0 {
        return 0;
    }
    let before = value_of(sem.load(Relaxed));
    let value = before.saturating_add(change).clamp(0, SEMVMX);
    let pid = undo.debtor.pid.load(Relaxed);
    set.j_sem.store(num, Relaxed);
    set.j_value.store(word(value, pid), Relaxed);
    set.j_undo.store(index, Relaxed);
    set.j_adj.store(0, Relaxed);
    set.j_state.store(journal::ONE, Release);
    crash_point("sysv.committed");
    adj.store(0, Release);
    crash_point("sysv.committed");
    sem.store(word(value, pid), Release);
    set.j_state.store(journal::NONE, Release);
    let b = u64::from(num) | u64::from(pid) << 32;
    let abc = (i64::from(change), b, value as u64);
    set.logged.put(k, Kind::SemUndo, 0, abc)
}

fn unlink(arena: &Arena, root: &'static Root, set: &SemSet, index: u32, undo: &Undo) {
    let next = undo.next.load(Relaxed);
    if set.undos.load(Relaxed) == index {
        set.undos.store(next, Release);
        return;
    }
    let before = each(arena, root, set).find(|(_, u)| u.next.load(Relaxed) == index);
    if let Some((_, before)) = before {
        before.next.store(next, Release);
    }
}

fn free_values<H: Host>(k: &Ctx<'_, H>, undo: &Undo) {
    if let Some(block) = Off::<u8>::from_raw(undo.adj_at.swap(0, Relaxed)) {
        let len = bytes(undo.len());
        alloc::free(k.arena, k.me, k.host, block, len);
    }
}

/// IPC_RMID: there is nothing to undo any more. Under both locks.
pub fn forget_set<H: Host>(k: &Ctx<'_, H>, root: &'static Root, set: &SemSet) {
    let mut at = set.undos.swap(0, Relaxed);
    for _ in 0..MANY {
        let Some(undo) = root.undos.get(k.arena, at).filter(|_| at != 0) else {
            return;
        };
        let next = undo.next.load(Relaxed);
        let _ = root
            .undos_live
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        free_values(k, undo);
        give_back(root, at, undo);
        at = next;
    }
}

/// SETVAL and SETALL: nothing is to be undone of semaphore `num`, or of any.
pub fn forget_values(arena: &Arena, root: &'static Root, set: &SemSet, num: Option<u32>) {
    for (index, undo) in each(arena, root, set) {
        let all = 0..undo.len();
        let range = num.map_or(all, |n| n..n + 1);
        for adj in range.filter_map(|n| adj(arena, root, index, n)) {
            adj.store(0, Relaxed);
        }
    }
}
