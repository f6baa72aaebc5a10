//! A lock that survives its owner: whoever finds the owner dead takes it over and repairs.

use super::atomic::{AtomicU32, Ordering::*};
use super::futex::{Futex, Signals, Slept};
use super::lock_word::{self, Acquired, Attempt, OwnerId, Progress, Released};

/// Rounds of `pause` before the first sleep: about a microsecond, longer than any critical
/// section but a big copy.
const SPIN_ROUNDS: u32 = if cfg!(loom) { 1 } else { 60 };

/// A sleeper looks again after this long, in case a dead owner could not wake it (C2).
const LOCK_RECHECK_NS: u64 = 5_000_000;

/// Sleeps in vain, a second at the least, before [`Owners::is_elsewhere`] is asked.
const PATIENCE: u32 = 200;

/// What can be known of those who own locks.
pub trait Owners {
    /// Whether the thread is dead. Cheap.
    fn is_dead(&self, owner: OwnerId) -> bool;

    /// Whether it lives and yet can not be the owner: it sleeps where no critical section does,
    /// and is `named` all the while. The word was damaged. Slow; no is always a right answer.
    fn is_elsewhere(&self, owner: OwnerId, named: impl Fn() -> bool) -> bool;
}

/// Whether the last owner left the data in order.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    InOrder,
    /// The last owner died inside, or never was there: repair before use.
    Orphaned {
        dead: OwnerId,
    },
}

/// The lock's word in shared memory. See [`lock_word`] for its states.
#[repr(transparent)]
pub struct RobustLock {
    pub word: AtomicU32,
}

impl RobustLock {
    /// Takes the lock. Signals are not looked at: critical sections are short.
    #[inline(always)]
    pub fn lock(&self, me: OwnerId, futex: &impl Futex, owners: &impl Owners) -> Found {
        if lock_word::acquire_fast(&self.word, me) {
            return Found::InOrder;
        }
        self.lock_slowly(me, futex, owners)
    }

    #[cold]
    fn lock_slowly(&self, me: OwnerId, futex: &impl Futex, owners: &impl Owners) -> Found {
        for _ in 0..SPIN_ROUNDS {
            if lock_word::owner(&self.word).is_none() {
                break;
            }
            core::hint::spin_loop();
        }
        let mut attempt = Attempt::First;
        let mut in_vain = 0;
        loop {
            let is_out = |o| {
                owners.is_dead(o) || (in_vain > PATIENCE && (o == me || self.is_false(o, owners)))
            };
            match lock_word::acquire(&self.word, me, attempt, is_out) {
                Acquired::Clean => return Found::InOrder,
                Acquired::Orphaned { dead } => return Found::Orphaned { dead },
                Acquired::MustSleep { while_word_is, .. } => {
                    let word = &self.word;
                    let slept = futex.wait(word, while_word_is, LOCK_RECHECK_NS, Signals::Wait);
                    in_vain = (in_vain + 1) * u32::from(slept == Slept::TimedOut);
                    attempt = Attempt::AfterSleep;
                }
            }
        }
    }

    /// Whether `owner`, whom the word names, is not inside.
    fn is_false(&self, owner: OwnerId, owners: &impl Owners) -> bool {
        owners.is_elsewhere(owner, || self.holder() == Some(owner))
    }

    /// Gives the lock up and wakes the next locker. `true`: the peer sleeps and must be woken.
    #[inline(always)]
    #[must_use]
    pub fn unlock(&self, me: OwnerId, progress: Progress, futex: &impl Futex) -> bool {
        let Released { waiters, peer } = lock_word::release(&self.word, me, progress);
        if waiters {
            futex.wake(&self.word, 1);
        }
        peer
    }

    /// Who holds it now, for tables and pictures.
    pub fn holder(&self) -> Option<OwnerId> {
        lock_word::owner(&self.word)
    }

    /// Forgets the owner: only for a lock whose every possible owner is dead or yet to come.
    pub fn reset(&self) {
        self.word.store(0, Release);
    }
}
