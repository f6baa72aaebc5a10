//! What a thread that sleeps on a System V object wants, for those who will carry it out.
//!
//! One for each slot of the table of threads. The word:
//!
//! ```text
//! IDLE             nobody waits by it
//! AWAKE            its thread is in a queue and looks at the word
//! ASLEEP           its thread is in a queue and sleeps on the word
//! DONE | errno     it was taken out of the queue, and this is the result
//! ```
//!
//! # Invariants
//!
//! - V1. `object` is set before the thread gets into the object's queue, or uses the journal of its
//!   steps, and cleared after. So who inherits the slot of a dead thread cleans up there first.
//! - V2. AWAKE and ASLEEP turn into DONE only under the object's lock, by one swap, after the
//!   waiter is out of the queue; into IDLE only by the waiter itself, under that lock.

use super::perm::Who;
use super::root::Root;
use super::table;
use crate::abi::Errno;
use crate::arena::{alloc, Arena, ArenaSafe, Off};
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::OwnerId;
use crate::task::{self, stops::Mark};

pub mod word {
    pub const IDLE: u32 = 0;
    pub const AWAKE: u32 = 1;
    pub const ASLEEP: u32 = 2;
    pub const DONE: u32 = 1 << 31;
}

/// Which kind of object, in [`Waiter::object`], above its index.
pub mod class {
    pub const SEM: u32 = 1 << 16;
    pub const MSG: u32 = 2 << 16;
}

/// Semaphore operations that need no block of their own.
const INLINE: usize = 6;
/// Bits of an owner's name that number its slot.
const SLOT: u32 = (1 << 15) - 1;

/// One operation of a semop(2), and what it comes to.
#[repr(C)]
pub struct Step {
    /// struct sembuf: number, operation, flags, 16 bits each.
    pub sop: AtomicU64,
    /// The semaphore's new word.
    pub value: AtomicU64,
    /// The new undo value, of one that has SEM_UNDO.
    pub adj: AtomicU32,
    _pad: AtomicU32,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Step {}

#[repr(C, align(64))]
pub struct Waiter {
    pub word: AtomicU32,
    /// Whose it is: an [`OwnerId`].
    pub owner: AtomicU32,
    /// Class and index of the object; 0 for none (V1).
    pub object: AtomicU32,
    /// The next one in the queue, 0 for the last.
    pub next: AtomicU32,
    /// Order of coming.
    pub ticket: AtomicU64,
    /// Record of what it was woken by.
    pub cause: AtomicU64,
    /// Its call was carried out, but it may not have been told (crash point C2).
    pub settled: AtomicU32,
    pub pid: AtomicU32,
    /// semop(2): operations, the one that can not be done yet, the slot of the undo values.
    pub nops: AtomicU32,
    pub blocking: AtomicU32,
    pub undo: AtomicU32,
    /// Bits of [`how`].
    pub how: AtomicU32,
    /// Block for what does not fit inline, and its length.
    pub block: AtomicU32,
    pub block_len: AtomicU32,
    /// msgrcv(2): type and room; msgsnd(2): size. And the message that was handed over.
    pub want: AtomicU64,
    pub room: AtomicU64,
    pub mode: AtomicU32,
    pub message: AtomicU32,
    steps: [Step; INLINE],
    /// Processor of whoever carried it out.
    pub waker_cpu: AtomicU32,
    _pad: AtomicU32,
    /// Whether its process was stopped since.
    pub mark: Mark,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Waiter {}

const _: () = assert!(core::mem::size_of::<Waiter>() == 256);

/// Bits of [`Waiter::how`].
pub mod how {
    /// Changes something: Linux's `alter`.
    pub const ALTERS: u32 = 1;
    /// Some semaphore is named twice: Linux's `dupsop`.
    pub const DUP: u32 = 2;
    /// Among those who wait to send.
    pub const SENDS: u32 = 4;
}

/// Index of a thread's waiter.
pub fn index_of(owner: OwnerId) -> u32 {
    owner.raw() & SLOT
}

impl Waiter {
    /// Step number `i` of `n`.
    #[inline(always)]
    pub fn step(&'static self, arena: &Arena, i: usize) -> Option<&'static Step> {
        let n = self.nops.load(Relaxed) as usize;
        if i >= n {
            None
        } else if n <= INLINE {
            self.steps.get(i)
        } else {
            table::element(arena, self.block.load(Relaxed), i)
        }
    }

    pub fn waits(&self) -> bool {
        matches!(self.word.load(Acquire), word::AWAKE | word::ASLEEP)
    }

    /// The result, once it is there.
    pub fn done(&self) -> Option<i32> {
        let w = self.word.load(Acquire); // pairs with `finish`
        (w & word::DONE != 0).then_some((w & !word::DONE) as i32)
    }

    /// Whether its thread is dead. One load, mostly.
    pub fn is_dead<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        match OwnerId::from_raw(self.owner.load(Relaxed)) {
            Some(owner) => task::is_dead(k.arena, k.host, owner),
            None => true,
        }
    }

