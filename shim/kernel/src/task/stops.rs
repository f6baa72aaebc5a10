//! Stop signals, told to those who wait in the arena.
//!
//! A stop ends some waits: semop(2), a write that has written a part, timed calls of sockets [signal(7)]; others, of
//! queues, begin anew. But ringer's sleep is futex(2), which the kernel makes again after SIGCONT without a word. So
//! whoever sends a stop counts it in the slot of the process that it is for:
//!
//! ```text
//! sender                           target, in a wait
//! begun += 1                       (began with begun = n)
//! kill(2)                          stopped by the kernel
//! done = begun; wake               begun != n: the wait is over
//! ```
//!
//! Who would carry out the target's call compares as well, and passes it over: it is out of the queue from the
//! stop on. `begun` is counted before the signal is sent, else somebody who sees the target stopped could
//! serve it. A waiter that is not stopped yet must not go on to the program, where the stop would
//! come too late for its next wait: it waits for `done` ([`Stops::settle`]).
//!
//! A stop by somebody who counts nothing (the terminal, a program that ringer is not in) is known from two other
//! things: the target's own sleep is broken off ([`Futex::halts`]), and who is about to carry out the call of one that
//! has waited for [`LONG`] asks the kernel whether it is stopped ([`Mark::is_out`]).
//!
//! # Crash points
//!
//! - C1. A sender killed between the two: `done` stays behind, until the first that waits for it loses patience.

use crate::arena::ArenaSafe;
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::futex::{Futex, Signals};
use crate::sync::lock_word::OwnerId;

/// A sender that takes longer for a kill(2) is dead, or as good as that.
const ROUNDS: u32 = 20;
const ROUND_NS: u64 = 1_000_000;

/// In the arena, a process's.
#[repr(C)]
pub struct Stops {
    begun: AtomicU32,
    done: AtomicU32,
}

// SAFETY: atomics only, no padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Stops {}

impl Stops {
    /// A stop is about to be sent.
    pub fn begin(&self) {
        self.begun.fetch_add(1, AcqRel); // pairs with `count`
    }

    /// It has been, or could not be. (Of two at once the first to end says so for both: so a wait that begins just
    /// then may not notice the other one.)
    pub fn end(&self, futex: &impl Futex) {
        self.done.store(self.begun.load(Relaxed), Release);
        futex.wake(&self.done, u32::MAX >> 1);
    }

    /// How many there were.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.begun.load(Acquire)
    }

    /// As [`count`](Self::count), when none is on its way.
    #[inline(always)]
    pub fn settled(&self, futex: &impl Futex) -> u32 {
        if self.done.load(Acquire) != self.count() {
            self.settle(futex);
        }
        self.count()
    }

    /// Waits for those that are on their way: whoever returns from this has been stopped by them.
    #[cold]
    pub fn settle(&self, futex: &impl Futex) {
        for _ in 0..ROUNDS {
            let (done, begun) = (self.done.load(Acquire), self.count());
            if done == begun {
                return;
            }
            futex.wait(&self.done, done, ROUND_NS, Signals::Wait);
        }
        self.done.store(self.count(), Release); // C1
    }

    /// The slot is a new process's.
    pub(super) fn reset(&self) {
        self.begun.store(0, Relaxed);
        self.done.store(0, Relaxed);
    }
}

/// Ticks (about 0.5 ms) after which a wait is worth the question whether its thread is stopped, about 5 us.
const LONG: u64 = 1_500_000;

/// What a wait in the queue of an object remembers, for those who would carry it out. In the arena.
#[repr(C)]
pub struct Mark {
    /// Slot of its process.
    process: AtomicU32,
    /// How often that had been sent a stop when the wait began.
    stops: AtomicU32,
    /// When it began, by the time-stamp counter.
    since: AtomicU64,
}

// SAFETY: atomics only, no padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Mark {}

impl Mark {
    fn stops<H: Host>(&self, k: &Ctx<'_, H>) -> Option<&'static Stops> {
        super::process(k.arena, self.process.load(Relaxed)).map(|p| &p.stops)
    }

    /// A thread of the process in `slot` is about to wait: only stops from now on concern it. Without any lock.
    #[inline(always)]
    pub fn begin<H: Host>(&self, k: &Ctx<'_, H>, slot: u32) {
        self.process.store(slot, Relaxed);
        let settled = self.stops(k).map_or(0, |s| s.settled(k.host));
        self.stops.store(settled, Relaxed);
        self.since.store(k.host.tsc(), Relaxed);
    }

    /// Whether its process has been sent a stop since: then it is out of the queue.
    #[inline(always)]
    pub fn was_stopped<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        let stops = self.stops(k);
        stops.is_some_and(|s| s.count() != self.stops.load(Relaxed))
    }

