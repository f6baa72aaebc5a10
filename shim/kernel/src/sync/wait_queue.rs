//! Interruptible sleep. The one wait loop of the shim; no object writes its own.
//!
//! Why no wake-up gets lost (model-checked in `lock_word::loom_tests`):
//!
//! ```text
//!   waiter                                the other side, holding its lock word
//!   1 seq = wq.seq
//!   2 announce: lock_word |= PEER         a publish
//!   3 attempt() once more                 b old = swap(lock_word, 0)
//!   4 FUTEX_WAIT(wq.seq == seq)           c old & PEER: wq.seq += 1, FUTEX_WAKE
//! ```
//!
//! If 2 comes before b, b sees PEER, and c either changes `seq` before 4 or wakes 4. If b comes
//! before 2, then 2 reads what b released, and 3 sees what a published.
//!
//! Signals: `Futex::wait(.., Signals::End)` closes the window between "is one noted?" and the
//! sleep (a restartable window in the host's gate).
//!
//! # Crash points
//!
//! - C1. The other side killed between b and c: the sleep has a deadline ([`RECHECK_NS`]).
//! - C2. A sleeper killed: `sleepers` stays too high. It is a hint; too high costs a wake-up.

use super::atomic::{AtomicU32, AtomicU64, Ordering::*};
use super::futex::{Futex, Signals, Slept};
use super::lock_word;
use crate::abi::errno::{Restart, SysError};

/// A sleeper asks the twin again after this long: a peer killed by SIGKILL wakes nobody.
pub const RECHECK_NS: u64 = 20_000_000;

/// Most rounds of `pause` before a sleep, about 10 us.
const SPIN_MAX: u32 = 400;
/// Most rounds between two looks.
const PAUSE_MAX: u32 = 8;
/// Most rounds of letting the other side go on, about a microsecond.
const LINGER_MAX: u32 = 24;
/// Sleeps below this many ticks (about 100 us, most of it the way back to the processor) were not
/// worth their two system calls.
const SHORT_SLEEP: u64 = 300_000;
/// Fewest, kept as a probe so that spinning can come back.
const SPIN_MIN: u32 = 4;

/// Sleepers on one side of an object. In the arena.
#[cfg_attr(all(test, loom), derive(Default))]
#[repr(C)]
pub struct WaitQueue {
    /// Futex: bumped by every wake-up.
    pub seq: AtomicU32,
    /// Hint: how many sleep.
    pub sleepers: AtomicU32,
    /// Hint: rounds that spinning has been worth lately, 0 for "not tried yet".
    pub spin: AtomicU32,
    /// Hint: processor of the latest waker, plus one.
    waker_cpu: AtomicU32,
    /// Hint: rounds to go on waiting once there is something, because more comes at once.
    linger: AtomicU32,
    _pad: AtomicU32,
    /// Log record that caused the latest wake-up, 0 for none.
    pub cause: AtomicU64,
}

/// What a wait is for, from the object's side.
pub trait Waitable {
    type Done;
    /// Tries once; takes and drops the object's lock. `None`: it would block.
    fn attempt(&mut self) -> Result<Option<Self::Done>, SysError>;
    /// Cheap look without a lock: worth another attempt?
    fn looks_ready(&self) -> bool;
    /// Nobody has woken us for [`RECHECK_NS`]: the next attempt believes no hint.
    fn doubt(&mut self) {}
    /// Some number that changes whenever there is more.
    fn mark(&self) -> u64 {
        0
    }
    /// Called before the first sleep and after the last, for the log.
    fn blocked(&mut self) {}
    fn woken(&mut self) {}
}

/// The processor: spinning never pays when there is only one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Processors {
    One,
    Many,
}

