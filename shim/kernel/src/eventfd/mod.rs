//! An eventfd: a counter in the arena, with a lock and two wait queues. See eventfd(2).
//!
//! As long as it is served from here, the counter of the real eventfd under it, its twin, is 0.
//!
//! - Readers sleep only while the counter is 0; writers only while it is not. Both announce
//!   themselves in the one lock word, so whoever makes progress and finds somebody announced wakes
//!   in both queues: one reader (who takes all, or passes on), and every writer (each of which may
//!   need another amount of room).
//! - Once `mode` is KERNEL it stays so until the slot is freed, and the counter here stays [`CLOSED`].
//!
//! The counter changes by CAS only. Without a log, and if it can be done at once, that is all: no
//! lock is taken, only looked at. Why no sleeper is overlooked:
//!
//! ```text
//!   sleeper                                 the other side
//!   1 announce: lock word |= PEER           a CAS of `count`
//!   2 takes the lock; `look`, an RMW        b PEER in the lock word? lock, unlock, wake
//! ```
//!
//! If 2 comes after a, it sees what changed. Else a reads what 2 wrote, so b sees 1.
//!
//! # Crash points
//!
//! - C1. Killed before `count` is changed: nothing happened. After: the call had its effect, as after
//!   a kill at its end. There is nothing to repair; a sleeper that was not woken looks by itself.

pub mod counter;
pub mod demote;
mod table;

pub use counter::{Mode, MAX};
pub use table::{create, find, get, release_if, New};

use crate::abi::SysError;
use crate::arena::ArenaSafe;
use crate::host::{crash_point, Host};
use crate::log::{object, Kind, Logged};
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use crate::sync::lock_word::{self, Progress};
use crate::sync::robust::{Found, RobustLock};
use crate::sync::wait_queue::WaitQueue;

/// `count` of an eventfd that is not served from here. (No counter: that is 2^64-2 at most.)
pub const CLOSED: u64 = u64::MAX;

/// In the arena.
#[repr(C, align(64))]
pub struct Eventfd {
    // Line 0: hardly ever written. It begins with a `file::Head`.
    pub mode: AtomicU32,
    pub generation: AtomicU32,
    /// N of eventfd#N.
    pub id: AtomicU32,
    pub next_free: AtomicU32,
    /// EFD_SEMAPHORE.
    pub semaphore: AtomicU32,
    /// Open file descriptions. A hint: a wrong count costs memory only.
    pub files: AtomicU32,
    /// The twin's eventfd-id (proc(5), fdinfo) plus one; 0: not known.
    pub twin: AtomicU32,
    pub demote_cause: AtomicU32,
    pub created_tsc: AtomicU64,
    _line0: [AtomicU64; 3],
    // Line 1: what every call touches.
    pub lock: RobustLock,
    pub log_seq: AtomicU32,
    pub count: AtomicU64,
    pub writes: AtomicU64,
    pub reads: AtomicU64,
    /// Record of the latest write, 0 without a log.
    pub last_write: AtomicU64,
    /// What a demotion under way moves: see `demote`.
    pub moving: AtomicU64,
    _line1: [AtomicU64; 2],
    pub rd_wait: WaitQueue,
    pub wr_wait: WaitQueue,
}

// SAFETY: atomics only, explicit padding; rules 1-5 of ArenaSafe.
unsafe impl ArenaSafe for Eventfd {}

impl Logged for Eventfd {
    fn object(&self) -> u32 {
        object::EVENTFD | self.id.load(Relaxed)
    }

    fn order(&self) -> &AtomicU32 {
        &self.log_seq
    }
}

impl Eventfd {
    #[inline(always)]
    pub fn is_served(&self) -> bool {
        self.mode.load(Acquire) == mode::RING
    }

    /// Whether this eventfd-id is the twin's.
    pub fn is_twin(&self, id: u32) -> bool {
        self.twin.load(Relaxed) == id.wrapping_add(1)
    }

    fn how(&self) -> Mode {
        match self.semaphore.load(Relaxed) {
            0 => Mode::Counter,
            _ => Mode::Semaphore,
        }
    }

    #[inline(always)]
    fn replace(&self, before: u64, after: u64) -> bool {
        self.count
            .compare_exchange(before, after, AcqRel, Relaxed)
            .is_ok()
    }

    /// The counter, by a read-modify-write: see "Why no sleeper is overlooked".
    fn look(&self) -> u64 {
        self.count.fetch_or(0, AcqRel)
    }

    /// After a change without the lock: if somebody sleeps, he is woken.
    #[inline(always)]
    fn tell<H: Host>(&self, k: &Ctx<'_, H>) {
        crash_point("eventfd.changed");
        if lock_word::is_announced(&self.lock.word) {
            self.tell_sleepers(k);
        }
    }

