//! Who sleeps on a set of semaphores, and how the others carry out what they wait for. See Linux
//! v6.18 ipc/sem.c `update_queue`, `do_smart_wakeup_zero`.
//!
//! Linux has a queue for each semaphore, and one for the set while operations on several semaphores
//! wait. What it serves, and in which order, is the same as by one queue in the order of coming: single
//! decrements of different semaphores do not concern each other.

use super::queue::{self, Queue, MANY};
use super::root::Root;
use super::sem::{journal, SemSet};
use super::sem_step::{self, perform, Sembuf, Tried};
use super::sem_undo;
use super::sleep::{self, End};
use super::table::element;
use super::waiter::{class, how, word, Waiter, Wakes};
use crate::abi::errno::{Restart, SysError, SysResult};
use crate::abi::Errno;
use crate::arena::{alloc, Off};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU64, Ordering::*};

/// `w` is about to use the set's journal, or to wait on it (V1).
pub fn enter(w: &Waiter, index: u32) {
    w.word.store(word::IDLE, Relaxed);
    w.object.store(class::SEM | index, Release);
}

/// The process was stopped.
const EINTR: SysError = SysError::Errno(Errno::EINTR);

/// A call that can not go on.
pub struct Sleep {
    pub index: u32,
    pub set: &'static SemSet,
    /// This thread's waiter.
    pub mine: u32,
    pub w: &'static Waiter,
    pub patience: Option<u64>,
    /// Of the process.
    pub slot: u32,
}

/// Gets into the queue and sleeps. The set is locked, and is not afterwards.
pub fn sleep<H: Host>(k: &Ctx<'_, H>, root: &'static Root, s: &Sleep) -> SysResult {
    let (set, w) = (s.set, s.w);
    let alters = w.how.load(Relaxed) & how::ALTERS != 0;
    w.ticket.store(set.tickets.fetch_add(1, Relaxed), Relaxed);
    w.word.store(word::AWAKE, Release);
    if alters && w.nops.load(Relaxed) > 1 {
        set.complex.fetch_add(1, Relaxed);
    }
    queue_of(set, w).append(k, root, s.mine, w);
    set.asleep.fetch_add(1, Relaxed);
    log_block(k, set, w);
    set.unlock(k);
    crash_point("sysv.asleep");
    let end = sleep::until_done(k, w, &set.spin, s.patience, &set.logged, || {
        if w.mark.was_stopped(k) {
            return false;
        }
        // Whoever was killed with the lock, or with something to undo, is noticed here.
        set.lock(k, root, s.index);
        set.unlock(k);
        sem_undo::settle(k, root, s.index, s.slot);
        true
    });
    let mut given_up = None;
    if end != End::Done {
        set.lock(k, root, s.index);
        if w.done().is_none() {
            unlink(k, root, set, s.mine, w);
            w.word.store(word::IDLE, Relaxed); // V2
            given_up = Some(match end {
                End::Signal => SysError::Restart(Restart::Sys),
                End::Stopped => EINTR,
                _ => Errno::EAGAIN.into(),
            });
            log_interrupted(k, set, given_up);
        }
        set.unlock(k);
    }
    let told = w.done().and_then(|e| Errno::from_ret(-(e as isize)));
    let told = told.map(SysError::Errno);
    log_interrupted(k, set, told);
    let failed = given_up.or(told);
    w.word.store(word::IDLE, Relaxed);
    w.object.store(0, Release);
    if failed == Some(EINTR) {
        w.mark.settle(k);
    }
    failed.map_or(Ok(0), Err)
}

fn log_interrupted<H: Host>(k: &Ctx<'_, H>, set: &SemSet, failed: Option<SysError>) {
    if matches!(failed, Some(EINTR | SysError::Restart(_))) {
        set.logged.put(k, Kind::SysvInterrupted, 0, (0, 0, 0));
    }
}

fn log_block<H: Host>(k: &Ctx<'_, H>, set: &SemSet, w: &'static Waiter) {
    if let Some(sop) = blocking(k, w) {
        let abc = (0, u64::from(sop.num), i64::from(sop.op) as u64);
        set.logged.put(k, Kind::SysvBlock, 0, abc);
    }
}