impl WaitQueue {
    /// Repeats `w.attempt()` until it gives a result, sleeping in between. `peer` is the lock
    /// word whose owner makes the progress that is waited for.
    pub fn wait_interruptible<W: Waitable>(
        &self,
        peer: &AtomicU32,
        futex: &impl Futex,
        cpus: Processors,
        w: &mut W,
    ) -> Result<W::Done, SysError> {
        let mut slept = false;
        let result = loop {
            if self.spin(cpus, w) {
                match w.attempt() {
                    Ok(None) => {}
                    Ok(Some(done)) => break Ok(done),
                    Err(e) => break Err(e),
                }
            }
            let seq = self.seq.load(Acquire); // 1, pairs with wake()
            lock_word::announce(peer); // 2
            match w.attempt() {
                // 3
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(e) => break Err(e),
            }
            if !slept {
                slept = true;
                w.blocked();
            }
            self.sleepers.fetch_add(1, Relaxed);
            let since = futex.ticks();
            let how = futex.wait(&self.seq, seq, RECHECK_NS, Signals::End); // 4
            self.learn(futex, how, futex.ticks().wrapping_sub(since));
            // `reset` may have come in between: never below 0.
            let before = self
                .sleepers
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
            let others = before.is_ok_and(|n| n > 1);
            if others {
                // The waker took PEER off for all of us: put it back for those who sleep on.
                lock_word::announce(peer);
            }
            if how == Slept::TimedOut {
                w.doubt();
            }
            // Tried before the signal is looked at: what came first is taken first.
            match w.attempt() {
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(e) => break Err(e),
            }
            if how == Slept::Signal {
                break Err(SysError::Restart(Restart::Sys));
            }
        };
        if slept {
            w.woken();
        }
        result
    }

    /// As new: nobody sleeps, spinning was never tried. `seq` goes on, so a late sleeper wakes.
    pub fn reset(&self) {
        self.seq.fetch_add(1, Release);
        self.sleepers.store(0, Relaxed);
        self.spin.store(0, Relaxed);
        self.linger.store(0, Relaxed);
        self.cause.store(0, Relaxed);
    }

    /// Wakes one sleeper. `cause` is the log record of what made it possible, 0 without a log.
    #[cold]
    pub fn wake_one(&self, futex: &impl Futex, cause: u64) {
        self.wake(futex, cause, 1);
    }

    /// Wakes everybody: end of file, broken pipe, demotion.
    #[cold]
    pub fn wake_all(&self, futex: &impl Futex, cause: u64) {
        self.wake(futex, cause, u32::MAX >> 1);
    }

    fn wake(&self, futex: &impl Futex, cause: u64, n: u32) {
        if cause != 0 {
            self.cause.store(cause, Relaxed);
        }
        self.waker_cpu.store(futex.cpu() + 1, Relaxed);
        self.seq.fetch_add(1, Release);
        futex.wake(&self.seq, n);
    }

    /// A sleep has ended: would spinning have been better? Yes, if it was short and the waker ran
    /// on another processor; on our own it could not have run at all.
    fn learn(&self, futex: &impl Futex, how: Slept, ticks: u64) {
        if how != Slept::Woken {
            return;
        }
        if self.waker_cpu.load(Relaxed) == futex.cpu() + 1 {
            self.spin.store(1, Relaxed);
        } else if ticks < SHORT_SLEEP {
            let more = self.spin.load(Relaxed).clamp(SPIN_MAX / 8, SPIN_MAX) * 2;
            self.spin.store(more.min(SPIN_MAX), Relaxed);
        }
    }

    /// Spins while it has been paying off. `true`: it looks ready.
    fn spin<W: Waitable>(&self, cpus: Processors, w: &W) -> bool {
        if cpus == Processors::One {
            return false;
        }
        let budget = match self.spin.load(Relaxed) {
            0 => SPIN_MAX / 4,
            n => n.min(SPIN_MAX),
        };
        let mut spent = 0;
        let mut pause = 1;
        while spent < budget {
            if w.looks_ready() {
                self.spin.store((budget * 2).min(SPIN_MAX), Relaxed);
                self.gather(w);
                return true;
            }
            // Every look takes the cache line from the other side: look less and less often.
            rest(pause);
            spent += pause;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.spin
            .store((budget / 2).max(SPIN_MIN.min(budget)), Relaxed);
        false
    }

    /// In a stream, whoever catches up with the other side at every step pays for the way of
    /// each cache line with each step. So it lets a few steps go by, if they come.
    fn gather<W: Waitable>(&self, w: &W) {
        let rounds = self.linger.load(Relaxed).min(LINGER_MAX);
        let before = w.mark();
        rest(rounds.max(1));
        let next = if w.mark() == before {
            rounds / 2
        } else {
            (rounds * 2 + 1).min(LINGER_MAX)
        };
        self.linger.store(next, Relaxed);
    }
}

fn rest(rounds: u32) {
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
