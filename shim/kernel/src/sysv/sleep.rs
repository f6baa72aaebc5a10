//! Sleeping until somebody has carried the call out.

use super::log::Logged;
use super::waiter::{word, Waiter};
use crate::host::Host;
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::futex::{Signals, Slept};
use crate::sync::wait_queue::{Processors, RECHECK_NS};
use crate::task::{self, Task};

/// Most rounds of `pause` before a sleep, about 10 us.
const SPIN_MAX: u32 = 400;
const SPIN_MIN: u32 = 4;
/// A sleep below so many ticks (about 100 us) was not worth its two system calls.
const SHORT: u64 = 300_000;

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The result is in the waiter.
    Done,
    TimedOut,
    Signal,
    /// Its process was stopped: the sleep was broken off, or `doubt` has found it.
    Stopped,
}

/// Waits until `w` is done, for `patience` nanoseconds from now at the most. `doubt` is called now and then:
/// who should have woken us may have been killed. `false`: the wait is over.
pub fn until_done<H: Host>(
    k: &Ctx<'_, H>,
    w: &Waiter,
    spin: &AtomicU32,
    patience: Option<u64>,
    logged: &Logged,
    mut doubt: impl FnMut() -> bool,
) -> End {
    if spun(k, w, spin) {
        return End::Done;
    }
    let awake = word::AWAKE;
    if w.word
        .compare_exchange(awake, word::ASLEEP, AcqRel, Acquire)
        .is_err()
    {
        return End::Done;
    }
    let halts = k.host.halts();
    let since = k.host.tsc();
    let began = if patience.is_some() {
        k.host.monotonic_ns()
    } else {
        0
    };
    let task = task::task_of(k.arena, k.me);
    if let Some(t) = task {
        Task::count(&t.sleeps);
        t.waits_since.store(since, Relaxed);
    }
    let end = loop {
        let left = match patience {
            None => RECHECK_NS,
            Some(p) => p.saturating_sub(k.host.monotonic_ns().saturating_sub(began)),
        };
        if left == 0 {
            break End::TimedOut;
        }
        let how = k
            .host
            .wait(&w.word, word::ASLEEP, left.min(RECHECK_NS), Signals::End);
        if w.done().is_some() {
            learn(k, w, spin, k.host.tsc().wrapping_sub(since));
            break End::Done;
        }
        match how {
            Slept::Signal => break End::Signal,
            _ if k.host.halts() != halts => break End::Stopped,
            Slept::TimedOut if !doubt() => break End::Stopped,
            Slept::TimedOut | Slept::Woken => {}
        }
    };
    let ticks = k.host.tsc().wrapping_sub(since);
    if let Some(t) = task {
        let slept = t.slept_tsc.load(Relaxed).wrapping_add(ticks);
        t.slept_tsc.store(slept, Relaxed);
    }
    let cause = if end == End::Done {
        w.cause.load(Relaxed)
    } else {
        0
    };
    logged.put(k, Kind::SysvWake, cause, (ticks as i64, 0, 0));
    end
}

/// Looks at the word for as long as that has been paying off.
fn spun<H: Host>(k: &Ctx<'_, H>, w: &Waiter, spin: &AtomicU32) -> bool {
    if k.host.processors() == Processors::One {
        return false;
    }
    let budget = match spin.load(Relaxed) {
        0 => SPIN_MAX / 4,
        n => n.min(SPIN_MAX),
    };
    for _ in 0..budget {
        if w.done().is_some() {
            spin.store((budget * 2).min(SPIN_MAX), Relaxed);
            return true;
        }
        core::hint::spin_loop();
    }
    spin.store((budget / 2).max(SPIN_MIN.min(budget)), Relaxed);
    false
}

/// Would spinning have been better? On the waker's own processor it could not have run at all.
fn learn<H: Host>(k: &Ctx<'_, H>, w: &Waiter, spin: &AtomicU32, ticks: u64) {
    if w.waker_cpu.load(Relaxed) == k.host.cpu() {
        spin.store(1, Relaxed);
    } else if ticks < SHORT {
        let more = spin.load(Relaxed).clamp(SPIN_MAX / 8, SPIN_MAX) * 2;
        spin.store(more.min(SPIN_MAX), Relaxed);
    }
}
