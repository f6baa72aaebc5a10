//! The state word of a robust lock: who owns it, and whether anybody sleeps because of it.
//!
//! ```text
//! OWNER      | WAITERS | PEER | meaning
//! 0          |    0    |  0   | free
//! 0          |    0    |  1   | free; the other side sleeps until the next owner makes progress
//! id         |    0    |  x   | held
//! id         |    1    |  x   | held; somebody sleeps, or is about to, until it is free
//! id (dead)  |    x    |  x   | orphaned; the next locker repairs the data
//! ```
//!
//! PEER is why no fence is needed between "publish" and "does anybody sleep?": both the
//! sleeper's announcement and the owner's release are read-modify-writes of this one word.
//! Either the release comes later and sees PEER, or it came earlier, and then the sleeper, whose
//! `announce` reads from it, sees what was published.
//!
//! # Invariants
//!
//! - L1. OWNER leaves 0 only by the CAS in `acquire`, and returns to 0 only by `release`.
//! - L2. A task which has slept acquires with WAITERS set: it can not know that it was the last.
//! - L3. PEER is cleared only by a `release` that reports it, after progress.
//!
//! # Crash points
//!
//! - C1. Owner killed inside the critical section: OWNER stays, `acquire` answers `Orphaned`.
//! - C2. Killed between `release` and FUTEX_WAKE: free, but sleepers sleep on. So every sleep has
//!   a deadline, after which the word is read again.

use super::atomic::{AtomicU32, Ordering::*};

const WAITERS: u32 = 1 << 31;
const PEER: u32 = 1 << 30;
const OWNER: u32 = PEER - 1;

/// Slot and generation in the arena's task table, 30 bits. Never 0. Not a bare tid: tids are recycled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnerId(u32);

impl OwnerId {
    /// `None` for 0 and for what does not fit into 30 bits.
    pub fn from_raw(raw: u32) -> Option<OwnerId> {
        (raw != 0 && raw <= OWNER).then_some(OwnerId(raw))
    }

    pub fn raw(self) -> u32 {
        self.0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    First,
    AfterSleep,
}

#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquired {
    Clean,
    Orphaned {
        dead: OwnerId,
    },
    /// Sleep while the word has this value, then try `AfterSleep`.
    MustSleep {
        while_word_is: u32,
        owner: OwnerId,
    },
}

/// What the owner did, as far as the other side could be waiting for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    Made,
    None,
}

/// Whom `release` found asleep. The caller does the FUTEX_WAKEs (C2).
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Released {
    /// Somebody waits for the lock itself: wake one.
    pub waiters: bool,
    /// The other side waits for progress, and there was some: wake it.
    pub peer: bool,
}

/// One step towards owning `word`. Never sleeps. `is_dead` is asked only for a foreign owner.
pub fn acquire(
    word: &AtomicU32,
    me: OwnerId,
    attempt: Attempt,
    is_dead: impl Fn(OwnerId) -> bool,
) -> Acquired {
    let sticky = match attempt {
        Attempt::AfterSleep => WAITERS, // L2
        Attempt::First => 0,
    };
    let mut seen = word.load(Relaxed);
    loop {
        let flags = seen & !OWNER;
        let (next, outcome) = match OwnerId::from_raw(seen & OWNER) {
            None => (me.0 | sticky | flags, Acquired::Clean),
            Some(dead) if is_dead(dead) => (me.0 | sticky | flags, Acquired::Orphaned { dead }),
            Some(owner) => {
                let word = seen | WAITERS;
                (
                    word,
                    Acquired::MustSleep {
                        while_word_is: word,
                        owner,
                    },
                )
            }
        };
        // Acquire pairs with the Release in `release`: the last owner's writes are seen.
        match word.compare_exchange_weak(seen, next, Acquire, Relaxed) {
            Ok(_) => return outcome,
            Err(now) => seen = now,
        }
    }
}

/// The uncontended case in one CAS; `false` says nothing but "go the long way".
#[inline(always)]
pub fn acquire_fast(word: &AtomicU32, me: OwnerId) -> bool {
    word.compare_exchange(0, me.0, Acquire, Relaxed).is_ok()
}

/// Gives the lock up. After progress, PEER is taken off and reported (L3).
#[inline(always)]
pub fn release(word: &AtomicU32, me: OwnerId, progress: Progress) -> Released {
    match progress {
        Progress::Made => {
            let old = word.swap(0, Release);
            debug_assert_eq!(old & OWNER, me.0);
            Released {
                waiters: old & WAITERS != 0,
                peer: old & PEER != 0,
            }
        }
        Progress::None => {
            let old = word.fetch_and(PEER, Release);
            debug_assert_eq!(old & OWNER, me.0);
            Released {
                waiters: old & WAITERS != 0,
                peer: false,
            }
        }
    }
}

/// The other side is about to sleep until this lock's owner makes progress. It looks at the
/// object once more after this: Acquire pairs with the Release in `release`.
pub fn announce(word: &AtomicU32) {
    word.fetch_or(PEER, AcqRel);
}

/// Whether the other side has announced itself, without touching the word.
pub fn is_announced(word: &AtomicU32) -> bool {
    word.load(Relaxed) & PEER != 0
}

