//! Demotion: the counter goes into the twin, and from then on the kernel serves the eventfd.
//!
//! # Crash points
//!
//! - C1. Killed on the way: `mode` says DEMOTING, and the counter is in the twin or not. Whoever comes
//!   next is told `Demoted`, and must call [`demote`], which asks the twin: nobody reads it before
//!   `mode` says KERNEL, so if there is something in it, it is all there.

use super::{Eventfd, CLOSED};
use crate::abi::{Errno, SysError};
use crate::host::{crash_point, Host};
use crate::log::{Cause, Kind};
use crate::pipe::{mode, Ctx};
use crate::sync::atomic::Ordering::*;
use crate::sync::lock_word::Progress;

/// The real eventfd.
pub trait RealCounter {
    /// Whether its counter is above 0. `None`: it can not be asked.
    fn has_count(&self) -> Option<bool>;
    /// Adds `n` without blocking. `false`: it did not.
    fn add(&self, n: u64) -> bool;
}

/// Moves the eventfd to the kernel. `Ok(counter moved)`; `Demoted` if it was there already; EIO if the
/// twin did not take it: then it stays as it was.
pub fn demote<H: Host>(
    k: &Ctx<'_, H>,
    e: &Eventfd,
    twin: &impl RealCounter,
    cause: Cause,
) -> Result<u64, SysError> {
    e.lock(k);
    let moved = match e.mode.load(Acquire) {
        before @ (mode::RING | mode::DEMOTING) => move_counter(e, twin, before, cause),
        _ => Err(SysError::Demoted),
    };
    e.unlock(k, Progress::None, 0);
    let count = moved?;
    k.arena.header().demotions.fetch_add(1, Relaxed);
    let abc = (i64::from(cause.raw()), count, 0);
    let record = k.log.about(e, Kind::Demote, 0, abc);
    e.wake_everybody(k.host, record);
    Ok(count)
}

fn move_counter(
    e: &Eventfd,
    twin: &impl RealCounter,
    before: u32,
    cause: Cause,
) -> Result<u64, SysError> {
    let there = before == mode::DEMOTING && twin.has_count().ok_or(Errno::EIO)?;
    e.mode.store(mode::DEMOTING, Release); // C1
    crash_point("eventfd.demote.intent");
    let count = close(e);
    crash_point("eventfd.demote.closed");
    if count != 0 && !there && !twin.add(count) {
        e.count.store(count, Release);
        e.mode.store(mode::RING, Release); // as if it had not been tried
        return Err(Errno::EIO.into());
    }
    e.demote_cause.store(cause.raw(), Relaxed);
    crash_point("eventfd.demote.mode");
    e.mode.store(mode::KERNEL, Release);
    Ok(count)
}

/// Ends all changes of the counter. What it was last is in `moving`, also for a successor.
fn close(e: &Eventfd) -> u64 {
    loop {
        let count = e.count.load(Acquire);
        if count == CLOSED {
            return e.moving.load(Relaxed);
        }
        e.moving.store(count, Relaxed);
        if e.replace(count, CLOSED) {
            return count;
        }
    }
}