    /// The same of the waiting thread `owner`, before its call is carried out: the kernel is asked as well.
    #[inline(always)]
    pub fn is_out<H: Host>(&self, k: &Ctx<'_, H>, owner: u32) -> bool {
        self.was_stopped(k) || self.waits_long(k) && self.is_stopped(k, owner)
    }

    fn waits_long<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        k.host.tsc().wrapping_sub(self.since.load(Relaxed)) > LONG
    }

    #[cold]
    fn is_stopped<H: Host>(&self, k: &Ctx<'_, H>, owner: u32) -> bool {
        let owner = OwnerId::from_raw(owner);
        let stopped = owner.is_some_and(|o| super::is_stopped(k.arena, k.host, o));
        if stopped {
            // So that it knows itself, when it is continued.
            self.stops.fetch_sub(1, Relaxed);
        }
        stopped
    }

    /// It was, and may have to wait for that.
    #[cold]
    pub fn settle<H: Host>(&self, k: &Ctx<'_, H>) {
        if let Some(stops) = self.stops(k) {
            stops.settle(k.host);
        }
    }
}

/// What a wait of this thread remembers.
pub struct Watch {
    stops: Option<&'static Stops>,
    since: u32,
    halts: u32,
}

impl Watch {
    /// A wait begins.
    #[inline(always)]
    pub fn begin<H: Host>(k: &Ctx<'_, H>) -> Watch {
        let process = super::task_of(k.arena, k.me).map(|t| t.process.load(Relaxed));
        let process = process.and_then(|slot| super::process(k.arena, slot));
        let stops = process.map(|p| &p.stops);
        Watch {
            stops,
            since: stops.map_or(0, |s| s.settled(k.host)),
            halts: k.host.halts(),
        }
    }

    /// Whether there was a stop since.
    #[inline(always)]
    pub fn is_over<H: Host>(&self, k: &Ctx<'_, H>) -> bool {
        let over = self.stops.filter(|s| s.count() != self.since);
        if let Some(stops) = over {
            stops.settle(k.host);
        }
        over.is_some() || k.host.halts() != self.halts
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::futex::Slept;

    /// A sleeper finds that its sender has come to an end, or that nothing happens.
    struct Sleeper<'a>(Option<&'a Stops>);

    impl Futex for Sleeper<'_> {
        fn wait(&self, word: &AtomicU32, value: u32, _: u64, _: Signals) -> Slept {
            assert_eq!(word.load(Relaxed), value);
            match self.0 {
                Some(stops) => {
                    stops.end(self);
                    Slept::Woken
                }
                None => Slept::TimedOut,
            }
        }

        fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
            0
        }
    }

    fn stops() -> Stops {
        Stops {
            begun: AtomicU32::new(0),
            done: AtomicU32::new(0),
        }
    }

    #[test]
    fn a_stop_is_counted_from_before_it_is_sent() {
        let s = stops();
        let before = s.count();
        s.begin();
        assert_ne!(s.count(), before);
        s.end(&Sleeper(None));
        assert_eq!(s.settled(&Sleeper(None)), s.count());
    }

    #[test]
    fn a_wait_begins_when_what_is_on_its_way_has_come() {
        let s = stops();
        s.begin();
        assert_eq!(s.settled(&Sleeper(Some(&s))), 1);
        assert_eq!(s.done.load(Relaxed), 1);
    }

    #[test]
    fn a_sender_that_was_killed_is_waited_for_only_once() {
        let s = stops();
        s.begin();
        assert_eq!(s.settled(&Sleeper(None)), 1);
        assert_eq!(s.done.load(Relaxed), 1);
    }

    #[test]
    fn one_that_is_late_does_not_set_the_count_back() {
        let s = stops();
        s.begin();
        s.settle(&Sleeper(None)); // taken for dead
        s.begin();
        s.end(&Sleeper(None));
        s.end(&Sleeper(None));
        assert_eq!(s.settled(&Sleeper(None)), 2);
    }
}
