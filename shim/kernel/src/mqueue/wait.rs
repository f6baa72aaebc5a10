//! Who waits for a message, or for room: a list for each, the highest scheduling priority first, of
//! these who waits longest. Linux v6.18 ipc/mqueue.c `wq_add`, `pipelined_send`, `pipelined_receive`.
//!
//! Each thread has one record, by the number of its slot in the table of threads. Whoever has what
//! the first in line waits for puts it there and says DONE: nothing else can come between.
//!
//! ```text
//! state    | meaning
//! IDLE     | the thread waits for nothing
//! WAITING  | in line, awake still
//! SLEEPING | in line, asleep on this very word: wake it
//! DONE     | it has what it wanted: `slot` is the message it was given (a receiver); or its message is
//!          | in the queue, and `slot` is nothing to it any more (a sender)
//! AGAIN    | it had no slot to be served in, and is to try again
//! ```
//!
//! # Invariants
//!
//! - N1. A record is linked in at most one list, and only while its state is WAITING or SLEEPING; one
//!   that is linked with another state, or whose thread is dead, is taken out by who finds it.
//! - N2. The lists change by one store each, under the queue's lock.
//!
//! # Crash points
//!
//! - C1. A waiting thread is killed: its record stays in line until it is found, and a later thread
//!   with the same slot takes it out before it uses the record ([`settle`]).

use super::store::Store;
use super::{Handle, Queue};
use crate::arena::{layout, pages, Arena, ArenaSafe};
use crate::host::{crash_point, Host};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::OwnerId;
use crate::task::{self, stops::Mark};

pub mod stage {
    pub const IDLE: u32 = 0;
    pub const WAITING: u32 = 1;
    pub const SLEEPING: u32 = 2;
    pub const DONE: u32 = 3;
    pub const AGAIN: u32 = 4;
}

/// For what a thread waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A message.
    Receive,
    /// Room.
    Send,
}

impl Side {
    pub fn raw(self) -> u32 {
        match self {
            Side::Receive => 0,
            Side::Send => 1,
        }
    }

    pub fn list(self, q: &Queue) -> &AtomicU32 {
        match self {
            Side::Receive => &q.receivers,
            Side::Send => &q.senders,
        }
    }
}

/// A thread's record.
#[repr(C, align(64))]
pub struct Waiter {
    /// See `stage`. A futex.
    pub state: AtomicU32,
    /// Number of the next in line, 0: none.
    pub next: AtomicU32,
    pub queue: AtomicU32,
    pub generation: AtomicU32,
    /// The thread, as lock words name it.
    pub owner: AtomicU32,
    pub side: AtomicU32,
    /// The kernel's `task->prio`: the smallest goes first.
    pub rank: AtomicU32,
    /// A message slot that the record holds, plus one. 0: none.
    pub slot: AtomicU32,
    /// Of the message that waits for room.
    pub prio: AtomicU32,
    _pad: AtomicU32,
    /// The log record of what ended the wait.
    pub cause: AtomicU64,
    /// Whether its process was stopped since.
    pub mark: Mark,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Waiter {}

impl Waiter {
    /// Its thread is about to wait. Without any lock.
    pub fn begin<H: Host>(&self, k: &Ctx<'_, H>) {
        let process = task::task_of(k.arena, k.me).map(|t| t.process.load(Relaxed));
        self.mark.begin(k, process.unwrap_or(u32::MAX));
    }

    /// Whether it is out of line: its process was stopped. Asks the kernel, of one that waits for long.
    fn is_out<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        self.mark.is_out(k, self.owner.load(Relaxed))
    }
}

/// The record of the thread in slot `task` of the table of threads.
#[inline(always)]
pub fn record(arena: &Arena, task: u32) -> Option<&'static Waiter> {
    let made = arena.header().waiters_made.load(Acquire);
    if task >= made {
        return None;
    }
    arena.slot(layout::WAITERS, layout::MAX_TASKS, task)
}

