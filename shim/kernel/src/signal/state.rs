//! What a process's slot has about signals, and the calls that lock it.

use super::sigqueue::{self, Pushed, Sending, Taken, BLOCK_BYTES};
use super::{bit, published};
use crate::arena::{alloc, Arena, Off};
use crate::host::Host;
use crate::planted::{planted, Bug};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::{OwnerId, Progress};
use crate::sync::robust::{Found, RobustLock};
use crate::task;

/// # Lock
///
/// `lock` guards the links; `taken`, `private` and `shared` are read without it.
#[repr(C, align(8))]
pub struct State {
    /// Signals that may be left here: the process blocks them, and looks here. 0: none, send
    /// everything by the kernel. Written by the process itself only.
    pub taken: AtomicU64,
    /// Pending for its thread, and for the process.
    pub private: AtomicU64,
    pub shared: AtomicU64,
    /// The last signal to it that the kernel carries: the record that tells of it, and the sender's
    /// pid with the signal's number in the upper eight bits.
    pub sent_record: AtomicU64,
    pub sent_key: AtomicU32,
    /// Real-time signals to it that the kernel was asked to carry, ever.
    pub sent: AtomicU32,
    pub lock: RobustLock,
    pub(super) head: AtomicU32,
    pub(super) tail: AtomicU32,
    /// Entries in the queue.
    pub count: AtomicU32,
    pub(super) free: AtomicU32,
    pub(super) blocks: AtomicU32,
    /// Slot of its only thread, whose life word tells whether anybody will ever look here.
    pub task: AtomicU32,
    /// Its real user: who has the same may signal it. (kill(2))
    pub uid: AtomicU32,
    /// 1: the process hands what is here to the kernel. Who sends by the kernel waits a moment, so that
    /// he does not overtake himself.
    pub draining: AtomicU32,
    /// How often it was opened. Who sends compares it with what it was when he looked for the target: the slot
    /// may have become another process's.
    pub opened: AtomicU32,
}

const _: () = assert!(core::mem::size_of::<State>() == 80);

/// What became of a signal that was sent.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is pending here.
    Queued,
    /// One of its number was pending here already.
    Coalesced,
    /// No more may be queued: EAGAIN for a real-time signal.
    Full,
    /// It is not to be left here: the kernel is to send it.
    Kernel,
}

impl State {
    /// Everything that is pending here.
    #[inline(always)]
    pub fn pending(&self) -> u64 {
        self.private.load(SeqCst) | self.shared.load(SeqCst)
    }

    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.taken.load(Relaxed) & OPEN != 0
    }

    /// Whether it was ever opened: then it has something to give back.
    pub fn has_memory(&self) -> bool {
        self.taken.load(Relaxed) != 0 || self.blocks.load(Relaxed) != 0
    }

    /// From now on these may be left here.
    #[inline(always)]
    pub fn publish(&self, blocked: u64) {
        let taken = blocked & !NEVER | OPEN;
        // (The process's own word: nobody else has stored anything else.)
        if self.taken.load(Relaxed) != taken {
            published::publish(&self.taken, taken);
        }
    }
}

/// SIGKILL can not be blocked, so its bit says that the process looks here at all.
const OPEN: u64 = bit(9);
/// Never here: SIGKILL, SIGSTOP, and what the terminal and job control look at in the kernel.
/// (Linux v6.18 drivers/tty/tty_jobctrl.c; kernel/signal.c prepare_signal)
pub const NEVER: u64 = bit(9) | bit(18) | bit(19) | bit(20) | bit(21) | bit(22);

fn locked<R>(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, f: impl FnOnce() -> R) -> R {
    let found = s.lock.lock(me, host, &task::Threads(arena, host));
    if found != Found::InOrder {
        arena.header().orphaned.fetch_add(1, Relaxed);
        sigqueue::repair(arena, s);
    }
    let result = f();
    let _ = s.lock.unlock(me, Progress::None, host);
    result
}

