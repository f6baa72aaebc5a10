//! The wait of mq_send(3) and mq_receive(3): `wq_sleep` in Linux v6.18 ipc/mqueue.c.
//!
//! Before it gets in line, a thread looks for a while whether the other side is about to come, if
//! that has been paying off. To the others it has not begun to wait yet.

use super::Caller;
use crate::abi::errno::{Errno, Restart, SysError};
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::mqueue::notify::kind;
use crate::mqueue::wait::{self, stage, Side, Waiter};
use crate::mqueue::{Handle, Queue};
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};
use crate::sync::futex::{Signals, Slept};
use crate::sync::wait_queue::{Processors, RECHECK_NS};
use crate::task::{self, Task};

/// Most looks before a thread gets in line, and most rounds of `pause` between two of them.
const SPIN_MAX: u32 = 400;
const SPIN_MIN: u32 = 4;
const PAUSE_MAX: u32 = 8;
/// Most rounds of letting the other side go on.
const LINGER_MAX: u32 = 64;
/// How long, and at how many messages, it is tried.
const PROBE: u32 = 32;
const PROBE_EVERY: u64 = 32;
/// Sleeps below this many ticks were not worth their system calls.
const SHORT_SLEEP: u64 = 300_000;

/// How a wait ended.
pub enum Ended {
    /// A receiver has its message, in this slot and of this priority; a sender's is in the queue.
    Served(u32, u32),
    /// To be tried again.
    Again,
}

/// What a thread needs to get in line.
pub struct Ready {
    number: u32,
    record: &'static Waiter,
    rank: u32,
}

impl Ready {
    /// Each wait has stops of its own. Without any lock.
    #[inline(always)]
    pub fn begin<H: Host>(&self, k: &Ctx<'_, H>) {
        self.record.begin(k);
    }
}

/// Makes ready, and spins if that has been worth it. Without any lock.
#[cold]
pub fn prepare<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    side: Side,
    caller: &impl Caller,
) -> Result<Ready, SysError> {
    let (number, record) = wait::mine(k).ok_or(Errno::ENOMEM)?;
    let rank = caller.rank();
    // A receiver in line keeps the registered process from being told; so it gets there at once.
    let told = side == Side::Receive && h.q.notify_kind.load(Relaxed) != kind::NOBODY;
    let alone = side.list(h.q).load(Relaxed) == 0;
    if k.host.processors() == Processors::Many && alone && !told {
        spin(h.q, side);
    }
    Ok(Ready {
        number,
        record,
        rank,
    })
}

fn hint(q: &Queue, side: Side) -> &AtomicU32 {
    match side {
        Side::Receive => &q.recv_spin,
        Side::Send => &q.send_spin,
    }
}

fn looks_ready(q: &Queue, side: Side) -> bool {
    match side {
        Side::Receive => q.count.load(Relaxed) != 0,
        Side::Send => !q.is_full(),
    }
}

/// The two hints in a word: rounds that spinning has been worth, 0 for "not tried yet", and rounds to
/// go on waiting once there is something, because more comes at once.
#[derive(Clone, Copy)]
struct Hint {
    spin: u32,
    linger: u32,
}

impl Hint {
    fn of(word: &AtomicU32) -> Hint {
        let word = word.load(Relaxed);
        Hint {
            spin: word & 0xffff,
            linger: (word >> 16).min(LINGER_MAX),
        }
    }

    fn keep(self, word: &AtomicU32) {
        word.store(self.linger << 16 | self.spin & 0xffff, Relaxed);
    }
}