    /// Whether it is out of the queue: its process was stopped. Asks the kernel, of one that waits for long.
    #[inline(always)]
    pub fn is_out<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        self.mark.is_out(k, self.owner.load(Relaxed))
    }

    /// Room for `n` steps.
    pub fn reserve<H: Host>(&self, k: &Ctx<'_, H>, n: usize) -> Result<(), Errno> {
        let len = n * core::mem::size_of::<Step>();
        if n > INLINE && (self.block_len.load(Relaxed) as usize) < len {
            let new = alloc::alloc_made(k.arena, k.me, k.host, len)?;
            let old_len = self.block_len.swap(len as u32, Relaxed) as usize;
            if let Some(old) = Off::from_raw(self.block.swap(new.raw(), Relaxed)) {
                alloc::free(k.arena, k.me, k.host, old, old_len);
            }
        }
        self.nops.store(n as u32, Relaxed);
        Ok(())
    }

    /// Takes the result to its thread. `true`: it sleeps, and must be woken.
    pub fn finish<H: Host>(&self, k: &Ctx<'_, H>, errno: i32, cause: u64) -> bool {
        self.cause.store(cause, Relaxed);
        self.waker_cpu.store(k.host.cpu(), Relaxed);
        let done = word::DONE | errno as u32;
        self.word.swap(done, AcqRel) == word::ASLEEP // pairs with `done`
    }
}

/// This thread's own, in nobody's queue. The caller sets `object`.
pub fn own<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    who: &Who<'_>,
) -> Result<(u32, &'static Waiter), Errno> {
    let index = index_of(k.me);
    let w = match root.waiters.get(k.arena, index) {
        Some(w) => w,
        None => root.locked(k, || root.waiters.make(k, index))?,
    };
    let left = w.object.load(Acquire);
    if left != 0 {
        clean(k, root, index, w, left);
    }
    w.owner.store(k.me.raw(), Relaxed);
    w.pid.store(who.pid, Relaxed);
    w.mark.begin(k, who.slot);
    w.settled.store(0, Relaxed);
    Ok((index, w))
}

/// What a dead thread left behind in a queue is taken out.
#[cold]
fn clean<H: Host>(k: &Ctx<'_, H>, root: &'static Root, index: u32, w: &Waiter, object: u32) {
    let slot = object & 0xffff;
    match object & !0xffff {
        class::SEM => super::sem_wait::forget(k, root, slot, index),
        class::MSG => super::msg_wait::forget(k, root, slot, index),
        _ => {}
    }
    w.word.store(word::IDLE, Relaxed);
    w.object.store(0, Release);
}

/// Whom to wake when the lock is free again.
pub struct Wakes {
    list: [u32; 16],
    n: usize,
}

impl Wakes {
    pub fn none() -> Wakes {
        Wakes {
            list: [0; 16],
            n: 0,
        }
    }

    pub fn push<H: Host>(&mut self, k: &Ctx<'_, H>, root: &Root, index: u32) {
        if self.n == self.list.len() {
            self.wake(k, root);
        }
        if let Some(to) = self.list.get_mut(self.n) {
            *to = index;
            self.n += 1;
        }
    }

    /// Wakes them. (A word may be another sleeper's by now: that one looks, and sleeps on.)
    #[inline(always)]
    pub fn wake<H: Host>(&mut self, k: &Ctx<'_, H>, root: &Root) {
        if self.n != 0 {
            self.wake_all(k, root);
        }
    }

    #[cold]
    fn wake_all<H: Host>(&mut self, k: &Ctx<'_, H>, root: &Root) {
        for &index in self.list.iter().take(self.n) {
            if let Some(w) = root.waiters.get(k.arena, index) {
                k.host.wake(&w.word, 1);
            }
        }
        self.n = 0;
    }
}