    #[cold]
    fn tell_sleepers<H: Host>(&self, k: &Ctx<'_, H>) {
        self.lock(k);
        self.unlock(k, Progress::Made, 0);
    }

    #[inline(always)]
    pub(crate) fn lock<H: Host>(&self, k: &Ctx<'_, H>) {
        if let Found::Orphaned { dead } = self.lock.lock(k.me, k.host, k) {
            self.found_orphaned(k, dead.raw());
        }
    }

    /// Counted and logged, so that a death is never silent.
    #[cold]
    fn found_orphaned<H: Host>(&self, k: &Ctx<'_, H>, dead: u32) {
        k.arena.header().orphaned.fetch_add(1, Relaxed);
        k.log
            .about(self, Kind::Orphaned, 0, (i64::from(dead), 0, 0));
    }

    #[inline(always)]
    pub(crate) fn unlock<H: Host>(&self, k: &Ctx<'_, H>, progress: Progress, cause: u64) {
        crash_point("eventfd.unlock");
        if self.lock.unlock(k.me, progress, k.host) {
            crash_point("eventfd.wake");
            self.rd_wait.wake_one(k, cause);
            self.wr_wait.wake_all(k.host, cause);
        }
    }

    /// Everybody who sleeps looks again: it was demoted, or is gone.
    pub fn wake_everybody(&self, host: &impl Host, cause: u64) {
        self.rd_wait.wake_all(host, cause);
        self.wr_wait.wake_all(host, cause);
    }
}

/// Takes what a read takes. `Ok(None)`: it would block. `Demoted`: the kernel serves it.
#[inline(always)]
pub fn try_read<H: Host>(k: &Ctx<'_, H>, e: &Eventfd) -> Result<Option<u64>, SysError> {
    let before = e.count.load(Relaxed);
    match counter::take(before, e.how()) {
        Some(taken) if before != CLOSED && !k.log.is_on() => {
            crash_point("eventfd.read.store");
            if e.replace(before, before - taken) {
                count(&e.reads);
                e.tell(k);
                return Ok(Some(taken));
            }
        }
        _ => {}
    }
    read_locked(k, e)
}

fn read_locked<H: Host>(k: &Ctx<'_, H>, e: &Eventfd) -> Result<Option<u64>, SysError> {
    e.lock(k);
    crash_point("eventfd.read.locked");
    loop {
        let before = e.look();
        if before == CLOSED || !e.is_served() {
            e.unlock(k, Progress::None, 0);
            return Err(SysError::Demoted);
        }
        let Some(taken) = counter::take(before, e.how()) else {
            e.unlock(k, Progress::None, 0);
            return Ok(None);
        };
        crash_point("eventfd.read.store");
        if !e.replace(before, before - taken) {
            continue;
        }
        count(&e.reads);
        let cause = e.last_write.load(Relaxed);
        let abc = (taken as i64, before, before - taken);
        let record = k.log.about(e, Kind::EventfdRead, cause, abc);
        e.unlock(k, Progress::Made, record);
        return Ok(Some(taken));
    }
}

/// Adds `add`. `Ok(false)`: it would block. `Demoted`: the kernel serves it.
#[inline(always)]
pub fn try_write<H: Host>(k: &Ctx<'_, H>, e: &Eventfd, add: u64) -> Result<bool, SysError> {
    let before = e.count.load(Relaxed);
    match counter::add(before, add) {
        Some(after) if before != CLOSED && !k.log.is_on() => {
            crash_point("eventfd.write.store");
            if e.replace(before, after) {
                count(&e.writes);
                e.tell(k);
                return Ok(true);
            }
        }
        _ => {}
    }
    write_locked(k, e, add)
}

fn write_locked<H: Host>(k: &Ctx<'_, H>, e: &Eventfd, add: u64) -> Result<bool, SysError> {
    e.lock(k);
    crash_point("eventfd.write.locked");
    loop {
        let before = e.look();
        if before == CLOSED || !e.is_served() {
            e.unlock(k, Progress::None, 0);
            return Err(SysError::Demoted);
        }
        let Some(after) = counter::add(before, add) else {
            e.unlock(k, Progress::None, 0);
            return Ok(false);
        };
        crash_point("eventfd.write.store");
        if !e.replace(before, after) {
            continue;
        }
        count(&e.writes);
        let record = (k.log).about(e, Kind::EventfdWrite, 0, (add as i64, before, after));
        e.last_write.store(record, Relaxed);
        e.unlock(k, Progress::Made, record);
        return Ok(true);
    }
}

/// A figure for people: of two who count at once, one may be missed.
#[inline(always)]
fn count(n: &AtomicU64) {
    n.store(n.load(Relaxed).wrapping_add(1), Relaxed);
}

const _: () = assert!(core::mem::size_of::<Eventfd>() == 12 * 64);
