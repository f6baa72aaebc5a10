//! Interruptible sleep: the wait loop of pipes, eventfds and sockets. (Message queues and System V objects hand over to a
//! sleeper's own record: `sys::mqueue::sleep`, `sysv::sleep`.)
//!
//! Why no wake-up gets lost (model-checked in `lock_word::loom_tests`):
//!
//! ```text
//!   waiter                                the other side, holding its lock word
//!   1 seen = bed; its place is taken
//!   2 announce: lock_word |= PEER         a publish
//!   3 attempt() once more                 b old = swap(lock_word, 0)
//!   4 FUTEX_WAIT(bed == seen)             c old & PEER: the oldest place's bed += 1, FUTEX_WAKE
//! ```
//!
//! If 2 comes before b, b sees PEER, and c either changes the bed before 4 or wakes 4. If b comes
//! before 2, then 2 reads what b released, and 3 sees what a published. Which bed: see [`places`].
//!
//! c wakes one, but b has taken PEER off for all. So whoever leaves announces those who stay, and
//! looks once more, for them: what came in between is passed on.
//!
//! Signals: `Futex::wait(.., Signals::End)` closes the window between "is one noted?" and the
//! sleep (a restartable window in the host's gate).
//!
//! # Crash points
//!
//! - C1. The other side killed between b and c: the sleep has a deadline ([`RECHECK_NS`]).
//! - C2. Killed between the choice of a sleeper, or of all, and their wake-up: the same; and whoever was chosen
//!   puts himself on the list again, for nobody else would choose him.
//! - C3. A sleeper killed: it is passed over, and its place given back, if it was dead when it was chosen; else those behind
//!   look up by themselves. `sleepers` stays too high. It is a hint; too high costs a wake-up.

use super::atomic::{fence, AtomicU32, AtomicU64, Ordering::*};
use super::futex::{Futex, Signals, Slept};
use super::lock_word::{self, OwnerId};
use super::places::{self, Place, PLACES};
use crate::abi::errno::{Restart, SysError};
#[cfg(not(loom))]
use crate::host::crash_point;
use crate::planted::{planted, Bug};

/// A sleeper asks the twin again after this long: a peer killed by SIGKILL wakes nobody. What the
/// peer left is taken after [`OVERDUE`] times this.
pub const RECHECK_NS: u64 = 20_000_000;

/// So many times in a row a sleeper finds what is not for it, until it takes it: whoever was chosen for it may have
/// been killed. Or it waits for a processor, and where there is much to do that takes more than one look.
const OVERDUE: u32 = 5;

/// Most rounds of `pause` before a sleep, about 10 us.
const SPIN_MAX: u32 = 400;
/// Most rounds between two looks.
const PAUSE_MAX: u32 = 8;
/// Most rounds of letting the other side go on, about two microseconds: some twenty small messages.
const LINGER_MAX: u32 = 64;
/// Sleeps below this many ticks (about 100 us, most of it the way back to the processor) were not
/// worth their two system calls.
const SHORT_SLEEP: u64 = 300_000;
/// Below this (about 40 us) there was hardly anything but that way: all that may be spun would have
/// done. (Without this, failing and sleeping a little may go on for ever, halving and doubling.)
const VERY_SHORT_SLEEP: u64 = 100_000;
/// Fewest, kept as a probe so that spinning can come back.
const SPIN_MIN: u32 = 4;

/// Sleepers on one side of an object. In the arena; its hints change all the time, so it has cache
/// lines of its own.
#[cfg_attr(all(test, loom), derive(Default))]
#[repr(C, align(64))]
pub struct WaitQueue {
    /// Who is woken next: see [`places`].
    pub places: AtomicU64,
    /// As `causes`, for those who have no place.
    crowd_cause: AtomicU64,
    /// Futex of those who have no place: bumped by every wake-up of theirs.
    crowd: AtomicU32,
    /// How many have none.
    placeless: AtomicU32,
    /// Hint: how many sleep.
    pub sleepers: AtomicU32,
    /// Hint: rounds that spinning has been worth lately, 0 for "not tried yet".
    pub spin: AtomicU32,
    /// Hint: processor of the latest waker, plus one.
    waker_cpu: AtomicU32,
    /// Hint: rounds to go on waiting once there is something, because more comes at once.
    linger: AtomicU32,
    _pad: [AtomicU32; 6],
    /// Futexes of the places: bumped when their sleeper is chosen.
    beds: [AtomicU32; PLACES],
    /// Whose the places are: an [`OwnerId`] each.
    owners: [AtomicU32; PLACES],
    /// Log records of what their sleepers were woken for, 0 for none.
    causes: [AtomicU64; PLACES],
}