/// The calling thread's number and record, idle. `None`: there is no memory for it.
pub fn mine<H: Host>(k: &Ctx<'_, H>) -> Option<(u32, &'static Waiter)> {
    let task = task::slot_of(k.me);
    let made = &k.arena.header().waiters_made;
    if !pages::make::<Waiter>(k.arena, k.host, layout::WAITERS, made, task) {
        return None;
    }
    let w = record(k.arena, task)?;
    if w.state.load(Relaxed) != stage::IDLE {
        settle(k, task, w);
    }
    Some((task, w))
}

/// A dead thread left its record in use: out of its queue, and what it held is free.
#[cold]
fn settle<H: Host>(k: &Ctx<'_, H>, task: u32, w: &Waiter) {
    let queue = super::handle(k.arena, w.queue.load(Relaxed));
    let same = |h: &Handle| h.generation == w.generation.load(Relaxed) && h.q.is_live();
    if let Some(h) = queue.filter(same) {
        h.lock(k);
        if same(&h) && !h.is_stale() && w.state.load(Relaxed) != stage::IDLE {
            for side in [Side::Receive, Side::Send] {
                delist(k.arena, side.list(h.q), task);
            }
            if is_busy(w) {
                free_slot(k, &h, w);
                less_busy(h.q);
            }
        }
        h.unlock(k);
    }
    w.slot.store(0, Relaxed);
    w.state.store(stage::IDLE, Release);
}

/// Whether the record counts as one of the queue's `busy`: one in line, or a receiver that has not
/// come for its message.
pub fn is_busy(w: &Waiter) -> bool {
    match w.state.load(Relaxed) {
        stage::WAITING | stage::SLEEPING => true,
        stage::DONE => w.side.load(Relaxed) == Side::Receive.raw(),
        _ => false,
    }
}

pub fn less_busy(q: &Queue) {
    let n = q.busy.load(Relaxed);
    q.busy.store(n.saturating_sub(1), Relaxed);
}

/// What the record holds is nobody's.
pub fn free_slot<H: Host>(k: &Ctx<'_, H>, h: &Handle, w: &Waiter) {
    let slot = w.slot.swap(0, Relaxed);
    if let (Some(slot), Some(store)) = (slot.checked_sub(1), Store::of(k.arena, h.q)) {
        if slot < store.slots() && store.key(slot) == 0 {
            store.give_back(slot);
        }
    }
}

/// The calling thread's record.
pub fn of_caller<H: Host>(k: &Ctx<'_, H>) -> Option<&'static Waiter> {
    record(k.arena, task::slot_of(k.me))
}

/// Puts the thread in line.
pub fn enlist<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    (me, w): (u32, &Waiter),
    side: Side,
    rank: u32,
    message: Option<(u32, u32)>,
) {
    w.queue.store(h.slot, Relaxed);
    w.generation.store(h.generation, Relaxed);
    w.owner.store(k.me.raw(), Relaxed);
    w.side.store(side.raw(), Relaxed);
    w.rank.store(rank, Relaxed);
    w.cause.store(0, Relaxed);
    w.slot
        .store(message.map_or(0, |(slot, _)| slot + 1), Relaxed);
    w.prio.store(message.map_or(0, |(_, prio)| prio), Relaxed);
    w.state.store(stage::WAITING, Release);
    let q = h.q;
    q.busy.store(q.busy.load(Relaxed).wrapping_add(1), Relaxed);
    let mut link = side.list(q);
    let mut left = k.arena.header().tasks_used.load(Relaxed);
    while let Some(other) = record(k.arena, link.load(Relaxed)) {
        let before_me = link.load(Relaxed) != 0 && other.rank.load(Relaxed) <= rank && left > 0;
        if !before_me {
            break;
        }
        left -= 1;
        link = &other.next;
    }
    w.next.store(link.load(Relaxed), Relaxed);
    crash_point("mq.wait.enlist");
    link.store(me, Release); // N2
}

