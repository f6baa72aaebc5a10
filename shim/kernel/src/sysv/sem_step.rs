//! The operations of a semop(2), carried out: on what they are tried, and how they come into place all
//! at once. See Linux v6.18 ipc/sem.c `perform_atomic_semop`.

use super::perm::IPC_NOWAIT;
use super::root::Root;
use super::sem::{journal, value_of, word, SemSet, SEMAEM, SEMVMX};
use super::sem_undo;
use super::waiter::{how, Step, Waiter};
use crate::abi::Errno;
use crate::host::{crash_point, Host};
use crate::log::Kind;
use crate::pipe::Ctx;
use crate::planted::{planted, Bug};
use crate::sync::atomic::Ordering::*;

pub const SEM_UNDO: i16 = 0x1000;

/// struct sembuf.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sembuf {
    pub num: u16,
    pub op: i16,
    pub flags: i16,
}

impl Sembuf {
    pub fn pack(self) -> u64 {
        u64::from(self.num) | u64::from(self.op as u16) << 16 | u64::from(self.flags as u16) << 32
    }

    pub fn unpack(raw: u64) -> Sembuf {
        Sembuf {
            num: raw as u16,
            op: (raw >> 16) as i16,
            flags: (raw >> 32) as i16,
        }
    }

    #[inline(always)]
    pub fn undoes(self) -> bool {
        self.flags & SEM_UNDO != 0
    }

    #[inline(always)]
    fn may_wait(self) -> bool {
        i32::from(self.flags) & IPC_NOWAIT == 0
    }
}

/// What trying comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tried {
    Done,
    /// Not now.
    Waits,
    Failed(Errno),
}

/// The value and the undo value after one operation.
#[inline(always)]
pub fn step(value: i32, adj: Option<i32>, sop: Sembuf) -> Result<(i32, i32), Tried> {
    let op = i32::from(sop.op);
    let zero = op == 0 && value != 0 && !planted(Bug::SemNeverWaitsForZero);
    let blocks = zero || value + op < 0;
    if blocks {
        return Err(if sop.may_wait() {
            Tried::Waits
        } else {
            Tried::Failed(Errno::EAGAIN)
        });
    }
    if value + op > SEMVMX - i32::from(planted(Bug::SemMaximumOneOff)) {
        return Err(Tried::Failed(Errno::ERANGE));
    }
    let twice = if planted(Bug::SemUndoesTwice) { op } else { 0 };
    let undo = adj.unwrap_or(0) - op - twice;
    if adj.is_some() && !(-SEMAEM - 1..=SEMAEM).contains(&undo) {
        return Err(Tried::Failed(Errno::ERANGE));
    }
    Ok((value + op, undo))
}

/// `perform_atomic_semop`: all the operations of `w`, or none. `sleeps`: it is in a queue, and its thread
/// waits for the result; EINTR: no more, since its process was stopped. Under the set's lock.
pub fn perform<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    index: u32,
    w: &'static Waiter,
    sleeps: bool,
) -> Tried {
    let n = w.nops.load(Relaxed) as usize;
    let dup = w.how.load(Relaxed) & how::DUP != 0;
    let (undo, pid) = (w.undo.load(Relaxed), w.pid.load(Relaxed));
    for i in 0..n {
        let Some(s) = w.step(k.arena, i) else {
            return Tried::Failed(Errno::ENOMEM);
        };
        let sop = Sembuf::unpack(s.sop.load(Relaxed));
        let num = u32::from(sop.num);
        let Some(sem) = set.sem(k.arena, num) else {
            return Tried::Failed(Errno::EFBIG);
        };
        let dup = dup && !planted(Bug::SemForgetsItsEarlierStep);
        let earlier = if dup { earlier(k, w, i, sop.num) } else { None };
        let value = earlier.map_or(sem.load(Relaxed), |e| e.value.load(Relaxed));
        let adj = if sop.undoes() {
            let undone = if dup { undone(k, w, i, sop.num) } else { None };
            let before = undone.map(|e| &e.adj);
            let Some(before) = before.or_else(|| sem_undo::adj(k.arena, root, undo, num)) else {
                return Tried::Failed(Errno::ENOMEM);
            };
            Some(before.load(Relaxed) as i32)
        } else {
            None
        };
        match step(value_of(value), adj, sop) {
            Ok((value, adj)) => {
                s.value.store(word(value, pid), Relaxed);
                s.adj.store(adj as u32, Relaxed);
            }
            Err(tried) => {
                w.blocking.store(i as u32, Relaxed);
                return tried;
            }
        }
    }
    if sleeps && w.is_out(k) {
        return Tried::Failed(Errno::EINTR);
    }
    set.j_who.store(index, Relaxed);
    let state = if sleeps {
        journal::SLEEPER
    } else {
        journal::STEPS
    };
    set.j_state.store(state, Release);
    crash_point("sysv.committed");
    apply(k, root, set, w);
    if sleeps {
        w.settled.store(1, Release);
    }
    set.j_state.store(journal::NONE, Release);
    Tried::Done
}