fn spin(q: &Queue, side: Side) {
    let word = hint(q, side);
    let mut hint = Hint::of(word);
    let budget = match hint.spin {
        0 => SPIN_MAX / 4,
        n => n.min(SPIN_MAX),
    };
    let mut spent = 0;
    let mut pause = 1;
    while spent < budget {
        if looks_ready(q, side) {
            hint.spin = (budget * 2).min(SPIN_MAX);
            hint.linger = gather(q, hint.linger);
            return hint.keep(word);
        }
        rest(pause);
        spent += pause;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    hint.spin = (budget / 2).max(SPIN_MIN.min(budget));
    hint.keep(word);
}

fn rest(rounds: u32) {
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
}

/// In a stream, whoever catches up with the other side at every message pays for the way of each
/// cache line with each. So it lets a few go by, if they come. How long next time.
fn gather(q: &Queue, rounds: u32) -> u32 {
    let before = q.count.load(Relaxed);
    let mut last = before;
    // Now and then it is tried, also where it has not paid off.
    let probe = q.seq.load(Relaxed).is_multiple_of(PROBE_EVERY);
    let mut left = if probe { rounds.max(PROBE) } else { rounds };
    while left > 0 {
        rest(left.min(PAUSE_MAX));
        left -= left.min(PAUSE_MAX);
        let now = q.count.load(Relaxed);
        if now == 0 || now >= q.maxmsg.load(Relaxed) {
            break;
        }
        last = now;
    }
    match last == before {
        true => rounds / 2,
        false => (rounds * 2).clamp(PROBE, LINGER_MAX),
    }
}

/// A sleep has ended: would spinning have been better? Yes, if it was short and the waker ran on
/// another processor.
fn learn<H: Host>(k: &Ctx<'_, H>, q: &Queue, side: Side, ticks: u64) {
    let word = hint(q, side);
    let spin = if q.waker_cpu.load(Relaxed) == k.host.cpu() + 1 {
        1
    } else if ticks < SHORT_SLEEP {
        SPIN_MAX
    } else {
        return;
    };
    Hint {
        spin,
        ..Hint::of(word)
    }
    .keep(word);
}

/// Gets in line, gives the lock up, and sleeps until the thread was served, a signal comes, or the
/// deadline is over. What came first counts, in that order.
#[cold]
pub fn sleep<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    side: Side,
    message: Option<(u32, u32)>,
    ready: &Ready,
    caller: &impl Caller,
) -> Result<Ended, SysError> {
    let w = ready.record;
    wait::enlist(k, h, (ready.number, w), side, ready.rank, message);
    h.log(k, Kind::Block, 0, (i64::from(side.raw()), 0, 0));
    crash_point("mq.wait.listed");
    h.unlock(k);
    let since = k.host.tsc();
    let task = task::task_of(k.arena, k.me);
    if let Some(task) = task {
        task.waits_since.store(since, Relaxed);
        let what = task::waits::MQ | h.slot & task::waits::SLOT;
        let to_send = match side {
            Side::Receive => 0,
            Side::Send => task::waits::TO_WRITE,
        };
        task.waits_for.store(what | to_send, Relaxed);
        Task::count(&task.sleeps);
    }
    let ended = sleep_on(k, h, side, w, ready.number, caller);
    let ticks = k.host.tsc().saturating_sub(since);
    if let Some(task) = task {
        task.waits_for.store(0, Relaxed);
        let slept = task.slept_tsc.load(Relaxed);
        task.slept_tsc.store(slept.wrapping_add(ticks), Relaxed);
    }
    if ended.is_ok() {
        learn(k, h.q, side, ticks);
    }
    h.log(k, Kind::Wake, w.cause.load(Relaxed), (ticks as i64, 0, 0));
    ended
}

fn sleep_on<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    side: Side,
    w: &'static Waiter,
    number: u32,
    caller: &impl Caller,
) -> Result<Ended, SysError> {
    let halts = k.host.halts();
    loop {
        let asleep = w
            .state
            .compare_exchange(stage::WAITING, stage::SLEEPING, AcqRel, Acquire);
        if let Some(ended) = outcome(w, side) {
            return Ok(ended);
        }
        if let Err(other) = asleep {
            if other != stage::SLEEPING {
                return give_up(k, h, side, w, number, Errno::EINVAL.into()); // scribbled over
            }
        }
        let left = caller.left();
        let how = k.host.wait(
            &w.state,
            stage::SLEEPING,
            left.clamp(1, RECHECK_NS),
            Signals::End,
        );
        if let Some(ended) = outcome(w, side) {
            return Ok(ended);
        }
        if how == Slept::Signal {
            return give_up(k, h, side, w, number, SysError::Restart(Restart::Sys));
        }
        if caller.left() == 0 {
            return give_up(k, h, side, w, number, Errno::ETIMEDOUT.into());
        }
        if w.mark.was_stopped(k) || k.host.halts() != halts {
            w.mark.settle(k);
            let ended = leave(k, h, side, w, number);
            return Ok(ended.unwrap_or(Ended::Again));
        }
        // Whoever should have served us may have died at it.
        if h.q.lock.holder().is_some_and(|o| k.is_dead(o)) {
            h.lock(k);
            h.unlock(k);
        }
    }
}

fn outcome(w: &Waiter, side: Side) -> Option<Ended> {
    match (w.state.load(Acquire), side) {
        (stage::DONE, Side::Receive) => {
            let slot = w.slot.load(Relaxed).checked_sub(1)?;
            Some(Ended::Served(slot, w.prio.load(Relaxed)))
        }
        (stage::DONE, Side::Send) => {
            w.state.store(stage::IDLE, Release);
            Some(Ended::Served(0, 0))
        }
        (stage::AGAIN, _) => {
            w.state.store(stage::IDLE, Release);
            Some(Ended::Again)
        }
        _ => None,
    }
}

fn give_up<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    side: Side,
    w: &'static Waiter,
    number: u32,
    why: SysError,
) -> Result<Ended, SysError> {
    leave(k, h, side, w, number).ok_or(why)
}

/// Leaves the line without having been served - if it has not been just now.
fn leave<H: Host>(
    k: &Ctx<'_, H>,
    h: &Handle,
    side: Side,
    w: &'static Waiter,
    number: u32,
) -> Option<Ended> {
    h.lock(k);
    if let Some(ended) = outcome(w, side) {
        h.unlock(k);
        return Some(ended);
    }
    wait::delist(k.arena, side.list(h.q), number);
    crash_point("mq.wait.delisted");
    wait::free_slot(k, h, w);
    w.state.store(stage::IDLE, Release);
    wait::less_busy(h.q);
    h.unlock(k);
    None
}