/// The operation that `w` waits for.
fn blocking<H: Host>(k: &Ctx<'_, H>, w: &'static Waiter) -> Option<Sembuf> {
    let s = w.step(k.arena, w.blocking.load(Relaxed) as usize)?;
    Some(Sembuf::unpack(s.sop.load(Relaxed)))
}

fn queue_of<'s>(set: &'s SemSet, w: &Waiter) -> &'s Queue {
    if w.how.load(Relaxed) & how::ALTERS != 0 {
        &set.alter
    } else {
        &set.zero
    }
}

/// Takes `w` out of its queue.
fn unlink<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    index: u32,
    w: &Waiter,
) {
    if !queue_of(set, w).unlink(k, root, index, w) {
        return;
    }
    let less = |n: u32| n.checked_sub(1);
    let _ = set.asleep.fetch_update(Relaxed, Relaxed, less);
    if w.how.load(Relaxed) & how::ALTERS != 0 && w.nops.load(Relaxed) > 1 {
        let _ = set.complex.fetch_update(Relaxed, Relaxed, less);
    }
}

/// Something has changed: all that can go on now goes on. Under the set's lock.
#[cold]
pub fn update<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    cause: u64,
    wakes: &mut Wakes,
) {
    serve_zero(k, root, set, cause, wakes);
    'again: for _ in 0..MANY {
        let mut at = set.alter.head.load(Relaxed);
        for _ in 0..MANY {
            let Some(w) = queue::get(k, root, at) else {
                return;
            };
            let next = w.next.load(Relaxed);
            let many = w.nops.load(Relaxed) > 1;
            if serve(k, root, set, at, w, cause, wakes) {
                serve_zero(k, root, set, cause, wakes);
                // Linux's `check_restart`.
                if many || set.complex.load(Relaxed) != 0 {
                    continue 'again;
                }
            }
            at = next;
        }
        return;
    }
}

fn serve_zero<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    cause: u64,
    wakes: &mut Wakes,
) {
    let mut at = set.zero.head.load(Relaxed);
    for _ in 0..MANY {
        let Some(w) = queue::get(k, root, at) else {
            return;
        };
        let next = w.next.load(Relaxed);
        serve(k, root, set, at, w, cause, wakes);
        at = next;
    }
}

/// Tries a sleeper's call. `true`: it was carried out.
fn serve<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    index: u32,
    w: &'static Waiter,
    cause: u64,
    wakes: &mut Wakes,
) -> bool {
    if w.is_dead(k) {
        unlink(k, root, set, index, w);
        w.word.store(word::IDLE, Relaxed);
        w.object.store(0, Release);
        return false;
    }
    let (errno, cause) = match perform(k, root, set, index, w, true) {
        Tried::Waits => return false,
        Tried::Failed(Errno::EINTR) => (Errno::EINTR.get(), 0),
        Tried::Done => (0, sem_step::log_steps(k, set, w).max(cause)),
        Tried::Failed(e) => (e.get(), cause),
    };
    crash_point("sysv.settled");
    unlink(k, root, set, index, w);
    crash_point("sysv.settled");
    if errno == 0 {
        set.otime.store(k.host.wall_secs(), Relaxed);
    }
    if w.finish(k, errno, cause) {
        wakes.push(k, root, index);
    }
    errno == 0
}

/// Everybody is sent away. Under the set's lock.
pub fn dismiss<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    why: Errno,
    cause: u64,
    wakes: &mut Wakes,
) {
    for q in [&set.alter, &set.zero] {
        for (i, w) in q.drain(k, root) {
            let (why, cause) = match w.is_out(k) {
                true => (Errno::EINTR, 0), // it was out of the queue before
                false => (why, cause),
            };
            if w.finish(k, why.get(), cause) {
                wakes.push(k, root, i);
            }
        }
    }
    set.complex.store(0, Relaxed);
    set.asleep.store(0, Relaxed);
}

/// What waiter `index`, whose thread is dead, left on the set is cleared away: the lock does it.
pub fn forget<H: Host>(k: &Ctx<'_, H>, root: &'static Root, set_index: u32, index: u32) {
    let Some(set) = root.sets.get(k.arena, set_index) else {
        return;
    };
    set.lock(k, root, set_index);
    if let Some(w) = root.waiters.get(k.arena, index).filter(|w| w.waits()) {
        unlink(k, root, set, index, w);
    }
    set.unlock(k);
}