/// Who makes a call: by which name, by which futexes it sleeps, and how it knows who was killed.
pub trait Caller: Futex {
    fn me(&self) -> OwnerId;
    /// Whether the kernel has said so: no more than a look.
    fn was_killed(&self, owner: OwnerId) -> bool;
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
    /// How long the next sleep may last: [`RECHECK_NS`] at the most.
    fn patience(&self) -> u64 {
        RECHECK_NS
    }
    /// Whether an attempt would end the wait whatever others do: nobody is left on the other side.
    fn is_over(&mut self) -> bool {
        false
    }
    /// Whether the process was sent a stop, and the call is one that this ends: also if it could go on by
    /// now. (The kernel says EINTR, or what was done so far, before the process stops.)
    fn was_stopped(&mut self) -> bool {
        false
    }
    /// Some number that changes whenever there is more.
    fn mark(&self) -> u64 {
        0
    }
    /// Called before a sleep and after it, for the log. `cause` is the record of what it was woken
    /// for, 0 for none.
    fn blocked(&mut self) {}
    fn woken(&mut self, cause: u64) {
        let _ = cause;
    }
    /// A signal ends the wait. For the log, too.
    fn interrupted(&mut self) {}
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
        futex: &impl Caller,
        cpus: Processors,
        w: &mut W,
    ) -> Result<W::Done, SysError> {
        let mut asleep = false;
        let mut cause = 0;
        let mut stay = None;
        let result = loop {
            if self.spin(cpus, w) {
                match w.attempt() {
                    Ok(None) => {}
                    Ok(Some(done)) => break Ok(done),
                    Err(e) => break Err(e),
                }
            }
            let here = *stay.get_or_insert_with(|| self.arrive(futex.me()));
            let (bed, seen) = self.lie_down(here); // 1
            lock_word::announce(peer); // 2
            match w.attempt() {
                // 3
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(e) => break Err(e),
            }
            if !asleep {
                asleep = true;
                w.blocked();
            }
            self.sleepers.fetch_add(1, Relaxed);
            let mut untaken = 0;
            let how = loop {
                let since = futex.ticks();
                let how = futex.wait(bed, seen, w.patience(), Signals::End); // 4
                self.learn(futex, how, futex.ticks().wrapping_sub(since));
                if how != Slept::TimedOut {
                    break how;
                }
                w.doubt();
                if w.was_stopped() {
                    break how;
                }
                if here == Stay::InCrowd || bed.load(Acquire) != seen || w.is_over() {
                    break how;
                }
                // Nobody chose us. What there is belongs to somebody before us, who was chosen and
                // has not come to it yet; unless he was killed, or his waker. Or our own waker was, and had
                // taken us off the list: so we are on it again.
                untaken = if w.looks_ready() { untaken + 1 } else { 0 };
                if untaken >= OVERDUE {
                    self.list(here);
                    self.wake_one(futex, 0);
                }
            };
            one_less(&self.sleepers);
            if how != Slept::TimedOut || bed.load(Acquire) != seen {
                asleep = false;
                cause = self.cause_of(here, bed, seen);
                w.woken(cause);
            }
            if w.was_stopped() {
                w.interrupted();
                break Err(SysError::Restart(Restart::Sys));
            }
            // Tried before the signal is looked at: what came first is taken first.
            match w.attempt() {
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(e) => break Err(e),
            }
            if how == Slept::Signal && !planted(Bug::WaitMissesSignal) {
                w.interrupted();
                break Err(SysError::Restart(Restart::Sys));
            }
        };
        if asleep {
            w.woken(0);
        }
        if let Some(stay) = stay {
            self.depart(stay, peer);
            self.pass_on(futex, w.looks_ready(), cause);
        }
        result
    }

    fn arrive(&self, me: OwnerId) -> Stay {
        match places::enter(&self.places) {
            Some(place) => {
                if let Some(owner) = self.owners.get(place.index()) {
                    owner.store(me.raw(), Relaxed); // told by `places::wait`
                }
                Stay::InPlace(place)
            }
            None => {
                self.placeless.fetch_add(1, AcqRel);
                Stay::InCrowd
            }
        }
    }

    fn depart(&self, stay: Stay, peer: &AtomicU32) {
        match stay {
            Stay::InPlace(place) => places::leave(&self.places, place),
            Stay::InCrowd => one_less(&self.placeless),
        }
        if self.anybody() {
            lock_word::announce(peer);
        }
    }

    /// What a sleeper was woken for: 0 if nobody chose it.
    fn cause_of(&self, stay: Stay, bed: &AtomicU32, seen: u32) -> u64 {
        if bed.load(Acquire) == seen {
            return 0; // a signal
        }
        match stay {
            Stay::InPlace(place) => self
                .causes
                .get(place.index())
                .map_or(0, |c| c.load(Relaxed)),
            Stay::InCrowd => self.crowd_cause.load(Relaxed),
        }
    }

    fn anybody(&self) -> bool {
        places::anybody(&self.places) || self.placeless.load(Relaxed) != 0
    }

    /// The futex to sleep on, and its value before anybody could choose its place.
    fn lie_down(&self, stay: Stay) -> (&AtomicU32, u32) {
        let bed = match stay {
            Stay::InPlace(place) => self.beds.get(place.index()),
            Stay::InCrowd => None,
        };
        let bed = bed.unwrap_or(&self.crowd);
        let seen = bed.load(Acquire); // pairs with `rouse`
        self.list(stay);
        (bed, seen)
    }

    fn list(&self, stay: Stay) {
        if let Stay::InPlace(place) = stay {
            places::wait(&self.places, place);
        }
    }

    /// As new: nobody sleeps, spinning was never tried. Whoever does sleep, or is about to, wakes.
    pub fn reset(&self, futex: &impl Futex) {
        self.wake_all(futex, 0);
        for bed in &self.beds {
            bed.fetch_add(1, Release);
        }
        places::clear(&self.places);
        self.placeless.store(0, Relaxed);
        self.sleepers.store(0, Relaxed);
        self.spin.store(0, Relaxed);
        self.linger.store(0, Relaxed);
    }

    /// Wakes the sleeper that has waited longest. `cause` is the log record of what made it possible,
    /// 0 without a log.
    #[cold]
    pub fn wake_one(&self, futex: &impl Caller, cause: u64) {
        self.before_choice(futex);
        while let Some(place) = places::choose(&self.places) {
            if !self.was_killed(futex, place) {
                return self.rouse(futex, place, cause);
            }
            places::leave(&self.places, place);
        }
        self.rouse_crowd(futex, 1, cause);
    }

    /// Whether whoever has this place was killed as it slept.
    fn was_killed(&self, caller: &impl Caller, place: Place) -> bool {
        let owner = self.owners.get(place.index());
        let owner = owner.and_then(|o| OwnerId::from_raw(o.load(Relaxed)));
        owner.is_some_and(|owner| caller.was_killed(owner))
    }

    /// Wakes everybody: end of file, broken pipe, demotion.
    #[cold]
    pub fn wake_all(&self, futex: &impl Futex, cause: u64) {
        self.before_choice(futex);
        for place in places::choose_all(&self.places) {
            self.rouse(futex, place, cause);
        }
        self.rouse_crowd(futex, u32::MAX >> 1, cause);
    }

    /// Only one sleeper was woken, and it has left, perhaps without what it was woken for: if there is
    /// `more`, another is woken. (fs/pipe.c `wake_next_reader`, `wake_next_writer`)
    fn pass_on(&self, futex: &impl Caller, more: bool, cause: u64) {
        if more && self.anybody() {
            self.wake_one(futex, cause);
        }
    }

    fn before_choice(&self, futex: &impl Futex) {
        // Pairs with `lock_word::announce`, whose PEER the caller has read in the lock word: the
        // sleeper's place was marked before. [`lock_word::release`] itself need not acquire.
        fence(Acquire);
        self.waker_cpu.store(futex.cpu() + 1, Relaxed);
    }

    fn rouse(&self, futex: &impl Futex, place: Place, cause: u64) {
        if planted(Bug::WaitLosesWakeUp) {
            return;
        }
        crash_point("wait.chosen");
        if let (Some(bed), Some(why)) =
            (self.beds.get(place.index()), self.causes.get(place.index()))
        {
            why.store(cause, Relaxed);
            bed.fetch_add(1, Release); // pairs with `cause_of`
            futex.wake(bed, 1);
        }
    }

    fn rouse_crowd(&self, futex: &impl Futex, n: u32, cause: u64) {
        self.crowd_cause.store(cause, Relaxed);
        self.crowd.fetch_add(1, Release);
        futex.wake(&self.crowd, n);
    }

    /// A sleep has ended: would spinning have been better? Yes, if it was short and the waker ran
    /// on another processor; on our own it could not have run at all.
    fn learn(&self, futex: &impl Futex, how: Slept, ticks: u64) {
        if how != Slept::Woken {
            return;
        }
        if self.waker_cpu.load(Relaxed) == futex.cpu() + 1 {
            self.spin.store(1, Relaxed);
        } else if ticks < VERY_SHORT_SLEEP {
            self.spin.store(SPIN_MAX, Relaxed);
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

/// How a sleeper waits, from its first sleep in a call to its last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    InPlace(Place),
    InCrowd,
}

/// Never below 0: `reset` may have come in between.
fn one_less(count: &AtomicU32) {
    let _ = count.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1));
}

fn rest(rounds: u32) {
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
}

/// The model does not die.
#[cfg(loom)]
fn crash_point(_: &str) {}

#[cfg(all(test, loom))]
mod loom_tests;