/// The owner as the word says it now, for tables and pictures.
pub fn owner(word: &AtomicU32) -> Option<OwnerId> {
    OwnerId::from_raw(word.load(Relaxed) & OWNER)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const A: OwnerId = OwnerId(7);
    const B: OwnerId = OwnerId(9);

    #[test]
    fn a_free_word_is_taken_and_given_back() {
        let w = AtomicU32::new(0);
        assert_eq!(acquire(&w, A, Attempt::First, |_| false), Acquired::Clean);
        assert_eq!(owner(&w), Some(A));
        let released = release(&w, A, Progress::Made);
        assert_eq!(
            released,
            Released {
                waiters: false,
                peer: false
            }
        );
        assert_eq!(w.load(Relaxed), 0);
    }

    #[test]
    fn a_second_locker_marks_itself_and_sleeps() {
        let w = AtomicU32::new(0);
        let _ = acquire(&w, A, Attempt::First, |_| false);
        let got = acquire(&w, B, Attempt::First, |_| false);
        assert_eq!(
            got,
            Acquired::MustSleep {
                while_word_is: A.0 | WAITERS,
                owner: A
            }
        );
        assert!(release(&w, A, Progress::None).waiters);
    }

    #[test]
    fn who_has_slept_leaves_the_waiters_bit_for_the_next() {
        let w = AtomicU32::new(0);
        assert_eq!(
            acquire(&w, B, Attempt::AfterSleep, |_| false),
            Acquired::Clean
        );
        assert!(release(&w, B, Progress::None).waiters);
    }

    #[test]
    fn a_dead_owner_is_replaced() {
        let w = AtomicU32::new(0);
        let _ = acquire(&w, A, Attempt::First, |_| false);
        assert_eq!(
            acquire(&w, B, Attempt::First, |o| o == A),
            Acquired::Orphaned { dead: A }
        );
        assert_eq!(owner(&w), Some(B));
    }

    #[test]
    fn without_progress_the_sleeping_peer_is_kept_for_the_next_owner() {
        let w = AtomicU32::new(0);
        announce(&w);
        assert_eq!(acquire(&w, A, Attempt::First, |_| false), Acquired::Clean);
        assert!(!release(&w, A, Progress::None).peer);
        assert_eq!(acquire(&w, A, Attempt::First, |_| false), Acquired::Clean);
        assert!(release(&w, A, Progress::Made).peer);
        assert_eq!(w.load(Relaxed), 0);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::futex::model::Futex;
    use loom::sync::Arc;
    use loom::thread;

    fn lock(f: &Futex, me: OwnerId) {
        let mut attempt = Attempt::First;
        loop {
            match acquire(&f.word, me, attempt, |_| false) {
                Acquired::MustSleep { while_word_is, .. } => {
                    f.wait(while_word_is);
                    attempt = Attempt::AfterSleep;
                }
                _ => return,
            }
        }
    }

    fn unlock(f: &Futex, me: OwnerId, progress: Progress) -> Released {
        let released = release(&f.word, me, progress);
        if released.waiters {
            f.wake(1);
        }
        released
    }

    #[test]
    fn two_lockers_never_overlap_and_never_sleep_for_ever() {
        loom::model(|| {
            let f = Arc::new(Futex::new());
            let inside = Arc::new(loom::cell::UnsafeCell::new(0u32));
            let threads: Vec<_> = [1, 2]
                .into_iter()
                .map(|n| {
                    let (f, inside) = (f.clone(), inside.clone());
                    thread::spawn(move || {
                        lock(&f, OwnerId(n));
                        // SAFETY: L1, the lock is held; loom reports an overlap.
                        inside.with_mut(|p| unsafe { *p += 1 });
                        let _ = unlock(&f, OwnerId(n), Progress::None);
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
    }

    #[test]
    fn three_lockers_never_sleep_for_ever() {
        let mut b = loom::model::Builder::new();
        b.preemption_bound = Some(2);
        b.check(|| {
            let f = Arc::new(Futex::new());
            let threads: Vec<_> = [1, 2]
                .into_iter()
                .map(|n| {
                    let f = f.clone();
                    thread::spawn(move || {
                        lock(&f, OwnerId(n));
                        let _ = unlock(&f, OwnerId(n), Progress::Made);
                    })
                })
                .collect();
            lock(&f, OwnerId(3));
            let _ = unlock(&f, OwnerId(3), Progress::Made);
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
    }

    /// The whole of a pipe's sleep: data published under the lock, a reader that announces
    /// itself on the writer's word and sleeps on its own.
    #[test]
    fn a_reader_that_announces_itself_is_always_woken() {
        loom::model(|| {
            let word = Arc::new(Futex::new());
            let seq = Arc::new(Futex::new());
            let head = Arc::new(AtomicU32::new(0));
            let writer = {
                let (word, seq, head) = (word.clone(), seq.clone(), head.clone());
                thread::spawn(move || {
                    lock(&word, OwnerId(1));
                    head.store(1, Release);
                    if unlock(&word, OwnerId(1), Progress::Made).peer {
                        seq.word.fetch_add(1, Release);
                        seq.wake(1);
                    }
                })
            };
            loop {
                let seen = seq.word.load(Acquire);
                announce(&word.word);
                if head.load(Acquire) == 1 {
                    break;
                }
                seq.wait(seen);
            }
            writer.join().unwrap();
        });
    }
}