/// How many wait for `num` to grow, or to be zero. (`count_semcnt`)
pub fn count<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    num: u32,
    zero: bool,
) -> usize {
    let waits = |q: &Queue| {
        q.each(k, root)
            .filter(|(_, w)| !w.is_dead(k) && !w.is_out(k))
            .filter_map(|(_, w)| blocking(k, w))
            .filter(|s| u32::from(s.num) == num && if zero { s.op == 0 } else { s.op < 0 })
            .count()
    };
    waits(&set.alter) + waits(&set.zero)
}

/// The last owner of the set's lock was killed: the journal is carried out, the queues are made anew
/// from what each waiter says, and everybody is looked at.
#[cold]
pub fn repair<H: Host>(k: &Ctx<'_, H>, root: &'static Root, set: &'static SemSet, index: u32) {
    replay(k, root, set);
    let mut wakes = Wakes::none();
    rebuild(k, root, set, index, &mut wakes);
    if set.perm.is_free() {
        dismiss(k, root, set, Errno::EIDRM, 0, &mut wakes);
    } else {
        update(k, root, set, 0, &mut wakes);
    }
    wakes.wake(k, root);
}

fn replay<H: Host>(k: &Ctx<'_, H>, root: &'static Root, set: &'static SemSet) {
    let who = set.j_who.load(Relaxed);
    match set.j_state.load(Acquire) {
        journal::ONE => {
            let num = set.j_sem.load(Relaxed);
            if let Some(adj) = sem_undo::adj(k.arena, root, set.j_undo.load(Relaxed), num) {
                adj.store(set.j_adj.load(Relaxed), Relaxed);
            }
            if let Some(sem) = set.sem(k.arena, num) {
                sem.store(set.j_value.load(Relaxed), Relaxed);
            }
        }
        state @ (journal::STEPS | journal::SLEEPER) => {
            if let Some(w) = root.waiters.get(k.arena, who) {
                sem_step::apply(k, root, set, w);
                if state == journal::SLEEPER {
                    w.settled.store(1, Release);
                }
            }
        }
        journal::ALL => set_all(k, root, set),
        _ => {}
    }
    set.j_state.store(journal::NONE, Release);
}

/// SETALL, as the journal says. Its block is given back.
pub fn set_all<H: Host>(k: &Ctx<'_, H>, root: &'static Root, set: &'static SemSet) {
    let (block, pid) = (set.j_who.load(Relaxed), set.j_sem.load(Relaxed));
    let nsems = set.len();
    for i in 0..nsems {
        crash_point("sysv.committed");
        let four = element::<AtomicU64>(k.arena, block, i as usize / 4);
        let (Some(four), Some(sem)) = (four, set.sem(k.arena, i)) else {
            break;
        };
        let value = (four.load(Relaxed) >> (i % 4 * 16)) as u16;
        sem.store(super::sem::word(i32::from(value), pid), Relaxed);
    }
    sem_undo::forget_values(k.arena, root, set, None);
    set.j_state.store(journal::NONE, Release);
    if let Some(block) = Off::from_raw(block) {
        alloc::free(k.arena, k.me, k.host, block, all_bytes(nsems));
    }
}

/// Bytes of a block with a value for each semaphore.
pub fn all_bytes(nsems: u32) -> usize {
    (nsems as usize * 2).next_multiple_of(8)
}

/// The queues, from the waiters.
fn rebuild<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    index: u32,
    wakes: &mut Wakes,
) {
    set.alter.clear();
    set.zero.clear();
    set.complex.store(0, Relaxed);
    set.asleep.store(0, Relaxed);
    queue::from_waiters(k, root, class::SEM | index, |i, w| {
        if w.settled.load(Acquire) != 0 {
            if w.finish(k, 0, 0) {
                wakes.push(k, root, i);
            }
            return;
        }
        queue_of(set, w).append(k, root, i, w);
        set.asleep.fetch_add(1, Relaxed);
        if w.how.load(Relaxed) & how::ALTERS != 0 && w.nops.load(Relaxed) > 1 {
            set.complex.fetch_add(1, Relaxed);
        }
    });
}