/// Puts the steps' values in place; again, if need be.
pub fn apply<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    set: &'static SemSet,
    w: &'static Waiter,
) {
    let undo = w.undo.load(Relaxed);
    for i in 0..w.nops.load(Relaxed) as usize {
        let Some(s) = w.step(k.arena, i) else { return };
        let sop = Sembuf::unpack(s.sop.load(Relaxed));
        let num = u32::from(sop.num);
        if sop.undoes() {
            if let Some(adj) = sem_undo::adj(k.arena, root, undo, num) {
                adj.store(s.adj.load(Relaxed), Release);
            }
        }
        crash_point("sysv.committed");
        if let Some(sem) = set.sem(k.arena, num) {
            sem.store(s.value.load(Relaxed), Release);
        }
    }
}

/// The latest step before `i` that is about the same semaphore.
fn earlier<H: Host>(
    k: &Ctx<'_, H>,
    w: &'static Waiter,
    i: usize,
    num: u16,
) -> Option<&'static Step> {
    let same = |s: &&Step| Sembuf::unpack(s.sop.load(Relaxed)).num == num;
    (0..i).rev().filter_map(|j| w.step(k.arena, j)).find(same)
}

/// The same, of those with SEM_UNDO.
fn undone<H: Host>(
    k: &Ctx<'_, H>,
    w: &'static Waiter,
    i: usize,
    num: u16,
) -> Option<&'static Step> {
    let same = |s: &&Step| {
        let sop = Sembuf::unpack(s.sop.load(Relaxed));
        sop.num == num && sop.undoes()
    };
    (0..i).rev().filter_map(|j| w.step(k.arena, j)).find(same)
}

#[inline(always)]
pub fn log_op<H: Host>(k: &Ctx<'_, H>, set: &SemSet, sop: Sembuf, pid: u32, cause: u64) -> u64 {
    if !k.log.is_on() {
        return 0;
    }
    let value = set
        .sem(k.arena, u32::from(sop.num))
        .map_or(0, |s| value_of(s.load(Relaxed)));
    record(k, set, sop, value, pid, cause)
}

/// A record for each operation. The latest one's id.
pub fn log_steps<H: Host>(k: &Ctx<'_, H>, set: &SemSet, w: &'static Waiter) -> u64 {
    if !k.log.is_on() {
        return 0;
    }
    let steps = (0..w.nops.load(Relaxed) as usize).filter_map(|i| w.step(k.arena, i));
    let pid = w.pid.load(Relaxed);
    steps.fold(0, |_, s| {
        let sop = Sembuf::unpack(s.sop.load(Relaxed));
        record(k, set, sop, value_of(s.value.load(Relaxed)), pid, 0)
    })
}

fn record<H: Host>(
    k: &Ctx<'_, H>,
    set: &SemSet,
    sop: Sembuf,
    value: i32,
    pid: u32,
    cause: u64,
) -> u64 {
    let b = u64::from(sop.num) | u64::from(sop.flags as u16) << 32;
    let c = u64::from(value as u32) | u64::from(pid) << 32;
    set.logged
        .put(k, Kind::SemOp, cause, (i64::from(sop.op), b, c))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn sop(op: i16, flags: i16) -> Sembuf {
        Sembuf { num: 0, op, flags }
    }

    #[test]
    fn a_value_stays_between_zero_and_the_largest() {
        assert_eq!(step(3, None, sop(-3, 0)), Ok((0, 3)));
        assert_eq!(step(3, None, sop(-4, 0)), Err(Tried::Waits));
        assert_eq!(step(0, None, sop(0, 0)), Ok((0, 0)));
        assert_eq!(step(1, None, sop(0, 0)), Err(Tried::Waits));
        let nowait = IPC_NOWAIT as i16;
        assert_eq!(
            step(1, None, sop(0, nowait)),
            Err(Tried::Failed(Errno::EAGAIN))
        );
        assert_eq!(
            step(1, None, sop(i16::MAX, 0)),
            Err(Tried::Failed(Errno::ERANGE))
        );
        assert_eq!(step(0, None, sop(i16::MAX, 0)), Ok((SEMVMX, -SEMVMX)));
    }

    #[test]
    fn the_undo_value_has_a_range_of_its_own() {
        let (up, down) = (sop(1, SEM_UNDO), sop(-1, SEM_UNDO));
        assert_eq!(step(1, Some(-SEMAEM), up), Ok((2, -SEMAEM - 1)));
        let full = Err(Tried::Failed(Errno::ERANGE));
        assert_eq!(step(1, Some(-SEMAEM - 1), up), full);
        assert_eq!(step(1, Some(SEMAEM), down), full);
    }

    #[test]
    fn a_packed_operation_is_the_same_unpacked() {
        let s = Sembuf {
            num: 65535,
            op: -5,
            flags: SEM_UNDO,
        };
        assert_eq!(Sembuf::unpack(s.pack()), s);
    }
}