/// The process begins to look here. Its slot may have been another's.
pub fn open(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, task: u32, uid: u32) {
    s.task.store(task, Relaxed);
    s.uid.store(uid, Relaxed);
    s.draining.store(0, Relaxed);
    s.opened.fetch_add(1, SeqCst); // before what an earlier process was sent is thrown away
    free_all(arena, me, host, s);
    arena.header().signals_opened.fetch_add(1, Relaxed);
}

/// It looks here no more. What is still here comes out one by one, by [`take`].
pub fn close(s: &State) {
    published::publish(&s.taken, 0);
}

/// Forgets what is pending, and gives the memory back.
pub fn free_all(arena: &Arena, me: OwnerId, host: &impl Host, s: &State) {
    close(s);
    let mut at = locked(arena, me, host, s, || {
        for word in [&s.head, &s.tail, &s.count, &s.free, &s.sent_key] {
            word.store(0, Relaxed);
        }
        s.private.store(0, SeqCst);
        s.shared.store(0, SeqCst);
        s.blocks.swap(0, AcqRel) // here: who comes next may link an entry of a block of its own
    });
    // No more than there can be: a chain that somebody has scribbled on may go round.
    for _ in 0..sigqueue::MOST_BLOCKS {
        let Some(block) = Off::<sigqueue::Block>::from_raw(at) else {
            return;
        };
        let Some(b) = arena.get(block) else { return };
        at = b.next.load(Relaxed);
        if let Some(raw) = Off::from_raw(block.raw()) {
            alloc::free(arena, me, host, raw, BLOCK_BYTES);
        }
    }
}

/// Leaves a signal for the process, if it blocks it and looks here.
pub fn send(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, what: &Sending<'_>) -> Sent {
    let is_it = || s.opened.load(SeqCst) == what.opened;
    let wanted = || published::is_taken(&s.taken, bit(what.sig) & !NEVER) && is_it();
    if !wanted() {
        return Sent::Kernel;
    }
    // What is in vain does not take the lock: its owner could be kept from it for ever.
    let bits = if what.private { &s.private } else { &s.shared };
    let looks = !planted(Bug::SignalNotCoalesced) && !planted(Bug::SignalKeepsLastInfo);
    if looks && what.sig < super::SIGRTMIN && bits.load(SeqCst) & bit(what.sig) != 0 {
        return if is_it() {
            Sent::Coalesced
        } else {
            Sent::Kernel
        };
    }
    if what.sig >= super::SIGRTMIN && s.count.load(Relaxed) >= what.limit {
        return if is_it() { Sent::Full } else { Sent::Kernel };
    }
    let push = || is_it().then(|| sigqueue::push(arena, me, host, s, what));
    let Some(pushed) = locked(arena, me, host, s, push) else {
        return Sent::Kernel;
    };
    match pushed {
        _ if wanted() => match pushed {
            Pushed::Queued(_) => Sent::Queued,
            Pushed::Coalesced => Sent::Coalesced,
            Pushed::Full => Sent::Full,
        },
        // Unblocked meanwhile: did the target see it?
        Pushed::Queued(raw) => {
            let back = locked(arena, me, host, s, || {
                sigqueue::take_at(arena, s, raw, what.sig)
            });
            if back.is_some() {
                Sent::Kernel
            } else {
                Sent::Queued
            }
        }
        Pushed::Coalesced | Pushed::Full => Sent::Kernel,
    }
}

/// As [`send`], by the process itself, which knows what it blocks.
pub fn push(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, what: &Sending<'_>) -> Pushed {
    locked(arena, me, host, s, || {
        sigqueue::push(arena, me, host, s, what)
    })
}

/// What is pending here of `set`. Ordered after what the caller has published before.
#[inline(always)]
pub fn peek(s: &State, set: u64) -> u64 {
    s.pending() & set
}

/// Takes the next signal of `set` out.
pub fn take(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, set: u64) -> Option<Taken> {
    if s.pending() & set == 0 && s.lock.holder().is_none() {
        return None;
    }
    locked(arena, me, host, s, || sigqueue::take(arena, s, set))
}

/// Everything of this number goes: its action is to ignore it. [sigaction(2)]
pub fn discard(arena: &Arena, me: OwnerId, host: &impl Host, s: &State, sig: i32) {
    while take(arena, me, host, s, bit(sig)).is_some() {}
}