/// Takes the thread out of line, wherever it is.
pub fn delist(arena: &Arena, list: &'static AtomicU32, me: u32) {
    let mut link = list;
    let mut left = arena.header().tasks_used.load(Relaxed).saturating_add(1);
    loop {
        let at = link.load(Relaxed);
        if at == 0 || left == 0 {
            return;
        }
        let Some(w) = record(arena, at) else { return };
        if at == me {
            link.store(w.next.load(Relaxed), Release); // N2
            return;
        }
        left -= 1;
        link = &w.next;
    }
}

/// Whether the record in line is a living thread's that waits in this queue.
fn waits_here<H: Host>(k: &Ctx<'_, H>, h: &Handle, w: &Waiter) -> bool {
    let state = w.state.load(Acquire);
    matches!(state, stage::WAITING | stage::SLEEPING)
        && w.queue.load(Relaxed) == h.slot
        && w.generation.load(Relaxed) == h.generation
        && OwnerId::from_raw(w.owner.load(Relaxed)).is_some_and(|o| !k.is_dead(o))
}

/// The first in line. Whoever does not wait any more, is dead, or was stopped, is taken out. `None`: nobody.
#[inline(always)]
pub fn first<H: Host>(k: &Ctx<'_, H>, h: &Handle, side: Side) -> Option<(u32, &'static Waiter)> {
    let list = side.list(h.q);
    if list.load(Relaxed) == 0 {
        return None;
    }
    first_living(k, h, side)
}

#[cold]
fn first_living<H: Host>(k: &Ctx<'_, H>, h: &Handle, side: Side) -> Option<(u32, &'static Waiter)> {
    let list = side.list(h.q);
    let mut left = k.arena.header().tasks_used.load(Relaxed).saturating_add(1);
    loop {
        let at = list.load(Relaxed);
        if at == 0 {
            return None;
        }
        let Some(w) = record(k.arena, at).filter(|_| left > 0) else {
            list.store(0, Release); // scribbled over: those in line look up by themselves
            return None;
        };
        left -= 1;
        if waits_here(k, h, w) {
            if !w.is_out(k) {
                return Some((at, w));
            }
            pass_over(k, h, side, w);
            continue;
        }
        list.store(w.next.load(Relaxed), Release);
        let ours = w.queue.load(Relaxed) == h.slot && w.generation.load(Relaxed) == h.generation;
        if ours && matches!(w.state.load(Relaxed), stage::WAITING | stage::SLEEPING) {
            free_slot(k, h, w); // a dead one's
            w.state.store(stage::IDLE, Release);
            less_busy(h.q);
        }
    }
}

/// The first in line was stopped: it leaves the line, and when it is continued it tries again. (`wq_sleep` ends
/// with -ERESTARTSYS at the stop already.)
#[cold]
fn pass_over<H: Host>(k: &Ctx<'_, H>, h: &Handle, side: Side, w: &Waiter) {
    free_slot(k, h, w);
    if side == Side::Receive {
        less_busy(h.q);
    }
    if serve(h.q, side, w, stage::AGAIN, 0) {
        k.host.wake(&w.state, 1);
    }
}

/// The first in line has got what it wanted, and leaves the line. `true`: it sleeps, and must be
/// woken when the lock is given up.
pub fn serve(q: &Queue, side: Side, w: &Waiter, outcome: u32, cause: u64) -> bool {
    w.cause.store(cause, Relaxed);
    if side == Side::Send {
        less_busy(q); // it does not come back to the queue
    }
    let next = w.next.load(Relaxed);
    crash_point("mq.serve.done");
    let before = w.state.swap(outcome, AcqRel);
    crash_point("mq.serve.delist");
    side.list(q).store(next, Release); // N1: who dies before this leaves it to the next owner
    before == stage::SLEEPING
}
